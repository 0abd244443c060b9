// The messages and proofs of RFC 5802, section 3 and 7.
#include "crypto/scram.hpp"

#include <charconv>
#include <utility>
#include <vector>

#include "crypto/base64.hpp"
#include "crypto/random.hpp"

namespace holdfast::crypto {
namespace {

Digest exclusive_or(const Digest& a, const Digest& b) {
  Digest out;
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = a[i] ^ b[i];
  return out;
}

std::optional<Digest> digest_of(std::string_view base64) {
  const auto decoded = base64_decode(base64);
  if (!decoded || decoded->size() != sha256_size) return std::nullopt;
  Digest out;
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<unsigned char>((*decoded)[i]);
  return out;
}

/// Takes `letter=value` from the front of a comma-separated list; none when something else stands there.
std::optional<std::string_view> take(std::string_view& rest, char letter) {
  if (rest.size() < 2 || rest[0] != letter || rest[1] != '=') return std::nullopt;
  const auto end = rest.find(',');
  const auto value = rest.substr(2, end == std::string_view::npos ? end : end - 2);
  rest = end == std::string_view::npos ? std::string_view{} : rest.substr(end + 1);
  return value;
}

std::optional<std::uint32_t> number(std::string_view text) {
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value == 0 || value > scram_iterations_max) {
    return std::nullopt;
  }
  return value;
}

bool printable(std::string_view nonce) {
  for (const char c : nonce) {
    if (c < 0x21 || c > 0x7e || c == ',') return false;
  }
  return !nonce.empty();
}

}  // namespace

ScramVerifier make_verifier(std::string_view password, std::string_view salt, std::uint32_t iterations) {
  const auto salted = pbkdf2_sha256(password, salt, iterations);
  ScramVerifier verifier;
  verifier.iterations = iterations;
  verifier.salt = salt;
  verifier.stored_key = sha256(view(hmac_sha256(view(salted), "Client Key")));
  verifier.server_key = hmac_sha256(view(salted), "Server Key");
  return verifier;
}

std::optional<ScramVerifier> parse_verifier(std::string_view text) {
  constexpr std::string_view prefix = "SCRAM-SHA-256$";
  if (!text.starts_with(prefix)) return std::nullopt;
  text.remove_prefix(prefix.size());
  const auto colon = text.find(':');
  const auto dollar = text.find('$', colon == std::string_view::npos ? 0 : colon);
  if (colon == std::string_view::npos || dollar == std::string_view::npos) return std::nullopt;
  const auto keys = text.substr(dollar + 1);
  const auto between = keys.find(':');
  if (between == std::string_view::npos) return std::nullopt;
  const auto iterations = number(text.substr(0, colon));
  const auto salt = base64_decode(text.substr(colon + 1, dollar - colon - 1));
  const auto stored = digest_of(keys.substr(0, between));
  const auto server = digest_of(keys.substr(between + 1));
  if (!iterations || !salt || salt->empty() || !stored || !server) return std::nullopt;
  return ScramVerifier{*iterations, *salt, *stored, *server};
}

ScramVerifier mock_verifier(std::string_view user, std::string_view process_secret) {
  ScramVerifier verifier;
  verifier.iterations = 4096;
  verifier.salt = std::string(view(hmac_sha256(process_secret, user)).substr(0, 16));
  random_bytes({reinterpret_cast<char*>(verifier.stored_key.data()), sha256_size});
  random_bytes({reinterpret_cast<char*>(verifier.server_key.data()), sha256_size});
  return verifier;
}

bool ScramServer::on_client_first(std::string_view message, Mechanism mechanism, std::string_view server_nonce,
                                  std::string& answer) {
  mechanism_ = mechanism;
  const auto first = message.find(',');
  const auto second = first == std::string_view::npos ? first : message.find(',', first + 1);
  if (second == std::string_view::npos) return fail("malformed SCRAM message");
  const auto flag = message.substr(0, first);
  const bool bound = flag == "p=tls-server-end-point";
  if (bound != (mechanism == Mechanism::plus) || (bound && binding_.empty())) {
    return fail("SCRAM channel binding does not fit the mechanism");
  }
  if (!bound && flag != "n" && flag != "y") return fail("unsupported SCRAM channel binding");
  // A client that could bind and was not offered to, though it was: somebody stands between (RFC 5802, section 6).
  if (flag == "y" && !binding_.empty()) return fail("SCRAM channel binding negotiation error");
  if (second != first + 1) return fail("a SCRAM authorization identity is not supported");
  gs2_header_ = message.substr(0, second + 1);
  client_first_bare_ = message.substr(second + 1);
  std::string_view rest = client_first_bare_;
  if (rest.starts_with("m=")) return fail("a mandatory SCRAM extension is not supported");
  const auto user = take(rest, 'n');
  const auto nonce = take(rest, 'r');
  if (!user || !nonce || !printable(*nonce)) return fail("malformed SCRAM message");
  nonce_ = std::string(*nonce) + std::string(server_nonce);
  server_first_ = "r=" + nonce_ + ",s=" + base64_encode(verifier_.salt) + ",i=" + std::to_string(verifier_.iterations);
  answer = server_first_;
  return true;
}

bool ScramServer::on_client_final(std::string_view message, std::string& answer) {
  const auto proof_at = message.rfind(",p=");
  if (proof_at == std::string_view::npos) return fail("malformed SCRAM message");
  const auto without_proof = message.substr(0, proof_at);
  const auto proof = digest_of(message.substr(proof_at + 3));
  std::string_view rest = without_proof;
  const auto binding = take(rest, 'c');
  const auto nonce = take(rest, 'r');
  if (!proof || !binding || !nonce) return fail("malformed SCRAM message");
  const auto expected = base64_encode(gs2_header_ + (mechanism_ == Mechanism::plus ? binding_ : std::string()));
  if (*binding != expected) return fail("SCRAM channel binding check failed");
  if (*nonce != nonce_) return fail("the SCRAM nonce does not match");
  const auto auth_message = client_first_bare_ + "," + server_first_ + "," + std::string(without_proof);
  const auto signature = hmac_sha256(view(verifier_.stored_key), auth_message);
  const auto client_key = exclusive_or(*proof, signature);
  if (!constant_time_equal(view(sha256(view(client_key))), view(verifier_.stored_key))) {
    return fail("password authentication failed");
  }
  keys_ = {client_key, verifier_.server_key, verifier_.salt, verifier_.iterations};
  answer = "v=" + base64_encode(view(hmac_sha256(view(verifier_.server_key), auth_message)));
  return true;
}

ScramClient::ScramClient(std::string password, std::string client_nonce, Binding binding, std::string binding_data)
    : password_(std::move(password)), nonce_(std::move(client_nonce)), binding_data_(std::move(binding_data)),
      binding_(binding) {}

ScramClient::ScramClient(ScramKeys keys, std::string client_nonce, Binding binding, std::string binding_data)
    : nonce_(std::move(client_nonce)), binding_data_(std::move(binding_data)), binding_(binding),
      keys_(std::move(keys)) {}

std::string ScramClient::gs2_header() const {
  switch (binding_) {
    case Binding::none: return "n,,";
    case Binding::supported: return "y,,";
    case Binding::used: return "p=tls-server-end-point,,";
  }
  return "n,,";
}

void ScramClient::name_user(std::string_view user) {
  user_.clear();
  for (const char c : user) {
    if (c == ',') {
      user_ += "=2C";
    } else if (c == '=') {
      user_ += "=3D";
    } else {
      user_ += c;
    }
  }
}

// PostgreSQL takes the user's name from the startup packet and ignores the one here.
std::string ScramClient::client_first_bare() const { return "n=" + user_ + ",r=" + nonce_; }

std::string ScramClient::client_first() const { return gs2_header() + client_first_bare(); }

bool ScramClient::on_server_first(std::string_view message, std::string& answer) {
  std::string_view rest = message;
  if (rest.starts_with("m=")) return fail("a mandatory SCRAM extension is not supported");
  const auto nonce = take(rest, 'r');
  const auto salt_text = take(rest, 's');
  const auto iterations_text = take(rest, 'i');
  if (!nonce || !salt_text || !iterations_text) return fail("the server sent a malformed SCRAM message");
  const auto salt = base64_decode(*salt_text);
  const auto iterations = number(*iterations_text);
  if (!salt || salt->empty() || !iterations) return fail("the server sent a SCRAM salt or count out of bounds");
  if (!nonce->starts_with(nonce_) || nonce->size() == nonce_.size()) return fail("the server's SCRAM nonce is wrong");
  if (password_) {
    const auto salted = pbkdf2_sha256(*password_, *salt, *iterations);
    keys_ = {hmac_sha256(view(salted), "Client Key"), hmac_sha256(view(salted), "Server Key"), *salt, *iterations};
  } else if (keys_.salt != *salt || keys_.iterations != *iterations) {
    stale_ = true;
    return fail("the server's verifier of this user has changed");
  }
  const auto channel = base64_encode(gs2_header() + (binding_ == Binding::used ? binding_data_ : std::string()));
  const auto without_proof = "c=" + channel + ",r=" + std::string(*nonce);
  auth_message_ = client_first_bare() + "," + std::string(message) + "," + without_proof;
  const auto signature = hmac_sha256(view(sha256(view(keys_.client_key))), auth_message_);
  answer = without_proof + ",p=" + base64_encode(view(exclusive_or(keys_.client_key, signature)));
  return true;
}

bool ScramClient::on_server_final(std::string_view message) {
  std::string_view rest = message;
  const auto signature = take(rest, 'v');
  if (!signature) return fail("the server refused the SCRAM proof");
  const auto expected = base64_encode(view(hmac_sha256(view(keys_.server_key), auth_message_)));
  if (!constant_time_equal(*signature, expected)) return fail("the server could not prove that it knows the password");
  return true;
}

}  // namespace holdfast::crypto

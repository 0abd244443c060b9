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

std::optional<Digest> digest_of(std::string_view base64, HashKind kind) {
  const auto decoded = base64_decode(base64);
  if (!decoded || decoded->size() != hash_size(kind)) return std::nullopt;
  Digest out{};
  for (std::size_t i = 0; i < decoded->size(); ++i) out[i] = static_cast<unsigned char>((*decoded)[i]);
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

ScramVerifier make_verifier(std::string_view password, std::string_view salt, std::uint32_t iterations, HashKind kind) {
  const auto salted = pbkdf2(kind, password, salt, iterations);
  ScramVerifier verifier;
  verifier.iterations = iterations;
  verifier.salt = salt;
  verifier.stored_key = hash(kind, view(hmac(kind, view(salted, kind), "Client Key"), kind));
  verifier.server_key = hmac(kind, view(salted, kind), "Server Key");
  verifier.hash = kind;
  return verifier;
}

std::optional<ScramVerifier> verifier_of_parts(HashKind kind, std::uint32_t iterations, std::string_view salt_text,
                                               std::string_view stored_key, std::string_view server_key) {
  const auto salt = base64_decode(salt_text);
  const auto stored = digest_of(stored_key, kind), server = digest_of(server_key, kind);
  if (iterations == 0 || iterations > scram_iterations_max || !salt || salt->empty() || !stored || !server) return std::nullopt;
  return ScramVerifier{iterations, *salt, *stored, *server, kind};
}

std::optional<ScramVerifier> parse_verifier(std::string_view text, HashKind kind) {
  const std::string_view prefix = kind == HashKind::sha1 ? "SCRAM-SHA-1$" : "SCRAM-SHA-256$";
  if (!text.starts_with(prefix)) return std::nullopt;
  text.remove_prefix(prefix.size());
  const auto colon = text.find(':');
  const auto dollar = text.find('$', colon == std::string_view::npos ? 0 : colon);
  if (colon == std::string_view::npos || dollar == std::string_view::npos) return std::nullopt;
  const auto keys = text.substr(dollar + 1);
  const auto between = keys.find(':');
  if (between == std::string_view::npos) return std::nullopt;
  const auto iterations = number(text.substr(0, colon));
  if (!iterations) return std::nullopt;
  return verifier_of_parts(kind, *iterations, text.substr(colon + 1, dollar - colon - 1), keys.substr(0, between),
                           keys.substr(between + 1));
}

std::optional<std::string> user_of_client_first(std::string_view message) {
  const auto first = message.find(',');
  const auto second = first == std::string_view::npos ? first : message.find(',', first + 1);
  if (second == std::string_view::npos) return std::nullopt;
  auto rest = message.substr(second + 1);
  const auto name = take(rest, 'n');
  if (!name || name->empty()) return std::nullopt;
  std::string user;
  for (std::size_t i = 0; i < name->size(); ++i) {
    if ((*name)[i] != '=') {
      user += (*name)[i];
      continue;
    }
    const auto code = name->substr(i + 1, 2);
    if (code != "2C" && code != "3D") return std::nullopt;
    user += code == "2C" ? ',' : '=';
    i += 2;
  }
  return user;
}

namespace {

/// The client's key, where its proof fits the verifier.
std::optional<Digest> client_key_of(const ScramVerifier& verifier, std::string_view auth_message, const Digest& proof) {
  const auto kind = verifier.hash;
  const auto signature = hmac(kind, view(verifier.stored_key, kind), auth_message);
  const auto client_key = exclusive_or(proof, signature);
  if (!constant_time_equal(view(hash(kind, view(client_key, kind))), view(verifier.stored_key))) return std::nullopt;
  return client_key;
}

}  // namespace

std::optional<ScramKeys> keys_of_exchange(const ScramVerifier& verifier, std::string_view client_first,
                                          std::string_view server_first, std::string_view client_final) {
  const auto bare_at = client_first.find(',', client_first.find(',') + 1);
  const auto proof_at = client_final.rfind(",p=");
  if (bare_at == std::string_view::npos || proof_at == std::string_view::npos) return std::nullopt;
  const auto proof = digest_of(client_final.substr(proof_at + 3), verifier.hash);
  if (!proof) return std::nullopt;
  const auto auth_message = std::string(client_first.substr(bare_at + 1)) + "," + std::string(server_first) + "," +
                            std::string(client_final.substr(0, proof_at));
  const auto client_key = client_key_of(verifier, auth_message, *proof);
  if (!client_key) return std::nullopt;
  return ScramKeys{*client_key, verifier.server_key, verifier.salt, verifier.iterations, verifier.hash};
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
  const auto proof = digest_of(message.substr(proof_at + 3), verifier_.hash);
  std::string_view rest = without_proof;
  const auto binding = take(rest, 'c');
  const auto nonce = take(rest, 'r');
  if (!proof || !binding || !nonce) return fail("malformed SCRAM message");
  const auto expected = base64_encode(gs2_header_ + (mechanism_ == Mechanism::plus ? binding_ : std::string()));
  if (*binding != expected) return fail("SCRAM channel binding check failed");
  if (*nonce != nonce_) return fail("the SCRAM nonce does not match");
  const auto auth_message = client_first_bare_ + "," + server_first_ + "," + std::string(without_proof);
  const auto client_key = client_key_of(verifier_, auth_message, *proof);
  if (!client_key) return fail("password authentication failed");
  const auto kind = verifier_.hash;
  keys_ = {*client_key, verifier_.server_key, verifier_.salt, verifier_.iterations, kind};
  answer = "v=" + base64_encode(view(hmac(kind, view(verifier_.server_key, kind), auth_message), kind));
  return true;
}

ScramClient::ScramClient(std::string password, std::string client_nonce, Binding binding, std::string binding_data,
                         HashKind kind)
    : password_(std::move(password)), hash_(kind), nonce_(std::move(client_nonce)), binding_data_(std::move(binding_data)),
      binding_(binding) {}

ScramClient::ScramClient(ScramKeys keys, std::string client_nonce, Binding binding, std::string binding_data)
    : hash_(keys.hash), nonce_(std::move(client_nonce)), binding_data_(std::move(binding_data)), binding_(binding),
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
    const auto salted = pbkdf2(hash_, *password_, *salt, *iterations);
    keys_ = {hmac(hash_, view(salted, hash_), "Client Key"), hmac(hash_, view(salted, hash_), "Server Key"), *salt, *iterations, hash_};
  } else if (keys_.salt != *salt || keys_.iterations != *iterations) {
    stale_ = true;
    return fail("the server's verifier of this user has changed");
  }
  const auto channel = base64_encode(gs2_header() + (binding_ == Binding::used ? binding_data_ : std::string()));
  const auto without_proof = "c=" + channel + ",r=" + std::string(*nonce);
  auth_message_ = client_first_bare() + "," + std::string(message) + "," + without_proof;
  const auto stored = hash(hash_, view(keys_.client_key, hash_));
  const auto signature = hmac(hash_, view(stored, hash_), auth_message_);
  answer = without_proof + ",p=" + base64_encode(view(exclusive_or(keys_.client_key, signature), hash_));
  return true;
}

bool ScramClient::on_server_final(std::string_view message) {
  std::string_view rest = message;
  const auto signature = take(rest, 'v');
  if (!signature) return fail("the server refused the SCRAM proof");
  const auto expected = base64_encode(view(hmac(hash_, view(keys_.server_key, hash_), auth_message_), hash_));
  if (!constant_time_equal(*signature, expected)) return fail("the server could not prove that it knows the password");
  return true;
}

}  // namespace holdfast::crypto

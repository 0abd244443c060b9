// SCRAM-SHA-256 and -SHA-1 (RFC 5802, RFC 7677) as two machines without I/O: the proxy is the server of its clients and the
// client of its servers. Channel binding is tls-server-end-point (RFC 5929).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "crypto/hash.hpp"

namespace holdfast::crypto {

/// More than this is refused: the other side decides how much work we do.
inline constexpr std::uint32_t scram_iterations_max = 1'000'000;

/// What a server keeps of a password.
struct ScramVerifier {
  std::uint32_t iterations = 0;
  std::string salt;
  Digest stored_key{};
  Digest server_key{};
  HashKind hash = HashKind::sha256;
};

/// What logs in without the password: ClientKey, with the salt and count that it belongs to.
struct ScramKeys {
  Digest client_key{};
  Digest server_key{};
  std::string salt;
  std::uint32_t iterations = 0;
  HashKind hash = HashKind::sha256;
};

[[nodiscard]] ScramVerifier make_verifier(std::string_view password, std::string_view salt, std::uint32_t iterations,
                                          HashKind hash = HashKind::sha256);
/// `SCRAM-SHA-256$4096:salt$StoredKey:ServerKey` as in pg_authid; none when it is not such.
[[nodiscard]] std::optional<ScramVerifier> parse_verifier(std::string_view text, HashKind hash = HashKind::sha256);
/// The same of parts in base64, as MongoDB's users have them.
[[nodiscard]] std::optional<ScramVerifier> verifier_of_parts(HashKind hash, std::uint32_t iterations, std::string_view salt,
                                                             std::string_view stored_key, std::string_view server_key);
/// Whom a client's first message names; none where it names nobody or is no such message.
[[nodiscard]] std::optional<std::string> user_of_client_first(std::string_view message);
/// What the proof in an exchange that others had, and that succeeded, yields by its verifier; none where they do not fit.
[[nodiscard]] std::optional<ScramKeys> keys_of_exchange(const ScramVerifier& verifier, std::string_view client_first,
                                                        std::string_view server_first, std::string_view client_final);
/// A verifier for a user that does not exist: looks the same each time and never fits.
[[nodiscard]] ScramVerifier mock_verifier(std::string_view user, std::string_view process_secret);

/// The server's side of one exchange. Each step returns false with error() set; a failed proof says no more than that.
class ScramServer {
 public:
  /// `binding`: tls-server-end-point data of our certificate; empty where -PLUS was not offered.
  ScramServer(ScramVerifier verifier, std::string binding) : verifier_(std::move(verifier)), binding_(std::move(binding)) {}
  enum class Mechanism { plain, plus };
  [[nodiscard]] bool on_client_first(std::string_view message, Mechanism mechanism, std::string_view server_nonce,
                                     std::string& answer);
  [[nodiscard]] bool on_client_final(std::string_view message, std::string& answer);
  [[nodiscard]] const std::string& error() const { return error_; }
  /// After success: what the client's proof yields for logins of ours.
  [[nodiscard]] const ScramKeys& keys() const { return keys_; }

 private:
  bool fail(std::string error) {
    error_ = std::move(error);
    return false;
  }
  ScramVerifier verifier_;
  std::string binding_;
  Mechanism mechanism_ = Mechanism::plain;
  std::string gs2_header_, client_first_bare_, server_first_, nonce_, error_;
  ScramKeys keys_;
};

/// The client's side of one exchange, with a password or with keys.
class ScramClient {
 public:
  enum class Binding {
    none,       // no TLS: "n"
    supported,  // TLS, but the server offers no -PLUS: "y"
    used,       // -PLUS
  };
  ScramClient(std::string password, std::string client_nonce, Binding binding, std::string binding_data,
              HashKind hash = HashKind::sha256);
  ScramClient(ScramKeys keys, std::string client_nonce, Binding binding, std::string binding_data);
  /// Whom the proof is for, where the server learns it from this exchange (MongoDB). Before client_first.
  void name_user(std::string_view user);
  [[nodiscard]] std::string client_first() const;
  [[nodiscard]] bool on_server_first(std::string_view message, std::string& answer);
  [[nodiscard]] bool on_server_final(std::string_view message);
  [[nodiscard]] const std::string& error() const { return error_; }
  /// The keys do not fit the salt or count that the server has now: its verifier was changed.
  [[nodiscard]] bool stale() const { return stale_; }
  /// After on_server_first: what later logins can be made with instead of the password.
  [[nodiscard]] const ScramKeys& keys() const { return keys_; }

 private:
  bool fail(std::string error) {
    error_ = std::move(error);
    return false;
  }
  [[nodiscard]] std::string gs2_header() const;
  [[nodiscard]] std::string client_first_bare() const;
  std::optional<std::string> password_;
  HashKind hash_ = HashKind::sha256;
  std::string user_;  // escaped
  std::string nonce_, binding_data_, error_, auth_message_;
  Binding binding_;
  ScramKeys keys_;
  bool stale_ = false;
};

}  // namespace holdfast::crypto

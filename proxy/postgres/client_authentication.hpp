// Checks a client's login against what is known of it: trust, or SCRAM-SHA-256 by password or verifier.
// Sans-io; what has to be asked of a server (auth_query, passthrough) is asked by the session.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "config/config.hpp"
#include "crypto/scram.hpp"
#include "proxy/postgres/credentials.hpp"

namespace holdfast::proxy::postgres {

class ClientAuthentication {
 public:
  /// What is known of the user before the exchange begins.
  struct Known {
    std::optional<crypto::ScramVerifier> verifier;  // what the client's proof is checked against
    Credentials credentials;                        // what it is logged in upstream with
  };
  /// `binding`: tls-server-end-point data of our certificate, empty without TLS.
  ClientAuthentication(config::AuthMode mode, Known known, std::string binding);

  enum class Next { read, done, failed };
  /// Writes what the client is asked first to `answer`.
  Next start(std::string& answer);
  /// A message of the client.
  Next on_message(char type, std::string_view body, std::string& answer);
  [[nodiscard]] std::string_view code() const { return code_; }
  [[nodiscard]] const std::string& error() const { return error_; }
  /// After done: how the session logs in upstream.
  [[nodiscard]] const Credentials& credentials() const { return known_.credentials; }

 private:
  Next fail(std::string_view code, std::string error);

  config::AuthMode mode_;
  Known known_;
  std::string binding_;
  std::optional<crypto::ScramServer> scram_;
  enum class State { first, final } state_ = State::first;
  std::string_view code_;
  std::string error_;
};

/// What the configuration knows of a user; a verifier that never fits for one that it does not know, so that the two
/// cannot be told apart. `process_secret` seeds that verifier.
[[nodiscard]] ClientAuthentication::Known look_up_user(const config::Connection& config, const std::string& user,
                                                       std::string_view process_secret);
/// The configuration holds a password or a verifier of this user.
[[nodiscard]] bool is_configured(const config::Connection& config, std::string_view user);
/// The same for what an auth_query answered: `stored` as in pg_authid, empty where there is no such user.
[[nodiscard]] ClientAuthentication::Known known_by_query(const std::string& user, std::string_view stored,
                                                         std::string_view process_secret);

}  // namespace holdfast::proxy::postgres

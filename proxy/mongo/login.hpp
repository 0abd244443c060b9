// For whom a connection upstream is logged in, and what that can be done with again. Never logged.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "config/config.hpp"
#include "crypto/scram.hpp"

namespace holdfast::proxy::mongo {

/// Both mechanisms, the better one first.
inline constexpr std::array scram_hashes{crypto::HashKind::sha256, crypto::HashKind::sha1};

[[nodiscard]] constexpr const char* mechanism_of(crypto::HashKind hash) {
  return hash == crypto::HashKind::sha1 ? "SCRAM-SHA-1" : "SCRAM-SHA-256";
}

/// What a user's password is for SCRAM-SHA-1 (authentication specification): never the password itself.
[[nodiscard]] inline std::string scram_password(crypto::HashKind hash, const std::string& user, const std::string& password) {
  return hash == crypto::HashKind::sha1 ? crypto::md5_hex(user + ":mongo:" + password) : password;
}

/// One value for each hash.
template <class Value>
struct ByHash {
  std::optional<Value> sha256, sha1;
  [[nodiscard]] std::optional<Value>& operator[](crypto::HashKind hash) { return hash == crypto::HashKind::sha1 ? sha1 : sha256; }
  [[nodiscard]] const std::optional<Value>& operator[](crypto::HashKind hash) const {
    return hash == crypto::HashKind::sha1 ? sha1 : sha256;
  }
  [[nodiscard]] bool any() const { return sha256 || sha1; }
};

using Verifiers = ByHash<crypto::ScramVerifier>;

/// One user of the upstream. Shared by all sessions of that user and by their connections.
struct Login {
  std::string user, database;  // no user: nobody, whose connections are not logged in
  config::Secret password;     // empty: none known
  config::MongoMechanism mechanism = config::MongoMechanism::negotiated;
  ByHash<crypto::ScramKeys> keys;  // from a client's proof, or kept of an earlier login
  std::uint64_t logouts = 0;       // so often servers have ended it: what was logged in before is not used again

  [[nodiscard]] bool is_nobody() const { return user.empty() && mechanism != config::MongoMechanism::x509; }
  /// There is what a login needs.
  [[nodiscard]] bool can_log_in() const {
    return is_nobody() || mechanism == config::MongoMechanism::x509 || !password.empty() || keys.any();
  }
  /// The one that is configured now. What was kept of another one logs in nowhere.
  void use_password(const config::Secret& configured) {
    if (password == configured) return;
    password = configured;
    keys = {};
  }
  /// The configuration names a user with its password: another user's is of no use to this login.
  void take_password(const std::string& of_database, const std::string& of_user, const config::Secret& configured) {
    if (of_database == database && of_user == user) use_password(configured);
  }
  /// As saslSupportedMechs names a user.
  [[nodiscard]] std::string name() const { return database + "." + user; }
};

}  // namespace holdfast::proxy::mongo

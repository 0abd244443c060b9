// What is known of the users that clients log in as: by the configuration, or from the server for a while. Sans-io.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "config/config.hpp"
#include "proxy/mongo/login.hpp"
#include "proxy/mongo/recent_table.hpp"

namespace holdfast::proxy::mongo {

class Users {
 public:
  using Time = std::chrono::steady_clock::time_point;
  /// `secret`: random, of this process.
  Users(const config::Connection& config, std::string secret);
  /// The configuration has changed.
  void update(const config::Connection& config);

  /// By the configuration; none where it does not know the user.
  [[nodiscard]] const Verifiers* configured(const std::string& database, const std::string& user) const;
  /// As the server said a moment ago; none where that has to be asked.
  [[nodiscard]] const Verifiers* learnt(const std::string& database, const std::string& user, Time now);
  void learn(const std::string& database, const std::string& user, Verifiers verifiers, Time now);
  void forget(const std::string& database, const std::string& user);
  /// What the proof of an unknown user is checked against: it looks like a known one's, and nothing fits it.
  [[nodiscard]] crypto::ScramVerifier mock(const std::string& database, const std::string& user, crypto::HashKind hash) const;

  /// The one of a user that has just logged in, with the configuration's password where there is one.
  [[nodiscard]] std::shared_ptr<Login> login_of(const std::string& database, const std::string& user, Time now);

 private:
  struct Entry {
    config::Secret password, scram;
    Verifiers verifiers;
  };
  void add(const std::string& database, const std::string& user, const config::Secret& password, const config::Secret& scram,
           std::map<std::string, Entry>& into) const;
  [[nodiscard]] std::string salt_of(const std::string& name, crypto::HashKind hash) const;

  std::string secret_;
  std::map<std::string, Entry> entries_;  // by DATABASE.USER
  struct Learnt {
    Verifiers verifiers;
    Time at;
  };
  RecentTable<Learnt> learnt_;
  RecentTable<std::shared_ptr<Login>> logins_;
};

/// The verifiers in an answer to usersInfo with showCredentials; none where the user is not in it, or they are not.
[[nodiscard]] std::optional<Verifiers> read_users_info(std::string_view body);
[[nodiscard]] std::string make_users_info(std::string_view database, std::string_view user);
/// Does an answer to connectionStatus say that the connection is logged in as this user, and as nobody else?
[[nodiscard]] bool is_logged_in_as(std::string_view body, std::string_view database, std::string_view user);
[[nodiscard]] std::string make_connection_status();

}  // namespace holdfast::proxy::mongo

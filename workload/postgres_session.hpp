// libpq connections of a workload: one that a client keeps for the whole run and whose every wait is recorded, and a plain
// one for set-up and checks. Neither runs a statement again by itself.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "workload/control.hpp"
#include "workload/statistics.hpp"

struct pg_conn;    // libpq's PGconn
struct pg_result;  // libpq's PGresult

namespace holdfast::workload {

/// A login on 127.0.0.1. The password is no part of anything that is printed.
struct PostgresTarget {
  std::uint16_t port = 0;
  std::string user, password, database;
};

enum class ReplyKind {
  ok,
  error,         // the session lives, `code` says what happened
  disconnected,  // the connection is gone; `code` may be that of a last FATAL
  abandoned,     // the workload ended before an answer came
};

/// What came back for one statement.
struct Reply {
  ReplyKind kind = ReplyKind::ok;
  std::string code{};     // SQLSTATE; empty where the server sent none
  std::string message{};  // the error's first line
  std::string tag{};      // of the last command: `COMMIT` and `ROLLBACK` tell a commit from a failed one
  std::vector<std::vector<std::string>> rows{};  // NULL as an empty string
  [[nodiscard]] bool ok() const { return kind == ReplyKind::ok; }
  /// The first column of the first row, or empty.
  [[nodiscard]] std::string_view value() const;
};

/// Deletes what libpq made.
struct LibpqDelete {
  void operator()(pg_conn* connection) const;
  void operator()(pg_result* result) const;
};

/// A client's connection. It is opened anew only when it was lost, which the record counts. Used by one thread.
class PostgresSession {
 public:
  /// `on_open` runs on each new connection before anything else (settings, prepared statements). The references outlive this.
  PostgresSession(PostgresTarget target, ClientRecord& record, Control& control, std::function<void(PostgresSession&)> on_open);

  /// Opens the connection if there is none; false when the workload ends before that has come about.
  [[nodiscard]] bool ensure_open();
  /// `activity` is what the live view shows. Without parameters a simple Query, with them the extended protocol.
  Reply query(std::string_view activity, const std::string& sql, const std::vector<std::string>& parameters = {});
  Reply prepare(const std::string& name, const std::string& sql);
  Reply execute(std::string_view activity, const std::string& name, const std::vector<std::string>& parameters = {});
  /// Waits up to `limit` for notifications and returns the payloads.
  [[nodiscard]] std::vector<std::string> notifications(milliseconds limit);
  [[nodiscard]] bool is_open() const { return connection_ != nullptr; }
  [[nodiscard]] bool in_transaction() const;

 private:
  [[nodiscard]] bool open();
  /// Waits until the socket is ready for `events` of poll(2); false when the workload was abandoned or `deadline` is over.
  [[nodiscard]] bool wait_for(short events, Clock::time_point deadline);
  Reply exchange(std::string_view activity, const std::function<int(pg_conn*)>& send);
  Reply collect();
  void lose(const std::string& reason);

  PostgresTarget target_;
  ClientRecord& record_;
  Control& control_;
  std::function<void(PostgresSession&)> on_open_;
  std::unique_ptr<pg_conn, LibpqDelete> connection_;
};

/// A plain blocking connection; every failure is a std::runtime_error.
class DirectConnection {
 public:
  explicit DirectConnection(const PostgresTarget& target);
  void run(const std::string& sql);
  [[nodiscard]] std::vector<std::vector<std::string>> rows(const std::string& sql, const std::vector<std::string>& parameters = {});
  /// Creates a login role; the password leaves this process only as a SCRAM verifier.
  void create_login(const std::string& name, const std::string& password);
  /// Whether the server ends this connection within `limit`.
  [[nodiscard]] bool wait_until_lost(milliseconds limit);

 private:
  std::unique_ptr<pg_conn, LibpqDelete> connection_;
};

}  // namespace holdfast::workload

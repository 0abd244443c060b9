// A throw-away PostgreSQL server that can be killed and started again. Decides neither when nor how often.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "workload/child_process.hpp"
#include "workload/postgres_session.hpp"

namespace holdfast::workload {

/// One cluster on 127.0.0.1 with fsync on and SCRAM logins. It dies with the thread that starts it. One thread uses it.
class PostgresServer {
 public:
  /// Makes the cluster with initdb below `directory` (which must exist), as the unprivileged user where this is root, and
  /// starts nothing yet. The server's log is `directory`/postgres.log. Throws std::runtime_error with initdb's own words.
  PostgresServer(std::filesystem::path binaries, std::filesystem::path directory, std::uint16_t port);
  ~PostgresServer();
  PostgresServer(const PostgresServer&) = delete;
  PostgresServer& operator=(const PostgresServer&) = delete;

  /// Waits until the processes of a killed predecessor are gone, starts the server and waits until it accepts logins.
  /// Throws std::runtime_error with the end of its log when that does not come about within 60 s.
  void start();
  /// SIGKILL to the postmaster; returns once it is gone. Its children notice by themselves.
  void kill_postmaster();
  /// SIGKILL to one random backend of `user`, whereupon the server ends all others and recovers. Calls `on_kill` once that is
  /// sent, and returns once the server accepts logins again; at once with false where `user` has no backend.
  [[nodiscard]] bool kill_backend(const std::string& user, const std::function<void()>& on_kill = [] {});
  /// Fast shutdown, immediate shutdown after 10 s.
  void stop();

  [[nodiscard]] bool running();
  [[nodiscard]] bool accepts_logins() const;
  [[nodiscard]] pid_t pid() const;  // of the postmaster; -1 where none was started
  [[nodiscard]] std::uint16_t port() const { return port_; }
  /// The superuser's login, straight to the server.
  [[nodiscard]] PostgresTarget superuser(const std::string& database) const;

 private:
  void initialise();
  [[nodiscard]] std::vector<pid_t> processes() const;

  std::filesystem::path binaries_, directory_, data_, log_;
  std::uint16_t port_;
  std::string password_;
  std::optional<Identity> identity_;
  std::unique_ptr<ChildProcess> postmaster_;
};

}  // namespace holdfast::workload

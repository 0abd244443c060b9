// What a demo is about: a throw-away database, its clients, and how it is struck. The show around it is the same for all.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "cli/demo_stage.hpp"
#include "workload/client_threads.hpp"
#include "workload/history.hpp"

namespace holdfast::cli {

/// What holdfast is started with.
struct DemoUpstream {
  std::string uri;       // without a password
  std::string password;  // travels in a file; empty where there is none
};

/// One thread uses it. The clients end before the database does.
class DemoSubject {
 public:
  /// Waits that long; false when the user wants to end.
  using Pass = std::function<bool(std::chrono::milliseconds)>;

  virtual ~DemoSubject() = default;
  /// Where it comes from, before it is started: a server's programs.
  [[nodiscard]] virtual std::string origin() const = 0;
  /// Starts the database below `directory` and gives its name. Throws std::runtime_error.
  [[nodiscard]] virtual std::string start(const std::filesystem::path& directory) = 0;
  [[nodiscard]] virtual DemoUpstream upstream() const = 0;
  /// Starts the clients, through `proxy_port` or else straight at the database.
  virtual void start_clients(std::optional<std::uint16_t> proxy_port, workload::History& history) = 0;
  [[nodiscard]] virtual workload::ClientThreads& clients() = 0;
  /// One loss, and its end: both are told to the stage.
  virtual void strike(DemoStage& stage, const Pass& pass) = 0;
  /// Whether all of it runs; if not, somebody killed it by hand, and `revive` starts it again.
  [[nodiscard]] virtual bool is_whole() = 0;
  virtual void revive() = 0;
  /// What the writers' table holds, asked straight at the database.
  [[nodiscard]] virtual std::vector<workload::StoredPart> stored_writes() = 0;
  /// A command that connects a person, through `proxy_port` or else straight.
  [[nodiscard]] virtual std::string by_hand(std::optional<std::uint16_t> proxy_port) const = 0;
  /// A command that kills it by hand.
  [[nodiscard]] virtual std::string kill_by_hand() const = 0;
  /// What its clients hear without asking: `notifications`.
  [[nodiscard]] virtual std::string heard() const = 0;
};

}  // namespace holdfast::cli

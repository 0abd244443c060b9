// What happens to the demo's server, told by the thread that does it and read by the live view. Does nothing by itself.
#pragma once

#include <cstddef>
#include <mutex>
#include <string>
#include <vector>

#include "workload/wait.hpp"

namespace holdfast::cli {

enum class ServerState { starting, up, down, recovering };

/// The server's side of the demo at one moment.
struct StageSnapshot {
  ServerState server = ServerState::starting;
  workload::Clock::time_point since{};       // in this state
  workload::Clock::time_point began{};       // the demo's clock
  workload::Clock::time_point recovered{};   // when it last came up after an outage
  std::size_t postmaster_kills = 0;
  std::size_t backend_kills = 0;
  std::size_t primary_kills = 0;             // of a replica set
  std::size_t stepdowns = 0;
  std::size_t found_dead = 0;                // killed by somebody else, with --stay
  std::chrono::milliseconds longest_outage{0};
  std::vector<std::string> events{};         // in order, each with its time
  [[nodiscard]] std::size_t outages() const { return postmaster_kills + backend_kills + primary_kills + stepdowns + found_dead; }
};

enum class Blow { postmaster, backend, primary, stepdown, found_dead };

class DemoStage {
 public:
  /// Starts the clock.
  void begin();
  void event(const std::string& text);
  void struck(Blow blow);     // the server is down from now on
  void recovering();
  /// `what` is so again, as a sentence without its end.
  void up(const std::string& what);
  [[nodiscard]] StageSnapshot snapshot() const;

 private:
  void tell(const std::string& text);  // with the mutex held
  mutable std::mutex mutex_;
  StageSnapshot now_{.began = workload::Clock::now()};
  workload::Clock::time_point struck_{};
};

/// `1.2 s`.
[[nodiscard]] std::string seconds(std::chrono::nanoseconds duration);

}  // namespace holdfast::cli

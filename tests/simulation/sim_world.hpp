// One run: servers that fail, the real upstream machine, sessions and their clients, and what must hold in the end.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tests/simulation/clock.hpp"
#include "tests/simulation/model_database.hpp"
#include "tests/simulation/sim_client.hpp"
#include "tests/simulation/sim_session.hpp"
#include "tests/simulation/sim_upstream.hpp"

namespace holdfast::simulation {

class SimWorld {
 public:
  explicit SimWorld(std::uint64_t seed);
  ~SimWorld();

  /// Runs everything and checks it; failures are GoogleTest's.
  void run();
  /// What happened, for a seed that fails.
  [[nodiscard]] std::string history() const;

  struct Totals {
    long committed = 0, unknown = 0, never_ran = 0, losses = 0, disconnects = 0, replayed = 0, not_replayed = 0;
  };
  [[nodiscard]] const Totals& totals() const { return totals_; }

  // ---- for sessions ----

  [[nodiscard]] const proxy::UpstreamSettings& settings() const { return upstream_.settings(); }
  [[nodiscard]] std::uint64_t next_waiter() { return ++last_waiter_; }
  void enter(std::uint64_t waiter, Time deadline);
  void cancel_wait(std::uint64_t waiter);
  std::pair<proxy::Outcome, std::shared_ptr<Link>> log_in(std::size_t host);
  void login_finished(const proxy::upstream_action::Grant& grant, const proxy::Outcome& outcome);
  void backend_lost();
  void ask_witness();
  void session_closed(const SimSession& session);

 private:
  struct Host {
    bool up = true;
    Time ready_at{};  // 57P03 before
    proxy::Role role = proxy::Role::primary;
  };
  struct Pair {
    std::unique_ptr<SimClient> client;
    std::unique_ptr<SimSession> session;
  };

  static proxy::UpstreamSettings make_settings(Clock& clock);
  [[nodiscard]] SimUpstream::World make_shell();
  [[nodiscard]] proxy::Outcome look_at(std::size_t host) const;
  void answer_witnesses(bool alive);

  void add_client();
  void plan_faults();
  void fault();
  void stop_host(std::size_t host, Link::Death death);
  void start_host(std::size_t host);
  void operate();
  void tick();
  void watch();
  void check_end();
  void note(std::string what);

  Clock clock_;
  ModelDatabase database_;
  Ledger ledger_;
  SimUpstream upstream_;
  std::vector<Host> hosts_;
  std::vector<Pair> pairs_;
  std::vector<std::weak_ptr<Link>> links_;
  std::uint64_t last_waiter_ = 0;
  bool faults_over_ = false;
  microseconds paused_{0};               // in all
  std::optional<Time> paused_since_;
  std::string history_;
  Totals totals_;
};

}  // namespace holdfast::simulation

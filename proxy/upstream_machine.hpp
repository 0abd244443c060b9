// Decides for one upstream: when to attempt, where to probe, whether the gate is open and who goes through it next.
// Sans-io: facts and the time in, actions out; jitter comes in as a generator.
//
//   connecting ──ok──► connected ──lost──► reconnecting ──max_retries──► failed (breaker open)
//                          ▲                    │ attempt, or a probe's answer   │ probes go on
//                          └────────────────────┴────────────────────────────────┘        paused lies over all
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "backoff/breaker.hpp"
#include "config/config.hpp"
#include "proxy/upstream_types.hpp"

namespace holdfast::proxy {

/// What an endpoint means that answers, but has not the role that is wished for.
enum class Unfit {
  failure,  // a failed attempt: nothing says that it will ever have it
  awaited,  // an election is to be waited for: no attempt that counts
};

struct UpstreamSettings {
  std::string connection;  // id
  std::vector<config::HostPort> endpoints;
  Wish wish = Wish::any;   // of the standing connection, from target_session_attrs
  Unfit unfit = Unfit::failure;
  config::Reconnect reconnect;
  config::Health health;
  milliseconds pause_timeout{600'000};
};

enum class RefusalReason {
  hold_timeout,  // the deadline passed
  breaker_open,  // not waited at all: the breaker is open
  cancelled,     // cancel_wait was called
  stopped,       // the proxy ends, or the connection was removed from the configuration
};

/// What the shell is to do.
namespace upstream_action {
struct Attempt { std::uint64_t number; std::size_t endpoint; SteadyTime deadline; };  // answer: on_attempt
struct Probe { std::size_t endpoint; SteadyTime deadline; };     // answer: on_probe
struct Check { SteadyTime deadline; };                           // answer: on_check
struct CloseStanding {};
struct Grant { std::uint64_t waiter; std::uint64_t slot; std::size_t endpoint; };
struct Refuse { std::uint64_t waiter; RefusalReason reason; std::string message; };
struct Tell { Event event; };                                    // `time` is the shell's to fill in
}  // namespace upstream_action
using UpstreamAction =
    std::variant<upstream_action::Attempt, upstream_action::Probe, upstream_action::Check,
                 upstream_action::CloseStanding, upstream_action::Grant, upstream_action::Refuse, upstream_action::Tell>;

class UpstreamMachine {
 public:
  /// `draw` gives numbers from 0 to 1.
  UpstreamMachine(UpstreamSettings settings, std::function<double()> draw);

  void start(SteadyTime now);
  void on_timer(SteadyTime now);
  void on_attempt(std::uint64_t number, std::size_t endpoint, const Outcome& outcome, SteadyTime now);
  void on_probe(std::size_t endpoint, const Outcome& outcome, SteadyTime now);
  void on_check(const Outcome& outcome, SteadyTime now);
  void on_standing_lost(const std::string& reason, SteadyTime now);

  void enter(std::uint64_t waiter, Wish wish, SteadyTime deadline, SteadyTime now);
  void cancel_wait(std::uint64_t waiter);
  void on_login_finished(std::uint64_t slot, std::size_t endpoint, const Outcome& outcome, SteadyTime now);
  /// Nobody logs in by that grant.
  void on_grant_unused(std::uint64_t slot, SteadyTime now);
  /// How a login went that held no slot.
  void on_login(std::size_t endpoint, const Outcome& outcome, SteadyTime now);
  /// A session has lost its backend: is the standing connection still there?
  void on_backend_lost(SteadyTime now);
  /// A session found that the server at `endpoint` answers neither it, nor a check, nor a new login.
  void on_server_silent(std::size_t endpoint, const std::string& reason, SteadyTime now);
  /// Somebody wants to know whether the server lives; a check under way answers for all.
  void want_check(SteadyTime deadline);

  void force_reconnect(SteadyTime now);
  void pause(SteadyTime now);
  void resume(SteadyTime now);
  void reconfigure(const config::Reconnect& reconnect, const config::Health& health, SteadyTime now);
  /// One more endpoint, which has been found out; it gets the next index.
  void add_endpoint(config::HostPort endpoint, SteadyTime now);
  /// An endpoint whose address has been found out; what is known of it is of this one.
  void rename_endpoint(std::size_t endpoint, config::HostPort address);
  /// An endpoint that does not belong to the upstream any more, or does again. It keeps its index, and a standing connection.
  void retire(std::size_t endpoint, bool retired);
  void stop();

  /// When on_timer is due; none when nothing is.
  [[nodiscard]] std::optional<SteadyTime> deadline() const;
  /// Takes what is to be done, in order.
  [[nodiscard]] std::vector<UpstreamAction> take_actions();

  /// The endpoint that a grant would name now; none where somebody who enters would have to wait.
  [[nodiscard]] std::optional<std::size_t> ready(Wish wish, SteadyTime now) const;
  [[nodiscard]] State state() const { return paused_since_ ? State::paused : state_; }
  [[nodiscard]] const UpstreamSettings& settings() const { return settings_; }
  [[nodiscard]] std::size_t slots_in_use() const { return slots_; }
  [[nodiscard]] std::size_t waiting() const { return waiters_.size(); }
  [[nodiscard]] const std::string& identity(std::size_t endpoint) const { return endpoints_[endpoint].identity; }
  /// Everything but the wall-clock times, which are the shell's.
  [[nodiscard]] UpstreamStatus status() const;
  [[nodiscard]] std::optional<SteadyTime> next_attempt_at() const { return next_attempt_at_; }

 private:
  struct Endpoint {
    Role role = Role::unknown;
    bool healthy = false;
    std::optional<microseconds> latency;
    std::string identity;
    bool probing = false;
    bool retired = false;
    SteadyTime next_probe{};
    SteadyTime held_back{};  // no grant before: a session has just failed there
  };
  struct Waiter {
    std::uint64_t id;
    Wish wish;
    SteadyTime deadline;
    SteadyTime since;
  };
  /// One walk over the endpoints.
  struct Attempt {
    std::deque<std::size_t> candidates;
    std::deque<std::size_t> second_choice;  // they fit, but a better one may follow
    bool preferring = true;                 // the walk is not yet over the second choice
    bool counted = false;
    bool not_ready = false, rejected = false;
    std::string error;
  };

  void begin_attempt(bool counted, std::optional<std::size_t> only, SteadyTime now);
  void continue_attempt(SteadyTime now);
  void end_attempt(SteadyTime now);
  void connected(std::size_t endpoint, SteadyTime now);
  void lose(const std::string& reason, SteadyTime now);
  void schedule_attempt(SteadyTime now);
  void probe_due(SteadyTime now);
  void hasten_probes(SteadyTime now);
  void check(SteadyTime deadline);
  void grant(SteadyTime now);
  [[nodiscard]] std::optional<std::size_t> choose(Wish wish, SteadyTime now) const;
  void expire_waiters(SteadyTime now);
  void refuse(const Waiter& waiter, RefusalReason reason, SteadyTime now);
  [[nodiscard]] std::string describe(SteadyTime now) const;
  [[nodiscard]] milliseconds probe_gap(SteadyTime now);
  [[nodiscard]] bool looking() const { return state_ != State::connected && !attempt_ && started_ && !stopped_; }
  Event& tell(EventKind kind);

  UpstreamSettings settings_;
  std::function<double()> draw_;
  State state_ = State::connecting;
  backoff::Breaker breaker_;
  std::vector<Endpoint> endpoints_;
  std::optional<std::size_t> current_;   // of the standing connection
  std::optional<Attempt> attempt_;
  std::optional<SteadyTime> next_attempt_at_;
  std::uint64_t attempt_number_ = 0;     // tells an answer that was overtaken from the one that is waited for
  bool rejected_ = false;                // the server refuses our own login, so it lives: the gate is open
  bool ever_connected_ = false;
  bool started_ = false, stopped_ = false;
  SteadyTime outage_since_{};
  std::string last_error_;
  std::deque<Waiter> waiters_;
  std::size_t slots_ = 0;
  std::uint64_t last_slot_ = 0;
  bool checking_ = false;
  bool check_again_ = false;
  bool check_overtaken_ = false;  // the check under way asks a connection that is gone
  SteadyTime check_limit_{};
  std::optional<SteadyTime> next_check_;
  std::uint32_t failed_checks_ = 0;
  std::optional<SteadyTime> paused_since_;
  std::vector<UpstreamAction> actions_;
};

/// Does an endpoint of this role meet the wish?
[[nodiscard]] bool fits(Role role, Wish wish);

}  // namespace holdfast::proxy

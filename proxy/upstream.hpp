// The upstream of one connection: its endpoints, its standing connection, and the gate where sessions wait for them.
// This is the I/O shell; upstream_machine.hpp decides.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "config/config.hpp"
#include "proxy/standing_connection.hpp"
#include "proxy/task.hpp"
#include "proxy/upstream_machine.hpp"
#include "proxy/upstream_types.hpp"

namespace holdfast::proxy {

/// Leave to log in to an endpoint. Holds one of the upstream's `concurrency` login slots until
/// Upstream::login_finished is told how it went.
struct Grant {
  std::uint64_t slot = 0;
  std::size_t endpoint = 0;  // index into the upstream's endpoints
  config::HostPort address;
  std::string identity;      // of the cluster, as the standing connection last saw it; empty: not known
};

/// Why the gate did not let a session through.
struct Refusal {
  using Reason = RefusalReason;
  Reason reason{};
  std::string message;  // a sentence that names the connection, the last error and the next attempt
};

using WaiterId = std::uint64_t;

class Upstream {
 public:
  using Settings = UpstreamSettings;

  /// `home` is the worker that owns this; `observer` outlives it. `random` is the seed of the jitter.
  Upstream(Executor home, Settings settings, std::unique_ptr<StandingConnection> standing, UpstreamObserver& observer,
           std::uint64_t random_seed);
  ~Upstream();
  Upstream(const Upstream&) = delete;
  Upstream& operator=(const Upstream&) = delete;

  /// Begins the first attempt and the health checks. On the home worker.
  void start();
  /// Refuses all waiters (`stopped`) and closes the standing connection. On the home worker; the owner then runs the
  /// io_context until nothing is left of it before destroying this.
  void stop();

  // ---- for sessions, from any worker; tasks resume on the caller's worker ----

  /// A name for one wait, so that it can be cancelled. Thread-safe.
  [[nodiscard]] WaiterId next_waiter() { return ++last_waiter_; }

  /// Waits until an endpoint that meets `wish` may be logged in to, or until `deadline`.
  /// While paused `deadline` does not run (pause_timeout does).
  Task<std::variant<Grant, Refusal>> enter(WaiterId waiter, Wish wish, SteadyTime deadline);

  /// The endpoint that a grant would name at this moment; none where one would have to wait for it. For protocols that keep
  /// connections open between statements and need no leave to use them. On the home worker.
  [[nodiscard]] std::optional<std::size_t> ready_endpoint(Wish wish) const;

  /// Ends the wait of `waiter` with Refusal::cancelled; nothing when it no longer waits.
  void cancel_wait(WaiterId waiter);

  /// How the login that `grant` allowed went. Releases its slot. A failure `unreachable` makes the upstream check
  /// its standing connection at once; `rejected` concerns the client alone.
  void login_finished(Grant grant, Outcome outcome);

  /// Nobody logs in by this grant. Releases its slot.
  void grant_unused(Grant grant);
  /// How a login went that no grant was held for. What it means is the same.
  void logged_in(std::size_t endpoint, Outcome outcome);

  /// A session's backend was lost: the standing connection is checked at once. Only a hint.
  void backend_lost(std::size_t endpoint, std::string reason);

  /// The server at `endpoint` answers neither a session, nor a check, nor a new login: it is lost.
  void server_silent(std::size_t endpoint, std::string reason);

  /// One more endpoint, which has been found out: it gets the next index.
  void add_endpoint(config::HostPort endpoint);
  /// An endpoint whose address has been found out; what is known of it is of this one.
  void rename_endpoint(std::size_t endpoint, config::HostPort address);
  /// An endpoint that does not belong to the upstream any more, or does again.
  void retire(std::size_t endpoint, bool retired);

  /// A session was brought to a new backend, with so many statements or transactions to run again: counted for the log
  /// line and the event of the reconnection.
  void session_restored(std::uint64_t statements_replayed);

  /// An operator holds every client's next statement. Any thread; may be a moment old.
  [[nodiscard]] bool paused() const;

  /// Is the server on the other side of the standing connection alive right now? Joins a check under way.
  Task<bool> alive(SteadyTime deadline);

  // ---- for operators, from any thread ----

  void force_reconnect();
  void pause();
  void resume();
  void reconfigure(config::Reconnect reconnect, config::Health health);
  /// Resumes on the caller's executor.
  Task<UpstreamStatus> status();

  [[nodiscard]] Executor home() const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
  std::atomic<WaiterId> last_waiter_{0};
};

}  // namespace holdfast::proxy

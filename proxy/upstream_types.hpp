// The words that an upstream, its observers and the protocols share: roles, wishes, failures, states, events, status.
// Plain data, no I/O, no protocol.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "config/config.hpp"

namespace holdfast::proxy {

using SteadyTime = std::chrono::steady_clock::time_point;
using SystemTime = std::chrono::system_clock::time_point;
using std::chrono::microseconds;
using std::chrono::milliseconds;

/// What a server says of itself.
enum class Role {
  unknown,    // not asked yet, or no answer
  primary,    // takes writes
  standby,    // in recovery
  read_only,  // not in recovery, but default_transaction_read_only is on
};

/// What a session needs of the endpoint that it is given (libpq's target_session_attrs; later a read preference).
enum class Wish { any, read_write, read_only, primary, standby, prefer_standby };

/// Why an attempt, a probe or a login did not succeed, as far as reconnection is concerned.
enum class Failure {
  none,         // it succeeded
  unreachable,  // refused, timed out, no route, no such name, TLS failed: a failed attempt
  not_ready,    // 57P03, 53300, EOF before login: asked again soon, not a failed attempt
  rejected,     // authentication or authorization: shown at once, never retried by itself
  unfit,        // it answers, but has not the role that is wished for
};

/// State of a connection, one name in code, logs, metrics, API and docs.
enum class State {
  connecting,    // never been connected yet
  connected,     // the standing connection lives: the gate is open
  reconnecting,  // lost; attempts and probes are under way
  failed,        // the breaker is open: new statements get an error at once, probes go on
  paused,        // an operator holds every client's next statement
};

enum class BreakerState { closed, open, half_open };

[[nodiscard]] const char* to_string(Role);
[[nodiscard]] const char* to_string(State);
[[nodiscard]] const char* to_string(BreakerState);

/// Answer of an attempt to make the standing connection, of a check on it, or of a probe.
struct Outcome {
  Failure failure = Failure::none;
  Role role = Role::unknown;
  std::string identity;   // which cluster it is (PostgreSQL: system identifier and major version); empty: not known
  std::string error;      // the server's or the system's words, without secrets; empty on success
  std::string code;       // SQLSTATE or the protocol's code, may be empty
  microseconds latency{0};
  [[nodiscard]] bool ok() const { return failure == Failure::none; }
};

enum class EventKind {
  connected,
  connection_lost,
  reconnect_scheduled,
  reconnecting,
  reconnected,
  reconnect_failed,      // the breaker has opened
  health_check_failed,
  config_changed,
};

/// `database-connection-lost` and so on, as the admin API names them.
[[nodiscard]] const char* to_string(EventKind);

/// One thing that happened to a connection. Fields that an event does not use stay at their defaults.
struct Event {
  EventKind kind{};
  std::string connection;
  SystemTime time{};
  std::uint32_t attempt = 0;      // reconnect_scheduled, reconnecting
  std::uint32_t max_retries = 0;  // reconnect_scheduled
  milliseconds delay{0};          // reconnect_scheduled
  milliseconds downtime{0};       // reconnected
  std::uint64_t sessions_restored = 0;    // reconnected
  std::uint64_t statements_replayed = 0;  // reconnected
  std::string reason;             // lost, failed, health check
};

struct EndpointStatus {
  std::string address;
  Role role = Role::unknown;
  bool healthy = false;
  std::optional<microseconds> latency;  // of the last answer
};

/// What `GET /api/v1/connections` shows, but for the session counts.
struct UpstreamStatus {
  std::string connection;
  State state = State::connecting;
  BreakerState breaker = BreakerState::closed;
  std::uint32_t attempts = 0;  // counted attempts since the loss
  std::string last_error;      // empty: none
  std::optional<SystemTime> last_health_check;
  std::optional<SystemTime> next_attempt_at;
  SystemTime since{};          // of the present state
  std::string current;         // address of the endpoint of the standing connection; empty: none
  std::vector<EndpointStatus> endpoints;
};

/// How one attempt to make the standing connection went, or one health check on it.
struct Measurement {
  std::string connection;
  SystemTime time{};
  bool is_check = false;
  bool ok = false;
  microseconds latency{0};
  std::string error;  // empty where it is ok
};

/// Is told what happens to connections. Called on the connection's home worker; must not wait, block or throw.
class UpstreamObserver {
 public:
  virtual ~UpstreamObserver() = default;
  virtual void on_event(const Event& event) = 0;
  virtual void on_measured(const Measurement&) {}
};

}  // namespace holdfast::proxy

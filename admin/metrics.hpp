// What /metrics shows, as plain data at one moment. Knows nothing of the text format.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "proxy/counters.hpp"
#include "proxy/session_types.hpp"
#include "proxy/upstream_types.hpp"

namespace holdfast::admin {

using proxy::SessionCounts;

struct HistogramSnapshot {
  std::vector<double> bounds;          // upper bounds in seconds, ascending
  std::vector<std::uint64_t> counts;   // of each bucket alone; one more than bounds, for what is above the last
  double sum = 0;                      // seconds
  void add(const proxy::Histogram& histogram);
};

/// Values by label.
using Labelled = std::map<std::string, std::uint64_t>;

struct ConnectionMetrics {
  std::string connection;
  bool up = false;
  proxy::BreakerState breaker = proxy::BreakerState::closed;
  SessionCounts sessions;
  struct Protection {
    std::string level;   // replayable, restorable, not_restorable
    std::string reason;  // why no better; may be empty
    std::uint64_t sessions = 0;
  };
  std::vector<Protection> protection;

  std::uint64_t client_connections = 0;
  Labelled client_disconnections;   // reason
  Labelled bytes;                   // direction
  std::uint64_t statements = 0;
  Labelled reconnect_attempts;      // result
  std::uint64_t sessions_restored = 0;
  Labelled statements_replayed;     // result
  Labelled transactions_replayed;   // result
  Labelled commit_outcomes;         // outcome
  std::uint64_t notification_gaps = 0;
  HistogramSnapshot outage_seconds, hold_seconds, health_check_seconds, upstream_login_seconds;

  /// Adds what one worker has counted; called for each worker in turn, from any thread. Must be called at least once,
  /// with empty counters if need be, or series that are still zero are missing.
  void add(const proxy::ConnectionCounters& counters);
};

struct MetricsSnapshot {
  std::string version;  // of this program
  std::vector<ConnectionMetrics> connections;
};

}  // namespace holdfast::admin

// Counters that one worker writes and any thread reads: no lock, no shared write. Standard library only.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace holdfast::proxy {

/// One writer. Reads from other threads see some recent value.
class Counter {
 public:
  void add(std::uint64_t count) {
    value_.store(value_.load(std::memory_order_relaxed) + count, std::memory_order_relaxed);
  }
  [[nodiscard]] std::uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

/// A histogram of seconds with fixed bounds. One writer.
class Histogram {
 public:
  /// Upper bounds, inclusive; up to ten minutes, because outages last longer than anything else that is measured.
  static constexpr std::array<double, 19> bounds{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
                                                 1,      2.5,   5,      10,    30,   60,    120,  300, 600};

  void observe(double seconds) {
    std::size_t bucket = 0;
    while (bucket < bounds.size() && seconds > bounds[bucket]) ++bucket;
    counts_[bucket].add(1);
    sum_.store(sum_.load(std::memory_order_relaxed) + seconds, std::memory_order_relaxed);
  }
  /// One more than bounds: the last bucket has none.
  static constexpr std::size_t bucket_count = bounds.size() + 1;
  /// Observations in bucket `index` alone, not cumulative.
  [[nodiscard]] std::uint64_t bucket(std::size_t index) const { return counts_[index].value(); }
  [[nodiscard]] double sum() const { return sum_.load(std::memory_order_relaxed); }

 private:
  std::array<Counter, bounds.size() + 1> counts_;
  std::atomic<double> sum_{0};
};

/// What the sessions of one connection count on one worker.
struct ConnectionCounters {
  Counter client_connections;
  Counter bytes_from_client, bytes_to_client, bytes_from_server, bytes_to_server;
  Counter statements;
  Counter sessions_restored;
  Counter notification_gaps;
  Counter reconnect_attempts_succeeded, reconnect_attempts_failed;
  Counter statements_replayed_succeeded, statements_replayed_failed;
  Counter transactions_replayed_succeeded, transactions_replayed_failed;
  Counter commit_outcomes_committed, commit_outcomes_not_committed, commit_outcomes_unknown;
  Histogram outage_seconds;
  Histogram health_check_seconds;
  Histogram hold_seconds;
  Histogram upstream_login_seconds;

  /// Reasons why a client session ended; what is not in the list counts as `other`.
  static constexpr std::array<std::string_view, 22> disconnect_reasons{
      "client",          "login",          "authentication",  "cancel_request",    "protocol_error",  "drained",
      "temporary_table", "cursor",         "advisory_lock",   "sequence_value",    "random_seed",     "extension_state",
      "not_restorable",  "refused_setting", "unconfirmed_state", "partial_message", "tls",            "too_many_clients",
      "hold_timeout",    "upstream_lost",  "backend_lost",    "other"};
  std::array<Counter, disconnect_reasons.size()> disconnections;
  void disconnected(std::string_view reason) {
    std::size_t index = 0;
    while (index + 1 < disconnect_reasons.size() && disconnect_reasons[index] != reason) ++index;
    disconnections[index].add(1);
  }
};

}  // namespace holdfast::proxy

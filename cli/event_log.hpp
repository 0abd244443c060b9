// Counts what happens to the connections, for the metrics, and keeps the last of it for who listens. Events of all workers
// come together here.
#pragma once

#include <map>
#include <mutex>
#include <string>

#include "admin/event_feed.hpp"
#include "admin/history.hpp"
#include "proxy/counters.hpp"
#include "proxy/upstream_types.hpp"

namespace holdfast::cli {

/// Written by the home workers, read by the admin thread; events are rare, so a lock is no matter.
class EventLog final : public proxy::UpstreamObserver {
 public:
  void on_event(const proxy::Event& event) override {
    count(event);
    history_.on_event(event);
    feed_.append(event);
  }
  void on_measured(const proxy::Measurement& measurement) override {
    history_.on_measured(measurement);
    if (!measurement.is_check || !measurement.ok) return;
    const std::lock_guard lock(mutex_);
    counters_[measurement.connection].health_check_seconds.observe(std::chrono::duration<double>(measurement.latency).count());
  }
  /// The last events. Any thread may append to it, the admin thread reads.
  [[nodiscard]] admin::EventFeed& feed() { return feed_; }
  /// The last hour.
  [[nodiscard]] const admin::History& history() const { return history_; }
  /// What was counted for the connection.
  template <class Read>
  void read(const std::string& connection, Read read) const {
    const std::lock_guard lock(mutex_);
    if (const auto found = counters_.find(connection); found != counters_.end()) read(found->second);
  }

 private:
  void count(const proxy::Event& event) {
    const std::lock_guard lock(mutex_);
    using proxy::EventKind;
    auto& counters = counters_[event.connection];
    auto& under_way = under_way_[event.connection];
    if (event.kind == EventKind::reconnecting) under_way = event.attempt;
    // An attempt has failed where the next one has a higher number, or there is none. One that found the server starting
    // keeps its number.
    const bool counted = event.kind == EventKind::reconnect_scheduled && event.attempt > under_way;
    if (under_way > 0 && (counted || event.kind == EventKind::reconnect_failed)) {
      counters.reconnect_attempts_failed.add(1);
      under_way = 0;
    }
    if (event.kind != EventKind::reconnected) return;
    under_way = 0;
    counters.reconnect_attempts_succeeded.add(1);
    counters.outage_seconds.observe(std::chrono::duration<double>(event.downtime).count());
  }

  mutable std::mutex mutex_;
  std::map<std::string, proxy::ConnectionCounters> counters_;
  std::map<std::string, std::uint32_t> under_way_;  // number of the attempt that is; 0: none
  admin::History history_;
  admin::EventFeed feed_;
};

}  // namespace holdfast::cli

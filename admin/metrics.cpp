// Sums up the counters of the workers.
#include "admin/metrics.hpp"

namespace holdfast::admin {

void HistogramSnapshot::add(const proxy::Histogram& histogram) {
  if (counts.empty()) {
    bounds.assign(proxy::Histogram::bounds.begin(), proxy::Histogram::bounds.end());
    counts.assign(proxy::Histogram::bucket_count, 0);
  }
  for (std::size_t i = 0; i < proxy::Histogram::bucket_count; ++i) counts[i] += histogram.bucket(i);
  sum += histogram.sum();
}

void ConnectionMetrics::add(const proxy::ConnectionCounters& counters) {
  client_connections += counters.client_connections.value();
  for (std::size_t i = 0; i < counters.disconnections.size(); ++i) {
    client_disconnections[std::string(proxy::ConnectionCounters::disconnect_reasons[i])] +=
        counters.disconnections[i].value();
  }
  bytes["from_client"] += counters.bytes_from_client.value();
  bytes["to_client"] += counters.bytes_to_client.value();
  bytes["from_server"] += counters.bytes_from_server.value();
  bytes["to_server"] += counters.bytes_to_server.value();
  statements += counters.statements.value();
  reconnect_attempts["succeeded"] += counters.reconnect_attempts_succeeded.value();
  reconnect_attempts["failed"] += counters.reconnect_attempts_failed.value();
  sessions_restored += counters.sessions_restored.value();
  statements_replayed["succeeded"] += counters.statements_replayed_succeeded.value();
  statements_replayed["failed"] += counters.statements_replayed_failed.value();
  transactions_replayed["succeeded"] += counters.transactions_replayed_succeeded.value();
  transactions_replayed["failed"] += counters.transactions_replayed_failed.value();
  commit_outcomes["committed"] += counters.commit_outcomes_committed.value();
  commit_outcomes["not_committed"] += counters.commit_outcomes_not_committed.value();
  commit_outcomes["unknown"] += counters.commit_outcomes_unknown.value();
  notification_gaps += counters.notification_gaps.value();
  outage_seconds.add(counters.outage_seconds);
  hold_seconds.add(counters.hold_seconds);
  health_check_seconds.add(counters.health_check_seconds);
  upstream_login_seconds.add(counters.upstream_login_seconds);
}

}  // namespace holdfast::admin

// Families by hand, text by prometheus-cpp: a registry would want to own the counters.
#include "admin/metrics_text.hpp"

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <array>
#include <functional>
#include <initializer_list>
#include <limits>
#include <utility>
#include <vector>

namespace holdfast::admin {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Labels = std::initializer_list<std::pair<const char*, std::string>>;

ClientMetric labelled(Labels labels) {
  ClientMetric metric;
  for (const auto& [name, value] : labels) metric.label.push_back({name, value});
  return metric;
}

class Families {
 public:
  explicit Families(const MetricsSnapshot& snapshot) : snapshot_(snapshot) {}

  MetricFamily& add(std::string name, std::string help, MetricType type) {
    return all_.emplace_back(MetricFamily{"holdfast_" + name, std::move(help), type, {}});
  }
  void gauge(std::string name, std::string help, const std::function<double(const ConnectionMetrics&)>& value) {
    auto& family = add(std::move(name), std::move(help), MetricType::Gauge);
    for (const auto& connection : snapshot_.connections) {
      auto metric = labelled({{"connection", connection.connection}});
      metric.gauge.value = value(connection);
      family.metric.push_back(std::move(metric));
    }
  }
  void counter(std::string name, std::string help, std::uint64_t ConnectionMetrics::*value) {
    auto& family = add(std::move(name), std::move(help), MetricType::Counter);
    for (const auto& connection : snapshot_.connections) {
      auto metric = labelled({{"connection", connection.connection}});
      metric.counter.value = static_cast<double>(connection.*value);
      family.metric.push_back(std::move(metric));
    }
  }
  void counter(std::string name, std::string help, const char* label, Labelled ConnectionMetrics::*values) {
    auto& family = add(std::move(name), std::move(help), MetricType::Counter);
    for (const auto& connection : snapshot_.connections) {
      for (const auto& [value, count] : connection.*values) {
        auto metric = labelled({{"connection", connection.connection}, {label, value}});
        metric.counter.value = static_cast<double>(count);
        family.metric.push_back(std::move(metric));
      }
    }
  }
  void histogram(std::string name, std::string help, HistogramSnapshot ConnectionMetrics::*value) {
    auto& family = add(std::move(name), std::move(help), MetricType::Histogram);
    for (const auto& connection : snapshot_.connections) {
      const auto& from = connection.*value;
      auto metric = labelled({{"connection", connection.connection}});
      auto& to = metric.histogram;
      for (std::size_t i = 0; i < from.counts.size(); ++i) {
        to.sample_count += from.counts[i];
        const auto bound = i < from.bounds.size() ? from.bounds[i] : std::numeric_limits<double>::infinity();
        to.bucket.push_back({to.sample_count, bound});
      }
      to.sample_sum = from.sum;
      family.metric.push_back(std::move(metric));
    }
  }
  /// A metric of the process, under the name that all Prometheus clients give it.
  void process(std::string name, std::string help, MetricType type, double value) {
    MetricFamily family{"process_" + name, std::move(help), type, {}};
    ClientMetric metric;
    (type == MetricType::Counter ? metric.counter.value : metric.gauge.value) = value;
    family.metric.push_back(std::move(metric));
    all_.push_back(std::move(family));
  }
  [[nodiscard]] const std::vector<MetricFamily>& all() const { return all_; }

 private:
  const MetricsSnapshot& snapshot_;
  std::vector<MetricFamily> all_;
};

void add_states(Families& families, const MetricsSnapshot& snapshot) {
  families.gauge("upstream_up", "Whether the standing connection lives.",
                 [](const ConnectionMetrics& connection) { return connection.up ? 1.0 : 0.0; });
  auto& breaker = families.add("breaker_state", "1 for the state that the circuit breaker is in.", MetricType::Gauge);
  for (const auto& connection : snapshot.connections) {
    for (const auto state : {proxy::BreakerState::closed, proxy::BreakerState::open, proxy::BreakerState::half_open}) {
      auto metric = labelled({{"connection", connection.connection}, {"state", proxy::to_string(state)}});
      metric.gauge.value = connection.breaker == state ? 1 : 0;
      breaker.metric.push_back(std::move(metric));
    }
  }
  auto& sessions = families.add("client_sessions", "Client sessions by what they do.", MetricType::Gauge);
  for (const auto& connection : snapshot.connections) {
    for (const auto& [name, count] : {std::pair{"active", connection.sessions.active},
                                      std::pair{"idle", connection.sessions.idle},
                                      std::pair{"waiting", connection.sessions.waiting}}) {
      auto metric = labelled({{"connection", connection.connection}, {"state", name}});
      metric.gauge.value = static_cast<double>(count);
      sessions.metric.push_back(std::move(metric));
    }
  }
  auto& protection = families.add("sessions_protection", "Client sessions by what they would survive, and why no more.",
                                  MetricType::Gauge);
  for (const auto& connection : snapshot.connections) {
    for (const auto& [level, reason, count] : connection.protection) {
      auto metric = labelled({{"connection", connection.connection}, {"level", level}, {"reason", reason}});
      metric.gauge.value = static_cast<double>(count);
      protection.metric.push_back(std::move(metric));
    }
  }
}

void add_counters(Families& families) {
  using C = ConnectionMetrics;
  families.counter("client_connections_total", "Client connections accepted.", &C::client_connections);
  families.counter("client_disconnections_total", "Client sessions ended, by why.", "reason", &C::client_disconnections);
  families.counter("bytes_total", "Bytes read and written, before TLS.", "direction", &C::bytes);
  families.counter("statements_total", "Statements that clients sent.", &C::statements);
  families.counter("reconnect_attempts_total", "Counted attempts to make the standing connection again.", "result",
                   &C::reconnect_attempts);
  families.counter("sessions_restored_total", "Sessions attached to a new backend.", &C::sessions_restored);
  families.counter("statements_replayed_total", "Statements run again after a loss.", "result", &C::statements_replayed);
  families.counter("transactions_replayed_total", "Transactions run again after a loss.", "result",
                   &C::transactions_replayed);
  families.counter("commit_outcomes_total", "Commits whose answer was lost, by what became of them.", "outcome",
                   &C::commit_outcomes);
  families.counter("notification_gaps_total", "Losses in which a listening session may have missed notifications.",
                   &C::notification_gaps);
}

void add_histograms(Families& families) {
  using C = ConnectionMetrics;
  families.histogram("outage_seconds", "From the loss of the upstream to its return.", &C::outage_seconds);
  families.histogram("hold_seconds", "How long statements waited for the upstream.", &C::hold_seconds);
  families.histogram("health_check_seconds", "Round trips of health checks.", &C::health_check_seconds);
  families.histogram("upstream_login_seconds", "Logins of sessions at the upstream.", &C::upstream_login_seconds);
}

void add_process(Families& families, const ProcessMetrics& process) {
  families.process("cpu_seconds_total", "User and system CPU time spent in seconds.", MetricType::Counter,
                   process.cpu_seconds);
  families.process("resident_memory_bytes", "Resident memory size in bytes.", MetricType::Gauge,
                   process.resident_memory_bytes);
  families.process("virtual_memory_bytes", "Virtual memory size in bytes.", MetricType::Gauge,
                   process.virtual_memory_bytes);
  families.process("open_fds", "Number of open file descriptors.", MetricType::Gauge, process.open_descriptors);
  families.process("max_fds", "Maximum number of open file descriptors.", MetricType::Gauge, process.descriptors_max);
  families.process("threads", "Number of threads.", MetricType::Gauge, process.threads);
  families.process("start_time_seconds", "Start time of the process since unix epoch in seconds.", MetricType::Gauge,
                   process.start_time_seconds);
}

}  // namespace

std::string metrics_text(const MetricsSnapshot& snapshot, const ProcessMetrics& process) {
  Families families(snapshot);
  add_states(families, snapshot);
  add_counters(families);
  add_histograms(families);
  auto& build = families.add("build_info", "1, labelled with the version of this program.", MetricType::Gauge);
  auto info = labelled({{"version", snapshot.version}});
  info.gauge.value = 1;
  build.metric.push_back(std::move(info));
  add_process(families, process);
  return prometheus::TextSerializer().Serialize(families.all());
}

}  // namespace holdfast::admin

// The text of /metrics, line by line as Prometheus would read it, and the counters behind it.
#include <gtest/gtest.h>

#include <map>
#include <regex>
#include <set>
#include <sstream>

#include "admin/metrics_text.hpp"

namespace holdfast::admin {
namespace {

/// Every sample by its name and labels. Fails for any line that the text format does not know.
std::map<std::string, double> samples_of(const std::string& text) {
  const std::regex comment(R"(# (HELP|TYPE) ([a-zA-Z_:][a-zA-Z0-9_:]*) .+)");
  const std::regex sample(
      R"(([a-zA-Z_:][a-zA-Z0-9_:]*(?:\{[a-zA-Z_]\w*="(?:[^"\\\n]|\\.)*"(?:,[a-zA-Z_]\w*="(?:[^"\\\n]|\\.)*")*\})?) (\S+))");
  std::map<std::string, double> samples;
  std::set<std::string> described;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::smatch match;
    if (std::regex_match(line, match, comment)) {
      EXPECT_TRUE(described.insert(match[1].str() + match[2].str()).second) << "twice: " << line;
    } else if (std::regex_match(line, match, sample)) {
      EXPECT_TRUE(samples.emplace(match[1], std::stod(match[2])).second) << "twice: " << line;
    } else {
      ADD_FAILURE() << "neither comment nor sample: " << line;
    }
  }
  return samples;
}

void expect_samples(const std::map<std::string, double>& samples, const std::map<std::string, double>& expected) {
  for (const auto& [name, value] : expected) {
    const auto found = samples.find(name);
    ASSERT_NE(found, samples.end()) << name;
    EXPECT_EQ(found->second, value) << name;
  }
}

MetricsSnapshot snapshot_of(const proxy::ConnectionCounters& counters) {
  MetricsSnapshot snapshot;
  snapshot.version = "1.2.3";
  auto& connection = snapshot.connections.emplace_back();
  connection.connection = "orders";
  connection.up = true;
  connection.breaker = proxy::BreakerState::half_open;
  connection.sessions = {3, 9, 1};
  connection.protection = {{"not_restorable", "temporary_table", 2}};
  connection.add(counters);
  return snapshot;
}

TEST(AdminMetrics, every_series_is_there_from_the_start) {
  const proxy::ConnectionCounters untouched;
  const auto samples = samples_of(metrics_text(snapshot_of(untouched), {}));
  const std::map<std::string, double> expected{
      {R"(holdfast_upstream_up{connection="orders"})", 1},
      {R"(holdfast_breaker_state{connection="orders",state="closed"})", 0},
      {R"(holdfast_breaker_state{connection="orders",state="half_open"})", 1},
      {R"(holdfast_client_sessions{connection="orders",state="waiting"})", 1},
      {R"(holdfast_sessions_protection{connection="orders",level="not_restorable",reason="temporary_table"})", 2},
      {R"(holdfast_client_connections_total{connection="orders"})", 0},
      {R"(holdfast_client_disconnections_total{connection="orders",reason="client"})", 0},
      {R"(holdfast_bytes_total{connection="orders",direction="to_server"})", 0},
      {R"(holdfast_statements_total{connection="orders"})", 0},
      {R"(holdfast_reconnect_attempts_total{connection="orders",result="failed"})", 0},
      {R"(holdfast_sessions_restored_total{connection="orders"})", 0},
      {R"(holdfast_statements_replayed_total{connection="orders",result="succeeded"})", 0},
      {R"(holdfast_transactions_replayed_total{connection="orders",result="failed"})", 0},
      {R"(holdfast_commit_outcomes_total{connection="orders",outcome="unknown"})", 0},
      {R"(holdfast_notification_gaps_total{connection="orders"})", 0},
      {R"(holdfast_outage_seconds_count{connection="orders"})", 0},
      {R"(holdfast_health_check_seconds_sum{connection="orders"})", 0},
      {R"(holdfast_upstream_login_seconds_bucket{connection="orders",le="+Inf"})", 0},
      {R"(holdfast_build_info{version="1.2.3"})", 1},
  };
  expect_samples(samples, expected);
}

TEST(AdminMetrics, what_the_workers_count_is_added_up) {
  proxy::ConnectionCounters first, second;
  first.statements.add(40);
  second.statements.add(2);
  first.disconnected("drained");
  first.disconnected("a reason that nobody listed");
  second.hold_seconds.observe(0.001);  // on a bound: belongs below it
  second.hold_seconds.observe(0.3);
  first.hold_seconds.observe(9999);
  auto snapshot = snapshot_of(first);
  snapshot.connections[0].add(second);
  const auto samples = samples_of(metrics_text(snapshot, {}));
  const std::map<std::string, double> expected{
      {R"(holdfast_statements_total{connection="orders"})", 42},
      {R"(holdfast_client_disconnections_total{connection="orders",reason="drained"})", 1},
      {R"(holdfast_client_disconnections_total{connection="orders",reason="other"})", 1},
      {R"(holdfast_hold_seconds_bucket{connection="orders",le="0.0005"})", 0},
      {R"(holdfast_hold_seconds_bucket{connection="orders",le="0.001"})", 1},
      {R"(holdfast_hold_seconds_bucket{connection="orders",le="0.5"})", 2},
      {R"(holdfast_hold_seconds_bucket{connection="orders",le="600"})", 2},
      {R"(holdfast_hold_seconds_bucket{connection="orders",le="+Inf"})", 3},
      {R"(holdfast_hold_seconds_count{connection="orders"})", 3},
  };
  expect_samples(samples, expected);
  EXPECT_NEAR(samples.at(R"(holdfast_hold_seconds_sum{connection="orders"})"), 9999.301, 1e-6);
}

TEST(AdminMetrics, label_values_are_escaped) {
  MetricsSnapshot snapshot;
  snapshot.connections.emplace_back().connection = "a\"b\\c\nd";
  const auto samples = samples_of(metrics_text(snapshot, {}));
  EXPECT_TRUE(samples.contains(R"(holdfast_upstream_up{connection="a\"b\\c\nd"})"));
}

TEST(AdminMetrics, the_process_is_measured) {
  const auto process = read_process_metrics();
  const auto samples = samples_of(metrics_text({}, process));
  EXPECT_GT(samples.at("process_resident_memory_bytes"), 1e6);
  EXPECT_GT(samples.at("process_virtual_memory_bytes"), samples.at("process_resident_memory_bytes"));
  EXPECT_GE(samples.at("process_open_fds"), 3);
  EXPECT_GE(samples.at("process_threads"), 1);
  const auto now = static_cast<double>(std::time(nullptr));
  EXPECT_NEAR(samples.at("process_start_time_seconds"), now, 600);
  EXPECT_GE(samples.at("process_cpu_seconds_total"), 0);
}

}  // namespace
}  // namespace holdfast::admin

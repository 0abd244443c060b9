// What is kept of the last hour, and that it is bounded.
#include "admin/history.hpp"

#include <gtest/gtest.h>

namespace holdfast::admin {
namespace {

using namespace std::chrono_literals;

const proxy::SystemTime start{std::chrono::hours(500'000)};

proxy::Measurement check(std::chrono::milliseconds after, std::chrono::microseconds latency) {
  return {"orders", start + after, true, true, latency, {}};
}
proxy::Measurement failed(std::chrono::milliseconds after, std::string error) {
  return {"orders", start + after, false, false, {}, std::move(error)};
}
proxy::Event event(proxy::EventKind kind, std::chrono::milliseconds after, std::string reason = {}) {
  proxy::Event made;
  made.kind = kind;
  made.connection = "orders";
  made.time = start + after;
  made.reason = std::move(reason);
  return made;
}

TEST(AdminHistory, keeps_the_longest_latency_of_each_ten_seconds) {
  History history;
  history.on_measured(check(1s, 400us));
  history.on_measured(check(9s, 300us));
  history.on_measured(check(11s, 200us));
  history.on_measured(failed(12s, "refused"));
  const auto view = history.read("orders", start + 20s);
  ASSERT_EQ(view.samples.size(), 2U);
  EXPECT_EQ(view.samples[0], (History::Sample{start, 400us, 0}));
  EXPECT_EQ(view.samples[1], (History::Sample{start + 10s, 200us, 1}));
  EXPECT_TRUE(history.read("other", start).samples.empty());
}

TEST(AdminHistory, an_attempt_that_succeeds_is_no_round_trip) {
  History history;
  auto attempt = check(1s, 90ms);
  attempt.is_check = false;
  history.on_measured(attempt);
  EXPECT_EQ(history.read("orders", start + 2s).samples.at(0).latency, std::nullopt);
}

TEST(AdminHistory, an_outage_goes_from_the_loss_to_the_return_and_not_to_its_announcement) {
  History history;
  history.on_event(event(proxy::EventKind::connection_lost, 1s, "closed"));
  history.on_event(event(proxy::EventKind::connection_lost, 2s, "closed again"));
  ASSERT_EQ(history.read("orders", start + 3s).outages.size(), 1U);
  EXPECT_EQ(history.read("orders", start + 3s).outages[0].to, std::nullopt);
  auto back = event(proxy::EventKind::reconnected, 6s);
  back.downtime = 4000ms;
  history.on_event(back);
  const auto outage = history.read("orders", start + 7s).outages.at(0);
  EXPECT_EQ(outage.from, start + 1s);
  EXPECT_EQ(outage.to, start + 5s);
  EXPECT_EQ(outage.reason, "closed");
}

TEST(AdminHistory, an_error_that_repeats_is_kept_once_with_its_last_time) {
  History history;
  history.on_measured(failed(1s, "refused"));
  history.on_measured(failed(2s, "refused"));
  history.on_event(event(proxy::EventKind::health_check_failed, 3s, "timed out"));
  const auto errors = history.read("orders", start + 4s).errors;
  ASSERT_EQ(errors.size(), 2U);
  EXPECT_EQ(errors[0].message, "refused");
  EXPECT_EQ(errors[0].time, start + 2s);
  EXPECT_EQ(errors[1].message, "timed out");
}

TEST(AdminHistory, is_bounded_however_long_it_goes_on) {
  History history;
  for (int i = 0; i < 2000; ++i) {
    const auto after = i * 10s;
    history.on_measured(check(after, 1ms));
    history.on_measured(failed(after, std::to_string(i) + std::string(5000, 'x')));
    history.on_event(event(proxy::EventKind::connection_lost, after));
    history.on_event(event(proxy::EventKind::connected, after + 1s));
  }
  const auto view = history.read("orders", start + 19'990s);
  EXPECT_EQ(view.samples.size(), 361U);
  EXPECT_EQ(view.outages.size(), History::outages_max);
  EXPECT_EQ(view.errors.size(), History::errors_max);
  EXPECT_LE(view.errors.back().message.size(), History::error_length_max);
  EXPECT_EQ(history.read("orders", start + 19'990s + 2h).samples.size(), 0U);
}

TEST(AdminHistory, a_clock_that_is_set_back_keeps_the_order) {
  History history;
  history.on_measured(check(60s, 1ms));
  history.on_measured(check(1s, 2ms));
  const auto view = history.read("orders", start + 70s);
  ASSERT_EQ(view.samples.size(), 1U);
  EXPECT_EQ(view.samples[0].latency, 2ms);
}

}  // namespace
}  // namespace holdfast::admin

// How long each attempt waits: growth, bound and jitter, at ordinary and at extreme values.
#include "backoff/backoff.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <vector>

namespace holdfast::backoff {
namespace {

using namespace std::chrono_literals;

constexpr double middle = 0.5;  // the draw that jitter leaves alone

std::vector<milliseconds> delays(const Policy& policy, std::uint32_t count) {
  std::vector<milliseconds> found;
  for (std::uint32_t attempt = 1; attempt <= count; ++attempt) found.push_back(delay(policy, attempt, middle));
  return found;
}

TEST(Backoff, the_defaults_wait_5_10_20_40_and_then_60_seconds) {
  EXPECT_EQ(delays({}, 6), (std::vector<milliseconds>{5s, 10s, 20s, 40s, 60s, 60s}));
}

TEST(Backoff, a_multiplier_of_one_waits_the_same_each_time) {
  EXPECT_EQ(delays({.first = 100ms, .multiplier = 1}, 3), (std::vector<milliseconds>{100ms, 100ms, 100ms}));
}

TEST(Backoff, a_multiplier_may_be_a_fraction) {
  EXPECT_EQ(delays({.first = 100ms, .multiplier = 1.5}, 4), (std::vector<milliseconds>{100ms, 150ms, 225ms, 338ms}));
}

TEST(Backoff, a_multiplier_below_one_never_shortens_the_delay) {
  EXPECT_EQ(delays({.first = 100ms, .multiplier = 0.5}, 3), (std::vector<milliseconds>{100ms, 100ms, 100ms}));
}

TEST(Backoff, attempts_count_from_one_and_zero_is_taken_for_the_first) {
  EXPECT_EQ(delay({}, 0, middle), delay({}, 1, middle));
}

TEST(Backoff, a_first_delay_past_the_bound_counts_and_does_not_grow) {
  EXPECT_EQ(delays({.first = 90s, .delay_max = 60s}, 3), (std::vector<milliseconds>{90s, 90s, 90s}));
}

TEST(Backoff, no_attempt_however_late_waits_longer_than_the_bound) {
  for (const std::uint32_t attempt : {100U, 1'000U, 1'025U, 1'000'000U, std::numeric_limits<std::uint32_t>::max()}) {
    EXPECT_EQ(delay({}, attempt, middle), 60s) << attempt;
    EXPECT_EQ(delay({.multiplier = 100}, attempt, middle), 60s) << attempt;
  }
}

TEST(Backoff, a_first_delay_of_nothing_stays_nothing_at_every_attempt) {
  for (const std::uint32_t attempt : {1U, 2U, 1'024U, 1'026U, std::numeric_limits<std::uint32_t>::max()}) {
    EXPECT_EQ(delay({.first = 0ms}, attempt, middle), 0ms) << attempt;
  }
}

TEST(Backoff, jitter_spreads_its_share_evenly_around_the_delay) {
  const Policy policy{.first = 1'000ms, .jitter = 0.2};
  EXPECT_EQ(delay(policy, 1, 0), 900ms);
  EXPECT_EQ(delay(policy, 1, 0.25), 950ms);
  EXPECT_EQ(delay(policy, 1, 0.5), 1'000ms);
  EXPECT_EQ(delay(policy, 1, 0.75), 1'050ms);
  EXPECT_EQ(delay(policy, 1, 1), 1'100ms);
}

TEST(Backoff, without_jitter_the_draw_changes_nothing) {
  const Policy policy{.first = 1'000ms, .jitter = 0};
  for (const double draw : {0.0, 0.3, 1.0}) EXPECT_EQ(delay(policy, 2, draw), 2'000ms) << draw;
}

TEST(Backoff, jitter_of_everything_reaches_from_half_to_one_and_a_half) {
  const Policy policy{.first = 1'000ms, .jitter = 1};
  EXPECT_EQ(delay(policy, 1, 0), 500ms);
  EXPECT_EQ(delay(policy, 1, 1), 1'500ms);
}

TEST(Backoff, jitter_never_carries_a_delay_past_the_bound) {
  const Policy policy{.first = 60s, .delay_max = 60s, .jitter = 0.2};
  EXPECT_EQ(delay(policy, 1, 1), 60s);
  EXPECT_EQ(delay(policy, 1, 0), 54s);
}

TEST(Backoff, jitter_and_draw_out_of_range_are_taken_for_the_nearest_in_range) {
  EXPECT_EQ(delay({.first = 1'000ms, .jitter = 7}, 1, 0), 500ms);
  EXPECT_EQ(delay({.first = 1'000ms, .jitter = -1}, 1, 0), 1'000ms);
  EXPECT_EQ(delay({.first = 1'000ms, .jitter = 0.2}, 1, -3), 900ms);
  EXPECT_EQ(delay({.first = 1'000ms, .jitter = 0.2}, 1, 3), 1'100ms);
}

TEST(Backoff, delays_never_shrink_from_one_attempt_to_the_next_at_the_same_draw) {
  for (const double draw : {0.0, 0.1, 0.5, 0.9, 1.0}) {
    milliseconds before{0};
    for (std::uint32_t attempt = 1; attempt < 2'000; ++attempt) {
      const auto now = delay({.first = 1ms, .multiplier = 1.01}, attempt, draw);
      ASSERT_GE(now, before) << attempt;
      before = now;
    }
  }
}

}  // namespace
}  // namespace holdfast::backoff

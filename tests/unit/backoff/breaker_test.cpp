// When the breaker opens, lets one attempt through, and closes; one case also walks every path of a few steps.
#include "backoff/breaker.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>

namespace holdfast::backoff {
namespace {

using State = Breaker::State;

Breaker opened(std::uint32_t failures_max = 3) {
  Breaker breaker;
  for (std::uint32_t i = 0; i < failures_max; ++i) (void)breaker.on_failure(failures_max);
  return breaker;
}

TEST(Breaker, begins_closed_without_failures) {
  const Breaker breaker;
  EXPECT_EQ(breaker.state(), State::closed);
  EXPECT_EQ(breaker.failures(), 0U);
}

TEST(Breaker, opens_at_the_last_attempt_that_is_allowed_and_says_so_once) {
  Breaker breaker;
  EXPECT_FALSE(breaker.on_failure(3));
  EXPECT_FALSE(breaker.on_failure(3));
  EXPECT_EQ(breaker.state(), State::closed);
  EXPECT_EQ(breaker.failures(), 2U);
  EXPECT_TRUE(breaker.on_failure(3));
  EXPECT_EQ(breaker.state(), State::open);
  EXPECT_EQ(breaker.failures(), 3U);
  EXPECT_FALSE(breaker.on_failure(3));
  EXPECT_EQ(breaker.state(), State::open);
}

TEST(Breaker, one_allowed_attempt_opens_it_at_the_first_failure) {
  Breaker breaker;
  EXPECT_TRUE(breaker.on_failure(1));
  EXPECT_EQ(breaker.state(), State::open);
}

TEST(Breaker, no_allowed_attempt_opens_it_at_the_first_failure_too) {
  Breaker breaker;
  EXPECT_TRUE(breaker.on_failure(0));
}

TEST(Breaker, a_success_forgets_the_failures_before_it) {
  Breaker breaker;
  (void)breaker.on_failure(3);
  (void)breaker.on_failure(3);
  breaker.on_success();
  EXPECT_EQ(breaker.failures(), 0U);
  EXPECT_FALSE(breaker.on_failure(3));
  EXPECT_EQ(breaker.state(), State::closed);
}

TEST(Breaker, failures_while_open_are_not_counted) {
  auto breaker = opened();
  for (int i = 0; i < 5; ++i) (void)breaker.on_failure(3);
  EXPECT_EQ(breaker.failures(), 3U);
}

TEST(Breaker, a_trial_half_opens_an_open_breaker) {
  auto breaker = opened();
  breaker.on_trial();
  EXPECT_EQ(breaker.state(), State::half_open);
}

TEST(Breaker, a_trial_leaves_a_closed_breaker_alone) {
  Breaker breaker;
  (void)breaker.on_failure(3);
  breaker.on_trial();
  EXPECT_EQ(breaker.state(), State::closed);
  EXPECT_EQ(breaker.failures(), 1U);
}

TEST(Breaker, a_failed_trial_opens_it_again_without_announcing_it) {
  auto breaker = opened();
  breaker.on_trial();
  EXPECT_FALSE(breaker.on_failure(3));
  EXPECT_EQ(breaker.state(), State::open);
  EXPECT_EQ(breaker.failures(), 3U);
}

TEST(Breaker, a_trial_that_succeeds_closes_it) {
  auto breaker = opened();
  breaker.on_trial();
  breaker.on_success();
  EXPECT_EQ(breaker.state(), State::closed);
  EXPECT_EQ(breaker.failures(), 0U);
}

TEST(Breaker, a_trial_without_a_verdict_opens_it_again) {
  auto breaker = opened();
  breaker.on_trial();
  breaker.on_no_verdict();
  EXPECT_EQ(breaker.state(), State::open);
}

TEST(Breaker, no_verdict_leaves_a_closed_breaker_and_its_count_alone) {
  Breaker breaker;
  (void)breaker.on_failure(3);
  breaker.on_no_verdict();
  EXPECT_EQ(breaker.state(), State::closed);
  EXPECT_EQ(breaker.failures(), 1U);
}

TEST(Breaker, a_forced_reconnect_closes_it_from_every_state) {
  auto breaker = opened();
  breaker.reset();
  EXPECT_EQ(breaker.state(), State::closed);
  breaker = opened();
  breaker.on_trial();
  breaker.reset();
  EXPECT_EQ(breaker.state(), State::closed);
  EXPECT_EQ(breaker.failures(), 0U);
}

TEST(Breaker, opens_again_after_it_was_closed) {
  auto breaker = opened();
  breaker.reset();
  EXPECT_FALSE(breaker.on_failure(2));
  EXPECT_TRUE(breaker.on_failure(2));
}

TEST(Breaker, a_lower_limit_set_between_failures_holds_at_the_next_one) {
  Breaker breaker;
  for (int i = 0; i < 5; ++i) ASSERT_FALSE(breaker.on_failure(10));
  EXPECT_TRUE(breaker.on_failure(3));
}

TEST(Breaker, a_higher_limit_keeps_it_closed_for_longer) {
  Breaker breaker;
  for (std::uint32_t i = 0; i < 1'000; ++i) {
    ASSERT_FALSE(breaker.on_failure(std::numeric_limits<std::uint32_t>::max()));
  }
  EXPECT_EQ(breaker.state(), State::closed);
}

/// Every sequence of five calls and fewer, each state checked against what was called.
void walk(const Breaker& before, int steps) {
  if (steps == 0) return;
  constexpr std::uint32_t failures_max = 2;
  const auto failed = [&] {
    Breaker after = before;
    const bool announced = after.on_failure(failures_max);
    EXPECT_EQ(announced, before.state() == State::closed && after.state() == State::open);
    EXPECT_LE(after.failures(), failures_max);
    EXPECT_EQ(after.state() == State::closed, after.failures() < failures_max);
    walk(after, steps - 1);
  };
  const auto called = [&](void (Breaker::*call)(), auto expected) {
    Breaker after = before;
    (after.*call)();
    EXPECT_EQ(after.state(), expected(before.state()));
    walk(after, steps - 1);
  };
  failed();
  called(&Breaker::on_success, [](State) { return State::closed; });
  called(&Breaker::reset, [](State) { return State::closed; });
  called(&Breaker::on_trial, [](State state) { return state == State::open ? State::half_open : state; });
  called(&Breaker::on_no_verdict, [](State state) { return state == State::half_open ? State::open : state; });
}

TEST(Breaker, every_sequence_of_calls_keeps_state_and_count_together) { walk({}, 5); }

}  // namespace
}  // namespace holdfast::backoff

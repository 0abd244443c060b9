// The workload's switch, with threads as its clients.
#include "workload/control.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

namespace holdfast::workload {
namespace {

constexpr milliseconds limit{10'000};

TEST(Control, a_paused_client_waits_until_it_is_resumed) {
  Control control;
  std::atomic<int> steps = 0;
  std::thread client([&] {
    while (!control.stopping()) {
      if (control.pausing()) {
        control.park();
      } else {
        ++steps;
        std::this_thread::yield();
      }
    }
  });
  ASSERT_TRUE(wait_until(limit, [&] { return steps > 10; }));
  control.pause();
  ASSERT_TRUE(control.wait_until_parked(1, limit));
  const int parked_at = steps;
  EXPECT_FALSE(control.wait_until_parked(2, milliseconds(20)));
  EXPECT_EQ(steps, parked_at);
  control.resume();
  EXPECT_TRUE(wait_until(limit, [&] { return steps > parked_at; }));
  control.stop();
  client.join();
}

TEST(Control, stopping_wakes_the_parked_and_the_resting) {
  Control control;
  control.pause();
  std::thread parked([&] { control.park(); });
  std::thread resting([&] { control.rest(std::chrono::hours(1)); });
  ASSERT_TRUE(control.wait_until_parked(1, limit));
  control.stop();
  parked.join();
  resting.join();
  EXPECT_TRUE(control.stopping());
  EXPECT_FALSE(control.abandoned());
}

TEST(Control, abandoning_stops_too) {
  Control control;
  control.abandon();
  EXPECT_TRUE(control.stopping());
  EXPECT_TRUE(control.abandoned());
}

}  // namespace
}  // namespace holdfast::workload

// Which log lines are left out, and what is told of them.
#include "cli/log_rate.hpp"

#include <gtest/gtest.h>

namespace holdfast::cli {
namespace {

using namespace std::chrono_literals;

const LogRate::Time start{1h};

std::string line(int session) { return "orders: session " + std::to_string(session) + " leaves it"; }

TEST(LogRate, twenty_lines_that_are_alike_pass_and_the_rest_is_counted) {
  LogRate rate;
  int passed = 0;
  for (int i = 1; i <= 1000; ++i) passed += rate.admit(line(i), start + std::chrono::milliseconds(i)) ? 1 : 0;
  EXPECT_EQ(passed, 20);
  EXPECT_TRUE(rate.ended(start + 9s).empty());
  const auto told = rate.ended(start + 11s);
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(told[0].first, 980U);
  EXPECT_EQ(told[0].second, "orders: session # leaves it");
  EXPECT_TRUE(rate.ended(start + 30s).empty());
  EXPECT_TRUE(rate.admit(line(1), start + 31s)) << "a new window";
}

TEST(LogRate, other_lines_are_not_concerned) {
  LogRate rate;
  for (int i = 0; i < 100; ++i) static_cast<void>(rate.admit(line(i), start));
  EXPECT_TRUE(rate.admit("stock: session 7 leaves it", start));
  EXPECT_TRUE(rate.admit("orders: login refused", start));
  EXPECT_FALSE(rate.admit(line(3), start));
}

TEST(LogRate, few_lines_leave_nothing_to_tell) {
  LogRate rate;
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(rate.admit(line(i), start));
  EXPECT_TRUE(rate.ended(start + 20s).empty());
}

TEST(LogRate, its_memory_is_bounded_and_lines_beyond_it_pass) {
  LogRate rate;
  for (char a = 'a'; a <= 'z'; ++a) {
    for (char b = 'a'; b <= 'z'; ++b) {
      for (int i = 0; i < 30; ++i) static_cast<void>(rate.admit(std::string{a, b} + std::string(5000, 'x'), start));
    }
  }
  EXPECT_EQ(rate.ended(start + 11s).size(), LogRate::shapes_max);
}

}  // namespace
}  // namespace holdfast::cli

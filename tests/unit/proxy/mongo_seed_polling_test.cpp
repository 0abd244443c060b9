// When a mongodb+srv:// name is looked up again.
#include <gtest/gtest.h>

#include "proxy/mongo/seed_polling.hpp"

namespace holdfast::proxy::mongo {
namespace {

using std::chrono::seconds;

const SeedPolling::Time start{std::chrono::hours(1)};

TEST(SeedPolling, nothing_is_asked_again_before_the_first_answer) {
  SeedPolling polling;
  EXPECT_FALSE(polling.begin(start + std::chrono::hours(24)));
}

TEST(SeedPolling, records_are_asked_for_when_they_hold_no_more_but_once_a_minute_at_most) {
  for (const auto& [holds, after] : {std::pair(seconds(0), seconds(60)), {seconds(5), seconds(60)}, {seconds(300), seconds(300)}}) {
    SeedPolling polling;
    polling.on_answer(start, holds);
    EXPECT_FALSE(polling.begin(start + after - seconds(1))) << holds.count();
    EXPECT_TRUE(polling.begin(start + after)) << holds.count();
  }
}

TEST(SeedPolling, a_look_up_that_brought_nothing_is_repeated_every_ten_seconds_until_one_brings_something) {
  SeedPolling polling;
  polling.on_answer(start, seconds(60));
  ASSERT_TRUE(polling.begin(start + seconds(60)));
  EXPECT_FALSE(polling.begin(start + seconds(600))) << "one is under way";
  for (int i = 60; i < 100; i += 10) {
    polling.on_answer(start + seconds(i), std::nullopt);
    EXPECT_FALSE(polling.begin(start + seconds(i + 9)));
    EXPECT_TRUE(polling.begin(start + seconds(i + 10)));
  }
  polling.on_answer(start + seconds(100), seconds(1));
  EXPECT_FALSE(polling.begin(start + seconds(159)));
  EXPECT_TRUE(polling.begin(start + seconds(160)));
}

}  // namespace
}  // namespace holdfast::proxy::mongo

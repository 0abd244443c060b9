// A table that stays within its bounds and forgets what nobody asks for.
#include <gtest/gtest.h>

#include "proxy/mongo/recent_table.hpp"

namespace holdfast::proxy::mongo {
namespace {

using namespace std::chrono_literals;

TEST(MongoRecentTable, the_least_recently_used_goes_first) {
  RecentTable<int> table(2, 1h);
  const RecentTable<int>::Time now{};
  table.put("a", 1, now);
  table.put("b", 2, now);
  ASSERT_NE(table.find("a", now), nullptr);
  table.put("c", 3, now);
  EXPECT_EQ(table.find("b", now), nullptr);
  EXPECT_EQ(*table.find("a", now), 1);
  EXPECT_EQ(*table.find("c", now), 3);
  EXPECT_EQ(table.size(), 2U);
}

TEST(MongoRecentTable, what_is_not_used_expires) {
  RecentTable<int> table(9, 10min);
  RecentTable<int>::Time now{};
  table.put("a", 1, now);
  table.put("b", 2, now);
  now += 8min;
  EXPECT_NE(table.find("b", now), nullptr);
  now += 8min;
  table.expire(now);
  EXPECT_EQ(table.find("a", now), nullptr);
  EXPECT_NE(table.find("b", now), nullptr);
}

TEST(MongoRecentTable, a_new_value_takes_the_place_of_the_old_one_and_an_erased_one_is_gone) {
  RecentTable<int> table(9, 1h);
  const RecentTable<int>::Time now{};
  table.put("a", 1, now);
  table.put("a", 2, now);
  EXPECT_EQ(*table.find("a", now), 2);
  EXPECT_EQ(table.size(), 1U);
  table.erase("a");
  table.erase("a");
  EXPECT_EQ(table.size(), 0U);
}

}  // namespace
}  // namespace holdfast::proxy::mongo

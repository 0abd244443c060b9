// The history checker on made histories: each kind of damage must be found, and an honest history must pass.
#include "workload/history.hpp"

#include <gtest/gtest.h>

#include <thread>

namespace holdfast::workload {
namespace {

using Ids = std::vector<WriteId>;
const Write acknowledged{.parts = 1, .acknowledged = true};
const Write acknowledged_pair{.parts = 2, .acknowledged = true};
const Write attempted_pair{.parts = 2, .acknowledged = false};

HistoryVerdict check(const std::map<WriteId, Write>& writes, const std::vector<StoredPart>& stored) {
  return check_history(writes, stored);
}

TEST(History, an_empty_history_is_in_order) { EXPECT_TRUE(check({}, {}).ok()); }

TEST(History, acknowledged_writes_that_are_present_once_are_in_order_in_any_order_of_rows) {
  const auto verdict = check({{1, acknowledged}, {2, acknowledged_pair}}, {{2, 2}, {1, 1}, {2, 1}});
  EXPECT_TRUE(verdict.ok());
  EXPECT_EQ(verdict.acknowledged, 2U);
}

TEST(History, an_acknowledged_write_that_is_absent_is_lost) {
  const auto verdict = check({{1, acknowledged}, {2, acknowledged}}, {{1, 1}});
  EXPECT_EQ(verdict.lost, Ids{2});
  EXPECT_FALSE(verdict.ok());
}

TEST(History, an_acknowledged_write_of_which_one_part_is_absent_is_lost) {
  EXPECT_EQ(check({{1, acknowledged_pair}}, {{1, 1}}).lost, Ids{1});
  EXPECT_EQ(check({{1, acknowledged_pair}}, {{1, 2}}).lost, Ids{1});
}

TEST(History, a_write_that_is_present_twice_is_doubled) {
  const auto verdict = check({{1, acknowledged}}, {{1, 1}, {1, 1}});
  EXPECT_EQ(verdict.doubled, Ids{1});
  EXPECT_FALSE(verdict.ok());
}

TEST(History, a_write_of_which_one_part_is_present_twice_is_doubled) {
  EXPECT_EQ(check({{1, acknowledged_pair}}, {{1, 1}, {1, 2}, {1, 2}}).doubled, Ids{1});
}

TEST(History, a_write_that_nobody_acknowledged_can_be_doubled_too) {
  EXPECT_EQ(check({{1, Write{}}}, {{1, 1}, {1, 1}}).doubled, Ids{1});
}

TEST(History, two_copies_of_one_part_do_not_stand_for_the_other) {
  const auto verdict = check({{1, acknowledged_pair}}, {{1, 1}, {1, 1}});
  EXPECT_EQ(verdict.lost, Ids{1});
  EXPECT_EQ(verdict.doubled, Ids{1});
}

TEST(History, a_write_whose_client_was_never_told_may_be_absent_or_present) {
  EXPECT_TRUE(check({{1, attempted_pair}}, {}).ok());
  EXPECT_TRUE(check({{1, attempted_pair}}, {{1, 1}, {1, 2}}).ok());
  EXPECT_EQ(check({{1, attempted_pair}}, {}).acknowledged, 0U);
}

TEST(History, a_write_whose_client_was_never_told_and_that_is_there_in_part_is_torn) {
  const auto verdict = check({{1, attempted_pair}}, {{1, 2}});
  EXPECT_EQ(verdict.torn, Ids{1});
  EXPECT_FALSE(verdict.ok());
}

TEST(History, a_row_that_nobody_wrote_is_invented) {
  EXPECT_EQ(check({{1, acknowledged}}, {{1, 1}, {7, 1}}).invented, Ids{7});
  EXPECT_EQ(check({{1, acknowledged}}, {{1, 1}, {1, 2}}).invented, Ids{1});
  EXPECT_EQ(check({{1, acknowledged}}, {{1, 1}, {1, 0}}).invented, Ids{1});
}

TEST(History, every_row_removed_or_copied_from_a_whole_history_is_found) {
  std::map<WriteId, Write> writes;
  std::vector<StoredPart> stored;
  for (WriteId id = 1; id <= 40; ++id) {
    const std::uint32_t parts = id % 3 == 0 ? 2 : 1;
    writes[id] = {.parts = parts, .acknowledged = true};
    for (std::uint32_t part = 1; part <= parts; ++part) {
      stored.push_back({id, part});
    }
  }
  ASSERT_TRUE(check(writes, stored).ok());
  for (std::size_t row = 0; row < stored.size(); ++row) {
    auto without = stored;
    without.erase(without.begin() + static_cast<std::ptrdiff_t>(row));
    EXPECT_EQ(check(writes, without).lost, Ids{stored[row].id});
    auto with_a_copy = stored;
    with_a_copy.push_back(stored[row]);
    EXPECT_EQ(check(writes, with_a_copy).doubled, Ids{stored[row].id});
  }
}

TEST(History, records_the_attempts_and_acknowledgements_of_several_threads) {
  History history;
  std::vector<std::thread> threads;
  for (WriteId first : {1'000, 2'000, 3'000}) {
    threads.emplace_back([&history, first] {
      for (WriteId id = first; id < first + 200; ++id) {
        history.attempt(id, 2);
        if (id % 2 == 0) {
          history.acknowledge(id);
        }
      }
    });
  }
  for (auto& thread : threads) {
    thread.join();
  }
  const auto writes = history.snapshot();
  EXPECT_EQ(writes.size(), 600U);
  EXPECT_EQ(check(writes, {}).lost.size(), 300U);
}

TEST(History, an_attempt_that_is_repeated_keeps_its_acknowledgement) {
  History history;
  history.attempt(1, 1);
  history.acknowledge(1);
  history.attempt(1, 1);
  history.acknowledge(2);
  EXPECT_EQ(history.snapshot(), (std::map<WriteId, Write>{{1, acknowledged}}));
}

}  // namespace
}  // namespace holdfast::workload

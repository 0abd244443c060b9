// The counters of the clients, and the table of documented errors that they lean on.
#include "workload/statistics.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "workload/documented_errors.hpp"

namespace holdfast::workload {
namespace {

TEST(Statistics, the_longest_wait_runs_from_the_statement_to_its_answer) {
  ClientRecord record("one");
  record.begin("slow");
  ASSERT_TRUE(wait_until(milliseconds(5'000), [&] { return Clock::now() - record.snapshot().since > milliseconds(30); }));
  record.answered();
  record.begin("quick");
  record.answered();
  const auto now = record.snapshot();
  EXPECT_GE(now.longest_wait, milliseconds(30));
  EXPECT_EQ(now.statements, 2U);
  EXPECT_EQ(now.phase, ClientPhase::resting);
  EXPECT_EQ(now.activity, "quick");
}

TEST(Statistics, a_statement_under_way_is_shown_with_its_beginning) {
  ClientRecord record("one");
  EXPECT_EQ(record.snapshot().phase, ClientPhase::starting);
  const auto before = Clock::now();
  record.begin("COMMIT");
  const auto now = record.snapshot();
  EXPECT_EQ(now.phase, ClientPhase::waiting);
  EXPECT_EQ(now.activity, "COMMIT");
  EXPECT_GE(now.since, before);
}

TEST(Statistics, an_error_is_an_answer_but_not_one_that_serves) {
  ClientRecord record("one");
  record.begin("COMMIT");
  record.error("40001", "lost");
  EXPECT_EQ(record.snapshot().statements, 1U);
  EXPECT_EQ(record.snapshot().last_answer, Clock::time_point{});
  record.begin("COMMIT");
  record.answered();
  EXPECT_GT(record.snapshot().last_answer, Clock::time_point{});
}

TEST(Statistics, a_lost_connection_says_during_what) {
  ClientRecord record("one");
  record.begin("COMMIT");
  record.disconnected("server closed the connection");
  const auto now = record.snapshot();
  EXPECT_EQ(now.disconnections, 1U);
  EXPECT_THAT(now.first_complaint, testing::HasSubstr("COMMIT"));
}

TEST(Statistics, the_totals_add_up_all_clients_and_tell_undocumented_errors) {
  ClientRecord one("one"), other("other");
  one.begin("x");
  one.error("40001", "");
  one.begin("x");
  one.error("42P01", "no such table");
  other.begin("x");
  other.error("40001", "");
  other.begin("x");
  other.answered();
  other.disconnected("");
  other.wrong_answer("");
  const std::vector clients{one.snapshot(), other.snapshot()};
  const auto all = add_up(clients);
  EXPECT_EQ(all.sessions, 2U);
  EXPECT_EQ(all.statements, 4U);
  EXPECT_EQ(all.disconnections, 1U);
  EXPECT_EQ(all.wrong_answers, 1U);
  EXPECT_EQ(all.undocumented_errors, 1U);
  EXPECT_EQ(all.errors, (std::map<std::string, std::uint64_t>{{"40001", 2}, {"42P01", 1}}));
}

TEST(DocumentedErrors, an_unknown_outcome_is_looked_at_before_anything_runs_again) {
  EXPECT_EQ(reaction_to("08007"), Reaction::look_then_run_again);
  EXPECT_EQ(reaction_to("40001"), Reaction::run_again);
  EXPECT_EQ(reaction_to("57014"), Reaction::run_again);
  EXPECT_EQ(reaction_to("57P03"), Reaction::wait_then_run_again);
}

TEST(DocumentedErrors, any_other_code_is_a_fault_also_the_ones_a_lost_server_sends) {
  for (const char* code : {"", "57P01", "57P02", "08006", "25P02", "XX000", "4000", "400011"}) {
    EXPECT_EQ(reaction_to(code), Reaction::complain) << code;
    EXPECT_EQ(meaning_of(code), "not documented") << code;
  }
}

}  // namespace
}  // namespace holdfast::workload

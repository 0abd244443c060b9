// The demo's table, verdict and view on made results.
#include "cli/demo_report.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/demo_view.hpp"

namespace holdfast::cli {
namespace {

using testing::Contains;
using testing::HasSubstr;
using workload::ClientPhase;
using workload::ClientSnapshot;
using workload::Clock;

DemoResult good_result() {
  DemoResult result;
  result.database = "PostgreSQL 15.0";
  result.stage.postmaster_kills = 5;
  result.stage.backend_kills = 1;
  ClientSnapshot writer;
  writer.name = "writer 1";
  writer.statements = 100;
  writer.writes = 20;
  writer.errors["40001"] = 2;
  writer.longest_wait = std::chrono::milliseconds(1'640);
  result.clients.push_back(writer);
  result.history.acknowledged = 20;
  return result;
}

TEST(DemoReport, a_run_without_faults_passes_and_its_table_says_so) {
  const auto result = good_result();
  EXPECT_TRUE(demo_faults(result).empty());
  const auto table = demo_table(result);
  EXPECT_THAT(table, HasSubstr("disconnections          0\n"));
  EXPECT_THAT(table, HasSubstr("writes lost             0\n"));
  EXPECT_THAT(table, HasSubstr("writes doubled          0\n"));
  EXPECT_THAT(table, HasSubstr("outages                 6 "));
  EXPECT_THAT(table, HasSubstr("1.6 s (writer 1)"));
  EXPECT_THAT(table, HasSubstr("errors 40001            2  transaction lost"));
}

TEST(DemoReport, of_a_replica_set_tells_kills_and_stepdowns_apart_and_what_its_errors_mean) {
  auto result = good_result();
  result.stage.postmaster_kills = result.stage.backend_kills = 0;
  result.stage.primary_kills = 3;
  result.stage.stepdowns = 2;
  result.heard = "change events";
  result.clients[0].errors = {{"43", 1}, {"251", 4}};
  EXPECT_TRUE(demo_faults(result).empty());
  const auto table = demo_table(result);
  EXPECT_THAT(table, HasSubstr("outages                 5 (primary killed 3 times, stepped down 2)"));
  EXPECT_THAT(table, HasSubstr("errors 43               1  cursor lost with its server"));
  EXPECT_THAT(table, HasSubstr("change events           0 heard"));
}

TEST(DemoReport, each_fault_alone_fails_the_run) {
  const std::vector<void (*)(DemoResult&)> faults{
      [](DemoResult& result) { result.clients[0].disconnections = 1; },
      [](DemoResult& result) { result.clients[0].refused_logins = 1; },
      [](DemoResult& result) { result.clients[0].unanswered = 1; },
      [](DemoResult& result) { result.clients[0].wrong_answers = 1; },
      [](DemoResult& result) { result.clients[0].writes = 0; },
      [](DemoResult& result) { result.clients[0].errors["XX000"] = 1; },
      [](DemoResult& result) { result.history.lost = {7}; },
      [](DemoResult& result) { result.history.doubled = {7}; },
      [](DemoResult& result) { result.history.torn = {7}; },
      [](DemoResult& result) { result.history.invented = {7}; },
      [](DemoResult& result) { result.unserved = {"listener"}; },
      [](DemoResult& result) { result.stage.postmaster_kills = result.stage.backend_kills = 0; },
  };
  for (std::size_t number = 0; number < faults.size(); ++number) {
    auto result = good_result();
    faults[number](result);
    EXPECT_EQ(demo_faults(result).size(), 1U) << "fault " << number;
  }
}

TEST(DemoReport, lost_and_doubled_writes_are_named_but_not_without_end) {
  auto result = good_result();
  result.history.lost = {11, 12, 13, 14, 15, 16};
  result.history.doubled = {21};
  EXPECT_THAT(demo_table(result), HasSubstr("writes lost             6: 11, 12, 13, 14, 15, ...\n"));
  EXPECT_THAT(demo_table(result), HasSubstr("writes doubled          1: 21\n"));
}

TEST(DemoReport, names_the_client_that_complained) {
  auto result = good_result();
  EXPECT_TRUE(demo_complaints(result).empty());
  result.clients[0].first_complaint = "disconnected during COMMIT";
  EXPECT_THAT(demo_complaints(result), Contains("writer 1: disconnected during COMMIT"));
}

TEST(DemoView, shows_who_waits_how_long_and_keeps_to_the_width) {
  ViewInput input{.stage = {}, .clients = good_result().clients};
  const auto now = Clock::now();
  input.stage.began = now - std::chrono::seconds(12);
  input.stage.server = ServerState::down;
  input.stage.since = now - std::chrono::milliseconds(800);
  input.stage.events = {"1", "2", "3", "4"};
  input.clients[0].phase = ClientPhase::waiting;
  input.clients[0].activity = "COMMIT";
  input.clients[0].since = now - std::chrono::milliseconds(700);
  const auto block = view_block(input, now, 312, 200, Colour::off);
  EXPECT_THAT(block, Contains(HasSubstr("server DOWN for 0.8 s")));
  EXPECT_THAT(block, Contains(HasSubstr("COMMIT, waiting 0.7 s")));
  EXPECT_THAT(block, Contains("  4"));
  EXPECT_THAT(block, testing::Not(Contains("  1")));
  for (const auto& line : view_block(input, now, 312, 30, Colour::off)) {
    EXPECT_LE(line.size(), 30U) << line;
  }
  EXPECT_THAT(view_line(input, now, 312), HasSubstr("1 clients held"));
}

TEST(DemoView, has_the_same_number_of_lines_whatever_happens) {
  ViewInput input{.stage = {}, .clients = good_result().clients};
  const auto before = view_block(input, Clock::now(), 0, 80, Colour::on).size();
  input.stage.events = {"1", "2", "3", "4", "5"};
  input.clients[0].disconnections = 3;
  EXPECT_EQ(view_block(input, Clock::now(), 0, 80, Colour::on).size(), before);
}

TEST(DemoView, uses_no_escape_sequence_without_colour) {
  ViewInput input{.stage = {}, .clients = good_result().clients};
  input.clients[0].disconnections = 1;
  for (const auto& line : view_block(input, Clock::now(), 0, 80, Colour::off)) {
    EXPECT_EQ(line.find('\x1b'), std::string::npos) << line;
  }
}

}  // namespace
}  // namespace holdfast::cli

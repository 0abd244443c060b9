// PREPARE TRANSACTION, COMMIT PREPARED and ROLLBACK PREPARED in the session machine: what is asked before one goes out, and
// what is said when its answer is lost.
#include <gtest/gtest.h>

#include "tests/unit/proxy/session_script.hpp"

namespace holdfast::proxy::postgres::test {
namespace {

using Outcome = SessionMachine::Outcome;

constexpr std::string_view question = "C P:holdfast_two_phase B E C C S";

/// What the server answers to the question before, in a transaction block or outside one.
std::string told(char status, const std::vector<std::string>& columns = {"747", "00000001"}) {
  return closed + parsed + bound + (columns.empty() ? std::string() : row(columns)) + complete("SELECT 1") + closed + closed + ready(status);
}

/// The client is in a transaction that has written.
void begin(SessionScript& script) {
  script.client_sends(query("BEGIN"));
  script.server_sends(complete("BEGIN") + ready('T'));
  script.client_sends(query("INSERT INTO t VALUES (1)"));
  script.server_sends(complete("INSERT 0 1") + ready('T'));
  script.to_client();
  script.to_server();
}

/// The client has sent its statement, and the server knows it.
void send(SessionScript& script, const std::string& messages, char status) {
  script.client_sends(messages);
  script.expect_to_server(question);
  EXPECT_TRUE(script.machine.waits_for_answers());
  script.server_sends(told(status));
  EXPECT_TRUE(script.machine.take_answers());
  script.client_sends("");
}

void prepare(SessionScript& script, const std::string& messages = query("PREPARE TRANSACTION 'a'")) {
  begin(script);
  send(script, messages, 'T');
}

TEST(two_phase, asks_for_the_transaction_before_it_is_prepared_and_shows_nothing_of_that) {
  SessionScript script(with_replay());
  prepare(script);
  script.expect_to_server("Q:PREPARE TRANSACTION 'a'");
  script.server_sends(complete("PREPARE TRANSACTION") + ready('I'));
  script.expect_to_client("C:PREPARE TRANSACTION ZI");
}

TEST(two_phase, asks_before_the_first_message_of_a_segment) {
  SessionScript script(with_replay());
  prepare(script, extended("PREPARE TRANSACTION 'a'") + sync());
  script.expect_to_server("P: B E S");
  SessionScript named(with_replay());
  named.client_sends(parse("end", "COMMIT PREPARED 'a'") + sync());
  named.expect_to_server(question);
  named.server_sends(told('I'));
  named.client_sends("");
  named.expect_to_server("P:end S");
  named.server_sends(parsed + ready('I'));
  send(named, bind("end") + execute() + sync(), 'I');
  named.expect_to_server("B E S");
}

TEST(two_phase, that_was_done_is_answered_without_being_run_again) {
  SessionScript script(with_replay());
  prepare(script);
  EXPECT_EQ(script.server_closes().then, LossResult::Then::attach_now);
  const auto asked = script.machine.commit_in_question();
  ASSERT_TRUE(asked);
  EXPECT_EQ(asked->ask.parameters, (std::vector<std::string>{"a", "747"}));
  script.machine.on_commit_judged(Outcome::committed);
  ASSERT_TRUE(script.attach());
  script.expect_to_client("C:PREPARE TRANSACTION ZI");
  script.to_server();
  EXPECT_EQ(script.machine.statistics().outcomes_committed, 1U);
  script.client_sends(query("SELECT 1"));
  script.expect_to_server("Q:SELECT 1");
}

TEST(two_phase, that_was_done_is_answered_in_the_extended_protocol) {
  SessionScript script(with_replay());
  prepare(script, parse("", "PREPARE TRANSACTION 'a'") + bind("") + describe('P') + execute() + sync());
  script.is_lost_and_told(Outcome::committed);
  script.expect_to_client("1 2 n C:PREPARE TRANSACTION ZI");
}

TEST(two_phase, that_was_not_done_is_run_again_with_its_transaction) {
  SessionScript script(with_replay());
  prepare(script);
  script.to_server();
  script.is_lost_and_told(Outcome::not_committed);
  script.expect_to_server("Q:BEGIN");
  script.server_sends(complete("BEGIN") + ready('T'));
  script.expect_to_server("Q:INSERT INTO t VALUES (1)");
  script.server_sends(complete("INSERT 0 1") + ready('T'));
  script.expect_to_server("Q:PREPARE TRANSACTION 'a'");
  script.server_sends(complete("PREPARE TRANSACTION") + ready('I'));
  script.expect_to_client("C:PREPARE TRANSACTION ZI");
}

TEST(two_phase, lost_again_before_it_was_sent_again_was_certainly_not_done) {
  SessionScript script(with_replay());
  prepare(script);
  script.is_lost_and_told(Outcome::not_committed);
  script.server_closes();
  EXPECT_FALSE(script.machine.commit_in_question());
  script.expect_to_client("E:40001 ZI");
}

TEST(two_phase, lost_again_after_it_was_sent_again_is_unknown) {
  SessionScript script(with_replay());
  prepare(script);
  script.is_lost_and_told(Outcome::not_committed);
  script.server_sends(complete("BEGIN") + ready('T'));
  script.server_sends(complete("INSERT 0 1") + ready('T'));
  script.to_server();
  script.server_closes();
  EXPECT_FALSE(script.machine.commit_in_question()) << "the id is that of the first run";
  script.expect_to_client("E:08007 ZI");
}

TEST(two_phase, told_of_in_its_second_run_only_misses_its_ready) {
  SessionScript script(with_replay());
  prepare(script);
  script.is_lost_and_told(Outcome::not_committed);
  script.server_sends(complete("BEGIN") + ready('T'));
  script.server_sends(complete("INSERT 0 1") + ready('T'));
  script.server_sends(complete("PREPARE TRANSACTION"));
  script.server_closes();
  script.expect_to_client("C:PREPARE TRANSACTION ZI");
}

TEST(two_phase, prepared_on_an_older_backend_is_asked_about_before_it_is_parsed_again) {
  SessionScript script(with_replay());
  send(script, parse("end", "COMMIT PREPARED 'a'") + sync(), 'I');
  script.server_sends(parsed + ready('I'));
  script.to_server();
  script.to_client();
  script.server_closes();
  ASSERT_TRUE(script.attach());
  send(script, bind("end") + execute() + sync(), 'I');
  script.expect_to_server("P:end B E S");
}

TEST(two_phase, whose_end_was_not_done_is_run_again_and_asked_about_again) {
  SessionScript script(with_replay());
  send(script, query("COMMIT PREPARED 'a'"), 'I');
  script.to_server();
  script.server_closes();
  ASSERT_TRUE(script.machine.commit_in_question());
  EXPECT_EQ(script.machine.commit_in_question()->ask.parameters, (std::vector<std::string>{"00000001", "747", "committed"}));
  script.machine.on_commit_judged(Outcome::not_committed);
  ASSERT_TRUE(script.attach());
  script.expect_to_server("Q:COMMIT PREPARED 'a'");
  script.server_closes();
  ASSERT_TRUE(script.machine.commit_in_question());
  script.machine.on_commit_judged(Outcome::committed);
  ASSERT_TRUE(script.attach());
  script.expect_to_client("C:COMMIT PREPARED ZI");
}

TEST(two_phase, that_is_rolled_back_is_asked_about_as_such) {
  SessionScript script(with_replay());
  send(script, query("rollback prepared 'a'"), 'I');
  script.server_closes();
  ASSERT_TRUE(script.machine.commit_in_question());
  EXPECT_EQ(script.machine.commit_in_question()->ask.parameters.back(), "aborted");
  script.machine.on_commit_judged(Outcome::committed);
  ASSERT_TRUE(script.attach());
  script.expect_to_client("C:ROLLBACK PREPARED ZI");
}

TEST(two_phase, of_which_the_server_cannot_tell_is_unknown) {
  SessionScript script(with_replay());
  prepare(script);
  script.is_lost_and_told(Outcome::unknown);
  script.expect_to_client("E:08007 ZI");
}

TEST(two_phase, is_answered_with_replay_off_as_well) {
  SessionScript done;
  prepare(done);
  done.is_lost_and_told(Outcome::committed);
  done.expect_to_client("C:PREPARE TRANSACTION ZI");
  SessionScript undone;
  send(undone, query("COMMIT PREPARED 'a'"), 'I');
  undone.is_lost_and_told(Outcome::not_committed);
  undone.expect_to_client("E:40001 ZI");
}

TEST(two_phase, of_a_transaction_that_nobody_knows_is_unknown) {
  SessionScript script(with_replay());
  script.client_sends(query("COMMIT PREPARED 'a'"));
  script.server_sends(told('I', {}));
  script.client_sends("");
  script.to_server();
  script.server_closes();
  EXPECT_FALSE(script.machine.commit_in_question());
  script.expect_to_client("E:08007 ZI");
}

TEST(two_phase, whose_old_backend_may_live_on_is_unknown) {
  SessionScript script(with_replay());
  prepare(script);
  script.machine.on_backend_closed("reset");
  script.machine.resolve_loss(Witness::gone, OldBackend::may_live_on);
  EXPECT_FALSE(script.machine.commit_in_question());
  EXPECT_EQ(brief(script.machine.client_output), "E:08007 ZI");
}

TEST(two_phase, that_never_went_out_is_asked_about_anew_on_the_next_backend) {
  SessionScript script(with_replay());
  begin(script);
  script.client_sends(query("PREPARE TRANSACTION 'a'"));
  script.expect_to_server(question);
  script.server_closes();
  ASSERT_TRUE(script.attach());
  script.server_sends(complete("BEGIN") + ready('T'));
  script.to_server();
  script.server_sends(complete("INSERT 0 1") + ready('T'));
  script.expect_to_server(question);
}

TEST(two_phase, that_was_told_of_only_misses_its_ready) {
  SessionScript script(with_replay());
  prepare(script);
  script.server_sends(complete("PREPARE TRANSACTION"));
  script.server_closes();
  EXPECT_FALSE(script.machine.commit_in_question());
  script.expect_to_client("C:PREPARE TRANSACTION ZI");
  SessionScript segment(with_replay());
  send(segment, extended("COMMIT PREPARED 'a'") + sync(), 'I');
  segment.server_sends(parsed + bound + complete("COMMIT PREPARED"));
  segment.server_closes();
  segment.expect_to_client("1 2 C:COMMIT PREPARED ZI");
}

TEST(two_phase, that_was_told_of_has_kept_what_its_transaction_set) {
  SessionScript script(with_replay());
  begin(script);
  script.client_sends(query("SET statement_timeout TO 7"));
  script.server_sends(complete("SET") + ready('T'));
  script.to_server();
  script.to_client();
  send(script, query("PREPARE TRANSACTION 'a'"), 'T');
  script.server_sends(complete("PREPARE TRANSACTION"));
  EXPECT_EQ(script.server_closes().then, LossResult::Then::close) << "what the session is now cannot be known";
}

TEST(two_phase, that_was_told_of_says_nothing_of_what_stands_behind_it_in_its_segment) {
  SessionScript script(with_replay());
  send(script, extended("COMMIT PREPARED 'a'") + extended("INSERT INTO t VALUES (1)") + sync(), 'I');
  script.server_sends(parsed + bound + complete("COMMIT PREPARED") + parsed + bound + complete("INSERT 0 1"));
  script.to_client();
  script.server_closes();
  script.expect_to_client("E:08007 ZI");
}

TEST(two_phase, whose_question_fails_gives_its_error_and_not_a_success_that_was_none) {
  SessionScript script(with_replay());
  begin(script);
  script.client_sends(query("PREPARE TRANSACTION 'a'"));
  script.to_server();
  script.server_sends(closed + parsed + bound + error("57014") + ready('E'));
  script.client_sends("");
  script.expect_to_client("E:57014 ZE");
  script.expect_to_server("");
  script.client_sends(query("ROLLBACK"));
  script.expect_to_server("Q:ROLLBACK");
  SessionScript segment(with_replay());
  begin(segment);
  segment.client_sends(parse("end", "PREPARE TRANSACTION 'a'") + extended("SELECT 1") + sync());
  segment.to_server();
  segment.server_sends(closed + parsed + bound + error("57014") + ready('E'));
  segment.client_sends("");
  segment.expect_to_client("E:57014 ZE");
  segment.expect_to_server("");
}

TEST(two_phase, in_a_text_that_the_parser_may_read_otherwise_than_the_server_is_not_asked_about) {
  SessionScript script(with_replay());
  begin(script);
  std::string told;
  pg::write_parameter_status(told, "standard_conforming_strings", "off");
  script.server_sends(told);
  script.to_client();
  script.client_sends(query("PREPARE TRANSACTION 'a\\\\b'"));
  EXPECT_NE(script.to_server().find("PREPARE TRANSACTION"), std::string::npos);
}

TEST(two_phase, that_keeps_its_client_waiting_is_looked_at_for_a_server_that_hangs) {
  SessionScript script(with_replay());
  begin(script);
  EXPECT_FALSE(script.machine.awaits_backend());
  script.client_sends(query("PREPARE TRANSACTION 'a'"));
  EXPECT_TRUE(script.machine.awaits_backend());
  EXPECT_FALSE(script.machine.cancellable());
}

TEST(two_phase, that_is_described_or_closed_in_its_segment_is_answered_where_all_that_is_owed_is_known) {
  SessionScript described(with_replay());
  send(described, parse("end", "COMMIT PREPARED 'a'") + describe('S', "end") + bind("end") + execute() + sync(), 'I');
  described.is_lost_and_told(Outcome::committed);
  described.expect_to_client("1 t n 2 C:COMMIT PREPARED ZI");
  SessionScript closed_too(with_replay());
  send(closed_too, parse("end", "COMMIT PREPARED 'a'") + bind("end") + execute() + close('S', "end") + sync(), 'I');
  closed_too.server_closes();
  EXPECT_FALSE(closed_too.machine.commit_in_question());
  closed_too.expect_to_client("E:08007 ZI");
}

TEST(two_phase, in_a_failed_transaction_or_in_a_pipeline_is_not_asked_about) {
  SessionScript script(with_replay());
  begin(script);
  script.client_sends(query("SELECT 1/0"));
  script.server_sends(error("22012") + ready('E'));
  script.to_server();
  script.client_sends(query("PREPARE TRANSACTION 'a'"));
  script.expect_to_server("Q:PREPARE TRANSACTION 'a'");
  SessionScript pipeline(with_replay());
  pipeline.client_sends(extended("SELECT 1") + extended("COMMIT PREPARED 'a'") + sync());
  pipeline.expect_to_server("P: B E P: B E S");
}

TEST(two_phase, that_an_administrator_ended_is_not_run_again) {
  SessionScript script(with_replay());
  send(script, query("COMMIT PREPARED 'a'"), 'I');
  script.server_sends(error("57P01", "FATAL"));
  script.server_closes("reset", Witness::alive);
  script.machine.on_commit_judged(Outcome::not_committed);
  ASSERT_TRUE(script.attach());
  script.expect_to_client("E:40001 ZI");
}

}  // namespace
}  // namespace holdfast::proxy::postgres::test

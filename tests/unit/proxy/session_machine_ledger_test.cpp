// exactly_once in the session machine: what goes out before a commit, and what is said when its answer is lost.
#include <gtest/gtest.h>

#include "tests/unit/proxy/session_script.hpp"

namespace holdfast::proxy::postgres::test {
namespace {

using Outcome = SessionMachine::Outcome;

constexpr std::string_view injected_record = "C P:holdfast_record B E C C";

SessionOptions with_ledger() {
  auto options = with_replay();
  options.ledger_session = "session";
  return options;
}

/// Replies to one statement of ours, without ReadyForQuery.
std::string own(std::string_view tag, std::string_view value = {}) {
  return closed + parsed + bound + (value.empty() ? std::string() : row({std::string(value)})) + complete(tag) + closed + closed;
}

std::string recorded() { return own("SELECT 1", "t"); }

/// The client is in a transaction that has written.
void write_in_block(SessionScript& script) {
  script.client_sends(query("BEGIN"));
  script.server_sends(complete("BEGIN") + ready('T'));
  script.client_sends(query("INSERT INTO t VALUES (1)"));
  script.server_sends(complete("INSERT 0 1") + ready('T'));
  script.to_client();
  script.to_server();
}

TEST(ledger, row_goes_out_in_front_of_a_commit_and_is_not_seen_by_the_client) {
  SessionScript script(with_ledger());
  write_in_block(script);
  script.client_sends(query("COMMIT"));
  script.expect_to_server(std::string(injected_record) + " S Q:COMMIT");
  script.server_sends(recorded() + ready('T') + complete("COMMIT") + ready('I'));
  script.expect_to_client("C:COMMIT ZI");
}

TEST(ledger, is_not_asked_of_what_only_read) {
  SessionScript script(with_ledger());
  script.client_sends(query("BEGIN") );
  script.server_sends(complete("BEGIN") + ready('T'));
  script.client_sends(query("SELECT count(*) FROM t"));
  script.server_sends(result() + complete("SELECT 1") + ready('T'));
  script.to_server();
  script.client_sends(query("COMMIT"));
  script.expect_to_server("Q:COMMIT");
}

TEST(ledger, that_knows_the_commit_gives_its_answer_and_runs_nothing_again) {
  SessionScript script(with_ledger());
  write_in_block(script);
  script.client_sends(query("COMMIT"));
  script.to_server();
  EXPECT_EQ(script.server_closes().then, LossResult::Then::attach_now);
  ASSERT_TRUE(script.machine.commit_in_question());
  EXPECT_EQ(script.machine.commit_in_question()->ask.parameters.back(), "1");
  script.machine.on_commit_judged(Outcome::committed);
  ASSERT_TRUE(script.attach());
  script.expect_to_client("C:COMMIT ZI");
  script.expect_to_server("");
  EXPECT_EQ(script.machine.statistics().outcomes_committed, 1U);
}

TEST(ledger, that_has_fenced_the_commit_out_has_its_transaction_run_again_under_another_key) {
  SessionScript script(with_ledger());
  write_in_block(script);
  script.client_sends(query("COMMIT"));
  script.to_server();
  script.is_lost_and_told(Outcome::not_committed);
  script.expect_to_server("Q:BEGIN");
  script.server_sends(complete("BEGIN") + ready('T'));
  script.expect_to_server("Q:INSERT INTO t VALUES (1)");
  script.server_sends(complete("INSERT 0 1") + ready('T'));
  const auto again = script.to_server();
  EXPECT_EQ(brief_requests(again), std::string(injected_record) + " S Q:COMMIT");
  EXPECT_NE(again.find("session\0\0\0\0\0012"), std::string::npos) << "the first key is the fence's";
  script.server_sends(recorded() + ready('T') + complete("COMMIT") + ready('I'));
  script.expect_to_client("C:COMMIT ZI");
}

TEST(ledger, that_cannot_tell_leaves_the_outcome_unknown) {
  SessionScript script(with_ledger());
  write_in_block(script);
  script.client_sends(query("COMMIT"));
  script.is_lost_and_told(Outcome::unknown);
  script.expect_to_client("E:08007 ZI");
}

TEST(ledger, whose_commit_did_not_happen_and_cannot_be_run_again_is_a_40001_for_certain) {
  SessionScript script(with_ledger());
  write_in_block(script);
  script.client_sends(query("SELECT pg_advisory_xact_lock(1)"));
  script.server_sends(result() + complete("SELECT 1") + ready('T'));
  script.client_sends(query("COMMIT"));
  script.to_client();
  script.is_lost_and_told(Outcome::not_committed);
  script.expect_to_client("E:40001 ZI");
}

TEST(ledger, puts_a_lone_write_into_a_transaction_and_tells_of_it_when_that_is_committed) {
  SessionScript script(with_ledger());
  script.client_sends(query("INSERT INTO t VALUES (1)"));
  script.expect_to_server("C P:holdfast_begin B E C C S Q:INSERT INTO t VALUES (1)");
  script.server_sends(own("BEGIN") + ready('T') + complete("INSERT 0 1") + ready('T'));
  script.expect_to_client("");
  script.expect_to_server(std::string(injected_record) + " S C P:holdfast_commit B E C C S");
  script.server_sends(recorded() + ready('T') + own("COMMIT") + ready('I'));
  script.expect_to_client("C:INSERT 0 1 ZI");
}

TEST(ledger, shows_an_error_of_the_commit_in_place_of_the_success_that_was_none) {
  SessionScript script(with_ledger());
  script.client_sends(query("INSERT INTO t VALUES (1)"));
  script.server_sends(own("BEGIN") + ready('T') + complete("INSERT 0 1") + ready('T'));
  script.server_sends(recorded() + ready('T') + closed + parsed + bound + error("23505") + ready('I'));
  script.expect_to_client("E:23505 ZI");
}

TEST(ledger, cuts_an_extended_write_before_its_sync) {
  SessionScript script(with_ledger());
  script.client_sends(extended("INSERT INTO t VALUES (1)") + sync());
  script.expect_to_server("P: B E H");
  EXPECT_TRUE(script.machine.waits_for_answers());
  script.server_sends(parsed + bound + complete("INSERT 0 1"));
  EXPECT_TRUE(script.machine.take_answers());
  script.client_sends("");
  script.expect_to_server(std::string(injected_record) + " S");
  script.to_client();
  script.is_lost_and_told(Outcome::committed);
  script.expect_to_client("ZI");
}

TEST(ledger, commits_no_second_run_that_gave_less_than_the_client_was_told) {
  SessionScript script(with_ledger());
  script.client_sends(extended("INSERT INTO t SELECT * FROM s") + sync());
  script.server_sends(parsed + bound + complete("INSERT 0 10"));
  script.client_sends("");
  script.expect_to_client("1 2 C:INSERT 0 10");
  script.to_server();
  script.is_lost_and_told(Outcome::not_committed);
  script.expect_to_server("P: B E H");
  script.server_sends(parsed + bound + complete("INSERT 0 9"));
  EXPECT_TRUE(script.lost());
  script.expect_to_server("");
  script.server_closes();
  script.expect_to_client("E:40001 ZI");
}

TEST(ledger, ends_its_transaction_behind_the_message_that_its_client_is_in_the_middle_of) {
  auto options = with_ledger();
  options.message_buffer = 1024;
  SessionScript script(options);
  script.client_sends(query("COPY t FROM STDIN"));
  script.server_sends(own("BEGIN") + ready('T') + copy_in);
  script.to_server();
  const auto data = message('d', std::string(4000, 'x'));
  script.client_sends(data.substr(0, 2000));
  script.server_sends(error("22P02") + ready('E'));
  const auto begun = script.to_server();
  EXPECT_EQ(begun, data.substr(0, 2000)) << "nothing of ours stands in it";
  script.client_sends(data.substr(2000));
  EXPECT_EQ(brief_requests(begun + script.to_server()), "d C P:holdfast_rollback B E C C S");
  script.server_sends(own("ROLLBACK") + ready('I'));
  script.expect_to_client("G E:22P02 ZI");
}

TEST(ledger, takes_a_segment_in_a_block_for_one_whatever_ended_the_block_before) {
  SessionScript script(with_ledger());
  write_in_block(script);
  script.client_sends(extended("COMMIT") + sync());
  script.server_sends(parsed + bound + recorded() + complete("COMMIT") + ready('I'));
  write_in_block(script);
  script.client_sends(extended("INSERT INTO t VALUES (2)") + sync());
  script.expect_to_server("P: B E S");
}

TEST(ledger, asks_nothing_after_a_rollback) {
  SessionScript script(with_ledger());
  write_in_block(script);
  script.client_sends(extended("ROLLBACK") + sync());
  script.expect_to_server("P: B E S");
}

/// The client has had the rows of an open segment in a transaction that is lost then, and gets them again.
void run_again_behind_rows(SessionScript& script, std::string_view begun) {
  script.client_sends(query("BEGIN"));
  script.server_sends(complete("BEGIN") + ready('T'));
  script.client_sends(extended("SELECT a FROM t") + message('H'));
  script.server_sends(parsed + bound + row({"1"}) + row({"2"}) + complete("SELECT 2"));
  script.client_sends(begun);
  script.to_client();
  script.to_server();
  script.server_closes();
  ASSERT_TRUE(script.attach());
  script.server_sends(complete("BEGIN") + ready('T'));
}

TEST(replay, asks_for_nothing_in_the_middle_of_a_message) {
  auto options = with_replay();
  options.message_buffer = 1024;
  SessionScript script(options);
  std::string long_bind;
  pg::Writer(long_bind, 'B').cstring("").cstring("").i16(0).i16(1).i32(4000).bytes(std::string(4000, 'x')).i16(0).finish();
  ASSERT_NO_FATAL_FAILURE(run_again_behind_rows(script, long_bind.substr(0, 2000)));
  script.expect_to_server("Q:BEGIN P: B E H H");
  script.server_sends(parsed + bound + row({"1"}) + row({"2"}) + complete("SELECT 2"));
  script.client_sends(long_bind.substr(2000) + execute() + sync());
  EXPECT_FALSE(script.lost());
  script.expect_to_server("B E S");
}

TEST(replay, of_a_read_that_gives_less_leaves_it_its_error) {
  for (const bool simple : {true, false}) {
    SessionScript script(with_replay());
    const std::string begin = simple ? "" : parsed + bound;
    script.client_sends(simple ? query("SELECT a FROM t") : extended("SELECT a FROM t") + sync());
    script.server_sends(begin + row({"1"}) + row({"2"}));
    script.to_client();
    script.server_closes();
    ASSERT_TRUE(script.attach());
    script.server_sends(begin + row({"1"}) + complete("SELECT 1") + ready('I'));
    EXPECT_TRUE(script.lost());
    script.server_closes();
    script.expect_to_client("E:40001 ZI");
  }
}

TEST(replay, that_gives_less_in_an_open_segment_is_left_at_once) {
  SessionScript script(with_replay());
  ASSERT_NO_FATAL_FAILURE(run_again_behind_rows(script, ""));
  script.server_sends(parsed + bound + row({"1"}) + complete("SELECT 1"));
  EXPECT_TRUE(script.lost());
}

TEST(replay, asks_for_answers_that_only_the_servers_last_words_had_brought) {
  SessionScript script(with_replay());
  script.client_sends(query("BEGIN"));
  script.server_sends(complete("BEGIN") + ready('T'));
  script.client_sends(parse("", "SELECT a FROM t") + bind(""));
  script.server_sends(parsed + bound + error("57P01", "FATAL"));
  script.to_server();
  script.server_closes();
  ASSERT_TRUE(script.attach());
  script.server_sends(complete("BEGIN") + ready('T'));
  script.expect_to_server("Q:BEGIN P: B H");
}

TEST(loss, leaves_open_what_became_of_a_segment_behind_a_begin_that_may_have_failed) {
  SessionScript script;
  script.client_sends(extended("SELECT 1/0") + extended("BEGIN") + sync() + extended("INSERT INTO t VALUES (1)") + sync());
  script.server_closes();
  script.expect_to_client("E:40001 ZE E:08007 ZE");
}

TEST(loss, tells_a_prepared_rollback_to_a_savepoint_of_it_as_it_tells_its_text) {
  SessionScript script;
  script.client_sends(parse("back", "ROLLBACK TO s") + sync());
  script.server_sends(parsed + ready('I'));
  script.client_sends(query("BEGIN"));
  script.server_sends(complete("BEGIN") + ready('T'));
  script.client_sends(query("SELECT 1/0"));
  script.server_sends(error("22012") + ready('E'));
  script.server_closes();
  script.to_client();
  script.client_sends(bind("back") + execute() + sync());
  script.expect_to_client("E:40001 ZE");
}

}  // namespace
}  // namespace holdfast::proxy::postgres::test

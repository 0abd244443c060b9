// What a client is told when its backend is lost, row by row of the table in docs/transparency.md.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/unit/proxy/session_model_server.hpp"

namespace holdfast::proxy::postgres::test {
namespace {

/// The client has sent `bytes`, the server has answered `replies`, then it is lost.
std::string lose_after(std::string_view bytes, std::string_view replies = {}, Witness witness = Witness::gone,
                       std::string_view last_words = {}) {
  SessionScript script;
  script.client_sends(bytes);
  script.to_server();
  script.server_sends(replies);
  script.server_sends(last_words);
  script.server_closes("reset", witness);
  return brief(script.to_client());
}

/// The same within a transaction that had begun before.
std::string lose_in_transaction(std::string_view bytes, std::string_view replies = {}, Witness witness = Witness::gone,
                                std::string_view last_words = {}) {
  SessionScript script;
  script.client_sends(query("BEGIN"));
  script.server_sends(complete("BEGIN") + ready('T'));
  script.to_client();
  script.to_server();
  script.client_sends(bytes);
  script.server_sends(replies);
  script.server_sends(last_words);
  script.server_closes("reset", witness);
  return brief(script.to_client());
}

TEST(loss_outside_a_transaction, is_not_seen_by_an_idle_client) {
  SessionScript script;
  EXPECT_EQ(script.server_closes().then, LossResult::Then::stay) << "attached when it next speaks";
  EXPECT_EQ(script.to_client(), "");
  script.client_sends(query("SELECT a FROM t"));
  EXPECT_TRUE(script.held());
  ASSERT_TRUE(script.attach());
  script.expect_to_server("Q:SELECT a FROM t");
}

TEST(loss_outside_a_transaction, of_a_statement_that_provably_reads_asks_to_run_it_again) {
  EXPECT_EQ(lose_after(query("SELECT a FROM t")), "E:40001 ZI");
  EXPECT_EQ(lose_after(query("SHOW work_mem")), "E:40001 ZI");
  EXPECT_EQ(lose_after(query("SELECT a FROM t; SELECT b FROM t")), "E:40001 ZI");
  EXPECT_EQ(lose_after(query("SELECT count(*) FROM t")), "E:40001 ZI");
  EXPECT_EQ(lose_after(extended("SELECT a FROM t") + sync()), "E:40001 ZI");
  EXPECT_EQ(lose_after(query("SELECT a FROM t"), result()), "T D E:40001 ZI");
  EXPECT_EQ(lose_after(query("")), "E:40001 ZI");
}

TEST(loss_outside_a_transaction, of_a_write_under_way_leaves_its_outcome_unknown) {
  for (const auto* text : {"INSERT INTO t VALUES (1)", "SELECT app.f()", "SELECT a FROM t FOR UPDATE", "CALL p()",
                           "DO 'x'", "CREATE TABLE t (a int)", "VACUUM", "PREPARE TRANSACTION 'x'", "not sql", "SELECT 1; INSERT INTO t VALUES (1)",
                           "WITH x AS (DELETE FROM t RETURNING a) SELECT a FROM x", "SELECT nextval('s')",
                           "SET TimeZone = 'UTC'", "BEGIN; INSERT INTO t VALUES (1); COMMIT"}) {
    EXPECT_EQ(lose_after(query(text)), "E:08007 ZI") << text;
    EXPECT_EQ(lose_after(extended(text) + sync()), "E:08007 ZI") << text;
  }
  EXPECT_EQ(lose_after(message('F', "abcd")), "E:08007 ZI");
}

TEST(loss_outside_a_transaction, of_a_write_that_was_confirmed_is_no_loss) {
  EXPECT_EQ(lose_after(query("INSERT INTO t VALUES (1)"), complete("INSERT 0 1")), "C:INSERT 0 1 ZI");
}

TEST(loss_outside_a_transaction, of_a_write_before_its_sync_was_answered_leaves_its_outcome_unknown) {
  // What an Execute did is committed by its Sync: CommandComplete confirms nothing.
  EXPECT_EQ(lose_after(extended("INSERT INTO t VALUES (1)") + sync(), parsed + bound + complete("INSERT 0 1")),
            "1 2 C:INSERT 0 1 E:08007 ZI");
  EXPECT_EQ(lose_after(extended("INSERT INTO t VALUES (1)") + extended("SELECT a FROM t") + sync(),
                       parsed + bound + complete("INSERT 0 1")),
            "1 2 C:INSERT 0 1 E:08007 ZI");
}

TEST(loss_outside_a_transaction, after_the_last_row_of_a_read_is_not_seen) {
  EXPECT_EQ(lose_after(extended("SELECT a FROM t") + sync(), parsed + bound + row({"1"}) + complete("SELECT 1")),
            "1 2 D C:SELECT 1 ZI");
  EXPECT_EQ(lose_after(sync()), "ZI");
  EXPECT_EQ(lose_after(parse("s1", "SELECT 1") + sync(), parsed), "1 ZI");
}

TEST(loss_outside_a_transaction, before_its_sync_was_sent_asks_to_run_the_segment_again) {
  SessionScript script;
  script.client_sends(extended("INSERT INTO t VALUES (1)"));
  script.server_closes();
  script.expect_to_client("E:40001");
  script.client_sends(extended("INSERT INTO t VALUES (2)"));
  EXPECT_EQ(script.to_client(), "") << "as a server skips to the Sync";
  script.client_sends(sync());
  script.expect_to_client("ZI");
  EXPECT_EQ(lose_after(extended("INSERT INTO t VALUES (1)"), parsed + bound + complete("INSERT 0 1")),
            "1 2 C:INSERT 0 1 E:40001");
  EXPECT_EQ(lose_after(extended("CALL p()")), "E:08007");
  EXPECT_EQ(lose_after(extended("CALL p()"), parsed + bound + complete("CALL")), "1 2 C:CALL E:08007");
}

TEST(loss_outside_a_transaction, answers_each_of_several_segments) {
  EXPECT_EQ(lose_after(query("SELECT a FROM t") + query("INSERT INTO t VALUES (1)") + extended("SELECT b FROM t") + sync()),
            "E:40001 ZI E:08007 ZI E:40001 ZI");
  EXPECT_EQ(lose_after(query("INSERT INTO t VALUES (1)") + query("SELECT a FROM t"), complete("INSERT 0 1") + ready('I')),
            "C:INSERT 0 1 ZI E:40001 ZI");
}

TEST(loss_outside_a_transaction, after_an_error_only_completes_its_segment) {
  EXPECT_EQ(lose_after(query("INSERT INTO t VALUES (1)"), error("23505")), "E:23505 ZI");
  EXPECT_EQ(lose_after(extended("INSERT INTO t VALUES (1)") + sync(), parsed + error("23505")), "1 E:23505 ZI");
  SessionScript script;
  script.client_sends(extended("INSERT INTO t VALUES (1)"));
  script.server_sends(error("42P01"));
  script.server_closes();
  script.expect_to_client("E:42P01");
  script.client_sends(bind("") + sync());
  script.expect_to_client("ZI");
}

TEST(loss_outside_a_transaction, of_an_execute_is_judged_by_what_it_runs) {
  const auto lose_execute = [](const std::string& prepare) {
    SessionScript script;
    script.client_sends(query(prepare));
    script.server_sends(complete("PREPARE") + ready('I'));
    script.to_client();
    script.client_sends(query("EXECUTE p"));
    script.server_closes();
    return brief(script.to_client());
  };
  EXPECT_EQ(lose_execute("PREPARE p AS SELECT a FROM t"), "E:40001 ZI");
  EXPECT_EQ(lose_execute("PREPARE p AS SELECT app.f()"), "E:08007 ZI");
  EXPECT_EQ(lose_execute("PREPARE p AS INSERT INTO t VALUES (1)"), "E:08007 ZI");
  EXPECT_EQ(lose_execute("PREPARE q AS SELECT a FROM t"), "E:08007 ZI");
}

TEST(loss_in_a_transaction, of_a_text_that_ends_a_failed_one_and_begins_another_is_unknown_where_a_commit_was_sent_behind_it) {
  SessionScript script;
  script.client_sends(query("BEGIN") + query("fail"));
  script.server_sends(complete("BEGIN") + ready('T') + error("22012") + ready('E'));
  script.to_client();
  script.client_sends(query("SELECT 1") + query("ROLLBACK; BEGIN; INSERT INTO t VALUES (1)") + query("COMMIT"));
  script.server_closes();
  script.expect_to_client("E:25P02 ZE E:08007 ZE E:08007 ZI");
}

TEST(loss_outside_a_transaction, of_a_begin_alone_is_no_loss_it_is_sent_again) {
  SessionScript script(with_replay());
  script.client_sends(query("BEGIN"));
  EXPECT_EQ(script.server_closes().then, LossResult::Then::attach_now);
  script.expect_to_client("");
  EXPECT_TRUE(script.machine.busy());
  script.to_server();
  script.attach();
  script.expect_to_server("Q:BEGIN");
  EXPECT_EQ(script.server_closes().then, LossResult::Then::attach_now) << "as often as it takes";
  script.attach();
  script.expect_to_server("Q:BEGIN");
  script.server_sends(complete("BEGIN") + ready('T'));
  script.expect_to_client("C:BEGIN ZT");
}

TEST(loss_outside_a_transaction, of_a_begin_that_finds_no_server_is_told_when_its_time_is_over) {
  SessionScript script(with_replay());
  script.client_sends(query("START TRANSACTION READ ONLY"));
  script.server_closes();
  script.refuse("57P03", "no upstream");
  script.expect_to_client("E:57P03 ZI");
  EXPECT_FALSE(script.machine.busy());
  script.to_server();
  script.attach();
  script.expect_to_server("");
}

TEST(loss_outside_a_transaction, of_a_begin_with_more_behind_it_is_the_loss_of_its_transaction) {
  EXPECT_EQ(lose_after(query("BEGIN") + query("SELECT a FROM t")), "E:40001 ZE E:25P02 ZE");
  EXPECT_EQ(lose_after(query("BEGIN; SELECT a FROM t")), "E:08007 ZE");
  EXPECT_EQ(lose_after(query("BEGIN"), complete("BEGIN")), "C:BEGIN E:40001 ZE");
  EXPECT_EQ(lose_after(extended("BEGIN") + extended("INSERT INTO t VALUES (1)") + sync()), "E:40001 ZE");
}

TEST(loss_outside_a_transaction, in_copy_in_depends_on_whether_its_data_was_ended) {
  EXPECT_EQ(lose_after(query("COPY t FROM STDIN"), copy_in), "G E:40001 ZI");
  EXPECT_EQ(lose_after(query("COPY t FROM STDIN") + message('d', "1\n") + message('c'), copy_in), "G E:08007 ZI");
  EXPECT_EQ(lose_after(query("COPY t TO STDOUT"), copy_out + message('d', "1\n")), "H d E:40001 ZI");
  SessionScript script;
  script.client_sends(query("COPY t FROM STDIN"));
  script.server_sends(copy_in);
  script.server_closes();
  script.expect_to_client("G E:40001 ZI");
  script.client_sends(message('d', "1\n") + message('c'));
  EXPECT_EQ(script.to_client(), "") << "its data is discarded up to its end";
  EXPECT_FALSE(script.held());
}

TEST(loss_outside_a_transaction, discards_the_rest_of_a_message_that_was_cut) {
  SessionScript script;
  script.client_sends(query("COPY t FROM STDIN"));
  script.server_sends(copy_in);
  const auto data = message('d', std::string(200'000, 'x'));
  script.client_sends(std::string_view(data).substr(0, 100'000));
  script.to_server();
  script.server_closes();
  script.expect_to_client("G E:40001 ZI");
  ASSERT_TRUE(script.attach());
  script.client_sends(data.substr(100'000) + message('c') + query("SELECT a FROM t"));
  EXPECT_EQ(script.to_server().substr(message('c').size()), query("SELECT a FROM t"));
}

TEST(loss_outside_a_transaction, in_the_middle_of_a_message_to_the_client_ends_the_session) {
  SessionScript script;
  script.client_sends(query("SELECT a FROM t"));
  const auto data = message('D', std::string(200'000, 'x'));
  script.server_sends(message('T', std::string_view("\0\0", 2)) + data.substr(0, 100'000));
  script.to_client();
  const auto result = script.server_closes();
  EXPECT_EQ(result.then, LossResult::Then::close);
  EXPECT_EQ(result.reason, "partial_message");
}

TEST(loss_outside_a_transaction, answers_with_the_code_that_the_configuration_gives) {
  SessionOptions options;
  options.unknown_outcome_code = "40003";
  SessionScript script(options);
  script.client_sends(query("INSERT INTO t VALUES (1)"));
  script.server_closes();
  script.expect_to_client("E:40003 ZI");
  EXPECT_EQ(script.machine.statistics().outcomes_unknown, 1U);
}

TEST(loss_outside_a_transaction, by_an_administrator_stays_a_cancel) {
  const auto killed = error("57P01", "FATAL");
  EXPECT_EQ(lose_after("", "", Witness::alive, killed), "");
  EXPECT_EQ(lose_after(query("SELECT a FROM t"), "", Witness::alive, killed), "E:57014 ZI");
  EXPECT_EQ(lose_after(query("INSERT INTO t VALUES (1)"), "", Witness::alive, killed), "E:57014 ZI");
  EXPECT_EQ(lose_after(extended("SELECT a FROM t") + sync(), "", Witness::alive, killed), "E:57014 ZI");
  EXPECT_EQ(lose_after(extended("INSERT INTO t VALUES (1)") + sync(), "", Witness::alive, killed), "E:08007 ZI");
  EXPECT_EQ(lose_after(query("CALL p()"), "", Witness::alive, killed), "E:08007 ZI");
  EXPECT_EQ(lose_after(query("SELECT a FROM t"), "", Witness::alive, error("57P02", "FATAL")), "E:40001 ZI");
  EXPECT_EQ(lose_in_transaction(query("SELECT a FROM t"), "", Witness::alive, killed), "E:40001 ZE");
}

TEST(loss_outside_a_transaction, asks_for_a_witness_only_where_one_can_tell) {
  SessionScript script;
  script.server_sends(error("57P01", "FATAL"));
  EXPECT_FALSE(script.machine.needs_witness()) << "not lost yet";
  script.machine.on_backend_closed("eof");
  EXPECT_TRUE(script.machine.needs_witness());
  SessionScript other;
  other.machine.on_backend_closed("eof");
  EXPECT_FALSE(other.machine.needs_witness());
}

// ---- in a transaction ----

TEST(loss_in_a_transaction, is_told_once_and_then_the_transaction_has_failed) {
  SessionScript script;
  script.client_sends(query("BEGIN"));
  script.server_sends(complete("BEGIN") + ready('T'));
  script.to_client();
  EXPECT_EQ(script.server_closes().then, LossResult::Then::stay);
  EXPECT_EQ(script.to_client(), "") << "the client is not waiting for anything";
  script.client_sends(query("SELECT a FROM t"));
  script.expect_to_client("E:40001 ZE");
  script.client_sends(query("SELECT a FROM t") + extended("SELECT b FROM t") + sync());
  script.expect_to_client("E:25P02 ZE E:25P02 ZE");
  script.client_sends(query("RELEASE s"));
  script.expect_to_client("E:25P02 ZE");
  script.client_sends(query("ROLLBACK"));
  script.expect_to_client("C:ROLLBACK ZI");
  EXPECT_EQ(script.machine.state(), SessionState::detached);
  EXPECT_EQ(script.machine.statistics().transactions_lost, 1U);
  script.client_sends(query("SELECT a FROM t"));
  EXPECT_TRUE(script.held());
}

TEST(loss_in_a_transaction, ends_with_commit_too) {
  SessionScript script;
  script.client_sends(query("BEGIN"));
  script.server_sends(complete("BEGIN") + ready('T'));
  script.server_closes();
  script.to_client();
  script.client_sends(query("COMMIT"));
  script.expect_to_client("E:40001 ZI");
  EXPECT_EQ(script.machine.state(), SessionState::detached);
}

TEST(loss_in_a_transaction, that_was_told_answers_commit_with_rollback) {
  for (const bool simple : {true, false}) {
    SessionScript script;
    script.client_sends(query("BEGIN"));
    script.server_sends(complete("BEGIN") + ready('T'));
    script.client_sends(query("INSERT INTO t VALUES (1)"));
    script.to_client();
    script.server_closes();
    script.expect_to_client("E:40001 ZE");
    script.client_sends(simple ? query("COMMIT") : extended("COMMIT") + sync());
    script.expect_to_client(simple ? "C:ROLLBACK ZI" : "1 2 C:ROLLBACK ZI");
  }
}

TEST(loss_in_a_transaction, of_a_statement_under_way_fails_it) {
  EXPECT_EQ(lose_in_transaction(query("INSERT INTO t VALUES (1)")), "E:40001 ZE");
  EXPECT_EQ(lose_in_transaction(query("SELECT app.f()")), "E:40001 ZE");
  EXPECT_EQ(lose_in_transaction(extended("INSERT INTO t VALUES (1)") + sync(), parsed), "1 E:40001 ZE");
  EXPECT_EQ(lose_in_transaction(extended("INSERT INTO t VALUES (1)")), "E:40001");
  EXPECT_EQ(lose_in_transaction(query("INSERT INTO t VALUES (1)") + query("SELECT a FROM t")), "E:40001 ZE E:25P02 ZE");
  EXPECT_EQ(lose_in_transaction(query("COPY t FROM STDIN"), copy_in), "G E:40001 ZE");
}

TEST(loss_in_a_transaction, while_it_may_commit_leaves_its_outcome_unknown) {
  EXPECT_EQ(lose_in_transaction(query("COMMIT")), "E:08007 ZI");
  EXPECT_EQ(lose_in_transaction(query("END")), "E:08007 ZI");
  EXPECT_EQ(lose_in_transaction(extended("COMMIT") + sync()), "E:08007 ZI");
  EXPECT_EQ(lose_in_transaction(query("INSERT INTO t VALUES (1); COMMIT")), "E:08007 ZI");
  EXPECT_EQ(lose_in_transaction(query("COMMIT AND CHAIN")), "E:08007 ZE");
  EXPECT_EQ(lose_in_transaction(query("CALL p()")), "E:08007 ZE");
}

TEST(loss_in_a_transaction, that_was_gone_back_in_may_be_committed_by_what_stands_behind) {
  SessionScript script;
  for (const auto* text : {"BEGIN", "SAVEPOINT s"}) {
    script.client_sends(query(text));
    script.server_sends(complete(text) + ready('T'));
  }
  script.client_sends(query("SELECT 1/0"));
  script.server_sends(error("22012") + ready('E'));
  script.to_client();
  script.client_sends(query("ROLLBACK TO s") + query("COMMIT"));
  script.server_closes();
  script.expect_to_client("E:08007 ZE E:08007 ZI");
}

TEST(loss_in_a_transaction, whose_commit_was_pipelined_leaves_its_outcome_unknown) {
  // The server may have run all of it: no word of running it again.
  EXPECT_EQ(lose_in_transaction(query("INSERT INTO t VALUES (1)") + query("COMMIT")), "E:08007 ZE E:08007 ZI");
  EXPECT_EQ(lose_after(query("BEGIN") + query("INSERT INTO t VALUES (1)") + query("COMMIT")),
            "E:08007 ZE E:08007 ZE E:08007 ZI");
  EXPECT_EQ(lose_in_transaction(query("INSERT INTO t VALUES (1); ROLLBACK") + query("INSERT INTO t VALUES (2)")),
            "E:40001 ZE E:08007 ZE");
  EXPECT_EQ(lose_in_transaction(query("SELECT a FROM t") + extended("COMMIT")), "E:08007 ZE E:08007");
  // Where the first of these stopped is not known, so the second may have committed by itself.
  EXPECT_EQ(lose_in_transaction(extended("COMMIT") + extended("SELECT 1/0") + extended("BEGIN") + sync() +
                                query("INSERT INTO t VALUES (1)")),
            "E:08007 ZE E:08007 ZE");
  EXPECT_EQ(lose_in_transaction(query("INSERT INTO t VALUES (1)") + query("ROLLBACK")), "E:40001 ZE C:ROLLBACK ZI");
  EXPECT_EQ(lose_in_transaction(extended("INSERT INTO t VALUES (1)") + extended("COMMIT") + sync()), "E:08007 ZI");
}

TEST(loss_in_a_transaction, after_its_commit_was_confirmed_is_no_loss) {
  EXPECT_EQ(lose_in_transaction(query("COMMIT"), complete("COMMIT")), "C:COMMIT ZI");
  EXPECT_EQ(lose_in_transaction(extended("COMMIT") + sync(), parsed + bound + complete("COMMIT")), "1 2 C:COMMIT ZI");
}

TEST(loss_in_a_transaction, answers_a_rollback_as_the_server_would_have) {
  EXPECT_EQ(lose_in_transaction(query("ROLLBACK")), "C:ROLLBACK ZI");
  EXPECT_EQ(lose_in_transaction(query("ROLLBACK"), complete("ROLLBACK")), "C:ROLLBACK ZI");
  EXPECT_EQ(lose_in_transaction(extended("ROLLBACK") + sync()), "1 2 C:ROLLBACK ZI");
  EXPECT_EQ(lose_in_transaction(extended("ROLLBACK") + sync(), parsed + bound), "1 2 C:ROLLBACK ZI");
}

TEST(loss_in_a_transaction, that_ended_before_an_error_is_not_taken_for_failed) {
  EXPECT_EQ(lose_in_transaction(extended("COMMIT") + extended("SELECT 1/0") + sync() + query("INSERT INTO t VALUES (1)"),
                                parsed + bound + complete("COMMIT") + error("22012")),
            "1 2 C:COMMIT E:22012 ZI E:08007 ZI");
  EXPECT_EQ(lose_in_transaction(query("COMMIT; SELECT 1/0") + query("INSERT INTO t VALUES (1)"),
                                complete("COMMIT") + error("22012")),
            "C:COMMIT E:22012 ZE E:08007 ZE");
}

TEST(loss_in_a_transaction, that_had_failed_already_says_nothing_new) {
  const auto failed = query("fail");
  const auto replies = error("22012") + ready('E');
  EXPECT_EQ(lose_in_transaction(failed, replies), "E:22012 ZE");
  EXPECT_EQ(lose_in_transaction(failed + query("SELECT a FROM t"), replies), "E:22012 ZE E:25P02 ZE");
  EXPECT_EQ(lose_in_transaction(failed + query("ROLLBACK"), replies), "E:22012 ZE C:ROLLBACK ZI");
  EXPECT_EQ(lose_in_transaction(failed + query("COMMIT"), replies), "E:22012 ZE C:ROLLBACK ZI");
  // The savepoint was lost with the rest.
  EXPECT_EQ(lose_in_transaction(failed + query("ROLLBACK TO s"), replies), "E:22012 ZE E:40001 ZE");
}

TEST(loss_in_a_transaction, by_the_servers_own_time_limit_keeps_the_servers_words) {
  SessionScript script;
  script.client_sends(query("BEGIN"));
  script.server_sends(complete("BEGIN") + ready('T'));
  script.to_client();
  script.server_sends(error("25P03", "FATAL", "terminating connection due to idle-in-transaction timeout"));
  script.server_closes();
  EXPECT_EQ(script.to_client(), "");
  script.client_sends(query("SELECT a FROM t"));
  const auto said = script.to_client();
  EXPECT_EQ(brief(said), "E:25P03 ZE");
  EXPECT_NE(said.find("idle-in-transaction"), std::string::npos);
  script.client_sends(query("SELECT a FROM t"));
  script.expect_to_client("E:25P02 ZE");
  EXPECT_EQ(lose_in_transaction(query("SELECT a FROM t"), "", Witness::gone, error("25P04", "FATAL")), "E:25P04 ZE");
}

TEST(loss, of_a_statement_by_itself_by_the_servers_own_time_limit_has_the_servers_code) {
  for (const char* text : {"SELECT count(*) FROM t", "INSERT INTO t VALUES (1)"}) {
    SessionScript script(with_replay());
    script.client_sends(query(text));
    script.server_sends(error("25P04", "FATAL"));
    script.server_closes();
    script.expect_to_client("E:25P04 ZI");
  }
}

TEST(loss_in_a_transaction, refuses_what_it_cannot_describe) {
  SessionScript script;
  script.client_sends(parse("s1", "SELECT a FROM t") + sync() + query("BEGIN"));
  script.server_sends(parsed + ready('I') + complete("BEGIN") + ready('T'));
  script.server_closes();
  script.to_client();
  script.client_sends(describe('S', "s1") + sync());
  script.expect_to_client("E:40001 ZE");
  script.client_sends(parse("", "ROLLBACK") + describe('S') + bind("") + describe('P') + execute() + sync());
  script.expect_to_client("1 t n 2 n C:ROLLBACK ZI");
}

// ---- what no new backend can have ----

TEST(lost_state, ends_the_session_and_names_what_was_lost) {
  for (const auto& [text, tag] : {std::pair{"CREATE TEMP TABLE x (a int)", "CREATE TABLE"},
                                  std::pair{"SELECT currval('s')", "SELECT 1"}}) {
    SessionScript script;
    script.client_sends(query(text));
    script.server_sends(complete(tag) + ready('I'));
    script.to_client();
    const auto result = script.server_closes();
    EXPECT_EQ(result.then, LossResult::Then::close);
    const auto said = script.to_client();
    EXPECT_EQ(brief(said), "E:FATAL:57P01");
    EXPECT_NE(said.find("terminating connection"), std::string::npos);
    EXPECT_TRUE(script.machine.terminated());
  }
}

TEST(lost_state, is_one_error_where_the_configuration_says_so) {
  SessionOptions options;
  options.lost_state = SessionOptions::LostState::error;
  SessionScript script(options);
  script.client_sends(query("CREATE TEMP TABLE x (a int)"));
  script.server_sends(complete("CREATE TABLE") + ready('I'));
  script.to_client();
  EXPECT_EQ(script.server_closes().then, LossResult::Then::stay);
  ASSERT_TRUE(script.attach());
  script.to_server();
  script.client_sends(query("SELECT a FROM x"));
  script.expect_to_client("E:57P01 ZI");
  EXPECT_EQ(script.to_server(), "");
  script.client_sends(query("SELECT a FROM t"));
  script.expect_to_server("Q:SELECT a FROM t");
}

TEST(lost_state, is_told_though_another_refusal_comes_before_it_was) {
  SessionOptions options;
  options.lost_state = SessionOptions::LostState::error;
  for (const auto* code : {"57014", "57P03"}) {
    SessionScript script(options);
    script.client_sends(query("CREATE TEMP TABLE x (a int)"));
    script.server_sends(complete("CREATE TABLE") + ready('I'));
    script.to_client();
    EXPECT_EQ(script.server_closes().then, LossResult::Then::stay);
    script.to_server();
    script.refuse(code, "a cancel, or no upstream");
    script.client_sends(query("SELECT a FROM x"));
    script.expect_to_client("E:57P01 ZI");
    ASSERT_TRUE(script.attach());
    script.client_sends(query("SELECT a FROM t"));
    script.expect_to_server("Q:SELECT a FROM t");
  }
}

TEST(session_machine, tells_a_rollback_nothing_of_a_parse_of_ours_that_was_lost_in_front_of_it) {
  SessionScript script;
  script.client_sends(parse("rb", "ROLLBACK") + sync());
  script.server_sends(parsed + ready('I'));
  script.server_closes();
  script.client_sends(query("BEGIN"));
  ASSERT_TRUE(script.attach());
  script.server_sends(complete("BEGIN") + ready('T'));
  script.client_sends(query("SELECT 1/0"));
  script.server_sends(error("22012") + ready('E'));
  script.to_client();
  script.to_server();
  // The driver uses what it has prepared; the backend is lost after the Parse of ours, before the Bind.
  auto bytes = bind("rb") + execute() + sync();
  EXPECT_EQ(script.machine.on_client_bytes({bytes.data(), bytes.size()}).consume, 0U);
  EXPECT_EQ(brief_requests(script.machine.server_output), "P:rb");
  script.server_closes();
  script.client_sends(bytes);
  script.expect_to_client("2 C:ROLLBACK ZI");
}

}  // namespace
}  // namespace holdfast::proxy::postgres::test

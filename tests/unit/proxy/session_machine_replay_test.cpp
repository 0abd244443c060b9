// The second run of what was lost: what goes to the new backend, and what the client gets of it.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/unit/proxy/session_model_server.hpp"

namespace holdfast::proxy::postgres::test {
namespace {

TEST(replay, of_an_open_segment_prepares_its_statement_once) {
  Conversation talk(with_replay());
  EXPECT_EQ(brief(talk.client_sends(parse("s1", "SELECT a FROM t") + describe('S', "s1") + message('H'))), "1 t n");
  EXPECT_EQ(talk.lose().then, LossResult::Then::attach_now);
  EXPECT_EQ(talk.attach(), "");
  EXPECT_EQ(brief_requests(talk.sent), "P:s1 D H");
  EXPECT_EQ(brief(talk.client_sends(bind("s1") + execute() + sync())), "2 D C:SELECT 1 ZI");
  EXPECT_EQ(brief_requests(talk.sent), "P:s1 D H B E S");
}

/// The client is in a transaction that has read one row.
void begin(Conversation& talk) {
  talk.client_sends(query("BEGIN"));
  talk.client_sends(query("SELECT a FROM t"));
}

TEST(replay, sends_one_segment_after_the_other_and_compares_before_the_next) {
  Conversation talk(with_replay());
  begin(talk);
  EXPECT_EQ(talk.lose().then, LossResult::Then::attach_now) << "its locks matter to others";
  ASSERT_TRUE(talk.script.attach());
  talk.script.expect_to_server("Q:BEGIN");
  talk.script.client_sends(query("COMMIT"));
  EXPECT_TRUE(talk.script.held());
  talk.script.server_sends(complete("BEGIN") + ready('T'));
  talk.script.expect_to_server("Q:SELECT a FROM t");
  talk.script.server_sends(result() + complete("SELECT 1") + ready('T'));
  EXPECT_FALSE(talk.script.machine.replaying());
  talk.script.expect_to_server("Q:COMMIT");
  talk.script.expect_to_client("");
  EXPECT_EQ(talk.script.machine.statistics().transactions_replayed, 1U);
}

TEST(replay, that_came_before_leaves_a_commit_of_what_only_read_to_the_catalog) {
  for (const auto reads : {SessionMachine::Reads::proven, SessionMachine::Reads::not_proven}) {
    Conversation talk(with_replay());
    begin(talk);
    talk.lose();
    talk.attach();
    talk.script.client_sends(query("COMMIT"));
    EXPECT_EQ(talk.lose().then, LossResult::Then::attach_now);
    ASSERT_EQ(talk.script.machine.unproven_reads().size(), 1U);
    ASSERT_TRUE(talk.script.attach(300, server_parameters(), reads));
    talk.script.expect_to_client(reads == SessionMachine::Reads::proven ? "E:40001 ZI" : "E:08007 ZI");
    EXPECT_EQ(talk.script.machine.replay_obstacle(), "second_loss");
  }
}

/// The client's segments one by one, each with its answer.
void converse(SessionScript& script, const std::vector<std::pair<std::string, std::string>>& exchanges) {
  for (const auto& [sent, answer] : exchanges) {
    script.client_sends(sent);
    script.server_sends(answer);
  }
  script.to_client();
  script.to_server();
}

/// What is run again, where each segment is answered as `answers` say.
std::string run_again(SessionScript& script, const std::vector<std::string>& answers) {
  script.server_closes();
  if (!script.machine.replaying()) return script.machine.replay_obstacle();
  EXPECT_TRUE(script.attach());
  for (const auto& answer : answers) script.server_sends(answer);
  EXPECT_FALSE(script.machine.replaying());
  return brief_requests(script.to_server());
}

TEST(replay, of_a_chained_transaction_begins_with_its_own_statements) {
  const auto begun = complete("BEGIN") + ready('T'), inserted = complete("INSERT 0 1") + ready('T');
  for (const std::string end : {"COMMIT AND CHAIN", "rollback and chain"}) {
    SessionScript script(with_replay());
    converse(script, {{query("BEGIN ISOLATION LEVEL SERIALIZABLE"), begun}, {query("INSERT INTO t VALUES (1)"), inserted},
                      {query(end), complete(end[0] == 'C' ? "COMMIT" : "ROLLBACK") + ready('T')},
                      {query("INSERT INTO t VALUES (2)"), inserted}});
    EXPECT_EQ(run_again(script, {begun, inserted}), "Q:BEGIN ISOLATION LEVEL SERIALIZABLE Q:INSERT INTO t VALUES (2)");
    // A transaction of its own: it may be run again as well.
    converse(script, {{query(end), complete(end[0] == 'C' ? "COMMIT" : "ROLLBACK") + ready('T')}});
    EXPECT_EQ(run_again(script, {begun}), "Q:BEGIN ISOLATION LEVEL SERIALIZABLE");
  }
}

TEST(replay, of_a_chained_transaction_is_left_where_its_beginning_may_be_another) {
  const auto begun = complete("BEGIN") + ready('T'), inserted = complete("INSERT 0 1") + ready('T');
  const auto chained = complete("COMMIT") + ready('T');
  const auto lose = [](const std::vector<std::pair<std::string, std::string>>& exchanges) {
    SessionScript script(with_replay());
    converse(script, exchanges);
    script.server_closes();
    return script.machine.replay_obstacle();
  };
  const auto insert = query("INSERT INTO t VALUES (1)"), chain = query("COMMIT AND CHAIN");
  EXPECT_EQ(lose({{query("BEGIN"), begun}, {query("SELECT set_config('a.b', '1', true)"), result() + complete("SELECT 1") + ready('T')},
                  {chain, chained}}), "transaction_control");
  EXPECT_EQ(lose({{query("BEGIN"), begun}, {query("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"), complete("SET") + ready('T')},
                  {chain, chained}}), "transaction_control");
  EXPECT_EQ(lose({{query("BEGIN"), begun}, {insert, inserted}, {query("COMMIT AND CHAIN; INSERT INTO t VALUES (2)"),
                                                               complete("COMMIT") + complete("INSERT 0 1") + ready('T')}}),
            "transaction_control");
  EXPECT_EQ(lose({{query("BEGIN; INSERT INTO t VALUES (1)"), complete("BEGIN") + complete("INSERT 0 1") + ready('T')},
                  {chain, chained}}), "transaction_control");
}

TEST(replay, of_a_chained_transaction_brings_back_what_the_last_one_prepared) {
  SessionScript script(with_replay());
  const auto begun = complete("BEGIN") + ready('T'), ran = bound + complete("INSERT 0 1") + ready('T');
  converse(script, {{query("BEGIN"), begun},
                    {parse("s1", "INSERT INTO t VALUES (1)") + bind("s1") + execute() + sync(), parsed + ran},
                    {query("COMMIT AND CHAIN"), complete("COMMIT") + ready('T')},
                    {bind("s1") + execute() + sync(), ran}});
  script.server_closes();
  ASSERT_TRUE(script.attach());
  script.expect_to_server("Q:BEGIN");
  script.server_sends(begun);
  script.expect_to_server("P:s1 B E S");
}

TEST(replay, leaves_out_what_failed_by_the_moment_and_was_gone_back_behind) {
  const auto begun = complete("BEGIN") + ready('T'), inserted = complete("INSERT 0 1") + ready('T');
  const auto saved = complete("SAVEPOINT") + ready('T'), back = complete("ROLLBACK") + ready('T');
  const auto failed = error("55P03") + ready('E'), aborted = error("25P02") + ready('E');
  SessionScript script(with_replay());
  converse(script, {{query("BEGIN"), begun}, {query("SAVEPOINT a"), saved}, {query("INSERT INTO t VALUES (1)"), inserted},
                    {query("LOCK t"), failed}, {query("SELECT 1"), aborted}, {query("ROLLBACK TO a"), back},
                    {query("INSERT INTO t VALUES (2)"), inserted}});
  EXPECT_EQ(run_again(script, {begun, saved, inserted, back, inserted}),
            "Q:BEGIN Q:SAVEPOINT a Q:INSERT INTO t VALUES (1) Q:ROLLBACK TO a Q:INSERT INTO t VALUES (2)");
}

TEST(replay, keeps_the_data_of_a_copy_in_front_of_what_it_leaves_out) {
  const auto begun = complete("BEGIN") + ready('T'), saved = complete("SAVEPOINT") + ready('T');
  const auto back = complete("ROLLBACK") + ready('T'), inserted = complete("INSERT 0 1") + ready('T');
  SessionScript script(with_replay());
  converse(script, {{query("BEGIN"), begun}, {query("SAVEPOINT a"), saved}});
  script.client_sends(query("COPY t FROM STDIN"));
  script.server_sends(copy_in);
  script.client_sends(message('d', "1\n") + message('c'));
  script.server_sends(complete("COPY 1") + ready('T'));
  converse(script, {{query("LOCK t"), error("55P03") + ready('E')}, {query("ROLLBACK TO a"), back}, {query("INSERT INTO t VALUES (2)"), inserted}});
  EXPECT_EQ(run_again(script, {begun, saved, copy_in + complete("COPY 1") + ready('T'), back, inserted}),
            "Q:BEGIN Q:SAVEPOINT a Q:COPY t FROM STDIN d c Q:ROLLBACK TO a Q:INSERT INTO t VALUES (2)");
}

TEST(replay, keeps_what_failed_by_the_moment_where_the_client_has_seen_more_before_it_went_back) {
  const auto begun = complete("BEGIN") + ready('T'), saved = complete("SAVEPOINT") + ready('T');
  SessionScript script(with_replay());
  converse(script, {{query("BEGIN"), begun}, {query("SAVEPOINT a"), saved}, {query("LOCK t"), error("55P03") + ready('E')},
                    {query("ROLLBACK TO a; SELECT a FROM t; SELECT 1/0"),
                     complete("ROLLBACK") + result() + complete("SELECT 1") + error("22012") + ready('E')},
                    {query("ROLLBACK TO a"), complete("ROLLBACK") + ready('T')}});
  script.server_closes();
  ASSERT_TRUE(script.attach());
  script.server_sends(begun);
  script.server_sends(saved);
  EXPECT_EQ(brief_requests(script.to_server()), "Q:BEGIN Q:SAVEPOINT a Q:LOCK t");
}

TEST(replay, keeps_what_failed_where_the_client_has_seen_something_of_it_or_it_would_fail_again) {
  const auto begun = complete("BEGIN") + ready('T'), saved = complete("SAVEPOINT") + ready('T');
  const auto back = complete("ROLLBACK") + ready('T');
  for (const auto& failed : {result() + error("57014") + ready('E'), complete("SELECT 0") + error("55P03") + ready('E'),
                             error("23505") + ready('E')}) {
    SessionScript script(with_replay());
    converse(script, {{query("BEGIN"), begun}, {query("SAVEPOINT a"), saved}, {query("SELECT a FROM t FOR UPDATE"), failed},
                      {query("ROLLBACK TO a"), back}});
    script.server_closes();
    ASSERT_TRUE(script.attach());
    script.server_sends(begun);
    script.server_sends(saved);
    script.to_server();
    script.server_sends(failed);
    EXPECT_EQ(brief_requests(script.to_server()), "Q:ROLLBACK TO a");
  }
}

TEST(replay, that_gives_another_result_leaves_its_backend_and_tells_the_client) {
  for (const auto& second : {row({"2"}) + complete("SELECT 1") + ready('T'), row({"1"}) + row({"1"}), complete("SELECT 0") + ready('T'),
                             error("57014"), ready('T'), result() + complete("SELECT 1") + ready('E')}) {
    SessionScript script(with_replay());
    script.client_sends(query("BEGIN"));
    script.server_sends(complete("BEGIN") + ready('T'));
    script.client_sends(query("SELECT a FROM t"));
    script.server_sends(row({"1"}) + complete("SELECT 1") + ready('T'));
    script.to_client();
    script.server_closes();
    script.attach();
    script.server_sends(complete("BEGIN") + ready('T'));
    script.server_sends(second);
    if (!script.machine.replay_differed()) script.server_sends(complete("SELECT 2") + ready('T'));
    EXPECT_TRUE(script.lost()) << brief(second);
    script.server_closes();
    EXPECT_EQ(script.machine.replay_obstacle(), "different_result");
    script.client_sends(query("COMMIT"));
    script.expect_to_client("E:40001 ZI");
  }
}

TEST(replay, takes_no_offence_at_the_oid_of_a_table_that_it_made_itself) {
  const auto description = [](std::string_view oid) {
    return message('T', std::string("\0\1id\0", 5) + std::string(oid) + std::string("\0\1\0\0\0\x17\0\4\xff\xff\xff\xff\0\0", 14));
  };
  for (const bool same_columns : {true, false}) {
    SessionScript script(with_replay());
    script.client_sends(query("BEGIN"));
    script.server_sends(complete("BEGIN") + ready('T'));
    script.client_sends(query("INSERT INTO made VALUES (1) RETURNING id"));
    const auto rest = row({"1"}) + complete("INSERT 0 1") + ready('T');
    script.server_sends(description({"\0\0\x50\1", 4}) + rest);
    script.to_client();
    script.server_closes();
    ASSERT_TRUE(script.attach());
    script.server_sends(complete("BEGIN") + ready('T'));
    const auto second = description({"\0\0\x70\1", 4});
    script.server_sends((same_columns ? second : second.substr(0, second.size() - 1) + '\1') + rest);
    EXPECT_EQ(script.lost(), !same_columns);
  }
}

TEST(replay, of_an_execute_looks_at_what_it_runs_not_at_its_prepare) {
  const auto plans = [](const std::string& prepare) {
    SessionScript script(with_replay());
    script.client_sends(query(prepare));
    script.server_sends(complete("PREPARE") + ready('I'));
    script.client_sends(query("BEGIN"));
    script.server_sends(complete("BEGIN") + ready('T'));
    script.client_sends(query("EXECUTE p"));
    script.server_sends(complete("SELECT 1") + ready('T'));
    script.server_closes();
    if (script.machine.terminated()) return std::string("ends");
    return script.machine.replaying() ? "replays" : script.machine.replay_obstacle();
  };
  EXPECT_EQ(plans("PREPARE p AS INSERT INTO t VALUES (1)"), "replays");
  EXPECT_EQ(plans("PREPARE p AS SELECT pg_advisory_xact_lock(1)"), "advisory_lock");
  EXPECT_EQ(plans("PREPARE q AS SELECT 1"), "ends") << "what p runs, and what it leaves in the session, is not known";
}

TEST(replay, of_a_transaction_happens_once) {
  Conversation talk(with_replay());
  begin(talk);
  talk.lose();
  EXPECT_EQ(talk.attach(), "");
  talk.lose();
  EXPECT_EQ(talk.script.machine.replay_obstacle(), "second_loss");
  talk.script.client_sends(query("ROLLBACK"));
  talk.script.expect_to_client("C:ROLLBACK ZI");
  talk.attach();
  begin(talk);
  EXPECT_EQ(talk.lose().then, LossResult::Then::attach_now) << "the next transaction has its own right to it";
}

/// A client that holds the first 200 bytes of a row that is longer than the buffer.
struct HeldRow {
  HeldRow() : script(options()) {
    script.client_sends(query("SELECT a FROM t"));
    script.server_sends(row.substr(0, 200));
  }
  static SessionOptions options() {
    auto made = with_replay();
    made.message_buffer = 64;
    return made;
  }
  SessionScript script;
  const std::string row = test::row({std::string(500, 'y')});
};

TEST(replay, completes_a_message_that_the_client_holds_a_part_of) {
  HeldRow held;
  auto& script = held.script;
  script.server_closes();
  ASSERT_TRUE(script.machine.replaying());
  ASSERT_TRUE(script.attach(200, [] {
    auto parameters = server_parameters();
    parameters["TimeZone"] = "CET";
    return parameters;
  }()));
  for (const char byte : held.row + complete("SELECT 1") + ready('I')) script.server_sends({&byte, 1});
  EXPECT_EQ(script.to_client(), held.row + [] {
    std::string out;
    pg::write_parameter_status(out, "TimeZone", "CET");
    return out;
  }() + complete("SELECT 1") + ready('I'));
}

TEST(replay, puts_no_warning_into_a_message_that_the_client_holds_a_part_of) {
  HeldRow held;
  auto& script = held.script;
  script.to_client();
  script.server_closes();
  ASSERT_TRUE(script.attach());
  script.server_sends(notice("WARNING", "57P01", "raised by a function") + held.row + complete("SELECT 1") + ready('I'));
  EXPECT_EQ(script.to_client(), held.row.substr(200) + complete("SELECT 1") + ready('I'));
}

TEST(replay, of_another_message_than_the_client_holds_a_part_of_closes_without_a_word) {
  SessionOptions options = with_replay();
  options.message_buffer = 64;
  SessionScript script(options);
  script.client_sends(query("SELECT a FROM t"));
  script.server_sends(row({std::string(500, 'y')}).substr(0, 200));
  script.to_client();
  script.server_closes();
  script.attach();
  script.server_sends(row({std::string(500, 'z')}));
  EXPECT_TRUE(script.machine.replay_differed());
  const auto result = script.server_closes();
  EXPECT_EQ(result.then, LossResult::Then::close);
  EXPECT_EQ(result.reason, "partial_message");
  EXPECT_EQ(script.to_client(), "");
}

TEST(replay, of_reads_waits_for_the_catalogs_word) {
  SessionScript script(with_replay());
  script.client_sends(query("SELECT app.f() FROM t"));
  script.server_closes();
  ASSERT_EQ(script.machine.unproven_reads().size(), 1U);
  ASSERT_TRUE(script.attach(200, server_parameters(), SessionMachine::Reads::not_proven));
  script.expect_to_client("E:08007 ZI");
  EXPECT_EQ(script.machine.replay_obstacle(), "unproven_read");
  script.client_sends(query("SELECT 1"));
  script.to_server();
}

TEST(replay, runs_a_write_again_only_where_the_server_said_that_it_was_cut_off) {
  const auto insert = query("INSERT INTO t VALUES (1)");
  const auto cut_off = error("57P01", "FATAL");
  const auto lose = [&](const std::string& sent, const std::string& words, Witness witness) {
    SessionScript script(with_replay());
    script.client_sends(sent);
    script.server_sends(words);
    script.server_closes("reset", witness);
    return script.machine.replaying();
  };
  EXPECT_TRUE(lose(insert, cut_off, Witness::gone));
  EXPECT_FALSE(lose(insert, "", Witness::gone));
  EXPECT_FALSE(lose(insert, cut_off, Witness::alive)) << "an administrator's kill";
  EXPECT_FALSE(lose(insert, notice("WARNING", "57P01", "standby") + cut_off, Witness::gone));
  EXPECT_FALSE(lose(insert, complete("INSERT 0 1") + cut_off, Witness::gone)) << "it was committed";
  EXPECT_FALSE(lose(extended("INSERT INTO t VALUES (1)") + sync(), cut_off, Witness::gone));
  EXPECT_FALSE(lose(query("INSERT INTO t VALUES (1); INSERT INTO t VALUES (2)"), cut_off, Witness::gone));
  EXPECT_FALSE(lose(query("VACUUM"), cut_off, Witness::gone));
  EXPECT_FALSE(lose(query("CALL p()"), cut_off, Witness::gone));
}

TEST(replay, does_not_touch_a_transaction_whose_old_backend_may_live_on) {
  SessionScript script(with_replay());
  script.client_sends(query("BEGIN"));
  script.server_sends(complete("BEGIN") + ready('T'));
  script.machine.on_backend_closed("reset");
  EXPECT_TRUE(script.machine.may_live_on());
  script.machine.resolve_loss(Witness::gone, OldBackend::may_live_on);
  EXPECT_FALSE(script.machine.replaying());
  EXPECT_EQ(script.machine.replay_obstacle(), "old_backend");
}

TEST(replay, that_finds_no_server_in_time_is_told_as_the_loss_it_is) {
  Conversation talk(with_replay());
  begin(talk);
  talk.lose();
  talk.script.refuse("57P03", "no upstream");
  EXPECT_FALSE(talk.script.machine.replaying());
  talk.script.client_sends(query("SELECT 1"));
  talk.script.expect_to_client("E:40001 ZE");
}

TEST(replay, off_runs_nothing_again) {
  Conversation talk;
  begin(talk);
  EXPECT_EQ(talk.lose().then, LossResult::Then::stay);
  EXPECT_EQ(talk.script.machine.not_replayable(), "replay_off");
}

/// A transaction that reads, and writes by a statement that was prepared before it; `then` is done to the name before COMMIT
/// is lost. What the client is told of that, if the catalog bears the reads out and the second run fails.
std::string told_of_commit_after(const std::string& prepare, const std::string& run, const std::string& then, const std::string& answers) {
  SessionScript script(with_replay());
  script.client_sends(prepare);
  script.server_sends((prepare[0] == 'Q' ? complete("PREPARE") : parsed) + ready('I'));
  script.client_sends(query("BEGIN"));
  script.server_sends(complete("BEGIN") + ready('T'));
  script.client_sends(query("SELECT a FROM t"));
  script.server_sends(result() + complete("SELECT 1") + ready('T'));
  script.client_sends(run);
  script.server_sends((run[0] == 'Q' ? "" : bound) + complete("INSERT 0 1") + ready('T'));
  if (!then.empty()) {
    script.client_sends(then);
    script.server_sends(answers + ready('T'));
  }
  script.client_sends(query("COMMIT"));
  script.to_client();
  script.server_closes();
  if (script.machine.replaying()) {
    EXPECT_TRUE(script.attach());
    script.server_sends(complete("BEGIN") + ready('T'));
    script.server_sends(result() + complete("SELECT 1") + ready('T'));
    script.server_sends(error("26000"));
    script.server_closes();
  }
  return brief(script.to_client());
}

TEST(replay, knows_what_a_name_meant_when_it_was_used) {
  const auto insert = parse("s1", "INSERT INTO t VALUES (1)") + sync();
  const auto bind_s1 = bind("s1") + execute() + sync();
  const auto again = close('S', "s1") + parse("s1", "SELECT a FROM t") + sync();
  EXPECT_EQ(told_of_commit_after(insert, bind_s1, {}, {}), "E:08007 ZI");
  EXPECT_EQ(told_of_commit_after(insert, bind_s1, close('S', "s1") + sync(), closed), "E:08007 ZI") << "closed behind it";
  EXPECT_EQ(told_of_commit_after(insert, bind_s1, again, closed + parsed), "E:08007 ZI") << "given to a read behind it";
  EXPECT_EQ(told_of_commit_after(insert, query("EXECUTE s1"), again, closed + parsed), "E:08007 ZI") << "the same by SQL";
  EXPECT_EQ(told_of_commit_after(query("PREPARE s1 AS INSERT INTO t VALUES (1)"), bind_s1, {}, {}), "E:08007 ZI");
}

TEST(replay, knows_what_a_name_means_that_is_given_away_behind_its_use) {
  SessionScript script(with_replay());
  script.client_sends(parse("s1", "INSERT INTO t VALUES (1)") + sync());
  script.server_sends(parsed + ready('I'));
  script.client_sends(query("EXECUTE s1") + close('S', "s1") + parse("s1", "SELECT a FROM t") + sync());
  script.to_client();
  script.server_closes();
  EXPECT_FALSE(script.machine.replaying()) << "the INSERT may have been done";
  EXPECT_TRUE(brief(script.to_client()).starts_with("E:08007 ZI"));
}

}  // namespace
}  // namespace holdfast::proxy::postgres::test

// Snapshots: when the session's state is asked for, what waits for the answer, and that the client sees nothing of it.
#include <gtest/gtest.h>

#include <string>

#include "tests/unit/proxy/session_model_server.hpp"

namespace holdfast::proxy::postgres::test {
namespace {

constexpr std::string_view snapshot_requests = "P:holdfast_snapshot B E C C S";

std::string snapshot_replies(const std::string& rows = {}) {
  return parsed + bound + rows + complete("SELECT 0") + closed + closed + ready('I');
}

std::vector<std::string> restored(const SessionScript& script) {
  std::vector<std::string> out;
  for (const auto& item : script.machine.session().restore_items()) {
    out.push_back(item.name + "=" + (item.parameters.empty() ? item.text : item.parameters.back()));
  }
  return out;
}

/// BEGIN and a SET have been answered.
void set_in_transaction(SessionScript& script) {
  script.client_sends(query("BEGIN") + query("SET work_mem = '8MB'"));
  script.server_sends(complete("BEGIN") + ready('T') + complete("SET") + ready('T'));
  script.to_client();
  script.to_server();
}

TEST(snapshot, holds_ready_for_query_after_a_transaction_that_changed_a_setting) {
  SessionScript script;
  set_in_transaction(script);
  script.client_sends(query("COMMIT"));
  script.to_server();
  script.server_sends(complete("COMMIT") + ready('I'));
  script.expect_to_client("C:COMMIT");
  script.expect_to_server(snapshot_requests);
  EXPECT_TRUE(script.machine.busy());
  EXPECT_FALSE(script.machine.cancellable()) << "a late cancel must not hit a statement of ours";
  script.server_sends(snapshot_replies(row({"setting", "work_mem", "8MB"})));
  script.expect_to_client("ZI");
  EXPECT_EQ(restored(script), std::vector<std::string>{"work_mem=8MB"});
  EXPECT_EQ(script.machine.statistics().snapshots, 1U);
}

TEST(snapshot, that_fails_is_due_again_and_the_client_goes_on) {
  SessionScript script;
  set_in_transaction(script);
  script.client_sends(query("COMMIT"));
  script.server_sends(complete("COMMIT") + ready('I'));
  script.to_client();
  script.to_server();
  script.server_sends(parsed + bound + error("42501") + ready('I'));
  script.expect_to_client("ZI");
  EXPECT_TRUE(script.machine.snapshot_due());
  EXPECT_EQ(script.machine.statistics().snapshots, 0U);
  // The server skipped its Close: the name is taken still.
  script.to_server();
  script.snapshot();
  script.expect_to_server("C " + std::string(snapshot_requests));
  script.server_sends(closed + parsed + bound + error("42501") + ready('I'));
  script.snapshot();
  script.server_sends(closed + snapshot_replies(row({"setting", "work_mem", "8MB"})));
  EXPECT_EQ(script.to_client(), "");
  EXPECT_EQ(restored(script), std::vector<std::string>{"work_mem=8MB"});
}

TEST(snapshot, whose_rows_make_no_sense_changes_nothing) {
  SessionScript script;
  script.client_sends(query("SET work_mem = '8MB'") + query("SELECT app.f()"));
  script.server_sends(complete("SET") + ready('I') + result() + complete("SELECT 1") + ready('I'));
  script.to_client();
  ASSERT_TRUE(script.machine.snapshot_due());
  script.snapshot();
  script.server_sends(snapshot_replies(row({"setting", "work_mem"})));
  EXPECT_EQ(script.to_client(), "");
  EXPECT_EQ(restored(script), std::vector<std::string>{"work_mem=SET work_mem = '8MB'"});
  EXPECT_TRUE(script.machine.snapshot_due());
}

TEST(snapshot, lets_a_client_pipeline_behind_it) {
  SessionScript script;
  set_in_transaction(script);
  script.client_sends(query("COMMIT"));
  script.server_sends(complete("COMMIT") + ready('I'));
  script.client_sends(query("SELECT a FROM t"));
  EXPECT_EQ(brief_requests(script.to_server()), "Q:COMMIT " + std::string(snapshot_requests) + " Q:SELECT a FROM t");
  script.server_sends(snapshot_replies() + result() + complete("SELECT 1") + ready('I'));
  script.expect_to_client("C:COMMIT ZI T D C:SELECT 1 ZI");
}

TEST(snapshot, waits_until_nothing_else_is_under_way) {
  SessionScript script;
  set_in_transaction(script);
  script.client_sends(query("COMMIT") + query("SELECT a FROM t"));
  script.to_server();
  script.server_sends(complete("COMMIT") + ready('I'));
  script.expect_to_client("C:COMMIT ZI");
  EXPECT_EQ(script.to_server(), "");
  script.server_sends(result() + complete("SELECT 1") + ready('I'));
  script.expect_to_client("T D C:SELECT 1");
  script.expect_to_server(snapshot_requests);
}

TEST(snapshot, is_never_put_into_an_open_segment) {
  SessionScript script;
  script.client_sends(query("SELECT app.f()"));
  script.server_sends(result() + complete("SELECT 1") + ready('I'));
  EXPECT_TRUE(script.machine.snapshot_due());
  script.client_sends(parse("", "SELECT a FROM t"));
  EXPECT_FALSE(script.machine.snapshot_due());
  script.server_sends(parsed);
  EXPECT_FALSE(script.machine.snapshot_due()) << "answered, but its Sync is still to come";
  script.client_sends(bind("") + sync());
  script.server_sends(bound + ready('I'));
  EXPECT_TRUE(script.machine.snapshot_due());
  script.client_sends(query("BEGIN"));
  script.server_sends(complete("BEGIN") + ready('T'));
  EXPECT_FALSE(script.machine.snapshot_due());
}

TEST(snapshot, is_never_put_into_a_message_of_the_client) {
  SessionScript script;
  script.client_sends(query("SELECT app.f()") + query("COPY t FROM STDIN"));
  script.server_sends(result() + complete("SELECT 1") + ready('I') + copy_in);
  const auto data = message('d', std::string(200'000, 'x'));
  script.client_sends(std::string_view(data).substr(0, 100'000));
  script.server_sends(error("22P02") + ready('I'));
  EXPECT_FALSE(script.machine.snapshot_due());
  script.client_sends(data.substr(100'000) + message('c'));
  EXPECT_TRUE(script.machine.snapshot_due());
}

TEST(snapshot, keeps_the_clients_unnamed_statement) {
  Conversation talk;
  talk.client_sends(query("SELECT app.f()"));
  talk.client_sends(parse("", "SELECT a FROM t") + sync());
  ASSERT_TRUE(talk.script.machine.snapshot_due());
  talk.script.snapshot();
  EXPECT_EQ(talk.settle(), "");
  EXPECT_EQ(brief(talk.client_sends(bind("") + execute() + sync())), "2 D C:SELECT 1 ZI");
}

TEST(snapshot, whose_rows_are_longer_than_the_buffer_still_does_not_reach_the_client) {
  SessionScript script;
  script.client_sends(query("SELECT app.f()"));
  script.server_sends(result() + complete("SELECT 1") + ready('I'));
  script.to_client();
  script.snapshot();
  const auto rows = row({"setting", "search_path", std::string(200'000, 'x')});
  script.server_sends(parsed + bound + rows.substr(0, 100'000));
  script.server_sends(rows.substr(100'000) + complete("SELECT 1") + closed + closed + ready('I'));
  EXPECT_EQ(script.to_client(), "");
  EXPECT_EQ(restored(script).size(), 1U);
}

TEST(snapshot, asks_for_the_custom_settings_that_the_client_named) {
  SessionScript script;
  script.client_sends(query("SET app.tenant = '7'") + query("SELECT app.f()"));
  script.server_sends(complete("SET") + ready('I') + result() + complete("SELECT 1") + ready('I'));
  script.to_server();
  script.snapshot();
  EXPECT_NE(script.to_server().find("{\"app.tenant\"}"), std::string::npos);
}

TEST(snapshot, that_is_lost_while_idle_is_not_seen) {
  SessionScript script;
  script.client_sends(query("SELECT app.f()"));
  script.server_sends(result() + complete("SELECT 1") + ready('I'));
  script.to_client();
  script.snapshot();
  script.server_sends(parsed + bound + error("XX000"));
  EXPECT_EQ(script.server_closes().then, LossResult::Then::stay);
  EXPECT_EQ(script.to_client(), "");
  ASSERT_TRUE(script.attach());
  EXPECT_TRUE(script.machine.snapshot_due());
}

TEST(snapshot, that_is_lost_with_a_statement_behind_it_leaves_that_statement_its_own_outcome) {
  SessionScript script;
  script.client_sends(query("SELECT app.f()"));
  script.server_sends(result() + complete("SELECT 1") + ready('I'));
  script.to_client();
  script.snapshot();
  script.client_sends(query("SELECT a FROM t"));
  script.server_sends(parsed + bound + error("XX000"));
  script.server_closes();
  script.expect_to_client("E:40001 ZI");
}

TEST(snapshot, that_is_lost_while_ready_for_query_waits_ends_the_session) {
  SessionScript script;
  set_in_transaction(script);
  script.client_sends(query("COMMIT"));
  script.server_sends(complete("COMMIT") + ready('I'));
  const auto result = script.server_closes();
  EXPECT_EQ(result.then, LossResult::Then::close);
  EXPECT_EQ(result.reason, "unconfirmed_state");
  script.expect_to_client("C:COMMIT E:FATAL:57P01");
}

TEST(snapshot, that_is_lost_behind_texts_that_can_be_judged_leaves_the_session_to_the_judge) {
  SessionScript script;
  script.client_sends(query("UPDATE t SET a = 1; UPDATE t SET a = 2"));
  script.server_sends(complete("UPDATE 1") + complete("UPDATE 1") + ready('I'));
  script.expect_to_client("C:UPDATE 1 C:UPDATE 1");
  EXPECT_NE(script.server_closes().then, LossResult::Then::close);
  script.expect_to_client("ZI");
  EXPECT_EQ(script.machine.session().unconfirmed().size(), 1U) << "read before it is restored";
  ASSERT_TRUE(script.attach());
  EXPECT_TRUE(script.machine.snapshot_due());
}

TEST(snapshot, never_goes_to_a_backend_that_it_was_not_meant_for) {
  SessionScript script;
  script.client_sends(query("SELECT app.f()"));
  script.server_sends(result() + complete("SELECT 1") + ready('I'));
  script.to_server();
  script.machine.begin_snapshot();  // the backend is lost before it was written
  script.server_closes();
  ASSERT_TRUE(script.attach());
  EXPECT_EQ(script.to_server(), "");
}

TEST(snapshot, is_taken_after_an_error_undid_a_setting_of_its_segment) {
  Conversation talk;
  talk.server.snapshot_rows = {{"role", "", "none"}};
  EXPECT_EQ(brief(talk.client_sends(extended("SET work_mem = '8MB'") + extended("fail") + sync())),
            "1 2 C:SET 1 2 E:22012 ZI");
  EXPECT_TRUE(restored(talk.script).empty()) << "the setting was rolled back with its segment";
}

TEST(snapshot, is_taken_after_a_portal_that_its_client_did_not_run_to_its_end) {
  SessionScript script;
  script.client_sends(parse("", "SELECT pg_advisory_lock(1)") + bind("") + execute("", 1) + sync());
  script.to_server();
  script.server_sends(parsed + bound + row({""}) + message('s') + ready('I'));
  script.expect_to_client("1 2 D s");
  script.expect_to_server(snapshot_requests);
  script.server_sends(snapshot_replies(row({"lock", "", ""})));
  script.expect_to_client("ZI");
  EXPECT_EQ(script.machine.session().pin()->reason, "advisory_lock");
}

TEST(snapshot, is_due_after_a_portal_of_what_sql_has_prepared) {
  SessionScript script;
  script.client_sends(query("PREPARE p AS SELECT pg_advisory_lock(1)"));
  script.server_sends(complete("PREPARE") + ready('I'));
  script.snapshot();
  script.server_sends(snapshot_replies(row({"prepared", "p", "PREPARE p AS SELECT pg_advisory_lock(1)"})));
  EXPECT_FALSE(script.machine.snapshot_due());
  script.to_server();
  script.client_sends(bind("p") + execute() + sync());
  script.expect_to_server("B E S");
  script.server_sends(bound + row({""}) + complete("SELECT 1") + ready('I'));
  script.expect_to_server(snapshot_requests);
}

TEST(snapshot, is_due_after_a_portal_of_what_nobody_knows_but_not_of_a_cursor) {
  SessionScript script;
  script.client_sends(query("BEGIN") + query("DECLARE c CURSOR FOR SELECT a FROM t"));
  script.server_sends(complete("BEGIN") + ready('T') + complete("DECLARE CURSOR") + ready('T'));
  script.client_sends(execute("c", 1) + sync());
  script.server_sends(row({""}) + message('s') + ready('T'));
  EXPECT_FALSE(script.machine.session().pin());
  script.client_sends(bind("unheard_of") + execute() + sync());
  script.server_sends(bound + row({""}) + complete("SELECT 1") + ready('T'));
  EXPECT_TRUE(script.machine.session().pin());
}

TEST(snapshot, is_due_after_a_function_call_unless_it_is_about_a_large_object) {
  const auto call = [](std::int32_t oid) {
    std::string out;
    pg::Writer(out, pg::frontend::function_call).i32(oid).i16(0).i16(0).i16(0).finish();
    return out;
  };
  std::string answer;
  pg::Writer(answer, pg::backend::function_result).i32(-1).finish();
  SessionScript script;
  script.client_sends(call(954));  // loread
  script.server_sends(answer + ready('I'));
  script.expect_to_client("V ZI");
  EXPECT_FALSE(script.machine.snapshot_due());
  script.client_sends(call(2880));  // pg_advisory_lock
  script.server_sends(answer + ready('I'));
  script.expect_to_client("V ZI");
  EXPECT_TRUE(script.machine.snapshot_due());
  EXPECT_TRUE(script.machine.session().pin());
}

TEST(snapshot, asks_for_the_custom_setting_that_a_bind_names) {
  SessionScript script;
  std::string named;
  pg::Writer(named, 'B').cstring("").cstring("").i16(0).i16(2).i32(10).bytes("app.tenant").i32(2).bytes("42").i16(0).finish();
  script.client_sends(parse("", "SELECT set_config($1, $2, false)") + named + execute() + sync());
  script.server_sends(parsed + bound + row({"42"}) + complete("SELECT 1"));
  script.to_server();
  script.server_sends(ready('I'));
  EXPECT_NE(script.to_server().find("{\"app.tenant\"}"), std::string::npos);
}

/// A set_config whose value a function of the user's gives has been answered, but for its ReadyForQuery; so has the snapshot
/// behind it, which shows that the function sets another.
void set_by_function(SessionScript& script, const std::string& while_held = {}) {
  script.client_sends(query("SELECT set_config('app.tenant', become('7'), false)"));
  script.to_server();
  script.server_sends(result() + complete("SELECT 1") + ready('I'));
  script.expect_to_client("T D C:SELECT 1");
  EXPECT_NE(script.to_server().find("\"become\""), std::string::npos);
  if (!while_held.empty()) script.client_sends(while_held);
  script.server_sends(snapshot_replies(row({"body", "become", "BEGIN SET app.other = '8'; END"}) + row({"dotted", "app.tenant", "7"})));
}

TEST(snapshot, is_taken_anew_where_the_body_of_a_function_names_more) {
  SessionScript script;
  set_by_function(script);
  EXPECT_EQ(script.to_client(), "");
  EXPECT_NE(script.to_server().find("{\"app.other\",\"app.tenant\"}"), std::string::npos);
  script.server_sends(snapshot_replies(row({"dotted", "app.other", "8"}) + row({"dotted", "app.tenant", "7"})));
  script.expect_to_client("ZI");
  EXPECT_EQ(restored(script), (std::vector<std::string>{"app.other=8", "app.tenant=7"}));
}

TEST(snapshot, that_is_to_be_taken_anew_lets_a_client_go_on_that_does_not_wait) {
  SessionScript script;
  set_by_function(script, query("SELECT 1"));
  script.expect_to_client("ZI");
  script.expect_to_server("Q:SELECT 1");
  EXPECT_FALSE(script.machine.snapshot_due());
  script.server_sends(result() + complete("SELECT 1") + ready('I'));
  script.expect_to_client("T D C:SELECT 1");
  script.expect_to_server(snapshot_requests);
}

}  // namespace
}  // namespace holdfast::proxy::postgres::test

// What a session has set up: recorded as it is confirmed, replaced by a snapshot, brought back in order.
#include "protocol/postgres/session_state.hpp"

#include <gtest/gtest.h>

#include <array>
#include <initializer_list>
#include <string>
#include <vector>

namespace holdfast::postgres {
namespace {

using Where = SessionState::Where;
using Kind = RestoreItem::Kind;

class SessionStateTest : public ::testing::Test {
 protected:
  StateEffect run(std::string_view text, std::string_view tag, Where where = Where::outside_transaction) {
    return state.on_completed(text, scan_text(text), tag, where);
  }
  std::vector<std::string> items() const {
    std::vector<std::string> out;
    for (const auto& item : state.restore_items()) {
      std::string line = item.text;
      for (const auto& parameter : item.parameters) line += " <" + parameter + ">";
      out.push_back(std::move(line));
    }
    return out;
  }
  std::string reason() const {
    const auto pin = state.pin();
    return pin ? pin->reason : "";
  }
  /// A snapshot with these rows; without any nothing differs from the login.
  void snapshot(std::initializer_list<std::array<std::string_view, 3>> rows = {}) {
    state.begin_snapshot();
    for (const auto& [kind, name, value] : rows) state.on_snapshot_row(kind, name, value);
    state.end_snapshot();
  }

  SessionState state{"app"};
};

using Lines = std::vector<std::string>;

TEST_F(SessionStateTest, a_session_that_only_reads_and_writes_has_nothing_to_bring_back) {
  EXPECT_EQ(run("SELECT a FROM t", "SELECT 1"), StateEffect::none);
  EXPECT_EQ(run("INSERT INTO t VALUES (1)", "INSERT 0 1"), StateEffect::none);
  EXPECT_EQ(run("BEGIN", "BEGIN"), StateEffect::none);
  EXPECT_TRUE(items().empty());
  EXPECT_EQ(reason(), "");
  EXPECT_FALSE(state.snapshot_wanted());
}

TEST_F(SessionStateTest, a_constant_set_is_run_again_as_it_was_written) {
  EXPECT_EQ(run("SET search_path = a, b", "SET"), StateEffect::none);
  EXPECT_EQ(run("SET TimeZone TO 'UTC'", "SET"), StateEffect::none);
  EXPECT_EQ(run("SET timezone TO 'CET'", "SET"), StateEffect::none);
  EXPECT_EQ(items(), (Lines{"SET search_path = a, b", "SET timezone TO 'CET'"}));
}

TEST_F(SessionStateTest, a_custom_setting_whose_name_begins_like_a_keyword_is_one_of_the_session) {
  EXPECT_EQ(run("SET local.tenant = '7'", "SET"), StateEffect::none);
  EXPECT_EQ(items(), (Lines{"SET local.tenant = '7'"}));
  EXPECT_EQ(run("SET SESSION role.tenant = '7'", "SET"), StateEffect::snapshot_now);
  EXPECT_NE(state.dotted_names().find("role.tenant"), std::string::npos);
}

TEST_F(SessionStateTest, a_set_within_a_transaction_is_asked_for_at_its_end) {
  EXPECT_EQ(run("SET work_mem = '8MB'", "SET", Where::in_transaction), StateEffect::snapshot_now);
  EXPECT_TRUE(items().empty()) << "it may still be rolled back";
  EXPECT_EQ(run("SET LOCAL work_mem = '8MB'", "SET", Where::in_transaction), StateEffect::none);
}

TEST_F(SessionStateTest, what_cannot_be_known_without_the_server_is_asked_for_at_once) {
  EXPECT_EQ(run("SET ROLE writer", "SET"), StateEffect::snapshot_now);
  EXPECT_EQ(run("SET SESSION AUTHORIZATION other", "SET"), StateEffect::snapshot_now);
  EXPECT_EQ(run("RESET ALL", "RESET"), StateEffect::snapshot_now);
  EXPECT_EQ(run("SELECT set_config('app.tenant', x, false) FROM t", "SELECT 1"), StateEffect::snapshot_now);
  EXPECT_EQ(run("UNLISTEN *", "UNLISTEN"), StateEffect::snapshot_now);
  EXPECT_EQ(state.dotted_names(), "{\"app.tenant\"}");
}

TEST_F(SessionStateTest, a_snapshot_replaces_settings_channels_and_roles) {
  run("SET work_mem = '8MB'", "SET");
  run("LISTEN old", "LISTEN");
  state.begin_snapshot();
  state.on_snapshot_row("setting", "work_mem", "16MB");
  state.on_snapshot_row("dotted", "app.tenant", "7");
  state.on_snapshot_row("channel", "Strange \"name", "");
  state.on_snapshot_row("role", "", "writer");
  state.on_snapshot_row("authorization", "", "other");
  EXPECT_EQ(items(), (Lines{"SET work_mem = '8MB'", "LISTEN \"old\""})) << "nothing changes before its end";
  state.end_snapshot();
  EXPECT_EQ(items(), (Lines{"SELECT pg_catalog.set_config($1, $2, false) <app.tenant> <7>",
                            "SELECT pg_catalog.set_config($1, $2, false) <work_mem> <16MB>",
                            "LISTEN \"Strange \"\"name\"",
                            "SELECT pg_catalog.set_config($1, $2, false) <session_authorization> <other>",
                            "SELECT pg_catalog.set_config($1, $2, false) <role> <writer>"}));
  const auto all = state.restore_items();
  EXPECT_EQ(all.back().kind, Kind::identity) << "after SET ROLE a superuser's setting would be refused";
}

TEST_F(SessionStateTest, a_role_of_none_is_set_too_for_a_login_may_begin_with_another) {
  snapshot({{"role", "", "none"}, {"authorization", "", "app"}});
  EXPECT_EQ(items(), Lines{"SELECT pg_catalog.set_config($1, $2, false) <role> <none>"});
}

TEST_F(SessionStateTest, the_client_encoding_comes_before_what_is_written_in_it) {
  run("SET \"a.b\" = 'x'", "SET");
  run("SET app.tenant = 'x'", "SET");
  EXPECT_EQ(run("SET NAMES 'UTF8'", "SET"), StateEffect::none);
  EXPECT_EQ(items().front(), "SET NAMES 'UTF8'");
  run("SET app.tenant = 'caf\xc3\xa9'", "SET");
  EXPECT_EQ(run("SET client_encoding = 'LATIN1'", "SET"), StateEffect::snapshot_now) << "the text is written in another";
}

TEST_F(SessionStateTest, what_others_depend_on_comes_first_and_time_limits_last) {
  for (const char* text : {"SET default_text_search_config = 'mine'", "SET lock_timeout = '1s'", "SET search_path = extra",
                           "SET dynamic_library_path = '/nowhere'"}) {
    run(text, "SET");
  }
  run("LOAD 'auto_explain'", "LOAD");
  run("PREPARE p AS SELECT 1", "PREPARE");
  EXPECT_EQ(items(), (Lines{"SET dynamic_library_path = '/nowhere'", "LOAD 'auto_explain'", "SET search_path = extra",
                            "SET default_text_search_config = 'mine'", "PREPARE p AS SELECT 1", "SET lock_timeout = '1s'"}));
}

TEST_F(SessionStateTest, each_library_is_loaded_once_wherever_its_load_stood) {
  for (int i = 0; i < 3; ++i) run("LOAD 'one'", "LOAD");
  run("SELECT load('x'); LOAD 'two'; LOAD 'one'", "LOAD");
  snapshot();
  EXPECT_EQ(items(), (Lines{"LOAD 'one'", "LOAD 'two'"}));
}

TEST_F(SessionStateTest, a_setting_that_the_role_may_not_see_stays_until_one_sees_that_it_is_gone) {
  run("SET dynamic_library_path = '/nowhere'", "SET");
  snapshot({{"role", "false", "reader"}});
  EXPECT_EQ(items().front(), "SET dynamic_library_path = '/nowhere'");
  snapshot({{"role", "true", "none"}});
  EXPECT_EQ(items(), Lines{"SELECT pg_catalog.set_config($1, $2, false) <role> <none>"});
}

TEST_F(SessionStateTest, a_custom_setting_of_a_transaction_is_asked_for_once) {
  EXPECT_EQ(run("SET LOCAL app.tenant = 'x'", "SET", Where::in_transaction), StateEffect::none);
  EXPECT_TRUE(state.snapshot_wanted());
  EXPECT_EQ(state.dotted_names(), "{\"app.tenant\"}");
  snapshot({{"dotted", "app.tenant", ""}});
  EXPECT_EQ(items(), Lines{"SELECT pg_catalog.set_config($1, $2, false) <app.tenant> <>"});
  run("SET LOCAL app.tenant = 'y'", "SET", Where::in_transaction);
  EXPECT_FALSE(state.snapshot_wanted());
}

TEST_F(SessionStateTest, a_seed_is_one_however_it_is_set) {
  for (const char* text : {"SET seed = 0.5", "SET SESSION seed TO 0.5", "SELECT 1; SET LOCAL seed TO 0.5",
                           "SELECT set_config('seed', '0.5', false)"}) {
    state = SessionState("app");
    run(text, "SET");
    snapshot();
    EXPECT_EQ(reason(), "random_seed") << text;
  }
  state = SessionState("app");
  run("SELECT 1; SET app.seed = 1; SELECT * FROM seed", "SET");
  snapshot();
  EXPECT_EQ(reason(), "");
}

TEST_F(SessionStateTest, functions_are_looked_into_only_where_some_were_called) {
  run("SET ROLE other", "SET");
  state.begin_snapshot();
  EXPECT_EQ(state.snapshot_query().find("pg_proc"), std::string::npos) << "not everybody may read it everywhere";
  EXPECT_EQ(state.snapshot_parameters().size(), 1U);
  state.end_snapshot();
  run("SELECT f()", "SELECT 1");
  state.begin_snapshot();
  EXPECT_NE(state.snapshot_query().find("pg_proc"), std::string::npos);
  EXPECT_EQ(state.snapshot_parameters().size(), 2U);
}

TEST_F(SessionStateTest, an_execute_leaves_behind_what_it_runs) {
  EXPECT_EQ(run("PREPARE lock AS SELECT pg_advisory_lock(1)", "PREPARE"), StateEffect::none);
  EXPECT_EQ(run("PREPARE become AS SELECT set_config('app.tenant', $1, false)", "PREPARE"), StateEffect::none);
  EXPECT_EQ(run("PREPARE any AS SELECT set_config($1, $2, false)", "PREPARE"), StateEffect::none);
  EXPECT_EQ(run("PREPARE plain AS SELECT a FROM t", "PREPARE"), StateEffect::none);
  EXPECT_EQ(items().size(), 4U);
  state.begin_snapshot();
  for (const auto* name : {"lock", "become", "any", "plain"}) {
    state.on_snapshot_row("prepared", name, std::string("PREPARE ") + name + (*name == 'l'   ? " AS SELECT pg_advisory_lock(1)"
                                                                              : *name == 'b' ? " AS SELECT set_config('app.tenant', $1, false)"
                                                                              : *name == 'a' ? " AS SELECT set_config($1, $2, false)"
                                                                                             : " AS SELECT a FROM t"));
  }
  state.end_snapshot();
  EXPECT_TRUE(state.unconfirmed().empty());
  EXPECT_EQ(state.dotted_names(), "{}") << "it is not set yet";
  EXPECT_EQ(run("EXECUTE plain", "SELECT 1"), StateEffect::none);
  EXPECT_EQ(run("EXECUTE become('7')", "SELECT 1"), StateEffect::snapshot_now);
  EXPECT_EQ(run("EXECUTE any('app.other', '7')", "SELECT 1"), StateEffect::snapshot_now);
  EXPECT_EQ(state.dotted_names(), "{\"app.other\",\"app.tenant\"}");
  EXPECT_EQ(run("EXECUTE lock", "SELECT 1"), StateEffect::snapshot_judged);
  EXPECT_EQ(state.unconfirmed(), Lines{"PREPARE lock AS SELECT pg_advisory_lock(1)"});
  EXPECT_EQ(reason(), "");
  run("EXECUTE unheard_of", "SELECT 1");
  EXPECT_EQ(reason(), "unconfirmed_state");
}

TEST_F(SessionStateTest, the_server_tells_what_sql_has_prepared_in_longer_texts) {
  run("PREPARE gone AS SELECT 1", "PREPARE");
  snapshot({{"prepared", "kept", "PREPARE kept AS SELECT 2"}});
  EXPECT_EQ(items(), Lines{"PREPARE kept AS SELECT 2"});
  EXPECT_EQ(reason(), "");
  snapshot({{"prepared", "one", "SELECT 1; PREPARE one AS SELECT 2"}});
  EXPECT_EQ(reason(), "unconfirmed_state") << "a text that cannot be run again";
  EXPECT_EQ(run("DEALLOCATE one", "DEALLOCATE"), StateEffect::snapshot_now);
}

TEST_F(SessionStateTest, what_is_temporary_and_no_relation_is_named_as_well) {
  run("CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'SELECT 1'", "CREATE FUNCTION");
  snapshot({{"temporary object", "function pg_temp_3.f()", ""}});
  EXPECT_EQ(reason(), "temporary_table");
  EXPECT_EQ(state.pin()->what, "the temporary function pg_temp_3.f()");
}

TEST_F(SessionStateTest, a_custom_setting_is_known_by_the_name_that_a_bind_gives_it) {
  EXPECT_EQ(run("SELECT set_config($1, $2, false)", "SELECT 1"), StateEffect::snapshot_now);
  state.note_setting_name("App.Tenant");
  state.note_setting_name("no name");
  EXPECT_EQ(state.dotted_names(), "{\"app.tenant\"}");
  EXPECT_EQ(reason(), "");
  snapshot();
  EXPECT_EQ(state.dotted_names(), "{}") << "it is not set";
}

TEST_F(SessionStateTest, a_custom_setting_under_a_computed_name_cannot_be_asked_for) {
  run("SELECT set_config('app.' || x, 'y', true) FROM t", "SELECT 1");
  EXPECT_EQ(reason(), "") << "it ends with its transaction";
  run("SELECT set_config('app.' || x, 'y', false) FROM t", "SELECT 1");
  snapshot();
  EXPECT_EQ(reason(), "setting");
  run("DISCARD ALL", "DISCARD ALL");
  EXPECT_EQ(reason(), "");
}

TEST_F(SessionStateTest, the_bodies_of_functions_are_looked_into_for_custom_settings) {
  run("SELECT become('7')", "SELECT 1");
  state.begin_snapshot();
  EXPECT_EQ(state.wanted_functions(), "{\"become\"}");
  state.on_snapshot_row("body", "become", "BEGIN PERFORM inner_one($1); SET app.since = 'now'; END");
  state.end_snapshot();
  EXPECT_TRUE(state.snapshot_incomplete());
  EXPECT_FALSE(state.unconfirmed().empty()) << "nothing is settled yet";
  state.begin_snapshot();
  EXPECT_EQ(state.wanted_functions(), "{\"inner_one\"}");
  EXPECT_EQ(state.dotted_names(), "{\"app.since\"}");
  state.on_snapshot_row("dotted", "app.since", "now");
  state.on_snapshot_row("body", "inner_one", "SELECT set_config('app.tenant', $1, false)");
  state.end_snapshot();
  EXPECT_TRUE(state.snapshot_incomplete());
  snapshot({{"dotted", "app.since", "now"}, {"dotted", "app.tenant", "7"}});
  EXPECT_FALSE(state.snapshot_incomplete());
  EXPECT_TRUE(state.unconfirmed().empty());
  EXPECT_EQ(items().size(), 2U);
  run("SELECT become('8')", "SELECT 1");
  state.begin_snapshot();
  EXPECT_EQ(state.wanted_functions(), "{}") << "once each";
  EXPECT_EQ(state.dotted_names(), "{\"app.since\",\"app.tenant\"}");
  state.on_snapshot_row("body", "other", "BEGIN PERFORM set_config(key, value, false); END");
  state.end_snapshot();
  EXPECT_EQ(reason(), "setting");
}

TEST_F(SessionStateTest, channels_are_listened_to_again) {
  EXPECT_FALSE(state.listening());
  EXPECT_EQ(run("LISTEN Orders", "LISTEN"), StateEffect::none);
  EXPECT_TRUE(state.listening());
  EXPECT_EQ(items(), (Lines{"LISTEN \"orders\""}));
  EXPECT_EQ(run("LISTEN other", "LISTEN", Where::in_transaction), StateEffect::snapshot_now);
}

TEST_F(SessionStateTest, prepared_statements_of_sql_are_prepared_again_until_they_are_deallocated) {
  EXPECT_EQ(run("PREPARE one AS SELECT 1", "PREPARE"), StateEffect::none);
  EXPECT_EQ(run("PREPARE two AS SELECT 2", "PREPARE"), StateEffect::none);
  EXPECT_EQ(items(), (Lines{"PREPARE one AS SELECT 1", "PREPARE two AS SELECT 2"}));
  run("DEALLOCATE one", "DEALLOCATE");
  EXPECT_EQ(items(), (Lines{"PREPARE two AS SELECT 2"}));
  run("DEALLOCATE ALL", "DEALLOCATE ALL");
  EXPECT_TRUE(items().empty());
}

TEST_F(SessionStateTest, what_sql_prepared_is_tried_as_the_login_and_as_the_role) {
  snapshot({{"prepared", "one", "PREPARE one AS SELECT 1"}, {"role", "", "writer"}});
  EXPECT_EQ(items(), (Lines{"PREPARE one AS SELECT 1", "SELECT pg_catalog.set_config($1, $2, false) <role> <writer>",
                            "PREPARE one AS SELECT 1"}));
}

TEST_F(SessionStateTest, libraries_come_before_settings) {
  run("SET work_mem = '8MB'", "SET");
  run("LOAD 'auto_explain'", "LOAD");
  EXPECT_EQ(items(), (Lines{"LOAD 'auto_explain'", "SET work_mem = '8MB'"}));
}

TEST_F(SessionStateTest, discard_all_forgets_everything_but_the_login) {
  run("SET work_mem = '8MB'", "SET");
  run("LISTEN a", "LISTEN");
  run("PREPARE one AS SELECT 1", "PREPARE");
  run("CREATE TEMP TABLE t (a int)", "CREATE TABLE");
  run("SELECT setseed(0.5)", "SELECT 1");
  run("DISCARD ALL", "DISCARD ALL");
  EXPECT_TRUE(items().empty());
  EXPECT_EQ(reason(), "");
  snapshot({{"authorization", "", "app"}});
  EXPECT_TRUE(items().empty());
}

TEST_F(SessionStateTest, what_no_other_backend_can_have_is_named) {
  EXPECT_EQ(run("CREATE TEMP TABLE t (a int)", "CREATE TABLE"), StateEffect::snapshot_when_idle);
  EXPECT_EQ(reason(), "temporary_table");
  snapshot();
  EXPECT_EQ(reason(), "") << "the table was dropped again";
  run("DECLARE c CURSOR WITH HOLD FOR SELECT 1", "DECLARE CURSOR");
  EXPECT_EQ(reason(), "cursor");
  snapshot({{"lock", "", ""}});
  EXPECT_EQ(reason(), "advisory_lock");
}

TEST_F(SessionStateTest, a_temporary_table_that_is_dropped_at_commit_is_lost_with_its_transaction_only) {
  EXPECT_EQ(run("CREATE TEMP TABLE t (a int) ON COMMIT DROP", "CREATE TABLE", Where::in_transaction), StateEffect::snapshot_when_idle);
  EXPECT_EQ(reason(), "");
  const auto ends_with_it = [&](std::string_view text) {
    run("DISCARD ALL", "DISCARD ALL");
    run(text, "CREATE TABLE", Where::in_transaction);
    return reason().empty();
  };
  EXPECT_TRUE(ends_with_it("create temporary table t on/**/commit drop as select 1"));
  EXPECT_FALSE(ends_with_it("create temp table t (a int) on commit delete rows"));
  EXPECT_FALSE(ends_with_it("create temp table t (a text default 'on commit drop')"));
  run("DISCARD ALL", "DISCARD ALL");
  run("CREATE TEMP TABLE t (a int) ON COMMIT DROP", "CREATE TABLE", Where::outside_transaction);
  EXPECT_EQ(reason(), "temporary_table") << "a pipeline may go on, which only its end tells";
}

TEST_F(SessionStateTest, what_no_snapshot_sees_lasts_until_discard_all) {
  EXPECT_EQ(run("SELECT nextval('s'), currval('s')", "SELECT 1"), StateEffect::snapshot_when_idle);
  EXPECT_EQ(reason(), "sequence_value");
  snapshot();
  EXPECT_EQ(reason(), "sequence_value");
  state.forget_pins();
  EXPECT_EQ(reason(), "") << "the client was told";
}

TEST_F(SessionStateTest, texts_of_unknown_effect_are_kept_once_each_until_a_snapshot) {
  EXPECT_EQ(run("SELECT app.f(1)", "SELECT 1"), StateEffect::snapshot_when_idle);
  run("SELECT app.f(2)", "SELECT 1");
  EXPECT_EQ(state.unconfirmed(), (Lines{"SELECT app.f(1)"}));
  EXPECT_TRUE(state.snapshot_wanted());
  state.begin_snapshot();
  EXPECT_FALSE(state.snapshot_wanted());
  state.end_snapshot();
  EXPECT_TRUE(state.unconfirmed().empty());
}

TEST_F(SessionStateTest, a_do_in_single_quotes_is_kept_for_what_it_runs) {
  run("DO 'BEGIN NULL; END'", "DO");
  run("DO 'BEGIN SET ROLE tenant; END'", "DO");
  run("DO 'BEGIN NULL; END'", "DO");
  EXPECT_EQ(state.unconfirmed(), (Lines{"DO 'BEGIN NULL; END'", "DO 'BEGIN SET ROLE tenant; END'"}));
}

TEST_F(SessionStateTest, more_texts_than_are_kept_make_the_session_unconfirmed_until_a_snapshot) {
  for (int i = 0; i < 64; ++i) run("SELECT f" + std::to_string(i) + "a()", "SELECT 1");
  EXPECT_EQ(reason(), "");
  run("SELECT one_more()", "SELECT 1");
  EXPECT_EQ(reason(), "unconfirmed_state");
  snapshot();
  EXPECT_EQ(reason(), "");
  run("SELECT f('" + std::string(20'000, 'x') + "')", "SELECT 1");
  EXPECT_EQ(reason(), "unconfirmed_state");
}

TEST_F(SessionStateTest, a_text_too_long_to_be_kept_is_unconfirmed) {
  EXPECT_EQ(state.on_completed_without_text(), StateEffect::snapshot_when_idle);
  EXPECT_EQ(reason(), "unconfirmed_state");
  EXPECT_TRUE(state.snapshot_wanted());
}

}  // namespace
}  // namespace holdfast::postgres

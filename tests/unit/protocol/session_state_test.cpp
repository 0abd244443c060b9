// What a session has set up: recorded as it is confirmed, replaced by a snapshot, brought back in order.
#include "protocol/postgres/session_state.hpp"

#include <gtest/gtest.h>

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
  /// An empty snapshot: nothing differs from the login.
  void snapshot() {
    state.begin_snapshot();
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

TEST_F(SessionStateTest, a_role_of_none_and_the_login_itself_need_nothing) {
  state.begin_snapshot();
  state.on_snapshot_row("role", "", "none");
  state.on_snapshot_row("authorization", "", "app");
  state.end_snapshot();
  EXPECT_TRUE(items().empty());
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
  state.begin_snapshot();
  state.on_snapshot_row("authorization", "", "app");
  state.end_snapshot();
  EXPECT_TRUE(items().empty());
}

TEST_F(SessionStateTest, what_no_other_backend_can_have_is_named) {
  EXPECT_EQ(run("CREATE TEMP TABLE t (a int)", "CREATE TABLE"), StateEffect::snapshot_when_idle);
  EXPECT_EQ(reason(), "temporary_table");
  snapshot();
  EXPECT_EQ(reason(), "") << "the table was dropped again";
  run("DECLARE c CURSOR WITH HOLD FOR SELECT 1", "DECLARE CURSOR");
  EXPECT_EQ(reason(), "cursor");
  state.begin_snapshot();
  state.on_snapshot_row("lock", "", "");
  state.end_snapshot();
  EXPECT_EQ(reason(), "advisory_lock");
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

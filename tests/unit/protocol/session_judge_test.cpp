// Verdicts on texts of unknown effect, with a catalog played by the test.
#include "protocol/postgres/session_judge.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <initializer_list>

namespace holdfast::postgres {
namespace {

const std::vector<CatalogFunction> catalog = {
    {"pg_catalog", "count", true, "internal", "aggregate_dummy"},
    {"pg_catalog", "now", true, "internal", "now"},
    {"pg_catalog", "lower", true, "internal", "lower"},
    {"pg_catalog", "nextval", true, "internal", "nextval_oid"},
    {"pg_catalog", "query_to_xml", true, "internal", "query_to_xml"},
    {"app", "plain", false, "sql", "select lower($1)"},
    {"app", "chain", false, "plpgsql", "begin return app.plain($1); end"},
    {"app", "deep", false, "plpgsql", "declare x int; begin x := app.sets(1); end"},
    {"app", "sets", false, "plpgsql", "begin if true then SET x = 1; end if; end"},
    {"app", "sets_local", false, "plpgsql", "begin set local x = 1; update t set a = 1; insert into t values (1) on conflict do update set a = 1; end"},
    {"app", "config", false, "sql", "select pg_catalog.set_config('a', $1, false)"},
    {"app", "dynamic", false, "plpgsql", "begin execute 'set x = 1'; end"},
    {"app", "temporary", false, "plpgsql", "begin create temp table x (a int); end"},
    {"app", "into_temp", false, "sql", "select 1 into temp x"},
    {"app", "listens", false, "plpgsql", "begin listen c; end"},
    {"app", "loops", false, "plpgsql", "begin return app.loops($1 - 1) + 1; end"},
    {"app", "held", false, "plpgsql", "begin open c cursor with hold for select 1; end"},
    {"app", "does", false, "plpgsql", "begin do 'begin end'; end"},
    {"app", "quoted", false, "sql", "select \"set_config\"('a', 'b', false)"},
    {"app", "locks", false, "sql", "select pg_advisory_lock(1)"},
    {"app", "locks_transaction", false, "sql", "select pg_advisory_xact_lock(1)"},
    {"app", "atomic", false, "sql", "CREATE OR REPLACE FUNCTION app.atomic()\n LANGUAGE sql\n SET x TO 'y'\nBEGIN ATOMIC\n SELECT lower('x');\nEND\n"},
    {"app", "atomic_bad", false, "sql", "CREATE OR REPLACE FUNCTION app.atomic()\nBEGIN ATOMIC\n SELECT set_config('x', 'y', false);\nEND\n"},
    {"app", "in_c", false, "c", "in_c"},
    {"app", "renamed", false, "internal", "setseed"},
    {"app", "python", false, "plpython3u", "plpy.execute('set x = 1')"},
    {"app", "total", false, "aggregate", "app.step() "},
    {"app", "step", false, "plpgsql", "begin perform setseed(0); return $1; end"},
    {"app", "proc", false, "plpgsql", "begin insert into t (a) values (1); commit; end"},
    {"app", "unreadable", false, "plpgsql", "begin return 'a\\'; end"},
    {"app", "overloaded", false, "sql", "select 1"},
    {"app", "overloaded", false, "plpgsql", "begin discard all; end"},
    {"one", "split", false, "sql", "select 1"},
    {"two", "split", false, "c", "split"},
    {"app", "lower", false, "sql", "select 1"},
};

SessionVerdict judge(std::initializer_list<const char*> texts, std::vector<std::string> trusted = {}) {
  SessionJudge judge(std::move(trusted));
  for (const char* text : texts) judge.add_text(text);
  std::size_t rounds = 0;
  for (auto names = judge.next_names(); !names.empty(); names = judge.next_names()) {
    for (const auto& function : catalog) {
      if (std::find(names.begin(), names.end(), function.name) != names.end()) judge.on_function(function);
    }
    EXPECT_LT(++rounds, 100U);
  }
  return judge.verdict();
}

TEST(SessionJudge, believes_what_calls_nothing_that_touches_the_session) {
  for (const char* text :
       {"select 1", "select count(*), now() from t", "select lower('x')", "select app.plain('x')", "select app.chain('x')",
        "select app.sets_local()", "select app.loops(3)", "select app.locks_transaction()", "select app.atomic()",
        "select nextval('s')", "select set_config('a', 'b', true)", "create table t (a int default lower('x')::int)",
        "set local x = 1", "set transaction read only", "select 1; insert into t values (lower('x'))", "call app.proc()",
        "do $$ declare x int; begin perform lower('x'); end $$", "prepare p as select lower($1)",
        "select one.split()", "create index on t (lower(a))", "alter table t add a int", "select json_array(1)",
        "create temp table t (a int) on commit drop", "create temp table t on commit drop as select lower('x')",
        "create temp table t (like s including all) on commit drop",
        "declare c cursor for select 1", "explain analyze select count(*) from t", "vacuum t", "drop table t"}) {
    const auto verdict = judge({text});
    EXPECT_TRUE(verdict.restorable) << text << ": " << verdict.what;
  }
}

TEST(SessionJudge, refuses_what_touches_or_may_touch_the_session_and_says_why) {
  const struct {
    const char* text;
    const char* reason;
  } cases[] = {
      {"select set_config('a', 'b', false)", "setting"},
      {"select set_config('a', 'b', $1)", "setting"},
      {"select setseed(0)", "random_seed"},
      {"select 1; execute p", "unconfirmed_state"},
      {"explain analyze execute p", "unconfirmed_state"},
      {"select pg_catalog.pg_advisory_lock(1)", "advisory_lock"},
      {"select pg_try_advisory_lock_shared(1)", "advisory_lock"},
      {"select currval('s')", "sequence_value"},
      {"select lastval()", "sequence_value"},
      {"select dblink_connect('x')", "extension_state"},
      {"select pg_replication_origin_session_setup('x')", "extension_state"},
      {"select query_to_xml('select 1', true, true, '')", "unconfirmed_state"},
      {"select app.sets()", "setting"},
      {"select app.deep()", "setting"},
      {"select sets()", "setting"},
      {"select app.config('x')", "setting"},
      {"select app.quoted()", "setting"},
      {"select app.atomic_bad()", "setting"},
      {"select app.dynamic()", "unconfirmed_state"},
      {"select app.temporary()", "unconfirmed_state"},
      {"select app.into_temp()", "temporary_table"},
      {"select app.listens()", "unconfirmed_state"},
      {"select app.held()", "cursor"},
      {"select app.does()", "unconfirmed_state"},
      {"select app.locks()", "advisory_lock"},
      {"select app.in_c()", "extension_state"},
      {"select app.renamed()", "extension_state"},
      {"select app.python()", "extension_state"},
      {"select app.total(1)", "random_seed"},
      {"select app.unreadable()", "unconfirmed_state"},
      {"select overloaded()", "unconfirmed_state"},
      {"select split()", "extension_state"},
      {"select app.nowhere()", "unconfirmed_state"},
      {"select from from", "unconfirmed_state"},
      {"select 1; set x = 1", "setting"},
      {"reset all", "setting"},
      {"set session characteristics as transaction read only", "setting"},
      {"select 1; listen c", "unconfirmed_state"},
      {"discard plans", "unconfirmed_state"},
      {"load 'x'", "extension_state"},
      {"select 1; prepare p as select 1", "unconfirmed_state"},
      {"declare c cursor with hold for select 1", "cursor"},
      {"create temp table t (a int)", "temporary_table"},
      {"create temp table t (a int) on commit delete rows", "temporary_table"},
      {"create temp table s (a int); create temp table t (a int) on commit drop", "temporary_table"},
      {"create temp view v as select 1", "temporary_table"},
      {"create temp sequence s", "temporary_table"},
      {"create temp table t on commit drop as select app.sets()", "setting"},
      {"explain analyze create temp table t as select 1", "temporary_table"},
      {"select 1 into temp t", "temporary_table"},
      {"create function pg_temp.f() returns int language sql as 'select 1'", "temporary_table"},
      {"prepare p as select setseed($1)", "random_seed"},
      {"do $$ begin set x = 1; end $$", "setting"},
      {"do language plperl 'x'", "unconfirmed_state"},
      {"call app.dynamic()", "unconfirmed_state"},
      {"insert into t values (app.sets())", "setting"},
      {"set seed = 0.5", "setting"},
  };
  for (const auto& test : cases) {
    const auto verdict = judge({test.text});
    EXPECT_FALSE(verdict.restorable) << test.text;
    EXPECT_EQ(verdict.reason, test.reason) << test.text;
    EXPECT_FALSE(verdict.what.empty()) << test.text;
  }
}

TEST(SessionJudge, one_bad_text_among_good_ones_is_enough) {
  EXPECT_FALSE(judge({"select 1", "select app.plain('x')", "select app.sets()"}).restorable);
  EXPECT_TRUE(judge({"select 1", "select app.plain('x')", "select lower('x')"}).restorable);
  EXPECT_TRUE(judge({}).restorable);
}

TEST(SessionJudge, never_shows_a_literal) {
  for (const char* text : {"select setseed('0.123456')", "select 'secret' from from", "select app.in_c('secret')",
                           "do $$ begin execute 'secret'; end $$"}) {
    const auto what = judge({text}).what;
    EXPECT_EQ(what.find("secret"), std::string::npos) << what;
    EXPECT_EQ(what.find("123456"), std::string::npos) << what;
  }
}

TEST(SessionJudge, takes_the_operators_word_for_a_function) {
  EXPECT_FALSE(judge({"select app.in_c()"}).restorable);
  EXPECT_TRUE(judge({"select app.in_c()"}, {"app.in_c"}).restorable);
  EXPECT_TRUE(judge({"select in_c()"}, {"app.in_c"}).restorable);
}

TEST(SessionJudge, looks_into_a_bounded_number_of_functions) {
  std::string text = "select 1";
  for (int i = 0; i < 300; ++i) text += ", app.f" + std::to_string(i) + "()";
  SessionJudge judge;
  judge.add_text(text);
  EXPECT_TRUE(judge.next_names().empty());
  EXPECT_FALSE(judge.verdict().restorable);
}

TEST(SessionJudge, does_not_follow_a_chain_without_end) {
  SessionJudge judge;
  judge.add_text("select app.f0()");
  std::size_t round = 0;
  for (auto names = judge.next_names(); !names.empty(); names = judge.next_names()) {
    ASSERT_LT(++round, 50U);
    judge.on_function({"app", names[0], false, "sql", "select app.f" + std::to_string(round) + "()"});
  }
  EXPECT_FALSE(judge.verdict().restorable);
}

TEST(SessionJudge, quotes_names_for_an_array) {
  EXPECT_EQ(SessionJudge::array_literal({"a", "b\"c", "d\\e", "f,g"}), R"({"a","b\"c","d\\e","f,g"})");
  EXPECT_EQ(SessionJudge::array_literal({}), "{}");
}

}  // namespace
}  // namespace holdfast::postgres

// Tables of texts and what the scan has to say of them.
#include <gtest/gtest.h>

#include "protocol/postgres/text_scan.hpp"
#include "tests/unit/protocol/scan_oracle.hpp"

namespace holdfast::postgres {
namespace {

struct Case {
  const char* text;
  TextClass kind;
};

const Case cases[] = {
    // harmless
    {"", TextClass::harmless},
    {" ;; -- nothing", TextClass::harmless},
    {"select 1", TextClass::harmless},
    {"SELECT * FROM t WHERE a IN (1, 2, 3) AND NOT (b OR c)", TextClass::harmless},
    {"select 'it''s f(x)', \"f(x)\" from t -- f(x)", TextClass::harmless},
    {"select /* f(1) /* nested g(2) */ h(3) */ 1", TextClass::harmless},
    {"select E'f(\\'x' from t", TextClass::harmless},
    {"select $$f(1)$$, $a$ $$ f(1) $a$", TextClass::harmless},
    {"select U&'\\0041' from t", TextClass::harmless},
    {"select B'101', X'1F', N'x'", TextClass::harmless},
    {"select count from t", TextClass::harmless},
    {"select x::numeric(10,2), y::varchar(10), z::vector(3), w::my.type(3) from t", TextClass::harmless},
    {"select cast(x as numeric(10,2)), cast(y as character varying(10)), cast(z as timestamp(3)) from t", TextClass::harmless},
    {"select coalesce(a, b), nullif(a, b), greatest(a, b), least(a, b) from t", TextClass::harmless},
    {"select extract(year from d), position('a' in b), trim(both from c) from t", TextClass::harmless},
    {"select current_timestamp, current_timestamp(3), current_user, localtime(2)", TextClass::harmless},
    {"select case when (a) then (b) else (c) end from t", TextClass::harmless},
    {"select exists (select 1), array(select 1), row(1, 2), a = any (b) from t", TextClass::harmless},
    {"select a from t group by (a) order by (a) limit (1) offset (2)", TextClass::harmless},
    {"select a from t where b between (1) and (2) union all (select 2) except (select 3)", TextClass::harmless},
    {"select * from t join (select 1) u on (true) left join v using (id)", TextClass::harmless},
    {"select * from t, lateral (select 1) u", TextClass::harmless},
    {"select a from t for update", TextClass::harmless},
    {"(select 1)", TextClass::harmless},
    {"((select 1) union (select 2))", TextClass::harmless},
    {"select $1, $2::int", TextClass::harmless},
    {"select 1.5, .5, 1e5, 1.5e-3, 1.", TextClass::harmless},
    {"select a.b.c, (a).b, a[1], a[1:2] from t", TextClass::harmless},
    {"select date '2020-01-01', interval '1' day", TextClass::harmless},
    {"select \"execute\", \"into\" from t", TextClass::harmless},
    {"select \"a\"\"b\" from t", TextClass::harmless},
    {"select grouping(a) from t group by a", TextClass::harmless},
    {"insert into t values (1, 2), (3, 4)", TextClass::harmless},
    {"insert into t (a, b) values ($1, $2)", TextClass::harmless},
    {"INSERT INTO \"users\" (\"id\", \"name\") VALUES ($1, $2) RETURNING \"id\"", TextClass::harmless},
    {"insert into s.t (a) select b from u", TextClass::harmless},
    {"insert into \"s\".\"t\" (a) values (default)", TextClass::harmless},
    {"insert into t (a) values (1) on conflict (a) do update set a = excluded.a", TextClass::harmless},
    {"insert into t (a) values (1) on conflict do nothing", TextClass::harmless},
    {"update t set a = (select 1), b = b + 1 where c = $1", TextClass::harmless},
    {"delete from t using (select 1) u where a = 1 returning *", TextClass::harmless},
    {"merge into t using u on (t.a = u.a) when matched then delete", TextClass::harmless},
    {"values (1), (2)", TextClass::harmless},
    {"table t", TextClass::harmless},
    {"with a as (select 1), b as materialized (select 2) select * from a", TextClass::harmless},
    {"with a as (insert into t (x) values (1) returning x) select * from a", TextClass::harmless},
    {"with a as (select 1) insert into t (x) select * from a", TextClass::harmless},
    {"begin", TextClass::harmless},
    {"start transaction isolation level serializable read only", TextClass::harmless},
    {"COMMIT;", TextClass::harmless},
    {"end", TextClass::harmless},
    {"rollback to savepoint a", TextClass::harmless},
    {"abort", TextClass::harmless},
    {"savepoint a", TextClass::harmless},
    {"release savepoint a", TextClass::harmless},
    {"prepare transaction 'x'", TextClass::harmless},
    {"commit prepared 'x'", TextClass::harmless},
    {"show all", TextClass::harmless},
    {"fetch 10 from c", TextClass::harmless},
    {"move next c", TextClass::harmless},
    {"close c", TextClass::harmless},
    {"lock table t in share mode", TextClass::harmless},
    {"notify c, 'payload'", TextClass::harmless},
    {"truncate t", TextClass::harmless},
    {"explain select 1", TextClass::harmless},
    {"explain (analyze, buffers) select 1", TextClass::harmless},
    {"explain analyze insert into t (a) values (1)", TextClass::harmless},
    {"copy t (a, b) from stdin", TextClass::harmless},
    {"copy s.t (a) from stdin with (format csv, header)", TextClass::harmless},
    {"copy (select 1) to stdout", TextClass::harmless},
    // settings
    {"set a = 1", TextClass::constant_set},
    {"SET search_path TO a, \"B\", public", TextClass::constant_set},
    {"set session statement_timeout = '5s';", TextClass::constant_set},
    {"set app.tenant = '42'", TextClass::constant_set},
    {"set time zone 'UTC'", TextClass::constant_set},
    {"set time zone interval '1' hour to minute", TextClass::constant_set},
    {"set names 'UTF8'", TextClass::constant_set},
    {"set schema 'x'", TextClass::constant_set},
    {"set x to default", TextClass::constant_set},
    {"set local x = 1", TextClass::set_other},
    {"set local role a", TextClass::set_other},
    {"set transaction isolation level serializable", TextClass::set_other},
    {"set constraints all deferred", TextClass::set_other},
    {"set transaction_read_only = on", TextClass::set_other},
    {"set role a", TextClass::set_other},
    {"set session role a", TextClass::set_other},
    {"set role to 'a'", TextClass::set_other},
    {"set session authorization a", TextClass::set_other},
    {"set session_authorization = 'a'", TextClass::set_other},
    {"set session characteristics as transaction read only", TextClass::constant_set},
    {"SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED", TextClass::constant_set},
    {"set session characteristics as transaction isolation level serializable /* x */;", TextClass::constant_set},
    {"set session characteristics as transaction isolation level serializable, read only", TextClass::set_other},
    {"set session characteristics as transaction read only isolation level serializable", TextClass::set_other},
    {"set session characteristics as transaction deferrable", TextClass::set_other},
    {"set session characteristics as transaction isolation level $1", TextClass::set_other},
    {"set \"Role\" = a", TextClass::set_other},
    {"set x from current", TextClass::set_other},
    {"set x = 'a\\b'", TextClass::set_other},
    {"reset all", TextClass::set_other},
    {"reset role", TextClass::set_other},
    {"set seed = 0.5", TextClass::unknown},
    {"set session seed to 0.5", TextClass::unknown},
    {"set search_path = pg_temp, public", TextClass::temporary},
    {"set search_path = 'PG_TEMP'", TextClass::temporary},
    {"select set_config('a.b', $1, false)", TextClass::set_other},
    {"select pg_catalog.set_config('a.b', 'c', true)", TextClass::set_other},
    {"select \"set_config\"('a.b', 'c', true)", TextClass::set_other},
    // one kind each
    {"prepare p as select 1", TextClass::prepare},
    {"prepare p (int, text) as select f($1)", TextClass::prepare},
    {"prepare \"p q\" (int) as select $1", TextClass::prepare},
    {"deallocate p", TextClass::deallocate},
    {"deallocate prepare all", TextClass::deallocate},
    {"execute p", TextClass::execute},
    {"execute p (1, 'x', $1)", TextClass::execute},
    {"execute p (f(1))", TextClass::unknown},
    {"listen c", TextClass::listen},
    {"unlisten *", TextClass::unlisten},
    {"discard all", TextClass::discard},
    {"load 'plpgsql'", TextClass::load},
    {"declare c cursor with hold for select 1", TextClass::declare},
    {"create temp table t (a int)", TextClass::temporary},
    {"CREATE GLOBAL TEMPORARY TABLE t (a int)", TextClass::temporary},
    {"create or replace temp view v as select 1", TextClass::temporary},
    {"create temporary sequence s", TextClass::temporary},
    {"select 1 into temp t", TextClass::temporary},
    {"select 1 into local temporary table t", TextClass::temporary},
    {"create table pg_temp.t (a int)", TextClass::temporary},
    {"create table \"pg_temp\".t (a int)", TextClass::temporary},
    {"select * from pg_temp_3.t", TextClass::temporary},
    {"call p(1)", TextClass::procedure},
    {"do $$ begin end $$", TextClass::procedure},
    // unknown
    {"select f(1)", TextClass::unknown},
    {"select f (1)", TextClass::unknown},
    {"select f/* */--\n(1)", TextClass::unknown},
    {"select \"f\"(1)", TextClass::unknown},
    {"select U&\"f\"(1)", TextClass::unknown},
    {"select U&\"d!0061\" UESCAPE '!' (1)", TextClass::unknown},
    {"select s.f(1)", TextClass::unknown},
    {"select pg_catalog.in(1)", TextClass::unknown},
    {"select s . all (1)", TextClass::unknown},
    {"select count(*) from t", TextClass::unknown},
    {"select now()", TextClass::unknown},
    {"select left(a, 1) from t", TextClass::unknown},
    {"select substring(a, 1) from t", TextClass::unknown},
    {"select like(a, b) from t", TextClass::unknown},
    {"select insert(1)", TextClass::unknown},
    {"select set(1)", TextClass::unknown},
    {"select by(1)", TextClass::unknown},
    {"select varying(1)", TextClass::unknown},
    {"select conflict(1)", TextClass::unknown},
    {"insert into t (a) values (1) returning conflict(1)", TextClass::unknown},
    {"select join(1)", TextClass::unknown},
    {"select materialized(1)", TextClass::unknown},
    {"select explain(1)", TextClass::unknown},
    {"insert into t select 1 from a join b on conflict(1)", TextClass::unknown},
    {"insert into t (a) values (f(1))", TextClass::unknown},
    {"insert into t (a) values (1) on conflict (f(a)) do nothing", TextClass::unknown},
    {"select x::vector(f(1))", TextClass::unknown},
    {"select * into t from u", TextClass::unknown},
    {"select 1 insert into t", TextClass::unknown},
    {"select (1) insert into t", TextClass::unknown},
    {"with a as (select 1) select (1) insert into t", TextClass::unknown},
    {"with a as (insert into t values (1)) select a.insert into x from a", TextClass::unknown},
    {"select 1into t", TextClass::unknown},
    {"select 1; select 2", TextClass::unknown},
    {"select 1; set x = 1", TextClass::unknown},
    {"begin; set local x = 1; commit", TextClass::unknown},
    {"select 'a\\'", TextClass::unknown},
    {"select 'a\\' , f(1), '", TextClass::unknown},
    {"select 'open", TextClass::unknown},
    {"select /* open", TextClass::unknown},
    {"select $x$ open", TextClass::unknown},
    {"select \"open", TextClass::unknown},
    {"select 0x1F", TextClass::unknown},
    {"select 1$$a$$", TextClass::unknown},
    {"select \xe8\x5c(1)", TextClass::unknown},
    {"create table t (a int)", TextClass::unknown},
    {"create table temp (a int)", TextClass::unknown},
    {"create function f() returns int language sql as 'select 1'", TextClass::unknown},
    {"explain analyze create temp table t as select 1", TextClass::unknown},
    {"explain analyze execute p", TextClass::unknown},
    {"explain declare c cursor for select 1", TextClass::unknown},
    {"vacuum", TextClass::unknown},
    {"refresh materialized view v", TextClass::unknown},
    {"nonsense", TextClass::unknown},
    {"\"select\" 1", TextClass::unknown},
};

TEST(TextScan, sorts_texts_by_what_they_can_do_to_the_session) {
  for (const auto& test : cases) {
    EXPECT_EQ(scan_text(test.text).kind, test.kind) << test.text;
    EXPECT_EQ(test::contradiction(test.text), "") << test.text;
  }
}

TEST(TextScan, no_prefix_of_a_text_is_harmless_once_a_call_has_begun) {
  for (const std::string text : {"select a, f(1) from t", "select s.in (1, 2)", "insert into t (a) values (f('x')) returning a",
                                 "select \"f\"($1)", "update t set a = g(b) where c = 'x'", "select f/* x */(1)"}) {
    const auto call = text.find_first_of('(', text.find_first_of("fg\"i", 9));
    for (std::size_t size = 0; size <= text.size(); ++size) {
      const auto scan = scan_text(std::string_view(text).substr(0, size));
      if (text.starts_with("insert") ? size > text.find("f(") + 1 : size > call) {
        EXPECT_NE(scan.kind, TextClass::harmless) << text.substr(0, size);
        EXPECT_TRUE(scan.may_call) << text.substr(0, size);
      }
    }
  }
  for (const auto& test : cases) {
    const std::string_view text = test.text;
    for (std::size_t size = 0; size < text.size(); ++size) EXPECT_EQ(test::contradiction(text.substr(0, size)), "") << text.substr(0, size);
  }
}

TEST(TextScan, flags_what_the_machines_ask_for) {
  EXPECT_TRUE(scan_text("explain execute p").uses_prepared);
  EXPECT_TRUE(scan_text("create table t as execute p").uses_prepared);
  EXPECT_TRUE(scan_text("do $$ begin execute 'execute p'; end $$").uses_prepared);
  EXPECT_TRUE(scan_text("do 'begin execute ''execute p''; end'").uses_prepared);
  EXPECT_FALSE(scan_text("select 'execute p'").uses_prepared);
  EXPECT_TRUE(scan_text("select 1; commit").transaction_word);
  EXPECT_TRUE(scan_text("prepare transaction 'x'").transaction_word);
  EXPECT_TRUE(scan_text("select 'a\\'; commit; '").transaction_word);
  EXPECT_FALSE(scan_text("select case when a then 1 end, 'commit' from t").transaction_word);
  EXPECT_FALSE(scan_text("prepare p as select 1").transaction_word);
  EXPECT_FALSE(scan_text("select 1; select 2").single_statement);
  EXPECT_TRUE(scan_text("select 1;").single_statement);
  EXPECT_TRUE(scan_text("select set_config('a', 'b', false)").calls_set_config);
  EXPECT_TRUE(scan_text("select set_config('a', 'b', $1)").calls_set_config);
  EXPECT_TRUE(scan_text("select set_config('a', 'b', true), set_config('a', 'b', false)").calls_set_config);
  EXPECT_TRUE(scan_text("select app.set_config('a', 'b', true)").calls_set_config);
  EXPECT_TRUE(scan_text("do $$ begin perform set_config('a', 'b', false); end $$").calls_set_config);
  EXPECT_TRUE(scan_text("do 'begin perform set_config(''a'', ''b'', false); end'").calls_set_config);
  EXPECT_TRUE(scan_text("select set_config('a', set_config('b', 'c', true), true)").calls_set_config);
  EXPECT_FALSE(scan_text("select set_config('a', 'b', true)").calls_set_config);
  EXPECT_TRUE(scan_text("select set_config('a', coalesce($1, 'x'), true)").set_local);
  EXPECT_FALSE(scan_text("select set_config('a', 'b', true), f(1)").set_local);
  EXPECT_TRUE(scan_text("set local a = 1").set_local);
  EXPECT_TRUE(scan_text("set local to_x = 1").set_local);
  EXPECT_FALSE(scan_text("set a = 1").set_local);
  // Settings of the session whose names could be keywords.
  for (const auto* text : {"set local = 1", "set local to 1", "set local.a = 1", "set \n transaction . a = 1",
                           "set constraints.a = 1", "set session.a = 1", "set transaction_isolation.a = 1"}) {
    EXPECT_FALSE(scan_text(text).set_local) << text;
    EXPECT_EQ(scan_text(text).kind, TextClass::constant_set) << text;
  }
  EXPECT_TRUE(scan_text("declare c cursor for select f(1)").may_call);
  EXPECT_FALSE(scan_text("declare c cursor for select 1").may_call);
  EXPECT_TRUE(scan_text("prepare p as select f(1)").may_call);
  EXPECT_FALSE(scan_text("prepare p (int) as select $1").may_call);
}

TEST(TextScan, texts_of_one_shape_differ_only_in_constants_blanks_and_case) {
  const auto shape = [](std::string_view text) { return scan_text(text).shape; };
  EXPECT_EQ(shape("select f(1, 'a')"), shape("SELECT  F ( 22 , 'b' ) -- x"));
  EXPECT_EQ(shape("select f(a) where b in (1)"), shape("select f(a) where b in (1, 2, 3)"));
  EXPECT_NE(shape("select f(1)"), shape("select g(1)"));
  EXPECT_NE(shape("select \"f\"(1)"), shape("select \"F\"(1)"));
  EXPECT_NE(shape("do $$ begin end $$"), shape("do $$ begin null; end $$"));
  EXPECT_NE(shape("do 'begin end'"), shape("do 'begin null; end'"));
  EXPECT_NE(shape("do language plpgsql 'begin end'"), shape("do language plpgsql 'begin null; end'"));
  EXPECT_NE(shape("do E'begin end'"), shape("do E'begin null; end'"));
  EXPECT_NE(shape("select 1; do 'begin end'"), shape("select 1; do 'begin null; end'"));
  EXPECT_EQ(shape("do 'begin end'; select 'a'"), shape("do 'begin end'; select 'b'"));
  EXPECT_EQ(shape("insert into t values ('a') on conflict do nothing"), shape("insert into t values ('b') on conflict do nothing"));
  EXPECT_NE(shape("select a, b"), shape("select a b"));
  EXPECT_NE(shape("select a.f(1)"), shape("select a, f(1)"));
  EXPECT_NE(shape("select 'a\\', f(1), '"), shape("select 'a\\', g(1), '"));
}

TEST(TextNames, are_read_as_the_server_folds_them) {
  EXPECT_EQ(set_target("SET TimeZone = 'UTC'"), "timezone");
  EXPECT_EQ(set_target("set session time zone 'UTC'"), "timezone");
  EXPECT_EQ(set_target("set time zone local"), "timezone");
  EXPECT_EQ(set_target("set names 'x'"), "client_encoding");
  EXPECT_EQ(set_target("set session characteristics as transaction isolation level read committed"), "default_transaction_isolation");
  EXPECT_EQ(set_target("SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE"), "default_transaction_read_only");
  EXPECT_EQ(set_target("set schema 'x'"), "search_path");
  EXPECT_EQ(set_target("set xml option document"), "xmloption");
  EXPECT_EQ(set_target("set App . Tenant to '4'"), "app.tenant");
  EXPECT_EQ(set_target("set session = 1"), "session");
  EXPECT_EQ(set_target("set local.a = 1"), "local.a");
  EXPECT_EQ(set_target("set session local.a to 1"), "local.a");
  EXPECT_EQ(set_target("set local a = 1"), std::nullopt);
  EXPECT_EQ(set_target("select 1"), std::nullopt);
  EXPECT_EQ(prepared_name("PREPARE Foo AS select 1"), "foo");
  EXPECT_EQ(prepared_name("prepare \"Foo\"\"s\" (int) as select 1"), "Foo\"s");
  EXPECT_EQ(prepared_name("execute p(1)"), "p");
  EXPECT_EQ(prepared_name("deallocate prepare p"), "p");
  EXPECT_EQ(prepared_name("deallocate prepare"), "prepare");
  EXPECT_EQ(prepared_name("deallocate all"), std::nullopt);
  EXPECT_EQ(prepared_name("deallocate \"all\""), "all");
  EXPECT_EQ(prepared_name("prepare transaction 'x'"), std::nullopt);
  EXPECT_EQ(channel_name("LISTEN Foo;"), "foo");
  EXPECT_EQ(channel_name("unlisten \"Foo\""), "Foo");
  EXPECT_EQ(channel_name("unlisten *"), std::nullopt);
}

TEST(TextScan, names_what_a_longer_text_deallocates) {
  EXPECT_EQ(deallocated_names("SELECT 1; DEALLOCATE Foo; deallocate prepare \"Bar\"; DEALLOCATE ALL; DEALLOCATE PREPARE"),
            (std::vector<std::string>{"foo", "Bar", "", "prepare"}));
  EXPECT_EQ(deallocated_names("SELECT 'DEALLOCATE a'; SELECT deallocate FROM t"), std::vector<std::string>{});
}

TEST(TextScan, finds_a_name_wherever_it_may_be_meant) {
  for (const char* text : {"EXECUTE s1", "execute S1(1)", "EXECUTE \"s1\"", "DO $$ BEGIN EXECUTE 'EXECUTE s1'; END $$", "SELECT run('EXECUTE s1')"}) {
    EXPECT_TRUE(names_it(text, "s1")) << text;
  }
  EXPECT_FALSE(names_it("EXECUTE s12 -- s1", "s1"));
  EXPECT_FALSE(names_it("EXECUTE \"S1\"", "s1"));
}

TEST(TextNames, custom_settings_are_found_wherever_they_may_be_set) {
  using Names = std::vector<std::string>;
  EXPECT_EQ(dotted_settings("set App.Tenant = 1"), Names{"app.tenant"});
  EXPECT_EQ(dotted_settings("set local app.a = 1; set session \"app\".b to 'x.y'"), (Names{"app.a", "app.b"}));
  EXPECT_EQ(dotted_settings("select set_config('app.tenant', $1, false)"), Names{"app.tenant"});
  EXPECT_EQ(dotted_settings("do $$ begin perform SET_CONFIG('a.b', 'x', false); set c.d = 1; end $$"), (Names{"a.b", "c.d"}));
  EXPECT_EQ(dotted_settings("select f('app.tenant')"), Names{});
  EXPECT_EQ(dotted_settings("set x = 'app.tenant'"), Names{});
  EXPECT_EQ(dotted_settings("begin execute 'SET app.a = ' || quote_literal(x); end"), Names{"app.a"});
  EXPECT_EQ(dotted_settings("execute 'select set_config(''app.a'', ''x'', false)'"), Names{"app.a"});
  EXPECT_EQ(dotted_literals("execute p('App.Tenant', 'x')"), Names{"app.tenant"});
}

TEST(TextNames, a_setting_whose_name_does_not_stand_in_its_text_is_found_out) {
  for (const std::string_view plain :
       {"select set_config('app.a', x, false)", "select set_config('work_mem', '1MB', false)", "select set_config('app.a'::text, x, false)",
        "select pg_catalog.set_config($1, $2, false)", "select set_config(a || b, 'x', true) from t", "select set_config from t"}) {
    EXPECT_FALSE(computes_setting_name(plain, ParameterOf::client)) << plain;
  }
  for (const std::string_view computed :
       {"select set_config('app.' || x, 'y', false) from t", "select set_config(name, setting, false) from t",
        "do $$ begin perform set_config(k, 'v', false); end $$", "select \"set_config\"(lower('app.a'), 'x', false)",
        "select set_config('app.a b', 'x', false)", "execute 'select set_config(' || x || ', ''y'', false)'"}) {
    EXPECT_TRUE(computes_setting_name(computed, ParameterOf::client)) << computed;
  }
  EXPECT_TRUE(computes_setting_name("select set_config($1, $2, false)", ParameterOf::function));
}

TEST(TextNames, what_is_called_stands_in_front_of_a_parenthesis) {
  using Names = std::vector<std::string>;
  EXPECT_EQ(called_names("select App.F(1), \"G\"(2), f (3) from t where a in (1) and (b)"), (Names{"f", "G"}));
  EXPECT_EQ(called_names("do $$ begin perform f(); end $$"), Names{"f"});
  EXPECT_EQ(called_names("do 'begin perform f(''a(b)''); end'; select 'g()'"), Names{"f"});
}

}  // namespace
}  // namespace holdfast::postgres

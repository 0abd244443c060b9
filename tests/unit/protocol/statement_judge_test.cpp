// What the parse tree says of transaction control and of reading.
#include "protocol/postgres/statement_judge.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace holdfast::postgres {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(StatementJudge, knows_every_form_of_transaction_control) {
  const struct {
    const char* text;
    TransactionControl control;
    const char* name;
  } cases[] = {
      {"begin", TransactionControl::begin, ""},
      {"start transaction read only", TransactionControl::begin, ""},
      {"commit", TransactionControl::commit, ""},
      {"end work", TransactionControl::commit, ""},
      {"rollback", TransactionControl::rollback, ""},
      {"abort", TransactionControl::rollback, ""},
      {"commit and chain", TransactionControl::commit_chain, ""},
      {"end and chain", TransactionControl::commit_chain, ""},
      {"commit and no chain", TransactionControl::commit, ""},
      {"rollback and chain", TransactionControl::rollback_chain, ""},
      {"savepoint A", TransactionControl::savepoint, "a"},
      {"release savepoint \"A\"", TransactionControl::release, "A"},
      {"rollback to savepoint a", TransactionControl::rollback_to, "a"},
      {"rollback to a", TransactionControl::rollback_to, "a"},
      {"prepare transaction 'g'", TransactionControl::prepare_transaction, "g"},
      {"commit prepared 'g'", TransactionControl::commit_prepared, "g"},
      {"rollback prepared 'g'", TransactionControl::rollback_prepared, "g"},
      {"select 1", TransactionControl::none, ""},
  };
  for (const auto& test : cases) {
    const auto text = judge_text(test.text);
    ASSERT_EQ(text.statements.size(), 1U) << test.text;
    EXPECT_EQ(text.statements[0].control, test.control) << test.text;
    EXPECT_EQ(text.statements[0].name, test.name) << test.text;
  }
}

TEST(StatementJudge, follows_the_transaction_block_through_a_text) {
  const struct {
    const char* text;
    char before, status;
    bool same_block, may_commit;
  } cases[] = {
      {"select 1", 'I', 'I', true, false},
      {"select f()", 'I', 'I', true, true},
      {"select f()", 'T', 'T', true, false},
      {"insert into t values (1)", 'I', 'I', true, true},
      {"insert into t values (1)", 'T', 'T', true, false},
      {"set x = 1", 'I', 'I', true, false},
      {"execute p", 'I', 'I', true, true},
      {"begin", 'I', 'T', true, false},
      {"begin; insert into t values (1)", 'I', 'T', true, false},
      {"insert into t values (1); begin", 'I', 'T', true, false},
      {"begin; insert into t values (1); rollback", 'I', 'I', false, false},
      {"begin; insert into t values (1); commit", 'I', 'I', false, true},
      {"commit", 'T', 'I', false, true},
      {"commit", 'E', 'I', false, false},
      {"commit and chain", 'T', 'T', false, true},
      {"rollback", 'T', 'I', false, false},
      {"rollback", 'E', 'I', false, false},
      {"rollback and chain", 'T', 'T', false, false},
      {"rollback; insert into t values (1)", 'T', 'I', false, true},
      {"rollback to a", 'E', 'T', true, false},
      {"rollback to a", 'T', 'T', true, false},
      {"savepoint a; release a", 'T', 'T', true, false},
      {"insert into t values (1); commit; begin; insert into t values (2)", 'T', 'T', false, true},
      {"prepare transaction 'x'", 'T', 'I', false, true},
      {"commit prepared 'x'", 'I', 'I', true, true},
      {"call p()", 'I', 'I', true, true},
      {"do $$ begin end $$", 'T', 'T', true, true},
      {"", 'T', 'T', true, false},
      {"nonsense", 'T', 'E', true, true},
  };
  for (const auto& test : cases) {
    const auto text = judge_text(test.text);
    const auto after = status_after(text, test.before);
    EXPECT_EQ(after.status, test.status) << test.before << ' ' << test.text;
    EXPECT_EQ(after.same_block, test.same_block) << test.before << ' ' << test.text;
    EXPECT_EQ(may_commit(text, test.before), test.may_commit) << test.before << ' ' << test.text;
  }
}

TEST(StatementJudge, tells_reads_from_all_else) {
  for (const char* text :
       {"select 1", "table t", "values (1)", "show all", "explain select 1", "explain (costs off) select * from t",
        "select f(1) from t", "with a as (select 1) select * from a", "select 1; select 2", "explain analyze select 1",
        "select * from t order by a using <", "select (select 1), exists (select 2)", "copy t to stdout", "copy (select 1) to stdout"}) {
    EXPECT_TRUE(only_reads(judge_text(text))) << text;
  }
  for (const char* text :
       {"", "insert into t values (1)", "update t set a = 1", "delete from t", "select * from t for update",
        "select * from (select * from t for share) u", "select 1 into t", "with a as (delete from t returning *) select * from a",
        "explain analyze delete from t", "explain (analyze off) delete from t", "create table t (a int)",
        "create table t as select 1", "select nextval('s')", "select pg_catalog.pg_notify('a', 'b')", "set x = 1",
        "select set_config('a', 'b', true)", "select 1; select lo_unlink(1)", "select a from t where setval('s', 1) > 0",
        "select dblink_exec('x')", "call f()", "do ''", "begin", "copy t to '/f'", "copy t from stdin", "copy (select 1) to program 'x'",
        "lock t", "declare c cursor for select 1", "fetch c", "execute p", "notify a", "vacuum", "nonsense",
        "select pg_advisory_xact_lock(1)", "select txid_current()", "explain select nextval('s')"}) {
    EXPECT_FALSE(only_reads(judge_text(text))) << text;
  }
}

TEST(StatementJudge, lists_what_a_statement_names) {
  const auto text = judge_text(
      "with c as (select F(1)) select s.g(a), count(*), x::my.type, case a when 1 then 2 end "
      "from s.t join \"U\" using (id) join c on true where a operator(o.@@) b and c = any (array[1]) order by a using >");
  ASSERT_EQ(text.statements.size(), 1U);
  const auto& statement = text.statements[0];
  EXPECT_THAT(statement.functions, ElementsAre(QualifiedName{"", "count"}, QualifiedName{"", "f"}, QualifiedName{"s", "g"}));
  EXPECT_THAT(statement.operators, ElementsAre(QualifiedName{"", "="}, QualifiedName{"", ">"}, QualifiedName{"o", "@@"}));
  EXPECT_THAT(statement.relations, ElementsAre(QualifiedName{"", "U"}, QualifiedName{"", "c"}, QualifiedName{"s", "t"}));
  EXPECT_THAT(statement.types, ElementsAre(QualifiedName{"my", "type"}));
  EXPECT_THAT(statement.common_tables, ElementsAre("c"));
}

TEST(StatementJudge, names_the_operators_that_between_stands_for) {
  const auto text = judge_text("select a from t where a not between b and c");
  for (const char* name : {"<", "<=", ">", ">="}) {
    EXPECT_THAT(text.statements.at(0).operators, ::testing::Contains(QualifiedName{"", name}));
  }
}

TEST(StatementJudge, does_not_judge_what_it_cannot_read) {
  std::string deep = "select 1";
  for (int i = 0; i < 200'000; ++i) deep += "+1";
  std::string nested = "select ";
  for (int i = 0; i < 100'000; ++i) nested += "(select ";
  std::string unions = "select 1,2";
  for (int i = 0; i < 60'000; ++i) unions += " union select 1,2";
  for (const std::string& text : {std::string("nonsense"), std::string("select 1\0", 9), std::string("select '\xff'"),
                                  std::string("select '\xe2\x82"), deep, nested, unions,
                                  "select '" + std::string(judged_text_max, 'x') + "'"}) {
    const auto judged = judge_text(text);
    EXPECT_FALSE(judged.parsed) << text.substr(0, 20);
    EXPECT_TRUE(may_commit(judged, 'T'));
    EXPECT_FALSE(only_reads(judged));
    EXPECT_TRUE(may_call_procedure(judged));
    EXPECT_TRUE(mixes_transaction_control(judged));
    EXPECT_FALSE(is_plain_rollback(judged));
  }
  EXPECT_FALSE(judge_text("select 'a\\'", StringSyntax::with_escapes).parsed);
  EXPECT_TRUE(judge_text("select 'a\\'", StringSyntax::standard).parsed);
}

TEST(StatementJudge, reads_a_long_list_and_the_deepest_text_that_it_takes) {
  std::string list = "insert into t values (1, 'a')";
  for (int i = 0; i < 20'000; ++i) list += ", (1, -2)";
  EXPECT_TRUE(judge_text(list).parsed);
  for (const auto& [prefix, unit, suffix] : {std::tuple{"1", "+1", ""}, {"1", "::int", ""}, {"1", "+f(1", ")"}, {"(select 1", "+(select 1", ")"},
                                             {"true", " or not a", ""}, {"1", "[1]", ""}}) {
    std::string text = std::string("select ") + prefix, end;
    for (bool parsed = true; parsed;) {
      for (int i = 0; i < 50; ++i) {
        text += unit;
        end += suffix;
      }
      const auto whole = text + end + (prefix[0] == '(' ? ")" : "");
      parsed = judge_text(whole).parsed;
      ASSERT_LT(whole.size(), 200'000U);
    }
  }
}

TEST(StatementJudge, recognises_plain_ends_of_a_block_and_mixtures) {
  EXPECT_TRUE(is_plain_rollback(judge_text("abort;")));
  EXPECT_FALSE(is_plain_rollback(judge_text("rollback and chain")));
  EXPECT_FALSE(is_plain_rollback(judge_text("rollback to a")));
  EXPECT_FALSE(is_plain_rollback(judge_text("rollback; select 1")));
  EXPECT_TRUE(is_plain_commit(judge_text("end")));
  EXPECT_FALSE(is_plain_commit(judge_text("commit prepared 'x'")));
  EXPECT_TRUE(mixes_transaction_control(judge_text("insert into t values (1); commit")));
  EXPECT_TRUE(mixes_transaction_control(judge_text("commit; begin")));
  EXPECT_FALSE(mixes_transaction_control(judge_text("commit")));
  EXPECT_FALSE(mixes_transaction_control(judge_text("select 1; select 2")));
}

TEST(StatementJudge, keeps_nothing_between_calls) {  // the sanitizers watch
  for (int i = 0; i < 2000; ++i) {
    EXPECT_TRUE(judge_text("select f(1) from t where a = 'x'").parsed);
    EXPECT_FALSE(judge_text("select from from").parsed);
  }
}

}  // namespace
}  // namespace holdfast::postgres

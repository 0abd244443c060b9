// Rows 9 to 11 of the table of what a client sees: transactions, driven by hand.
#include "mongo_operation_script.hpp"

namespace holdfast::proxy::mongo {
namespace {

using Labels = std::vector<std::string>;
const Labels transient{"TransientTransactionError"};

TEST(MongoOperation, row_2_in_a_transaction_it_is_251_and_the_whole_transaction_runs_again) {
  Script script(in_transaction(Kind::write, true));
  EXPECT_EQ(script.start().refused().code(), 251);
  EXPECT_EQ(script.labels(), transient);
}

TEST(MongoOperation, row_11_a_commit_is_not_sent_again_to_another_server_that_stands_there_by_then) {
  Script commit(in_transaction(Kind::commit), at(0));
  EXPECT_TRUE(commit.start().member().lost().selects());
  EXPECT_EQ(commit.forgetful_member().code(), 6);
  EXPECT_EQ(commit.labels(), (std::vector<std::string>{"RetryableWriteError", "UnknownTransactionCommitResult"}));
}

TEST(MongoOperation, row_9_a_transaction_goes_on_where_it_is) {
  Script script(in_transaction(Kind::write), at(1));
  EXPECT_EQ(script.start().uses(), 1U);
  EXPECT_TRUE(script.member().reply(0).forwards());
  Script gone(in_transaction(Kind::read), at(1));
  EXPECT_EQ(gone.start().unreachable().code(), 251);
  EXPECT_EQ(gone.labels(), transient);
  EXPECT_TRUE(gone.answer().abort);
}

TEST(MongoOperation, row_9_a_transaction_goes_on_over_another_connection_where_its_own_was_logged_out) {
  for (const auto kind : {Kind::read, Kind::write, Kind::other}) {
    Script script(in_transaction(kind), at(1));
    EXPECT_EQ(script.start().member().reply_with(reply_body(13), Machine::Replier::logged_out).uses(), 1U);
    EXPECT_TRUE(script.member().reply(0).forwards());
  }
  for (const auto kind : {Kind::commit, Kind::abort}) {
    Script script(in_transaction(kind), at(1));
    EXPECT_TRUE(script.start().member().reply_with(reply_body(13), Machine::Replier::logged_out).selects());
    EXPECT_FALSE(std::get<operation_step::Send>(script.member().step).body) << "it has not been sent before";
    EXPECT_TRUE(script.reply(0).forwards());
  }
}

TEST(MongoOperation, row_10_a_lost_statement_makes_the_transaction_run_again) {
  for (const auto kind : {Kind::read, Kind::write, Kind::other}) {
    Script lost(in_transaction(kind), at(1));
    EXPECT_EQ(lost.start().member().lost().code(), 251);
    EXPECT_EQ(lost.labels(), transient);
    for (const int code : {10107, 189, 11602, 91}) {
      Script changed(in_transaction(kind), at(1));
      EXPECT_EQ(changed.start().member().reply(code, {"TransientTransactionError"}).code(), 251) << code;
    }
  }
}

TEST(MongoOperation, row_10_a_first_statement_that_was_refused_has_begun_nothing) {
  Script script(in_transaction(Kind::write, true));
  EXPECT_TRUE(script.start().member().reply(10107).asks_first());
  EXPECT_TRUE(script.member().reply(0).forwards());
}

TEST(MongoOperation, row_10_behind_a_mongos_a_refused_first_statement_has_begun_the_transaction) {
  auto settings = Script::defaults();
  settings.sharded = true;
  Script script(in_transaction(Kind::write, true), {}, settings);
  EXPECT_EQ(script.start().member().reply(10107, transient).code(), 251) << "the mongos takes its number for begun (117 without a label)";
  EXPECT_EQ(script.labels(), transient);
}

TEST(MongoOperation, row_11_a_transaction_is_ended_by_its_member_while_paused) {
  auto settings = Script::defaults();
  settings.paused = true;
  for (const auto kind : {Kind::commit, Kind::abort}) {
    Script script(in_transaction(kind), at(1), settings);
    EXPECT_EQ(script.start().uses(), 1U);
    EXPECT_TRUE(script.member().reply(0).forwards());
    Script gone(in_transaction(kind), at(1), settings);
    EXPECT_TRUE(gone.start().unreachable().asks_first()) << "whoever is the primary by then";
    Script strange(in_transaction(kind), {}, settings);
    EXPECT_TRUE(strange.start().selects()) << "where it is nobody knows";
  }
}

TEST(MongoOperation, row_11_a_commit_is_sent_again_with_the_majority) {
  Script script(in_transaction(Kind::commit), at(1));
  EXPECT_TRUE(script.start().selects()) << "the primary has it, or nobody";
  script.member();
  EXPECT_FALSE(std::get<operation_step::Send>(script.step).body);
  EXPECT_TRUE(script.lost().asks_first());
  script.member();
  const auto& body = std::get<operation_step::Send>(script.step).body;
  ASSERT_TRUE(body);
  EXPECT_EQ(wire::find(wire::find(*body, "writeConcern")->bytes, "w")->bytes, "majority");
  EXPECT_TRUE(script.reply(0).forwards());
}

TEST(MongoOperation, row_11_a_commit_of_a_primary_that_was_replaced_is_not_believed) {
  Script script(in_transaction(Kind::commit), at(1));
  script.start().member().reply_with(reply_body(0), Machine::Replier::replaced);
  ASSERT_TRUE(script.asks_first());
  script.member();
  const auto& body = std::get<operation_step::Send>(script.step).body;
  ASSERT_TRUE(body);
  EXPECT_EQ(wire::find(wire::find(*body, "writeConcern")->bytes, "w")->bytes, "majority");
  EXPECT_TRUE(script.reply(251, {"TransientTransactionError"}).forwards());
  Script statement(in_transaction(Kind::write), at(1));
  EXPECT_TRUE(statement.start().member().reply_with(reply_body(0), Machine::Replier::replaced).forwards()) << "its commit decides";
}

TEST(MongoOperation, row_11_a_commit_that_is_not_known_to_have_happened_is_never_133) {
  for (const bool written : {true, false}) {
    Script script(in_transaction(Kind::commit), at(1));
    script.start().member();
    written ? script.lost() : script.unsent();
    EXPECT_EQ(script.refused().code(), 6);
    EXPECT_EQ(script.labels(), (Labels{"RetryableWriteError", "UnknownTransactionCommitResult"}));
  }
}

TEST(MongoOperation, row_11_a_transaction_that_only_read_has_nothing_to_lose) {
  auto place = at(1);
  place.wrote = false;
  auto commit = in_transaction(Kind::commit);
  commit.one_member = true;
  Script read_only(commit, place);
  EXPECT_EQ(read_only.start().member().reply(251, transient).code(), 0);
  Script wrote(commit, at(1));
  EXPECT_TRUE(wrote.start().member().reply(251, transient).forwards());
  Script majority(in_transaction(Kind::commit), place);
  EXPECT_TRUE(majority.start().member().reply(251, transient).forwards()) << "what it read may have been rolled back";
}

TEST(MongoOperation, row_11_a_commit_that_fails_the_second_time_only_may_have_worked_the_first) {
  for (const int code : {13, 24, 50, 112, 262, 11601, 50940}) {
    Script script(in_transaction(Kind::commit), at(1));
    EXPECT_EQ(script.start().member().lost().member().reply(code).code(), 6) << code;
    EXPECT_EQ(script.labels(), (Labels{"RetryableWriteError", "UnknownTransactionCommitResult"})) << code;
  }
  for (const int code : {13, 24, 50, 112, 11601}) {
    Script first(in_transaction(Kind::commit), at(1));
    EXPECT_TRUE(first.start().member().reply(10107).member().reply(code).forwards()) << "nothing was done before: " << code;
  }
  for (const int code : {112, 251}) {
    Script aborted(in_transaction(Kind::commit), at(1));
    EXPECT_TRUE(aborted.start().member().lost().member().reply(code, transient).forwards()) << "the server says that it did not happen: " << code;
  }
  // A server that could not bring it to the majority that it knows of no transaction leaves the label out: another may be elected that does.
  Script not_durable(in_transaction(Kind::commit), at(1));
  EXPECT_EQ(not_durable.start().member().lost().member().reply(251).code(), 6);
  EXPECT_EQ(not_durable.labels(), (Labels{"RetryableWriteError", "UnknownTransactionCommitResult"}));
  Script locked(in_transaction(Kind::commit), at(1));
  EXPECT_EQ(locked.start().member().lost().member().reply(24, transient).code(), 6) << "it says that of the second time only";
}

TEST(MongoOperation, row_11_behind_mongos_a_transaction_is_ended_by_the_one_that_has_it) {
  auto settings = Script::defaults();
  settings.sharded = true;
  for (const auto kind : {Kind::commit, Kind::abort}) {
    Script script(in_transaction(kind), at(1), settings);
    EXPECT_EQ(script.start().uses(), 1U);
    EXPECT_EQ(script.member().unsent().uses(), 1U) << "the connection was cut, and nothing was sent";
    EXPECT_TRUE(script.member().reply(0).forwards());
    Script gone(in_transaction(kind), at(1), settings);
    EXPECT_TRUE(gone.start().unreachable().asks_first()) << "another one may know what became of it";
    EXPECT_TRUE(gone.member().reply(0).forwards());
    Script lost(in_transaction(kind), at(1), settings);
    EXPECT_TRUE(lost.start().member().lost().asks_first());
  }
  Script stranger(in_transaction(Kind::commit), at(1), settings);
  EXPECT_EQ(stranger.start().unreachable().member().reply(50940).code(), 6) << "it knows nothing of the transaction, and says so";
  EXPECT_EQ(stranger.labels(), (Labels{"RetryableWriteError", "UnknownTransactionCommitResult"}));
}

TEST(MongoOperation, row_11_a_transaction_that_only_read_is_nothing_that_another_mongos_could_recover) {
  auto settings = Script::defaults();
  settings.sharded = true;
  auto place = at(1);
  place.wrote = false;
  auto commit = in_transaction(Kind::commit);
  Script majority(commit, place, settings);
  EXPECT_EQ(majority.start().unreachable().member().reply(50940).code(), 251);
  EXPECT_EQ(majority.labels(), transient);
  commit.one_member = true;
  Script one(commit, place, settings);
  EXPECT_EQ(one.start().unreachable().member().reply(50940).code(), 0);
}

TEST(MongoOperation, row_11_an_abort_that_finds_nothing_the_second_time_has_worked) {
  Script script(in_transaction(Kind::abort), at(1));
  EXPECT_EQ(script.start().member().lost().member().reply(251).code(), 0);
  Script first(in_transaction(Kind::abort), at(1));
  EXPECT_TRUE(first.start().member().reply(251).forwards());
  Script committed(in_transaction(Kind::abort), at(1));
  EXPECT_TRUE(committed.start().member().lost().member().reply(256).forwards()) << "it was committed, and not aborted";
}

}  // namespace
}  // namespace holdfast::proxy::mongo

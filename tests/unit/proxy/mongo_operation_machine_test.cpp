// The table of what a client sees, row by row, driven by hand.
#include "mongo_operation_script.hpp"

namespace holdfast::proxy::mongo {
namespace {

using Labels = std::vector<std::string>;

std::string write_reply(int n, const std::vector<int>& errors, int concern = 0) {
  wire::Writer writer, list, inner;
  for (std::size_t i = 0; i < errors.size(); ++i) {
    wire::Writer each;
    list.document(std::to_string(i), each.int32("index", static_cast<int>(i)).int32("code", errors[i]).finish());
  }
  writer.int32("n", n).real("ok", 1);
  if (!errors.empty()) writer.array("writeErrors", list.finish());
  if (concern != 0) writer.document("writeConcernError", inner.int32("code", concern).finish());
  return writer.finish();
}

TEST(MongoOperation, goes_to_the_primary_as_it_is_and_its_reply_back) {
  Script script(command_of(Kind::read));
  EXPECT_TRUE(script.start().selects());
  EXPECT_FALSE(script.asks_first());
  ASSERT_TRUE(script.member().sends());
  EXPECT_FALSE(std::get<operation_step::Send>(script.step).body);
  EXPECT_TRUE(script.reply(0).forwards());
  EXPECT_EQ(script.machine.sends(), 1U);
}

TEST(MongoOperation, row_2_one_that_was_never_sent_ends_with_133_after_its_wait) {
  Script script(numbered_write());
  EXPECT_EQ(script.start().refused().code(), 133);
  EXPECT_NE(script.message().find("not executed"), std::string::npos);
  EXPECT_TRUE(script.labels().empty());
}

TEST(MongoOperation, row_2_a_client_that_knows_backpressure_is_told_to_come_again) {
  auto settings = Script::defaults();
  settings.backpressure = true;
  Script script(command_of(Kind::other), {}, settings);
  EXPECT_EQ(script.start().refused().code(), 462);
  EXPECT_EQ(script.labels(), (Labels{"SystemOverloadedError", "RetryableError", "NoWritesPerformed"}));
}

TEST(MongoOperation, row_2_what_an_open_breaker_refuses_has_not_run_out_of_its_time) {
  auto command = command_of(Kind::read);
  command.time_limit = 200;
  Script script(command);
  EXPECT_EQ(script.start().refused(RefusalReason::breaker_open).code(), 133);
}

TEST(MongoOperation, says_of_its_answer_that_the_outcome_is_unknown) {
  const auto answers_unknown = [](Script& script) { return std::get<operation_step::Answer>(script.step).unknown; };
  Script write(command_of(Kind::other));
  write.start().member().lost();
  EXPECT_TRUE(answers_unknown(write));
  Script held(command_of(Kind::other));
  held.start().refused();
  EXPECT_FALSE(answers_unknown(held));
}

TEST(MongoOperation, row_2_max_time_ends_the_wait_with_50) {
  auto command = command_of(Kind::read);
  command.time_limit = 200;
  Script script(command);
  script.start();
  EXPECT_EQ(std::get<operation_step::Select>(script.step).deadline, script.now + 200ms);
  EXPECT_EQ(script.refused().code(), 50);
}

TEST(MongoOperation, row_3_a_read_is_sent_again_with_what_is_left_of_its_time) {
  auto command = command_of(Kind::read);
  command.time_limit = 10'000;
  Script script(command);
  script.start().member();
  EXPECT_TRUE(script.wait(3s).lost().asks_first());
  ASSERT_TRUE(script.wait(1s).member().sends());
  const auto& body = std::get<operation_step::Send>(script.step).body;
  ASSERT_TRUE(body);
  EXPECT_EQ(wire::find(*body, "maxTimeMS")->integer, 6'000);
  EXPECT_TRUE(script.reply(0).forwards());
  Script late(command);
  late.start().member();
  EXPECT_EQ(late.wait(11s).lost().code(), 50);
}

TEST(MongoOperation, row_3_state_changes_and_network_errors_of_the_member_do_the_same) {
  for (const int code : {189, 10107, 13435, 13436, 11602, 11600, 91, 6, 89, 262}) {
    Script script(command_of(Kind::read));
    EXPECT_TRUE(script.start().member().reply(code).asks_first()) << code;
    EXPECT_TRUE(script.member().reply(0).forwards()) << code;
  }
}

TEST(MongoOperation, row_3_a_read_gets_a_wait_of_its_own_however_long_it_ran) {
  Script script(command_of(Kind::read));
  script.start().member().wait(10min);
  ASSERT_TRUE(script.lost().selects());
  EXPECT_EQ(std::get<operation_step::Select>(script.step).deadline, script.now + 30s);
  EXPECT_EQ(script.wait(31s).member().reply(10107).code(), 133) << "the wait is over";
}

TEST(MongoOperation, row_3_the_reply_of_a_primary_that_was_replaced_is_not_believed) {
  Script script(command_of(Kind::read));
  script.start().member().reply_with(reply_body(0), Machine::Replier::replaced);
  EXPECT_TRUE(script.asks_first());
}

TEST(MongoOperation, replay_off_leaves_reads_to_the_driver) {
  auto settings = Script::defaults();
  settings.replays = false;
  Script script(command_of(Kind::read), {}, settings);
  EXPECT_EQ(script.start().member().lost().code(), 6);
}

TEST(MongoOperation, row_4_a_numbered_write_is_sent_again_until_it_is_answered) {
  Script script(numbered_write());
  script.start().member();
  EXPECT_TRUE(script.lost().asks_first());
  EXPECT_TRUE(script.member().reply(11602, {"RetryableWriteError"}).asks_first());
  EXPECT_TRUE(script.member().reply_with(write_reply(0, {11602})).asks_first()) << "ok: 1, n: 0 and yet perhaps executed";
  EXPECT_TRUE(script.member().reply_with(write_reply(1, {}, 11602)).asks_first()) << "the symptom of a stepdown under w: majority";
  EXPECT_TRUE(script.member().reply(0).forwards());
  EXPECT_EQ(script.machine.sends(), 5U);
}

TEST(MongoOperation, row_4_nothing_is_sent_again_to_a_server_that_does_not_deduplicate) {
  auto settings = Script::defaults();
  settings.deduplicates = false;
  Script script(numbered_write(), {}, settings);
  EXPECT_EQ(script.start().member().lost().code(), 6);
  EXPECT_NE(script.message().find("outcome unknown"), std::string::npos);
}

TEST(MongoOperation, row_4_nothing_is_sent_again_to_another_server_that_stands_there_by_then) {
  Script write(numbered_write());
  EXPECT_TRUE(write.start().member().lost().asks_first());
  EXPECT_EQ(write.forgetful_member().code(), 6);
  EXPECT_NE(write.message().find("outcome unknown"), std::string::npos);
  EXPECT_EQ(write.machine.sends(), 1U);
  Script other_way(numbered_write());
  EXPECT_EQ(other_way.start().forgetful_member().lost().code(), 6) << "that the first one remembers it, the second would not know";
  Script unsent(numbered_write());
  EXPECT_TRUE(unsent.start().member().unsent().selects());
  EXPECT_TRUE(unsent.forgetful_member().sends()) << "nobody can have executed it";
  EXPECT_TRUE(unsent.reply(0).forwards());
  Script refused(numbered_write());
  EXPECT_TRUE(refused.start().member().reply(10107).selects());
  EXPECT_TRUE(refused.forgetful_member().reply(0).forwards());
  Script read(command_of(Kind::read));
  EXPECT_TRUE(read.start().member().lost().selects());
  EXPECT_TRUE(read.forgetful_member().sends());
}

TEST(MongoOperation, row_4_a_shard_that_was_lost_is_told_where_nothing_is_sent_again) {
  auto settings = Script::defaults();
  settings.deduplicates = false;
  for (const int code : {6, 133}) {
    Script hidden(numbered_write(), {}, settings);
    EXPECT_EQ(hidden.start().member().reply_with(write_reply(0, {code})).code(), 6) << code;
  }
  Script write(numbered_write(), {}, settings);
  EXPECT_EQ(write.start().member().reply(133).code(), 6) << "the mongos may have sent it before";
  Script commit(in_transaction(Kind::commit), at(0), settings);
  commit.start().member().reply(9001);
  EXPECT_EQ(commit.code(), 6);
  EXPECT_EQ(commit.labels(), (std::vector<std::string>{"RetryableWriteError", "UnknownTransactionCommitResult"}));
}

TEST(MongoOperation, row_4_what_only_a_repetition_can_cause_is_outcome_unknown) {
  for (const int code : {217, 225, 117, 40608, 40611}) {
    Script script(numbered_write());
    EXPECT_EQ(script.start().member().lost().member().reply(code).code(), 6) << code;
    Script inner(numbered_write());
    EXPECT_EQ(inner.start().member().lost().member().reply_with(write_reply(0, {code})).code(), 6) << code;
    Script first(numbered_write());
    EXPECT_TRUE(first.start().member().reply(code).forwards()) << "the client's own: " << code;
  }
}

TEST(MongoOperation, row_4_a_projection_is_not_trusted_to_a_repetition) {
  const auto value = wire::Writer().int32("a", 1).int32("secret", 2).finish();
  const auto answer = wire::Writer().document("value", value).real("ok", 1).finish();
  auto command = numbered_write();
  command.projects = true;
  for (const bool plain : {true, false}) {
    const auto fields = plain ? wire::Writer().int32("a", 1).finish() : wire::Writer().text("a", "$b").finish();
    const auto body = wire::Writer().document("fields", fields).finish();
    Script script({{}, 0, body, {}, {}}, command);
    script.start().member().lost().member().reply_with(answer);
    ASSERT_EQ(script.forwards(), plain);
    if (!plain) {
      EXPECT_EQ(script.code(), 6);
    } else {
      const auto& told = *std::get<operation_step::Forward>(script.step).body;
      EXPECT_EQ(wire::find(told, "value")->bytes, wire::Writer().int32("a", 1).finish());
    }
    Script first({{}, 0, body, {}, {}}, command);
    EXPECT_TRUE(first.start().member().reply_with(answer).forwards());
    EXPECT_FALSE(std::get<operation_step::Forward>(first.step).body);
  }
}

TEST(MongoOperation, row_4_an_outcome_that_stays_unknown_is_said_to_be) {
  Script script(numbered_write());
  script.start().member().lost();
  EXPECT_EQ(script.refused().code(), 6);
  EXPECT_NE(script.message().find("outcome unknown"), std::string::npos);
}

TEST(MongoOperation, row_4_a_number_that_is_refused_the_second_time_only_says_nothing_of_the_first) {
  for (const int code : {20, 263, 301, 50768}) {
    Script script(numbered_write());
    EXPECT_EQ(script.start().member().lost().member().reply(code).code(), 6) << code;
    Script first(numbered_write());
    EXPECT_TRUE(first.start().member().reply(10107).member().reply(code).forwards()) << "nothing was done before: " << code;
  }
}

TEST(MongoOperation, row_4_what_ends_the_repetition_only_says_nothing_of_the_first) {
  for (const int code : {13, 24, 50, 11601}) {
    for (const auto* name : {"update", "findAndModify"}) {
      auto command = numbered_write();
      command.name = name;
      Script script(command);
      EXPECT_EQ(script.start().member().lost().member().reply(code).code(), 6) << name << ": " << code;
      EXPECT_NE(script.message().find("outcome unknown"), std::string::npos);
      Script first(command);
      EXPECT_TRUE(first.start().member().reply(10107).member().reply(code).forwards()) << "nothing was done before: " << code;
    }
  }
  auto command = numbered_write();
  command.name = "findAndModify";
  Script executed(command);
  EXPECT_TRUE(executed.start().member().lost().member().reply(11000).forwards()) << "it was not in the history, and was executed";
}

TEST(MongoOperation, row_4_behind_a_mongos_what_ends_the_repetition_only_stands_below_the_root) {
  for (const int code : {13, 24, 50, 262, 11601}) {
    wire::Writer error, list, writer;
    list.document("0", error.int32("index", 0).int32("code", code).finish());
    const auto body = writer.int32("n", 0).array("writeErrors", list.finish()).real("ok", 1).finish();
    auto settings = Script::defaults();
    settings.sharded = true;
    Script script(numbered_write(), {}, settings);
    EXPECT_EQ(script.start().member().lost().member().reply_with(body).code(), 6) << code;
    EXPECT_NE(script.message().find("outcome unknown"), std::string::npos);
    Script first(numbered_write(), {}, settings);
    EXPECT_TRUE(first.start().member().reply_with(body).forwards()) << "nothing was done before: " << code;
    Script member(numbered_write());
    EXPECT_TRUE(member.start().member().lost().member().reply_with(body).forwards()) << "a member looks into the history first: " << code;
  }
}

TEST(MongoOperation, row_4_nothing_is_sent_again_once_the_servers_may_have_forgotten_it) {
  auto settings = Script::defaults();
  settings.hold_timeout = 10h;
  settings.memory = 15min;
  Script script(numbered_write(), {}, settings);
  script.start().member().wait(1min).lost();
  EXPECT_EQ(std::get<operation_step::Select>(script.step).deadline, script.now + 14min);
  EXPECT_EQ(script.member().wait(14min).lost().code(), 6);
  EXPECT_NE(script.message().find("outcome unknown"), std::string::npos);
  Script never(numbered_write(), {}, settings);
  EXPECT_TRUE(never.start().member().wait(20min).reply(10107).selects()) << "what was not executed is not remembered either";
  Script read(command_of(Kind::read), {}, settings);
  EXPECT_TRUE(read.start().member().wait(20min).lost().selects());
}

TEST(MongoOperation, row_5_many_documents_are_never_changed_twice) {
  auto many = numbered_write();
  many.multiple = true;
  for (const int code : {11602, 11600, 91, 189}) {
    Script script(many);
    EXPECT_EQ(script.start().member().reply(code).code(), 6) << code;
    EXPECT_TRUE(script.labels().empty());
  }
  Script script(many);
  EXPECT_EQ(script.start().member().lost().code(), 6);
  Script refused(many);
  EXPECT_TRUE(refused.start().member().reply(10107).asks_first()) << "not executed";
}

TEST(MongoOperation, row_6_an_unacknowledged_write_is_sent_again_only_where_it_was_refused) {
  auto unacknowledged = numbered_write();
  unacknowledged.acknowledged = false;
  Script refused(unacknowledged);
  EXPECT_TRUE(refused.start().member().reply(10107).asks_first());
  Script lost(unacknowledged);
  EXPECT_TRUE(lost.start().member().lost().answers());
}

TEST(MongoOperation, row_7_a_cursor_is_asked_where_it_is_open_and_anew_where_the_connection_was_cut) {
  Script script(command_of(Kind::get_more), at(2));
  EXPECT_EQ(script.start().uses(), 2U);
  EXPECT_EQ(script.member().unsent().uses(), 2U);
  EXPECT_TRUE(script.member().reply(0).forwards());
}

TEST(MongoOperation, row_13_what_came_over_a_connection_that_was_logged_out_is_sent_once_more_over_another) {
  const auto out = [](Script& script) -> Script& { return script.reply_with(reply_body(13), Machine::Replier::logged_out); };
  for (const auto kind : {Kind::read, Kind::write, Kind::other, Kind::sessions}) {
    Script script(command_of(kind));
    EXPECT_TRUE(out(script.start().member()).asks_first());
    EXPECT_TRUE(script.machine.may_begin_anew()) << "nothing was executed";
    ASSERT_TRUE(script.member().sends());
    EXPECT_TRUE(out(script).forwards()) << "a second time it is the server's answer";
  }
  auto sharded = Script::defaults();
  sharded.sharded = true;
  Script parted(command_of(Kind::other), {}, sharded);
  EXPECT_TRUE(out(parted.start().member()).forwards()) << "a shard may have said so to its mongos";
  Script cursor(command_of(Kind::get_more), at(2));
  EXPECT_EQ(out(cursor.start().member()).uses(), 2U);
  EXPECT_TRUE(cursor.member().reply(0).forwards());
  Script cut(command_of(Kind::get_more), at(2));
  EXPECT_EQ(out(cut.start().member().unsent().member()).uses(), 2U) << "the connection before was cut";
  Script unknown(numbered_write());
  EXPECT_TRUE(out(unknown.start().member().lost().member()).asks_first());
  EXPECT_EQ(out(unknown.member()).code(), 6) << "the first time it may have been executed";
}

TEST(MongoOperation, row_8_a_get_more_is_never_sent_twice) {
  Script lost(command_of(Kind::get_more), at(2));
  EXPECT_EQ(lost.start().member().lost().code(), 43);
  Script gone(command_of(Kind::get_more), at(2));
  EXPECT_EQ(gone.start().unreachable().code(), 43);
  Script twice(command_of(Kind::get_more), at(2));
  EXPECT_EQ(twice.start().member().unsent().member().unsent().code(), 43);
  for (const int code : {11602, 11600, 13435, 91}) {
    Script interrupted(command_of(Kind::get_more), at(2));
    EXPECT_EQ(interrupted.start().member().reply(code).code(), 43) << code;
  }
}

TEST(MongoOperation, row_8_a_change_stream_of_a_member_that_rolled_back_is_not_found_so_that_its_driver_resumes) {
  auto place = at(2);
  place.cursor = wire::CursorOf::changes;
  Script stream(command_of(Kind::get_more), place);
  EXPECT_EQ(stream.start().member().reply(175).code(), 43);
  EXPECT_NE(stream.message().find("said the member"), std::string::npos) << stream.message();
  Script killed(command_of(Kind::get_more), place);
  EXPECT_TRUE(killed.start().member().reply(237).forwards()) << "somebody meant that";
  Script plain(command_of(Kind::get_more), at(2));
  EXPECT_TRUE(plain.start().member().reply(175).forwards()) << "no driver opens it anew, so the server's reason is worth more";
}

TEST(MongoOperation, row_12_ddl_is_sent_again_only_where_the_member_refused_it) {
  Script lost(command_of(Kind::other));
  EXPECT_EQ(lost.start().member().lost().code(), 6);
  Script interrupted(command_of(Kind::other));
  EXPECT_EQ(interrupted.start().member().reply(11602).code(), 6);
  Script refused(command_of(Kind::other));
  EXPECT_TRUE(refused.start().member().reply(13435).asks_first());
}

TEST(MongoOperation, row_12_what_one_shard_refused_behind_a_mongos_others_may_have_executed) {
  auto settings = Script::defaults();
  settings.sharded = true;
  Script ddl(command_of(Kind::other), {}, settings);
  EXPECT_EQ(ddl.start().member().reply(10107).code(), 6);
  auto many = command_of(Kind::write);
  many.multiple = true;
  Script update(many, {}, settings);
  EXPECT_EQ(update.start().member().reply(10107).code(), 6);
  Script one(command_of(Kind::write), {}, settings);
  EXPECT_TRUE(one.start().member().reply(10107).asks_first());
}

TEST(MongoOperation, row_14_killing_cursors_that_died_with_their_server_finds_none) {
  auto command = command_of(Kind::kill_cursors);
  command.cursors = {5, 6};
  Script script(command, at(1));
  script.start().unreachable();
  ASSERT_EQ(script.code(), 0);
  EXPECT_TRUE(wire::find(wire::find(script.answer().body, "cursorsNotFound")->bytes, "1"));
}

TEST(MongoOperation, row_14_killing_cursors_is_asked_for_again_where_the_connection_was_cut) {
  auto command = command_of(Kind::kill_cursors);
  command.cursors = {5, 6};
  Script script(command, at(1));
  EXPECT_EQ(script.start().member().lost().uses(), 1U);
  ASSERT_TRUE(script.member().sends());
  EXPECT_TRUE(script.reply(0).forwards());
  Script twice(command, at(1));
  EXPECT_EQ(twice.start().member().lost().member().lost().code(), 0) << "that member hangs, or is about to end";
  Script unknown(command);
  EXPECT_TRUE(unknown.start().member().lost().asks_first());
  EXPECT_TRUE(unknown.member().sends());
}

TEST(MongoOperation, one_that_waits_in_vain_for_a_connection_to_its_member_has_lost_nothing) {
  Script cursor(command_of(Kind::get_more), at(2));
  EXPECT_EQ(cursor.start().refused().code(), 133);
  EXPECT_NE(cursor.message().find("not executed"), std::string::npos);
  auto stream = at(2);
  stream.cursor = wire::CursorOf::changes;
  Script changes(command_of(Kind::get_more), stream);
  EXPECT_EQ(changes.start().refused().code(), 43) << "the only code after which every driver resumes";
  auto command = command_of(Kind::kill_cursors);
  command.cursors = {5};
  Script kill(command, at(1));
  EXPECT_EQ(kill.start().refused().code(), 133);
  Script statement(in_transaction(Kind::write), at(1));
  EXPECT_EQ(statement.start().refused().code(), 251);
  EXPECT_TRUE(statement.answer().abort);
  EXPECT_EQ(statement.message().find("lost with the server"), std::string::npos);
}

TEST(MongoOperation, whoever_waits_for_data_may_leave_and_takes_no_connection_with_it) {
  EXPECT_TRUE(Script(command_of(Kind::get_more), at(2)).machine.may_be_cut());
  EXPECT_TRUE(Script(command_of(Kind::read)).machine.may_be_cut());
  EXPECT_FALSE(Script(numbered_write()).machine.may_be_cut());
}

TEST(MongoOperation, row_14_an_operation_is_killed_where_it_runs_and_nowhere_else) {
  auto command = command_of(Kind::other);
  command.operation = 17;
  Script script(command, at(1));
  EXPECT_EQ(script.start().uses(), 1U);
  EXPECT_TRUE(script.member().reply(0).forwards());
  Script gone(command, at(1));
  EXPECT_EQ(gone.start().unreachable().code(), 6);
  Script changed(command, at(1));
  EXPECT_EQ(changed.start().member().reply(13436).code(), 6);
  Script unknown(command);
  EXPECT_TRUE(unknown.start().selects()) << "one that was never listed here is the primary's";
}

TEST(MongoOperation, row_14_a_client_that_ends_its_sessions_and_leaves_is_not_kept_waiting) {
  auto command = command_of(Kind::sessions);
  command.name = "endSessions";
  Script script(command);
  script.start();
  EXPECT_EQ(std::get<operation_step::Select>(script.step).deadline, script.now);
  EXPECT_EQ(script.refused().code(), 0);
  Script lost(command);
  EXPECT_EQ(lost.start().member().lost().code(), 0);
}

TEST(MongoOperation, no_state_change_ever_reaches_a_client) {
  const int codes[] = {189, 10107, 10058, 11602, 13435, 13436, 91, 11600};
  std::vector<wire::Command> commands;
  for (const auto kind : {Kind::read, Kind::write, Kind::get_more, Kind::kill_cursors, Kind::commit, Kind::abort, Kind::sessions, Kind::other}) {
    commands.push_back(command_of(kind));
    commands.push_back(in_transaction(kind));
  }
  commands.push_back(numbered_write());
  for (const auto& command : commands) {
    for (const int code : codes) {
      for (const auto& body : {reply_body(code), write_reply(0, {code}), write_reply(1, {}, code)}) {
        Script script(command);
        script.start().member().reply_with(body);
        EXPECT_FALSE(script.forwards()) << code;
        EXPECT_FALSE(script.answers() && wire::code::is_state_change(script.code())) << code;
      }
    }
  }
}

}  // namespace
}  // namespace holdfast::proxy::mongo

// One verdict for each reply: what was executed, what was not, and what nobody can know.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "protocol/mongo/document.hpp"
#include "protocol/mongo/reply.hpp"

namespace holdfast::mongo {
namespace {

using Kind = CommandKind;

Command command(Kind kind, std::size_t statements = 1) {
  Command made;
  made.kind = kind;
  made.statements = kind == Kind::write ? statements : 0;
  return made;
}

Command numbered(std::size_t statements = 1) {
  auto made = command(Kind::write, statements);
  made.session = "s";
  made.transaction_number = 1;
  return made;
}

std::string failure(int code, const std::vector<std::string>& labels = {}, std::string_view message = "m") {
  Writer writer, list;
  for (std::size_t i = 0; i < labels.size(); ++i) list.text(std::to_string(i), labels[i]);
  return writer.real("ok", 0).text("errmsg", message).int32("code", code).array("errorLabels", list.finish()).finish();
}

/// `{ok: 1, n, writeErrors: [{index, code}, …], writeConcernError}`.
std::string written(int n, const std::vector<std::pair<int, int>>& errors = {}, int concern = 0) {
  Writer writer, list;
  for (std::size_t i = 0; i < errors.size(); ++i) {
    Writer each;
    list.document(std::to_string(i), each.int32("index", errors[i].first).int32("code", errors[i].second).finish());
  }
  writer.int32("n", n).real("ok", 1);
  if (!errors.empty()) writer.array("writeErrors", list.finish());
  Writer inner;
  if (concern != 0) writer.document("writeConcernError", inner.int32("code", concern).finish());
  return writer.finish();
}

Verdict verdict(const Command& of, const std::string& body) { return judge(of, read_reply(body)); }

TEST(MongoReply, a_refusal_at_the_root_was_not_executed_whatever_the_command) {
  for (const int code : {10107, 13435, 13436}) {
    for (const auto& each : {command(Kind::write), numbered(), command(Kind::other), command(Kind::get_more), command(Kind::commit)}) {
      EXPECT_EQ(verdict(each, failure(code)), Verdict::not_executed) << code;
    }
    EXPECT_EQ(verdict(command(Kind::read), failure(code)), Verdict::try_again) << code;
  }
}

TEST(MongoReply, an_interruption_leaves_the_outcome_unknown_wherever_it_stands) {
  for (const int code : {11602, 11600, 91, 10107, 13435}) {
    EXPECT_EQ(verdict(command(Kind::write), written(0, {{0, code}})), Verdict::unknown) << code;
    EXPECT_EQ(verdict(command(Kind::write), written(1, {}, code)), Verdict::unknown) << code;
    EXPECT_EQ(verdict(numbered(), written(1, {}, code)), Verdict::unknown) << code;
  }
  for (const int code : {11602, 11600, 91, 189, 10058}) {
    EXPECT_EQ(verdict(command(Kind::other), failure(code)), Verdict::unknown) << code;
    EXPECT_EQ(verdict(command(Kind::write, 2), failure(code)), Verdict::unknown) << code;
  }
}

TEST(MongoReply, stepped_down_says_of_a_single_statement_that_it_was_not_executed) {
  EXPECT_EQ(verdict(command(Kind::write), failure(189)), Verdict::not_executed);
  EXPECT_EQ(verdict(command(Kind::write), written(0, {{0, 189}})), Verdict::not_executed);
  EXPECT_EQ(verdict(command(Kind::write, 2), written(0, {{0, 189}, {1, 189}})), Verdict::unknown);
  EXPECT_EQ(verdict(command(Kind::write), written(0, {{0, 189}}, 11602)), Verdict::unknown);
  auto many = command(Kind::write);
  many.multiple = true;
  EXPECT_EQ(verdict(many, written(0, {{0, 189}})), Verdict::unknown);
}

TEST(MongoReply, ordinary_errors_are_believed) {
  EXPECT_EQ(verdict(numbered(), written(0, {{0, 11000}})), Verdict::believed);
  EXPECT_EQ(verdict(numbered(), written(1, {}, 64)), Verdict::believed);
  EXPECT_EQ(verdict(command(Kind::read), failure(2)), Verdict::believed);
  EXPECT_EQ(verdict(numbered(), failure(112)), Verdict::believed);
  EXPECT_EQ(verdict(command(Kind::write), failure(6)), Verdict::believed) << "without a number nothing can be done about it";
}

TEST(MongoReply, that_nobody_is_logged_in_is_no_matter_of_rights) {
  for (const auto* text : {"command find requires authentication", "Command getMore requires authentication"}) {
    const auto body = failure(13, {}, text);
    EXPECT_TRUE(wants_login(read_reply(body))) << text;
  }
  for (const auto& body : {failure(13, {}, "not authorized on test to execute command { find: \"things\" }"),
                           failure(59, {}, "command find requires authentication")}) {
    EXPECT_FALSE(wants_login(read_reply(body)));
  }
}

TEST(MongoReply, a_label_or_a_network_code_sends_a_numbered_write_and_a_commit_again) {
  for (const auto& each : {numbered(), command(Kind::commit), command(Kind::abort)}) {
    EXPECT_EQ(verdict(each, failure(262, {"RetryableWriteError"})), Verdict::try_again);
    EXPECT_EQ(verdict(each, failure(9001)), Verdict::try_again);
    EXPECT_EQ(verdict(each, failure(133)), Verdict::try_again) << "a mongos found no primary, the last time that it tried";
  }
  EXPECT_EQ(verdict(command(Kind::write), failure(262, {"RetryableWriteError"})), Verdict::believed);
}

TEST(MongoReply, a_read_is_tried_again_after_the_codes_that_are_worth_it) {
  for (const int code : {6, 7, 89, 91, 134, 189, 202, 262, 9001, 10107, 11600, 11602, 13435, 13436}) {
    EXPECT_EQ(verdict(command(Kind::read), failure(code)), Verdict::try_again) << code;
  }
  EXPECT_EQ(verdict(command(Kind::read), failure(96, {}, "… InterruptedDueToReplStateChange …")), Verdict::try_again);
  EXPECT_EQ(verdict(command(Kind::read), failure(96)), Verdict::believed);
}

TEST(MongoReply, what_a_mongos_tells_of_a_lost_shard_in_write_errors_is_no_answer) {
  for (const int code : {6, 7, 89, 202, 9001, 133}) {
    EXPECT_EQ(verdict(numbered(), written(0, {{0, code}})), Verdict::try_again) << code;
    EXPECT_EQ(verdict(numbered(3), written(1, {{0, 11000}, {2, code}})), Verdict::try_again) << code;
  }
  EXPECT_EQ(verdict(command(Kind::write), written(0, {{0, 6}})), Verdict::unknown) << "captured: it had been executed";
  EXPECT_EQ(verdict(command(Kind::write), written(0, {{0, 133}})), Verdict::believed) << "there was nobody to send it to";
  EXPECT_EQ(verdict(command(Kind::write, 2), written(0, {{0, 133}, {1, 6}})), Verdict::unknown) << "the second one was sent";
  EXPECT_EQ(verdict(numbered(), written(0, {{0, 11000}})), Verdict::believed);
}

/// What a mongos tells of a statement that failed on several shards, each in another way.
std::string failed_on_shards(const std::vector<int>& codes) {
  Writer causes, info, error, list, writer;
  for (std::size_t i = 0; i < codes.size(); ++i) {
    Writer cause;
    causes.document(std::to_string(i), cause.int32("index", 0).int32("code", codes[i]).text("errmsg", "of a shard").finish());
  }
  info.array("causedBy", causes.finish());
  error.int32("index", 0).int32("code", 65).text("errmsg", "multiple errors for op : ").document("errInfo", info.finish());
  list.document("0", error.finish());
  return writer.int32("n", 0).array("writeErrors", list.finish()).real("ok", 1).finish();
}

TEST(MongoReply, a_lost_shard_is_found_among_the_errors_of_several) {
  auto many = command(Kind::write);
  many.multiple = true;
  EXPECT_EQ(verdict(many, failed_on_shards({11602, 6})), Verdict::unknown);
  EXPECT_EQ(verdict(many, failed_on_shards({121, 9001})), Verdict::unknown);
  EXPECT_EQ(verdict(numbered(), failed_on_shards({133, 7})), Verdict::try_again);
  EXPECT_EQ(verdict(many, failed_on_shards({11000, 121})), Verdict::believed) << "both are the write's own";
}

/// `{cursor: {firstBatch: [{ok: 0, idx: 0, code}]}, nErrors: 1, …}`: what a bulkWrite of MongoDB 8.0 is answered.
std::string bulk_written(int code, int matched = 0) {
  Writer error, batch, cursor, writer;
  error.real("ok", 0).int32("idx", 0).int32("code", code).int32("n", 0);
  batch.document("0", error.finish());
  cursor.int64("id", 0).array("firstBatch", batch.finish()).text("ns", "admin.$cmd.bulkWrite");
  writer.document("cursor", cursor.finish()).int32("nErrors", 1).int32("nInserted", 0).int32("nMatched", matched);
  return writer.int32("nModified", matched).int32("nUpserted", 0).int32("nDeleted", 0).real("ok", 1).finish();
}

TEST(MongoReply, what_a_bulk_write_tells_of_a_statement_is_read_as_a_write_error) {
  auto own = numbered(), others = command(Kind::write);
  own.name = others.name = "bulkWrite";
  for (const int code : {11602, 11600, 91, 10107}) {
    EXPECT_EQ(verdict(own, bulk_written(code)), Verdict::unknown) << code;
    EXPECT_EQ(verdict(others, bulk_written(code)), Verdict::unknown) << code;
  }
  EXPECT_EQ(verdict(others, bulk_written(189)), Verdict::not_executed);
  EXPECT_EQ(verdict(own, bulk_written(6)), Verdict::try_again) << "a mongos that has lost a shard";
  EXPECT_EQ(verdict(own, bulk_written(11000)), Verdict::believed);
  const auto of_number = bulk_written(20), after_one = bulk_written(20, 1);
  EXPECT_TRUE(refuses_number(read_reply(of_number)));
  EXPECT_FALSE(refuses_number(read_reply(after_one))) << "something was done";
  auto batch = numbered(2);
  batch.name = "bulkWrite";
  const auto one_of_two = bulk_written(11000, 1);
  EXPECT_FALSE(accounts_for_all(batch, read_reply(one_of_two)));
}

TEST(MongoReply, users_documents_are_no_errors) {
  Writer found, batch, cursor, writer;
  found.int32("ok", 0).int32("code", 11602);
  batch.document("0", found.finish());
  cursor.array("firstBatch", batch.finish()).int64("id", 0);
  EXPECT_EQ(verdict(command(Kind::read), writer.document("cursor", cursor.finish()).real("ok", 1).finish()), Verdict::believed);
}

TEST(MongoReply, one_that_cannot_be_read_is_never_believed) {
  const auto whole = written(1, {{0, 11000}}, 64);
  for (std::size_t size = 0; size < whole.size(); ++size) {
    EXPECT_EQ(verdict(numbered(), whole.substr(0, size)), Verdict::unknown) << size;
  }
}

TEST(MongoReply, the_second_answer_to_a_batch_must_account_for_every_document) {
  auto batch = numbered(4);
  batch.name = "insert";
  const auto accounts = [&](const std::string& body) { return accounts_for_all(batch, read_reply(body)); };
  EXPECT_TRUE(accounts(written(4)));
  EXPECT_FALSE(accounts(written(3)));
  EXPECT_TRUE(accounts(written(2, {{2, 11000}}))) << "ordered: it ends at its first error";
  EXPECT_FALSE(accounts(written(1, {{2, 11000}})));
  batch.ordered = false;
  EXPECT_FALSE(accounts(written(3, {{2, 11000}}))) << "before 5.0 the place may be another document's";
  const auto newer = Writer().raw(find(written(3, {{2, 11000}}), "writeErrors")->raw).int32("n", 3).array("retriedStmtIds", Writer().finish()).real("ok", 1).finish();
  EXPECT_TRUE(accounts(newer));
  EXPECT_FALSE(accounts(written(3))) << "captured: [A, B, A, C] answers n: 3 without its error the second time";
  batch.name = "update";
  EXPECT_TRUE(accounts(written(3))) << "one matched nothing";
  EXPECT_TRUE(accounts(written(2, {{2, 11000}})));
  EXPECT_FALSE(accounts(written(4, {{2, 11000}})));
}

TEST(MongoReply, the_answer_to_a_single_statement_accounts_for_it_where_it_may_have_matched_nothing) {
  for (const std::string_view name : {"insert", "update", "delete"}) {
    auto batch = numbered(4);
    batch.name = name;
    for (const bool ordered : {true, false}) {
      batch.ordered = ordered;
      const auto accounts = [&](const std::string& body) { return accounts_for(batch, 1, read_reply(body)); };
      EXPECT_TRUE(accounts(written(1)));
      EXPECT_TRUE(accounts(written(0, {{0, 11000}})));
      EXPECT_EQ(accounts(written(0)), name != "insert");
      EXPECT_FALSE(accounts(written(2)));
      EXPECT_FALSE(accounts(written(1, {{0, 11000}})));
    }
  }
}

TEST(MongoReply, cursors_and_elections_are_read) {
  Writer cursor, writer;
  cursor.int64("id", 77).text("ns", "app.c");
  const auto body = writer.document("cursor", cursor.finish()).object_id("electionId", ObjectId{'e'}).real("ok", 1).finish();
  const auto reply = read_reply(body);
  EXPECT_EQ(reply.cursor, 77);
  EXPECT_EQ(reply.cursor_namespace, "app.c");
  EXPECT_EQ(reply.election_id.size(), 12U);
}

TEST(MongoReply, errors_of_ours_have_code_name_and_labels) {
  const auto body = error_body({251, "lost", {label::transient_transaction}});
  const auto reply = read_reply(body);
  EXPECT_FALSE(reply.ok);
  EXPECT_EQ(reply.code, 251);
  EXPECT_TRUE(reply.transient_label);
  EXPECT_EQ(find(body, "codeName")->bytes, "NoSuchTransaction");
  EXPECT_EQ(find(error_body({40430, "x"}), "codeName")->bytes, "Location40430");
  EXPECT_TRUE(read_reply(ok_body()).ok);
}

}  // namespace
}  // namespace holdfast::mongo

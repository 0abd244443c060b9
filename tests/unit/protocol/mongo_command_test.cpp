// What each command is taken for, by name and fields, and the few bodies that are changed.
#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <vector>

#include "protocol/mongo/command.hpp"
#include "protocol/mongo/document.hpp"

namespace holdfast::mongo {
namespace {

using Kind = CommandKind;

std::string list_of(const std::vector<std::string>& documents) {
  Writer list;
  for (std::size_t i = 0; i < documents.size(); ++i) list.document(std::to_string(i), documents[i]);
  return list.finish();
}

/// A command whose views outlive the call: the message is kept by the test.
struct Given {
  explicit Given(std::string text, std::vector<Sequence> sequences = {}) : body(std::move(text)) {
    message.body = body;
    message.sequences = std::move(sequences);
    command = read_command(message);
  }
  Given(const Given&) = delete;
  Given& operator=(const Given&) = delete;
  std::string body;
  Message message;
  Command command;
};

std::string named(std::string_view name, std::string_view value = "c") {
  Writer writer;
  return writer.text(name, value).text("$db", "app").finish();
}

std::string session_id() {
  Writer id;
  return id.binary("id", "0123456789abcdef", 4).finish();
}

std::string write_body(std::string_view name, std::string_view key, const std::vector<std::string>& statements, bool numbered = true) {
  Writer writer;
  writer.text(name, "c").array(key, list_of(statements)).document("lsid", session_id());
  if (numbered) writer.int64("txnNumber", 3);
  return writer.text("$db", "app").finish();
}

std::string statement(bool multi) {
  Writer writer;
  return writer.document("q", empty_document).document("u", empty_document).boolean("multi", multi).finish();
}

std::string deletion(int limit) {
  Writer writer;
  return writer.document("q", empty_document).int32("limit", limit).finish();
}

TEST(MongoCommand, has_the_kind_of_its_name) {
  const std::pair<const char*, Kind> cases[] = {
      {"hello", Kind::hello},          {"isMaster", Kind::hello},   {"ismaster", Kind::hello},      {"saslStart", Kind::authentication},
      {"find", Kind::read},            {"count", Kind::read},       {"listIndexes", Kind::read},    {"ping", Kind::read},
      {"insert", Kind::write},         {"update", Kind::write},     {"findAndModify", Kind::write}, {"getMore", Kind::get_more},
      {"killCursors", Kind::kill_cursors}, {"commitTransaction", Kind::commit}, {"abortTransaction", Kind::abort},
      {"endSessions", Kind::sessions}, {"create", Kind::other},     {"drop", Kind::other},          {"mapReduce", Kind::other},
      {"createIndexes", Kind::other},  {"FIND", Kind::other},       {"getLastError", Kind::refused}, {"whatsmyuri", Kind::own}};
  for (const auto& [name, kind] : cases) EXPECT_EQ(Given(named(name)).command.kind, kind) << name;
}

TEST(MongoCommand, an_aggregate_is_a_read_only_where_no_stage_writes) {
  const auto aggregate = [](const std::vector<std::string>& stages) {
    Writer writer;
    return Given(writer.text("aggregate", "c").array("pipeline", list_of(stages)).text("$db", "app").finish()).command.kind;
  };
  EXPECT_EQ(aggregate({}), Kind::read);
  EXPECT_EQ(aggregate({named("$match"), named("$changeStream")}), Kind::read);
  EXPECT_EQ(aggregate({named("$match"), named("$out")}), Kind::other);
  EXPECT_EQ(aggregate({named("$merge")}), Kind::other);
  EXPECT_EQ(Given(named("aggregate")).command.kind, Kind::other) << "no pipeline: its server says what is wrong";
}

TEST(MongoCommand, what_a_cursor_is_over_is_told_by_the_first_stage) {
  const auto opens = [](const char* command, const std::vector<std::string>& stages) {
    return Given(Writer().text(command, "c").array("pipeline", list_of(stages)).text("$db", "app").finish()).command.opens;
  };
  EXPECT_EQ(opens("aggregate", {named("$changeStream"), named("$match")}), CursorOf::changes);
  EXPECT_EQ(opens("aggregate", {named("$currentOp")}), CursorOf::operations);
  EXPECT_EQ(opens("aggregate", {named("$match"), named("$changeStream")}), CursorOf::documents) << "its server refuses it";
  EXPECT_EQ(opens("aggregate", {}), CursorOf::documents);
  EXPECT_EQ(opens("find", {named("$changeStream")}), CursorOf::documents);
}

TEST(MongoCommand, that_concerns_another_member_or_all_of_them_is_told_by_its_name) {
  EXPECT_EQ(Given(named("currentOp")).command.opens, CursorOf::operations);
  EXPECT_EQ(Given(Writer().int32("killOp", 1).int32("op", 17).finish()).command.operation, 17);
  EXPECT_FALSE(Given(Writer().int32("killOp", 1).text("op", "shard:17").finish()).command.operation) << "a mongos knows its own";
  EXPECT_FALSE(Given(Writer().int32("ping", 1).int32("op", 17).finish()).command.operation);
  for (const auto* name : {"killSessions", "killAllSessions", "killAllSessionsByPattern"}) EXPECT_TRUE(Given(named(name)).command.everywhere) << name;
  for (const auto* name : {"endSessions", "killCursors", "killOp"}) EXPECT_FALSE(Given(named(name)).command.everywhere) << name;
}

TEST(MongoCommand, a_write_is_deduplicated_only_with_session_and_number_and_one_document_a_statement) {
  EXPECT_TRUE(is_deduplicated(Given(write_body("update", "updates", {statement(false), statement(false)})).command));
  EXPECT_FALSE(is_deduplicated(Given(write_body("update", "updates", {statement(false), statement(true)})).command));
  EXPECT_TRUE(is_deduplicated(Given(write_body("delete", "deletes", {deletion(1)})).command));
  EXPECT_FALSE(is_deduplicated(Given(write_body("delete", "deletes", {deletion(0)})).command));
  EXPECT_FALSE(is_deduplicated(Given(write_body("delete", "deletes", {named("q")})).command)) << "no limit is no limit of one";
  EXPECT_TRUE(is_deduplicated(Given(write_body("insert", "documents", {named("a")})).command));
  EXPECT_FALSE(is_deduplicated(Given(write_body("insert", "documents", {named("a")}, false)).command));
}

TEST(MongoCommand, statements_in_a_sequence_count_as_those_in_the_body) {
  const auto many = statement(false) + statement(true);
  Writer writer;
  const Given given(writer.text("update", "c").document("lsid", session_id()).int64("txnNumber", 1).text("$db", "app").finish(),
                    {{"updates", many}});
  EXPECT_EQ(given.command.statements, 2U);
  EXPECT_TRUE(given.command.multiple);
}

TEST(MongoCommand, a_field_that_stands_twice_makes_it_one_that_is_never_repeated) {
  Writer writer;
  const Given given(writer.text("insert", "c").array("documents", list_of({named("a")})).document("lsid", session_id())
                        .int64("txnNumber", 1).int64("txnNumber", 2).finish());
  EXPECT_FALSE(is_deduplicated(given.command));
  Writer read;
  EXPECT_EQ(Given(read.text("find", "c").text("find", "d").finish()).command.kind, Kind::other);
}

TEST(MongoCommand, a_million_fields_keep_nobody_waiting) {
  Writer writer;
  writer.text("find", "c");
  for (int i = 0; i < 1'000'000; ++i) writer.boolean(std::to_string(i), true);
  const auto body = writer.finish();
  const auto begun = std::chrono::steady_clock::now();
  EXPECT_EQ(read_command({{}, 0, body, {}, {}}).kind, CommandKind::other);
  EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(10));
}

TEST(MongoCommand, a_million_fields_of_one_name_are_cut_as_others_are) {
  Writer writer;
  writer.text("find", "c");
  for (int i = 0; i < 1'000'000; ++i) writer.boolean("", true);
  EXPECT_TRUE(Given(writer.finish()).command.cut);
}

TEST(MongoCommand, so_many_statements_as_servers_take_are_read) {
  for (const auto* name : {"insert", "update"}) {
    for (const std::size_t count : {100'000U, 100'001U}) {
      Writer list, in_body, in_sequence;
      std::string documents;
      for (std::size_t i = 0; i < count; ++i) list.document("", empty_document);
      for (std::size_t i = 0; i < count; ++i) documents += empty_document;
      const std::string key(statements_key(name));
      const Given body(in_body.text(name, "c").array(key, list.finish()).finish());
      const Given sequence(in_sequence.text(name, "c").finish(), {{key, documents}});
      for (const auto* each : {&body.command, &sequence.command}) {
        EXPECT_EQ(each->statements, 100'000U) << name;
        EXPECT_EQ(each->multiple, count > 100'000) << name;
      }
    }
  }
}

/// A command of `name` with a transaction's fields in front, and `count` fields in all.
std::string body_of_many(std::string_view name, std::size_t count) {
  Writer writer;
  writer.text(name, "c").document("lsid", session_id()).int64("txnNumber", 1).boolean("autocommit", false).boolean("startTransaction", true);
  for (std::size_t i = 5; i < count; ++i) writer.boolean(std::to_string(i), true);
  return writer.finish();
}

TEST(MongoCommand, one_with_too_many_fields_is_sent_once_whatever_it_is) {
  for (const auto* name : {"find", "insert", "getMore", "killCursors", "commitTransaction", "abortTransaction", "endSessions", "killAllSessions"}) {
    const Given all(body_of_many(name, fields_max)), cut(body_of_many(name, fields_max + 1));
    EXPECT_TRUE(!all.command.cut && all.command.in_transaction && all.command.kind != Kind::other) << name;
    EXPECT_TRUE(cut.command.cut && cut.command.kind == Kind::other && cut.command.writes) << name;
    EXPECT_FALSE(cut.command.in_transaction || cut.command.starts_transaction || cut.command.everywhere) << name;
    EXPECT_FALSE(is_deduplicated(cut.command) || may_be_numbered(cut.message, cut.command)) << name;
  }
  for (const auto* name : {"hello", "saslStart", "whatsmyuri", "getLastError"}) {
    const Given all(body_of_many(name, fields_max)), cut(body_of_many(name, fields_max + 1));
    EXPECT_TRUE(cut.command.cut && cut.command.kind == all.command.kind) << name;
  }
}

TEST(MongoCommand, one_with_too_many_tags_is_sent_once) {
  for (const std::size_t count : {fields_max - 1, fields_max}) {
    Writer set, sets, preference, writer;
    for (std::size_t i = 0; i < count; ++i) set.text("", "");
    preference.text("mode", "nearest").array("tags", sets.document("0", set.finish()).finish());
    const Given given(writer.text("find", "c").document("$readPreference", preference.finish()).finish());
    EXPECT_EQ(given.command.kind, count < fields_max ? Kind::read : Kind::other);
  }
}

TEST(MongoCommand, transaction_fields_write_concern_and_time_limit_are_read) {
  Writer concern, writer;
  concern.int32("w", 0);
  const Given given(writer.text("insert", "c").boolean("autocommit", false).boolean("startTransaction", true)
                        .document("writeConcern", concern.finish()).int32("maxTimeMS", 250).text("$db", "app").finish());
  EXPECT_TRUE(given.command.in_transaction && given.command.starts_transaction);
  EXPECT_FALSE(given.command.acknowledged);
  EXPECT_EQ(given.command.time_limit, 250);
  EXPECT_EQ(given.command.database, "app");
  EXPECT_EQ(given.command.collection, "c");
}

TEST(MongoCommand, cursors_are_read) {
  Writer more;
  const Given next(more.int64("getMore", 99).text("collection", "c").text("$db", "app").finish());
  EXPECT_EQ(next.command.cursor, 99);
  EXPECT_EQ(next.command.collection, "c");
  Writer ids, kill;
  ids.int64("0", 5).int64("1", 6);
  const Given killed(kill.text("killCursors", "c").array("cursors", ids.finish()).finish());
  EXPECT_EQ(killed.command.cursors, (std::vector<std::int64_t>{5, 6}));
}

TEST(MongoCommand, a_read_preference_has_a_mode_tags_and_a_limit_of_staleness) {
  Writer east, inner, writer;
  inner.text("mode", "nearest").array("tags", list_of({east.text("dc", "east").finish(), std::string(empty_document)}));
  inner.int32("maxStalenessSeconds", 120);
  const Given given(writer.text("find", "c").document("$readPreference", inner.finish()).finish());
  EXPECT_EQ(given.command.preference.mode, ReadMode::nearest);
  EXPECT_EQ(given.command.preference.tags, (std::vector<TagSet>{{{"dc", "east"}}, {}}));
  EXPECT_EQ(given.command.preference.max_staleness_seconds, 120);
  Writer without;
  const Given plain(without.text("find", "c").finish());
  EXPECT_EQ(plain.command.preference.mode, ReadMode::primary);
  EXPECT_TRUE(plain.command.preference.tags.empty() && !plain.command.preference.max_staleness_seconds);
}

TEST(MongoCommand, a_repeated_commit_waits_for_the_majority_and_keeps_its_other_fields) {
  Writer concern, writer;
  concern.int32("w", 1).boolean("j", true);
  const auto body = writer.int32("commitTransaction", 1).document("writeConcern", concern.finish()).int64("txnNumber", 4)
                        .text("$db", "admin").finish();
  const auto repeated = body_of_repeated_commit(body);
  const auto now = find(repeated, "writeConcern")->bytes;
  EXPECT_EQ(find(now, "w")->bytes, "majority");
  EXPECT_EQ(find(now, "wtimeout")->integer, 10'000);
  EXPECT_TRUE(find(now, "j")->truth());
  EXPECT_EQ(find(repeated, "txnNumber")->integer, 4);
  const auto twice = body_of_repeated_commit(repeated);
  EXPECT_EQ(find(find(twice, "writeConcern")->bytes, "wtimeout")->integer, 10'000);
  EXPECT_EQ(twice.size(), repeated.size()) << "no field stands there twice";
}

TEST(MongoCommand, a_wtimeout_of_the_client_stays) {
  Writer concern, writer;
  concern.int32("wtimeout", 77);
  const auto repeated = body_of_repeated_commit(writer.int32("commitTransaction", 1).document("writeConcern", concern.finish()).finish());
  EXPECT_EQ(find(find(repeated, "writeConcern")->bytes, "wtimeout")->integer, 77);
}

TEST(MongoCommand, its_time_limit_can_be_changed_and_nothing_else) {
  Writer writer;
  const auto body = writer.text("find", "c").int32("maxTimeMS", 500).text("$db", "app").finish();
  const auto changed = body_with_time_limit(body, 120);
  EXPECT_EQ(find(changed, "maxTimeMS")->integer, 120);
  EXPECT_EQ(find(changed, "find")->bytes, "c");
  EXPECT_EQ(find(changed, "$db")->bytes, "app");
}

TEST(MongoCommand, an_abort_names_the_transaction_of_the_statement) {
  const auto abort = body_of_abort(write_body("insert", "documents", {named("a")}));
  EXPECT_EQ(Given(abort).command.kind, Kind::abort);
  EXPECT_EQ(find(abort, "txnNumber")->integer, 3);
  EXPECT_EQ(find(find(abort, "lsid")->bytes, "id")->bytes, "0123456789abcdef");
  EXPECT_FALSE(find(abort, "autocommit")->truth());
}

TEST(MongoCommand, an_abort_declares_the_version_that_its_transaction_was_begun_with) {
  Writer writer;
  writer.text("find", "c").document("lsid", session_id()).int64("txnNumber", 3).boolean("autocommit", false).text("apiVersion", "1");
  const auto abort = body_of_abort(writer.boolean("apiStrict", true).boolean("apiDeprecationErrors", false).text("$db", "app").finish());
  EXPECT_EQ(find(abort, "apiVersion")->bytes, "1");
  EXPECT_TRUE(find(abort, "apiStrict")->truth());
  EXPECT_TRUE(find(abort, "apiDeprecationErrors"));
  EXPECT_FALSE(find(body_of_abort(write_body("insert", "documents", {named("a")})), "apiVersion"));
}

TEST(MongoCommand, a_body_that_breaks_off_is_never_one_to_repeat) {
  const auto body = write_body("insert", "documents", {named("a")});
  for (std::size_t size = 0; size < body.size(); ++size) {
    const Given given(body.substr(0, size));
    EXPECT_FALSE(is_deduplicated(given.command)) << size;
    EXPECT_NE(given.command.kind, Kind::read) << size;
  }
}

/// A write whose body holds `more` besides its one statement.
std::string unnumbered(std::string_view database, std::string_view collection, const std::string& more = std::string(empty_document), bool multi = false) {
  Writer writer;
  writer.text("update", collection).array("updates", list_of({statement(multi)})).document("lsid", session_id());
  static_cast<void>(for_each(more, [&](const Element& field) {
    writer.raw(field.raw);
    return true;
  }));
  return writer.text("$db", database).finish();
}

TEST(MongoCommand, a_write_without_a_number_may_be_given_one) {
  const auto may = [](const std::string& body, std::uint32_t flags = 0) {
    Given given(body);
    given.message.flags = flags;
    return may_be_numbered(given.message, given.command);
  };
  EXPECT_TRUE(may(unnumbered("app", "c")));
  EXPECT_TRUE(may(unnumbered("admin", "c")));
  EXPECT_TRUE(may(write_body("insert", "documents", {std::string(empty_document), std::string(empty_document)}, false)));
  EXPECT_FALSE(may(write_body("update", "updates", {statement(false)}))) << "it has one";
  EXPECT_FALSE(may(unnumbered("app", "c", std::string(empty_document), true))) << "changes many";
  EXPECT_FALSE(may(write_body("update", "updates", {statement(false), statement(true)}, false))) << "one of the batch changes many";
  EXPECT_FALSE(may(write_body("delete", "deletes", {deletion(0)}, false)));
  EXPECT_TRUE(may(write_body("delete", "deletes", {deletion(1)}, false)));
  EXPECT_FALSE(may(unnumbered("app", "c"), flag::more_to_come)) << "nobody waits for the answer";
  EXPECT_FALSE(may(named("find")));
  EXPECT_FALSE(may(named("insert"))) << "without a statement";
  for (const char* database : {"local", "config"}) EXPECT_FALSE(may(unnumbered(database, "c"))) << database;
  EXPECT_FALSE(may(unnumbered("admin", "system.users")));
  Writer none, unacknowledged, transaction;
  unacknowledged.document("writeConcern", none.int32("w", 0).finish());
  EXPECT_FALSE(may(unnumbered("app", "c", unacknowledged.finish())));
  EXPECT_FALSE(may(unnumbered("app", "c", transaction.boolean("autocommit", false).finish())));
}

TEST(MongoCommand, a_bulk_write_may_be_given_a_number_where_all_its_namespaces_take_one) {
  const auto may = [](const std::vector<std::string>& namespaces, bool in_sequence, bool in_batches = false) {
    std::string infos;
    std::vector<std::string> list;
    for (const auto& each : namespaces) {
      Writer info;
      list.push_back(info.text("ns", each).finish());
      infos += list.back();
    }
    Writer insertion, writer;
    const auto operation = insertion.int32("insert", 0).document("document", std::string(empty_document)).finish();
    writer.int32("bulkWrite", 1).array("ops", list_of({operation}));
    if (!in_sequence) writer.array("nsInfo", list_of(list));
    if (in_batches) writer.document("cursor", Writer().int32("batchSize", 2).finish());
    Given given(writer.text("$db", "admin").finish(), in_sequence ? std::vector<Sequence>{{"nsInfo", infos}} : std::vector<Sequence>{});
    return may_be_numbered(given.message, given.command);
  };
  for (const bool in_sequence : {false, true}) {
    EXPECT_TRUE(may({"app.a", "app.b.c"}, in_sequence));
    EXPECT_FALSE(may({"app.a", "config.b"}, in_sequence));
    EXPECT_FALSE(may({"app.system.views"}, in_sequence));
    EXPECT_FALSE(may({"app.a"}, in_sequence, true)) << "the rest of its answer is its session's";
  }
}

TEST(MongoCommand, a_number_of_ours_comes_with_a_session_of_ours_and_the_statements_stay) {
  const auto body = body_of_numbered_write(unnumbered("app", "c"), "fedcba9876543210", 7);
  const Given given(body);
  EXPECT_EQ(given.command.session, "fedcba9876543210");
  EXPECT_EQ(given.command.transaction_number, 7);
  EXPECT_EQ(given.command.statements, 1U);
  EXPECT_EQ(given.command.database, "app");
  EXPECT_TRUE(is_deduplicated(given.command));
  EXPECT_EQ(find(body, "updates")->raw, find(unnumbered("app", "c"), "updates")->raw);
}

}  // namespace
}  // namespace holdfast::mongo

// Which member has a cursor or a transaction, for whom, and what is known of it.
#include <gtest/gtest.h>

#include "protocol/mongo/document.hpp"
#include "proxy/mongo/places.hpp"

namespace holdfast::proxy::mongo {
namespace {

using namespace std::chrono_literals;
using Kind = wire::CommandKind;
constexpr Places::Time now{1h};

wire::Command cursor_command(Kind kind, std::int64_t id, std::string_view collection = "t") {
  wire::Command command;
  command.kind = kind;
  command.collection = collection;
  command.cursor = id;
  command.cursors = {id};
  return command;
}

wire::Command of_transaction(Kind kind, std::int64_t number, bool writes = false, bool starts = false) {
  wire::Command command;
  command.kind = kind;
  command.session = "s";
  command.transaction_number = number;
  command.in_transaction = true;
  command.starts_transaction = starts;
  command.writes = writes;
  return command;
}

wire::Reply with_cursor(std::int64_t id) {
  wire::Reply reply;
  reply.ok = true;
  reply.cursor = id;
  reply.cursor_namespace = "shop.t";
  return reply;
}

TEST(MongoPlaces, a_cursor_is_with_the_member_that_opened_it_until_it_ends) {
  Places places;
  places.note_reply(cursor_command(Kind::read, 0), with_cursor(7), 2, now);
  const auto more = cursor_command(Kind::get_more, 7);
  EXPECT_EQ(places.find(more, "u", now).member, 2U);
  EXPECT_FALSE(places.find(cursor_command(Kind::get_more, 7, "other"), "u", now).member) << "an id is its collection's";
  places.note_reply(more, with_cursor(7), 2, now);
  EXPECT_EQ(places.find(more, "u", now).member, 2U);
  places.note_reply(more, with_cursor(0), 2, now);
  EXPECT_FALSE(places.find(more, "u", now).member);
}

TEST(MongoPlaces, a_change_stream_is_known_as_one_from_one_batch_to_the_next) {
  Places places;
  auto opens = cursor_command(Kind::read, 0);
  opens.opens = wire::CursorOf::changes;
  places.note_reply(opens, with_cursor(7), 2, now);
  places.note_reply(cursor_command(Kind::read, 0), with_cursor(8), 2, now);
  const auto more = cursor_command(Kind::get_more, 7);
  EXPECT_EQ(places.find(more, "u", now).cursor, wire::CursorOf::changes);
  places.note_reply(more, with_cursor(7), 2, now);
  EXPECT_EQ(places.find(more, "u", now).cursor, wire::CursorOf::changes);
  EXPECT_EQ(places.find(cursor_command(Kind::get_more, 8), "u", now).cursor, wire::CursorOf::documents);
}

TEST(MongoPlaces, cursors_of_several_members_are_told_apart) {
  Places places;
  places.note_reply(cursor_command(Kind::read, 0), with_cursor(7), 2, now);
  places.note_reply(cursor_command(Kind::read, 0), with_cursor(8), 1, now);
  auto kill = cursor_command(Kind::kill_cursors, 7);
  EXPECT_EQ(places.find(kill, "u", now).member, 2U);
  EXPECT_FALSE(places.find(kill, "u", now).several);
  kill.cursors.push_back(8);
  EXPECT_TRUE(places.find(kill, "u", now).several);
  kill.cursors.push_back(9);
  const auto members = places.cursors_by_member(kill, now);
  ASSERT_EQ(members.size(), 3U);
  EXPECT_EQ(members.at(2), std::vector<std::int64_t>{7});
  EXPECT_EQ(members.at(1), std::vector<std::int64_t>{8});
  EXPECT_EQ(members.at(std::nullopt), std::vector<std::int64_t>{9});
}

TEST(MongoPlaces, an_operation_is_with_the_member_that_listed_it_last) {
  Places places;
  auto lists = cursor_command(Kind::read, 0);
  lists.opens = wire::CursorOf::operations;
  const auto listed = [](std::int64_t number) {
    const auto list = wire::Writer().document("0", wire::Writer().int64("opid", number).finish()).finish();
    return wire::Writer().array("inprog", list).real("ok", 1).finish();
  };
  const auto first = listed(17), second = listed(18);
  places.note_reply(lists, wire::read_reply(first), 2, now);
  places.note_reply(lists, wire::read_reply(second), 1, now);
  wire::Command kill;
  kill.operation = 17;
  EXPECT_EQ(places.find(kill, "u", now).member, 2U);
  places.note_reply(lists, wire::read_reply(first), 1, now);
  EXPECT_EQ(places.find(kill, "u", now).member, 1U);
  kill.operation = 19;
  EXPECT_FALSE(places.find(kill, "u", now).member);
  places.expire(now + 31min);
  kill.operation = 18;
  EXPECT_FALSE(places.find(kill, "u", now + 31min).member);
}

TEST(MongoPlaces, a_transaction_is_with_the_member_that_its_first_statement_was_sent_to) {
  Places places;
  places.note_sent(of_transaction(Kind::read, 5, false, true), "u", 1, now);
  const auto commit = of_transaction(Kind::commit, 5);
  EXPECT_EQ(places.find(commit, "u", now).member, 1U);
  EXPECT_FALSE(places.find(commit, "u", now).wrote);
  EXPECT_FALSE(places.find(commit, "v", now).member) << "a session is its user's";
  EXPECT_FALSE(places.find(of_transaction(Kind::commit, 6), "u", now).member) << "a number is a transaction's";
  EXPECT_TRUE(places.find(of_transaction(Kind::commit, 6), "u", now).wrote) << "nothing is known of it";
  EXPECT_FALSE(places.find(of_transaction(Kind::read, 5, false, true), "u", now).member) << "one that starts is nowhere yet";
}

TEST(MongoPlaces, a_transaction_has_written_once_a_statement_that_writes_was_sent) {
  Places places;
  places.note_sent(of_transaction(Kind::read, 5, false, true), "u", 1, now);
  places.note_sent(of_transaction(Kind::write, 5, true), "u", 1, now);
  places.note_sent(of_transaction(Kind::read, 5), "u", 1, now);
  EXPECT_TRUE(places.find(of_transaction(Kind::commit, 5), "u", now).wrote);
  places.note_sent(of_transaction(Kind::write, 6, true, true), "u", 2, now);
  EXPECT_EQ(places.find(of_transaction(Kind::commit, 6), "u", now).member, 2U);
  EXPECT_TRUE(places.find(of_transaction(Kind::commit, 6), "u", now).wrote);
}

TEST(MongoPlaces, what_nobody_asks_for_is_forgotten) {
  Places places;
  places.note_reply(cursor_command(Kind::read, 0), with_cursor(7), 2, now);
  places.note_sent(of_transaction(Kind::write, 5, true, true), "u", 1, now);
  places.expire(now + 31min);
  EXPECT_FALSE(places.find(cursor_command(Kind::get_more, 7), "u", now + 31min).member);
  EXPECT_FALSE(places.find(of_transaction(Kind::commit, 5), "u", now + 31min).member);
}

}  // namespace
}  // namespace holdfast::proxy::mongo

// What a client that is gone has left open, and what ends it.
#include <gtest/gtest.h>

#include "protocol/mongo/document.hpp"
#include "proxy/mongo/leftovers.hpp"

namespace holdfast::proxy::mongo {
namespace {

using Kind = wire::CommandKind;

wire::Command command_of(Kind kind, std::int64_t cursor = 0) {
  wire::Command command;
  command.kind = kind;
  command.cursor = cursor;
  command.cursors = {cursor};
  return command;
}

wire::Command in_transaction(Kind kind, std::int64_t number) {
  auto command = command_of(kind);
  command.session = "s";
  command.transaction_number = number;
  command.in_transaction = true;
  return command;
}

wire::Reply with_cursor(std::int64_t id, bool ok = true) {
  wire::Reply reply;
  reply.ok = ok;
  reply.cursor = id;
  reply.cursor_namespace = "shop.a.b";
  return reply;
}

std::string statement(std::int64_t number) { return wire::Writer().text("insert", "t").int64("txnNumber", number).text("$db", "shop").finish(); }

TEST(MongoLeftovers, an_open_cursor_is_killed_where_it_is) {
  Leftovers left;
  left.note_reply(command_of(Kind::read), with_cursor(7), 2);
  left.note_reply(command_of(Kind::get_more, 7), with_cursor(7), 2);
  const auto endings = left.take();
  ASSERT_EQ(endings.size(), 1U);
  EXPECT_EQ(endings[0].member, 2U);
  EXPECT_EQ(wire::find(endings[0].body, "killCursors")->bytes, "a.b");
  EXPECT_EQ(wire::find(endings[0].body, "$db")->bytes, "shop");
  EXPECT_EQ(wire::find(wire::find(endings[0].body, "cursors")->bytes, "0")->integer, 7);
  EXPECT_TRUE(left.take().empty()) << "once";
}

TEST(MongoLeftovers, one_that_has_ended_is_left_alone) {
  Leftovers left;
  left.note_reply(command_of(Kind::read), with_cursor(0), 2);
  for (const auto id : {5, 6, 7}) left.note_reply(command_of(Kind::read), with_cursor(id), 2);
  left.note_reply(command_of(Kind::get_more, 5), with_cursor(0), 2);
  left.note_reply(command_of(Kind::get_more, 6), with_cursor(6, false), 2);
  left.note_reply(command_of(Kind::kill_cursors, 7), {}, 2);
  EXPECT_TRUE(left.take().empty());
}

TEST(MongoLeftovers, an_open_transaction_is_aborted_and_the_newest_of_its_session_only) {
  Leftovers left;
  left.note_sent(in_transaction(Kind::write, 3), statement(3), 0);
  left.note_sent(in_transaction(Kind::read, 4), statement(4), 1);
  left.note_sent(command_of(Kind::write), statement(9), 1);
  const auto endings = left.take();
  ASSERT_EQ(endings.size(), 1U);
  EXPECT_EQ(endings[0].member, 1U);
  EXPECT_TRUE(wire::find(endings[0].body, "abortTransaction"));
  EXPECT_EQ(wire::find(endings[0].body, "txnNumber")->integer, 4);
}

TEST(MongoLeftovers, one_whose_end_was_asked_for_is_left_alone) {
  for (const auto kind : {Kind::commit, Kind::abort}) {
    Leftovers left;
    left.note_sent(in_transaction(Kind::write, 3), statement(3), 0);
    left.note_sent(in_transaction(kind, 3), statement(3), 0);
    EXPECT_TRUE(left.take().empty());
  }
}

TEST(MongoLeftovers, nobody_can_leave_so_much_that_it_fills_memory) {
  Leftovers left;
  for (std::int64_t id = 1; id < 5'000; ++id) left.note_reply(command_of(Kind::read), with_cursor(id), 0);
  EXPECT_EQ(left.take().size(), 1'000U);
}

}  // namespace
}  // namespace holdfast::proxy::mongo

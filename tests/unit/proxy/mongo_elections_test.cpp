// What is believed of a member that another was elected after.
#include <gtest/gtest.h>

#include "mongo_members_script.hpp"

namespace holdfast::proxy::mongo {
namespace {

wire::Command command_of(wire::CommandKind kind, bool majority = false) {
  wire::Command command;
  command.kind = kind;
  command.majority = majority;
  return command;
}

TEST(MongoMembers, the_election_of_a_reply_is_outdated_once_a_newer_one_was_seen) {
  Members members(config_with(2), {});
  const auto primary = primary_of("000000000002");
  static_cast<void>(members.note(0, primary));
  EXPECT_TRUE(members.is_outdated("000000000001"));
  EXPECT_FALSE(members.is_outdated("000000000002"));
  EXPECT_FALSE(members.is_outdated(""));
  EXPECT_FALSE(members.is_outdated("000000000003"));
  EXPECT_TRUE(members.is_outdated("000000000002"));
}

TEST(MongoMembers, a_primary_of_an_older_election_is_stale_and_teaches_nothing) {
  Members members(config_with(2), {});
  const auto primary = primary_of("000000000002");
  EXPECT_FALSE(members.is_stale_primary(primary));
  static_cast<void>(members.note(0, primary));
  EXPECT_FALSE(members.is_stale_primary(primary));
  auto older = primary;
  older.election_id = "000000000001";
  EXPECT_TRUE(members.is_stale_primary(older));
  static_cast<void>(members.note(1, older));
  EXPECT_TRUE(members.is_outdated("000000000001"));
  EXPECT_FALSE(members.is_outdated("000000000002"));
  older.set_version = 2;
  EXPECT_FALSE(members.is_stale_primary(older)) << "before MongoDB 6.0 a newer configuration outweighs an election";
  older.wire_max = 17;
  EXPECT_TRUE(members.is_stale_primary(older)) << "from 6.0 on it does not";
  auto secondary = older;
  secondary.type = Type::secondary;
  EXPECT_FALSE(members.is_stale_primary(secondary));
}

TEST(MongoMembers, a_write_is_believed_of_the_newest_primary_or_where_the_majority_has_it) {
  Members members(config_with(2), {});
  static_cast<void>(members.note(0, primary_of("000000000002")));
  wire::Reply reply;
  reply.ok = true;
  reply.election_id = "000000000001";
  EXPECT_TRUE(members.has_replaced(1, command_of(wire::CommandKind::write), reply, 0));
  EXPECT_FALSE(members.has_replaced(1, command_of(wire::CommandKind::write, true), reply, 0));
  reply.write_concern_code = 64;
  EXPECT_TRUE(members.has_replaced(1, command_of(wire::CommandKind::write, true), reply, 0));
  reply.election_id = "000000000002";
  EXPECT_FALSE(members.has_replaced(0, command_of(wire::CommandKind::write), reply, 0));
}

TEST(MongoMembers, a_write_whose_reply_names_no_election_is_believed_unless_another_was_elected) {
  Members members(config_with(2), {});
  wire::Reply reply;
  reply.ok = true;
  const auto write = command_of(wire::CommandKind::write);
  static_cast<void>(members.note(0, primary_of("000000000001")));
  EXPECT_FALSE(members.has_replaced(0, write, reply, 0));
  static_cast<void>(members.note(1, primary_of("000000000002")));
  EXPECT_TRUE(members.has_replaced(0, write, reply, 0)) << "findAndModify";
  EXPECT_FALSE(members.has_replaced(0, command_of(wire::CommandKind::write, true), reply, 0));
  EXPECT_FALSE(members.has_replaced(1, write, reply, 0));
}

TEST(MongoMembers, what_else_changes_something_is_believed_as_a_write_is) {
  Members members(config_with(2), {});
  wire::Reply reply;
  reply.ok = true;
  const auto drop = command_of(wire::CommandKind::other);
  static_cast<void>(members.note(0, primary_of("000000000001")));
  EXPECT_FALSE(members.has_replaced(0, drop, reply, 0));
  static_cast<void>(members.note(1, primary_of("000000000002")));
  EXPECT_TRUE(members.has_replaced(0, drop, reply, 0)) << "the collection comes back when that member rolls back";
  EXPECT_FALSE(members.has_replaced(0, command_of(wire::CommandKind::other, true), reply, 0));
  EXPECT_FALSE(members.has_replaced(1, drop, reply, 0));
  auto kill = drop;
  kill.operation = 7;
  EXPECT_FALSE(members.has_replaced(0, kill, reply, 1)) << "it is for whoever has the operation";
}

TEST(MongoMembers, a_numbered_write_of_one_that_was_replaced_is_asked_for_again_even_where_the_majority_has_it) {
  Members members(config_with(2), {});
  static_cast<void>(members.note(0, primary_of("000000000002")));
  static_cast<void>(members.note(1, hello(Type::secondary)));
  note_product(members, 0, "MongoDB");
  note_product(members, 1, "MongoDB");
  ASSERT_TRUE(members.deduplicates());
  auto numbered = command_of(wire::CommandKind::write, true);
  numbered.session = "s";
  numbered.transaction_number = 1;
  wire::Reply reply;
  reply.ok = true;
  reply.election_id = "000000000001";
  EXPECT_TRUE(members.has_replaced(1, numbered, reply, 0)) << "it may have found nothing to change, which nobody else has to acknowledge";
  EXPECT_FALSE(members.has_replaced(1, command_of(wire::CommandKind::write, true), reply, 0)) << "nobody could tell what a second one is";
}

TEST(MongoMembers, a_commit_is_believed_unless_another_was_elected_or_the_majority_has_it) {
  Members members(config_with(2), {});
  wire::Reply reply;
  reply.ok = true;
  static_cast<void>(members.note(0, primary_of("000000000001")));
  EXPECT_FALSE(members.has_replaced(0, command_of(wire::CommandKind::commit), reply, 0));
  static_cast<void>(members.note(1, primary_of("000000000002")));
  EXPECT_TRUE(members.has_replaced(0, command_of(wire::CommandKind::commit), reply, 0)) << "no reply to a commit names its election";
  EXPECT_FALSE(members.has_replaced(0, command_of(wire::CommandKind::commit, true), reply, 0));
  EXPECT_FALSE(members.has_replaced(1, command_of(wire::CommandKind::commit), reply, 0));
}

TEST(MongoMembers, a_read_is_believed_unless_another_member_is_known_to_be_the_primary) {
  Members members(config_with(2), {});
  const auto read = command_of(wire::CommandKind::read);
  const wire::Reply reply;
  static_cast<void>(members.note(0, primary_of("000000000001")));
  EXPECT_FALSE(members.has_replaced(0, read, reply, 0));
  EXPECT_TRUE(members.has_replaced(0, read, reply, 1));
  EXPECT_FALSE(members.has_replaced(0, read, reply, {})) << "nobody has taken its place";
  static_cast<void>(members.note(1, primary_of("000000000002")));
  EXPECT_TRUE(members.has_replaced(0, read, reply, {})) << "another was elected, whether it can be used yet or not";
  EXPECT_TRUE(members.has_replaced(0, read, reply, 0)) << "also where nobody has noticed that";
  EXPECT_EQ(members.newest_primary(), 1U);
  EXPECT_FALSE(members.has_replaced(1, read, reply, {}));
  wire::Reply written;
  written.ok = true;
  written.election_id = "000000000003";
  EXPECT_FALSE(members.has_replaced(0, command_of(wire::CommandKind::write), written, {}));
  EXPECT_FALSE(members.has_replaced(0, read, reply, {})) << "it was elected again, as its own reply says";
  EXPECT_TRUE(members.has_replaced(1, read, reply, {}));
  auto elsewhere = read;
  elsewhere.preference.mode = wire::ReadMode::nearest;
  EXPECT_FALSE(members.has_replaced(1, elsewhere, reply, {}));
  EXPECT_TRUE(members.reads_elsewhere(elsewhere));
  EXPECT_FALSE(members.reads_elsewhere(read));
}

TEST(MongoMembers, one_that_another_was_elected_after_is_deposed_whatever_it_says_itself) {
  Members members(config_with(2), {});
  EXPECT_FALSE(members.is_deposed(0)) << "nobody was elected";
  static_cast<void>(members.note(0, primary_of("000000000001")));
  EXPECT_FALSE(members.is_deposed(0));
  static_cast<void>(members.note(1, primary_of("000000000002")));
  EXPECT_TRUE(members.is_deposed(0));
  EXPECT_FALSE(members.is_deposed(1));
}

TEST(MongoMembers, a_reply_to_a_write_may_tell_of_a_newer_primary_before_its_hello_does) {
  Members members(config_with(2), {});
  const auto primary = primary_of("000000000002");
  static_cast<void>(members.note(0, primary));
  EXPECT_FALSE(members.is_outdated("000000000003"));
  EXPECT_TRUE(members.is_stale_primary(primary));
  auto newer = primary;
  newer.election_id = "000000000003";
  EXPECT_FALSE(members.is_stale_primary(newer));
}

TEST(MongoMembers, no_read_is_for_a_primary_that_has_not_said_yet_that_another_was_elected) {
  Members members(config_with(2), {});
  static_cast<void>(members.note(0, primary_of("000000000001")));
  static_cast<void>(members.note(1, primary_of("000000000002")));
  for (const auto mode : {wire::ReadMode::nearest, wire::ReadMode::primary_preferred, wire::ReadMode::secondary_preferred}) {
    wire::ReadPreference preference;
    preference.mode = mode;
    EXPECT_EQ(members.select(preference).suitable, (std::vector<std::size_t>{1}));
  }
  static_cast<void>(members.note(0, hello(Type::secondary)));
  wire::ReadPreference secondary;
  secondary.mode = wire::ReadMode::secondary;
  EXPECT_EQ(members.select(secondary).suitable, (std::vector<std::size_t>{0}));
}

TEST(MongoMembers, no_read_is_for_a_primary_that_slept_through_its_replacement) {
  Members members(config_with(3), {});
  auto primary = hello(Type::primary);
  primary.hosts = {"h0:27017", "h1:27017", "h2:27017"};
  primary.election_id = "000000000002";
  primary.set_version = 1;
  primary.has_set_version = true;
  static_cast<void>(members.note(0, primary));
  static_cast<void>(members.note(2, hello(Type::secondary)));
  auto older = primary;
  older.election_id = "000000000001";
  static_cast<void>(members.note(1, older));
  for (const auto mode : {wire::ReadMode::nearest, wire::ReadMode::primary_preferred}) {
    wire::ReadPreference preference;
    preference.mode = mode;
    const auto selected = members.select(preference).nearest;
    EXPECT_EQ(std::count(selected.begin(), selected.end(), 1U), 0);
    EXPECT_FALSE(selected.empty());
  }
  EXPECT_FALSE(members.accepts_writes(older));
  EXPECT_TRUE(members.accepts_writes(primary));
  static_cast<void>(members.note(1, hello(Type::secondary)));
  wire::ReadPreference nearest;
  nearest.mode = wire::ReadMode::nearest;
  EXPECT_EQ(members.select(nearest).nearest.size(), 3U) << "it has learnt, and counts again";
}

}  // namespace
}  // namespace holdfast::proxy::mongo

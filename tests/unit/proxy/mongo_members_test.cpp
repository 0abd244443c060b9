// The face that follows from the members: when it is shown, what it says, and what it is never changed by.
#include <gtest/gtest.h>

#include "proxy/mongo/members.hpp"

namespace holdfast::proxy::mongo {
namespace {

using Type = wire::MemberHello::Type;

config::Connection config_with(std::size_t hosts, std::string set = "rs", config::MongoFace face = config::MongoFace::automatic) {
  config::Connection config;
  for (std::size_t i = 0; i < hosts; ++i) config.mongo.hosts.push_back({"h" + std::to_string(i), 27017});
  config.mongo.replica_set = std::move(set);
  config.face = face;
  return config;
}

wire::MemberHello hello(Type type, std::int32_t wire_max = 9, std::string set = "rs") {
  wire::MemberHello made;
  made.ok = true;
  made.type = type;
  if (type != Type::standalone) made.set_name = std::move(set);
  made.wire_max = wire_max;
  made.session_timeout_minutes = 30;
  return made;
}

TEST(MongoMembers, the_face_waits_until_all_were_asked_and_is_that_of_a_mongos_for_a_set) {
  Members members(config_with(2), {});
  EXPECT_EQ(members.note(0, hello(Type::primary, 21)), "");
  EXPECT_FALSE(members.face());
  EXPECT_EQ(members.note(1, hello(Type::secondary, 17)), "");
  members.all_asked();
  ASSERT_TRUE(members.face());
  EXPECT_EQ(members.face()->kind, wire::FaceKind::mongos);
  EXPECT_EQ(members.face()->wire_max, 17) << "the smallest of all";
  EXPECT_TRUE(members.deduplicates());
}

TEST(MongoMembers, nothing_is_shown_while_nobody_has_answered) {
  Members members(config_with(2), {});
  members.all_asked();
  EXPECT_FALSE(members.face());
}

TEST(MongoMembers, a_standalone_is_shown_as_one_and_not_trusted_with_repetitions) {
  Members members(config_with(1, ""), {});
  EXPECT_EQ(members.note(0, hello(Type::standalone)), "");
  members.all_asked();
  EXPECT_EQ(members.face()->kind, wire::FaceKind::standalone);
  EXPECT_FALSE(members.deduplicates());
}

TEST(MongoMembers, an_upgrade_of_all_members_moves_the_wire_range_and_its_counter) {
  Members members(config_with(2), {});
  static_cast<void>(members.note(0, hello(Type::primary, 17)));
  static_cast<void>(members.note(1, hello(Type::secondary, 17)));
  members.all_asked();
  const auto before = members.face()->version;
  static_cast<void>(members.note(0, hello(Type::secondary, 21)));
  EXPECT_EQ(members.face()->version, before) << "one of two changes nothing";
  static_cast<void>(members.note(1, hello(Type::primary, 21)));
  EXPECT_EQ(members.face()->wire_max, 21);
  EXPECT_EQ(members.face()->version.counter, before.counter + 1);
  EXPECT_EQ(members.face()->version.process, before.process);
}

TEST(MongoMembers, another_kind_or_another_set_is_a_mismatch_and_changes_nothing) {
  Members members(config_with(2), {});
  static_cast<void>(members.note(0, hello(Type::primary)));
  members.all_asked();
  EXPECT_NE(members.note(1, hello(Type::standalone)), "");
  EXPECT_NE(members.note(1, hello(Type::secondary, 9, "other")), "");
  EXPECT_NE(members.note(1, hello(Type::mongos)), "");
  EXPECT_NE(members.note(1, hello(Type::uninitialised)), "");
  EXPECT_EQ(members.face()->kind, wire::FaceKind::mongos);
  Members forced(config_with(1, "", config::MongoFace::mongos), {});
  EXPECT_NE(forced.note(0, hello(Type::standalone)), "") << "a mongos face would promise what it cannot keep";
}

TEST(MongoMembers, the_election_of_a_reply_is_outdated_once_a_newer_one_was_seen) {
  Members members(config_with(2), {});
  auto primary = hello(Type::primary);
  primary.election_id = "000000000002";
  primary.set_version = 1;
  static_cast<void>(members.note(0, primary));
  EXPECT_TRUE(members.is_outdated("000000000001"));
  EXPECT_FALSE(members.is_outdated("000000000002"));
  EXPECT_FALSE(members.is_outdated(""));
  EXPECT_FALSE(members.is_outdated("000000000003"));
  EXPECT_TRUE(members.is_outdated("000000000002"));
}

TEST(MongoMembers, a_primary_of_an_older_election_is_stale_and_teaches_nothing) {
  Members members(config_with(2), {});
  auto primary = hello(Type::primary);
  primary.election_id = "000000000002";
  primary.set_version = 1;
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
  EXPECT_FALSE(members.is_stale_primary(older)) << "elections are compared within one configuration";
  auto secondary = older;
  secondary.type = Type::secondary;
  EXPECT_FALSE(members.is_stale_primary(secondary));
}

TEST(MongoMembers, hosts_that_the_uri_does_not_name_are_told) {
  Members members(config_with(1), {});
  auto primary = hello(Type::primary);
  primary.hosts = {"h0:27017", "elsewhere:27017"};
  static_cast<void>(members.note(0, primary));
  static_cast<void>(members.note(0, primary));
  EXPECT_EQ(members.unlisted(), std::vector<std::string>{"elsewhere:27017"});
}

}  // namespace
}  // namespace holdfast::proxy::mongo

// The face that follows from the members: when it is shown, what it says, and what it is never changed by.
#include <gtest/gtest.h>

#include "mongo_members_script.hpp"

namespace holdfast::proxy::mongo {
namespace {

std::vector<std::string> names(const Members& members) {
  std::vector<std::string> all;
  for (const auto& host : members.hosts()) all.push_back(host.to_string());
  return all;
}

/// Several mongos that DNS has named.
Members of_dns(std::size_t hosts) {
  auto config = config_with(hosts, "");
  config.mongo.srv.emplace();
  return Members(config, {});
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
  EXPECT_FALSE(members.deduplicates()) << "nobody has said yet what it is";
  note_product(members, 0, "MongoDB");
  EXPECT_FALSE(members.deduplicates());
  members.note_build(1, first_process, Members::Asker::user, std::nullopt);
  EXPECT_FALSE(members.deduplicates()) << "what it will not say its hello does not say either";
  note_product(members, 1, "MongoDB");
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

TEST(MongoMembers, a_mongos_is_shown_as_one_and_goes_with_others_of_its_kind_only) {
  Members members(config_with(2, ""), {});
  EXPECT_EQ(members.note(0, hello(Type::mongos, 21, "")), "");
  EXPECT_EQ(members.note(1, hello(Type::mongos, 17, "")), "");
  members.all_asked();
  EXPECT_EQ(members.face()->kind, wire::FaceKind::mongos);
  EXPECT_EQ(members.face()->wire_max, 17);
  note_product(members, 0, "MongoDB");
  EXPECT_FALSE(members.deduplicates()) << "one has not said yet what it is";
  members.note_unreachable(1);
  EXPECT_TRUE(members.deduplicates()) << "it cannot be the one that executes, and says it when it is back";
  static_cast<void>(members.note(1, hello(Type::mongos, 17, "")));
  EXPECT_FALSE(members.deduplicates());
  note_product(members, 1, "MongoDB");
  EXPECT_TRUE(members.deduplicates() && members.is_sharded());
  EXPECT_NE(members.note(1, hello(Type::primary)), "");
  EXPECT_FALSE(members.is_outdated("000000000001") || members.is_outdated("000000000000")) << "each shard counts for itself";
  Members of_a_set(config_with(1, "rs"), {});
  EXPECT_NE(of_a_set.note(0, hello(Type::mongos, 21, "")), "") << "the URI names a set";
}

TEST(MongoMembers, one_member_that_is_no_mongodb_is_enough_to_send_nothing_twice) {
  Members members(config_with(2), {});
  EXPECT_EQ(members.capabilities().kind, "");
  static_cast<void>(members.note(0, hello(Type::primary, 21)));
  static_cast<void>(members.note(1, hello(Type::secondary, 21)));
  EXPECT_TRUE(members.wants_build(0, first_process, Members::Asker::user, {}));
  note_product(members, 0, "MongoDB");
  EXPECT_FALSE(members.wants_build(0, first_process, Members::Asker::user, {}));
  note_product(members, 1, "MongoDB");
  EXPECT_TRUE(members.deduplicates());
  note_product(members, 1, "FerretDB");
  EXPECT_FALSE(members.deduplicates());
  const auto shown = members.capabilities();
  EXPECT_EQ(shown.kind, "replica_set");
  ASSERT_EQ(shown.members.size(), 2U);
  EXPECT_EQ(shown.members[0].version, "7.0.16");
  EXPECT_EQ(shown.members[0].reason, "");
  EXPECT_EQ(shown.members[1].address, "h1:27017");
  EXPECT_NE(shown.members[1].reason, "");
}

TEST(MongoMembers, a_new_process_is_asked_what_it_is_and_is_nothing_that_was_there_before_until_it_says) {
  Members members(config_with(1), {});
  note_product(members, 0, "MongoDB");
  static_cast<void>(members.note(0, hello(Type::primary, 21)));
  EXPECT_TRUE(members.deduplicates() && members.executes_once(0, first_process));
  EXPECT_FALSE(members.executes_once(0, other_process)) << "a connection to another process is to another server";
  EXPECT_TRUE(members.wants_build(0, other_process, Members::Asker::anybody, {}));
  auto next = hello(Type::primary, 21);
  next.topology_version->process = *other_process;
  static_cast<void>(members.note(0, next));
  EXPECT_FALSE(members.deduplicates() || members.executes_once(0, first_process) || members.executes_once(0, other_process));
  EXPECT_EQ(members.capabilities().members[0].reason, "it has not said yet what it is");
  note_product(members, 0, "SecantusDB", other_process);
  EXPECT_FALSE(members.deduplicates());
  EXPECT_EQ(members.capabilities().members[0].product, "SecantusDB");
  members.note_unreachable(0);
  EXPECT_FALSE(members.wants_build(0, other_process, Members::Asker::user, {})) << "its process tells whether it is another";
}

TEST(MongoMembers, a_process_that_says_what_it_is_before_its_hello_is_noted_is_doubted_at_no_time) {
  Members members(config_with(1), {});
  note_product(members, 0, "MongoDB");
  static_cast<void>(members.note(0, hello(Type::primary, 21)));
  note_product(members, 0, "MongoDB", other_process);
  EXPECT_TRUE(members.deduplicates());
  auto next = hello(Type::primary, 21);
  next.topology_version->process = *other_process;
  static_cast<void>(members.note(0, next));
  EXPECT_TRUE(members.deduplicates() && members.executes_once(0, other_process));
}

TEST(MongoMembers, what_does_not_tell_its_processes_apart_is_asked_over_each_connection) {
  Members members(config_with(1), {});
  auto old = hello(Type::primary, 8);
  old.topology_version.reset();
  note_product(members, 0, "MongoDB", std::nullopt);
  static_cast<void>(members.note(0, old));
  EXPECT_TRUE(members.deduplicates() && members.executes_once(0, std::nullopt));
  EXPECT_TRUE(members.wants_build(0, std::nullopt, Members::Asker::user, {}));
  members.note_build(0, std::nullopt, Members::Asker::anybody, std::nullopt);
  EXPECT_FALSE(members.deduplicates() || members.executes_once(0, std::nullopt)) << "no MongoDB as old as that refuses";
  note_product(members, 0, "MongoDB", std::nullopt);
  members.note_unreachable(0);
  EXPECT_FALSE(members.executes_once(0, std::nullopt)) << "it may come back as anything";
}

TEST(MongoMembers, one_that_tells_users_only_is_asked_by_one_and_keeps_nobody_else_from_being_trusted) {
  using Asker = Members::Asker;
  for (const auto& reserved : {std::optional<wire::Build>(), std::optional(wire::Build{"", "8.2.0", true})}) {
    Members members(config_with(2), {});
    for (const std::size_t member : {0U, 1U}) {
      members.note_build(member, first_process, Asker::anybody, reserved);
      static_cast<void>(members.note(member, hello(member == 0 ? Type::primary : Type::secondary, 27)));
      EXPECT_FALSE(members.wants_build(member, first_process, Asker::anybody, {}));
      EXPECT_TRUE(members.wants_build(member, first_process, Asker::user, {}));
    }
    EXPECT_FALSE(members.deduplicates());
    EXPECT_EQ(members.capabilities().members[0].reason, "it does not say what it is to those who have not logged in");
    note_product(members, 0, "MongoDB");
    members.note_build(0, first_process, Asker::anybody, reserved);
    EXPECT_TRUE(members.executes_once(0, first_process)) << "what it has told a user it need not tell anybody";
    EXPECT_TRUE(members.deduplicates()) << "the other one will be asked before it is sent anything";
    EXPECT_FALSE(members.executes_once(1, first_process));
    members.note_build(1, first_process, Asker::user, reserved);
    EXPECT_FALSE(members.deduplicates());
  }
}

TEST(MongoMembers, an_imitation_that_anybody_may_ask_is_not_asked_again_and_keeps_all_from_being_trusted) {
  Members members(config_with(2), {});
  note_product(members, 0, "MongoDB");
  members.note_build(1, first_process, Members::Asker::anybody, wire::Build{"", "8.0.0"});
  static_cast<void>(members.note(0, hello(Type::primary, 25)));
  static_cast<void>(members.note(1, hello(Type::secondary, 25)));
  EXPECT_FALSE(members.wants_build(1, first_process, Members::Asker::user, {}));
  EXPECT_FALSE(members.deduplicates());
}

TEST(MongoMembers, one_that_does_not_answer_the_question_is_asked_again_after_a_while) {
  using namespace std::chrono_literals;
  Members members(config_with(1), {});
  const Members::Time then{1h};
  members.note_silence(0, then);
  static_cast<void>(members.note(0, hello(Type::primary, 21)));
  EXPECT_FALSE(members.wants_build(0, first_process, Members::Asker::user, then + 59s));
  EXPECT_FALSE(members.deduplicates() || members.executes_once(0, first_process));
  EXPECT_TRUE(members.wants_build(0, first_process, Members::Asker::user, then + 60s));
  note_product(members, 0, "MongoDB");
  EXPECT_TRUE(members.deduplicates());
}

TEST(MongoMembers, what_a_hello_means_for_the_upstream) {
  Members members(config_with(2), {});
  const Members::Time now{};
  const auto of_primary = members.outcome_of(0, primary_of("000000000002"), now);
  EXPECT_TRUE(of_primary.ok());
  EXPECT_EQ(of_primary.role, Role::primary);
  EXPECT_EQ(of_primary.identity, "rs");
  const auto of_secondary = members.outcome_of(1, hello(Type::secondary), now);
  EXPECT_EQ(of_secondary.failure, Failure::unfit);
  EXPECT_EQ(of_secondary.role, Role::standby);
  const auto of_stale = members.outcome_of(1, primary_of("000000000001"), now);
  EXPECT_EQ(of_stale.failure, Failure::unfit);
  EXPECT_EQ(of_stale.role, Role::standby) << "never told as a primary";
  EXPECT_EQ(members.outcome_of(1, hello(Type::other), now).failure, Failure::unfit);
  EXPECT_EQ(members.outcome_of(1, hello(Type::secondary, 9, "another"), now).failure, Failure::unreachable);
}

TEST(MongoMembers, writes_are_remembered_for_half_the_time_that_the_most_forgetful_keeps_a_session) {
  Members members(config_with(2), {});
  EXPECT_EQ(members.memory(), std::chrono::minutes(15)) << "nobody has said anything else";
  auto forgetful = hello(Type::secondary);
  forgetful.session_timeout_minutes = 1;
  static_cast<void>(members.note(0, hello(Type::primary)));
  static_cast<void>(members.note(1, forgetful));
  EXPECT_EQ(members.memory(), std::chrono::seconds(30));
}

TEST(MongoMembers, hosts_that_the_set_names_are_added_once_and_those_that_it_does_not_name_are_retired) {
  Members members(config_with(2), {});
  auto primary = hello(Type::primary);
  primary.hosts = {"H0:27017", "elsewhere:27018", "[::1]:27017", "nonsense:x"};
  static_cast<void>(members.note(0, primary));
  static_cast<void>(members.note(0, primary));
  const std::vector<std::string> all{"h0:27017", "h1:27017", "[::1]:27017", "elsewhere:27018"};
  EXPECT_EQ(names(members), all);
  EXPECT_TRUE(members.is_retired(1));
  EXPECT_FALSE(members.is_retired(0) || members.is_retired(2) || members.is_retired(3));
  primary.hosts = {"h0:27017", "h1:27017"};
  static_cast<void>(members.note(0, primary));
  EXPECT_EQ(names(members), all) << "an index stays one member's";
  EXPECT_FALSE(members.is_retired(1));
  EXPECT_TRUE(members.is_retired(3));
}

TEST(MongoMembers, hosts_that_dns_has_take_the_place_of_the_name_that_stood_for_them) {
  auto config = config_with(1, "");
  Members members(config, {});
  config.mongo.hosts = {{"m0", 27017}, {"m1", 27017}};
  config.mongo.replica_set = "rs";
  members.seed(config.mongo);
  EXPECT_EQ(names(members), (std::vector<std::string>{"m0:27017", "m1:27017"}));
  EXPECT_NE(members.note(0, hello(Type::primary, 9, "other")), "") << "the set's name came with them";
  auto primary = hello(Type::primary);
  primary.hosts = {"m0:27017", "m2:27017"};
  EXPECT_EQ(members.note(1, primary), "");
  EXPECT_EQ(names(members), (std::vector<std::string>{"m0:27017", "m1:27017", "m2:27017"}));
}

TEST(MongoMembers, mongos_come_and_go_as_dns_has_them_and_one_that_is_gone_is_left_once_another_serves) {
  auto members = of_dns(2);
  EXPECT_TRUE(members.follows_dns()) << "nobody has said yet of what it consists";
  static_cast<void>(members.note(0, hello(Type::mongos, 9, "")));
  EXPECT_TRUE(members.follows_dns());
  members.follow_dns({{"h1", 27017}, {"h2", 27017}});
  ASSERT_EQ(members.hosts().size(), 3U);
  EXPECT_EQ(members.hosts()[2].host, "h2");
  EXPECT_TRUE(members.is_retired(0) && !members.is_retired(1) && !members.is_retired(2));
  EXPECT_EQ(members.present_hosts(), (std::vector<config::HostPort>{{"h1", 27017}, {"h2", 27017}}));
  EXPECT_FALSE(members.is_replaced(0)) << "no other one has answered";
  static_cast<void>(members.note(0, hello(Type::mongos, 9, "")));
  EXPECT_TRUE(members.is_retired(0)) << "whatever it says itself";
  static_cast<void>(members.note(2, hello(Type::mongos, 9, "")));
  EXPECT_TRUE(members.is_replaced(0) && !members.is_replaced(2));
  members.note_unreachable(2);
  EXPECT_FALSE(members.is_replaced(0));
  members.follow_dns({{"h0", 27017}});
  EXPECT_TRUE(!members.is_retired(0) && members.is_retired(1) && members.is_retired(2));
  EXPECT_EQ(members.hosts().size(), 3U);
}

TEST(MongoMembers, the_face_stays_while_none_of_the_new_hosts_has_answered) {
  auto members = of_dns(1);
  static_cast<void>(members.note(0, hello(Type::mongos, 17, "")));
  members.all_asked();
  const auto before = members.face()->version;
  members.follow_dns({{"h1", 27017}});
  EXPECT_EQ(members.face()->wire_max, 17);
  static_cast<void>(members.note(1, hello(Type::mongos, 17, "")));
  EXPECT_EQ(members.face()->version, before);
}

TEST(MongoMembers, a_mongos_that_dns_names_no_more_still_says_that_nothing_may_be_sent_twice) {
  auto members = of_dns(1);
  static_cast<void>(members.note(0, hello(Type::mongos, 9, "")));
  note_product(members, 0, "FerretDB");
  members.follow_dns({{"h1", 27017}});
  static_cast<void>(members.note(1, hello(Type::mongos, 9, "")));
  note_product(members, 1, "MongoDB");
  EXPECT_FALSE(members.deduplicates());
}

TEST(MongoMembers, hosts_are_replaced_before_any_has_answered) {
  auto members = of_dns(1);
  members.follow_dns({{"h1", 27017}});
  EXPECT_TRUE(members.is_retired(0));
  EXPECT_EQ(members.note(1, hello(Type::mongos, 9, "")), "");
}

TEST(MongoMembers, dns_does_not_say_who_belongs_to_a_set_or_to_a_uri_that_names_its_hosts) {
  auto set = of_dns(2);
  static_cast<void>(set.note(0, hello(Type::secondary)));
  EXPECT_FALSE(set.follows_dns());
  auto standalone = of_dns(1);
  static_cast<void>(standalone.note(0, hello(Type::standalone)));
  EXPECT_FALSE(standalone.follows_dns());
  EXPECT_FALSE(Members(config_with(2, ""), {}).follows_dns());
}

TEST(MongoMembers, a_direct_connection_keeps_to_its_host) {
  auto config = config_with(1);
  config.mongo.direct = true;
  Members members(config, {});
  auto primary = hello(Type::primary);
  primary.hosts = {"elsewhere:27017"};
  static_cast<void>(members.note(0, primary));
  EXPECT_EQ(members.hosts().size(), 1U);
  EXPECT_FALSE(members.is_retired(0));
}

TEST(MongoMembers, the_wire_range_is_that_of_those_that_belong_to_the_set) {
  Members members(config_with(3), {});
  static_cast<void>(members.note(1, hello(Type::secondary, 9)));
  auto primary = hello(Type::primary, 21);
  primary.hosts = {"h0:27017", "h2:27017"};
  static_cast<void>(members.note(0, primary));
  members.all_asked();
  EXPECT_EQ(members.face()->wire_max, 21);
}

TEST(MongoMembers, a_read_is_for_those_that_are_reachable_and_near) {
  Members members(config_with(3), {});
  auto primary = hello(Type::primary);
  primary.hosts = {"h0:27017", "h1:27017", "h2:27017"};
  static_cast<void>(members.note(0, primary));
  static_cast<void>(members.note(1, hello(Type::secondary)));
  static_cast<void>(members.note(2, hello(Type::secondary)));
  wire::ReadPreference preference;
  preference.mode = wire::ReadMode::secondary;
  EXPECT_EQ(members.select(preference).nearest, (std::vector<std::size_t>{1, 2}));
  members.note_round_trip(1, std::chrono::milliseconds(2));
  members.note_round_trip(2, std::chrono::milliseconds(40));
  EXPECT_EQ(members.select(preference).nearest, (std::vector<std::size_t>{1}));
  members.note_unreachable(1);
  EXPECT_EQ(members.select(preference).nearest, (std::vector<std::size_t>{2}));
  static_cast<void>(members.note(1, hello(Type::secondary)));
  EXPECT_EQ(members.select(preference).nearest, (std::vector<std::size_t>{1}));
  preference.max_staleness_seconds = 1;
  EXPECT_FALSE(members.select(preference).error.empty());
}

TEST(MongoMembers, what_is_meant_for_all_goes_to_those_that_bear_data_and_answer) {
  Members members(config_with(4), {});
  auto primary = hello(Type::primary);
  primary.hosts = {"h0:27017", "h1:27017", "h2:27017", "h3:27017"};
  static_cast<void>(members.note(0, primary));
  static_cast<void>(members.note(1, hello(Type::secondary)));
  static_cast<void>(members.note(2, hello(Type::arbiter)));
  EXPECT_EQ(members.serving(), (std::vector<std::size_t>{0, 1}));
  members.note_unreachable(1);
  EXPECT_EQ(members.serving(), std::vector<std::size_t>{0});
  Members routers(config_with(2, ""), {});
  static_cast<void>(routers.note(0, hello(Type::mongos)));
  EXPECT_TRUE(routers.serving().empty()) << "a mongos tells all by itself";
}

}  // namespace
}  // namespace holdfast::proxy::mongo

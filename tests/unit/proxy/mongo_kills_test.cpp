// Commands that concern several members, asked one after the other.
#include <gtest/gtest.h>

#include "protocol/mongo/document.hpp"
#include "protocol/mongo/reply.hpp"
#include "proxy/mongo/kills.hpp"

namespace holdfast::proxy::mongo {
namespace {

std::vector<std::int64_t> numbers_in(std::string_view body, std::string_view key) {
  std::vector<std::int64_t> numbers;
  static_cast<void>(wire::for_each(wire::find(body, key)->bytes, [&](const wire::Element& each) {
    numbers.push_back(each.integer);
    return true;
  }));
  return numbers;
}

std::string killed(std::int64_t cursor) {
  return wire::Writer().array("cursorsKilled", wire::Writer().int64("0", cursor).finish()).real("ok", 1).finish();
}

const std::string body = wire::Writer().text("killCursors", "t").array("cursors", wire::empty_document).text("$db", "shop").finish();

TEST(MongoCursorKills, each_member_is_asked_for_its_own_and_the_client_gets_one_answer) {
  CursorKills kills(body, {{std::nullopt, {1}}, {0, {2}}, {2, {3}}});
  auto question = kills.next();
  ASSERT_TRUE(question);
  EXPECT_FALSE(question->member) << "nobody knows where it is";
  EXPECT_EQ(numbers_in(question->body, "cursors"), std::vector<std::int64_t>{1});
  kills.on_reply(std::nullopt);
  EXPECT_EQ(kills.next()->member, 0U);
  kills.on_reply(killed(2));
  question = kills.next();
  EXPECT_EQ(question->member, 2U);
  EXPECT_EQ(numbers_in(question->body, "cursors"), std::vector<std::int64_t>{3});
  kills.on_reply(killed(3));
  EXPECT_FALSE(kills.next());
  EXPECT_EQ(numbers_in(kills.answer(), "cursorsKilled"), (std::vector<std::int64_t>{2, 3}));
  EXPECT_EQ(numbers_in(kills.answer(), "cursorsNotFound"), std::vector<std::int64_t>{1});
}

TEST(MongoCursorKills, a_change_of_state_is_never_told) {
  for (const int number : {wire::code::interrupted_by_state_change, wire::code::shutdown_in_progress}) {
    CursorKills kills(body, {{0, {2}}, {2, {3}}});
    kills.on_reply(wire::error_body({number, "not now"}));
    kills.on_reply(killed(3));
    EXPECT_EQ(numbers_in(kills.answer(), "cursorsNotFound"), std::vector<std::int64_t>{2});
    EXPECT_EQ(numbers_in(kills.answer(), "cursorsKilled"), std::vector<std::int64_t>{3});
  }
}

TEST(MongoCursorKills, a_refusal_is_the_answer) {
  CursorKills kills(body, {{0, {2}}, {2, {3}}});
  const auto refusal = wire::error_body({13, "not authorized"});
  kills.on_reply(refusal);
  EXPECT_FALSE(kills.next());
  EXPECT_EQ(kills.answer(), refusal);
}

TEST(MongoSessionKills, all_are_asked_and_whoever_is_the_primary_by_then_at_last) {
  SessionKills kills({0, 1, 2});
  EXPECT_EQ(kills.next(0), 1U);
  EXPECT_EQ(kills.next(2), 0U) << "it is the primary no more, and its cursors live on";
  EXPECT_EQ(kills.next(2), 2U);
  EXPECT_FALSE(kills.next(2));
}

TEST(MongoCursorKills, what_no_connection_was_to_be_had_for_lives_on) {
  CursorKills kills(wire::Writer().text("killCursors", "things").text("$db", "shop").finish(), {{0U, {7}}, {1U, {8}}});
  kills.on_all_in_use();
  kills.on_reply(std::nullopt);
  EXPECT_FALSE(kills.next());
  const auto answer = kills.answer();
  EXPECT_EQ(numbers_in(answer, "cursorsAlive"), std::vector<std::int64_t>{7});
  EXPECT_EQ(numbers_in(answer, "cursorsNotFound"), std::vector<std::int64_t>{8});
}

TEST(MongoSessionKills, one_that_cannot_be_asked_ends_it) {
  EXPECT_FALSE(SessionKills::on_reply(wire::ok_body(), "db-1"));
  const auto refusal = wire::error_body({13, "not authorized"});
  EXPECT_EQ(SessionKills::on_reply(refusal, "db-1"), refusal);
  for (const auto& none : {std::optional<std::string>(), std::optional(wire::error_body({91, "ends"}))}) {
    const auto answer = SessionKills::on_reply(none, "db-1");
    ASSERT_TRUE(answer);
    EXPECT_EQ(wire::read_reply(*answer).code, wire::code::host_unreachable);
    EXPECT_NE(wire::read_reply(*answer).message.find("db-1 could not be asked"), std::string_view::npos);
  }
}

}  // namespace
}  // namespace holdfast::proxy::mongo

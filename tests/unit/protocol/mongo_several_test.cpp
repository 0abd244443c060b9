// What several members get of one command, and the answer that comes of theirs.
#include <gtest/gtest.h>

#include "mongo_json.hpp"
#include "protocol/mongo/document.hpp"
#include "protocol/mongo/several.hpp"

namespace holdfast::mongo {
namespace {

std::string from_json(const std::string& json) {
  std::string error;
  auto made = test::bson_of_json(json, error);
  EXPECT_TRUE(made) << error;
  return made.value_or("");
}

using Numbers = std::vector<std::int64_t>;

TEST(MongoSeveral, each_member_is_sent_its_own_cursors_and_all_else_as_it_was) {
  const auto body = from_json(R"({"killCursors": "c", "cursors": [1, 2, 3], "$db": "app", "comment": "x"})");
  EXPECT_EQ(body_of_kill_cursors(body, {3, 1}),
            from_json(R"({"killCursors": "c", "cursors": [{"$numberLong": "3"}, {"$numberLong": "1"}], "$db": "app", "comment": "x"})"));
}

TEST(MongoSeveral, the_answers_about_cursors_become_one) {
  KilledCursors killed;
  EXPECT_TRUE(killed.add(from_json(
      R"({"cursorsKilled": [{"$numberLong": "1"}], "cursorsNotFound": [], "cursorsAlive": [], "cursorsUnknown": [], "ok": 1.0})")));
  EXPECT_TRUE(killed.add(from_json(
      R"({"cursorsKilled": [{"$numberLong": "3"}], "cursorsNotFound": [{"$numberLong": "2"}], "cursorsAlive": [{"$numberLong": "4"}], "ok": 1.0})")));
  killed.add_missing({5});
  EXPECT_FALSE(killed.add(from_json(R"({"ok": 0.0, "code": 13, "errmsg": "not authorized"})")));
  EXPECT_EQ(killed.body(), from_json(R"({"cursorsKilled": [{"$numberLong": "1"}, {"$numberLong": "3"}],
                                         "cursorsNotFound": [{"$numberLong": "2"}, {"$numberLong": "5"}],
                                         "cursorsAlive": [{"$numberLong": "4"}], "cursorsUnknown": [], "ok": 1.0})"));
}

TEST(MongoSeveral, sessions_of_ours_are_killed_beside_those_that_are_named) {
  const std::string theirs(16, 'a'), ours(16, 'b');
  const auto session = [](const std::string& id) { return Writer().binary("id", id, 4).finish(); };
  const auto list = [&](const std::vector<std::string>& ids) {
    Writer writer;
    for (std::size_t i = 0; i < ids.size(); ++i) writer.document(std::to_string(i), session(ids[i]));
    return Writer().array("killSessions", writer.finish()).text("$db", "admin").finish();
  };
  EXPECT_EQ(sessions_to_kill(list({theirs})), std::vector<std::string>{theirs});
  EXPECT_EQ(body_with_sessions(list({theirs}), {ours}), list({theirs, ours}));
  EXPECT_TRUE(sessions_to_kill(from_json(R"({"killAllSessions": [], "$db": "admin"})")).empty());
  for (const auto* wrong : {R"({"killSessions": "x"})", R"({"killSessions": [1, {"id": 2}]})"}) EXPECT_TRUE(sessions_to_kill(from_json(wrong)).empty());
}

TEST(MongoSeveral, operations_are_found_wherever_they_are_listed) {
  EXPECT_EQ(operations_in(from_json(R"({"inprog": [{"opid": 7}, {"desc": "none"}, {"opid": "shard:8"}], "ok": 1.0})")), Numbers{7});
  EXPECT_EQ(operations_in(from_json(R"({"cursor": {"firstBatch": [{"opid": 7}, {"opid": 9}]}})")), (Numbers{7, 9}));
  EXPECT_EQ(operations_in(from_json(R"({"cursor": {"nextBatch": [{"opid": 7}]}})")), Numbers{7});
  EXPECT_TRUE(operations_in(from_json(R"({"inprog": 1, "cursor": 2})")).empty());
}

}  // namespace
}  // namespace holdfast::mongo

// Projections by plain paths, written as JSON: what is shown of a document.
#include "protocol/mongo/projection.hpp"

#include <gtest/gtest.h>

#include "mongo_json.hpp"
#include "protocol/mongo/document.hpp"

namespace holdfast::mongo {
namespace {

std::string bson(const std::string& json) {
  std::string error;
  auto made = test::bson_of_json(json, error);
  EXPECT_TRUE(made) << error << ": " << json;
  return made.value_or("");
}

const char* const document = R"({"_id": 1, "a": 2, "b": {"c": 3, "d": {"e": 4}}, "l": [{"x": 1, "y": 2}, 5, [{"x": 6}, 7], {}], "n": null})";

struct Case {
  const char* fields;
  const char* shown;
};

TEST(MongoProjection, plain_paths_show_what_they_name) {
  for (const auto& [fields, shown] : {
           Case{R"({"a": 1})", R"({"_id": 1, "a": 2})"},
           Case{R"({"n": true, "a": 1.5})", R"({"_id": 1, "a": 2, "n": null})"},
           Case{R"({"a": 1, "_id": 0})", R"({"a": 2})"},
           Case{R"({"_id": 1})", R"({"_id": 1})"},
           Case{R"({"b.c": 1})", R"({"_id": 1, "b": {"c": 3}})"},
           Case{R"({"b.d.e": 1, "b.c": 1})", R"({"_id": 1, "b": {"c": 3, "d": {"e": 4}}})"},
           Case{R"({"b.nothing": 1, "a.inner": 1})", R"({"_id": 1, "b": {}})"},
           Case{R"({"l.x": 1})", R"({"_id": 1, "l": [{"x": 1}, [{"x": 6}], {}]})"},
           Case{R"({"a": 0, "l": false})", R"({"_id": 1, "b": {"c": 3, "d": {"e": 4}}, "n": null})"},
           Case{R"({"_id": 0})", R"({"a": 2, "b": {"c": 3, "d": {"e": 4}}, "l": [{"x": 1, "y": 2}, 5, [{"x": 6}, 7], {}], "n": null})"},
           Case{R"({"b.d": 0, "l": 0, "a.inner": 0, "_id": 1})", R"({"_id": 1, "a": 2, "b": {"c": 3}, "n": null})"},
           Case{R"({"l.x": 0, "b": 0})", R"({"_id": 1, "a": 2, "l": [{"y": 2}, 5, [{}, 7], {}], "n": null})"},
       }) {
    const auto once = project(bson(document), bson(fields));
    ASSERT_TRUE(once) << fields;
    EXPECT_EQ(*once, bson(shown)) << fields;
    EXPECT_EQ(project(*once, bson(fields)), once) << "a second time it stays the same: " << fields;
  }
}

TEST(MongoProjection, anything_else_is_left_to_servers) {
  for (const auto* fields : {R"({"l": {"$slice": 1}})", R"({"l.$": 1})", R"({"a": "text"})", R"({"a": {"b": 1}})", R"({"a": 1, "b": 0})", R"({"a": null})",
                             R"({"b": 1, "b.c": 1})", R"({"b.c": 1, "b": 1})", R"({"a": 1, "a": 1})", R"({"_id.x": 1})", R"({"a..b": 1})",
                             R"({"": 1})", R"({"a.": 1})"}) {
    EXPECT_FALSE(project(bson(document), bson(fields))) << fields;
  }
  EXPECT_FALSE(project(bson(document), empty_document));
  EXPECT_FALSE(project("no BSON", bson(R"({"a": 1})")));
}

TEST(MongoProjection, too_deep_is_too_much) {
  auto deep = Writer().int32("x", 1).finish();
  for (int i = 0; i < 300; ++i) deep = Writer().array("0", deep).finish();
  EXPECT_FALSE(project(Writer().array("l", deep).finish(), bson(R"({"l.x": 1})")));
}

TEST(MongoProjection, only_the_value_of_an_answer_is_projected) {
  const auto fields = bson(R"({"a": 1, "_id": 0})");
  EXPECT_EQ(with_projected_value(bson(R"({"lastErrorObject": {"n": 1}, "value": {"_id": 1, "a": 2, "b": 3}, "ok": 1})"), fields),
            bson(R"({"lastErrorObject": {"n": 1}, "value": {"a": 2}, "ok": 1})"));
  const auto none = bson(R"({"value": null, "ok": 1})");
  EXPECT_EQ(with_projected_value(none, fields), none);
  EXPECT_FALSE(with_projected_value(bson(R"({"value": 1, "ok": 1})"), fields));
}

}  // namespace
}  // namespace holdfast::mongo

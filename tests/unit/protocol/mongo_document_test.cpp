// Documents as they come from outside: read element by element, cut at every byte, and written so that they read the same.
#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "protocol/mongo/document.hpp"

namespace holdfast::mongo {
namespace {

std::string rich_document() {
  Writer inner, list, writer;
  inner.int32("a", 1).text("b", "two");
  list.int32("0", 7).int32("1", 8);
  return writer.int32("int", -5)
      .int64("long", 1LL << 40)
      .real("real", 2.5)
      .boolean("yes", true)
      .text("text", std::string("a\0b", 3))
      .date("when", 1234)
      .object_id("id", ObjectId{'0', '1', '2'})
      .binary("bytes", "xyz", 4)
      .document("inner", inner.finish())
      .array("list", list.finish())
      .finish();
}

TEST(MongoDocument, what_was_written_is_read) {
  const auto document = rich_document();
  std::vector<std::string> keys;
  EXPECT_EQ(for_each(document, [&](const Element& each) { return keys.emplace_back(each.key), true; }), Walk::complete);
  EXPECT_EQ(keys, (std::vector<std::string>{"int", "long", "real", "yes", "text", "when", "id", "bytes", "inner", "list"}));
  EXPECT_EQ(find(document, "int")->integer, -5);
  EXPECT_EQ(find(document, "long")->integer, 1LL << 40);
  EXPECT_TRUE(find(document, "long")->whole);
  EXPECT_EQ(find(document, "real")->real, 2.5);
  EXPECT_FALSE(find(document, "real")->whole);
  EXPECT_TRUE(find(document, "yes")->truth());
  EXPECT_EQ(find(document, "text")->bytes, std::string_view("a\0b", 3));
  EXPECT_EQ(find(document, "when")->integer, 1234);
  EXPECT_EQ(find(document, "id")->bytes.substr(0, 3), "012");
  EXPECT_EQ(find(document, "bytes")->bytes, "xyz");
  EXPECT_EQ(find(find(document, "inner")->bytes, "b")->bytes, "two");
  EXPECT_EQ(find(find(document, "list")->bytes, "1")->integer, 8);
  EXPECT_FALSE(find(document, "none"));
}

TEST(MongoDocument, elements_copied_raw_are_the_same_document) {
  const auto document = rich_document();
  Writer writer;
  EXPECT_EQ(for_each(document, [&](const Element& each) { return writer.raw(each.raw), true; }), Walk::complete);
  EXPECT_EQ(writer.finish(), document);
}

TEST(MongoDocument, is_broken_at_every_prefix_and_with_every_byte_too_many) {
  const auto document = rich_document();
  const auto walk = [](std::string_view bytes) { return for_each(bytes, [](const Element&) { return true; }); };
  for (std::size_t size = 0; size < document.size(); ++size) EXPECT_EQ(walk(document.substr(0, size)), Walk::broken) << size;
  EXPECT_EQ(walk(document + '\0'), Walk::broken);
  EXPECT_EQ(walk(document), Walk::complete);
  EXPECT_EQ(walk(empty_document), Walk::complete);
}

TEST(MongoDocument, a_length_that_disagrees_with_the_bytes_is_broken_whatever_it_is) {
  const auto document = rich_document();
  for (const std::uint32_t length : {0U, 1U, 4U, 5U, static_cast<unsigned>(document.size() - 1), static_cast<unsigned>(document.size() + 1),
                                     0x7fffffffU, 0x80000000U, 0xffffffffU}) {
    auto changed = document;
    std::memcpy(changed.data(), &length, sizeof length);
    EXPECT_EQ(for_each(changed, [](const Element&) { return true; }), Walk::broken) << length;
  }
}

TEST(MongoDocument, no_single_changed_byte_makes_it_read_outside) {
  const auto document = rich_document();
  for (std::size_t at = 0; at < document.size(); ++at) {
    for (const char value : {'\0', '\x01', '\x7f', '\xff'}) {
      auto changed = document;
      changed[at] = value;
      std::size_t seen = 0;
      static_cast<void>(for_each(changed, [&](const Element& each) {
        // Every view lies within the document: the sanitizers see to the rest.
        seen += each.key.size() + each.bytes.size();
        EXPECT_GE(each.raw.data(), changed.data());
        EXPECT_LE(each.raw.data() + each.raw.size(), changed.data() + changed.size());
        return true;
      }));
      EXPECT_LE(seen, changed.size());
    }
  }
}

TEST(MongoDocument, a_visitor_can_stop) {
  std::size_t seen = 0;
  EXPECT_EQ(for_each(rich_document(), [&](const Element&) { return ++seen < 3; }), Walk::stopped);
  EXPECT_EQ(seen, 3U);
}

}  // namespace
}  // namespace holdfast::mongo

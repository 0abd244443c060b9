// What a journal keeps, drops and takes back, and what a digest of replies tells apart.
#include "protocol/postgres/journal.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace holdfast::postgres {
namespace {

std::vector<std::string> messages(const Journal& journal) {
  std::vector<std::string> out;
  journal.each([&](std::size_t, const JournalEntry&, std::string_view message) { out.emplace_back(message); });
  return out;
}

using Texts = std::vector<std::string>;

TEST(Journal, keeps_what_was_sent_until_it_is_cleared) {
  Journal journal(100);
  journal.append('Q', "one", 1);
  journal.append('d', "", JournalEntry::no_request);
  journal.append_more("da");
  journal.append_more("ta");
  EXPECT_EQ(messages(journal), (Texts{"one", "data"}));
  EXPECT_EQ(journal.first_request(), 1U);
  EXPECT_EQ(journal.message(3, 4), "data");
  journal.clear();
  EXPECT_TRUE(journal.empty());
  EXPECT_EQ(journal.first_request(), JournalEntry::no_request);
}

TEST(Journal, marks_the_segment_that_was_answered) {
  Journal journal(100);
  for (std::uint64_t number = 1; number <= 3; ++number) journal.append('Q', "q", number);
  journal.on_answered(2, {7, 9, false});
  EXPECT_FALSE(journal[0].answered);
  EXPECT_TRUE(journal[1].answered);
  EXPECT_EQ(journal[1].given, (ReplyMark{7, 9, false}));
  EXPECT_FALSE(journal[2].answered);
}

TEST(Journal, drops_what_was_answered_outside_a_transaction_and_keeps_the_rest_however_long_that_goes_on) {
  Journal journal(64);
  journal.append('Q', "first", 0);
  for (std::uint64_t number = 1; number < 5000; ++number) {
    journal.append('Q', "query" + std::to_string(number), number);
    journal.drop_through(number - 1);
    ASSERT_EQ(messages(journal), Texts{"query" + std::to_string(number)});
    ASSERT_EQ(journal.first_request(), number);
  }
  EXPECT_FALSE(journal.overflowed()) << "only what is kept counts";
}

TEST(Journal, can_be_cut_in_the_middle_and_goes_on_as_before) {
  Journal journal(64);
  const auto add = [&](std::uint64_t number) {
    journal.append('P', "parse" + std::to_string(number), number);
    journal.append('S', "sync" + std::to_string(number), number + 1);
    journal.on_answered(number + 1, {number, number, false});
  };
  journal.append('Q', "dropped", 1);
  journal.drop_through(1);
  for (const std::uint64_t number : {2U, 4U, 6U}) add(number);
  const auto middle = journal.segment(5);
  EXPECT_EQ(middle.begin, 2U);
  EXPECT_EQ(middle.end, 4U);
  EXPECT_EQ(journal.segment(4).end, 0U) << "it ends none";
  const auto mark = journal.mark();
  journal.cut(middle.begin, middle.end);
  EXPECT_EQ(messages(journal), (Texts{"parse2", "sync2", "parse6", "sync6"}));
  EXPECT_EQ(journal[3].given, (ReplyMark{6, 6, false}));
  EXPECT_EQ(journal.message(11, 6), "parse6");
  journal.append('Q', "more", 8);
  journal.unwind(mark);
  EXPECT_EQ(messages(journal), (Texts{"parse2", "sync2", "parse6", "sync6"}));
  add(8);
  EXPECT_TRUE(journal[5].answered);
}

TEST(Journal, keeps_the_data_of_a_copy_with_its_query) {
  Journal journal(64);
  journal.append('Q', "copy", 1);
  journal.append('d', "data", JournalEntry::no_request);
  journal.append('c', "done", 2);
  journal.on_answered(1, {});
  journal.append('Q', "lock", 3);
  journal.on_answered(3, {});
  EXPECT_EQ(journal.segment(1).end, 1U);
  EXPECT_EQ(journal.segment(3).begin, 3U);
}

TEST(Journal, is_empty_from_its_limit_on_until_it_is_cleared) {
  for (const std::size_t size : {9U, 10U, 11U}) {
    Journal journal(10);
    journal.append('Q', std::string(size, 'x'), 1);
    EXPECT_EQ(journal.overflowed(), size > 10) << size;
    journal.append('Q', "y", 2);
    EXPECT_EQ(journal.overflowed(), size > 9) << size;
    EXPECT_EQ(journal.empty(), size > 9);
    journal.clear();
    journal.append('Q', "z", 3);
    EXPECT_EQ(messages(journal), Texts{"z"});
  }
  Journal off(0);
  off.append('Q', "x", 1);
  EXPECT_TRUE(off.empty());
  EXPECT_FALSE(off.enabled());
}

TEST(Journal, takes_back_what_was_never_sent) {
  Journal journal(100);
  journal.append('Q', "kept", 1);
  journal.append('d', "par", JournalEntry::no_request);
  const auto mark = journal.mark();
  journal.append_more("t");
  journal.append('Q', "gone", 2);
  journal.drop_through(1);  // answered meanwhile
  journal.unwind(mark);
  EXPECT_EQ(messages(journal), Texts{"par"});
}

TEST(ReplyDigest, tells_bytes_apart_but_not_how_they_were_cut) {
  ReplyDigest one, two, other;
  one.add("abcdef");
  two.add("abc");
  two.add("def");
  other.add("abcdeg");
  EXPECT_EQ(one.mark(), two.mark());
  EXPECT_NE(one.mark(), other.mark());
  one.reset();
  EXPECT_EQ(one.mark(), ReplyMark{});
}

/// A RowDescription of these columns.
struct Column {
  std::string name;
  std::uint32_t table = 0, number = 0, type = 23, size = 4, modifier = 0xffffffff, format = 0;
};
std::string row_description(const std::vector<Column>& columns) {
  std::string out = "T";
  const auto number = [&out](std::uint32_t value, int bytes) {
    for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8) out += static_cast<char>(value >> shift);
  };
  number(0, 4);  // its length is not looked at
  number(static_cast<std::uint32_t>(columns.size()), 2);
  for (const auto& column : columns) {
    out += column.name + '\0';
    number(column.table, 4);
    number(column.number, 2);
    number(column.type, 4);
    number(column.size, 2);
    number(column.modifier, 4);
    number(column.format, 2);
  }
  return out;
}

ReplyMark marked(const std::string& message) {
  ReplyDigest digest;
  digest.add_row_description(message);
  return digest.mark();
}

TEST(ReplyDigest, tells_row_descriptions_apart_but_not_by_the_oid_of_a_users_table) {
  const Column first{"a", 16384, 1}, second{"b", 50000, 2};
  const auto mark = marked(row_description({first, second}));
  EXPECT_EQ(mark, marked(row_description({{"a", 99999, 1}, {"b", 4000000000, 2}})));
  EXPECT_EQ(mark.bytes, row_description({first, second}).size());
  for (const auto& other : std::vector<Column>{{"c", 16384, 1}, {"a", 16383, 1}, {"a", 16384, 2}, {"a", 16384, 1, 20000},
                                               {"a", 16384, 1, 23, 8}, {"a", 16384, 1, 23, 4, 5}, {"a", 16384, 1, 23, 4, 0xffffffff, 1}}) {
    EXPECT_NE(mark, marked(row_description({other, second})));
  }
  EXPECT_NE(mark, marked(row_description({first})));
  EXPECT_NE(mark, marked(row_description({second, first})));
  EXPECT_NE(marked(row_description({{"a", 1259, 1}})), marked(row_description({{"a", 1247, 1}}))) << "the system's tables count";
}

TEST(ReplyDigest, takes_a_row_description_that_is_cut_off_as_it_stands) {
  const auto whole = row_description({{"a", 16384, 1}, {"b", 16385, 2}});
  for (std::size_t size = 1; size < whole.size(); ++size) EXPECT_EQ(marked(whole.substr(0, size)).bytes, size);
}

TEST(ReplyDigest, tells_an_error_by_its_code_alone_and_never_takes_it_for_bytes) {
  ReplyDigest error, bytes;
  error.add_error("22012");
  bytes.add("E22012");
  EXPECT_NE(error.mark(), bytes.mark());
  EXPECT_TRUE(error.mark().failed);
  error.reset();
  EXPECT_FALSE(error.mark().failed);
}

}  // namespace
}  // namespace holdfast::postgres

// Names, slots and references of a session's statements.
#include "protocol/postgres/statement_store.hpp"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "protocol/postgres/messages.hpp"

namespace holdfast::postgres {
namespace {

std::string parse_message(std::string_view name, std::string_view text) {
  std::string out;
  Writer(out, frontend::parse).cstring(name).cstring(text).i16(1).i32(23).finish();
  return out;
}

class StatementStoreTest : public ::testing::Test {
 protected:
  /// As a client's Parse does it: the name and the caller hold the statement; what the name meant is returned.
  StatementId parse(std::string_view name, std::string_view text, StatementId* previous = nullptr) {
    const auto id = store.add_parse(parse_message(name, text), name, text);
    const auto before = store.bind_name(name, id);
    if (previous) {
      *previous = before;
    } else {
      store.release(before);
    }
    return id;
  }
  StatementStore store;
};

TEST_F(StatementStoreTest, keeps_the_message_whole_and_finds_its_parts) {
  const auto id = parse("s1", "SELECT $1");
  EXPECT_EQ(store.find("s1"), id);
  EXPECT_EQ(store[id].name(), "s1");
  EXPECT_EQ(store[id].text(), "SELECT $1");
  EXPECT_EQ(store[id].message, parse_message("s1", "SELECT $1"));
  std::string query;
  write_query(query, "SELECT 2");
  const auto other = store.add_query(query, "SELECT 2");
  EXPECT_EQ(store[other].text(), "SELECT 2");
  EXPECT_EQ(store[other].name(), "");
}

TEST_F(StatementStoreTest, has_no_text_for_a_statement_too_long_to_be_kept) {
  const auto id = store.add_without_text();
  EXPECT_FALSE(store[id].has_text());
  EXPECT_EQ(store[id].text(), "");
}

TEST_F(StatementStoreTest, uses_a_slot_again_only_when_nobody_holds_it) {
  const auto id = parse("s1", "SELECT 1");
  store.drop_name("s1");
  const auto second = parse("s2", "SELECT 2");
  EXPECT_NE(second, id) << "the caller still holds the first";
  EXPECT_EQ(store[id].text(), "SELECT 1");
  store.release(id);
  EXPECT_EQ(parse("s3", "SELECT 3"), id);
  EXPECT_EQ(store[id].backend, 0U) << "nothing of the slot's last statement is left";
}

TEST_F(StatementStoreTest, gives_a_name_back_to_what_it_meant_before) {
  for (const std::string name : {"", "s1"}) {
    const auto first = parse(name, "SELECT 1");
    StatementId previous = no_statement;
    const auto second = parse(name, "SELECT 2", &previous);
    EXPECT_EQ(previous, first);
    EXPECT_EQ(store.find(name), second);
    store.rebind_name(name, previous);
    EXPECT_EQ(store.find(name), first);
    EXPECT_EQ(store[first].references, 2U);
    EXPECT_EQ(store[second].references, 1U);
  }
}

TEST_F(StatementStoreTest, a_name_that_meant_nothing_means_nothing_again) {
  for (const std::string name : {"", "s1"}) {
    StatementId previous = 0;
    parse(name, "SELECT 1", &previous);
    EXPECT_EQ(previous, no_statement);
    store.rebind_name(name, previous);
    EXPECT_EQ(store.find(name), no_statement);
  }
}

TEST_F(StatementStoreTest, dropping_all_names_keeps_the_unnamed_statement) {
  const auto unnamed = parse("", "DEALLOCATE ALL");
  parse("s1", "SELECT 1");
  parse("s2", "SELECT 2");
  std::set<std::string> names;
  store.each_name([&](const std::string& name, StatementId) { names.insert(name); });
  EXPECT_EQ(names, (std::set<std::string>{"s1", "s2"}));
  store.drop_all_names();
  EXPECT_EQ(store.names(), 0U);
  EXPECT_EQ(store.find("s1"), no_statement);
  EXPECT_EQ(store.find(""), unnamed);
}

TEST_F(StatementStoreTest, ignores_names_that_it_does_not_know) {
  store.drop_name("nothing");
  store.drop_name("");
  store.release(no_statement);
  store.hold(no_statement);
  EXPECT_EQ(store.find("nothing"), no_statement);
}

}  // namespace
}  // namespace holdfast::postgres

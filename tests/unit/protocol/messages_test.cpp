// The messages that holdfast acts on: golden bytes, and every prefix of them.
#include "protocol/postgres/messages.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

namespace holdfast::postgres {
namespace {

using namespace std::string_view_literals;

std::string_view body_of(std::string_view message) {
  Header header;
  EXPECT_EQ(read_header(message, header), HeaderResult::complete);
  EXPECT_EQ(header.size, message.size());
  return message.substr(header_size);
}

/// Every proper prefix of `body` is refused, `body` itself is not.
void expect_only_whole(std::string_view body, const std::function<bool(std::string_view)>& parse) {
  for (std::size_t size = 0; size < body.size(); ++size) {
    // A copy of its own, so that a sanitizer sees every read past the end.
    const std::vector<char> prefix(body.begin(), body.begin() + static_cast<std::ptrdiff_t>(size));
    EXPECT_FALSE(parse({prefix.data(), prefix.size()})) << size << " of " << body.size();
  }
  EXPECT_TRUE(parse(body));
}

TEST(messages, writes_an_error_whose_fields_read_back) {
  std::string out;
  write_error(out, {"ERROR", "40001", "lost", "orders: reset", "run it again"});
  EXPECT_EQ(out[0], 'E');
  const auto fields = parse_error(body_of(out));
  ASSERT_TRUE(fields);
  EXPECT_EQ(fields->severity, "ERROR");
  EXPECT_EQ(fields->code, "40001");
  EXPECT_EQ(fields->message, "lost");
  EXPECT_EQ(fields->detail, "orders: reset");
  EXPECT_FALSE(fields->ends_connection());
  expect_only_whole(body_of(out), [](std::string_view body) { return parse_error(body).has_value(); });
}

TEST(messages, leaves_out_the_fields_of_an_error_that_are_empty) {
  std::string out;
  write_notice(out, {"WARNING", "01000", "gap"});
  EXPECT_EQ(out, "N\0\0\0#SWARNING\0VWARNING\0C01000\0Mgap\0\0"sv);
}

TEST(messages, takes_the_severity_that_is_never_localized) {
  const auto fields = parse_error("SFATAAL\0VFATAL\0C57P01\0Mende\0\0"sv);
  ASSERT_TRUE(fields);
  EXPECT_EQ(fields->severity, "FATAL");
  EXPECT_TRUE(fields->ends_connection());
  const auto old = parse_error("SPANIC\0CXX000\0\0"sv);
  ASSERT_TRUE(old);
  EXPECT_TRUE(old->ends_connection());
  EXPECT_TRUE(parse_error("\0"sv)) << "an error without any field is well formed";
}

TEST(messages, writes_the_short_messages_byte_by_byte) {
  std::string out;
  write_ready_for_query(out, 'T');
  EXPECT_EQ(out, "Z\0\0\0\5T"sv);
  out.clear();
  write_command_complete(out, "ROLLBACK");
  EXPECT_EQ(out, "C\0\0\0\rROLLBACK\0"sv);
  EXPECT_EQ(command_tag(body_of(out)), "ROLLBACK");
  out.clear();
  write_empty(out, backend::parse_complete);
  write_sync(out);
  EXPECT_EQ(out, "1\0\0\0\4S\0\0\0\4"sv);
  out.clear();
  write_query(out, "SELECT 1");
  EXPECT_EQ(out, "Q\0\0\0\rSELECT 1\0"sv);
}

TEST(messages, reads_a_parameter_status_only_whole) {
  std::string out;
  write_parameter_status(out, "TimeZone", "UTC");
  const auto parameter = parse_parameter_status(body_of(out));
  ASSERT_TRUE(parameter);
  EXPECT_EQ(parameter->first, "TimeZone");
  EXPECT_EQ(parameter->second, "UTC");
  expect_only_whole(body_of(out), [](std::string_view body) { return parse_parameter_status(body).has_value(); });
  EXPECT_FALSE(parse_parameter_status("a\0b\0c"sv));
}

TEST(messages, reads_the_columns_of_a_row_only_whole) {
  std::string out;
  Writer(out, backend::data_row).i16(3).i32(1).bytes("a").i32(-1).i32(0).finish();
  std::vector<std::optional<std::string_view>> columns;
  ASSERT_TRUE(parse_data_row(body_of(out), columns));
  ASSERT_EQ(columns.size(), 3U);
  EXPECT_EQ(columns[0], "a");
  EXPECT_EQ(columns[1], std::nullopt);
  EXPECT_EQ(columns[2], "");
  expect_only_whole(body_of(out), [&](std::string_view body) { return parse_data_row(body, columns); });
  EXPECT_FALSE(parse_data_row("\0\1\x7f\xff\xff\xff"sv, columns)) << "a length past the end";
  EXPECT_FALSE(parse_data_row("\0\0x"sv, columns)) << "a byte left over";
}

TEST(messages, reads_names_and_texts_of_the_extended_protocol) {
  std::string out;
  Writer(out, frontend::parse).cstring("s1").cstring("SELECT $1").i16(1).i32(23).finish();
  const auto parse = parse_parse(body_of(out));
  ASSERT_TRUE(parse);
  EXPECT_EQ(parse->name, "s1");
  EXPECT_EQ(parse->text, "SELECT $1");
  EXPECT_FALSE(parse_parse("s1\0SELECT"sv));
  EXPECT_FALSE(parse_parse(""));

  out.clear();
  Writer(out, frontend::bind).cstring("p").cstring("s1").i16(0).i16(0).i16(0).finish();
  const auto bind = parse_bind(body_of(out));
  ASSERT_TRUE(bind);
  EXPECT_EQ(bind->portal, "p");
  EXPECT_EQ(bind->statement, "s1");
  EXPECT_FALSE(parse_bind("p\0s"sv));
  EXPECT_FALSE(parse_bind(""));
}

TEST(messages, knows_statements_and_portals_as_targets_and_nothing_else) {
  const auto target = parse_target("Sname\0"sv);
  ASSERT_TRUE(target);
  EXPECT_EQ(target->kind, 'S');
  EXPECT_EQ(target->name, "name");
  EXPECT_TRUE(parse_target("P\0"sv));
  EXPECT_FALSE(parse_target("Xname\0"sv));
  expect_only_whole("Sname\0"sv, [](std::string_view body) { return parse_target(body).has_value(); });
}

TEST(messages, runs_a_statement_of_its_own_and_leaves_nothing_behind) {
  std::string out;
  write_statement(out, "own", "SELECT $1", {"va", ""});
  EXPECT_EQ(out, "P\0\0\0\x14own\0SELECT $1\0\0\0"
                 "B\0\0\0\x1cown\0own\0\0\0\0\2\0\0\0\2va\0\0\0\0\0\0"
                 "E\0\0\0\x0cown\0\0\0\0\0"
                 "C\0\0\0\x09Pown\0"
                 "C\0\0\0\x09Sown\0"sv);
}

}  // namespace
}  // namespace holdfast::postgres

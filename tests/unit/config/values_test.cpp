// How durations, sizes and listen addresses are written, and what is refused.
#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "config/load.hpp"

namespace holdfast::config {
namespace {

using namespace std::chrono_literals;

TEST(Duration, is_a_number_with_a_unit) {
  const std::pair<const char*, milliseconds> rows[] = {
      {"250ms", 250ms}, {"5s", 5s},      {"1m", 60s},      {"2h", 2h},        {"0", 0ms},    {"0s", 0ms},       {"0ms", 0ms},
      {"1.5s", 1500ms}, {"0.5ms", 1ms},  {"0.25m", 15s},   {"007s", 7s},      {"100h", 100h}, {"1000000s", 1'000'000s}};
  for (const auto& [text, expected] : rows) EXPECT_EQ(parse_duration(text), expected) << text;
}

TEST(Duration, refuses_a_bare_number_but_zero_and_everything_else) {
  for (const char* text : {"", "5", "00", "0.0", "s", "ms", "-1s", "-0s", "+1s", "5 s", " 5s", "5s ", "5S", "5sec", "5d", "5us", "1m30s",
                           "1e3s", "0x5s", "1,5s", "nanms", "nan", "infs", "-infs", "inf", "infinitys", "999999999999h", "1..5s", "5s\n"}) {
    EXPECT_FALSE(parse_duration(text)) << text;
  }
}

TEST(Size, is_a_number_of_bytes_with_or_without_a_unit) {
  const std::pair<const char*, std::size_t> rows[] = {{"4096", 4096}, {"0", 0},           {"64KiB", 65'536},     {"1MiB", 1'048'576},
                                                      {"12B", 12},    {"1.5KiB", 1'536}, {"2GiB", 2'147'483'648}};
  for (const auto& [text, expected] : rows) EXPECT_EQ(parse_size(text), expected) << text;
}

TEST(Size, refuses_other_units_signs_and_what_is_no_number) {
  for (const char* text : {"", "KiB", "64 KiB", "64K", "64kib", "64KB", "64k", "-1", "-0", "+1", "1e3", "0x10", "nan", "inf", "nanKiB", "infGiB", "-inf",
                           "99999999GiB", " 1", "1 ", "1TiB"}) {
    EXPECT_FALSE(parse_size(text)) << text;
  }
}

TEST(ListenAddress, is_a_host_and_port_or_a_sockets_path) {
  struct Row {
    const char* text;
    ListenAddress address;
    const char* shown;
  };
  const Row rows[] = {{"127.0.0.1:6432", {"127.0.0.1", 6432, {}}, "127.0.0.1:6432"},
                      {"[::1]:6432", {"::1", 6432, {}}, "[::1]:6432"},
                      {"[::]:6432", {"::", 6432, {}}, "[::]:6432"},
                      {"0.0.0.0:1", {"0.0.0.0", 1, {}}, "0.0.0.0:1"},
                      {"localhost:65535", {"localhost", 65535, {}}, "localhost:65535"},
                      {"127.0.0.1:0", {"127.0.0.1", 0, {}}, "127.0.0.1:0"},
                      {"*:6432", {"*", 6432, {}}, "*:6432"},
                      {"unix:/run/holdfast/.s.PGSQL.6432", {"", 0, "/run/holdfast/.s.PGSQL.6432"}, "unix:/run/holdfast/.s.PGSQL.6432"}};
  for (const auto& row : rows) {
    std::string error;
    const auto parsed = parse_listen(row.text, error);
    ASSERT_TRUE(parsed) << row.text << ": " << error;
    EXPECT_EQ(*parsed, row.address) << row.text;
    EXPECT_EQ(parsed->to_string(), row.shown);
  }
}

TEST(ListenAddress, refuses_what_is_none_with_a_sentence) {
  const std::string long_path = "unix:/" + std::string(107, 'x');
  for (const std::string& text :
       {std::string(), std::string("6432"), std::string("127.0.0.1"), std::string(":6432"), std::string("127.0.0.1:"),
        std::string("127.0.0.1:65536"), std::string("127.0.0.1:-1"), std::string("127.0.0.1:+1"), std::string("127.0.0.1:64x"),
        std::string("127.0.0.1: 6432"), std::string("127.0.0.256:1"), std::string("example.com:6432"), std::string("[::1]"),
        std::string("[::g]:1"), std::string("[::1:1"), std::string("unix:"), std::string("unix:relative"), long_path,
        std::string("127.0.0.1:4294967296"), std::string("127.0.0.1:99999999999999999999")}) {
    std::string error;
    EXPECT_FALSE(parse_listen(text, error)) << text;
    EXPECT_GT(error.size(), 15U) << text;
  }
}

TEST(ListenAddress, takes_a_sockets_path_of_107_bytes_and_no_more) {
  std::string error;
  EXPECT_TRUE(parse_listen("unix:/" + std::string(106, 'x'), error));
  EXPECT_FALSE(parse_listen("unix:/" + std::string(107, 'x'), error));
}

TEST(ListenAddress, is_local_only_where_no_other_machine_can_reach_it) {
  for (const char* text : {"127.0.0.1:1", "127.8.9.10:1", "localhost:1", "[::1]:1", "unix:/run/s"}) {
    std::string error;
    EXPECT_TRUE(parse_listen(text, error)->is_local()) << text;
  }
  for (const char* text : {"0.0.0.0:1", "*:1", "[::]:1", "10.0.0.1:1", "[fe80::1]:1", "128.0.0.1:1", "1.27.0.0:1"}) {
    std::string error;
    EXPECT_FALSE(parse_listen(text, error)->is_local()) << text;
  }
}

TEST(HostPort, shows_an_ipv6_address_in_brackets) {
  EXPECT_EQ((HostPort{"db", 5432}.to_string()), "db:5432");
  EXPECT_EQ((HostPort{"::1", 5432}.to_string()), "[::1]:5432");
}

TEST(Mistake, stands_at_file_line_and_column_or_at_its_origin) {
  EXPECT_EQ((Mistake{"a.yaml", 3, 7, "wrong"}.to_string()), "a.yaml:3:7: wrong");
  EXPECT_EQ((Mistake{"--set x", 0, 0, "wrong"}.to_string()), "--set x: wrong");
}

}  // namespace
}  // namespace holdfast::config

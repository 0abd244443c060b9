// Every mistake is a line of its own at its place, and nothing that a file can hold makes the reader throw.
#include <gtest/gtest.h>

#include <string>

#include "loading.hpp"

namespace holdfast::config {
namespace {

using namespace std::string_literals;
using Lines = std::vector<std::string>;

TEST(Mistakes, five_are_five_lines_with_file_line_and_column) {
  const Folder folder;
  const auto loaded = load_text(folder,
                                "admin:\n  listen: 127.0.0.1:9930\nreconnect:\n  max_retries: many\n  retry_dealy: 5s\n  jitter: 2\n"
                                "connections:\n  - id: orders\n    type: postgres\n    listen: 127.0.0.1:99999\n"
                                "    upstream: postgres://app:hunter-2-secret@db/app?sslmode=sometimes\n");
  ASSERT_EQ(loaded.mistakes.size(), 5U) << all_lines(loaded);
  const std::string file = folder.at("holdfast.yaml");
  const char* places[] = {":4:16: reconnect.max_retries", ":5:3: unknown key \"reconnect.retry_dealy\"; did you mean \"retry_delay\"?",
                          ":6:11: reconnect.jitter", ":10:13: connections.orders.listen", ":11:15: connections.orders.upstream"};
  for (std::size_t i = 0; i < 5; ++i) {
    EXPECT_TRUE(loaded.mistakes[i].to_string().starts_with(file + places[i])) << loaded.mistakes[i].to_string();
  }
}

TEST(Mistakes, unknown_keys_are_told_in_every_section) {
  const auto found = mistakes("nonsense: 1\nadmin: {nonsense: 1}\nlog: {nonsense: 1}\nreconnect: {nonsense: 1}\nhealth: {nonsense: 1}\n"
                              "notify: [{url: http://h, nonsense: 1}]\n" +
                              one_connection("    nonsense: 1\n    reconnect: {nonsense: 1}\n    health: {nonsense: 1}\n"
                                             "    auth_query: {sql: s, user: u, nonsense: 1}\n"));
  EXPECT_EQ(found.size(), 10U);
  for (const auto& line : found) EXPECT_NE(line.find("unknown key"), std::string::npos) << line;
}

TEST(Mistakes, a_key_near_a_known_one_is_proposed_and_one_far_away_is_not) {
  EXPECT_EQ(mistakes("worker: 1\n" + one_connection())[0], "1:1: unknown key \"worker\"; did you mean \"workers\"?");
  EXPECT_EQ(mistakes("entirely_else: 1\n" + one_connection())[0], "1:1: unknown key \"entirely_else\"");
}

TEST(Mistakes, a_key_that_stands_twice_is_one) {
  const auto found = mistakes("workers: 1\nworkers: 2\n" + one_connection());
  ASSERT_EQ(found.size(), 1U);
  EXPECT_TRUE(found[0].starts_with("2:1:")) << found[0];
}

TEST(Mistakes, an_id_or_an_address_that_stands_twice_is_told_at_the_second) {
  const auto twice = one_connection() + "  - id: orders\n    type: postgres\n    listen: 127.0.0.1:6432\n    upstream: postgres://db\n";
  EXPECT_EQ(mistakes(twice), (Lines{"6:9: the id \"orders\" stands here twice", "8:13: orders: 127.0.0.1:6432 is listened on twice"}));
  EXPECT_EQ(mistakes("admin: {listen: 127.0.0.1:6432}\n" + one_connection()),
            (Lines{"5:13: orders: 127.0.0.1:6432 is listened on twice"}));
}

std::string listening(const std::string& first, const std::string& second) {
  return "connections:\n  - {id: a, type: postgres, upstream: \"postgres://db\", listen: \"" + first +
         "\"}\n  - {id: b, type: postgres, upstream: \"postgres://db\", listen: \"" + second + "\"}\n";
}

TEST(Mistakes, an_address_that_another_one_covers_is_told_at_the_second) {
  const std::pair<const char*, const char*> covered[] = {{"*:1", "127.0.0.1:1"},         {"10.0.0.1:1", "*:1"}, {"0.0.0.0:1", "*:1"}, {"localhost:1", "127.0.0.1:1"},
                                                         {"[::]:1", "[::1]:1"},          {"[fe80::2]:1", "[::]:1"}, {"[::1]:1", "[0::1]:1"}, {"0.0.0.0:1", "localhost:1"}};
  for (const auto& [first, second] : covered) {
    EXPECT_EQ(mistakes(listening(first, second)),
              Lines{"3:64: b: " + std::string(second) + " cannot be listened on beside " + first});
  }
  EXPECT_EQ(mistakes("admin: {listen: 127.0.0.1:6432}\nconnections:\n  - {id: a, type: postgres, upstream: \"postgres://db\", listen: \"*:6432\"}\n"),
            Lines{"3:64: a: *:6432 cannot be listened on beside 127.0.0.1:6432"});
}

TEST(Mistakes, addresses_that_can_be_had_side_by_side_are_none) {
  const std::pair<const char*, const char*> apart[] = {{"*:1", "127.0.0.1:2"}, {"127.0.0.1:1", "127.0.0.2:1"}, {"*:0", "127.0.0.1:0"}, {"*:1", "[::1]:1"},
                                                       {"*:1", "unix:/run/s"}, {"127.0.0.1:1", "[::1]:1"}};
  for (const auto& [first, second] : apart) EXPECT_EQ(mistakes(listening(first, second)), Lines{}) << first << ' ' << second;
}

// Sockets handed over by systemd may be of IPv6 alone, and so may all of a machine: what the kernel will say is not known here.
TEST(Mistakes, all_of_ipv6_beside_an_address_of_ipv4_is_a_warning) {
  const std::pair<const char*, const char*> both[] = {{"[::]:1", "*:1"}, {"127.0.0.1:1", "[::]:1"}};
  for (const auto& [first, second] : both) {
    const Folder folder;
    const auto loaded = load_text(folder, listening(first, second));
    EXPECT_TRUE(loaded.ok()) << all_lines(loaded);
    ASSERT_EQ(loaded.warnings.size(), 1U);
    EXPECT_EQ(loaded.warnings[0].message, "b: " + std::string(second) + " can be listened on beside " + first +
                                              " only where IPv6 sockets take no IPv4 (net.ipv6.bindv6only)");
  }
}

TEST(Mistakes, text_between_braces_that_needs_quotes_is_told_so) {
  const std::string hint = " (text with ? , or # between braces needs quotes)";
  const std::string start = "connections:\n  - {id: a, type: mongodb, listen: \"127.0.0.1:1\", upstream: mongodb://";
  EXPECT_EQ(mistakes(start + "a:1/?replicaSet=x}\n"), Lines{"2:75: unknown token" + hint});
  EXPECT_EQ(mistakes(start + "a:1/ #x}\n"), Lines{"3:1: end of map flow not found" + hint});
  EXPECT_EQ(mistakes(start + "u:p,w@a:1/}\n").back(), "2:75: no key of connections.a" + hint) << "a piece of a password is not shown";
  EXPECT_EQ(mistakes("a: %b\n"), Lines{"1:4: unknown token"}) << "no braces";
}

TEST(Mistakes, what_a_connection_needs_is_told_for_each_thing_that_is_missing) {
  EXPECT_EQ(mistakes("connections:\n  - {}\n").size(), 4U);
  EXPECT_EQ(mistakes("connections:\n  - {id: a, type: postgres, listen: \"127.0.0.1:1\"}\n").size(), 1U);
  EXPECT_EQ(mistakes("connections:\n  - {id: a, type: postgres, upstream: \"postgres://db\"}\n").size(), 1U);
  EXPECT_EQ(mistakes("connections:\n  - {id: a, listen: \"127.0.0.1:1\", upstream: \"postgres://db\"}\n").size(), 1U);
}

TEST(Mistakes, an_upstream_of_the_other_kind_is_one) {
  EXPECT_EQ(mistakes(one_connection("", "mongodb://db/app")).size(), 1U);
  EXPECT_EQ(mistakes("connections:\n  - {id: a, type: mongodb, listen: \"127.0.0.1:1\", upstream: \"postgres://db\"}\n").size(), 1U);
}

TEST(Mistakes, text_that_is_no_yaml_is_one_with_its_place) {
  for (const std::string& text : {"a: [1, 2\n"s, "\"\n"s, "a: b: c\n"s, "a: *nobody\n"s, "- a\n b\n"s, "{"s, "\tkey: 1\n"s}) {
    const auto found = mistakes(text);
    ASSERT_EQ(found.size(), 1U) << text;
    EXPECT_TRUE(found[0].find_first_of("123456789") == 0) << found[0];
  }
}

TEST(Mistakes, no_file_however_odd_is_taken_or_makes_it_throw) {
  for (const std::string& text :
       {""s, "\n"s, "~"s, "7"s, "- a\n- b\n"s, "\0\0"s, "\xff\xfe"s, "a: &a [*a]\n"s, "&a {a: *a}\n"s, "connections: &c [*c]\n"s,
        "connections: []\n"s, "connections: 7\n"s, "connections: [7, null, []]\n"s, "connections: [{reconnect: 5}]\n"s,
        "? [a, b]\n: 1\n"s, "<<: {a: b}\n"s, "connections: [{id: [1], type: {}, listen: {}, upstream: []}]\n"s,
        "connections: [{id: a, users: [5, [], {name: []}]}]\n"s, "admin: 5\nlog: []\nreconnect: x\nhealth: 1\nnotify: 1\n"s,
        "connections: [{type: mongodb, reconnect: 5}]\n"s, "connections: [{type: mongodb, reconnect: []}]\n"s,
        std::string(2'000, '['), std::string(2'000, '{'), "a: "s + std::string(100'000, 'x')}) {
    EXPECT_NO_THROW(EXPECT_FALSE(mistakes(text).empty()) << text.substr(0, 40)) << text.substr(0, 40);
    const Environment everything{{"DB_MAX_RETRIES", "3"}, {"HOLDFAST_ADMIN_LISTEN", "off"}, {"HOLDFAST_LOG_LEVEL", "info"}};
    EXPECT_NO_THROW(EXPECT_FALSE(mistakes(text, everything, {"connections.a.reconnect.max_retries=1", "a=1"}).empty()))
        << text.substr(0, 40);
  }
}

TEST(Mistakes, every_prefix_of_a_good_file_is_read_without_throwing) {
  const auto text = "admin: {listen: off}\nreconnect: {retry_delay: 1s}\n" + one_connection("    users: []\n    health: {interval: 1s}\n");
  for (std::size_t length = 0; length <= text.size(); ++length) {
    EXPECT_NO_THROW((void)mistakes(text.substr(0, length), {{"DB_MAX_RETRIES", "3"}})) << length;
  }
}

TEST(Mistakes, a_file_that_is_not_there_or_is_a_folder_is_one_that_names_it) {
  const Folder folder;
  for (const auto& path : {folder.at("nothing.yaml"), folder.at("")}) {
    Sources sources;
    sources.file = path;
    const auto loaded = load(sources);
    ASSERT_EQ(loaded.mistakes.size(), 1U) << path;
    EXPECT_EQ(loaded.mistakes[0].origin, path);
    EXPECT_NE(loaded.mistakes[0].message.find("cannot read"), std::string::npos) << loaded.mistakes[0].message;
  }
}

TEST(Mistakes, neither_a_file_nor_an_upstream_is_one_that_says_what_to_give) {
  const auto loaded = load({});
  ASSERT_EQ(loaded.mistakes.size(), 1U);
  EXPECT_NE(loaded.mistakes[0].message.find("--upstream"), std::string::npos);
}

}  // namespace
}  // namespace holdfast::config

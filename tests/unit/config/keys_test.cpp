// Every key outside the connections: its default, a value of its own, and values out of bounds.
#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "loading.hpp"

namespace holdfast::config {
namespace {

using namespace std::chrono_literals;
using testing::Test;

TEST(Keys, left_out_they_have_the_documented_defaults) {
  const auto config = good(one_connection());
  ASSERT_TRUE(config.admin.listen);
  EXPECT_EQ(config.admin.listen->to_string(), "127.0.0.1:9930");
  EXPECT_TRUE(config.admin.token.empty());
  EXPECT_FALSE(config.admin.tls);
  EXPECT_TRUE(config.notify.empty());
  EXPECT_EQ(config.log, (Log{LogLevel::info, LogFormat::text}));
  EXPECT_EQ(config.workers, 1U);
  EXPECT_EQ(config.drain_timeout, 25s);
  EXPECT_EQ(config.reconnect.max_retries, 3U);
  EXPECT_EQ(config.reconnect.retry_delay, 5s);
  EXPECT_EQ(config.reconnect.multiplier, 2);
  EXPECT_EQ(config.reconnect.max_delay, 60s);
  EXPECT_EQ(config.reconnect.jitter, 0.2);
  EXPECT_EQ(config.reconnect.connection_timeout, 10s);
  EXPECT_EQ(config.reconnect.keep_alive_interval, 60s);
  EXPECT_EQ(config.reconnect.hang_timeout, 5s);
  EXPECT_EQ(config.reconnect.probe_interval, 100ms);
  EXPECT_EQ(config.reconnect.hold_timeout, 60s);
  EXPECT_EQ(config.reconnect.concurrency, 16U);
  EXPECT_EQ(config.health.interval, 30s);
  EXPECT_EQ(config.health.timeout, 5s);
  EXPECT_EQ(config.health.failures, 3U);
}

TEST(Keys, of_reconnect_take_their_values) {
  const auto config = good("reconnect:\n  max_retries: 7\n  retry_delay: 1s\n  multiplier: 1.5\n  max_delay: 30s\n  jitter: 0\n"
                           "  connection_timeout: 3s\n  keep_alive_interval: 20s\n  hang_timeout: 2s\n  probe_interval: 50ms\n"
                           "  hold_timeout: 90s\n  concurrency: 4\n" + one_connection());
  const Reconnect expected{7, 1s, 1.5, 30s, 0, 3s, 20s, 2s, 50ms, 90s, 4};
  EXPECT_EQ(config.reconnect, expected);
  EXPECT_EQ(config.connections.front().reconnect, expected);
}

TEST(Keys, of_health_take_their_values) {
  const auto config = good("health: {interval: 10s, timeout: 1s, failures: 5}\n" + one_connection());
  EXPECT_EQ(config.health, (Health{10s, 1s, 5}));
  EXPECT_EQ(config.connections.front().health, (Health{10s, 1s, 5}));
}

TEST(Keys, of_log_take_each_word) {
  const std::pair<const char*, LogLevel> levels[] = {
      {"debug", LogLevel::debug}, {"info", LogLevel::info}, {"warn", LogLevel::warn}, {"error", LogLevel::error}};
  for (const auto& [word, level] : levels) {
    EXPECT_EQ(good("log: {level: " + std::string(word) + "}\n" + one_connection()).log.level, level);
  }
  EXPECT_EQ(good("log: {format: json}\n" + one_connection()).log.format, LogFormat::json);
  EXPECT_EQ(good("log: {format: text}\n" + one_connection()).log.format, LogFormat::text);
}

TEST(Keys, at_the_top_take_their_values) {
  const auto config = good("workers: 0\ndrain_timeout: 1m\n" + one_connection());
  EXPECT_EQ(config.workers, 0U);
  EXPECT_EQ(config.drain_timeout, 60s);
}

TEST(Keys, of_admin_take_an_address_a_token_and_tls) {
  const Folder folder;
  const auto token = folder.write("token", "t0ken\n"), cert = folder.write("cert", "c"), key = folder.write("key", "k");
  const auto config = good("admin:\n  listen: 0.0.0.0:9931\n  token_file: " + token + "\n  tls: {cert_file: " + cert +
                           ", key_file: " + key + ", client_ca_file: " + cert + "}\n" + one_connection());
  EXPECT_EQ(config.admin.listen->to_string(), "0.0.0.0:9931");
  EXPECT_EQ(config.admin.token.reveal(), "t0ken");
  EXPECT_EQ(config.admin.token_file, token);
  EXPECT_EQ(config.admin.tls, (TlsFiles{cert, key, cert}));
}

TEST(Keys, of_admin_may_turn_the_port_off) { EXPECT_FALSE(good("admin: {listen: off}\n" + one_connection()).admin.listen); }

TEST(Keys, of_notify_take_a_list_of_addresses_with_events_and_a_secret) {
  const Folder folder;
  const auto secret = folder.write("secret", "s3cret\n");
  const auto config = good("notify:\n  - url: https://hooks.example/a\n    events: [database-connection-lost, config-changed]\n"
                           "    secret_file: " + secret + "\n  - {url: https://hooks.example/b}\n" + one_connection());
  ASSERT_EQ(config.notify.size(), 2U);
  EXPECT_EQ(config.notify[0].url, "https://hooks.example/a");
  EXPECT_EQ(config.notify[0].events, (std::vector<std::string>{"database-connection-lost", "config-changed"}));
  EXPECT_EQ(config.notify[0].secret.reveal(), "s3cret");
  EXPECT_TRUE(config.notify[1].events.empty());
}

TEST(Keys, of_notify_want_an_address_and_events_that_there_are) {
  for (const char* url : {"hooks.example", "ftp://h", "'http://'", "http://:80/", "'http://h:'", "http://h:x/", "http://u:hush@h/", "'http://h/a b'"}) {
    const auto found = mistakes(std::string("notify: [{url: ") + url + "}]\n" + one_connection());
    ASSERT_EQ(found.size(), 1U) << url;
    EXPECT_NE(found[0].find("notify.url: must be http://HOST"), std::string::npos) << found[0];
    EXPECT_EQ(found[0].find("hush"), std::string::npos);
  }
  for (const char* url : {"http://h", "'https://h:1/x?y'", "'http://[::1]:8/x'", "'http://[::1]'"}) {
    EXPECT_EQ(good(std::string("notify: [{url: ") + url + "}]\n" + one_connection()).notify.size(), 1U) << url;
  }
  const auto found = mistakes("notify: [{url: http://h, events: [database-lost]}]\n" + one_connection());
  ASSERT_EQ(found.size(), 1U);
  EXPECT_NE(found[0].find("there is no event \"database-lost\"; there are database-connected, "), std::string::npos) << found[0];
}

TEST(Keys, out_of_bounds_are_one_mistake_each_that_names_the_key) {
  const std::pair<const char*, const char*> rows[] = {
      {"reconnect", "max_retries: 0"},         {"reconnect", "max_retries: -1"},       {"reconnect", "max_retries: 1.5"},
      {"reconnect", "max_retries: 4294967297"}, {"reconnect", "retry_delay: 5"},       {"reconnect", "retry_delay: 0s"},
      {"reconnect", "retry_delay: nans"},      {"reconnect", "multiplier: 0.5"},       {"reconnect", "multiplier: nan"},
      {"reconnect", "multiplier: 101"},        {"reconnect", "max_delay: 0"},          {"reconnect", "jitter: 1.1"},
      {"reconnect", "jitter: -0.1"},           {"reconnect", "jitter: nan"},           {"reconnect", "jitter: inf"},
      {"reconnect", "connection_timeout: 0"},  {"reconnect", "keep_alive_interval: 1ms"}, {"reconnect", "hang_timeout: 1ms"},
      {"reconnect", "probe_interval: 0"},      {"reconnect", "hold_timeout: -1s"},     {"reconnect", "concurrency: 0"},
      {"health", "interval: 0"},               {"health", "timeout: 1ms"},             {"health", "failures: 0"},
      {"log", "level: loud"},                  {"log", "format: xml"},                 {"admin", "listen: 127.0.0.1"},
      {"reconnect", "max_retries: [1]"},       {"health", "interval: {a: 1s}"},        {"admin", "token_file: /no/such/file"}};
  for (const auto& [section, line] : rows) {
    const auto found = mistakes(std::string(section) + ":\n  " + line + "\n" + one_connection());
    const auto key = std::string(section) + "." + std::string(line).substr(0, std::string(line).find(':'));
    ASSERT_EQ(found.size(), 1U) << line;
    EXPECT_TRUE(found[0].starts_with("2:") && found[0].find(key) != std::string::npos) << found[0];
  }
}

TEST(Keys, at_the_top_out_of_bounds_are_mistakes) {
  for (const char* line : {"workers: 1025", "workers: -1", "workers: many", "drain_timeout: 25", "notify: {}", "notify: [{}]",
                           "connections: {}"}) {
    const auto text = std::string(line).starts_with("connections") ? std::string(line) + "\n" : line + ("\n" + one_connection());
    EXPECT_FALSE(mistakes(text).empty()) << line;
  }
}

TEST(Keys, an_empty_section_is_its_defaults) {
  const auto config = good("admin:\nlog:\nreconnect:\nhealth:\nnotify: []\n" + one_connection());
  EXPECT_EQ(config.reconnect, Reconnect{});
  EXPECT_EQ(config.health, Health{});
}

TEST(Keys, an_admin_port_that_others_can_reach_needs_a_token) {
  for (const char* address : {"0.0.0.0:9930", "\"*:9930\"", "\"[::]:9930\"", "10.0.0.1:9930"}) {
    const auto found = mistakes("admin: {listen: " + std::string(address) + "}\n" + one_connection());
    ASSERT_EQ(found.size(), 1U) << address;
    EXPECT_NE(found[0].find("token_file"), std::string::npos);
  }
  EXPECT_TRUE(mistakes("admin: {listen: \"[::1]:9930\"}\n" + one_connection()).empty());
}

TEST(Keys, an_empty_token_is_no_token) {
  const Folder folder;
  EXPECT_EQ(mistakes("admin: {listen: 0.0.0.0:9930, token_file: " + folder.write("token", "\n") + "}\n" + one_connection()).size(), 1U);
}

}  // namespace
}  // namespace holdfast::config

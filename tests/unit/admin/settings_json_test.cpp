// Settings as they are shown and changed: bounds, every bad field, what differs from the file, and no secret.
#include "admin/settings_json.hpp"

#include <gtest/gtest.h>

#include <boost/json.hpp>

namespace holdfast::admin {
namespace {

namespace json = boost::json;
using config::milliseconds;

config::Config two() {
  config::Config config;
  for (const auto* id : {"orders", "stock"}) {
    config::Connection connection;
    connection.id = id;
    connection.upstream = "postgres://app:***@db:5432/app";
    config.connections.push_back(connection);
  }
  config.connections[1].reconnect.retry_delay = milliseconds(100);
  return config;
}

json::object shown(const config::Config& running, const config::Config& file) {
  return json::parse(settings_json({running, file})).as_object();
}

std::vector<std::string> bad_fields(std::string_view body) {
  auto config = two();
  std::vector<std::string> names;
  for (const auto& bad : change_settings(body, config)) {
    EXPECT_FALSE(bad.message.empty());
    names.push_back(bad.field);
  }
  return names;
}

using Names = std::vector<std::string>;

TEST(AdminSettings, are_shown_in_the_words_of_the_file) {
  auto config = two();
  config.connections[0].health.interval = milliseconds(90'000);
  config.connections[0].reconnect.hold_timeout = milliseconds(0);
  config.watch_files = true;
  const auto all = shown(config, config);
  EXPECT_EQ(all.at("drain_timeout"), "25s");
  EXPECT_EQ(all.at("watch_files"), true);
  EXPECT_EQ(all.at("reconnect").at("jitter"), 0.2);
  const auto& orders = all.at("connections").at("orders");
  EXPECT_EQ(orders.at("reconnect").at("max_retries"), 3);
  EXPECT_EQ(orders.at("reconnect").at("probe_interval"), "100ms");
  EXPECT_EQ(orders.at("reconnect").at("max_delay"), "1m");
  EXPECT_EQ(orders.at("reconnect").at("hold_timeout"), "0s");
  EXPECT_EQ(orders.at("health").at("interval"), "90s");
  EXPECT_EQ(orders.at("differs_from_file"), json::object());
  EXPECT_EQ(all.at("connections").at("stock").at("reconnect").at("retry_delay"), "100ms");
}

TEST(AdminSettings, of_one_type_of_connection_only_are_shown_for_that_type) {
  auto config = two();
  auto& stock = config.connections[1];
  stock.type = config::ConnectionType::mongodb;
  stock.pool_max = 7;
  stock.upgrade_writes = false;
  const auto all = shown(config, config);
  const auto& postgres = all.at("connections").at("orders").as_object();
  const auto& mongodb = all.at("connections").at("stock").as_object();
  EXPECT_EQ(mongodb.at("face"), "auto");
  EXPECT_EQ(mongodb.at("pool"), "shared");
  EXPECT_EQ(mongodb.at("pool_max"), 7);
  EXPECT_EQ(mongodb.at("pool_idle_timeout"), "10m");
  EXPECT_EQ(mongodb.at("upgrade_writes"), false);
  for (const auto* key : {"face", "pool", "pool_max", "pool_idle_timeout", "upgrade_writes"}) EXPECT_FALSE(postgres.contains(key)) << key;
  for (const auto* key : {"databases", "keep_passwords", "replay_limit", "replay_time_limit", "exactly_once", "lost_state", "unknown_outcome_code",
                          "read_only_functions", "message_buffer", "ignore_startup_parameters", "server_lifetime"}) {
    EXPECT_TRUE(postgres.contains(key)) << key;
    EXPECT_FALSE(mongodb.contains(key)) << key;
  }
}

TEST(AdminSettings, say_where_each_value_comes_from) {
  auto file = two();
  file.origins = {{"reconnect.max_retries", "file:3"}, {"health.interval", "environment HOLDFAST_HEALTH_INTERVAL"},
                  {"connections.stock.reconnect.retry_delay", "--set connections.stock.reconnect.retry_delay"}};
  auto running = file;
  running.connections[0].reconnect.jitter = 0;
  const auto all = shown(running, file);
  const auto& orders = all.at("connections").at("orders").at("sources");
  EXPECT_EQ(orders.at("reconnect").at("max_retries"), "file:3");
  EXPECT_EQ(orders.at("reconnect").at("jitter"), "changed at run time");
  EXPECT_EQ(orders.at("reconnect").at("retry_delay"), "default");
  EXPECT_EQ(orders.at("health").at("interval"), "environment HOLDFAST_HEALTH_INTERVAL");
  const auto& stock = all.at("connections").at("stock").at("sources");
  EXPECT_EQ(stock.at("reconnect").at("retry_delay"), "--set connections.stock.reconnect.retry_delay");
  EXPECT_EQ(stock.at("reconnect").at("max_retries"), "file:3");
}

TEST(AdminSettings, the_log_level_changes_and_differs_from_the_file) {
  const auto file = two();
  auto running = file;
  EXPECT_TRUE(change_settings(R"({"log":{"level":"debug"}})", running).empty());
  EXPECT_EQ(running.log.level, config::LogLevel::debug);
  const auto all = shown(running, file);
  EXPECT_EQ(all.at("log").at("level"), "debug");
  EXPECT_EQ(all.at("differs_from_file"), (json::object{{"log", json::object{{"level", "info"}}}}));
}

TEST(AdminSettings, show_no_secret) {
  auto config = two();
  auto& orders = config.connections[0];
  const config::Secret secret("hunter2");
  config.admin.token = secret;
  config.notify.push_back({"https://hooks.example/hunter2", {}, secret, {}});
  orders.postgres.password = secret;
  orders.users.push_back({"app", secret, secret, {}, {}});
  orders.auth_query = config::AuthQuery{"SELECT 'hunter2'", "app", secret, {}, {}};
  const auto text = settings_json({config, config});
  EXPECT_EQ(text.find("hunter2"), std::string::npos) << text;
  EXPECT_EQ(shown(config, config).at("admin").at("token"), true);
}

TEST(AdminSettings, what_differs_from_the_file_is_shown_with_the_value_of_the_file) {
  const auto file = two();
  auto running = file;
  ASSERT_TRUE(change_settings(R"({"connections":{"stock":{"reconnect":{"retry_delay":"2s"},"health":{"failures":5}}}})",
                              running).empty());
  const auto all = shown(running, file);
  EXPECT_EQ(all.at("connections").at("stock").at("differs_from_file"),
            json::parse(R"({"reconnect":{"retry_delay":"100ms"},"health":{"failures":3}})"));
  EXPECT_EQ(all.at("connections").at("orders").at("differs_from_file"), json::object());
  EXPECT_EQ(all.at("differs_from_file"), json::object());
  EXPECT_EQ(changed_settings(file.connections[1], running.connections[1]), "reconnect.retry_delay health.failures");
  EXPECT_EQ(changed_settings(file.connections[0], running.connections[0]), "");
}

TEST(AdminSettings, a_change_of_all_reaches_every_connection_and_the_more_precise_one_wins) {
  auto config = two();
  ASSERT_TRUE(change_settings(R"({"connections":{"orders":{"health":{"interval":"1m"}}},"health":{"interval":"10s"},
                                  "reconnect":{"max_retries":7,"multiplier":1.5,"jitter":0,"hold_timeout":0}})",
                              config).empty());
  EXPECT_EQ(config.health.interval, milliseconds(10'000));
  EXPECT_EQ(config.connections[0].health.interval, milliseconds(60'000));
  EXPECT_EQ(config.connections[1].health.interval, milliseconds(10'000));
  for (const auto& connection : config.connections) {
    EXPECT_EQ(connection.reconnect.max_retries, 7U);
    EXPECT_EQ(connection.reconnect.multiplier, 1.5);
    EXPECT_EQ(connection.reconnect.jitter, 0);
    EXPECT_EQ(connection.reconnect.hold_timeout, milliseconds(0));
  }
  EXPECT_EQ(config.connections[1].reconnect.retry_delay, milliseconds(100)) << "what is not named stays";
}

TEST(AdminSettings, durations_are_texts_or_milliseconds) {
  for (const auto& [text, expected] : std::vector<std::pair<std::string, int>>{
           {R"("250ms")", 250}, {R"("5s")", 5000}, {R"("1m")", 60'000}, {"250", 250}, {"250.0", 250}, {"2.5e2", 250}}) {
    auto config = two();
    EXPECT_TRUE(change_settings(R"({"reconnect":{"retry_delay":)" + text + "}}", config).empty()) << text;
    EXPECT_EQ(config.connections[0].reconnect.retry_delay, milliseconds(expected)) << text;
  }
  for (const auto* text : {R"("250")", R"("5 s")", R"("-1s")", "-1", "0", "1.5", "1e300", "true", "null", "[]", "{}", R"("")"}) {
    EXPECT_EQ(bad_fields(std::string(R"({"reconnect":{"retry_delay":)") + text + "}}"),
              Names{"reconnect.retry_delay"}) << text;
  }
}

TEST(AdminSettings, bounds_are_those_of_the_file) {
  for (const auto* fields :
       {R"("max_retries":0)", R"("max_retries":1000001)", R"("max_retries":1.5)", R"("max_retries":"3")",
        R"("multiplier":0.9)", R"("multiplier":101)", R"("jitter":-0.1)", R"("jitter":1.1)", R"("max_delay":0)",
        R"("connection_timeout":"0ms")", R"("keep_alive_interval":"999ms")", R"("hang_timeout":99)",
        R"("probe_interval":9)", R"("hold_timeout":-1)", R"("concurrency":0)", R"("concurrency":100001)"}) {
    EXPECT_EQ(bad_fields(std::string(R"({"reconnect":{)") + fields + "}}").size(), 1U) << fields;
  }
  for (const auto* fields : {R"("interval":9)", R"("timeout":"9ms")", R"("failures":0)", R"("failures":1001)"}) {
    EXPECT_EQ(bad_fields(std::string(R"({"health":{)") + fields + "}}").size(), 1U) << fields;
  }
}

TEST(AdminSettings, every_bad_field_is_named) {
  EXPECT_EQ(bad_fields(R"({"reconnect":{"retry_delay":"x","max_retries":0,"nothing":1},"health":7,"log":{"level":"loud","format":"json"},
                           "connections":{"orders":{"listen":[],"health":{"interval":1}},"nobody":{},"stock":3}})"),
            (Names{"reconnect.retry_delay", "reconnect.max_retries", "reconnect.nothing", "health", "log.level",
                   "log.format", "connections.orders.listen", "connections.orders.health.interval", "connections.nobody",
                   "connections.stock"}));
  EXPECT_EQ(bad_fields(R"({"connections":[]})"), Names{"connections"});
  EXPECT_TRUE(bad_fields("{}").empty());
  EXPECT_TRUE(bad_fields("").empty());
  EXPECT_TRUE(bad_fields(R"({"reconnect":{},"connections":{"orders":{}}})").empty());
}

TEST(AdminSettings, the_answer_to_bad_fields_is_an_error_with_a_list) {
  const auto body = json::parse(bad_fields_json({{"health", "must be an object"}, {"x\xff", "y"}})).as_object();
  EXPECT_EQ(body.at("error").at("code"), "invalid_settings");
  EXPECT_EQ(body.at("error").at("fields").as_array().size(), 2U);
  EXPECT_EQ(body.at("error").at("fields").as_array()[0].at("field"), "health");
}

}  // namespace
}  // namespace holdfast::admin

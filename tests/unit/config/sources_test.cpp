// Where a setting comes from: flag before environment before file before default, and what a wrong one is called.
#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "loading.hpp"

namespace holdfast::config {
namespace {

using namespace std::chrono_literals;

Loaded load_upstream(const std::string& uri, const Environment& environment = {}) {
  auto sources = sources_of(environment);
  sources.upstream = uri;
  return load(sources);
}

TEST(Sources, the_four_short_variables_set_the_defaults) {
  const auto config = good(one_connection(), {{"DB_CONNECTION_TIMEOUT", "2500"}, {"DB_HEALTH_CHECK_INTERVAL", "1500"},
                                              {"DB_RETRY_DELAY", "250"}, {"DB_MAX_RETRIES", "9"}});
  EXPECT_EQ(config.reconnect.connection_timeout, 2500ms);
  EXPECT_EQ(config.health.interval, 1500ms);
  EXPECT_EQ(config.reconnect.retry_delay, 250ms);
  EXPECT_EQ(config.reconnect.max_retries, 9U);
  EXPECT_EQ(config.connections[0].reconnect.retry_delay, 250ms);
}

TEST(Sources, each_value_that_is_no_default_remembers_where_it_stood) {
  const Folder folder;
  const auto path = folder.write("config", "reconnect:\n  max_retries: 7\nconnections:\n  - id: orders\n    type: postgres\n"
                                           "    listen: 127.0.0.1:1\n    upstream: postgres://app@db/app\n    health: {interval: 3s}\n");
  auto sources = sources_of({{"HOLDFAST_HEALTH_TIMEOUT", "4s"}});
  sources.file = path;
  sources.set = {"reconnect.jitter=0"};
  const auto loaded = load(sources);
  ASSERT_TRUE(loaded.ok());
  const auto& origins = loaded.config.origins;
  EXPECT_EQ(origins.at("reconnect.max_retries"), "file:2");
  EXPECT_EQ(origins.at("connections.orders.health.interval"), "file:8");
  EXPECT_EQ(origins.at("health.timeout"), "environment HOLDFAST_HEALTH_TIMEOUT");
  EXPECT_EQ(origins.at("reconnect.jitter"), "--set reconnect.jitter");
  EXPECT_EQ(origins.count("reconnect.multiplier"), 0U);
}

TEST(Sources, a_short_variable_that_is_no_number_is_a_mistake_that_names_it) {
  for (const char* name : {"DB_CONNECTION_TIMEOUT", "DB_HEALTH_CHECK_INTERVAL", "DB_RETRY_DELAY", "DB_MAX_RETRIES"}) {
    for (const char* value : {"5s", "many", "", "-1", " 5"}) {
      const auto found = mistakes(one_connection(), {{name, value}});
      ASSERT_EQ(found.size(), 1U) << name << "=" << value;
      EXPECT_TRUE(found[0].starts_with("environment " + std::string(name) + ": ")) << found[0];
    }
  }
}

TEST(Sources, every_scalar_outside_the_connections_is_a_variable_too) {
  const Folder folder;
  const auto file = folder.write("file", "x");
  const auto config = good(one_connection(), {{"HOLDFAST_ADMIN_LISTEN", "127.0.0.1:1"},      {"HOLDFAST_ADMIN_TOKEN_FILE", file},
                                              {"HOLDFAST_ADMIN_TLS_CERT_FILE", file},        {"HOLDFAST_ADMIN_TLS_KEY_FILE", file},
                                              {"HOLDFAST_ADMIN_TLS_CLIENT_CA_FILE", file},   {"HOLDFAST_LOG_LEVEL", "debug"},
                                              {"HOLDFAST_LOG_FORMAT", "json"},               {"HOLDFAST_WORKERS", "2"},
                                              {"HOLDFAST_DRAIN_TIMEOUT", "1s"},              {"HOLDFAST_RECONNECT_MAX_RETRIES", "7"},
                                              {"HOLDFAST_RECONNECT_RETRY_DELAY", "1s"},      {"HOLDFAST_RECONNECT_MULTIPLIER", "3"},
                                              {"HOLDFAST_RECONNECT_MAX_DELAY", "2s"},        {"HOLDFAST_RECONNECT_JITTER", "0.5"},
                                              {"HOLDFAST_RECONNECT_CONNECTION_TIMEOUT", "3s"}, {"HOLDFAST_RECONNECT_KEEP_ALIVE_INTERVAL", "4s"},
                                              {"HOLDFAST_RECONNECT_HANG_TIMEOUT", "5s"},     {"HOLDFAST_RECONNECT_PROBE_INTERVAL", "6s"},
                                              {"HOLDFAST_RECONNECT_HOLD_TIMEOUT", "7s"},     {"HOLDFAST_RECONNECT_CONCURRENCY", "8"},
                                              {"HOLDFAST_HEALTH_INTERVAL", "9s"},            {"HOLDFAST_HEALTH_TIMEOUT", "10s"},
                                              {"HOLDFAST_HEALTH_FAILURES", "11"}});
  EXPECT_EQ(config.admin.listen->port, 1);
  EXPECT_EQ(config.admin.token.reveal(), "x");
  EXPECT_EQ(config.admin.tls, (TlsFiles{file, file, file}));
  EXPECT_EQ(config.log, (Log{LogLevel::debug, LogFormat::json}));
  EXPECT_EQ(config.workers, 2U);
  EXPECT_EQ(config.drain_timeout, 1s);
  EXPECT_EQ(config.reconnect, (Reconnect{7, 1s, 3, 2s, 0.5, 3s, 4s, 5s, 6s, 7s, 8}));
  EXPECT_EQ(config.health, (Health{9s, 10s, 11}));
}

TEST(Sources, a_variable_reaches_a_section_that_the_file_leaves_empty) {
  EXPECT_EQ(good("reconnect:\n" + one_connection(), {{"DB_MAX_RETRIES", "9"}}).reconnect.max_retries, 9U);
}

TEST(Sources, a_flag_goes_before_the_environment_before_the_file_before_the_default) {
  const std::string file = "reconnect: {max_retries: 4}\n" + one_connection();
  const Environment shorter{{"DB_MAX_RETRIES", "5"}}, both{{"DB_MAX_RETRIES", "5"}, {"HOLDFAST_RECONNECT_MAX_RETRIES", "6"}};
  EXPECT_EQ(good(one_connection()).reconnect.max_retries, 3U);
  EXPECT_EQ(good(file).reconnect.max_retries, 4U);
  EXPECT_EQ(good(file, shorter).reconnect.max_retries, 5U);
  EXPECT_EQ(good(file, both).reconnect.max_retries, 6U);
  EXPECT_EQ(good(file, both, {"reconnect.max_retries=7"}).reconnect.max_retries, 7U);
  EXPECT_EQ(good(file, both, {"reconnect.max_retries=7", "reconnect.max_retries=8"}).reconnect.max_retries, 8U);
}

TEST(Sources, a_connections_own_setting_goes_before_a_default_from_the_environment) {
  const auto config = good(one_connection("    reconnect: {max_retries: 2}\n"), {{"DB_MAX_RETRIES", "9"}});
  EXPECT_EQ(config.reconnect.max_retries, 9U);
  EXPECT_EQ(config.connections[0].reconnect.max_retries, 2U);
}

TEST(Sources, a_mistake_is_told_of_the_source_that_made_it) {
  const std::string file = "reconnect: {max_retries: 4}\n" + one_connection();
  EXPECT_TRUE(mistakes(file, {{"HOLDFAST_RECONNECT_MAX_RETRIES", "x"}})[0].starts_with("environment HOLDFAST_RECONNECT_MAX_RETRIES: "));
  EXPECT_TRUE(mistakes(file, {}, {"reconnect.max_retries=x"})[0].starts_with("--set reconnect.max_retries: "));
  EXPECT_TRUE(mistakes(file, {{"DB_MAX_RETRIES", "x"}}, {"reconnect.max_retries=5"}).empty());
}

TEST(Sources, set_reaches_a_connection_by_its_id_also_where_that_has_dots) {
  EXPECT_EQ(good(one_connection(), {}, {"connections.orders.max_clients=5"}).connections[0].max_clients, 5U);
  EXPECT_EQ(good(one_connection(), {}, {"connections.orders.reconnect.retry_delay=1s"}).connections[0].reconnect.retry_delay, 1s);
  const std::string dotted = "connections:\n  - {id: a.b, type: postgres, listen: \"127.0.0.1:1\", upstream: \"postgres://db\"}\n";
  EXPECT_EQ(good(dotted, {}, {"connections.a.b.max_clients=5"}).connections[0].max_clients, 5U);
}

TEST(Sources, set_keeps_equal_signs_in_the_value) {
  const auto config = good(one_connection(), {}, {"connections.orders.upstream=postgres://db/app?sslmode=disable"});
  EXPECT_EQ(config.connections[0].postgres.sslmode, SslMode::disable);
}

TEST(Sources, set_of_an_unknown_key_or_without_a_value_is_a_mistake) {
  for (const char* entry : {"no_such=1", "reconnect.retry_dealy=5s", "connections.nobody.max_clients=1", "connections.orders.no_such=1",
                            "reconnect.max_retries", "=1", "reconnect=1", "workers.x=1", "connections=1", "connections.orders=1", ""}) {
    EXPECT_EQ(mistakes("workers: 1\n" + one_connection(), {}, {entry}).empty(), false) << entry;
  }
}

TEST(Sources, a_misspelt_variable_of_ours_is_a_warning_and_others_are_not) {
  const Folder folder;
  const auto loaded = load_text(folder, one_connection(), {{"HOLDFAST_WORKER", "1"}, {"PATH", "/bin"}, {"HOLDFAST_CONFIG", "x"}});
  EXPECT_TRUE(loaded.ok());
  ASSERT_EQ(loaded.warnings.size(), 1U);
  EXPECT_EQ(loaded.warnings[0].origin, "environment HOLDFAST_WORKER");
}

TEST(Sources, upstream_alone_is_one_connection_with_the_usual_addresses) {
  const auto postgres = load_upstream("postgres://app@db/orders");
  ASSERT_TRUE(postgres.ok()) << all_lines(postgres);
  EXPECT_EQ(postgres.config.connections[0].id, "default");
  EXPECT_EQ(postgres.config.connections[0].listen[0].to_string(), "127.0.0.1:6432");
  EXPECT_EQ(postgres.config.admin.listen->to_string(), "127.0.0.1:9930");
  const auto mongodb = load_upstream("mongodb://db/app");
  ASSERT_TRUE(mongodb.ok()) << all_lines(mongodb);
  EXPECT_EQ(mongodb.config.connections[0].type, ConnectionType::mongodb);
  EXPECT_EQ(mongodb.config.connections[0].listen[0].to_string(), "127.0.0.1:27018");
}

TEST(Sources, an_upstream_of_no_kind_is_told_of_where_it_was_said_and_not_of_one_kind) {
  const std::string told = "an upstream begins with postgres://, postgresql://, mongodb:// or mongodb+srv://";
  EXPECT_EQ(all_lines(load_upstream("127.0.0.1:27017")), "--upstream: " + told + "\n");
  EXPECT_EQ(all_lines(load(sources_of({{"HOLDFAST_UPSTREAM", "mongo://app:secret@db"}}))), "environment HOLDFAST_UPSTREAM: " + told + "\n");
}

TEST(Sources, without_a_file_the_variables_describe_the_connection) {
  const Folder folder;
  const auto loaded = load(sources_of({{"HOLDFAST_UPSTREAM", "postgres://app@db/orders"},
                                       {"HOLDFAST_LISTEN", "127.0.0.1:7000"},
                                       {"HOLDFAST_AUTH", "passthrough"},
                                       {"HOLDFAST_PASSWORD_FILE", folder.write("password", "secret\n")}}));
  ASSERT_TRUE(loaded.ok()) << all_lines(loaded);
  EXPECT_TRUE(loaded.warnings.empty());
  EXPECT_EQ(loaded.config.connections[0].listen[0].port, 7000);
  EXPECT_EQ(loaded.config.connections[0].auth, AuthMode::passthrough);
  EXPECT_EQ(loaded.config.connections[0].postgres.password.reveal(), "secret");
}

TEST(Sources, the_flags_go_before_the_variables_that_say_the_same) {
  auto sources = sources_of({{"HOLDFAST_UPSTREAM", "postgres://other"}, {"HOLDFAST_LISTEN", "127.0.0.1:1"}, {"HOLDFAST_ADMIN_LISTEN", "127.0.0.1:2"}});
  sources.upstream = "postgres://app@db";
  sources.listen = "127.0.0.1:3";
  sources.admin = "off";
  const auto loaded = load(sources);
  ASSERT_TRUE(loaded.ok()) << all_lines(loaded);
  EXPECT_EQ(loaded.config.connections[0].postgres.hosts[0].host, "db");
  EXPECT_EQ(loaded.config.connections[0].listen[0].port, 3);
  EXPECT_FALSE(loaded.config.admin.listen);
}

TEST(Sources, an_admin_address_that_is_none_is_told_of_its_flag) {
  auto sources = sources_of({});
  sources.upstream = "postgres://app@db";
  sources.admin = "nonsense";
  const auto loaded = load(sources);
  ASSERT_EQ(loaded.mistakes.size(), 1U);
  EXPECT_EQ(loaded.mistakes[0].origin, "--admin");
}

}  // namespace
}  // namespace holdfast::config

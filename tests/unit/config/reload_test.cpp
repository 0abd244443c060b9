// Which differences between two configurations take effect only after a restart.
#include "config/reload.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace holdfast::config {
namespace {

using namespace std::chrono_literals;

Config running() {
  Config config;
  Connection connection;
  connection.id = "orders";
  connection.listen = {{"127.0.0.1", 6432, {}}};
  connection.postgres.hosts = {{"db", 5432}};
  config.connections = {connection};
  config.admin.listen = ListenAddress{"127.0.0.1", 9930, {}};
  return config;
}

using Change = std::function<void(Config&)>;

TEST(Reload, of_the_same_configuration_needs_no_restart) { EXPECT_TRUE(needs_restart(running(), running()).empty()); }

TEST(Reload, of_what_is_bound_at_the_start_needs_a_restart_and_names_it) {
  const std::pair<const char*, Change> rows[] = {
      {"workers", [](Config& next) { next.workers = 4; }},
      {"admin", [](Config& next) { next.admin.listen->port = 9931; }},
      {"admin", [](Config& next) { next.admin.listen.reset(); }},
      {"admin", [](Config& next) { next.admin.token_file = "/s/other"; }},
      {"admin", [](Config& next) { next.admin.tls = TlsFiles{"c", "k", {}}; }},
      {"notify", [](Config& next) { next.notify.push_back({"https://hooks.example", {}, {}, {}}); }},
      {"log format", [](Config& next) { next.log.format = LogFormat::json; }},
      {"type of orders", [](Config& next) { next.connections[0].type = ConnectionType::mongodb; }},
      {"listen address of orders", [](Config& next) { next.connections[0].listen[0].port = 6433; }},
      {"listen address of orders", [](Config& next) { next.connections[0].listen.push_back({"", 0, "/run/s"}); }},
      {"tls section of orders", [](Config& next) { next.connections[0].tls = TlsFiles{"c", "k", {}}; }},
      {"hosts of orders", [](Config& next) { next.connections[0].postgres.hosts.push_back({"other", 5432}); }},
      {"hosts of orders", [](Config& next) { next.connections[0].postgres.hosts[0].port = 5433; }}};
  for (const auto& [what, change] : rows) {
    auto next = running();
    change(next);
    const auto sentences = needs_restart(running(), next);
    ASSERT_EQ(sentences.size(), 1U) << what;
    EXPECT_NE(sentences[0].find(what), std::string::npos) << sentences[0];
    EXPECT_NE(sentences[0].find("after a restart"), std::string::npos);
    EXPECT_EQ(sentences[0].find("new\""), std::string::npos);
  }
}

Config running_mongo() {
  auto config = running();
  auto& connection = config.connections[0];
  connection.type = ConnectionType::mongodb;
  connection.mongo.user = "rota";
  connection.mongo.password = Secret("pwa");
  connection.mongo.auth_database = "admin";
  connection.auth_query = AuthQuery{{}, "reader", Secret("pwr"), {}, {}};
  return config;
}

TEST(Reload, that_changes_what_all_of_mongodbs_connections_have_in_common_needs_a_restart) {
  const std::pair<std::vector<const char*>, Change> rows[] = {
      {{"user, authSource or authMechanism of orders"},
       [](Config& next) {
         next.connections[0].mongo.user = "rotb";
         next.connections[0].mongo.password = Secret("pwb");
       }},
      {{"user, authSource or authMechanism of orders"}, [](Config& next) { next.connections[0].mongo.user.clear(); }},
      {{"user, authSource or authMechanism of orders"}, [](Config& next) { next.connections[0].mongo.mechanism = MongoMechanism::scram_sha_1; }},
      {{"user, authSource or authMechanism of orders", "auth_query of orders"},
       [](Config& next) { next.connections[0].mongo.auth_database = "shop"; }},
      {{"auth_query of orders"}, [](Config& next) { next.connections[0].auth_query = AuthQuery{{}, "other", Secret("pwo"), {}, {}}; }},
      {{"auth_query of orders"}, [](Config& next) { next.connections[0].auth_query.reset(); }},
      {{"pool, pool_max or pool_idle_timeout of orders"}, [](Config& next) { next.connections[0].pool_max = 7; }},
      {{"pool, pool_max or pool_idle_timeout of orders"}, [](Config& next) { next.connections[0].pool_idle_timeout += std::chrono::seconds(1); }},
      {{"appName, compressors or zlibCompressionLevel of orders"}, [](Config& next) { next.connections[0].mongo.compressors = {"zstd"}; }},
      {{"appName, compressors or zlibCompressionLevel of orders"}, [](Config& next) { next.connections[0].mongo.application_name = "billing"; }}};
  for (const auto& [what, change] : rows) {
    auto next = running_mongo();
    change(next);
    const auto sentences = needs_restart(running_mongo(), next);
    ASSERT_EQ(sentences.size(), what.size());
    for (std::size_t i = 0; i < what.size(); ++i) EXPECT_NE(sentences[i].find(what[i]), std::string::npos) << sentences[i];
  }
}

TEST(Reload, of_mongodbs_passwords_needs_no_restart) {
  auto next = running_mongo();
  next.connections[0].mongo.password = Secret("new");
  next.connections[0].auth_query->password = Secret("newer");
  EXPECT_TRUE(needs_restart(running_mongo(), next).empty());
}

TEST(Reload, of_postgresqls_user_needs_no_restart) {
  auto before = running();
  before.connections[0].postgres.user = "rota";
  before.connections[0].auth_query = AuthQuery{"SELECT 1", "reader", Secret("pwr"), {}, {}};
  auto next = before;
  next.connections[0].postgres.user = "rotb";
  next.connections[0].auth_query->user = "other";
  EXPECT_TRUE(needs_restart(before, next).empty());
}

TEST(Reload, is_about_the_file_and_each_file_that_it_names_once) {
  Sources sources;
  sources.file = "/etc/holdfast/holdfast.yaml";
  sources.environment = [](std::string_view name) {
    return name == "PGPASSFILE" ? std::optional<std::string>("/etc/pgpass") : std::nullopt;
  };
  auto config = running();
  config.admin.token_file = "/s/token";
  config.notify.push_back({"https://hooks.example", {}, {}, "/s/hook"});
  auto& connection = config.connections[0];
  connection.password_file = "/s/password";
  connection.users = {{"a", {}, {}, "/s/a", {}}, {"b", {}, {}, {}, "B_PASSWORD"}, {"c", {}, {}, "/s/a", {}}};
  connection.auth_query = AuthQuery{"SELECT 1", "q", {}, "/s/q", {}};
  connection.tls = TlsFiles{"/t/cert", "/t/key", {}};
  connection.postgres.sslrootcert = "/t/root";
  connection.mongo.tls_ca_file = "/t/mongo-ca";
  connection.mongo.tls_certificate_key_file = "/t/mongo-both";
  EXPECT_EQ(named_files(sources, config),
            (std::vector<std::string>{"/etc/holdfast/holdfast.yaml", "/etc/pgpass", "/s/a", "/s/hook", "/s/password", "/s/q", "/s/token",
                                      "/t/cert", "/t/key", "/t/mongo-both", "/t/mongo-ca", "/t/root"}));
  connection.postgres.sslrootcert = "system";
  EXPECT_EQ(named_files({}, config).back(), "/t/mongo-ca");
  EXPECT_TRUE(named_files({}, running()).empty());
}

TEST(Reload, of_everything_else_needs_none) {
  const Change rows[] = {[](Config& next) { next.log.level = LogLevel::debug; },
                         [](Config& next) { next.drain_timeout = 1s; },
                         [](Config& next) { next.admin.token = Secret("new"); },
                         [](Config& next) { next.reconnect.max_retries = 9; },
                         [](Config& next) { next.health.interval = 1s; },
                         [](Config& next) { next.connections[0].reconnect.retry_delay = 1s; },
                         [](Config& next) { next.connections[0].health.failures = 9; },
                         [](Config& next) { next.connections[0].postgres.password = Secret("new"); },
                         [](Config& next) { next.connections[0].users.push_back({"u", Secret("p"), {}, {}, {}}); },
                         [](Config& next) { next.connections[0].auth = AuthMode::scram; },
                         [](Config& next) { next.connections[0].max_clients = 5; },
                         [](Config& next) { next.connections[0].replay = false; },
                         [](Config& next) { next.connections[0].lost_state = LostState::error; },
                         [](Config& next) { next.connections[0].databases = {"a"}; }};
  for (const auto& change : rows) {
    auto next = running();
    change(next);
    EXPECT_TRUE(needs_restart(running(), next).empty()) << &change - rows;
  }
}

TEST(Reload, tells_of_connections_that_came_and_went) {
  auto next = running();
  next.connections[0].id = "billing";
  EXPECT_EQ(needs_restart(running(), next), (std::vector<std::string>{"the new connection billing takes effect after a restart",
                                                                      "the removal of orders takes effect after a restart"}));
}

TEST(Reload, does_not_mind_the_order_of_the_connections) {
  auto before = running();
  before.connections.push_back(before.connections[0]);
  before.connections[1].id = "billing";
  auto next = before;
  std::swap(next.connections[0], next.connections[1]);
  EXPECT_TRUE(needs_restart(before, next).empty());
}

TEST(Reload, tells_of_every_difference_and_not_only_the_first) {
  auto next = running();
  next.workers = 2;
  next.log.format = LogFormat::json;
  next.connections[0].listen.clear();
  EXPECT_EQ(needs_restart(running(), next).size(), 3U);
}

}  // namespace
}  // namespace holdfast::config

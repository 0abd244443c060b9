// Every key of a connection: its default, a value of its own, the words it knows, and what does not go together.
#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "loading.hpp"

namespace holdfast::config {
namespace {

using namespace std::chrono_literals;

const std::string verifier =
    "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";

std::string mongodb(const std::string& more) {
  return "connections:\n  - id: m\n    type: mongodb\n    listen: 127.0.0.1:27018\n    upstream: mongodb://db/app\n" + more;
}

std::string connection_with(const std::string& id, const std::string& listen) {
  return "connections:\n  - {id: " + id + ", type: postgres, listen: \"" + listen + "\", upstream: \"postgres://app@db/app\"}\n";
}

TEST(ConnectionKeys, left_out_they_have_the_documented_defaults) {
  const auto found = good_connection("");
  EXPECT_EQ(found.id, "orders");
  EXPECT_EQ(found.upstream, "postgres://app@db:5432/orders");
  EXPECT_EQ(found.auth, AuthMode::passthrough);
  EXPECT_EQ(found.max_clients, 1000U);
  EXPECT_TRUE(found.replay);
  EXPECT_EQ(found.replay_limit, 1U << 20);
  EXPECT_EQ(found.replay_time_limit, 30s);
  EXPECT_EQ(found.exactly_once, ExactlyOnce::off);
  EXPECT_EQ(found.lost_state, LostState::disconnect);
  EXPECT_EQ(found.unknown_outcome_code, "08007");
  EXPECT_EQ(found.message_buffer, 65'536U);
  EXPECT_FALSE(found.keep_passwords);
  EXPECT_EQ(found.pause_timeout, 10min);
  EXPECT_EQ(found.server_lifetime, 0s);
  EXPECT_TRUE(found.users.empty() && found.databases.empty() && found.read_only_functions.empty());
  EXPECT_TRUE(found.ignore_startup_parameters.empty());
  EXPECT_FALSE(found.tls || found.auth_query);
}

TEST(ConnectionKeys, take_their_values) {
  const auto found = good_connection(
      "    max_clients: 5\n    replay: off\n    replay_limit: 2MiB\n    replay_time_limit: 10s\n    exactly_once: off\n"
      "    lost_state: error\n    unknown_outcome_code: \"40003\"\n    read_only_functions: [app.f, app.g]\n"
      "    message_buffer: 32KiB\n    keep_passwords: on\n    pause_timeout: 1m\n    ignore_startup_parameters: [a, b]\n"
      "    server_lifetime: 1h\n    databases: [orders, billing]\n    auth: trust\n"
      "    reconnect: {retry_delay: 100ms}\n    health: {interval: 10s}\n");
  EXPECT_EQ(found.max_clients, 5U);
  EXPECT_FALSE(found.replay);
  EXPECT_EQ(found.replay_limit, 2U << 20);
  EXPECT_EQ(found.replay_time_limit, 10s);
  EXPECT_EQ(found.lost_state, LostState::error);
  EXPECT_EQ(found.unknown_outcome_code, "40003");
  EXPECT_EQ(found.read_only_functions, (std::vector<std::string>{"app.f", "app.g"}));
  EXPECT_EQ(found.message_buffer, 32'768U);
  EXPECT_TRUE(found.keep_passwords);
  EXPECT_EQ(found.pause_timeout, 1min);
  EXPECT_EQ(found.ignore_startup_parameters, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(found.server_lifetime, 1h);
  EXPECT_EQ(found.databases, (std::vector<std::string>{"orders", "billing"}));
  EXPECT_EQ(found.auth, AuthMode::trust);
  EXPECT_EQ(found.reconnect.retry_delay, 100ms);
  EXPECT_EQ(found.reconnect.max_retries, 3U);
  EXPECT_EQ(found.health.interval, 10s);
  EXPECT_EQ(found.health.timeout, 5s);
}

TEST(ConnectionKeys, a_list_of_addresses_is_listened_on_in_its_order) {
  const auto found = good("connections:\n  - id: a\n    type: postgres\n    listen: [\"127.0.0.1:1\", \"[::1]:1\", \"unix:/run/s\"]\n"
                          "    upstream: postgres://db\n").connections[0].listen;
  ASSERT_EQ(found.size(), 3U);
  EXPECT_EQ(found[2].to_string(), "unix:/run/s");
}

TEST(ConnectionKeys, an_empty_list_of_addresses_is_a_mistake) {
  EXPECT_EQ(mistakes("connections:\n  - {id: a, type: postgres, listen: [], upstream: \"postgres://db\"}\n").size(), 1U);
}

TEST(ConnectionKeys, its_own_reconnect_and_health_go_before_the_defaults) {
  const auto config = good("reconnect: {retry_delay: 9s, max_retries: 9}\nhealth: {interval: 9s}\n" +
                           one_connection("    reconnect: {retry_delay: 1s}\n"));
  EXPECT_EQ(config.connections[0].reconnect.retry_delay, 1s);
  EXPECT_EQ(config.connections[0].reconnect.max_retries, 9U);
  EXPECT_EQ(config.connections[0].health.interval, 9s);
}

TEST(ConnectionKeys, connect_timeout_of_the_uri_sets_the_timeout_unless_the_connection_does) {
  const std::string uri = "postgres://db/app?connect_timeout=7";
  EXPECT_EQ(good_connection("", uri).reconnect.connection_timeout, 7s);
  EXPECT_EQ(good_connection("    reconnect: {connection_timeout: 2s}\n", uri).reconnect.connection_timeout, 2s);
  EXPECT_EQ(good_connection("    reconnect:\n", uri).reconnect.connection_timeout, 7s);
}

TEST(ConnectionKeys, scram_is_the_default_where_a_password_or_verifier_is_known) {
  EXPECT_EQ(good_connection("", "postgres://app@db").auth, AuthMode::passthrough);
  EXPECT_EQ(good_connection("", "postgres://app:secret@db").auth, AuthMode::scram);
  EXPECT_EQ(good_connection("    users: [{name: b, scram: \"" + verifier + "\"}]\n").auth, AuthMode::scram);
  EXPECT_EQ(good_connection("    auth: passthrough\n", "postgres://app:secret@db").auth, AuthMode::passthrough);
}

TEST(ConnectionKeys, scram_with_nothing_to_check_against_is_one_mistake) {
  EXPECT_EQ(mistakes(one_connection("    auth: scram\n")).size(), 1U);
}

TEST(ConnectionKeys, a_password_that_cannot_be_read_or_a_bad_uri_is_one_mistake_and_not_two) {
  EXPECT_EQ(mistakes(one_connection("    auth: scram\n    password_file: /no/such/file\n")).size(), 1U);
  EXPECT_EQ(mistakes(one_connection("    auth: scram\n    password_env: NO_SUCH\n")).size(), 1U);
  EXPECT_EQ(mistakes(one_connection("    auth: scram\n", "postgres://app:pw@db?sslmode=sometimes")).size(), 1U);
}

TEST(ConnectionKeys, trust_is_refused_wherever_another_machine_can_reach_it) {
  for (const char* address : {"0.0.0.0:6432", "*:6432", "[::]:6432", "10.0.0.1:6432"}) {
    const auto found = mistakes("connections:\n  - {id: a, type: postgres, listen: [\"127.0.0.1:1\", \"" + std::string(address) +
                                "\"], upstream: \"postgres://db\", auth: trust}\n");
    ASSERT_EQ(found.size(), 1U) << address;
    EXPECT_NE(found[0].find("trust"), std::string::npos);
    EXPECT_NE(found[0].find(address), std::string::npos) << found[0];
  }
  EXPECT_TRUE(mistakes("connections:\n  - {id: a, type: postgres, listen: [\"127.0.0.1:1\", \"[::1]:1\", \"unix:/run/s\"], "
                       "upstream: \"postgres://db\", auth: trust}\n").empty());
}

TEST(ConnectionKeys, users_have_a_password_or_a_verifier_and_stand_once) {
  const Folder folder;
  const auto file = folder.write("password", "from file\n");
  const Folder other;
  const auto loaded = load_text(other, one_connection("    users:\n      - {name: a, password_file: " + file + "}\n"
                                                      "      - {name: b, password_env: B_PASSWORD}\n      - {name: c, scram: \"" +
                                                      verifier + "\"}\n"), {{"B_PASSWORD", "from env"}});
  ASSERT_TRUE(loaded.ok()) << all_lines(loaded);
  const auto& users = loaded.config.connections[0].users;
  ASSERT_EQ(users.size(), 3U);
  EXPECT_EQ(users[0].password.reveal(), "from file");
  EXPECT_EQ(users[1].password.reveal(), "from env");
  EXPECT_EQ(users[2].scram.reveal(), verifier);
  for (const char* bad : {"[{name: a}]", "[{scram: \"SCRAM-SHA-256$1:a\", name: a}]", "{}", "[{name: a, password_env: NO_SUCH}]",
                          "[{name: a, password_file: /no/such}]", "[{name: a, password: plain, password_env: HOME}]"}) {
    EXPECT_EQ(mistakes(one_connection("    users: " + std::string(bad) + "\n"), {{"HOME", "/nowhere"}}).size(), 1U) << bad;
  }
  const auto twice = "{name: a, scram: \"" + verifier + "\"}";
  EXPECT_EQ(mistakes(one_connection("    users: [" + twice + ", " + twice + "]\n")).size(), 1U);
}

TEST(ConnectionKeys, auth_query_needs_its_statement_and_its_user) {
  const auto found = good_connection("    auth_query: {sql: \"SELECT 1\", user: reader}\n");
  ASSERT_TRUE(found.auth_query);
  EXPECT_EQ(found.auth_query->sql, "SELECT 1");
  EXPECT_EQ(found.auth_query->user, "reader");
  EXPECT_EQ(found.auth, AuthMode::scram);
  EXPECT_EQ(mistakes(one_connection("    auth_query: {sql: \"SELECT 1\"}\n")).size(), 1U);
  EXPECT_EQ(mistakes(one_connection("    auth_query: {user: reader}\n")).size(), 1U);
}

TEST(ConnectionKeys, tls_needs_a_certificate_and_a_key_that_can_be_read) {
  const Folder folder;
  const auto cert = folder.write("cert", "c"), key = folder.write("key", "k");
  EXPECT_EQ(good_connection("    tls: {cert_file: " + cert + ", key_file: " + key + "}\n").tls, (TlsFiles{cert, key, {}}));
  EXPECT_EQ(mistakes(one_connection("    tls: {cert_file: " + cert + "}\n")).size(), 1U);
  EXPECT_EQ(mistakes(one_connection("    tls: {cert_file: " + cert + ", key_file: /no/such}\n")).size(), 1U);
  EXPECT_EQ(mistakes(one_connection("    tls: {cert_file: " + cert + ", key_file: " + key + ", client_ca_file: /no/such}\n")).size(), 1U);
}

TEST(ConnectionKeys, out_of_bounds_are_one_mistake_each_at_their_line) {
  for (const char* line : {"max_clients: 0", "max_clients: 1000001", "replay: perhaps", "replay_limit: lots", "replay_time_limit: 3",
                           "lost_state: keep", "unknown_outcome_code: \"00000\"", "read_only_functions: app.f", "message_buffer: 1023",
                           "message_buffer: 65KiB", "auth: md5", "keep_passwords: 1", "pause_timeout: x", "server_lifetime: 5",
                           "databases: orders", "ignore_startup_parameters: {}", "exactly_once: maybe", "reconnect: 5", "health: []",
                           "tls: 5", "auth_query: x", "users: 5", "face: auto", "pool: shared", "upgrade_writes: on", "no_such: 1"}) {
    const auto found = mistakes(one_connection("    " + std::string(line) + "\n"));
    ASSERT_FALSE(found.empty()) << line;
    EXPECT_TRUE(found[0].starts_with("6:")) << found[0];
  }
}

TEST(ConnectionKeys, an_id_holds_letters_digits_and_a_few_marks) {
  EXPECT_EQ(good(connection_with("Orders-1_a.b", "127.0.0.1:1")).connections[0].id, "Orders-1_a.b");
  for (const char* id : {"\"a b\"", "a/b", "\"\"", "\"a\\n\"", "\u00e4"}) {
    EXPECT_FALSE(mistakes(connection_with(id, "127.0.0.1:1")).empty()) << id;
  }
}

TEST(ConnectionKeys, of_mongodb_are_known_there) {
  const auto config = good(mongodb("    face: mongos\n    upgrade_writes: off\n    pool: session\n    pool_max: 5\n    pool_idle_timeout: 1m\n"
                                   "    replay: off\n"));
  const auto& connection = config.connections[0];
  EXPECT_EQ(connection.type, ConnectionType::mongodb);
  EXPECT_EQ(connection.face, MongoFace::mongos);
  EXPECT_FALSE(connection.upgrade_writes);
  EXPECT_EQ(connection.pool, MongoPool::session);
  EXPECT_EQ(connection.pool_max, 5U);
  EXPECT_EQ(connection.pool_idle_timeout, 1min);
  EXPECT_FALSE(connection.replay);
  const auto defaults = good(mongodb("")).connections[0];
  EXPECT_EQ(defaults.face, MongoFace::automatic);
  EXPECT_TRUE(defaults.upgrade_writes);
  EXPECT_EQ(defaults.pool, MongoPool::shared);
  EXPECT_EQ(defaults.pool_max, 100U);
  EXPECT_EQ(defaults.pool_idle_timeout, 10min);
}

TEST(ConnectionKeys, what_mongodb_does_not_have_is_a_mistake_and_not_passed_over) {
  for (const char* line : {"pool: none", "upgrade_writes: maybe", "auth: scram", "auth_query: {sql: SELECT, user: a, password_env: X}",
                           "users: [{name: b, scram: \"SCRAM-SHA-1$4096:c2FsdA==$AAAA:AAAA\"}]"}) {
    EXPECT_FALSE(mistakes(mongodb("    " + std::string(line) + "\n")).empty()) << line;
  }
}

TEST(ConnectionKeys, a_mongodb_connection_logs_clients_in_by_what_it_knows_and_relays_their_logins_otherwise) {
  const auto of = [](const std::string& uri, const std::string& more) {
    return good("connections:\n  - {id: m, type: mongodb, listen: \"127.0.0.1:1\", upstream: \"" + uri + "\"" + more + "}\n").connections[0];
  };
  EXPECT_EQ(of("mongodb://db", "").auth, AuthMode::passthrough);
  EXPECT_EQ(of("mongodb://app:pw@db", "").auth, AuthMode::scram);
  EXPECT_EQ(of("mongodb://app:pw@db", ", auth: passthrough").auth, AuthMode::passthrough);
  EXPECT_EQ(of("mongodb://app:pw@db", ", auth: trust").auth, AuthMode::trust);
  const std::string old = "SCRAM-SHA-1$10000:c2FsdA==$AAAAAAAAAAAAAAAAAAAAAAAAAAA=:AAAAAAAAAAAAAAAAAAAAAAAAAAA=";
  EXPECT_EQ(of("mongodb://db", ", users: [{name: b, scram: \"" + old + "\"}]").users[0].scram.reveal(), old);
  EXPECT_EQ(mistakes("connections:\n  - {id: m, type: mongodb, listen: \"127.0.0.1:1\", upstream: \"mongodb://app@db\"}\n").size(), 1U);
  EXPECT_FALSE(mistakes("connections:\n  - {id: m, type: postgres, listen: \"127.0.0.1:1\", upstream: \"postgres://db/x\", users: [{name: b, "
                        "scram: \"" + old + "\"}]}\n").empty()) << "PostgreSQL knows SHA-256 only";
}

TEST(ConnectionKeys, certificates_in_a_mongodb_uri_must_be_there) {
  EXPECT_EQ(mistakes("connections:\n  - {id: m, type: mongodb, listen: \"127.0.0.1:1\", upstream: "
                     "\"mongodb://db/?tls=true&tlsCAFile=/no/such/file\"}\n").size(), 1U);
}

TEST(ConnectionKeys, exactly_once_needs_replay) {
  EXPECT_EQ(good_connection("    exactly_once: on\n").exactly_once, ExactlyOnce::on);
  const auto found = mistakes(one_connection("    exactly_once: on\n    replay: off\n"));
  ASSERT_EQ(found.size(), 1U);
  EXPECT_NE(found[0].find("replay: on"), std::string::npos) << found[0];
}

const std::vector<std::string> postgres_only{"keep_passwords: on", "ignore_startup_parameters: [a]", "replay_limit: 1MiB", "replay_time_limit: 5s",
                                             "exactly_once: off", "lost_state: error", "unknown_outcome_code: \"08007\"",
                                             "read_only_functions: [f]", "message_buffer: 64KiB", "server_lifetime: 1h"};

std::string key_of(const std::string& line) { return line.substr(0, line.find(':')); }

TEST(ConnectionKeys, of_postgres_only_are_refused_for_mongodb_at_their_line) {
  for (const auto& line : postgres_only) {
    EXPECT_EQ(mistakes(mongodb("    " + line + "\n")),
              std::vector<std::string>{"6:" + std::to_string(line.find(' ') + 6) + ": connections.m." + key_of(line) + ": is not served for mongodb"});
  }
  EXPECT_EQ(mistakes(mongodb("    databases: [a]\n")),
            std::vector<std::string>{"6:16: connections.m.databases: is not served for mongodb: give the users rights in the server instead"});
}

TEST(ConnectionKeys, of_mongodb_only_are_refused_for_postgres_at_their_line) {
  for (const std::string line : {"face: auto", "pool: shared", "pool_max: 5", "pool_idle_timeout: 1m", "upgrade_writes: on"}) {
    EXPECT_EQ(mistakes(one_connection("    " + line + "\n")),
              std::vector<std::string>{"6:" + std::to_string(line.find(' ') + 6) + ": connections.orders." + key_of(line) + ": is not served for postgres"});
  }
}

TEST(ConnectionKeys, of_the_other_type_are_refused_from_a_flag_too) {
  EXPECT_EQ(mistakes(mongodb(""), {}, {"connections.m.keep_passwords=on"}),
            std::vector<std::string>{"--set connections.m.keep_passwords: connections.m.keep_passwords: is not served for mongodb"});
  EXPECT_EQ(mistakes(one_connection(), {}, {"connections.orders.pool=shared"}),
            std::vector<std::string>{"--set connections.orders.pool: connections.orders.pool: is not served for postgres"});
}

TEST(ConnectionKeys, a_type_that_is_none_is_one_mistake_whatever_else_stands_there) {
  for (const std::string of : {"postgres://app:pw@db/x, databases: [x]", "mongodb://app:pw@db/x, face: mongos"}) {
    const auto comma = of.find(',');
    const auto rest = "listen: \"127.0.0.1:1\", upstream: \"" + of.substr(0, comma) + "\"" + of.substr(comma) + "}\n";
    EXPECT_EQ(mistakes("connections:\n  - {id: a, type: mongo, " + rest),
              std::vector<std::string>{"2:19: connections.a.type: must be one of postgres, mongodb"});
    EXPECT_EQ(mistakes("connections:\n  - {id: a, " + rest), std::vector<std::string>{"2:5: connections.a: needs a type: postgres or mongodb"});
  }
}

TEST(ConnectionKeys, an_upstream_of_no_kind_under_a_type_that_is_none_is_told_of_all_kinds) {
  EXPECT_EQ(mistakes("connections:\n  - {id: a, type: mongo, listen: \"127.0.0.1:1\", upstream: \"127.0.0.1:27017\", face: mongos, databases: []}\n"),
            (std::vector<std::string>{"2:19: connections.a.type: must be one of postgres, mongodb",
                                      "2:59: connections.a.upstream: an upstream begins with postgres://, postgresql://, mongodb:// or mongodb+srv://"}));
}

TEST(ConnectionKeys, an_at_sign_that_libpq_takes_for_a_part_of_host_or_database_is_a_warning) {
  const auto warnings = [](const std::string& uri) {
    const Folder folder;
    const auto loaded = load_text(folder, one_connection("", uri));
    EXPECT_TRUE(loaded.ok()) << uri << all_lines(loaded);
    std::string text;
    for (const auto& warning : loaded.warnings) text += warning.message + "\n";
    return text;
  };
  for (const char* uri : {"postgres://user:p@ss/w0rd@host/db", "postgres://user:p@ss@host/db", "postgres://user:12/34@host"}) {
    EXPECT_EQ(warnings(uri), "connections.orders.upstream: an @ stands behind the login, in the name of a host or of the database: in a user or "
                             "password it must be written %40, and / %2F\n") << uri;
  }
  for (const char* uri : {"postgres://user:p%40s@host/db", "postgres://user:p?q@host/a%40b", "postgres://host/db?application_name=a@b"}) {
    EXPECT_EQ(warnings(uri), "") << uri;
  }
}

TEST(ConnectionKeys, mongodb_holds_30_seconds_unless_anybody_says_otherwise) {
  EXPECT_EQ(good(mongodb("")).connections[0].reconnect.hold_timeout, 30s);
  EXPECT_EQ(good(mongodb("    reconnect: {max_retries: 2}\n")).connections[0].reconnect.hold_timeout, 30s);
  EXPECT_EQ(good(mongodb("    reconnect: {hold_timeout: 5s}\n")).connections[0].reconnect.hold_timeout, 5s);
  EXPECT_EQ(good("reconnect: {hold_timeout: 10s}\n" + mongodb("")).connections[0].reconnect.hold_timeout, 10s);
  EXPECT_EQ(good("reconnect: {hold_timeout: 60s}\n" + mongodb("")).connections[0].reconnect.hold_timeout, 60s);
}

}  // namespace
}  // namespace holdfast::config

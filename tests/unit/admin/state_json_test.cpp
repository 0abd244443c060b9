// The state object, byte by byte, and what becomes of text that is not UTF-8.
#include "admin/state_json.hpp"

#include <gtest/gtest.h>

namespace holdfast::admin {
namespace {

using std::chrono::milliseconds;

proxy::SystemTime at(std::int64_t milliseconds_since_epoch) {
  return proxy::SystemTime(milliseconds(milliseconds_since_epoch));
}

TEST(AdminStateJson, shows_a_connection_that_is_well) {
  ConnectionView view;
  view.status.connection = "orders";
  view.status.state = proxy::State::connected;
  view.status.last_health_check = at(1'769'860'800'000);
  view.status.since = at(1'769'857'200'007);
  view.status.current = "db-0.db:5432";
  view.status.endpoints = {{"db-0.db:5432", proxy::Role::primary, true, milliseconds(2)},
                           {"db-1.db:5432", proxy::Role::unknown, false, std::nullopt}};
  view.sessions = {3, 9, 1};
  EXPECT_EQ(state_json(view),
            R"({"connectionId":"orders","type":"postgres","isConnected":true,"isReconnecting":false,)"
            R"("lastHealthCheck":"2026-01-31T12:00:00.000Z","connectionAttempts":0,"lastError":null,)"
            R"("state":"connected","breaker":"closed","nextAttemptAt":null,"upstream":"db-0.db:5432",)"
            R"("endpoints":[{"address":"db-0.db:5432","role":"primary","healthy":true,"latencyMs":2},)"
            R"({"address":"db-1.db:5432","role":"unknown","healthy":false,"latencyMs":null}],)"
            R"("sessions":{"active":3,"idle":9,"waiting":1},"since":"2026-01-31T11:00:00.007Z"})");
}

TEST(AdminStateJson, shows_a_connection_that_is_not) {
  ConnectionView view;
  view.type = config::ConnectionType::mongodb;
  view.status.connection = "orders";
  view.status.state = proxy::State::reconnecting;
  view.status.breaker = proxy::BreakerState::half_open;
  view.status.attempts = 2;
  view.status.last_error = "Connection refused (10.0.0.1)";
  view.status.next_attempt_at = at(999);
  const auto text = state_json(view);
  for (const auto* part : {R"("type":"mongodb")", R"("isConnected":false)", R"("isReconnecting":true)",
                           R"("connectionAttempts":2)", R"j("lastError":"Connection refused (10.0.0.1)")j",
                           R"("breaker":"half_open")", R"("nextAttemptAt":"1970-01-01T00:00:00.999Z")",
                           R"("upstream":null)", R"("lastHealthCheck":null)"}) {
    EXPECT_NE(text.find(part), std::string::npos) << part << " in " << text;
  }
}

TEST(AdminStateJson, shows_what_a_mongodb_does_with_a_write_that_is_sent_again) {
  ConnectionView view;
  view.type = config::ConnectionType::mongodb;
  view.capabilities.emplace();
  EXPECT_NE(state_json(view).find(R"("capabilities":{"kind":null,"deduplicates":false,"members":[]}})"), std::string::npos);
  view.capabilities->kind = "replica_set";
  view.capabilities->members = {{"db-0:27017", "MongoDB", "7.0.16", 0, 21, ""}, {"db-1:27017", "", "", 0, 9, "it has no sessions"}};
  EXPECT_NE(state_json(view).find(
                R"("capabilities":{"kind":"replica_set","deduplicates":false,"members":[)"
                R"({"address":"db-0:27017","product":"MongoDB","version":"7.0.16","minWireVersion":0,"maxWireVersion":21,)"
                R"("deduplicates":true,"reason":null},)"
                R"({"address":"db-1:27017","product":null,"version":null,"minWireVersion":0,"maxWireVersion":9,)"
                R"("deduplicates":false,"reason":"it has no sessions"}]})"),
            std::string::npos)
      << state_json(view);
}

TEST(AdminStateJson, times_before_1970_round_down) { EXPECT_EQ(iso_time(at(-1)), "1969-12-31T23:59:59.999Z"); }

TEST(AdminStateJson, replaces_what_is_not_utf_8) {
  EXPECT_EQ(valid_utf8("Größe € \xf0\x9f\x90\x98"), "Größe € \xf0\x9f\x90\x98");
  EXPECT_EQ(valid_utf8("Gr\xf6\xdf"), "Gr\xef\xbf\xbd\xef\xbf\xbd");
  EXPECT_EQ(valid_utf8("\xe2\x82"), "\xef\xbf\xbd\xef\xbf\xbd");           // cut short
  EXPECT_EQ(valid_utf8("\xc0\x80"), "\xef\xbf\xbd\xef\xbf\xbd");           // overlong
  EXPECT_EQ(valid_utf8("\xed\xa0\x80").find('\xed'), std::string::npos);   // a surrogate
}

TEST(AdminStateJson, a_status_request_needs_an_id_and_a_known_action) {
  std::string error;
  const auto request = parse_status_request(R"({"connectionId": "orders", "action": "reconnect"})", error);
  ASSERT_TRUE(request);
  EXPECT_EQ(request->connection, "orders");
  EXPECT_EQ(request->action, StatusRequest::Action::reconnect);
  EXPECT_TRUE(parse_status_request(R"({"connectionId": "orders", "action": "status"})", error));
  for (const auto* body : {"", "{", "[]", "{}", R"({"connectionId": 1, "action": "status"})", R"({"action": "status"})",
                           R"({"connectionId": "orders"})", R"({"connectionId": "orders", "action": "status", "when": 1})",
                           R"({"connectionId": "orders", "action": "stop"})"}) {
    error.clear();
    EXPECT_FALSE(parse_status_request(body, error)) << body;
    EXPECT_NE(error, "") << body;
  }
  EXPECT_FALSE(parse_status_request(R"({"connectionId": "orders", "action": "status", "when": 1})", error));
  EXPECT_NE(error.find("\"when\""), std::string::npos) << error;
}

}  // namespace
}  // namespace holdfast::admin

// Probes and attempts against servers that follow a script: what each first answer means.
#include <gtest/gtest.h>

#include "standing_harness.hpp"

namespace holdfast::health {
namespace {

using proxy::Failure;
using namespace std::string_literals;
using Then = ScriptedServer::Then;

config::PostgresUri uri_of(std::string user, std::string password = {}) {
  config::PostgresUri uri;
  uri.user = std::move(user);
  uri.password = config::Secret(std::move(password));
  uri.database = "orders";
  uri.sslmode = config::SslMode::disable;
  return uri;
}

proxy::Outcome probed(const std::string& answer, Then then = Then::hang_up) {
  ScriptedServer server(answer, then);
  Harness harness(uri_of("app"));
  return harness.await(harness.standing->probe(server.endpoint(), Harness::in(5s)));
}

proxy::Outcome attempted(const std::string& answer, Then then = Then::hang_up) {
  ScriptedServer server(answer, then);
  Harness harness(uri_of("app", "secret"));
  return harness.await(harness.standing->attempt(server.endpoint(), Harness::in(5s)));
}

const std::string scram_request = message('R', "\0\0\0\x0aSCRAM-SHA-256\0\0"s);

TEST(PostgresProbe, a_request_for_a_password_means_that_the_server_takes_logins) {
  const auto outcome = probed(scram_request);
  EXPECT_TRUE(outcome.ok()) << outcome.error;
}

TEST(PostgresProbe, a_server_that_starts_up_is_not_ready) {
  const auto outcome = probed(error_response("57P03", "the database system is starting up"));
  EXPECT_EQ(outcome.failure, Failure::not_ready);
  EXPECT_EQ(outcome.code, "57P03");
  EXPECT_EQ(outcome.error, "the database system is starting up");
}

TEST(PostgresProbe, a_server_without_a_free_slot_is_not_ready) {
  EXPECT_EQ(probed(error_response("53300", "sorry, too many clients already")).failure, Failure::not_ready);
}

TEST(PostgresProbe, a_server_that_refuses_the_login_takes_logins) {
  EXPECT_TRUE(probed(error_response("28000", "no pg_hba.conf entry for host, no encryption")).ok());
}

TEST(PostgresProbe, an_end_before_any_answer_is_not_ready) { EXPECT_EQ(probed("").failure, Failure::not_ready); }

TEST(PostgresProbe, an_end_within_the_answer_is_not_ready) {
  EXPECT_EQ(probed(scram_request.substr(0, 7)).failure, Failure::not_ready);
}

TEST(PostgresProbe, something_else_on_the_port_is_unreachable) {
  EXPECT_EQ(probed("HTTP/1.1 400 Bad Request\r\n\r\n").failure, Failure::unreachable);
  EXPECT_EQ(probed("R\xff\xff\xff\xff....").failure, Failure::unreachable);
}

TEST(PostgresProbe, silence_is_a_time_out) {
  ScriptedServer server("", Then::hang_on);
  Harness harness(uri_of("app"));
  const auto outcome = harness.await(harness.standing->probe(server.endpoint(), Harness::in(50ms)));
  EXPECT_EQ(outcome.failure, Failure::unreachable);
  EXPECT_EQ(outcome.error, "timed out");
}

TEST(PostgresProbe, says_goodbye_to_a_server_that_let_it_in_and_names_its_login) {
  ScriptedServer server(message('R', "\0\0\0\0"s), Then::hang_up);
  Harness harness(uri_of("app"));
  EXPECT_TRUE(harness.await(harness.standing->probe(server.endpoint(), Harness::in(5s))).ok());
  EXPECT_EQ(server.received(), "\0\0\0\x3c\0\3\0\0user\0app\0database\0orders\0application_name\0holdfast\0\0"s);
}

TEST(PostgresProbe, nobody_on_the_port_is_unreachable) {
  std::uint16_t port = 0;
  { port = ScriptedServer("", Then::hang_up).port(); }
  Harness harness(uri_of("app"));
  const auto outcome = harness.await(harness.standing->probe({"127.0.0.1", port}, Harness::in(5s)));
  EXPECT_EQ(outcome.failure, Failure::unreachable);
  EXPECT_EQ(outcome.error, "Connection refused (127.0.0.1)");
}

TEST(PostgresProbe, a_name_that_does_not_exist_is_unreachable) {
  Harness harness(uri_of("app"));
  const auto outcome = harness.await(harness.standing->probe({"no-such-host.invalid", 5432}, Harness::in(20s)));
  EXPECT_EQ(outcome.failure, Failure::unreachable);
  EXPECT_NE(outcome.error.find("no-such-host.invalid"), std::string::npos) << outcome.error;
}

TEST(PostgresAttempt, reads_the_code_of_a_refusal) {
  const auto outcome = attempted(error_response("57P03", "the database system is starting up"));
  EXPECT_EQ(outcome.failure, Failure::not_ready);
  EXPECT_EQ(outcome.code, "57P03");
  EXPECT_EQ(outcome.error, "the database system is starting up");
  EXPECT_EQ(attempted(error_response("3D000", "database \"orders\" does not exist")).failure, Failure::rejected);
  EXPECT_EQ(attempted(error_response("42501", "permission denied")).failure, Failure::rejected);
  EXPECT_EQ(attempted(error_response("XX000", "could not open file")).failure, Failure::unreachable);
}

TEST(PostgresAttempt, is_not_misled_by_a_message_that_quotes_a_code) {
  const auto outcome = attempted(error_response("28P01", "as in FATAL:  XX000: quoted"));
  EXPECT_EQ(outcome.failure, Failure::rejected);
  EXPECT_EQ(outcome.code, "28P01");
}

TEST(PostgresAttempt, an_end_before_login_is_not_ready) { EXPECT_EQ(attempted("").failure, Failure::not_ready); }

TEST(PostgresAttempt, silence_is_a_time_out) {
  ScriptedServer server("", Then::hang_on);
  Harness harness(uri_of("app", "secret"));
  const auto outcome = harness.await(harness.standing->attempt(server.endpoint(), Harness::in(50ms)));
  EXPECT_EQ(outcome.failure, Failure::unreachable);
  EXPECT_EQ(outcome.error, "timed out");
}

TEST(PostgresAttempt, without_a_login_goes_as_far_as_the_request_for_a_password) {
  for (const auto* user : {"", "app"}) {
    ScriptedServer server(scram_request, Then::hang_up);
    Harness harness(uri_of(user));
    EXPECT_FALSE(harness.await(harness.standing->check(Harness::in(5s))).ok());
    const auto outcome = harness.await(harness.standing->attempt(server.endpoint(), Harness::in(5s)));
    EXPECT_TRUE(outcome.ok()) << outcome.error;
    EXPECT_EQ(outcome.role, proxy::Role::unknown);
    EXPECT_EQ(outcome.identity, "");
    EXPECT_TRUE(harness.await(harness.standing->check(Harness::in(5s))).ok());
    harness.standing->close();
    EXPECT_FALSE(harness.await(harness.standing->check(Harness::in(5s))).ok());
  }
}

TEST(PostgresAttempt, ends_at_once_when_it_is_closed_and_leaves_no_descriptor) {
  ScriptedServer server("", Then::hang_on);
  Harness harness(uri_of("app", "secret"));
  // The first use makes what the process keeps for good.
  harness.await(harness.standing->attempt({"127.0.0.1", 1}, Harness::in(5s)));
  const auto descriptors = open_descriptors();
  const auto attempt = harness.begin(harness.standing->attempt(server.endpoint(), Harness::in(60s)));
  const auto probe = harness.begin(harness.standing->probe(server.endpoint(), Harness::in(60s)));
  ASSERT_TRUE(harness.run_until([&] { return server.heard() == 2; }));
  harness.standing->close();
  ASSERT_TRUE(harness.run_until([&] { return attempt->has_value() && probe->has_value(); }));
  EXPECT_EQ((*attempt)->error, "closed");
  EXPECT_EQ((*probe)->error, "closed");
  constexpr std::size_t ends_the_server_keeps = 2;
  EXPECT_TRUE(harness.run_until([&] { return open_descriptors() <= descriptors + ends_the_server_keeps; })) << open_descriptors();
}

TEST(PostgresAttempt, may_be_destroyed_while_it_waits) {
  ScriptedServer server("", Then::hang_on);
  Harness harness(uri_of("app", "secret"));
  const auto attempt = harness.begin(harness.standing->attempt(server.endpoint(), Harness::in(60s)));
  const auto check = harness.begin(harness.standing->check(Harness::in(60s)));
  ASSERT_TRUE(harness.run_until([&] { return check->has_value(); }));
  harness.standing.reset();
  ASSERT_TRUE(harness.run_until([&] { return attempt->has_value(); }));
  EXPECT_EQ((*attempt)->failure, Failure::unreachable);
  harness.standing = std::make_unique<PostgresStanding>(harness.thread, harness.home.get_executor(), uri_of("app"));
}

}  // namespace
}  // namespace holdfast::health

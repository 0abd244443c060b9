// The standing connection against a real server that is stopped, killed, frozen, and told to refuse.
#include <gtest/gtest.h>

#include <csignal>
#include <memory>

#include "standing_harness.hpp"
#include "workload/postgres_binaries.hpp"
#include "workload/postgres_server.hpp"
#include "workload/scratch.hpp"

namespace holdfast::health {
namespace {

using proxy::Failure;
using proxy::Role;
using workload::DirectConnection;

/// One server for all cases of a run of this program; each case leaves it running.
class PostgresStandingTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    directory_ = std::make_unique<workload::ScratchDirectory>("holdfast-standing-");
    server_ = std::make_unique<workload::PostgresServer>(workload::find_postgres(workload::postgres_search()),
                                                         directory_->path(), workload::free_port());
    server_->start();
    DirectConnection(server_->superuser("postgres")).create_login("app", "right");
  }
  static void TearDownTestSuite() {
    server_.reset();
    directory_.reset();
  }

  static config::PostgresUri uri(const std::string& password = "right", const std::string& database = "postgres") {
    config::PostgresUri uri;
    uri.user = "app";
    uri.password = config::Secret(password);
    uri.database = database;
    return uri;
  }
  static config::HostPort endpoint() { return {"127.0.0.1", server_->port()}; }
  static proxy::Outcome attempt(Harness& harness) {
    return harness.await(harness.standing->attempt(endpoint(), Harness::in(10s)));
  }
  static DirectConnection superuser() { return DirectConnection(server_->superuser("postgres")); }

  static std::unique_ptr<workload::ScratchDirectory> directory_;
  static std::unique_ptr<workload::PostgresServer> server_;
};
std::unique_ptr<workload::ScratchDirectory> PostgresStandingTest::directory_;
std::unique_ptr<workload::PostgresServer> PostgresStandingTest::server_;

TEST_F(PostgresStandingTest, learns_role_and_identity_without_privileges_and_answers_checks) {
  Harness harness(uri());
  const auto outcome = attempt(harness);
  ASSERT_TRUE(outcome.ok()) << outcome.error;
  EXPECT_EQ(outcome.role, Role::primary);
  const auto expected = superuser().rows(
      "SELECT system_identifier || '/' || current_setting('server_version_num')::int / 10000 || '/' ||"
      " current_setting('server_encoding') FROM pg_control_system()")[0][0];
  EXPECT_EQ(outcome.identity, expected);
  EXPECT_EQ(superuser().rows("SELECT application_name FROM pg_stat_activity WHERE usename = 'app'")[0][0], "holdfast");
  const auto check = harness.await(harness.standing->check(Harness::in(5s)));
  EXPECT_TRUE(check.ok()) << check.error;
  EXPECT_EQ(check.role, Role::primary);
}

TEST_F(PostgresStandingTest, leaves_the_identity_open_where_the_login_may_not_ask_for_it) {
  superuser().run("REVOKE EXECUTE ON FUNCTION pg_catalog.pg_control_system() FROM PUBLIC");
  Harness harness(uri());
  const auto outcome = attempt(harness);
  superuser().run("GRANT EXECUTE ON FUNCTION pg_catalog.pg_control_system() TO PUBLIC");
  EXPECT_TRUE(outcome.ok()) << outcome.error;
  EXPECT_EQ(outcome.role, Role::primary);
  EXPECT_EQ(outcome.identity, "");
}

TEST_F(PostgresStandingTest, sees_that_a_server_takes_no_writes) {
  superuser().run("ALTER ROLE app SET default_transaction_read_only = on");
  Harness harness(uri());
  const auto outcome = attempt(harness);
  superuser().run("ALTER ROLE app RESET default_transaction_read_only");
  EXPECT_TRUE(outcome.ok()) << outcome.error;
  EXPECT_EQ(outcome.role, Role::read_only);
}

TEST_F(PostgresStandingTest, a_wrong_password_is_rejected_with_the_servers_words) {
  Harness harness(uri("hunter2"));
  const auto outcome = attempt(harness);
  EXPECT_EQ(outcome.failure, Failure::rejected);
  EXPECT_EQ(outcome.code, "28P01");
  EXPECT_EQ(outcome.error, "password authentication failed for user \"app\"");
}

TEST_F(PostgresStandingTest, logs_in_with_what_it_was_given_last_and_keeps_an_open_connection_meanwhile) {
  Harness harness(uri("hunter2"));
  EXPECT_EQ(attempt(harness).failure, Failure::rejected);
  harness.standing->reconfigure(uri("right"));
  EXPECT_TRUE(attempt(harness).ok());
  harness.standing->reconfigure(uri("hunter2"));
  EXPECT_TRUE(harness.await(harness.standing->check(Harness::in(5s))).ok());
  EXPECT_TRUE(harness.lost.empty());
  EXPECT_EQ(attempt(harness).failure, Failure::rejected);
}

TEST_F(PostgresStandingTest, a_database_that_does_not_exist_is_rejected) {
  Harness harness(uri("right", "nowhere"));
  const auto outcome = attempt(harness);
  EXPECT_EQ(outcome.failure, Failure::rejected);
  EXPECT_EQ(outcome.code, "3D000");
}

TEST_F(PostgresStandingTest, a_login_without_a_free_slot_is_not_ready) {
  superuser().run("ALTER ROLE app CONNECTION LIMIT 0");
  Harness harness(uri());
  const auto outcome = attempt(harness);
  superuser().run("ALTER ROLE app CONNECTION LIMIT -1");
  EXPECT_EQ(outcome.failure, Failure::not_ready);
  EXPECT_EQ(outcome.code, "53300");
}

TEST_F(PostgresStandingTest, tls_that_the_server_does_not_speak_is_unreachable) {
  auto with_tls = uri();
  with_tls.sslmode = config::SslMode::require;
  Harness harness(with_tls);
  const auto outcome = attempt(harness);
  EXPECT_EQ(outcome.failure, Failure::unreachable);
  EXPECT_NE(outcome.error.find("SSL"), std::string::npos) << outcome.error;
}

TEST_F(PostgresStandingTest, without_a_password_in_the_uri_the_servers_request_for_it_counts_as_alive) {
  Harness harness(uri(""));
  const auto outcome = attempt(harness);
  EXPECT_TRUE(outcome.ok()) << outcome.error;
  EXPECT_EQ(outcome.role, Role::unknown);
  EXPECT_TRUE(harness.await(harness.standing->check(Harness::in(5s))).ok());
  EXPECT_TRUE(harness.await(harness.standing->probe(endpoint(), Harness::in(5s))).ok());
}

TEST_F(PostgresStandingTest, tells_why_an_administrator_ended_it) {
  Harness harness(uri());
  ASSERT_TRUE(attempt(harness).ok());
  superuser().run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'");
  ASSERT_TRUE(harness.run_until([&] { return !harness.lost.empty(); }));
  EXPECT_EQ(harness.lost, std::vector<std::string>{"terminating connection due to administrator command"});
  EXPECT_FALSE(harness.await(harness.standing->check(Harness::in(5s))).ok());
}

TEST_F(PostgresStandingTest, notices_that_the_server_was_killed_and_finds_it_again) {
  Harness harness(uri());
  ASSERT_TRUE(attempt(harness).ok());
  server_->kill_postmaster();
  ASSERT_TRUE(harness.run_until([&] { return !harness.lost.empty(); }));
  EXPECT_NE(harness.lost.front(), "");
  EXPECT_EQ(harness.await(harness.standing->probe(endpoint(), Harness::in(5s))).failure, Failure::unreachable);
  EXPECT_EQ(attempt(harness).failure, Failure::unreachable);
  server_->start();
  EXPECT_TRUE(harness.await(harness.standing->probe(endpoint(), Harness::in(5s))).ok());
  EXPECT_TRUE(attempt(harness).ok());
  EXPECT_TRUE(harness.await(harness.standing->check(Harness::in(5s))).ok());
  EXPECT_EQ(harness.lost.size(), 1U);
}

TEST_F(PostgresStandingTest, notices_that_the_server_was_stopped) {
  Harness harness(uri());
  ASSERT_TRUE(attempt(harness).ok());
  server_->stop();
  ASSERT_TRUE(harness.run_until([&] { return !harness.lost.empty(); }));
  EXPECT_EQ(harness.lost, std::vector<std::string>{"terminating connection due to administrator command"});
  server_->start();
}

TEST_F(PostgresStandingTest, a_frozen_backend_times_out_and_its_late_answer_is_the_next_checks) {
  Harness harness(uri());
  ASSERT_TRUE(attempt(harness).ok());
  const auto rows = superuser().rows("SELECT pid FROM pg_stat_activity WHERE usename = 'app'");
  const auto backend = static_cast<pid_t>(std::stoi(rows.at(0).at(0)));
  ::kill(backend, SIGSTOP);
  const auto frozen = harness.await(harness.standing->check(Harness::in(100ms)));
  const auto still_frozen = harness.await(harness.standing->check(Harness::in(100ms)));
  ::kill(backend, SIGCONT);
  EXPECT_EQ(frozen.failure, Failure::unreachable);
  EXPECT_EQ(frozen.error, "timed out");
  EXPECT_EQ(still_frozen.error, "timed out");
  EXPECT_TRUE(harness.await(harness.standing->check(Harness::in(5s))).ok());
  EXPECT_TRUE(harness.lost.empty());
}

TEST_F(PostgresStandingTest, closing_it_is_no_loss_and_leaves_no_descriptor) {
  Harness harness(uri());
  ASSERT_TRUE(attempt(harness).ok());
  harness.standing->close();
  harness.run_to_the_end();
  const auto descriptors = open_descriptors();  // the first connection's may still be among them
  for (int round = 0; round < 5; ++round) {
    ASSERT_TRUE(attempt(harness).ok());
    ASSERT_TRUE(attempt(harness).ok());  // takes the place of the one before
    harness.standing->close();
    harness.run_to_the_end();
  }
  EXPECT_TRUE(harness.run_until([&] { return open_descriptors() <= descriptors; })) << open_descriptors();
  EXPECT_TRUE(harness.lost.empty());
}

}  // namespace
}  // namespace holdfast::health

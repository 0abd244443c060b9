// The server and the clients against a real PostgreSQL with nothing in between: what the clients must handle, and what the
// check must find, is made to happen in the database itself.
#include "workload/postgres_clients.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "workload/postgres_binaries.hpp"
#include "workload/postgres_server.hpp"
#include "workload/scratch.hpp"

namespace holdfast::workload {
namespace {

constexpr milliseconds limit{30'000};

class RealServer : public testing::Test {
 protected:
  void SetUp() override {
    server_.start();
    app_ = {.port = server_.port(), .user = "app", .password = random_password(), .database = "postgres"};
    DirectConnection direct(server_.superuser("postgres"));
    direct.create_login(app_.user, app_.password);
    direct.run("GRANT CREATE ON DATABASE postgres TO app; ALTER SCHEMA public OWNER TO app");
    DirectConnection(app_).run(workload_schema());
  }
  [[nodiscard]] HistoryVerdict check() const { return check_history(history_.snapshot(), stored_writes(app_)); }
  [[nodiscard]] bool wait_for_writes(const PostgresWorkload& workload, std::uint64_t count) const {
    return wait_until(limit, [&] { return add_up(workload.snapshots()).writes >= count; });
  }

  ScratchDirectory scratch_{"holdfast-test"};
  PostgresServer server_{find_postgres(postgres_search()), scratch_.path(), free_port()};
  PostgresTarget app_;
  History history_;
};

TEST_F(RealServer, serves_the_eight_clients_without_a_complaint) {
  PostgresWorkload workload(app_, history_);
  ASSERT_TRUE(workload.wait_until_ready(limit));
  ASSERT_TRUE(wait_for_writes(workload, 50));
  ASSERT_TRUE(workload.wait_until_served_since(Clock::now(), limit));
  ASSERT_TRUE(workload.pause(limit));
  const auto all = add_up(workload.snapshots());
  EXPECT_EQ(all.sessions, 8U);
  EXPECT_EQ(all.connections, 8U);
  EXPECT_EQ(all.disconnections, 0U);
  EXPECT_EQ(all.wrong_answers, 0U);
  EXPECT_GT(all.notifications, 0U);
  EXPECT_TRUE(all.errors.empty());
  EXPECT_TRUE(check().ok());
  EXPECT_EQ(check().acknowledged, all.writes);
}

TEST_F(RealServer, and_its_documented_errors_cost_the_writers_no_write_and_double_none) {
  DirectConnection(app_).run(
      "CREATE FUNCTION hurt() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
      "  IF random() < 0.05 THEN RAISE EXCEPTION 'made' USING ERRCODE = TG_ARGV[0]; END IF; RETURN NEW; END $$;"
      "CREATE TRIGGER hurt_a BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION hurt('40001');"
      "CREATE TRIGGER hurt_b BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION hurt('57014');"
      "CREATE TRIGGER hurt_c BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION hurt('57P03');"
      "CREATE CONSTRAINT TRIGGER hurt_d AFTER INSERT ON orders DEFERRABLE INITIALLY DEFERRED"
      "  FOR EACH ROW EXECUTE FUNCTION hurt('08007')");
  PostgresWorkload workload(app_, history_);
  ASSERT_TRUE(wait_until(limit, [&] { return add_up(workload.snapshots()).errors.size() == 4; }));
  ASSERT_TRUE(wait_for_writes(workload, 100));
  ASSERT_TRUE(workload.pause(limit));
  const auto all = add_up(workload.snapshots());
  EXPECT_EQ(all.undocumented_errors, 0U);
  EXPECT_EQ(all.disconnections, 0U);
  EXPECT_TRUE(check().ok());
  // Parked means resolved: every write that was begun is known to be committed.
  EXPECT_EQ(check().acknowledged, history_.snapshot().size());
}

TEST_F(RealServer, that_loses_or_doubles_a_write_is_found_out) {
  PostgresWorkload workload(app_, history_);
  ASSERT_TRUE(wait_for_writes(workload, 20));
  ASSERT_TRUE(workload.pause(limit));
  const auto writes = history_.snapshot();
  const auto lost = writes.begin()->first;
  const auto doubled = writes.rbegin()->first;
  DirectConnection direct(app_);
  direct.run("DELETE FROM orders WHERE part = 1 AND id = " + std::to_string(lost));
  direct.run("INSERT INTO orders SELECT * FROM orders WHERE id = " + std::to_string(doubled));
  EXPECT_EQ(check().lost, std::vector<WriteId>{lost});
  EXPECT_EQ(check().doubled, std::vector<WriteId>{doubled});
}

TEST_F(RealServer, that_answers_wrongly_is_found_out) {
  PostgresWorkload workload(app_, history_);
  ASSERT_TRUE(workload.wait_until_ready(limit));
  DirectConnection(app_).run("UPDATE articles SET body = 'another'; UPDATE blue.whoami SET name = 'green'");
  EXPECT_TRUE(wait_until(limit, [&] {
    const auto clients = workload.snapshots();
    return clients[0].wrong_answers > 0 && clients[3].wrong_answers > 0 && clients[4].wrong_answers > 0;
  }));
  EXPECT_EQ(workload.snapshots()[1].wrong_answers, 0U);
}

TEST_F(RealServer, that_is_killed_and_started_again_disconnects_every_client_once_and_keeps_every_write) {
  PostgresWorkload workload(app_, history_);
  ASSERT_TRUE(workload.wait_until_ready(limit));
  for (std::uint64_t kills = 1; kills <= 3; ++kills) {
    ASSERT_TRUE(wait_for_writes(workload, kills * 40));
    const auto before = server_.pid();
    server_.kill_postmaster();
    EXPECT_FALSE(server_.running());
    ASSERT_TRUE(wait_until(limit, [&] { return add_up(workload.snapshots()).disconnections == 8 * kills; }));
    server_.start();
    EXPECT_NE(server_.pid(), before);
    ASSERT_TRUE(workload.wait_until_served_since(Clock::now(), limit));
  }
  ASSERT_TRUE(workload.pause(limit));
  const auto all = add_up(workload.snapshots());
  EXPECT_EQ(all.disconnections, 24U);
  EXPECT_EQ(all.connections, 32U);
  EXPECT_EQ(all.wrong_answers, 0U);
  EXPECT_TRUE(check().ok());
}

TEST_F(RealServer, recovers_by_itself_from_the_kill_of_one_backend) {
  EXPECT_FALSE(server_.kill_backend("app")) << "there is none yet";
  DirectConnection direct(app_);
  const auto before = server_.pid();
  EXPECT_TRUE(server_.kill_backend("app"));
  EXPECT_TRUE(direct.wait_until_lost(limit));
  EXPECT_EQ(server_.pid(), before);
  EXPECT_TRUE(server_.accepts_logins());
}

TEST_F(RealServer, that_never_answers_is_given_up_at_the_end_and_counted) {
  PostgresWorkload workload(app_, history_);
  ASSERT_TRUE(workload.wait_until_ready(limit));
  DirectConnection locker(server_.superuser("postgres"));
  locker.run("BEGIN; LOCK TABLE orders");
  // One that rests between two writes would end without a question open.
  const std::string waiting = "SELECT count(*) FROM pg_locks WHERE relation = 'orders'::regclass AND mode = 'RowExclusiveLock' AND NOT granted";
  ASSERT_TRUE(wait_until(limit, [&] { return locker.rows(waiting).front().front() == "3"; }));
  ASSERT_FALSE(workload.pause(milliseconds(500)));
  workload.end();
  EXPECT_EQ(add_up(workload.snapshots()).unanswered, 3U) << "the three writers";
}

TEST_F(RealServer, does_not_run_as_root_and_wants_a_password) {
  struct stat status {};
  ASSERT_EQ(stat(("/proc/" + std::to_string(server_.pid())).c_str(), &status), 0);
  EXPECT_NE(status.st_uid, 0U);
  auto wrong = app_;
  wrong.password = "wrong";
  EXPECT_THROW(DirectConnection{wrong}, std::runtime_error);
}

}  // namespace
}  // namespace holdfast::workload

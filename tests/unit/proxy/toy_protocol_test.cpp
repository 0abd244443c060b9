// The seams of the core under another protocol than PostgreSQL: endpoints with roles, gate, limiter, standing connection,
// error class, observer and counters, over real sockets to a server of lines that stops and starts.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/unit/proxy/toy_protocol.hpp"

namespace holdfast::proxy::toy {
namespace {

class Recorder : public UpstreamObserver {
 public:
  void on_event(const Event& event) override { events.push_back(event); }
  [[nodiscard]] const Event* last(EventKind kind) const {
    const auto found = std::find_if(events.rbegin(), events.rend(), [&](const Event& event) { return event.kind == kind; });
    return found == events.rend() ? nullptr : &*found;
  }
  std::vector<Event> events;
};

/// Proxy, servers and clients on the test's own thread; it runs while the test waits for something.
class ToyProtocol : public testing::Test {
 protected:
  ~ToyProtocol() override {
    for (const auto& server : servers) server->stop();
    if (upstream) upstream->stop();
    home.restart();
    home.run_for(10s);
    EXPECT_TRUE(home.stopped()) << "something is left to do after the end";
  }
  LineServer& add_server(Role role) {
    servers.push_back(std::make_shared<LineServer>(home.get_executor(), role));
    servers.back()->start();
    return *servers.back();
  }
  void connect(Wish wish = Wish::any) {
    settings.connection = "lines";
    for (const auto& server : servers) settings.endpoints.push_back(server->address());
    settings.wish = wish;
    settings.reconnect.probe_interval = 20ms;
    settings.reconnect.retry_delay = 10s;  // what comes back sooner was found by a probe
    upstream = std::make_unique<Upstream>(home.get_executor(), settings,
                                          std::make_unique<LineStanding>(home.get_executor()), recorder, 1);
    upstream->start();
  }
  LineSession& add_session() {
    sessions.push_back(std::make_unique<LineSession>(home.get_executor(), *upstream, settings.wish, counters));
    return *sessions.back();
  }
  std::shared_ptr<std::optional<std::string>> begin(LineSession& session, std::string line) {
    auto answer = std::make_shared<std::optional<std::string>>();
    asio::co_spawn(home, session.ask(std::move(line)), [answer](const std::exception_ptr& thrown, std::string text) {
      EXPECT_FALSE(thrown);
      *answer = std::move(text);
    });
    return answer;
  }
  std::string wait_for(const std::shared_ptr<std::optional<std::string>>& answer) {
    EXPECT_TRUE(run_until([&] { return answer->has_value(); })) << "no answer";
    return answer->value_or("nothing");
  }
  std::string ask(LineSession& session, std::string line) { return wait_for(begin(session, std::move(line))); }
  template <class Done>
  [[nodiscard]] bool run_until(Done done) {
    const auto limit = now() + 20s;
    while (!done()) {
      if (now() > limit) return false;
      home.restart();
      home.run_one_for(20ms);
    }
    return true;
  }
  [[nodiscard]] bool run_until_told(EventKind kind) {
    return run_until([&] { return recorder.last(kind) != nullptr; });
  }

  asio::io_context home{1};
  UpstreamSettings settings;
  Recorder recorder;
  ConnectionCounters counters;
  std::vector<std::shared_ptr<LineServer>> servers;
  std::unique_ptr<Upstream> upstream;
  std::vector<std::unique_ptr<LineSession>> sessions;
};

TEST_F(ToyProtocol, a_session_survives_the_restart_of_its_server) {
  auto& server = add_server(Role::primary);
  connect();
  auto& session = add_session();
  EXPECT_EQ(ask(session, "name ada"), "done");
  EXPECT_EQ(ask(session, "put 1"), "done 1");
  server.stop();
  ASSERT_TRUE(run_until_told(EventKind::connection_lost));
  const auto held = begin(session, "put 2");
  server.start();
  EXPECT_EQ(wait_for(held), "done 2");
  EXPECT_EQ(ask(session, "whoami"), "ada");
  EXPECT_EQ(server.executed, (std::vector<std::string>{"1", "2"}));
  ASSERT_TRUE(run_until_told(EventKind::reconnected));
  EXPECT_EQ(recorder.last(EventKind::reconnected)->sessions_restored, 1U);
  EXPECT_EQ(recorder.last(EventKind::reconnected)->connection, "lines");
  EXPECT_EQ(counters.sessions_restored.value(), 1U);
  EXPECT_EQ(counters.statements.value(), 4U);
}

TEST_F(ToyProtocol, never_repeats_a_write_whose_answer_was_lost) {
  auto& server = add_server(Role::primary);
  connect();
  auto& session = add_session();
  EXPECT_EQ(ask(session, "put 1"), "done 1");
  server.loses_answer = true;
  EXPECT_EQ(ask(session, "put 2"), "error: the outcome is unknown");
  EXPECT_EQ(counters.commit_outcomes_unknown.value(), 1U);
  EXPECT_EQ(ask(session, "put 3"), "done 3");
  EXPECT_EQ(server.executed, (std::vector<std::string>{"1", "2", "3"}));
}

TEST_F(ToyProtocol, repeats_what_was_certainly_not_executed) {
  auto& server = add_server(Role::primary);
  connect();
  server.busy = 2;
  EXPECT_EQ(ask(add_session(), "put 1"), "done 1");
  EXPECT_EQ(server.executed, std::vector<std::string>{"1"});
}

TEST_F(ToyProtocol, follows_the_role_that_is_wished_for_from_server_to_server) {
  auto& first = add_server(Role::primary);
  auto& second = add_server(Role::standby);
  connect(Wish::primary);
  auto& session = add_session();
  EXPECT_EQ(ask(session, "put 1"), "done 1");
  first.stop();
  const auto held = begin(session, "put 2");
  ASSERT_TRUE(run_until([&] { return second.logins > 0; })) << "a standby that answers is asked for its role";
  EXPECT_FALSE(held->has_value());
  second.role = Role::primary;
  EXPECT_EQ(wait_for(held), "done 2");
  EXPECT_EQ(second.executed, std::vector<std::string>{"2"});
}

TEST_F(ToyProtocol, logs_in_no_more_sessions_at_once_than_concurrency_says) {
  auto& server = add_server(Role::primary);
  settings.reconnect.concurrency = 3;
  connect();
  EXPECT_EQ(ask(add_session(), "whoami"), "nobody");
  server.login_time = 5ms;
  server.logins_at_once_max = 0;
  std::vector<std::shared_ptr<std::optional<std::string>>> answers;
  for (int i = 0; i < 20; ++i) answers.push_back(begin(add_session(), "whoami"));
  for (const auto& answer : answers) EXPECT_EQ(wait_for(answer), "nobody");
  EXPECT_EQ(server.logins_at_once_max, 3);
}

TEST_F(ToyProtocol, shows_a_permanent_error_at_once) {
  auto& server = add_server(Role::primary);
  connect();
  ASSERT_TRUE(run_until_told(EventKind::connected));
  server.denies = true;
  EXPECT_EQ(ask(add_session(), "whoami"), "error: denied");
  EXPECT_EQ(server.logins, 2) << "the standing connection's, and one of the session";
}

TEST_F(ToyProtocol, a_wait_ends_at_its_deadline_or_when_it_is_cancelled) {
  auto& server = add_server(Role::primary);
  connect();
  ASSERT_TRUE(run_until_told(EventKind::connected));
  server.stop();
  ASSERT_TRUE(run_until_told(EventKind::connection_lost));
  auto& patient = add_session();
  auto& hasty = add_session();
  hasty.hold_timeout = 50ms;
  const auto waits = begin(patient, "whoami");
  EXPECT_TRUE(ask(hasty, "whoami").starts_with("error: lines: no upstream (")) << "the text says what is known";
  EXPECT_FALSE(waits->has_value());
  patient.cancel();
  EXPECT_EQ(wait_for(waits), "error: lines: the wait was cancelled");
}

TEST_F(ToyProtocol, an_operator_pauses_and_resumes_it_like_any_other) {
  add_server(Role::primary);
  connect();
  ASSERT_TRUE(run_until_told(EventKind::connected));
  upstream->pause();
  const auto held = begin(add_session(), "whoami");
  home.restart();
  home.run_for(50ms);
  EXPECT_FALSE(held->has_value());
  upstream->resume();
  EXPECT_EQ(wait_for(held), "nobody");
}

}  // namespace
}  // namespace holdfast::proxy::toy

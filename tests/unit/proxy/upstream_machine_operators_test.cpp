// What operators do to an upstream: pause, resume, force a reconnect, change the configuration at any moment.
#include "tests/unit/proxy/upstream_script.hpp"

namespace holdfast::proxy::test {
namespace {

void pause(UpstreamScript& script) {
  script.do_and_take([&](auto& machine) { machine.pause(script.now); });
}
void resume(UpstreamScript& script) {
  script.do_and_take([&](auto& machine) { machine.resume(script.now); });
}
void force(UpstreamScript& script) {
  script.do_and_take([&](auto& machine) { machine.force_reconnect(script.now); });
}
template <class Change>
void change(UpstreamScript& script, Change with) {
  auto reconnect = script.machine.settings().reconnect;
  auto health = script.machine.settings().health;
  with(reconnect, health);
  script.do_and_take([&](auto& machine) { machine.reconfigure(reconnect, health, script.now); });
}

TEST(UpstreamPause, holds_everyone_and_lets_them_go_on_resume) {
  UpstreamScript script;
  script.connect();
  pause(script);
  EXPECT_EQ(script.machine.state(), State::paused);
  script.enter(1);
  script.advance(20s);
  EXPECT_FALSE(script.granted(1));
  resume(script);
  EXPECT_TRUE(script.granted(1));
  EXPECT_EQ(script.machine.state(), State::connected);
}

TEST(UpstreamPause, the_hold_timeout_does_not_run) {
  UpstreamScript script;
  script.connect_and_lose();
  script.answer_probe = script.answer_attempt = [](std::size_t) { return bad(); };
  change(script, [](auto& reconnect, auto&) { reconnect.max_retries = 1000; });
  script.enter(1, Wish::any, 10s);
  script.advance(4s);
  pause(script);
  script.advance(100s);
  script.enter(2, Wish::any, 10s);
  script.advance(100s);
  EXPECT_TRUE(script.refusals.empty());
  resume(script);
  script.advance(5999ms);
  EXPECT_TRUE(script.refusals.empty());
  script.advance(1ms);
  EXPECT_TRUE(script.refusals.contains(1)) << "it had waited 4 of its 10 seconds";
  EXPECT_FALSE(script.refusals.contains(2));
  script.advance(4s);
  EXPECT_TRUE(script.refusals.contains(2)) << "it came during the pause and has its own 10 seconds, no more";
}

TEST(UpstreamPause, ends_by_itself_after_pause_timeout) {
  auto settings = settings_of();
  settings.pause_timeout = 90s;
  UpstreamScript script(settings);
  script.connect();
  pause(script);
  script.enter(1, Wish::any, 1s);
  script.advance(60s);
  if (script.check) script.check_ends(good());
  pause(script);  // again: the first one counts
  script.advance(29s);
  EXPECT_FALSE(script.granted(1));
  script.advance(1s);
  EXPECT_TRUE(script.granted(1));
  EXPECT_EQ(script.machine.state(), State::connected);
}

TEST(UpstreamPause, sends_no_probes) {
  UpstreamScript script;
  script.connect();
  pause(script);
  script.lose();
  EXPECT_TRUE(script.probes.empty());
  script.advance(4s);
  EXPECT_TRUE(script.probes.empty());
  resume(script);
  EXPECT_FALSE(script.probes.empty());
}

TEST(UpstreamPause, lies_over_an_open_breaker) {
  auto settings = settings_of();
  settings.reconnect.max_retries = 1;
  UpstreamScript script(settings);
  script.connect_and_lose();
  script.answer_probe = script.answer_attempt = [](std::size_t) { return bad(); };
  script.advance(6s);
  ASSERT_EQ(script.machine.state(), State::failed);
  pause(script);
  script.enter(1);
  EXPECT_TRUE(script.refusals.empty());
  resume(script);
  EXPECT_EQ(script.machine.state(), State::failed);
}

TEST(UpstreamForce, closes_the_breaker_and_tries_at_once) {
  auto settings = settings_of();
  settings.reconnect.max_retries = 1;
  UpstreamScript script(settings);
  script.connect_and_lose();
  script.answer_probe = [](std::size_t) { return bad(); };
  script.advance_until([&] { return script.attempt.has_value(); });
  script.attempt_ends(bad());
  ASSERT_EQ(script.machine.state(), State::failed);
  force(script);
  EXPECT_EQ(script.machine.state(), State::reconnecting);
  EXPECT_EQ(script.machine.status().breaker, BreakerState::closed);
  ASSERT_TRUE(script.attempt);
  script.enter(1);
  EXPECT_TRUE(script.refusals.empty());
  script.attempt_ends(good());
  EXPECT_TRUE(script.granted(1));
}

TEST(UpstreamForce, replaces_a_standing_connection_that_works) {
  UpstreamScript script;
  script.connect();
  force(script);
  EXPECT_EQ(script.closes, 1);
  ASSERT_TRUE(script.attempt);
  script.attempt_ends(good());
  EXPECT_EQ(script.kinds(), (std::vector{EventKind::reconnecting, EventKind::reconnected}));
}

TEST(UpstreamForce, before_the_start_or_after_the_end_does_nothing) {
  UpstreamScript script;
  force(script);
  EXPECT_FALSE(script.attempt);
  script.start();
  script.attempt.reset();
  script.do_and_take([](auto& machine) { machine.stop(); });
  force(script);
  EXPECT_FALSE(script.attempt);
}

TEST(UpstreamConfiguration, a_shorter_delay_applies_to_the_backoff_that_runs) {
  UpstreamScript script;
  script.connect_and_lose();
  script.answer_probe = [](std::size_t) { return bad(); };
  script.advance(1s);
  change(script, [](auto& reconnect, auto&) { reconnect.retry_delay = 200ms; });
  EXPECT_EQ(script.advance_until([&] { return script.attempt.has_value(); }), 200ms);
}

TEST(UpstreamConfiguration, what_does_not_concern_the_delay_leaves_the_backoff_alone) {
  UpstreamScript script;
  script.connect_and_lose();
  script.answer_probe = [](std::size_t) { return bad(); };
  script.advance(4s);
  change(script, [](auto& reconnect, auto&) { reconnect.hold_timeout = 5s; });
  EXPECT_EQ(script.advance_until([&] { return script.attempt.has_value(); }), 1s);
}

TEST(UpstreamConfiguration, fewer_retries_open_the_breaker_at_the_next_failure) {
  UpstreamScript script;
  script.connect_and_lose();
  script.answer_probe = [](std::size_t) { return bad(); };
  for (int i = 0; i < 2; ++i) {
    script.advance_until([&] { return script.attempt.has_value(); });
    if (i == 1) change(script, [](auto& reconnect, auto&) { reconnect.max_retries = 1; });
    script.attempt_ends(bad());
  }
  EXPECT_EQ(script.machine.state(), State::failed);
}

TEST(UpstreamConfiguration, more_concurrency_lets_waiters_through_at_once) {
  auto settings = settings_of();
  settings.reconnect.concurrency = 1;
  UpstreamScript script(settings);
  script.connect();
  for (std::uint64_t waiter = 1; waiter <= 4; ++waiter) script.enter(waiter);
  change(script, [](auto& reconnect, auto&) { reconnect.concurrency = 3; });
  EXPECT_EQ(script.logins.size(), 3U);
}

TEST(UpstreamConfiguration, a_shorter_health_interval_applies_to_the_wait_that_runs) {
  UpstreamScript script;
  script.connect();
  change(script, [](auto&, auto& health) { health.interval = 2s; });
  EXPECT_EQ(script.advance_until([&] { return script.check.has_value(); }), 2s);
}

TEST(UpstreamConfiguration, a_shorter_health_interval_applies_to_an_open_breaker_too) {
  auto settings = settings_of();
  settings.reconnect.max_retries = 1;
  UpstreamScript script(settings);
  script.connect_and_lose();
  script.answer_probe = [](std::size_t) { return bad(); };
  script.advance_until([&] { return script.attempt.has_value(); });
  script.attempt_ends(bad());
  ASSERT_EQ(script.machine.state(), State::failed);
  change(script, [](auto&, auto& health) { health.interval = 2s; });
  EXPECT_EQ(script.advance_until([&] { return script.attempt.has_value(); }), 2s);
}

}  // namespace
}  // namespace holdfast::proxy::test

// Attempts, backoff, breaker and probes of one endpoint. The gate, several hosts and operators have files of their own.
#include "tests/unit/proxy/upstream_script.hpp"

namespace holdfast::proxy::test {
namespace {

TEST(UpstreamMachine, tries_at_once_when_it_starts) {
  UpstreamScript script;
  script.start();
  EXPECT_EQ(script.machine.state(), State::connecting);
  ASSERT_TRUE(script.attempt);
  EXPECT_EQ(script.attempt->deadline - script.now, 10s);
  script.attempt_ends(good());
  EXPECT_EQ(script.machine.state(), State::connected);
  EXPECT_EQ(script.kinds(), std::vector{EventKind::connected});
  EXPECT_EQ(script.machine.status().current, "db-0:5432");
}

TEST(UpstreamMachine, stays_connecting_until_it_was_connected_once) {
  UpstreamScript script;
  script.start();
  script.attempt_ends(bad());
  EXPECT_EQ(script.machine.state(), State::connecting);
  EXPECT_EQ(script.machine.status().last_error, "refused");
  EXPECT_EQ(script.machine.status().attempts, 0U) << "the first try is not a retry";
}

TEST(UpstreamMachine, waits_five_ten_and_twenty_seconds_then_opens_the_breaker) {
  UpstreamScript script;
  script.connect_and_lose();
  script.answer_probe = [](std::size_t) { return bad(); };
  EXPECT_EQ(script.kinds(), (std::vector{EventKind::connection_lost, EventKind::reconnect_scheduled}));
  for (const auto delay : {5s, 10s, 20s}) {
    EXPECT_EQ(script.machine.state(), State::reconnecting);
    EXPECT_EQ(script.events.back().delay, delay);
    EXPECT_EQ(script.events.back().max_retries, 3U);
    EXPECT_EQ(script.advance_until([&] { return script.attempt.has_value(); }), delay);
    EXPECT_EQ(script.events.back().kind, EventKind::reconnecting);
    script.attempt_ends(bad());
  }
  EXPECT_EQ(script.machine.state(), State::failed);
  EXPECT_EQ(script.machine.status().breaker, BreakerState::open);
  EXPECT_EQ(script.events.back().kind, EventKind::reconnect_failed);
  EXPECT_EQ(script.events.back().reason, "refused");
  EXPECT_EQ(script.machine.status().attempts, 3U);
}

TEST(UpstreamMachine, bounds_the_delay_and_spreads_it_by_the_jitter) {
  for (const double draw : {0.0, 0.25, 0.5, 1.0}) {
    auto settings = settings_of();
    settings.reconnect.jitter = 0.2;
    settings.reconnect.max_retries = 20;
    UpstreamMachine machine(settings, [draw] { return draw; });
    auto now = SteadyTime{1h};
    machine.start(now);
    std::vector<milliseconds> delays;
    for (std::uint64_t number = 1; number <= 8; ++number) {
      machine.on_attempt(number, 0, bad(), now);
      delays.push_back(std::chrono::duration_cast<milliseconds>(*machine.next_attempt_at() - now));
      now = *machine.next_attempt_at();
      machine.on_timer(now);
    }
    EXPECT_EQ(delays[0], milliseconds(static_cast<long>(5000 * (0.9 + 0.2 * draw))));
    for (const auto delay : delays) EXPECT_LE(delay, 60s);
    EXPECT_GE(delays.back(), 54s);
  }
}

TEST(UpstreamMachine, half_opens_on_the_health_interval_and_closes_on_success) {
  UpstreamScript script;
  script.connect_and_lose();
  script.answer_probe = [](std::size_t) { return bad(); };
  for (int i = 0; i < 3; ++i) {
    script.advance_until([&] { return script.attempt.has_value(); });
    script.attempt_ends(bad());
  }
  const auto health = script.machine.settings().health.interval;
  for (int i = 0; i < 3; ++i) {
    script.events.clear();
    EXPECT_EQ(script.advance_until([&] { return script.attempt.has_value(); }), health);
    EXPECT_EQ(script.machine.status().breaker, BreakerState::half_open);
    EXPECT_EQ(script.machine.state(), State::failed);
    script.attempt_ends(bad(i == 1 ? Failure::not_ready : Failure::unreachable));
    EXPECT_EQ(script.machine.status().breaker, BreakerState::open);
    EXPECT_FALSE(script.told(EventKind::reconnect_failed)) << "told once";
  }
  script.advance_until([&] { return script.attempt.has_value(); });
  script.attempt_ends(good());
  EXPECT_EQ(script.machine.state(), State::connected);
  EXPECT_EQ(script.machine.status().breaker, BreakerState::closed);
  EXPECT_EQ(script.machine.status().attempts, 0U);
}

TEST(UpstreamMachine, a_probes_answer_ends_the_wait_and_its_attempt_does_not_count) {
  UpstreamScript script;
  script.connect_and_lose();
  ASSERT_EQ(script.probes.size(), 1U) << "the first probe goes out with the loss";
  script.advance(300ms);
  script.probe_ends(good());
  ASSERT_TRUE(script.attempt);
  script.attempt_ends(bad());
  EXPECT_EQ(script.machine.status().attempts, 0U);
  script.advance_until([&] { return !script.probes.empty(); });
  script.probe_ends(good());
  script.attempt_ends(good());
  EXPECT_EQ(script.machine.state(), State::connected);
  EXPECT_EQ(script.events.back().kind, EventKind::reconnected);
  EXPECT_GE(script.events.back().downtime, 300ms);
}

TEST(UpstreamMachine, a_server_that_answers_probes_but_no_login_opens_the_breaker_all_the_same) {
  UpstreamScript script;
  script.connect_and_lose();
  script.answer_probe = [](std::size_t) { return good(); };
  script.answer_attempt = [](std::size_t) { return bad(Failure::unreachable, "closed in the middle"); };
  script.advance(36s);
  EXPECT_EQ(script.machine.state(), State::failed);
  const auto scheduled = std::ranges::count(script.kinds(), EventKind::reconnect_scheduled);
  EXPECT_EQ(scheduled, 3) << "one line in the log for each counted attempt, not for each probe";
}

TEST(UpstreamMachine, a_probes_answer_half_opens_the_breaker) {
  auto settings = settings_of();
  settings.reconnect.max_retries = 1;
  UpstreamScript script(settings);
  script.connect_and_lose();
  script.probe_ends(bad());
  script.advance_until([&] { return script.attempt.has_value(); });
  script.attempt_ends(bad());
  ASSERT_EQ(script.machine.state(), State::failed);
  script.advance_until([&] { return !script.probes.empty(); });
  script.probe_ends(good());
  EXPECT_EQ(script.machine.status().breaker, BreakerState::half_open);
  script.attempt_ends(bad());
  EXPECT_EQ(script.machine.status().breaker, BreakerState::open);
  script.advance_until([&] { return !script.probes.empty(); });
  script.probe_ends(good());
  script.attempt_ends(good());
  EXPECT_EQ(script.machine.state(), State::connected);
}

TEST(UpstreamMachine, does_not_count_a_server_that_is_not_ready) {
  UpstreamScript script;
  script.connect_and_lose();
  script.answer_probe = [](std::size_t) { return bad(Failure::not_ready, "the database system is starting up"); };
  script.answer_attempt = script.answer_probe;
  script.advance(120s);
  EXPECT_EQ(script.machine.state(), State::reconnecting);
  EXPECT_EQ(script.machine.status().attempts, 0U);
  EXPECT_EQ(script.machine.status().last_error, "the database system is starting up");
  script.answer_attempt = script.answer_probe = [](std::size_t) { return good(); };
  script.advance(1200ms);
  EXPECT_EQ(script.machine.state(), State::connected);
}

TEST(UpstreamMachine, probes_every_interval_at_first_and_once_a_second_after_five) {
  UpstreamScript script;
  script.connect_and_lose();
  int probes = 0;
  script.answer_attempt = [](std::size_t) { return bad(); };
  script.answer_probe = [&probes](std::size_t) {
    ++probes;
    return bad();
  };
  script.advance(1s);
  EXPECT_NEAR(probes, 11, 1);
  script.advance(9s);
  const int before = std::exchange(probes, 0);
  EXPECT_NEAR(before, 56, 3);
  script.enter(1);
  script.advance(1s);
  EXPECT_NEAR(probes, 10, 1) << "somebody waits";
}

TEST(UpstreamMachine, a_rejected_login_is_shown_and_never_retried_by_itself) {
  UpstreamScript script;
  script.start();
  script.attempt_ends(bad(Failure::rejected, "password authentication failed"));
  EXPECT_EQ(script.machine.status().last_error, "password authentication failed");
  EXPECT_FALSE(script.machine.deadline());
  script.advance(600s);
  EXPECT_FALSE(script.attempt);
  EXPECT_TRUE(script.probes.empty());
  script.enter(1);
  EXPECT_TRUE(script.granted(1)) << "the server lives: sessions log in on their own";
}

TEST(UpstreamMachine, a_late_probe_does_not_make_it_try_a_rejected_login_again) {
  for (const auto& late : {good(), bad()}) {
    UpstreamScript script;
    script.connect_and_lose();
    script.do_and_take([&](auto& machine) { machine.force_reconnect(script.now); });
    script.attempt_ends(bad(Failure::rejected, "no"));
    script.probe_ends(late);
    EXPECT_FALSE(script.attempt);
    EXPECT_EQ(script.machine.status().last_error, "no");
  }
}

TEST(UpstreamMachine, tries_a_rejected_login_again_when_something_may_have_changed) {
  const auto rejected = [] {
    UpstreamScript script;
    script.start();
    script.attempt_ends(bad(Failure::rejected, "no"));
    return script;
  };
  auto forced = rejected();
  forced.do_and_take([&](auto& machine) { machine.force_reconnect(forced.now); });
  EXPECT_TRUE(forced.attempt);

  auto configured = rejected();
  configured.do_and_take([&](auto& machine) {
    machine.reconfigure(machine.settings().reconnect, machine.settings().health, configured.now);
  });
  EXPECT_TRUE(configured.attempt);

  auto logged_in = rejected();
  logged_in.enter(1);
  logged_in.login_ends(bad(Failure::rejected, "wrong password"));
  EXPECT_FALSE(logged_in.attempt) << "a client's wrong password says nothing";
  logged_in.enter(2);
  logged_in.login_ends(good());
  ASSERT_TRUE(logged_in.attempt);
  logged_in.attempt_ends(good());
  EXPECT_EQ(logged_in.machine.state(), State::connected);
}

TEST(UpstreamMachine, a_rejection_while_the_breaker_is_open_leaves_no_trace_of_it) {
  auto settings = settings_of();
  settings.reconnect.max_retries = 1;
  UpstreamScript script(settings);
  script.connect_and_lose();
  script.probe_ends(bad());
  script.advance_until([&] { return script.attempt.has_value(); });
  script.attempt_ends(bad());
  ASSERT_EQ(script.machine.state(), State::failed);
  script.advance_until([&] { return !script.probes.empty(); });
  script.probe_ends(good());
  script.attempt_ends(bad(Failure::rejected, "no"));
  EXPECT_EQ(script.machine.status().breaker, BreakerState::closed);
  EXPECT_EQ(script.machine.state(), State::reconnecting) << "failed means that the breaker is open";
  script.enter(1);
  script.login_ends(good());
  script.attempt_ends(bad(Failure::not_ready, "full"));
  script.enter(2);
  EXPECT_FALSE(script.refusals.contains(2)) << "it is held, for the breaker is closed";
}

TEST(UpstreamMachine, an_answer_that_was_overtaken_changes_nothing) {
  UpstreamScript script;
  script.start();
  const auto first = *script.attempt;
  script.do_and_take([&](auto& machine) { machine.force_reconnect(script.now); });
  ASSERT_NE(script.attempt->number, first.number);
  script.machine.on_attempt(first.number, first.endpoint, good(), script.now);
  script.take();
  EXPECT_EQ(script.machine.state(), State::connecting);
  script.attempt_ends(good());
  EXPECT_EQ(script.machine.state(), State::connected);
}

TEST(UpstreamMachine, a_stopped_machine_asks_for_nothing_more) {
  UpstreamScript script;
  script.connect();
  script.do_and_take([&](auto& machine) { machine.want_check(script.now + 1s); });
  script.do_and_take([](auto& machine) { machine.stop(); });
  EXPECT_EQ(script.closes, 1);
  script.check_ends(bad());
  script.lose();
  script.do_and_take([&](auto& machine) { machine.force_reconnect(script.now); });
  script.advance(600s);
  EXPECT_FALSE(script.attempt);
  EXPECT_TRUE(script.probes.empty());
  EXPECT_TRUE(script.events.empty()) << "an end that was asked for is no loss";
  script.enter(1);
  EXPECT_EQ(script.refusals.at(1).reason, RefusalReason::stopped);
}

}  // namespace
}  // namespace holdfast::proxy::test

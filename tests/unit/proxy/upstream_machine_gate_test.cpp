// The gate: who is let through, who waits, for how long, and what he is told who waited in vain.
#include "tests/unit/proxy/upstream_script.hpp"

namespace holdfast::proxy::test {
namespace {

TEST(UpstreamGate, lets_through_at_once_while_connected) {
  UpstreamScript script;
  script.connect();
  script.enter(1);
  EXPECT_TRUE(script.granted(1));
  script.enter(2, Wish::any, 0ms);
  EXPECT_TRUE(script.granted(2)) << "who need not wait needs no time to wait";
}

TEST(UpstreamGate, holds_what_comes_during_an_outage_and_lets_it_through_in_order) {
  UpstreamScript script;
  script.connect_and_lose();
  for (std::uint64_t waiter = 1; waiter <= 3; ++waiter) script.enter(waiter);
  EXPECT_TRUE(script.grants.empty());
  script.probe_ends(good());
  script.attempt_ends(good());
  ASSERT_EQ(script.logins.size(), 3U);
  for (std::uint64_t i = 0; i < 3; ++i) EXPECT_EQ(script.logins[i].waiter, i + 1);
}

TEST(UpstreamGate, refuses_at_the_deadline_and_says_what_is_known) {
  UpstreamScript script;
  script.connect_and_lose();
  script.answer_probe = script.answer_attempt = [](std::size_t) { return bad(Failure::unreachable, "no route"); };
  script.enter(1, Wish::any, 3s);
  script.enter(2, Wish::any, 4s);
  script.advance(2999ms);
  EXPECT_TRUE(script.refusals.empty());
  script.advance(1ms);
  ASSERT_TRUE(script.refusals.contains(1));
  EXPECT_FALSE(script.refusals.contains(2));
  EXPECT_EQ(script.refusals.at(1).reason, RefusalReason::hold_timeout);
  EXPECT_EQ(script.refusals.at(1).message, "orders: no upstream (no route); next attempt in 2000ms; held for 3000ms");
}

TEST(UpstreamGate, refuses_new_ones_at_once_while_the_breaker_is_open_and_keeps_those_that_wait) {
  auto settings = settings_of();
  settings.reconnect.max_retries = 1;
  UpstreamScript script(settings);
  script.connect_and_lose();
  script.answer_probe = script.answer_attempt = [](std::size_t) { return bad(); };
  script.enter(1);
  script.advance(5s);
  ASSERT_EQ(script.machine.state(), State::failed);
  EXPECT_FALSE(script.refusals.contains(1));
  script.enter(2);
  ASSERT_TRUE(script.refusals.contains(2));
  EXPECT_EQ(script.refusals.at(2).reason, RefusalReason::breaker_open);
  EXPECT_NE(script.refusals.at(2).message.find("the circuit breaker is open"), std::string::npos);
  script.answer_probe = script.answer_attempt = [](std::size_t) { return good(); };
  script.advance(200ms);
  EXPECT_TRUE(script.granted(1)) << "a waiter keeps its time, and the probes their pace";
}

TEST(UpstreamGate, ends_a_wait_that_is_cancelled_and_only_that) {
  UpstreamScript script;
  script.connect_and_lose();
  script.enter(1);
  script.enter(2);
  script.do_and_take([](auto& machine) { machine.cancel_wait(1); });
  EXPECT_EQ(script.refusals.at(1).reason, RefusalReason::cancelled);
  script.do_and_take([](auto& machine) {
    machine.cancel_wait(1);
    machine.cancel_wait(77);
  });
  EXPECT_EQ(script.refusals.size(), 1U);
  EXPECT_EQ(script.machine.waiting(), 1U);
}

TEST(UpstreamGate, lets_no_more_log_in_at_once_than_concurrency_says) {
  auto settings = settings_of();
  settings.reconnect.concurrency = 2;
  UpstreamScript script(settings);
  script.connect();
  for (std::uint64_t waiter = 1; waiter <= 6; ++waiter) script.enter(waiter);
  EXPECT_EQ(script.logins.size(), 2U);
  for (std::size_t done = 1; done <= 4; ++done) {
    script.login_ends();
    EXPECT_EQ(script.logins.size(), 2U);
    EXPECT_EQ(script.grants.size(), 2 + done);
  }
  script.login_ends();
  script.login_ends();
  EXPECT_EQ(script.machine.slots_in_use(), 0U);
}

TEST(UpstreamGate, one_who_waits_for_a_slot_still_has_a_deadline) {
  auto settings = settings_of();
  settings.reconnect.concurrency = 1;
  UpstreamScript script(settings);
  script.connect();
  script.enter(1);
  script.enter(2, Wish::any, 2s);
  script.advance(2s);
  EXPECT_EQ(script.refusals.at(2).reason, RefusalReason::hold_timeout);
  script.enter(3, Wish::any, 0ms);
  EXPECT_EQ(script.refusals.at(3).reason, RefusalReason::hold_timeout);
}

TEST(UpstreamGate, a_failed_login_holds_its_endpoint_back_for_a_moment_and_asks_the_standing_connection) {
  UpstreamScript script;
  script.connect();
  script.enter(1);
  script.login_ends(bad());
  EXPECT_TRUE(script.check) << "one login that fails may mean that the server is gone";
  script.enter(2);
  EXPECT_FALSE(script.granted(2));
  script.check_ends(good());
  EXPECT_EQ(script.advance_until([&] { return script.granted(2); }), 100ms);
}

TEST(UpstreamGate, a_grant_that_is_not_used_says_nothing_of_the_server_and_lets_the_next_in) {
  auto settings = settings_of();
  settings.reconnect.concurrency = 1;
  UpstreamScript script(settings);
  script.start();
  script.attempt_ends(bad(Failure::rejected, "password"));
  script.enter(1);
  script.enter(2);
  ASSERT_TRUE(script.granted(1) && !script.granted(2));
  script.grant_unused();
  EXPECT_TRUE(script.granted(2));
  script.grant_unused();
  EXPECT_EQ(script.machine.slots_in_use(), 0U);
  EXPECT_FALSE(script.attempt) << "nobody has shown that our own login is worth another attempt";
}

TEST(UpstreamGate, a_login_without_a_grant_means_the_same_as_one_with_it) {
  UpstreamScript script;
  script.connect();
  script.login_without_grant(bad(Failure::unreachable, "no route"));
  EXPECT_TRUE(script.check);
  script.enter(1);
  EXPECT_FALSE(script.granted(1)) << "its endpoint is held back";
  script.advance(script.machine.settings().reconnect.probe_interval);
  EXPECT_TRUE(script.granted(1));
  EXPECT_EQ(script.machine.slots_in_use(), 1U);
}

TEST(UpstreamGate, a_wish_that_nothing_meets_waits_without_a_spinning_timer) {
  UpstreamScript script;
  script.connect(Role::primary);
  script.enter(1);
  script.login_ends(bad());
  script.check_ends(good());
  script.enter(2, Wish::standby, 5s);
  script.advance(5s);
  EXPECT_EQ(script.refusals.at(2).reason, RefusalReason::hold_timeout);
}

TEST(UpstreamGate, a_rejected_client_holds_nobody_back) {
  UpstreamScript script;
  script.connect();
  script.enter(1);
  script.login_ends(bad(Failure::rejected, "wrong password"));
  EXPECT_FALSE(script.check);
  script.enter(2);
  EXPECT_TRUE(script.granted(2));
}

TEST(UpstreamGate, a_lost_backend_makes_the_standing_connection_answer_within_a_second) {
  UpstreamScript script;
  script.connect();
  script.do_and_take([&](auto& machine) { machine.on_backend_lost(script.now); });
  ASSERT_TRUE(script.check);
  EXPECT_EQ(script.check->deadline - script.now, 1s);
  script.do_and_take([&](auto& machine) { machine.on_backend_lost(script.now); });
  script.check_ends(good());
  EXPECT_TRUE(script.check) << "the first check may have been answered before the second loss";
  script.check_ends(good());
  EXPECT_FALSE(script.check);
  EXPECT_EQ(script.machine.state(), State::connected);
}

TEST(UpstreamGate, stopping_refuses_everyone) {
  UpstreamScript script;
  script.connect_and_lose();
  for (std::uint64_t waiter = 1; waiter <= 5; ++waiter) script.enter(waiter);
  script.do_and_take([](auto& machine) { machine.stop(); });
  ASSERT_EQ(script.refusals.size(), 5U);
  for (const auto& [waiter, refusal] : script.refusals) EXPECT_EQ(refusal.reason, RefusalReason::stopped);
}

}  // namespace
}  // namespace holdfast::proxy::test

// An upstream machine driven by hand under virtual time: what it asked for stands in lists until it is answered.
// Checks on the way that each waiter is answered once, that nothing passes a closed gate, and that no timer spins.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "proxy/upstream_machine.hpp"

namespace holdfast::proxy::test {

using namespace std::chrono_literals;
namespace action = upstream_action;

inline Outcome good(Role role = Role::primary) {
  Outcome outcome;
  outcome.role = role;
  outcome.latency = 1ms;
  return outcome;
}
inline Outcome bad(Failure failure = Failure::unreachable, std::string error = "refused") {
  Outcome outcome;
  outcome.failure = failure;
  outcome.error = std::move(error);
  return outcome;
}

/// No jitter, so that delays are what the configuration says.
inline UpstreamSettings settings_of(std::size_t hosts = 1, Wish wish = Wish::any) {
  UpstreamSettings settings;
  settings.connection = "orders";
  for (std::size_t i = 0; i < hosts; ++i) settings.endpoints.push_back({"db-" + std::to_string(i), 5432});
  settings.wish = wish;
  settings.reconnect.jitter = 0;
  return settings;
}

class UpstreamScript {
 public:
  explicit UpstreamScript(UpstreamSettings settings = settings_of())
      : machine(std::move(settings), [] { return 0.5; }) {}

  void start() {
    machine.start(now);
    take();
  }
  /// Started, and connected to endpoint 0.
  UpstreamScript& connect(Role role = Role::primary) {
    start();
    attempt_ends(good(role));
    EXPECT_EQ(machine.state(), State::connected);
    events.clear();
    return *this;
  }
  void lose() {
    machine.on_standing_lost("reset", now);
    take();
  }
  /// Connected once, then lost.
  UpstreamScript& connect_and_lose() {
    connect();
    lose();
    return *this;
  }

  // ---- answers ----

  void attempt_ends(const Outcome& outcome) {
    ASSERT_TRUE(attempt) << "no attempt is under way";
    const auto ended = *std::exchange(attempt, std::nullopt);
    machine.on_attempt(ended.number, ended.endpoint, outcome, now);
    take();
  }
  void probe_ends(const Outcome& outcome, std::size_t endpoint = 0) {
    ASSERT_TRUE(probes.contains(endpoint)) << "no probe is under way";
    probes.erase(endpoint);
    machine.on_probe(endpoint, outcome, now);
    take();
  }
  void check_ends(const Outcome& outcome) {
    ASSERT_TRUE(check) << "no check is under way";
    check.reset();
    machine.on_check(outcome, now);
    take();
  }
  void login_ends(const Outcome& outcome = good()) {
    ASSERT_FALSE(logins.empty()) << "no login is under way";
    const auto login = logins.front();
    logins.erase(logins.begin());
    machine.on_login_finished(login.slot, login.endpoint, outcome, now);
    take();
  }

  void grant_unused() {
    ASSERT_FALSE(logins.empty()) << "no login is under way";
    const auto login = logins.front();
    logins.erase(logins.begin());
    machine.on_grant_unused(login.slot, now);
    take();
  }
  void login_without_grant(const Outcome& outcome) {
    machine.on_login(0, outcome, now);
    take();
  }

  // ---- sessions ----

  void enter(std::uint64_t waiter, Wish wish = Wish::any, std::chrono::milliseconds wait = 60s) {
    waiting[waiter] = now + wait;
    machine.enter(waiter, wish, now + wait, now);
    take();
  }

  // ---- time ----

  /// Goes on by `time`, stopping wherever the machine wants its timer. A probe or an attempt is answered at once where
  /// `answer_probe` or `answer_attempt` is set.
  void advance(std::chrono::milliseconds time) {
    const auto end = now + time;
    for (int rounds = 0;; ++rounds) {
      ASSERT_LT(rounds, 1'000'000) << "the timer spins";
      answer();
      const auto due = machine.deadline();
      if (!due || *due > end) break;
      now = std::max(now, *due);
      machine.on_timer(now);
      take();
      const auto next = machine.deadline();
      ASSERT_TRUE(!next || *next > now) << "a timer that is due again at once";
    }
    now = end;
  }
  /// Runs until `done`, at most `limit`; how long that took.
  std::chrono::milliseconds advance_until(const std::function<bool()>& done, std::chrono::milliseconds limit = 600s) {
    const auto since = now;
    while (!done() && now - since < limit) {
      const auto due = machine.deadline();
      if (!due) break;
      advance(std::max(0ms, std::chrono::ceil<std::chrono::milliseconds>(*due - now)));
    }
    EXPECT_TRUE(done()) << "it did not happen";
    return std::chrono::duration_cast<std::chrono::milliseconds>(now - since);
  }
  void do_and_take(const std::function<void(UpstreamMachine&)>& work) {
    work(machine);
    take();
  }

  [[nodiscard]] std::vector<EventKind> kinds() const {
    std::vector<EventKind> out;
    for (const auto& event : events) out.push_back(event.kind);
    return out;
  }
  [[nodiscard]] bool told(EventKind kind) const { return std::ranges::count(kinds(), kind) > 0; }
  [[nodiscard]] bool granted(std::uint64_t waiter) const { return grants.contains(waiter); }

  UpstreamMachine machine;
  SteadyTime now{1h};
  std::function<Outcome(std::size_t)> answer_probe, answer_attempt;
  std::optional<action::Attempt> attempt;
  std::map<std::size_t, action::Probe> probes;
  std::optional<action::Check> check;
  std::vector<action::Grant> logins;             // granted and not finished
  std::map<std::uint64_t, std::size_t> grants;   // waiter, endpoint
  std::map<std::uint64_t, action::Refuse> refusals;
  std::map<std::uint64_t, SteadyTime> waiting;   // waiter, deadline
  std::vector<Event> events;
  int closes = 0;

  /// Takes what the machine asks for into the lists.
  void take() {
    for (auto& each : machine.take_actions()) {
      std::visit([this](auto& one) { on(one); }, each);
    }
  }

 private:
  void on(action::Attempt& one) {
    ASSERT_FALSE(attempt && overtaken_ == closes) << "two attempts at once";
    ASSERT_GT(one.deadline, now);
    attempt = one;
    overtaken_ = closes;
  }
  void on(action::Probe& one) { ASSERT_TRUE(probes.emplace(one.endpoint, one).second) << "two probes of one endpoint"; }
  void on(action::Check& one) {
    ASSERT_FALSE(check) << "two checks at once";
    check = one;
  }
  void on(action::CloseStanding&) { ++closes; }
  void on(action::Grant& one) {
    ASSERT_EQ(waiting.erase(one.waiter), 1U) << "a grant for one who does not wait";
    ASSERT_NE(machine.state(), State::paused);
    ASSERT_EQ(grants.count(one.waiter) + refusals.count(one.waiter), 0U);
    grants[one.waiter] = one.endpoint;
    logins.push_back(one);
    ASSERT_LE(logins.size(), machine.settings().reconnect.concurrency);
  }
  void on(action::Refuse& one) {
    waiting.erase(one.waiter);
    ASSERT_EQ(grants.count(one.waiter) + refusals.count(one.waiter), 0U);
    ASSERT_TRUE(one.message.starts_with("orders: ")) << one.message;
    refusals[one.waiter] = one;
  }
  void on(action::Tell& one) {
    ASSERT_EQ(one.event.connection, "orders");
    events.push_back(one.event);
  }

  void answer() {
    while (answer_attempt && attempt) attempt_ends(answer_attempt(attempt->endpoint));
    while (answer_probe && !probes.empty()) {
      const auto endpoint = probes.begin()->first;
      probe_ends(answer_probe(endpoint), endpoint);
      while (answer_attempt && attempt) attempt_ends(answer_attempt(attempt->endpoint));
    }
  }

  int overtaken_ = 0;  // `closes` when the attempt under way began: a force reconnect closes before it begins another
};

}  // namespace holdfast::proxy::test

// Every sequence of events up to a length, and long random ones: what must hold of an upstream machine in any state.
#include <random>

#include "tests/unit/proxy/upstream_script.hpp"

namespace holdfast::proxy::test {
namespace {

enum class Step {
  attempt_good, attempt_bad, attempt_not_ready, attempt_rejected,
  probe_good, probe_bad, check_good, check_bad, check_demoted,
  lose, enter, cancel, login_good, login_bad, login_rejected,
  pause, resume, force, reconfigure, wait,
};
constexpr int steps = static_cast<int>(Step::wait) + 1;

/// One machine with the steps that are possible in its state.
class Walk {
 public:
  explicit Walk(std::size_t hosts, Wish wish) : script_(settings(hosts, wish)) { script_.start(); }

  /// False when the step makes no sense here.
  bool take(Step step) {
    auto& machine = script_.machine;
    const auto now = script_.now;
    const auto run = [&](auto work) { script_.do_and_take(work); };
    switch (step) {
      case Step::attempt_good: return attempt(good());
      case Step::attempt_bad: return attempt(bad());
      case Step::attempt_not_ready: return attempt(bad(Failure::not_ready, "starting"));
      case Step::attempt_rejected: return attempt(bad(Failure::rejected, "password"));
      case Step::probe_good: return probe(good());
      case Step::probe_bad: return probe(bad());
      case Step::check_good: return check(good());
      case Step::check_bad: return check(bad());
      case Step::check_demoted: return check(good(Role::standby));
      case Step::lose:
        if (machine.status().current.empty()) return false;
        script_.lose();
        break;
      case Step::enter: script_.enter(++waiter_, machine.settings().wish, 3s); break;
      case Step::cancel:
        if (script_.waiting.empty()) return false;
        run([this](auto& one) { one.cancel_wait(script_.waiting.begin()->first); });
        break;
      case Step::login_good: return login(good());
      case Step::login_bad: return login(bad());
      case Step::login_rejected: return login(bad(Failure::rejected, "password"));
      case Step::pause:
        if (machine.state() == State::paused) return false;
        run([now](auto& one) { one.pause(now); });
        break;
      case Step::resume:
        if (machine.state() != State::paused) return false;
        run([now](auto& one) { one.resume(now); });
        break;
      case Step::force: run([now](auto& one) { one.force_reconnect(now); }); break;
      case Step::reconfigure: {
        auto reconnect = machine.settings().reconnect;
        reconnect.retry_delay = reconnect.retry_delay == 5s ? 1s : 5s;
        run([&](auto& one) { one.reconfigure(reconnect, one.settings().health, now); });
        break;
      }
      case Step::wait: script_.advance(2s); break;
    }
    check_invariants();
    return true;
  }

  /// Whatever happened: once the server answers everything, the upstream is connected and nobody waits.
  void heal() {
    script_.do_and_take([this](auto& machine) { machine.resume(script_.now); });
    script_.answer_probe = script_.answer_attempt = [](std::size_t) { return good(); };
    for (int i = 0; i < 400; ++i) {
      if (script_.check) script_.check_ends(good());
      while (!script_.logins.empty()) script_.login_ends(good());
      script_.advance(100ms);
    }
    ASSERT_TRUE(script_.machine.state() == State::connected || rejected());
    ASSERT_EQ(script_.machine.waiting(), 0U);
    ASSERT_TRUE(script_.waiting.empty());
    ASSERT_EQ(script_.machine.slots_in_use(), 0U);
  }

 private:
  static UpstreamSettings settings(std::size_t hosts, Wish wish) {
    auto settings = settings_of(hosts, wish);
    settings.reconnect.max_retries = 2;
    settings.reconnect.concurrency = 2;
    settings.health.failures = 2;
    settings.pause_timeout = 10s;
    return settings;
  }
  bool attempt(const Outcome& outcome) {
    if (!script_.attempt) return false;
    script_.attempt_ends(outcome);
    check_invariants();
    return true;
  }
  bool probe(const Outcome& outcome) {
    if (script_.probes.empty()) return false;
    script_.probe_ends(outcome, script_.probes.begin()->first);
    check_invariants();
    return true;
  }
  bool check(const Outcome& outcome) {
    if (!script_.check) return false;
    script_.check_ends(outcome);
    check_invariants();
    return true;
  }
  bool login(const Outcome& outcome) {
    if (script_.logins.empty()) return false;
    script_.login_ends(outcome);
    check_invariants();
    return true;
  }
  /// Our own login is refused, and nothing has changed since.
  [[nodiscard]] bool rejected() const { return script_.machine.status().last_error == "password"; }

  void check_invariants() {
    const auto status = script_.machine.status();
    const bool paused = status.state == State::paused;
    if (!paused) {
      ASSERT_EQ(status.state == State::connected, !status.current.empty());
      ASSERT_EQ(status.state == State::failed, status.breaker != BreakerState::closed);
    }
    ASSERT_EQ(script_.logins.size(), script_.machine.slots_in_use());
    ASSERT_EQ(script_.waiting.size(), script_.machine.waiting());
    const auto due = script_.machine.deadline();
    const bool looking = status.current.empty() && !rejected();
    if (looking) {
      // An upstream without a server must always be on its way to the next look.
      ASSERT_TRUE(script_.attempt || script_.machine.next_attempt_at());
      ASSERT_TRUE(script_.attempt || due);
    } else if (!status.current.empty()) {
      ASSERT_TRUE(due) << "a check is due some day";
    }
    ASSERT_TRUE(due || script_.waiting.empty()) << "a wait without an end";
    ASSERT_LE(status.attempts, 2U);
    for (const auto& [waiter, deadline] : script_.waiting) {
      ASSERT_TRUE(paused || paused_before_ || deadline >= script_.now) << "waiter " << waiter;
    }
    paused_before_ = paused_before_ || paused;
  }

  UpstreamScript script_;
  std::uint64_t waiter_ = 0;
  bool paused_before_ = false;
};

struct Count {
  long walks = 0;
};

void explore(const Walk& from, int depth, std::vector<Step>& path, Count& count) {
  for (int i = 0; i < steps && !testing::Test::HasFailure(); ++i) {
    Walk next = from;
    path.push_back(static_cast<Step>(i));
    if (next.take(path.back())) {
      ++count.walks;
      if (depth > 1) explore(next, depth - 1, path, count);
    }
    if (testing::Test::HasFailure() && !path.empty()) {
      std::string text;
      for (const auto step : path) text += std::to_string(static_cast<int>(step)) + ' ';
      ADD_FAILURE() << "steps: " << text;
      path.clear();
      return;
    }
    if (!path.empty()) path.pop_back();
  }
}

TEST(UpstreamEverywhere, keeps_its_promises_after_every_short_sequence_of_events) {
  for (const std::size_t hosts : {1U, 2U}) {
    Count count;
    std::vector<Step> path;
    explore(Walk(hosts, Wish::read_write), hosts == 1 ? 6 : 5, path, count);
    EXPECT_GT(count.walks, 20'000) << "the walk ended before its time";
  }
}

TEST(UpstreamEverywhere, keeps_its_promises_in_long_random_sequences_and_recovers_after_each) {
  for (unsigned seed = 1; seed <= 1'000; ++seed) {
    std::mt19937 random(seed);
    Walk walk(1 + seed % 3, static_cast<Wish>(seed % 6 == 4 ? 0 : seed % 6));
    for (int i = 0; i < 80; ++i) walk.take(static_cast<Step>(random() % steps));
    if (seed % 6 != 2) walk.heal();
    ASSERT_FALSE(HasFailure()) << "seed " << seed;
  }
}

}  // namespace
}  // namespace holdfast::proxy::test

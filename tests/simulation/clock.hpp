// Virtual time and chance: events run in order of their time, and one seed decides everything that is left to chance.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <random>
#include <utility>

namespace holdfast::simulation {

using namespace std::chrono_literals;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using Time = std::chrono::steady_clock::time_point;

class Clock {
 public:
  explicit Clock(std::uint64_t seed) : random_(seed) {}

  [[nodiscard]] Time now() const { return now_; }
  void at(Time time, std::function<void()> work) { events_.emplace(std::pair(std::max(time, now_), ++order_), std::move(work)); }
  void after(microseconds delay, std::function<void()> work) { at(now_ + delay, std::move(work)); }

  /// Runs what is due until `end`; false when nothing is left.
  bool run_one(Time end) {
    if (events_.empty() || events_.begin()->first.first > end) return false;
    auto event = events_.extract(events_.begin());
    now_ = event.key().first;
    event.mapped()();
    return true;
  }

  // ---- chance ----

  /// From 0 to `below` - 1.
  std::uint64_t pick(std::uint64_t below) { return random_() % below; }
  bool chance(unsigned percent) { return pick(100) < percent; }
  microseconds between(microseconds low, microseconds high) {
    return low + microseconds(pick(static_cast<std::uint64_t>((high - low).count()) + 1));
  }
  double draw() { return static_cast<double>(pick(1'000'001)) / 1e6; }

 private:
  std::mt19937_64 random_;
  Time now_{1h};
  std::uint64_t order_ = 0;
  std::map<std::pair<Time, std::uint64_t>, std::function<void()>> events_;
};

}  // namespace holdfast::simulation

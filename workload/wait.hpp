// How long a workload waits: for a condition with a deadline, or for as long as chance says. Decides nothing else.
#pragma once

#include <chrono>
#include <random>
#include <thread>

namespace holdfast::workload {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

/// Asks `condition` every few milliseconds until it holds or `limit` has passed; returns whether it held.
template <typename Condition>
[[nodiscard]] bool wait_until(milliseconds limit, Condition condition) {
  const auto deadline = Clock::now() + limit;
  while (!condition()) {
    if (Clock::now() >= deadline) {
      return false;
    }
    std::this_thread::sleep_for(milliseconds(5));
  }
  return true;
}

/// A time from `shortest` to `longest` milliseconds.
inline milliseconds between(int shortest, int longest) {
  thread_local std::minstd_rand generator(std::random_device{}());
  return milliseconds(std::uniform_int_distribution(shortest, longest)(generator));
}

}  // namespace holdfast::workload

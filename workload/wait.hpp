// Waiting for a condition with a deadline. Decides nothing else.
#pragma once

#include <chrono>
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

}  // namespace holdfast::workload

// Delays between attempts. Pure: the caller brings the attempt's number and the random draw.
#pragma once

#include <chrono>
#include <cstdint>

namespace holdfast::backoff {

using std::chrono::milliseconds;

struct Policy {
  milliseconds first{5'000};
  double multiplier = 2;
  milliseconds delay_max{60'000};
  double jitter = 0.2;  // share of the delay that is drawn at random, 0 to 1
};

/// Delay before attempt `attempt` (counted from 1): first, first * multiplier, … up to delay_max
/// (or `first`, where that is longer), of which the share
/// `jitter` is spread evenly around it by `draw` (0 to 1).
[[nodiscard]] milliseconds delay(const Policy& policy, std::uint32_t attempt, double draw);

}  // namespace holdfast::backoff

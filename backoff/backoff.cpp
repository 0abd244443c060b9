// Exponential growth with a bound.
#include "backoff/backoff.hpp"

#include <algorithm>
#include <cmath>

namespace holdfast::backoff {

milliseconds delay(const Policy& policy, std::uint32_t attempt, double draw) {
  if (policy.first.count() <= 0) return milliseconds(0);
  // A first delay that is longer than the longest was asked for by somebody: it counts.
  const auto bound = static_cast<double>(std::max(policy.delay_max, policy.first).count());
  const auto exponent = static_cast<double>(attempt == 0 ? 0 : attempt - 1);
  // A power past the bound may be infinite; the comparison holds all the same.
  const double grown = static_cast<double>(policy.first.count()) * std::pow(std::max(1.0, policy.multiplier), exponent);
  const double base = grown < bound ? grown : bound;
  const double spread = base * std::clamp(policy.jitter, 0.0, 1.0) * (std::clamp(draw, 0.0, 1.0) - 0.5);
  return milliseconds(std::llround(std::min(base + spread, bound)));
}

}  // namespace holdfast::backoff

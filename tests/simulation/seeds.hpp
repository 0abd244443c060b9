// Runs simulated outages, one for each seed: `--seeds N --first S`, or HOLDFAST_SEEDS and HOLDFAST_FIRST_SEED.
// A seed that fails is printed with its history and replays exactly.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <string>

namespace holdfast::simulation {

struct Seeds {
  std::uint64_t count = 100, first = 1;
  std::string program;
};
/// Those that this run was asked for.
[[nodiscard]] const Seeds& seeds();

/// Lets a world of each seed run; `add` gets what happened in it. Stops at the first seed that fails.
template <class World>
void run_seeds(const std::function<void(const World&)>& add) {
  for (auto seed = seeds().first; seed < seeds().first + seeds().count; ++seed) {
    World world(seed);
    world.run();
    if (testing::Test::HasFailure()) {
      FAIL() << "seed " << seed << " failed; again: " << seeds().program << " --seeds 1 --first " << seed << "\n" << world.history();
    }
    add(world);
  }
}

}  // namespace holdfast::simulation

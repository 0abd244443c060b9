// Runs simulated outages, one for each seed: `simulation_test --seeds N --first S`, or HOLDFAST_SEEDS and HOLDFAST_FIRST_SEED.
// A seed that fails is printed with its history and replays exactly.
#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <string>
#include <string_view>

#include "tests/simulation/sim_world.hpp"

namespace {

std::uint64_t seeds = 100, first_seed = 1;

std::uint64_t from_environment(const char* name, std::uint64_t otherwise) {
  const char* value = std::getenv(name);
  return value == nullptr ? otherwise : std::strtoull(value, nullptr, 10);
}

TEST(Simulation, keeps_its_promises_with_every_seed) {
  holdfast::simulation::SimWorld::Totals totals;
  for (auto seed = first_seed; seed < first_seed + seeds; ++seed) {
    holdfast::simulation::SimWorld world(seed);
    world.run();
    if (HasFailure()) {
      FAIL() << "seed " << seed << " failed; again: simulation_test --seeds 1 --first " << seed << "\n" << world.history();
    }
    const auto& one = world.totals();
    totals.committed += one.committed;
    totals.unknown += one.unknown;
    totals.never_ran += one.never_ran;
    totals.losses += one.losses;
    totals.disconnects += one.disconnects;
    totals.replayed += one.replayed;
    totals.not_replayed += one.not_replayed;
  }
  std::cout << seeds << " seeds from " << first_seed << ": " << totals.losses << " losses, " << totals.committed
            << " rows committed, " << totals.never_ran << " never ran, " << totals.unknown << " unknown, "
            << totals.replayed << " run again, " << totals.not_replayed << " not, " << totals.disconnects << " sessions ended\n";
  if (seeds < 100) return;
  // A simulation in which nothing happens proves nothing.
  EXPECT_GT(totals.losses, static_cast<long>(seeds));
  EXPECT_GT(totals.committed, totals.unknown);
  EXPECT_GT(totals.never_ran, 0);
  EXPECT_GT(totals.unknown, 0);
  EXPECT_GT(totals.replayed, totals.not_replayed / 4);
}

}  // namespace

int main(int count, char** arguments) {
  testing::InitGoogleTest(&count, arguments);
  seeds = from_environment("HOLDFAST_SEEDS", seeds);
  first_seed = from_environment("HOLDFAST_FIRST_SEED", first_seed);
  for (int i = 1; i + 1 < count; i += 2) {
    const std::string_view name = arguments[i];
    const auto value = std::strtoull(arguments[i + 1], nullptr, 10);
    if (name == "--seeds") {
      seeds = value;
    } else if (name == "--first") {
      first_seed = value;
    } else {
      std::cerr << "usage: simulation_test [--seeds N] [--first S]\n";
      return 2;
    }
  }
  return RUN_ALL_TESTS();
}

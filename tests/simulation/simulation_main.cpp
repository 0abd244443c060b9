// PostgreSQL: sessions with random programs, whose servers fail.
#include <iostream>

#include "tests/simulation/seeds.hpp"
#include "tests/simulation/sim_world.hpp"

namespace holdfast::simulation {
namespace {

TEST(Simulation, keeps_its_promises_with_every_seed) {
  SimWorld::Totals totals;
  run_seeds<SimWorld>([&](const SimWorld& world) {
    const auto& one = world.totals();
    totals.committed += one.committed;
    totals.unknown += one.unknown;
    totals.never_ran += one.never_ran;
    totals.losses += one.losses;
    totals.disconnects += one.disconnects;
    totals.replayed += one.replayed;
    totals.not_replayed += one.not_replayed;
  });
  if (HasFailure()) return;
  const auto& [count, first, program] = seeds();
  std::cout << count << " seeds from " << first << ": " << totals.losses << " losses, " << totals.committed
            << " rows committed, " << totals.never_ran << " never ran, " << totals.unknown << " unknown, "
            << totals.replayed << " run again, " << totals.not_replayed << " not, " << totals.disconnects << " sessions ended\n";
  if (count < 100) return;
  // A simulation in which nothing happens proves nothing.
  EXPECT_GT(totals.losses, static_cast<long>(count));
  EXPECT_GT(totals.committed, totals.unknown);
  EXPECT_GT(totals.never_ran, 0);
  EXPECT_GT(totals.unknown, 0);
  EXPECT_GT(totals.replayed, totals.not_replayed / 4);
}

}  // namespace
}  // namespace holdfast::simulation

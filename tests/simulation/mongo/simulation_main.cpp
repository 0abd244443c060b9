// MongoDB: drivers with random programs, whose replica set or standalone server fails.
#include <iostream>

#include "tests/simulation/mongo/sim_world.hpp"
#include "tests/simulation/seeds.hpp"

namespace holdfast::simulation::mongo {
namespace {

TEST(MongoSimulation, keeps_its_promises_with_every_seed) {
  SimWorld::Totals totals;
  run_seeds<SimWorld>([&](const SimWorld& world) {
    const auto& one = world.totals();
    totals.acknowledged += one.acknowledged;
    totals.unknown += one.unknown;
    totals.never_ran += one.never_ran;
    totals.transactions += one.transactions;
    totals.reads += one.reads;
    totals.losses += one.losses;
    totals.repeated += one.repeated;
    totals.answered_by_parts += one.answered_by_parts;
    totals.elections += one.elections;
    totals.rolled_back += one.rolled_back;
    totals.upgraded += one.upgraded;
    totals.logins += one.logins;
    totals.waits += one.waits;
    totals.logouts += one.logouts;
  });
  if (HasFailure()) return;
  const auto& [count, first, program] = seeds();
  std::cout << count << " seeds from " << first << ": " << totals.elections << " elections, " << totals.losses << " losses, "
            << totals.acknowledged << " marks acknowledged, " << totals.rolled_back << " of them rolled back, " << totals.never_ran
            << " never ran, " << totals.unknown << " unknown, " << totals.transactions << " transactions, " << totals.reads << " reads, "
            << totals.repeated << " requests sent again, " << totals.answered_by_parts << " batches answered by parts, " << totals.upgraded
            << " writes given a number, " << totals.logins << " times logged in again, " << totals.logouts
            << " answers over connections that were logged out, "
            << totals.waits << " waits for a connection of the pool's\n";
  if (count < 100) return;
  // A simulation in which nothing happens proves nothing.
  EXPECT_GT(totals.losses, static_cast<long>(count));
  EXPECT_GT(totals.acknowledged, 10 * totals.unknown);
  EXPECT_GT(totals.repeated, static_cast<long>(count));
  EXPECT_GT(totals.unknown, 0);
  EXPECT_GT(totals.never_ran, 0);
  EXPECT_GT(totals.transactions, static_cast<long>(count) / 2);
  EXPECT_GT(totals.rolled_back, 0);
  EXPECT_GT(totals.upgraded, static_cast<long>(count));
  EXPECT_GT(totals.logins, 0);
  EXPECT_GT(totals.logouts, 0);
  EXPECT_GT(totals.waits, static_cast<long>(count));
  EXPECT_GT(totals.answered_by_parts, 0);
}

}  // namespace
}  // namespace holdfast::simulation::mongo

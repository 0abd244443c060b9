// What befalls the shard behind several mongos.
#include "tests/simulation/mongo/sim_world.hpp"

namespace holdfast::simulation::mongo {

void SimWorld::shard_fault() {
  auto& set = servers_.set;
  const auto* primary = set.primary();
  const auto member = primary != nullptr && clock_.chance(70) ? primary->index : clock_.pick(set.size());
  const auto time = clock_.between(30ms, clock_.chance(30) ? 5s : 1s);
  const auto name = "member " + std::to_string(member) + " of the shard ";
  const auto dice = clock_.pick(100);
  if (dice < 35) {
    note(name + "dies");
    set.kill(member);
    return clock_.after(time, [this, member] {
      if (!servers_.set.at(member).up) servers_.set.restart(member);
    });
  }
  if (dice < 65) {
    note(name + "is asked to step down");
    return set.step_down(member);
  }
  if (dice < 80) {
    note(name + "freezes");
    if (set.at(member).up) set.at(member).frozen = true;
    return clock_.after(time, [this, member] { servers_.set.at(member).frozen = false; });
  }
  note(name + "is cut off from the others");
  const auto connect = [this, member](bool connected) {
    for (std::size_t i = 0; i < servers_.set.size(); ++i) {
      if (i != member) servers_.set.connect(i, member, connected);
    }
  };
  connect(false);
  clock_.after(time, [connect] { connect(true); });
}

}  // namespace holdfast::simulation::mongo

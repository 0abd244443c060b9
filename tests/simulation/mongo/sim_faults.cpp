// The course of a run: what goes wrong and when, and the invariants.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/simulation/mongo/sim_world.hpp"

namespace holdfast::simulation::mongo {

namespace {

constexpr auto run_end = 180s;
constexpr auto faults_end = 4s;
constexpr auto tick_interval = 50ms;

}  // namespace

void SimWorld::run() {
  servers_.set.start();
  upstream_.machine().start(clock_.now());
  upstream_.perform();
  for (auto clients = clock_.chance(60) ? 1 + clock_.pick(4) : 5 + clock_.pick(8); clients > 0; --clients) {
    clock_.after(clock_.between(0us, 300ms), [this] { add_client(); });
  }
  plan_faults();
  clock_.after(tick_interval, [this] { tick(); });
  const auto end = clock_.now() + run_end + (forgetful_ ? 10min : 0min);
  const auto begun = clock_.now() + 300ms;
  while (!(clock_.now() > begun && all_done()) && !testing::Test::HasFailure() && clock_.run_one(end)) {
  }
  // What is under way arrives, and is executed, before the marks are counted.
  servers_.heal();
  const auto late = clock_.now() + config_.pool_idle_timeout + 2s, settled = clock_.now() + 30s;
  while (!(clock_.now() > late && servers_.set.settled()) && !testing::Test::HasFailure() && clock_.run_one(settled)) {
  }
  check_end();
}

void SimWorld::plan_faults() {
  for (auto faults = clock_.pick(9); faults > 0; --faults) clock_.after(clock_.between(0us, faults_end), [this] { fault(); });
  if (forgetful_) clock_.after(clock_.between(200ms, 2s), [this] { long_outage(); });
  if (made_anew_) clock_.after(clock_.between(0us, faults_end), [this] { servers_.log_out_all(); });
  clock_.after(faults_end + 8s + (forgetful_ ? 120s : 0s), [this] { servers_.heal(); });
}

/// Nobody hears anybody, until the servers have forgotten what they did before.
void SimWorld::long_outage() {
  if (servers_.healthy()) return;
  note("no member hears another");
  const auto connect = [this](bool connected) {
    for (std::size_t i = 0; i < size_; ++i) servers_.set.connect(i, (i + 1) % size_, connected);
  };
  connect(false);
  clock_.after(clock_.between(50s, 100s), [connect] { connect(true); });
}

void SimWorld::fault() {
  if (servers_.healthy()) return;
  if (servers_.sharded() && clock_.chance(50)) return shard_fault();
  const auto dice = clock_.pick(100);
  const auto* primary = servers_.set.primary();
  // What befalls the primary is what matters, and the mongos that is in use.
  const auto present = servers_.sharded() ? ready() : primary != nullptr ? std::optional(primary->index) : std::nullopt;
  const auto member = present && clock_.chance(70) ? *present : clock_.pick(size_);
  const auto time = clock_.between(30ms, clock_.chance(30) ? 5s : 1s);
  if (clock_.chance(15)) return servers_.trouble_logins(member, clock_.chance(60), clock_.now() + time);
  if (dice < 20) return servers_.kill(member);
  if (dice < 40) {
    note("db-" + std::to_string(member) + " is asked to step down");
    return servers_.set.step_down(member);
  }
  if (dice < 55) {
    servers_.freeze(member, true);
    return clock_.after(time, [this, member] { servers_.freeze(member, false); });
  }
  if (dice < 67) {
    servers_.cut_off(member, true);
    return clock_.after(time, [this, member] { servers_.cut_off(member, false); });
  }
  if (dice < 80) {
    note("db-" + std::to_string(member) + " is cut off from the others");
    for (std::size_t i = 0; i < size_; ++i) {
      if (i != member) servers_.set.connect(i, member, false);
    }
    return clock_.after(time, [this, member] {
      for (std::size_t i = 0; i < size_; ++i) {
        if (i != member) servers_.set.connect(i, member, true);
      }
    });
  }
  if (dice < 92) return servers_.cut_one_link();
  if (dice < 96) {
    note("force reconnect");
    upstream_.machine().force_reconnect(clock_.now());
    return upstream_.perform();
  }
  if (upstream_.standing()) upstream_.cut_standing("connection reset by peer");
}

// ---- invariants ----

/// Each request is answered after its wait, the wait after its first trouble, and what hanging members take of both.
void SimWorld::tick() {
  const auto& reconnect = config_.reconnect;
  const auto limit = 2 * reconnect.hold_timeout + 4 * reconnect.hang_timeout + 3s;
  for (std::size_t i = 0; i < pairs_.size(); ++i) {
    const auto& client = pairs_[i].client;
    const auto& session = pairs_[i].session;
    session->on_tick();
    const auto since = client->waiting_since();
    EXPECT_FALSE(since && clock_.now() - *since > limit) << "client " << i << " waits for ever";
    if (client->done() || forgetful_) continue;
    const auto dice = clock_.pick(2000);
    if (dice < 1) {
      client->leave();
      session->client_leaves();
    } else if (dice < 60 && since && clock_.now() > *since + 100ms) {
      hang_up(i);
    }
  }
  pool.on_tick();
  pool.follow_primary(ready());
  places.expire(clock_.now());
  numbering.expire(clock_.now());
  clock_.after(tick_interval, [this] { tick(); });
}

void SimWorld::check_forwarded(const wire::Command& command, const wire::Reply& reply, std::size_t member, std::int64_t term) const {
  const bool commits = command.kind == wire::CommandKind::commit;
  if (term == 0 || term >= told_term_ || member == told_member_ || size_ == 1 || !reply.ok) return;
  if (command.in_transaction && !commits) return;
  if (command.kind == wire::CommandKind::write || commits) {
    EXPECT_TRUE(command.majority) << "a write is believed that a replaced primary has acknowledged";
  }
  const bool of_primary = command.kind == wire::CommandKind::read && command.preference.mode == wire::ReadMode::primary;
  EXPECT_FALSE(of_primary) << "a read is believed that a replaced primary has served";
}

void SimWorld::check_end() {
  ASSERT_TRUE(servers_.set.settled() || testing::Test::HasFailure()) << "the model does not settle";
  for (std::size_t i = 0; i < pairs_.size(); ++i) {
    EXPECT_TRUE(pairs_[i].client->done()) << "client " << i << " did not come to its end";
    EXPECT_TRUE(!pairs_[i].session->busy() || testing::Test::HasFailure()) << "client " << i << " left something behind: " << pairs_[i].session->state();
    const auto& one = pairs_[i].client->totals();
    totals_.acknowledged += one.acknowledged;
    totals_.unknown += one.unknown;
    totals_.never_ran += one.never_ran;
    totals_.transactions += one.transactions;
    totals_.reads += one.reads;
    totals_.logins += one.logins;
    totals_.repeated += pairs_[i].session->repeated();
    totals_.answered_by_parts += pairs_[i].session->answered_by_parts();
  }
  for (const auto& session : left_) {
    EXPECT_TRUE(!session->busy() || testing::Test::HasFailure()) << "a client that has gone left something behind: " << session->state();
    totals_.repeated += session->repeated();
    totals_.answered_by_parts += session->answered_by_parts();
  }
  totals_.upgraded = upgraded;
  totals_.waits = pool.waits();
  totals_.logouts = pool.logouts();
  if (!testing::Test::HasFailure()) pool.check_empty();
  EXPECT_EQ(upstream_.machine().slots_in_use(), 0U) << "a grant is never given back";
  EXPECT_EQ(upstream_.machine().waiting(), 0U) << "somebody waits at the gate for nobody";
  if (testing::Test::HasFailure()) return;
  const auto& rows = servers_.set.primary()->rows;
  const auto times = [&](int mark) {
    const auto found = rows.find(mark);
    return found == rows.end() ? 0 : found->second;
  };
  for (const auto& [mark, belief] : ledger_.marks) {
    const bool rolled_back = servers_.set.rolled_back().contains(mark);
    EXPECT_LE(times(mark), 1) << "mark " << mark << " was written twice";
    if (belief == Belief::majority) {
      EXPECT_EQ(times(mark), 1) << "mark " << mark << " was acknowledged by the majority and is not there";
    }
    if (belief == Belief::one) {
      EXPECT_TRUE(times(mark) == 1 || rolled_back) << "mark " << mark << " was acknowledged and is not there";
      totals_.rolled_back += times(mark) == 0 ? 1 : 0;
    }
    if (belief == Belief::never_ran) {
      EXPECT_EQ(times(mark), 0) << "mark " << mark << " is there, though its client was told that it is not";
    }
  }
  for (const auto& marks : ledger_.transactions) {
    for (const int mark : marks) EXPECT_EQ(times(mark), times(marks.front())) << "a transaction is there by half: mark " << mark;
  }
  for (const auto& [mark, count] : rows) EXPECT_TRUE(ledger_.marks.contains(mark)) << "mark " << mark << " came from nowhere";
}

}  // namespace holdfast::simulation::mongo

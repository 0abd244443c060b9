// What fails when, what the upstream machine is told, and the invariants.
#include "tests/simulation/sim_world.hpp"

#include <gtest/gtest.h>

#include <algorithm>

namespace holdfast::simulation {

namespace action = holdfast::proxy::upstream_action;
using proxy::Failure;
using proxy::Outcome;

namespace {

constexpr auto run_end = 120s;
constexpr auto witness_time = 1s;

}  // namespace

proxy::UpstreamSettings SimWorld::make_settings(Clock& clock) {
  proxy::UpstreamSettings settings;
  settings.connection = "orders";
  settings.endpoints.push_back({"db-0", 5432});
  if (clock.chance(30)) {
    settings.endpoints.push_back({"db-1", 5432});
    settings.wish = proxy::Wish::read_write;
  }
  auto& reconnect = settings.reconnect;
  reconnect.max_retries = static_cast<std::uint32_t>(1 + clock.pick(4));
  reconnect.retry_delay = milliseconds(100 + clock.pick(1000));
  reconnect.probe_interval = milliseconds(20 + clock.pick(180));
  reconnect.connection_timeout = milliseconds(300 + clock.pick(700));
  reconnect.hold_timeout = milliseconds(500 + clock.pick(9'500));
  reconnect.concurrency = static_cast<std::uint32_t>(1 + clock.pick(4));
  settings.health.interval = milliseconds(500 + clock.pick(4'000));
  settings.health.timeout = milliseconds(200 + clock.pick(500));
  settings.health.failures = static_cast<std::uint32_t>(1 + clock.pick(3));
  settings.pause_timeout = 2s;
  return settings;
}

SimWorld::SimWorld(std::uint64_t seed)
    : clock_(seed), upstream_(clock_, make_settings(clock_), make_shell()),
      hosts_(upstream_.settings().endpoints.size()) {
  for (std::size_t i = 1; i < hosts_.size(); ++i) hosts_[i].role = proxy::Role::standby;
}

SimWorld::~SimWorld() = default;

void SimWorld::note(std::string what) {
  const auto at = std::chrono::duration_cast<milliseconds>(clock_.now() - Time{1h});
  history_ += "  " + std::to_string(at.count()) + " ms: " + what + '\n';
}

std::string SimWorld::history() const {
  auto text = history_;
  for (std::size_t i = 0; i < pairs_.size(); ++i) {
    text += "  client " + std::to_string(i) + ":" + pairs_[i].client->history() + '\n';
  }
  return text;
}

void SimWorld::run() {
  upstream_.machine().start(clock_.now());
  upstream_.perform();
  for (auto clients = 1 + clock_.pick(4); clients > 0; --clients) add_client();
  plan_faults();
  clock_.after(100ms, [this] { tick(); });
  const auto all_done = [this] {
    return std::ranges::all_of(pairs_, [](const Pair& pair) { return pair.client->done(); });
  };
  const auto end = clock_.now() + run_end;
  while (!all_done() && !testing::Test::HasFailure() && clock_.run_one(end)) {
  }
  // What the old processes still have in hand they do before the rows are counted.
  const auto settled = clock_.now() + 1s;
  while (!testing::Test::HasFailure() && clock_.run_one(settled)) {
  }
  check_end();
}

void SimWorld::add_client() {
  const auto index = pairs_.size();
  pairs_.emplace_back();
  session::SessionOptions options;
  options.connection = "orders";
  options.replay_limit = clock_.chance(25) ? 0 : clock_.chance(30) ? 250 : 64 * 1024;
  if (options.replay_limit > 0 && clock_.chance(50)) options.ledger_session = "session-" + std::to_string(index);
  auto& pair = pairs_.back();
  pair.session = std::make_unique<SimSession>(*this, clock_, options, [this, index](const std::string& bytes) {
    pairs_[index].client->received(bytes);
  });
  const auto segments = static_cast<int>(5 + clock_.pick(25));
  pair.client = std::make_unique<SimClient>(clock_, ledger_, segments, [this, index](const std::string& bytes) {
    pairs_[index].session->client_sends(bytes);
  });
  auto link = std::make_shared<Link>(clock_, database_, 0);
  links_.push_back(link);
  pair.session->attach_first(std::move(link));
  pair.client->start();
}

// ---- the upstream machine's shell ----

SimUpstream::World SimWorld::make_shell() {
  SimUpstream::World shell;
  shell.look = [this](SimUpstream::Ask, std::size_t host, Time, const SimUpstream::Done& done) { done(look_at(host)); };
  shell.granted = [this](const action::Grant& grant) {
    const auto found = std::ranges::find_if(pairs_, [&](const Pair& pair) { return pair.session->waits_for(grant.waiter); });
    ASSERT_NE(found, pairs_.end()) << "a grant for nobody";
    found->session->on_grant(grant);
  };
  shell.refused = [this](const action::Refuse& refusal) {
    for (auto& pair : pairs_) {
      if (pair.session->waits_for(refusal.waiter)) pair.session->on_refused(refusal);
    }
  };
  shell.checked = [this](bool alive) { answer_witnesses(alive); };
  return shell;
}

Outcome SimWorld::look_at(std::size_t host) const {
  const auto& at = hosts_[host];
  if (!at.up) return failed(Failure::unreachable, "connection refused");
  if (at.ready_at > clock_.now()) return failed(Failure::not_ready, "the database system is starting up");
  Outcome outcome;
  outcome.role = at.role;
  return outcome;
}

void SimWorld::enter(std::uint64_t waiter, Time deadline) {
  upstream_.machine().enter(waiter, settings().wish, deadline, clock_.now());
  upstream_.perform();
}

void SimWorld::cancel_wait(std::uint64_t waiter) {
  upstream_.machine().cancel_wait(waiter);
  upstream_.perform();
}

std::pair<Outcome, std::shared_ptr<Link>> SimWorld::log_in(std::size_t host) {
  auto outcome = look_at(host);
  if (outcome.ok() && outcome.role != proxy::Role::primary) outcome = failed(Failure::unfit, "a standby");
  if (outcome.ok() && clock_.chance(3)) outcome = failed(Failure::not_ready, "sorry, too many clients already");
  if (!outcome.ok()) return {outcome, nullptr};
  auto link = std::make_shared<Link>(clock_, database_, host);
  links_.push_back(link);
  return {outcome, link};
}

void SimWorld::login_finished(const action::Grant& grant, const Outcome& outcome) {
  upstream_.machine().on_login_finished(grant.slot, grant.endpoint, outcome, clock_.now());
  upstream_.perform();
}

void SimWorld::backend_lost() {
  ++totals_.losses;
  upstream_.machine().on_backend_lost(clock_.now());
  upstream_.perform();
}

void SimWorld::ask_witness() {
  const auto state = upstream_.machine().state();
  if (state != proxy::State::connected && state != proxy::State::paused) {
    clock_.after(0us, [this] { answer_witnesses(false); });
    return;
  }
  upstream_.machine().want_check(clock_.now() + witness_time);
  upstream_.perform();
  clock_.after(witness_time, [this] { answer_witnesses(false); });
}

void SimWorld::answer_witnesses(bool alive) {
  for (auto& pair : pairs_) pair.session->on_witness(alive);
}

void SimWorld::session_closed(const SimSession& session) {
  const auto found = std::ranges::find_if(pairs_, [&](const Pair& pair) { return pair.session.get() == &session; });
  auto& client = *found->client;
  if (client.done()) return;
  ++totals_.disconnects;
  // The one row of the table that ends a session here: a setting was changed in a way that only a snapshot can tell, and
  // the server was lost before it.
  const bool setting_lost = client.fatal().starts_with("57P01 terminating connection: the session has lost");
  EXPECT_TRUE(setting_lost && client.may_lose_session())
      << "client " << found - pairs_.begin() << " was disconnected: " << client.fatal();
  client.disconnected();
}

// ---- invariants ----

void SimWorld::tick() {
  if (upstream_.machine().state() == proxy::State::paused) paused_ += 100ms;
  watch();
  for (auto& [client, session] : pairs_) {
    if (client->done()) continue;
    session->on_tick();
    if (clock_.chance(30)) session->maybe_snapshot();
    if (clock_.chance(2)) session->cancel();
    if (clock_.pick(1000) < 3) {
      client->disconnected();
      session->client_leaves();
      continue;
    }
    const bool settled = !client->waiting_since() && session->link() && session->link()->alive() &&
                         session->machine().state() == session::SessionState::attached;
    if (!settled) continue;
    const auto& backend = session->link()->backend;
    if (const auto setting = client->setting()) {
      EXPECT_EQ(backend.setting(), *setting) << "a setting is lost";
    }
    if (const auto listens = client->listens()) {
      EXPECT_EQ(backend.channels().contains("news"), *listens);
    }
  }
  clock_.after(100ms, [this] { tick(); });
}

/// Nobody waits longer than hold_timeout and what a login may take; pauses do not count.
void SimWorld::watch() {
  const auto limit = settings().reconnect.hold_timeout + witness_time + 1500ms + paused_;
  for (std::size_t i = 0; i < pairs_.size(); ++i) {
    const auto since = pairs_[i].client->waiting_since();
    if (since && clock_.now() - *since > limit) ADD_FAILURE() << "client " << i << " waits for ever";
  }
}

void SimWorld::check_end() {
  for (std::size_t i = 0; i < pairs_.size(); ++i) {
    EXPECT_TRUE(pairs_[i].client->done()) << "client " << i << " did not come to its end";
  }
  for (const auto& [row, belief] : ledger_.rows) {
    const auto found = database_.rows.find(row);
    const int times = found == database_.rows.end() ? 0 : found->second;
    EXPECT_LE(times, 1) << "row " << row << " was written twice";
    if (belief == Belief::committed && times == 1) {
      EXPECT_EQ(database_.read_by[row], ledger_.reads[row]) << "row " << row << " was committed by a transaction that had read"
                                                            << " something else than its client was shown";
    }
    if (belief == Belief::committed) {
      EXPECT_EQ(times, 1) << "row " << row << " was confirmed and is not there";
    }
    if (belief == Belief::never_ran) {
      EXPECT_EQ(times, 0) << "row " << row << " is there, though its client was told that it is not";
    }
    ++(belief == Belief::committed ? totals_.committed : belief == Belief::unknown ? totals_.unknown : totals_.never_ran);
  }
  for (const auto& [global_id, state] : ledger_.prepared) {
    const bool there = database_.prepared.contains(global_id);
    const bool late = ledger_.may_be_prepared.contains(global_id);
    EXPECT_FALSE(there && state == Prepared::gone && !late) << global_id << " is prepared, though its client was told that it is not";
    EXPECT_FALSE(!there && state == Prepared::there) << global_id << " was confirmed as prepared, and is not there";
  }
  for (const auto& pair : pairs_) {
    const auto& done = pair.session->machine().statistics();
    totals_.replayed += static_cast<long>(done.statements_replayed + done.transactions_replayed);
    totals_.not_replayed += static_cast<long>(done.statements_not_replayed + done.transactions_not_replayed);
  }
  for (const auto& [row, times] : database_.rows) EXPECT_TRUE(ledger_.rows.contains(row)) << "row " << row << " came from nowhere";
}

}  // namespace holdfast::simulation

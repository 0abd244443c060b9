// Terms, votes, the commit point.
#include "tests/simulation/mongo/model_set.hpp"

#include <algorithm>

namespace holdfast::simulation::mongo {

ModelSet::ModelSet(Clock& clock, std::size_t members, std::function<void(std::string)> note)
    : clock_(clock), note_(std::move(note)), patience_(members), pace_(clock.chance(70) ? 15ms : 100ms) {
  const bool old = clock.chance(50);
  for (std::size_t i = 0; i < members; ++i) {
    members_.push_back(std::make_unique<Member>(clock, rules, i, members == 1, old));
    addresses_.push_back("db-" + std::to_string(i) + ":27017");
  }
}

void ModelSet::start() {
  if (standalone()) {
    members_[0]->role_primary = true;
    return;
  }
  for (auto& member : members_) member->term = 1;
  name_primary(*members_[0]);
  for (auto& time : patience_) time = clock_.now() + 1s;
  for (auto& member : members_) tick(*member);
}

Member* ModelSet::primary() {
  Member* found = nullptr;
  for (auto& member : members_) {
    if (member->role_primary && member->works() && (found == nullptr || member->term > found->term)) found = member.get();
  }
  return found;
}

bool ModelSet::hears(const Member& one, const Member& other) const {
  return one.works() && other.works() && !apart_.contains(std::minmax(one.index, other.index));
}

void ModelSet::connect(std::size_t one, std::size_t other, bool connected) {
  const std::pair<std::size_t, std::size_t> both = std::minmax(one, other);
  connected ? static_cast<void>(apart_.erase(both)) : static_cast<void>(apart_.insert(both));
}

void ModelSet::heal() {
  apart_.clear();
  pace_ = 5ms;
  for (auto& member : members_) {
    member->frozen = false;
    if (!member->up) restart(member->index);
  }
}

bool ModelSet::settled() {
  const auto* leader = primary();
  if (standalone()) return leader != nullptr;
  return leader != nullptr && leader->commit_point == leader->log.size() &&
         std::ranges::all_of(members_, [&](const auto& each) { return each->log == leader->log; });
}

void ModelSet::tick(Member& member) {
  clock_.after(clock_.between(5ms, 30ms), [this, &member] { tick(member); });
  if (!member.works()) return;
  for (auto& other : members_) {
    // A heartbeat takes its time: until then a primary that was replaced goes on.
    if (other.get() != &member && hears(member, *other) && clock_.chance(40)) learn_term(member, other->term);
  }
  if (member.role_primary) return lead(member);
  for (auto& other : members_) {
    if (other->role_primary && other->term == member.term && hears(member, *other)) {
      patience_[member.index] = clock_.now() + clock_.between(150ms, 700ms);
      return follow(member, *other);
    }
  }
  if (clock_.now() >= patience_[member.index]) elect(member);
}

void ModelSet::learn_term(Member& member, std::int64_t term) {
  if (term <= member.term) return;
  member.term = term;
  if (member.role_primary) note_(addresses_[member.index] + " hears that it was replaced");
  member.step_down();
}

void ModelSet::follow(Member& member, Member& primary) {
  if (!clock_.chance(static_cast<unsigned>(1'500'000 / pace_.count()))) return;
  auto common = std::min(member.log.size(), primary.log.size());
  while (common > 0 && member.log[common - 1] != primary.log[common - 1]) --common;
  if (common < member.log.size()) {
    note_(addresses_[member.index] + " rolls back " + std::to_string(member.log.size() - common) + " entries");
    member.truncate(common, rolled_back_);
  }
  for (auto count = 1 + clock_.pick(8); count > 0 && member.log.size() < primary.log.size(); --count) {
    member.append(primary.log[member.log.size()]);
  }
  primary.match[member.index] = member.log.size();
  advance(primary);
}

/// The majority knows an entry of this term, and with it all before it.
void ModelSet::advance(Member& primary) {
  for (auto entries = primary.log.size(); entries > primary.commit_point; --entries) {
    if (primary.log[entries - 1]->term != primary.term) break;
    const auto knowing = 1 + std::ranges::count_if(primary.match, [&](const auto& each) { return each.second >= entries; });
    if (static_cast<std::size_t>(knowing) * 2 <= members_.size()) continue;
    for (auto i = primary.commit_point; i < entries; ++i) primary.log[i]->committed = true;
    primary.commit_point = entries;
  }
  while (!primary.waiting.empty() && primary.waiting.begin()->first <= primary.commit_point) {
    auto first = primary.waiting.extract(primary.waiting.begin());
    first.mapped()(true);
  }
}

void ModelSet::lead(Member& member) {
  const auto heard = std::ranges::count_if(members_, [&](const auto& each) { return each.get() != &member && hears(member, *each); });
  if (static_cast<std::size_t>(heard + 1) * 2 > members_.size()) {
    member.majority_seen = clock_.now();
  } else if (clock_.now() > member.majority_seen + 1500ms) {
    note_(addresses_[member.index] + " sees no majority and steps down");
    member.step_down();
  }
}

void ModelSet::elect(Member& candidate) {
  patience_[candidate.index] = clock_.now() + clock_.between(50ms, 300ms);
  std::vector<Member*> voters;
  std::int64_t newest = candidate.term;
  for (auto& other : members_) {
    if (other.get() != &candidate && !hears(candidate, *other)) continue;
    newest = std::max(newest, other->term);
    if (other->position() <= candidate.position()) voters.push_back(other.get());
  }
  if (voters.size() * 2 <= members_.size()) return;
  for (auto* voter : voters) learn_term(*voter, newest + 1);
  name_primary(candidate);
}

void ModelSet::name_primary(Member& member) {
  note_(addresses_[member.index] + " becomes primary of term " + std::to_string(member.term));
  member.role_primary = true;
  last_election_ = member.term;
  ++member.changes;
  member.match.clear();
  member.commit_point = 0;
  member.majority_seen = clock_.now();
  auto entry = std::make_shared<Entry>();
  entry->term = member.term;
  member.append(std::move(entry));
  if (on_elected) on_elected(member);
}

void ModelSet::step_down(std::size_t member) {
  auto& of = *members_[member];
  if (standalone() || !of.role_primary) return;
  of.step_down();
  for (auto& time : patience_) time = clock_.now() + clock_.between(5ms, 400ms);
  patience_[member] = clock_.now() + 1s;
}

void ModelSet::kill(std::size_t member) { members_[member]->kill(); }

void ModelSet::restart(std::size_t member) {
  members_[member]->restart();
  patience_[member] = clock_.now() + 1s;
}

}  // namespace holdfast::simulation::mongo

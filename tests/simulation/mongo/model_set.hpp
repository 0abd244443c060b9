// Members that replicate, elect and roll back: a small Raft, as MongoDB's is one. Or one standalone.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "tests/simulation/mongo/model_member.hpp"

namespace holdfast::simulation::mongo {

class ModelSet {
 public:
  ModelSet(Clock& clock, std::size_t members, std::function<void(std::string)> note);

  [[nodiscard]] Member& at(std::size_t member) { return *members_[member]; }
  [[nodiscard]] std::size_t size() const { return members_.size(); }
  [[nodiscard]] bool standalone() const { return members_.size() == 1; }
  /// As members name each other.
  [[nodiscard]] const std::vector<std::string>& addresses() const { return addresses_; }
  /// The primary of the newest term that works; none while there is none.
  [[nodiscard]] Member* primary();

  /// The term of the newest primary, whether it is one still or not.
  [[nodiscard]] std::int64_t last_election() const { return last_election_; }

  void start();
  /// Lets the primary go; another one is elected soon.
  void step_down(std::size_t member);
  void kill(std::size_t member);
  void restart(std::size_t member);
  /// Two members hear each other, or do not.
  void connect(std::size_t one, std::size_t other, bool connected);
  void heal();
  /// All is replicated everywhere.
  [[nodiscard]] bool settled();
  /// From now on replication takes its time.
  void slow_down() { pace_ = 300ms; }
  Rules rules;
  /// Is called when a member has become the primary.
  std::function<void(Member&)> on_elected;
  /// Marks of entries that were rolled back.
  [[nodiscard]] const std::set<int>& rolled_back() const { return rolled_back_; }

 private:
  [[nodiscard]] bool hears(const Member& one, const Member& other) const;
  void tick(Member& member);
  void learn_term(Member& member, std::int64_t term);
  void follow(Member& member, Member& primary);
  void lead(Member& member);
  void advance(Member& primary);
  void elect(Member& candidate);
  void name_primary(Member& member);

  Clock& clock_;
  std::function<void(std::string)> note_;
  std::vector<std::unique_ptr<Member>> members_;
  std::vector<std::string> addresses_;
  std::set<std::pair<std::size_t, std::size_t>> apart_;
  std::set<int> rolled_back_;
  std::int64_t last_election_ = 0;
  std::vector<Time> patience_;   // a member that hears of no primary waits until then
  microseconds pace_;            // of replication
};

}  // namespace holdfast::simulation::mongo

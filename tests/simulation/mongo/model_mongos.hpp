// A router in front of one shard. It has cursors and transactions of its own, repeats by itself what it may, and hides in
// writeErrors what befell the shard.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "tests/simulation/mongo/model_set.hpp"

namespace holdfast::simulation::mongo {

class Mongos : public Process {
 public:
  Mongos(Clock& clock, std::size_t at, ModelSet& shard, bool loses_shards);

  using Done = std::function<void(const std::string& body)>;
  /// Answers in its time, unless its process ends before.
  void run(std::string frame, Done done);
  [[nodiscard]] wire::MemberHello hello() const;
  void kill();
  void restart() { up = true; }
  /// From now on it loses no shard by chance.
  void heal() { loses_shards_ = false; }

  const std::size_t index;
  /// Is called when it is about to end by itself.
  std::function<void()> on_end;

 private:
  struct Job;
  using JobPointer = std::shared_ptr<Job>;
  void route(const JobPointer& job);
  void route_later(const JobPointer& job, microseconds low, microseconds high);
  void go_on_with_cursor(const JobPointer& job);
  [[nodiscard]] bool join_transaction(const JobPointer& job);
  [[nodiscard]] Member* target(const Job& job) const;
  void ask(const JobPointer& job, Member& member);
  void wait_for_majority(const JobPointer& job, Member& member, const Member::Answer& answer);
  void watch(const JobPointer& job, Member& member, std::int64_t of_process);
  void on_lost(const JobPointer& job, bool executed);
  void fail(const JobPointer& job, int number);
  void answer(const JobPointer& job, const std::string& body);

  Clock& clock_;
  ModelSet& shard_;
  bool loses_shards_;
  std::map<std::int64_t, std::size_t> cursors_;                        // at which member
  std::map<std::string, std::int64_t, std::less<>> transactions_;     // by session: the number
};

}  // namespace holdfast::simulation::mongo

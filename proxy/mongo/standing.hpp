// The standing connection of an upstream of type mongodb: logged in to the primary, hello is its health check. What members
// say of themselves goes to Members.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "proxy/mongo/backend.hpp"
#include "proxy/mongo/members.hpp"
#include "proxy/standing_connection.hpp"

namespace holdfast::proxy::mongo {

/// All on the home worker. Asks each of the other members once after an attempt that succeeded.
class MongoStanding final : public StandingConnection {
 public:
  /// Finds the members' addresses, where they are not known yet. A sentence where that fails.
  using Seek = std::function<Task<std::string>(SteadyTime deadline)>;
  /// `members` and `pool` outlive this. `learnt` is called when a member has said something, or all have been asked.
  MongoStanding(Executor home, std::shared_ptr<const BackendSettings> settings, Members& members, BufferPool& pool, Seek seek,
                std::function<void()> learnt);
  ~MongoStanding() override;
  MongoStanding(const MongoStanding&) = delete;
  MongoStanding& operator=(const MongoStanding&) = delete;

  Task<Outcome> attempt(config::HostPort endpoint, SteadyTime deadline) override;
  Task<Outcome> probe(config::HostPort endpoint, SteadyTime deadline) override;
  Task<Outcome> check(SteadyTime deadline) override;
  void close() override;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace holdfast::proxy::mongo

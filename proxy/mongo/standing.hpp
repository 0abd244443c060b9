// The standing connection of an upstream of type mongodb: logged in to the primary, a hello and a question to its database are its
// health check. What members say of themselves goes to Members.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "proxy/mongo/backend.hpp"
#include "proxy/mongo/members.hpp"
#include "proxy/standing_connection.hpp"

namespace holdfast::proxy::mongo {

/// All on the home worker. Asks each of the other members once after an attempt that succeeded.
///
/// A server whose storage hangs still says hello. So each check lets a question (listDatabases, without a login ping) follow on a
/// connection of its own, at most one a second, and does not wait for it. After one that was not answered checks wait for the next,
/// and fail until one is.
class MongoStanding final : public StandingConnection {
 public:
  /// What the standing connection tells and asks of its owner.
  struct Hooks {
    /// Finds the members' addresses, where they are not known yet. A sentence where that fails.
    std::function<Task<std::string>(SteadyTime deadline)> seek;
    std::function<void()> learnt;  // a member has said something, or all have been asked
    std::function<void(std::size_t member, const std::string& reason)> doubt;  // a question was not answered: check now
    std::function<milliseconds()> question_time;  // how long one may take
  };
  /// `members` and `pool` outlive this.
  MongoStanding(Executor home, std::shared_ptr<const BackendSettings> settings, Members& members, BufferPool& pool, Hooks hooks);
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

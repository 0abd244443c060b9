// The connections to each member that commands borrow, each logged in for one user: bounded, the most recently used first.
// On one worker.
#pragma once

#include <memory>
#include <set>
#include <vector>

#include "proxy/mongo/backend.hpp"
#include "proxy/waiting.hpp"

namespace holdfast::proxy::mongo {

class Pool;

/// A connection for as long as a command needs it. Goes back to the pool where it can be used again.
class Lease {
 public:
  Lease() = default;
  Lease(Pool& pool, std::size_t member, std::unique_ptr<Backend> backend);
  Lease(Lease&& other) noexcept;
  Lease& operator=(Lease&& other) noexcept;
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;
  ~Lease() { release(); }

  [[nodiscard]] explicit operator bool() const { return backend_ != nullptr; }
  [[nodiscard]] Backend* operator->() const { return backend_.get(); }
  [[nodiscard]] Backend& operator*() const { return *backend_; }
  [[nodiscard]] std::size_t member() const { return member_; }
  void release();

 private:
  Pool* pool_ = nullptr;
  std::size_t member_ = 0;
  std::unique_ptr<Backend> backend_;
};

class Pool {
 public:
  /// Outlives its leases.
  /// Not shared: what is given back is closed, and whoever keeps its leases sets the limit.
  enum class Shared { no, yes };
  Pool(const Executor& executor, std::size_t members, Shared shared, std::size_t size_max, milliseconds idle_timeout);

  [[nodiscard]] bool is_shared() const { return shared_; }
  /// One more member has been found.
  void add_member() { members_.emplace_back(); }
  /// One of this user's that is idle and still connected; none where there is none.
  [[nodiscard]] Lease take(std::size_t member, const Login* login);
  /// A place for one more connection: false where the member has as many as it may have, and none of them is idle.
  [[nodiscard]] bool reserve(std::size_t member);
  /// Fills a place, or with none gives it back.
  Lease fill(std::size_t member, std::unique_ptr<Backend> backend);
  /// Returns when a connection or a place has become free, or at `deadline`.
  Task<> wait_for_room(SteadyTime deadline);
  /// Those who wait for room look whether they still have to.
  void wake() { room_.notify(); }
  /// Closes every connection to a member, also those in use, whose commands then see a loss.
  void fail(std::size_t member);
  void close_idle(SteadyTime now);
  /// Closes everything; nothing is taken from now on.
  void stop();
  /// There is a place, or there can be one.
  [[nodiscard]] bool has_room(std::size_t member) const {
    return members_[member].open < size_max_ || !members_[member].idle.empty();
  }

 private:
  friend class Lease;
  struct Member {
    std::vector<std::unique_ptr<Backend>> idle;  // the last one was used last
    std::set<Backend*> lent;
    std::size_t open = 0;  // idle, lent, and being made
  };
  void give_back(std::size_t member, std::unique_ptr<Backend> backend);

  Executor executor_;
  std::vector<Member> members_;
  bool shared_;
  std::size_t size_max_;
  milliseconds idle_timeout_;
  Condition room_;
  bool stopped_ = false;
};

}  // namespace holdfast::proxy::mongo

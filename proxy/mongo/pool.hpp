// The connections to each member that commands borrow: performs what the book of the pool says. On one worker.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "proxy/mongo/backend.hpp"
#include "proxy/mongo/pool_book.hpp"
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

/// Room for one more connection, which is to be made now.
class Place {
 public:
  Place() = default;
  Place(Pool& pool, std::size_t member) : pool_(&pool), member_(member) {}
  Place(Place&& other) noexcept : pool_(std::exchange(other.pool_, nullptr)), member_(other.member_) {}
  Place& operator=(Place&& other) noexcept;
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;
  ~Place() { give_up(); }

  [[nodiscard]] explicit operator bool() const { return pool_ != nullptr; }
  [[nodiscard]] std::size_t member() const { return member_; }
  void give_up();
  /// An empty lease where there is no connection, or the pool was stopped meanwhile.
  Lease fill(std::unique_ptr<Backend> backend);

 private:
  Pool* pool_ = nullptr;
  std::size_t member_ = 0;
};

class Pool {
 public:
  /// Outlives its leases and places.
  Pool(const Executor& executor, std::size_t members, PoolBook::Shared shared, PoolBook::Limits limits);

  [[nodiscard]] bool is_shared() const { return book_.is_shared(); }
  /// One more member has been found.
  void add_member();
  void limit_logins(std::size_t logins);

  /// A connection of a user's, or a place for one, or neither.
  struct Turn {
    Lease lease;
    Place place;
    [[nodiscard]] explicit operator bool() const { return lease || place; }
    /// Where there is one.
    [[nodiscard]] std::size_t member() const { return lease ? lease.member() : place.member(); }
    [[nodiscard]] bool is_at(std::optional<std::size_t> which) const { return *this && which == member(); }
  };
  using Room = PoolBook::Room;
  /// One of this user's that is idle and still connected; none where there is none.
  [[nodiscard]] Lease take_idle(std::size_t member, const Login* login);
  /// What is to be had at once. No user: a place, and nothing else.
  [[nodiscard]] Turn take(std::size_t member, const Login* login, Room room);
  [[nodiscard]] PoolBook::Ticket next_ticket() { return book_.next_ticket(); }
  /// Whoever waits, and what may end its wait besides.
  struct Waiter {
    PoolBook::Ticket ticket;
    const bool* gone;
    bool for_primary;  // whoever that is
    Room room;
  };
  /// Returns when it is the waiter's turn, and with nothing at `deadline` or when it is to look again.
  Task<Turn> wait(Waiter waiter, std::size_t member, const Login* login, SteadyTime deadline);
  /// Those whose clients have gone wait no longer.
  void wake();
  /// Those who wait for a connection to the primary wait for one to this member.
  void follow_primary(std::optional<std::size_t> member);
  /// There are connections to this member.
  [[nodiscard]] bool serves(std::size_t member) const { return book_.open(member) > book_.being_made(member); }
  /// An exchange over one of them has ended since then, with an answer.
  [[nodiscard]] bool has_answered_since(std::size_t member, SteadyTime then) const;
  /// Closes every connection to a member, also those in use, whose commands then see a loss.
  void fail(std::size_t member);
  void close_idle(SteadyTime now);
  /// Closes everything; nothing is taken from now on.
  void stop();

 private:
  friend class Lease;
  friend class Place;
  struct Waiting {
    Waiting(const Executor& executor, const Waiter& who, std::size_t at) : told(executor), waiter(who), member(at) {}
    Condition told;
    const Waiter waiter;
    const std::size_t member;
    Turn turn;
    bool looks_again = false;
  };
  [[nodiscard]] Turn turn_of(std::size_t member, PoolBook::Given given);
  void give_back(std::size_t member, std::unique_ptr<Backend> backend);
  void tell_next();

  Executor executor_;
  PoolBook book_;
  using Lent = boost::intrusive::list<Backend, boost::intrusive::constant_time_size<false>>;
  std::deque<Lent> lent_;                // by member
  std::vector<SteadyTime> last_answer_;  // by member: over a connection that was given back
  std::map<PoolBook::Ticket, Waiting*> waiting_;
  bool stopped_ = false;
};

}  // namespace holdfast::proxy::mongo

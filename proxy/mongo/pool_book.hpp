// The connections to each member that commands borrow, each logged in for one user: how many there are, which are idle, who waits for
// one, and who gets the next. Sans-io: owns what is idle, and counts the rest. One thread.
//
// Nobody who waits is overtaken by one who came later, but for this: a connection goes to the first of its own user, and is closed in
// favour of another user only after a few of them went past.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "proxy/upstream_types.hpp"

namespace holdfast::proxy::mongo {

struct Login;

/// A connection, as the pool knows it.
struct Pooled {
  virtual ~Pooled() = default;
  std::shared_ptr<Login> login;  // for whom it is logged in; none or nobody: for nobody
  SteadyTime idle_since{};
};

class PoolBook {
 public:
  using Connection = std::unique_ptr<Pooled>;
  /// When somebody came; the least one came first. It is kept by one who has to wait again.
  using Ticket = std::uint64_t;
  struct Limits {
    std::size_t connections = 100;  // to one member: in use, idle, and being made
    std::size_t logins = 16;        // of those, being made
    milliseconds idle_time{600'000};
  };
  /// Not shared: what is given back is closed, and whoever keeps its connections sets the limit.
  enum class Shared { no, yes };
  PoolBook(std::size_t members, Shared shared, Limits limits);

  [[nodiscard]] bool is_shared() const { return shared_; }
  /// One more member has been found.
  void add_member() { members_.emplace_back(); }
  void limit_logins(std::size_t logins);

  /// Beyond the limit, up to twice as many, are those that end what others may be waiting for, with a connection each.
  enum class Room { within_limit, beyond_limit };
  /// An idle connection, or a place for a new one, or neither.
  struct Given {
    Connection connection;
    bool place = false;
    [[nodiscard]] explicit operator bool() const { return connection || place; }
  };
  /// This user's that was used last.
  [[nodiscard]] Connection take_idle(std::size_t member, const Login* login);
  /// A place for a new one; false where one has to wait for it.
  [[nodiscard]] bool reserve(std::size_t member, Room room);
  /// For this user at once: neither is to be had where one has to wait. No user: a place, and nothing else.
  [[nodiscard]] Given take(std::size_t member, const Login* login, Room room = Room::within_limit);

  [[nodiscard]] Ticket next_ticket() { return ++last_ticket_; }
  /// Waits for the same; `take` has just given nothing.
  void wait(Ticket ticket, std::size_t member, const Login* login, Room room = Room::within_limit);
  /// Waits no longer.
  void leave(Ticket ticket);
  struct Handed {
    Ticket ticket = 0;
    Given given;
  };
  /// Who has come to its turn, after any of what follows.
  [[nodiscard]] std::vector<Handed> take_handed() { return std::exchange(handed_, {}); }

  /// A connection that is not used any more, and can be used again.
  void give_back(std::size_t member, Connection connection, SteadyTime now);
  /// One has ended.
  void lose(std::size_t member);
  /// There is a connection in a place now.
  void fill(std::size_t member);
  /// There will be none.
  void give_up(std::size_t member);
  /// Closes those that are idle: all to this member, or those that have been so for too long.
  void close_idle(std::size_t member);
  void close_idle_since(SteadyTime now);
  /// Closes everything; nothing is given from now on.
  void stop();

  /// In use, idle, or being made.
  [[nodiscard]] std::size_t open(std::size_t member) const { return members_[member].open; }
  [[nodiscard]] std::size_t being_made(std::size_t member) const { return members_[member].making; }
  [[nodiscard]] std::size_t idle(std::size_t member) const { return members_[member].idle.size(); }
  [[nodiscard]] std::size_t waiting() const { return waiting_.size(); }

 private:
  struct Member {
    std::vector<Connection> idle;  // the last one was used last
    std::size_t open = 0, making = 0;
  };
  struct Waiting {
    std::size_t member = 0;
    const Login* login = nullptr;
    Room room = Room::within_limit;
    unsigned passed = 0;  // so many connections of other users went to others who came later
  };
  using Queue = std::map<Ticket, Waiting>;
  [[nodiscard]] bool has_place(const Member& member, Room room) const;
  [[nodiscard]] Queue::iterator first_at(std::size_t member);
  [[nodiscard]] Queue::iterator first_with_place(std::size_t member);
  enum class Whose { anybody, beyond_limit };
  [[nodiscard]] Queue::iterator first_of(std::size_t member, const Login* login, Whose whose);
  [[nodiscard]] bool goes_past(Queue::iterator first, Ticket to);
  void hand(Queue::iterator to, Given given);
  void hand_places(std::size_t member);

  std::vector<Member> members_;
  const bool shared_;
  Limits limits_;
  Queue waiting_;
  std::vector<Handed> handed_;
  Ticket last_ticket_ = 0;
  bool stopped_ = false;
};

}  // namespace holdfast::proxy::mongo

// The shell of the pool, as pool.cpp and context.cpp are: lends links, tells those whose turn it is, and looks whether the book keeps
// its word.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "protocol/mongo/reply.hpp"
#include "proxy/mongo/login.hpp"
#include "proxy/mongo/pool_book.hpp"
#include "tests/simulation/mongo/sim_servers.hpp"

namespace holdfast::simulation::mongo {

class SimPool {
 public:
  using Book = ::holdfast::proxy::mongo::PoolBook;
  SimPool(Clock& clock, SimServers& servers, std::size_t members, Book::Limits limits);

  void add_member();
  /// A link, or a place for one, or neither.
  struct Turn {
    std::shared_ptr<Link> link;
    std::optional<std::size_t> place;  // at this member
    [[nodiscard]] explicit operator bool() const { return link || place; }
    [[nodiscard]] std::size_t member() const { return link ? link->member : *place; }
    [[nodiscard]] bool is_at(std::size_t which) const { return *this && member() == which; }
  };
  [[nodiscard]] Book::Ticket next_ticket() { return book_.next_ticket(); }
  struct Waiter {
    Book::Ticket ticket;
    bool for_primary;
    Book::Room room;
  };
  /// `login`: empty for a place and nothing else.
  [[nodiscard]] Turn take(Waiter waiter, std::size_t member, const std::string& login);
  using Then = std::function<void(Turn)>;
  /// `then` gets nothing at `deadline`, or when it is to look again.
  void wait(Waiter waiter, std::size_t member, const std::string& login, Time deadline, Then then);
  /// Its client has gone.
  void cancel(Book::Ticket ticket);
  void follow_primary(std::optional<std::size_t> member);
  /// Lets go of what it was given.
  void give_back(Turn turn);
  void give_back(std::shared_ptr<Link> link);
  void lose(std::shared_ptr<Link> link);
  /// Does this reply say so? Then no connection that its login had before is used again.
  [[nodiscard]] bool is_logged_out(const Link& link, const wire::Reply& reply);
  /// In a place that was given.
  std::shared_ptr<Link> fill(std::size_t member, const std::string& login, const wire::ObjectId& process);
  void give_up(std::size_t member);
  /// All connections to a member end.
  void fail(std::size_t member, const std::string& reason);
  void on_tick();
  /// Nobody is there any more, and what was idle has been so for long enough.
  void check_empty() const;
  [[nodiscard]] long waits() const { return waits_; }
  [[nodiscard]] long replaced() const { return replaced_; }
  [[nodiscard]] long logouts() const { return logouts_; }

 private:
  struct Pooled;
  struct Waiting {
    Waiter waiter;
    std::size_t member;
    std::string login;
    Then then;
    bool told = false;
    Turn turn;
    unsigned overtaken = 0;
  };
  [[nodiscard]] const ::holdfast::proxy::mongo::Login* login_of(const std::string& name);
  [[nodiscard]] bool is_sound(const Link& link) const { return link.usable() && logins_.at(link.login)->logouts == link.logouts; }
  [[nodiscard]] std::size_t limit_of(Book::Room room) const;
  [[nodiscard]] Turn turn_of(std::size_t member, Book::Given given, Book::Room room);
  void tell_next();
  void tell(Book::Ticket ticket);
  void check_order(Waiter taker, std::size_t member, const std::string& login);
  [[nodiscard]] std::size_t open_links(std::size_t member) const;

  Clock& clock_;
  SimServers& servers_;
  const Book::Limits limits_;
  std::map<std::string, std::shared_ptr<::holdfast::proxy::mongo::Login>> logins_;
  Book book_;
  std::map<Book::Ticket, Waiting> waiting_;
  std::vector<std::size_t> places_;  // that were given and are not filled, by member
  std::vector<std::weak_ptr<Link>> links_;
  long waits_ = 0, replaced_ = 0, logouts_ = 0;
};

}  // namespace holdfast::simulation::mongo

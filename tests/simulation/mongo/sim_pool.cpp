// What the book of the pool says is done, and what it promises is checked: its limits, and that nobody is overtaken.
#include "tests/simulation/mongo/sim_pool.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <utility>

namespace holdfast::simulation::mongo {

namespace {

/// So many of other users may go past one who waits.
constexpr unsigned overtakings_max = 8;

}  // namespace

struct SimPool::Pooled final : ::holdfast::proxy::mongo::Pooled {
  explicit Pooled(std::shared_ptr<Link> of) : link(std::move(of)) {}
  Pooled(const Pooled&) = delete;
  Pooled& operator=(const Pooled&) = delete;
  ~Pooled() override {
    if (link) link->close();
  }
  std::shared_ptr<Link> link;
};

SimPool::SimPool(Clock& clock, SimServers& servers, std::size_t members, Book::Limits limits)
    : clock_(clock), servers_(servers), limits_(limits), book_(members, Book::Shared::yes, limits), places_(members) {}

void SimPool::add_member() {
  book_.add_member();
  places_.push_back(0);
}

const ::holdfast::proxy::mongo::Login* SimPool::login_of(const std::string& name) {
  if (name.empty()) return nullptr;
  auto& login = logins_[name];
  if (!login) login = std::make_shared<::holdfast::proxy::mongo::Login>();
  return login.get();
}

std::size_t SimPool::limit_of(Book::Room room) const { return limits_.connections * (room == Book::Room::beyond_limit ? 2 : 1); }

SimPool::Turn SimPool::turn_of(std::size_t member, Book::Given given, Book::Room room) {
  Turn turn;
  if (given.connection) turn.link = std::move(static_cast<Pooled&>(*given.connection).link);
  if (given.place) {
    turn.place = member;
    EXPECT_LE(++places_[member], limits_.logins) << "too many logins at once at member " << member;
  }
  if (turn) {
    EXPECT_LE(places_[member] + open_links(member), limit_of(room)) << "too many connections to member " << member;
  }
  return turn;
}

SimPool::Turn SimPool::take(Waiter waiter, std::size_t member, const std::string& login) {
  for (;;) {
    auto turn = turn_of(member, book_.take(member, login_of(login), waiter.room), waiter.room);
    if (turn) check_order(waiter, member, login);
    if (!turn.link || is_sound(*turn.link)) return turn;
    lose(std::move(turn.link));
  }
}

void SimPool::wait(Waiter waiter, std::size_t member, const std::string& login, Time deadline, Then then) {
  ++waits_;
  waiting_.emplace(waiter.ticket, Waiting{waiter, member, login, std::move(then), false, {}, 0});
  book_.wait(waiter.ticket, member, login_of(login), waiter.room);
  clock_.at(deadline, [this, ticket = waiter.ticket] { cancel(ticket); });
}

void SimPool::cancel(Book::Ticket ticket) {
  if (const auto found = waiting_.find(ticket); found == waiting_.end() || found->second.told) return;
  book_.leave(ticket);
  tell(ticket);
}

void SimPool::follow_primary(std::optional<std::size_t> member) {
  std::vector<Book::Ticket> elsewhere;
  for (const auto& [ticket, waiting] : waiting_) {
    if (waiting.waiter.for_primary && waiting.member != member) elsewhere.push_back(ticket);
  }
  for (const auto ticket : elsewhere) cancel(ticket);
}

/// As a coroutine that is notified: it goes on in an event of its own.
void SimPool::tell(Book::Ticket ticket) {
  waiting_.at(ticket).told = true;
  clock_.after(0us, [this, ticket] {
    auto waiting = waiting_.extract(ticket);
    waiting.mapped().then(std::move(waiting.mapped().turn));
  });
}

void SimPool::tell_next() {
  for (auto& handed : book_.take_handed()) {
    const auto found = waiting_.find(handed.ticket);
    ASSERT_TRUE(found != waiting_.end() && !found->second.told) << "a connection for nobody";
    auto& waiting = found->second;
    if (handed.given.place) ++replaced_;
    check_order(waiting.waiter, waiting.member, waiting.login);
    waiting.turn = turn_of(waiting.member, std::move(handed.given), waiting.waiter.room);
    tell(handed.ticket);
  }
}

void SimPool::give_back(Turn turn) {
  if (turn.link) give_back(std::move(turn.link));
  if (turn.place) give_up(*turn.place);
}

void SimPool::give_back(std::shared_ptr<Link> link) {
  if (!is_sound(*link)) return lose(std::move(link));
  const auto member = link->member;
  auto pooled = std::make_unique<Pooled>(link);
  pooled->login = logins_.at(link->login);
  book_.give_back(member, std::move(pooled), clock_.now());
  tell_next();
}

void SimPool::lose(std::shared_ptr<Link> link) {
  link->close();
  book_.lose(link->member);
  tell_next();
}

std::shared_ptr<Link> SimPool::fill(std::size_t member, const std::string& login, const wire::ObjectId& process) {
  --places_[member];
  auto link = servers_.open(member, login, process);
  link->logouts = login_of(login)->logouts;
  links_.push_back(link);
  book_.fill(member);
  tell_next();
  return link;
}

void SimPool::give_up(std::size_t member) {
  --places_[member];
  book_.give_up(member);
  tell_next();
}

void SimPool::fail(std::size_t member, const std::string& reason) {
  book_.close_idle(member);
  tell_next();
  const auto all = links_;
  for (const auto& each : all) {
    const auto link = each.lock();
    if (!link || link->member != member) continue;
    const auto heard = link->on_end;
    if (heard) heard(reason);
  }
}

// ---- what the book promises ----

std::size_t SimPool::open_links(std::size_t member) const {
  return static_cast<std::size_t>(std::ranges::count_if(links_, [&](const auto& each) {
    const auto link = each.lock();
    return link && link->member == member && link->usable();
  }));
}

/// One has come to its turn. Was somebody there before it? Those for whom there is room beyond the limit go past the others.
void SimPool::check_order(Waiter taker, std::size_t member, const std::string& login) {
  for (auto& [other, waiting] : waiting_) {
    if (other >= taker.ticket || waiting.member != member || waiting.told) continue;
    if (taker.room == Book::Room::beyond_limit && waiting.waiter.room != taker.room) continue;
    EXPECT_NE(waiting.login, login) << "one who waits for a connection is overtaken by a later one of the same user";
    // Where no more may log in, another user's connection is of no use to it.
    if (places_[member] < limits_.logins) ++waiting.overtaken;
    EXPECT_LE(waiting.overtaken, overtakings_max) << "one who waits for a connection is overtaken again and again";
  }
}

void SimPool::on_tick() {
  book_.close_idle_since(clock_.now());
  tell_next();
  std::erase_if(links_, [](const auto& each) { return each.expired(); });
  for (const auto& [ticket, waiting] : waiting_) {
    if (waiting.told) continue;
    const bool full = open_links(waiting.member) + places_[waiting.member] >= limit_of(waiting.waiter.room);
    const bool can_log_in = places_[waiting.member] < limits_.logins;
    EXPECT_TRUE(!can_log_in || (full && book_.idle(waiting.member) == 0))
        << "one waits though there is room at member " << waiting.member << ": " << open_links(waiting.member) << " open, "
        << places_[waiting.member] << " being made, " << book_.idle(waiting.member) << " idle, " << book_.open(waiting.member) << " by the book";
  }
}

void SimPool::check_empty() const {
  EXPECT_TRUE(waiting_.empty()) << "somebody still waits";
  for (std::size_t i = 0; i < places_.size(); ++i) {
    EXPECT_EQ(open_links(i), 0U) << "a connection to member " << i << " is left";
    EXPECT_EQ(book_.open(i), 0U) << "the book has connections to member " << i << " that are not there";
    EXPECT_EQ(book_.being_made(i), 0U) << "and some that are made by nobody";
  }
}

}  // namespace holdfast::simulation::mongo

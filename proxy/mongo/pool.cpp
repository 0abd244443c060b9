// Lends what the book gives, closes what cannot be used again, and tells those whose turn it is.
#include "proxy/mongo/pool.hpp"

#include <algorithm>
#include <utility>

namespace holdfast::proxy::mongo {

namespace {

/// One that has answered so short a time ago is taken to live still, as one is in the middle of a command: to look costs a
/// system call, a twentieth of all that a small command costs.
constexpr auto rest_time = std::chrono::milliseconds(1);

std::unique_ptr<Backend> backend_of(PoolBook::Connection connection) {
  return std::unique_ptr<Backend>(static_cast<Backend*>(connection.release()));
}

}  // namespace

Lease::Lease(Pool& pool, std::size_t member, std::unique_ptr<Backend> backend)
    : pool_(&pool), member_(member), backend_(std::move(backend)) {
  pool.lent_[member].push_back(*backend_);
}

Lease::Lease(Lease&& other) noexcept
    : pool_(other.pool_), member_(other.member_), backend_(std::move(other.backend_)) {}

Lease& Lease::operator=(Lease&& other) noexcept {
  if (this == &other) return *this;
  release();
  pool_ = other.pool_;
  member_ = other.member_;
  backend_ = std::move(other.backend_);
  return *this;
}

void Lease::release() {
  if (backend_) pool_->give_back(member_, std::move(backend_));
}

Place& Place::operator=(Place&& other) noexcept {
  if (this == &other) return *this;
  give_up();
  pool_ = std::exchange(other.pool_, nullptr);
  member_ = other.member_;
  return *this;
}

void Place::give_up() {
  if (auto* pool = std::exchange(pool_, nullptr)) {
    pool->book_.give_up(member_);
    pool->tell_next();
  }
}

Lease Place::fill(std::unique_ptr<Backend> backend) {
  if (!backend || pool_->stopped_) {
    give_up();
    return {};
  }
  auto* pool = std::exchange(pool_, nullptr);
  Lease lease(*pool, member_, std::move(backend));
  pool->book_.fill(member_);
  pool->tell_next();
  return lease;
}

Pool::Pool(const Executor& executor, std::size_t members, PoolBook::Shared shared, PoolBook::Limits limits)
    : executor_(executor), book_(members, shared, limits), lent_(members), last_answer_(members) {}

void Pool::add_member() {
  book_.add_member();
  lent_.emplace_back();
  last_answer_.emplace_back();
}

void Pool::limit_logins(std::size_t logins) {
  book_.limit_logins(logins);
  tell_next();
}

Pool::Turn Pool::turn_of(std::size_t member, PoolBook::Given given) {
  Turn turn;
  if (given.connection) turn.lease = {*this, member, backend_of(std::move(given.connection))};
  if (given.place) turn.place = {*this, member};
  return turn;
}

Lease Pool::take_idle(std::size_t member, const Login* login) {
  while (auto connection = book_.take_idle(member, login)) {
    auto backend = backend_of(std::move(connection));
    const bool rested = std::chrono::steady_clock::now() - backend->last_answer >= rest_time;
    if (backend->is_sound() && (!rested || backend->is_quiet())) return {*this, member, std::move(backend)};
    backend.reset();
    book_.lose(member);
    tell_next();
  }
  return {};
}

Pool::Turn Pool::take(std::size_t member, const Login* login, Room room) {
  Turn turn;
  turn.lease = take_idle(member, login);
  if (!turn.lease && book_.reserve(member, room)) turn.place = {*this, member};
  return turn;
}

Task<Pool::Turn> Pool::wait(Waiter waiter, std::size_t member, const Login* login, SteadyTime deadline) {
  Waiting waiting(executor_, waiter, member);
  waiting_.emplace(waiter.ticket, &waiting);
  book_.wait(waiter.ticket, member, login, waiter.room);
  const Deadline limit(executor_, deadline, [&told = waiting.told] { told.notify(); });
  while (!waiting.turn && !waiting.looks_again && !*waiter.gone && std::chrono::steady_clock::now() < deadline) {
    co_await waiting.told.wait();
  }
  book_.leave(waiter.ticket);
  waiting_.erase(waiter.ticket);
  co_return std::move(waiting.turn);
}

void Pool::tell_next() {
  for (auto& handed : book_.take_handed()) {
    auto& waiting = *waiting_.at(handed.ticket);
    waiting.turn = turn_of(waiting.member, std::move(handed.given));
    waiting.told.notify();
  }
}

void Pool::give_back(std::size_t member, std::unique_ptr<Backend> backend) {
  backend->unlink();
  last_answer_[member] = std::max(last_answer_[member], backend->last_answer);
  if (backend->is_sound()) {
    backend->rest();
    book_.give_back(member, std::move(backend), std::chrono::steady_clock::now());
  } else {
    backend.reset();
    book_.lose(member);
  }
  tell_next();
}

void Pool::wake() {
  for (auto& [ticket, waiting] : waiting_) {
    if (*waiting->waiter.gone) waiting->told.notify();
  }
}

void Pool::follow_primary(std::optional<std::size_t> member) {
  for (auto& [ticket, waiting] : waiting_) {
    if (!waiting->waiter.for_primary || waiting->member == member) continue;
    waiting->looks_again = true;
    waiting->told.notify();
  }
}

bool Pool::has_answered_since(std::size_t member, SteadyTime then) const {
  const auto answered = [&](const Backend& backend) { return backend.last_answer >= then; };
  return last_answer_[member] >= then || std::ranges::any_of(lent_[member], answered);
}

void Pool::fail(std::size_t member) {
  book_.close_idle(member);
  for (auto& backend : lent_[member]) backend.close();
  tell_next();
}

void Pool::close_idle(SteadyTime now) {
  book_.close_idle_since(now);
  tell_next();
}

void Pool::stop() {
  stopped_ = true;
  book_.stop();
  for (std::size_t i = 0; i < lent_.size(); ++i) fail(i);
}

}  // namespace holdfast::proxy::mongo

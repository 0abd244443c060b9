// Lending, counting, closing.
#include "proxy/mongo/pool.hpp"

#include <limits>
#include <utility>

namespace holdfast::proxy::mongo {

namespace {

/// One that has answered so short a time ago is taken to live still, as one is in the middle of a command: to look costs a
/// system call, a twentieth of all that a small command costs.
constexpr auto rest_time = std::chrono::milliseconds(1);

}  // namespace

Lease::Lease(Pool& pool, std::size_t member, std::unique_ptr<Backend> backend)
    : pool_(&pool), member_(member), backend_(std::move(backend)) {
  pool.members_[member].lent.insert(backend_.get());
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

Pool::Pool(const Executor& executor, std::size_t members, Shared shared, std::size_t size_max, milliseconds idle_timeout)
    : executor_(executor), members_(members), shared_(shared == Shared::yes),
      size_max_(shared_ ? size_max : std::numeric_limits<std::size_t>::max()), idle_timeout_(idle_timeout), room_(executor) {}

Lease Pool::take(std::size_t index, const Login* login) {
  auto& member = members_[index];
  for (auto i = member.idle.size(); i-- > 0;) {
    if (member.idle[i]->login.get() != login) continue;
    auto backend = std::move(member.idle[i]);
    member.idle.erase(member.idle.begin() + static_cast<std::ptrdiff_t>(i));
    const bool rested = std::chrono::steady_clock::now() - backend->last_answer >= rest_time;
    if (rested ? backend->is_quiet() : backend->is_sound()) return {*this, index, std::move(backend)};
    --member.open;
  }
  return {};
}

bool Pool::reserve(std::size_t index) {
  auto& member = members_[index];
  if (stopped_ || !has_room(index)) return false;
  if (member.open >= size_max_) {
    // Another user's, that has been idle for longest.
    member.idle.erase(member.idle.begin());
    --member.open;
  }
  ++member.open;
  return true;
}

Lease Pool::fill(std::size_t index, std::unique_ptr<Backend> backend) {
  if (backend && !stopped_) return {*this, index, std::move(backend)};
  --members_[index].open;
  room_.notify();
  return {};
}

void Pool::give_back(std::size_t index, std::unique_ptr<Backend> backend) {
  auto& member = members_[index];
  member.lent.erase(backend.get());
  if (backend->is_sound() && shared_ && !stopped_) {
    backend->rest();
    backend->idle_since = std::chrono::steady_clock::now();
    member.idle.push_back(std::move(backend));
  } else {
    --member.open;
  }
  room_.notify();
}

Task<> Pool::wait_for_room(SteadyTime deadline) {
  SteadyTimer limit(executor_, deadline);
  limit.async_wait([this](const boost::system::error_code& error) {
    if (!error) room_.notify();
  });
  co_await room_.wait();
}

void Pool::fail(std::size_t index) {
  auto& member = members_[index];
  member.open -= member.idle.size();
  member.idle.clear();
  for (auto* backend : member.lent) backend->close();
  room_.notify();
}

void Pool::close_idle(SteadyTime now) {
  for (auto& member : members_) {
    const auto closed = std::erase_if(member.idle, [&](const auto& each) { return each->idle_since + idle_timeout_ < now; });
    member.open -= closed;
    if (closed > 0) room_.notify();
  }
}

void Pool::stop() {
  stopped_ = true;
  for (std::size_t i = 0; i < members_.size(); ++i) fail(i);
}

}  // namespace holdfast::proxy::mongo

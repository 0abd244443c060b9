// Lending, counting, and whose turn it is.
#include "proxy/mongo/pool_book.hpp"

#include <algorithm>
#include <limits>
#include <utility>

#include "proxy/mutation.hpp"

namespace holdfast::proxy::mongo {

namespace {

/// A login costs more than a command: so many of a user's connections may go past one who waits for another user.
constexpr unsigned passes_max = 8;

}  // namespace

PoolBook::PoolBook(std::size_t members, Shared shared, Limits limits)
    : members_(members), shared_(shared == Shared::yes), limits_(limits) {
  if (!shared_) limits_.connections = std::numeric_limits<std::size_t>::max();
}

void PoolBook::limit_logins(std::size_t logins) {
  limits_.logins = logins;
  for (std::size_t i = 0; i < members_.size(); ++i) hand_places(i);
}

/// There is one, or there can be one.
bool PoolBook::has_place(const Member& member, Room room) const {
  const bool logs_in = member.making < limits_.logins || broken("login_limit");
  const auto beyond = room == Room::beyond_limit && !broken("pool_beyond") ? limits_.connections : 0;
  const bool open = member.open < limits_.connections || member.open - limits_.connections < beyond;
  return logs_in && (open || !member.idle.empty() || broken("pool_max"));
}

bool PoolBook::reserve(std::size_t index, Room room) {
  auto& member = members_[index];
  if (stopped_ || !has_place(member, room)) return false;
  if (member.open >= limits_.connections && !member.idle.empty()) {
    // Another user's, that has been idle for longest.
    member.idle.erase(member.idle.begin());
    --member.open;
  }
  ++member.open;
  ++member.making;
  return true;
}

PoolBook::Connection PoolBook::take_idle(std::size_t index, const Login* login) {
  auto& idle = members_[index].idle;
  for (auto i = idle.size(); login != nullptr && i-- > 0;) {
    if (idle[i]->login.get() != login && !broken("pool_user")) continue;
    auto connection = std::move(idle[i]);
    idle.erase(idle.begin() + static_cast<std::ptrdiff_t>(i));
    return connection;
  }
  return nullptr;
}

PoolBook::Given PoolBook::take(std::size_t index, const Login* login, Room room) {
  if (auto connection = take_idle(index, login)) return {std::move(connection), false};
  return {nullptr, reserve(index, room)};
}

// ---- those who wait ----

void PoolBook::wait(Ticket ticket, std::size_t member, const Login* login, Room room) { waiting_[ticket] = {member, login, room}; }

void PoolBook::leave(Ticket ticket) { waiting_.erase(ticket); }

PoolBook::Queue::iterator PoolBook::first_at(std::size_t member) {
  return std::ranges::find_if(waiting_, [&](const auto& each) { return each.second.member == member; });
}

/// Room beyond the limit is for those who came later than others, too.
PoolBook::Queue::iterator PoolBook::first_with_place(std::size_t index) {
  return std::ranges::find_if(waiting_, [&](const auto& each) {
    return each.second.member == index && has_place(members_[index], each.second.room);
  });
}

PoolBook::Queue::iterator PoolBook::first_of(std::size_t member, const Login* login, Whose whose) {
  if (login == nullptr) return waiting_.end();
  const auto fits = [&](const auto& each) {
    return each.second.member == member && each.second.login == login && (whose == Whose::anybody || each.second.room == Room::beyond_limit);
  };
  if (broken("pool_order")) {
    for (auto last = waiting_.end(); last != waiting_.begin();) {
      if (fits(*--last)) return last;
    }
    return waiting_.end();
  }
  return std::ranges::find_if(waiting_, fits);
}

/// May a connection go past all who came before this one, and are other users'? It is noted then.
bool PoolBook::goes_past(Queue::iterator first, Ticket to) {
  const auto end = waiting_.find(to);
  const auto at_member = [&](const Waiting& each) { return each.member == first->second.member; };
  // Not only the first: it may have come here last, from another member's queue.
  const bool enough = std::any_of(first, end, [&](const auto& each) { return at_member(each.second) && each.second.passed >= passes_max; });
  if (enough && !broken("pool_passes")) return false;
  for (auto each = first; each != end; ++each) {
    if (at_member(each->second)) ++each->second.passed;
  }
  return true;
}

void PoolBook::hand(Queue::iterator to, Given given) {
  handed_.push_back({to->first, std::move(given)});
  waiting_.erase(to);
}

void PoolBook::hand_places(std::size_t index) {
  if (broken("pool_places")) return;
  auto first = first_with_place(index);
  for (; first != waiting_.end() && reserve(index, first->second.room); first = first_with_place(index)) hand(first, {nullptr, true});
}

// ---- what becomes of connections ----

void PoolBook::give_back(std::size_t index, Connection connection, SteadyTime now) {
  if (!shared_ || stopped_) return connection.reset(), lose(index);
  auto& member = members_[index];
  if (member.open > limits_.connections && !broken("pool_keeps_beyond")) {
    // Given to one who is to keep the limit, it would be missing to those who must not wait.
    const auto own = first_of(index, connection->login.get(), Whose::beyond_limit);
    if (own != waiting_.end()) return hand(own, {std::move(connection), false});
    return connection.reset(), lose(index);
  }
  const auto first = first_at(index), own = first_of(index, connection->login.get(), Whose::anybody);
  const bool can_be_replaced = member.making < limits_.logins;
  if (own != waiting_.end() && (own == first || !can_be_replaced || goes_past(first, own->first))) {
    return hand(own, {std::move(connection), false});
  }
  connection->idle_since = now;
  member.idle.push_back(std::move(connection));
  hand_places(index);  // another user's turn: this one, or one that has been idle for longer, makes room
}

void PoolBook::lose(std::size_t index) {
  --members_[index].open;
  hand_places(index);
}

void PoolBook::fill(std::size_t index) {
  --members_[index].making;
  hand_places(index);
}

void PoolBook::give_up(std::size_t index) {
  --members_[index].making;
  if (!broken("pool_place_back")) --members_[index].open;
  hand_places(index);
}

void PoolBook::close_idle(std::size_t index) {
  auto& member = members_[index];
  member.open -= member.idle.size();
  member.idle.clear();
  hand_places(index);
}

void PoolBook::close_idle_since(SteadyTime now) {
  if (broken("pool_idle")) return;
  for (std::size_t i = 0; i < members_.size(); ++i) {
    members_[i].open -= std::erase_if(members_[i].idle, [&](const auto& each) { return each->idle_since + limits_.idle_time < now; });
    hand_places(i);
  }
}

void PoolBook::stop() {
  stopped_ = true;
  for (std::size_t i = 0; i < members_.size(); ++i) close_idle(i);
}

}  // namespace holdfast::proxy::mongo

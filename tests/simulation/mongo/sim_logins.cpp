// Passwords that change: members refuse the old login, and drivers that are asked to log in again do so and repeat their command. Users that are
// made anew: what is logged in has to log in again.
#include <algorithm>

#include "protocol/mongo/frame.hpp"
#include "tests/simulation/mongo/sim_world.hpp"

namespace holdfast::simulation::mongo {

bool SimServers::takes_login(std::string_view login) const { return clock.now() < set.rules.new_password || login.ends_with("#2"); }

void SimServers::log_in(std::size_t member, const std::string& login, Time deadline, std::function<void(LoggedIn)> done) {
  if (!at(member).up || clock.now() < logins_fail_[member] || (!healthy_ && clock.chance(1))) return done(LoggedIn::cut);
  if (silent(member) || clock.now() < logins_hang_[member]) {
    if (clock.now() >= deadline) return done(LoggedIn::late);
    const auto next = std::min(deadline, clock.now() + 20ms);
    return clock.at(next, [this, member, login, deadline, done = std::move(done)] { log_in(member, login, deadline, done); });
  }
  done(takes_login(login) ? LoggedIn::yes : LoggedIn::refused);
}

void SimServers::log_out_all() {
  note("all users are made anew");
  for (const auto& link : links()) link->log_out();
}

bool SimPool::is_logged_out(const Link& link, const wire::Reply& reply) {
  if (!wire::wants_login(reply)) return false;
  auto& logouts = logins_.at(link.login)->logouts;
  if (logouts == link.logouts) ++logouts;
  ++logouts_;
  return true;
}

void SimSession::log_in(bool new_password) { login_ = user_ + (new_password ? "#2" : "#1"); }

/// True where the client was told of it.
bool SimSession::tell_of_refused_login() {
  if (!run_->login_refused || !run_->machine->may_begin_anew()) return false;
  if (!settings_.driver_logs_in) {
    world_.close_client(*this);
  } else if ((run_->request.flags & wire::flag::more_to_come) == 0 && !gone_) {
    const auto body = wire::error_body({wire::code::reauthentication_required, "log in again"});
    to_client_(wire::make_answer(1, run_->request, body));
  }
  return true;
}

void SimWorld::close_client(const SimSession& session) {
  clock_.after(0us, [this, closed = &session] {
    const auto found = std::ranges::find_if(pairs_, [&](const Pair& pair) { return pair.session.get() == closed; });
    if (found != pairs_.end() && !found->client->done()) hang_up(static_cast<std::size_t>(found - pairs_.begin()));
  });
}

void SimClient::log_in_again() {
  history_ += " logs in again";
  ++totals_.logins;
  clock_.after(clock_.between(1ms, 50ms), [this, number = last_request_] {
    if (done_ || number != last_request_ || !then_) return;
    if (!options_.log_in()) return hang_up();
    send_(asked_);
  });
}

}  // namespace holdfast::simulation::mongo

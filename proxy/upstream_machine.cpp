// The rules of reconnection, probing and health. The gate is upstream_machine_gate.cpp's.
#include "proxy/upstream_machine.hpp"

#include <algorithm>
#include <utility>

#include "backoff/backoff.hpp"

namespace holdfast::proxy {

using namespace upstream_action;
using std::chrono::duration_cast;

namespace {

/// An outage older than this is probed less often, unless somebody waits for its end.
constexpr milliseconds fresh_outage{5'000};
constexpr milliseconds slow_probe{1'000};
/// A check that was asked for because something looked wrong waits no longer than this.
constexpr milliseconds hasty_check{1'000};

}  // namespace

bool fits(Role role, Wish wish) {
  switch (wish) {
    case Wish::any:
    case Wish::prefer_standby: return true;
    case Wish::read_write: return role == Role::primary || role == Role::unknown;
    case Wish::primary: return role == Role::primary || role == Role::read_only || role == Role::unknown;
    case Wish::standby: return role == Role::standby;
    case Wish::read_only: return role == Role::standby || role == Role::read_only;
  }
  return false;
}

UpstreamMachine::UpstreamMachine(UpstreamSettings settings, std::function<double()> draw)
    : settings_(std::move(settings)), draw_(std::move(draw)), endpoints_(settings_.endpoints.size()) {}

std::vector<UpstreamAction> UpstreamMachine::take_actions() { return std::exchange(actions_, {}); }

Event& UpstreamMachine::tell(EventKind kind) {
  Event event;
  event.kind = kind;
  event.connection = settings_.connection;
  actions_.emplace_back(std::in_place_type<Tell>, std::move(event));
  return std::get<Tell>(actions_.back()).event;
}

void UpstreamMachine::start(SteadyTime now) {
  started_ = true;
  outage_since_ = now;
  begin_attempt(false, std::nullopt, now);
}

void UpstreamMachine::stop() {
  stopped_ = true;
  attempt_.reset();
  next_attempt_at_.reset();
  next_check_.reset();
  for (const auto& waiter : std::exchange(waiters_, {})) {
    actions_.emplace_back(std::in_place_type<Refuse>, waiter.id, RefusalReason::stopped,
                          settings_.connection + ": the proxy is ending");
  }
  actions_.emplace_back(std::in_place_type<CloseStanding>);
}

// ---- attempts ----

void UpstreamMachine::begin_attempt(bool counted, std::optional<std::size_t> only, SteadyTime now) {
  if (attempt_ || stopped_) return;
  // One that does not count leaves the next counted one where it is, or it would put it off for ever.
  if (counted) next_attempt_at_.reset();
  breaker_.on_trial();
  Attempt attempt;
  attempt.counted = counted;
  if (only) {
    attempt.candidates.push_back(*only);
  } else {
    for (std::size_t i = 0; i < endpoints_.size(); ++i) {
      if (!endpoints_[i].retired) attempt.candidates.push_back(i);
    }
  }
  attempt_ = std::move(attempt);
  if (ever_connected_ && counted) tell(EventKind::reconnecting).attempt = breaker_.failures() + 1;
  continue_attempt(now);
}

void UpstreamMachine::continue_attempt(SteadyTime now) {
  if (attempt_->candidates.empty() && !attempt_->second_choice.empty()) {
    attempt_->candidates = std::exchange(attempt_->second_choice, {});
    attempt_->preferring = false;
  }
  if (attempt_->candidates.empty()) return end_attempt(now);
  actions_.push_back(upstream_action::Attempt{++attempt_number_, attempt_->candidates.front(),
                                              now + settings_.reconnect.connection_timeout});
}

void UpstreamMachine::on_attempt(std::uint64_t number, std::size_t endpoint, const Outcome& outcome, SteadyTime now) {
  if (!attempt_ || number != attempt_number_) return;
  attempt_->candidates.pop_front();
  auto& of = endpoints_[endpoint];
  of.healthy = outcome.ok();
  if (outcome.ok()) {
    of.role = outcome.role;
    of.latency = outcome.latency;
    of.identity = outcome.identity;
    // prefer_standby takes the first standby of the walk; another endpoint only when there is none.
    const bool better_may_follow = settings_.wish == Wish::prefer_standby && outcome.role != Role::standby &&
                                   attempt_->preferring && !(attempt_->candidates.empty() && attempt_->second_choice.empty());
    if (fits(outcome.role, settings_.wish) && !better_may_follow) return connected(endpoint, now);
    if (better_may_follow) attempt_->second_choice.push_back(endpoint);
    const bool awaited = settings_.unfit == Unfit::awaited;
    if (awaited) attempt_->not_ready = true;
    if (!attempt_->rejected) {
      attempt_->error = settings_.endpoints[endpoint].to_string() + " is " + to_string(outcome.role) +
                        (awaited ? ", and no primary is found" : ", which target_session_attrs does not allow");
    }
    of.next_probe = now + std::max(settings_.reconnect.probe_interval, milliseconds(100));
  } else {
    if (outcome.failure == Failure::not_ready) attempt_->not_ready = true;
    if (outcome.failure == Failure::rejected) attempt_->rejected = true;
    // That our login is refused is what an operator must know, whatever else was found on the walk.
    if (!attempt_->rejected || outcome.failure == Failure::rejected) attempt_->error = outcome.error;
  }
  continue_attempt(now);
}

void UpstreamMachine::end_attempt(SteadyTime now) {
  const auto attempt = std::move(*attempt_);
  attempt_.reset();
  actions_.emplace_back(std::in_place_type<CloseStanding>);
  last_error_ = attempt.error;
  for (auto& endpoint : endpoints_) endpoint.next_probe = std::max(endpoint.next_probe, now + probe_gap(now));
  if (attempt.rejected) {
    // The server answers; only our own login is wrong, and trying again would not make it right.
    rejected_ = true;
    breaker_.reset();
    next_attempt_at_.reset();
    state_ = State::reconnecting;
    return grant(now);
  }
  if (attempt.not_ready || !attempt.counted) {
    breaker_.on_no_verdict();
    return schedule_attempt(now);
  }
  if (breaker_.on_failure(std::max(1U, settings_.reconnect.max_retries))) {
    state_ = State::failed;
    tell(EventKind::reconnect_failed).reason = last_error_;
  }
  schedule_attempt(now);
}

/// The next counted attempt, unless it is scheduled already.
void UpstreamMachine::schedule_attempt(SteadyTime now) {
  if (next_attempt_at_) return;
  if (breaker_.state() == backoff::Breaker::State::open) {
    next_attempt_at_ = now + settings_.health.interval;
    return;
  }
  const auto& reconnect = settings_.reconnect;
  const auto number = breaker_.failures() + 1;
  const auto delay = backoff::delay({reconnect.retry_delay, reconnect.multiplier, reconnect.max_delay, reconnect.jitter},
                                    number, draw_());
  next_attempt_at_ = now + delay;
  auto& event = tell(EventKind::reconnect_scheduled);
  event.attempt = number;
  event.max_retries = reconnect.max_retries;
  event.delay = delay;
}

void UpstreamMachine::connected(std::size_t endpoint, SteadyTime now) {
  attempt_.reset();
  next_attempt_at_.reset();
  breaker_.on_success();
  rejected_ = false;
  current_ = endpoint;
  state_ = State::connected;
  last_error_.clear();
  failed_checks_ = 0;
  next_check_ = now + settings_.health.interval;
  for (auto& each : endpoints_) each.held_back = {};
  auto& event = tell(ever_connected_ ? EventKind::reconnected : EventKind::connected);
  event.downtime = duration_cast<milliseconds>(now - outage_since_);
  ever_connected_ = true;
  grant(now);
}

void UpstreamMachine::lose(const std::string& reason, SteadyTime now) {
  if (state_ != State::connected || stopped_) return;
  state_ = State::reconnecting;
  check_overtaken_ = checking_;
  outage_since_ = now;
  last_error_ = reason;
  if (current_) endpoints_[*current_].healthy = false;
  current_.reset();
  next_check_.reset();
  tell(EventKind::connection_lost).reason = reason;
  schedule_attempt(now);
  for (auto& endpoint : endpoints_) endpoint.next_probe = now;
  probe_due(now);
}

void UpstreamMachine::on_standing_lost(const std::string& reason, SteadyTime now) { lose(reason, now); }

// ---- probes ----

milliseconds UpstreamMachine::probe_gap(SteadyTime now) {
  auto gap = settings_.reconnect.probe_interval;
  // Somebody who waits is served as soon as the server is back; nobody is served by asking a dead one so often.
  if (waiters_.empty() && now - outage_since_ > fresh_outage) gap = std::max(gap, slow_probe);
  return milliseconds(static_cast<long>(static_cast<double>(gap.count()) * (0.9 + 0.2 * draw_())));
}

void UpstreamMachine::probe_due(SteadyTime now) {
  if (!looking() || rejected_ || paused_since_) return;
  for (std::size_t i = 0; i < endpoints_.size(); ++i) {
    auto& endpoint = endpoints_[i];
    if (endpoint.probing || endpoint.retired || endpoint.next_probe > now) continue;
    endpoint.probing = true;
    actions_.push_back(Probe{i, now + std::max(settings_.reconnect.probe_interval, slow_probe)});
  }
}

/// A statement has begun to wait: probes go back to their first pace at once.
void UpstreamMachine::hasten_probes(SteadyTime now) {
  for (auto& endpoint : endpoints_) {
    endpoint.next_probe = std::min(endpoint.next_probe, now + settings_.reconnect.probe_interval);
  }
}

void UpstreamMachine::on_probe(std::size_t index, const Outcome& outcome, SteadyTime now) {
  auto& endpoint = endpoints_[index];
  endpoint.probing = false;
  endpoint.next_probe = std::max(endpoint.next_probe, now + probe_gap(now));
  if (!looking() || rejected_ || paused_since_) return;
  if (outcome.ok()) {
    begin_attempt(false, index, now);
    return;
  }
  // One that answers without the role that is wished for is shown as what it is.
  endpoint.healthy = outcome.failure == Failure::unfit;
  if (endpoint.healthy) endpoint.role = outcome.role;
  if (!outcome.error.empty()) last_error_ = outcome.error;
}

// ---- health ----

void UpstreamMachine::check(SteadyTime deadline) {
  if (checking_ || stopped_) return;
  checking_ = true;
  actions_.push_back(Check{deadline});
}

void UpstreamMachine::want_check(SteadyTime deadline) { check(deadline); }

void UpstreamMachine::on_backend_lost(SteadyTime now) {
  if (state_ != State::connected) return;
  // A check that began before the loss says nothing about it.
  if (checking_) check_again_ = true;
  check(now + std::min(hasty_check, settings_.health.timeout));
}

void UpstreamMachine::on_server_silent(std::size_t endpoint, const std::string& reason, SteadyTime now) {
  if (state_ != State::connected || current_ != endpoint) return;
  actions_.emplace_back(std::in_place_type<CloseStanding>);
  lose(reason, now);
}

void UpstreamMachine::on_check(const Outcome& outcome, SteadyTime now) {
  checking_ = false;
  // What is said of a connection that is gone does not concern its successor.
  if (std::exchange(check_overtaken_, false) || state_ != State::connected || stopped_) return;
  next_check_ = now + settings_.health.interval;
  if (outcome.ok()) {
    auto& endpoint = endpoints_[*current_];
    failed_checks_ = 0;
    endpoint.latency = outcome.latency;
    endpoint.role = outcome.role;
    if (!fits(outcome.role, settings_.wish)) {
      actions_.emplace_back(std::in_place_type<CloseStanding>);
      lose(settings_.endpoints[*current_].to_string() + " has become " + to_string(outcome.role), now);
    } else if (std::exchange(check_again_, false)) {
      check(now + std::min(hasty_check, settings_.health.timeout));
    }
    return;
  }
  check_again_ = false;
  ++failed_checks_;
  tell(EventKind::health_check_failed).reason = outcome.error;
  if (failed_checks_ < std::max(1U, settings_.health.failures)) {
    // One that failed is soon followed by the next: an outage is not to be noticed intervals later.
    next_check_ = now + std::min(settings_.health.interval, hasty_check);
    return;
  }
  actions_.emplace_back(std::in_place_type<CloseStanding>);
  lose(outcome.error, now);
}

// ---- operators ----

void UpstreamMachine::force_reconnect(SteadyTime now) {
  if (stopped_ || !started_) return;
  breaker_.reset();
  rejected_ = false;
  attempt_.reset();
  check_overtaken_ = checking_;
  actions_.emplace_back(std::in_place_type<CloseStanding>);
  if (state_ == State::connected) outage_since_ = now;
  state_ = ever_connected_ ? State::reconnecting : State::connecting;
  current_.reset();
  next_check_.reset();
  begin_attempt(true, std::nullopt, now);
}

void UpstreamMachine::pause(SteadyTime now) {
  if (!paused_since_) paused_since_ = now;
}

void UpstreamMachine::resume(SteadyTime now) {
  if (!paused_since_) return;
  for (auto& waiter : waiters_) waiter.deadline += now - std::max(*paused_since_, waiter.since);
  paused_since_.reset();
  grant(now);
  probe_due(now);
}

void UpstreamMachine::reconfigure(const config::Reconnect& reconnect, const config::Health& health, SteadyTime now) {
  const bool other_delay = settings_.reconnect.retry_delay != reconnect.retry_delay ||
                           settings_.reconnect.multiplier != reconnect.multiplier ||
                           settings_.reconnect.max_delay != reconnect.max_delay;
  settings_.reconnect = reconnect;
  settings_.health = health;
  if (other_delay && next_attempt_at_ && breaker_.state() == backoff::Breaker::State::closed) {
    next_attempt_at_.reset();
    schedule_attempt(now);
  }
  if (rejected_) {
    rejected_ = false;
    begin_attempt(false, std::nullopt, now);
  }
  if (next_check_) next_check_ = std::min(*next_check_, now + health.interval);
  if (next_attempt_at_ && breaker_.state() == backoff::Breaker::State::open) {
    next_attempt_at_ = std::min(*next_attempt_at_, now + health.interval);
  }
  grant(now);
}

void UpstreamMachine::add_endpoint(config::HostPort endpoint, SteadyTime now) {
  settings_.endpoints.push_back(std::move(endpoint));
  endpoints_.emplace_back().next_probe = now;
  probe_due(now);
}

void UpstreamMachine::rename_endpoint(std::size_t endpoint, config::HostPort address) {
  settings_.endpoints[endpoint] = std::move(address);
}

void UpstreamMachine::retire(std::size_t endpoint, bool retired) { endpoints_[endpoint].retired = retired; }

// ---- time ----

void UpstreamMachine::on_timer(SteadyTime now) {
  if (paused_since_ && now >= *paused_since_ + settings_.pause_timeout) resume(now);
  expire_waiters(now);
  if (next_attempt_at_ && now >= *next_attempt_at_ && !attempt_) begin_attempt(true, std::nullopt, now);
  if (next_check_ && now >= *next_check_ && state_ == State::connected) {
    next_check_ = now + settings_.health.interval + settings_.health.timeout;
    check(now + settings_.health.timeout);
  }
  probe_due(now);
  for (auto& endpoint : endpoints_) {
    if (endpoint.held_back <= now) endpoint.held_back = {};  // or the timer would be due for it again and again
  }
  grant(now);
}

std::optional<SteadyTime> UpstreamMachine::deadline() const {
  std::optional<SteadyTime> earliest;
  const auto consider = [&](SteadyTime at) { earliest = earliest ? std::min(*earliest, at) : at; };
  if (stopped_) return earliest;
  if (next_attempt_at_ && !attempt_) consider(*next_attempt_at_);
  if (next_check_) consider(*next_check_);
  if (paused_since_) {
    consider(*paused_since_ + settings_.pause_timeout);
    return earliest;
  }
  for (const auto& waiter : waiters_) consider(waiter.deadline);
  const bool open = state_ == State::connected || rejected_;
  for (const auto& endpoint : endpoints_) {
    if (looking() && !rejected_ && !endpoint.probing && !endpoint.retired) consider(endpoint.next_probe);
    if (open && !waiters_.empty() && endpoint.held_back != SteadyTime{} && slots_ < settings_.reconnect.concurrency) {
      consider(endpoint.held_back);
    }
  }
  return earliest;
}

UpstreamStatus UpstreamMachine::status() const {
  UpstreamStatus status;
  status.connection = settings_.connection;
  status.state = state();
  switch (breaker_.state()) {
    case backoff::Breaker::State::closed: status.breaker = BreakerState::closed; break;
    case backoff::Breaker::State::open: status.breaker = BreakerState::open; break;
    case backoff::Breaker::State::half_open: status.breaker = BreakerState::half_open; break;
  }
  status.attempts = breaker_.failures();
  status.last_error = last_error_;
  if (current_) status.current = settings_.endpoints[*current_].to_string();
  for (std::size_t i = 0; i < endpoints_.size(); ++i) {
    if (endpoints_[i].retired && current_ != i) continue;
    status.endpoints.push_back({settings_.endpoints[i].to_string(), endpoints_[i].role, endpoints_[i].healthy,
                                endpoints_[i].latency});
  }
  return status;
}

}  // namespace holdfast::proxy

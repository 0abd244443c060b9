// The gate: who waits for the upstream, who is let in, and what a login tells.
#include <algorithm>
#include <utility>

#include "proxy/upstream_machine.hpp"

namespace holdfast::proxy {

using namespace upstream_action;
using std::chrono::duration_cast;

std::optional<std::size_t> UpstreamMachine::choose(Wish wish, SteadyTime now) const {
  const auto usable = [&](std::size_t i) { return endpoints_[i].held_back <= now && (!endpoints_[i].retired || current_ == i); };
  if (state_ == State::connected && current_ && fits(endpoints_[*current_].role, wish)) {
    return usable(*current_) ? current_ : std::nullopt;
  }
  if (state_ != State::connected && !rejected_) return std::nullopt;
  for (std::size_t i = 0; i < endpoints_.size(); ++i) {
    if (usable(i) && (rejected_ || endpoints_[i].healthy) && fits(endpoints_[i].role, wish)) return i;
  }
  return std::nullopt;
}

std::optional<std::size_t> UpstreamMachine::ready(Wish wish, SteadyTime now) const {
  if (paused_since_ || stopped_ || state_ != State::connected) return std::nullopt;
  return choose(wish, now);
}

void UpstreamMachine::grant(SteadyTime now) {
  if (paused_since_ || stopped_) return;
  for (auto waiter = waiters_.begin(); waiter != waiters_.end() && slots_ < settings_.reconnect.concurrency;) {
    const auto endpoint = choose(waiter->wish, now);
    if (!endpoint) {
      ++waiter;
      continue;
    }
    ++slots_;
    actions_.push_back(Grant{waiter->id, ++last_slot_, *endpoint});
    waiter = waiters_.erase(waiter);
  }
}

void UpstreamMachine::enter(std::uint64_t id, Wish wish, SteadyTime deadline, SteadyTime now) {
  const Waiter waiter{id, wish, deadline, now};
  if (stopped_) return refuse(waiter, RefusalReason::stopped, now);
  if (!paused_since_ && state_ == State::failed && !rejected_) return refuse(waiter, RefusalReason::breaker_open, now);
  waiters_.push_back(waiter);
  grant(now);
  expire_waiters(now);
  if (waiters_.empty() || !looking()) return;
  hasten_probes(now);
  probe_due(now);
}

void UpstreamMachine::cancel_wait(std::uint64_t id) {
  const auto found = std::ranges::find(waiters_, id, &Waiter::id);
  if (found == waiters_.end()) return;
  actions_.emplace_back(std::in_place_type<Refuse>, id, RefusalReason::cancelled,
                        settings_.connection + ": the wait was cancelled");
  waiters_.erase(found);
}

void UpstreamMachine::on_login_finished(std::uint64_t, std::size_t index, const Outcome& outcome, SteadyTime now) {
  --slots_;
  on_login(index, outcome, now);
}

void UpstreamMachine::on_grant_unused(std::uint64_t, SteadyTime now) {
  --slots_;
  grant(now);
}

void UpstreamMachine::on_login(std::size_t index, const Outcome& outcome, SteadyTime now) {
  auto& endpoint = endpoints_[index];
  switch (outcome.failure) {
    case Failure::none:
      // A login that works shows that ours is worth another attempt.
      if (rejected_) {
        rejected_ = false;
        begin_attempt(false, std::nullopt, now);
      }
      break;
    case Failure::rejected: break;
    case Failure::unreachable:
    case Failure::not_ready:
    case Failure::unfit:
      endpoint.held_back = now + settings_.reconnect.probe_interval;
      on_backend_lost(now);
      break;
  }
  grant(now);
}

std::string UpstreamMachine::describe(SteadyTime now) const {
  std::string text = settings_.connection + ": no upstream";
  if (!last_error_.empty()) text += " (" + last_error_ + ")";
  if (next_attempt_at_) {
    const auto wait = std::max(milliseconds(0), duration_cast<milliseconds>(*next_attempt_at_ - now));
    text += "; next attempt in " + std::to_string(wait.count()) + "ms";
  }
  return text;
}

void UpstreamMachine::refuse(const Waiter& waiter, RefusalReason reason, SteadyTime now) {
  auto text = describe(now);
  if (reason == RefusalReason::breaker_open) text += "; the circuit breaker is open";
  if (reason == RefusalReason::hold_timeout) {
    text += "; held for " + std::to_string(duration_cast<milliseconds>(now - waiter.since).count()) + "ms";
  }
  actions_.emplace_back(std::in_place_type<Refuse>, waiter.id, reason, std::move(text));
}

void UpstreamMachine::expire_waiters(SteadyTime now) {
  if (paused_since_) return;
  std::erase_if(waiters_, [&](const Waiter& waiter) {
    if (waiter.deadline > now) return false;
    refuse(waiter, RefusalReason::hold_timeout, now);
    return true;
  });
}

}  // namespace holdfast::proxy

// Small tools of the coroutine shells: a condition to wait for, a lock between coroutines of one thread, a deadline.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <utility>

#include "proxy/task.hpp"
#include "proxy/upstream_types.hpp"

namespace holdfast::proxy {

using SteadyTimer = asio::basic_waitable_timer<std::chrono::steady_clock, asio::wait_traits<std::chrono::steady_clock>,
                                               Executor>;

/// Coroutines of one thread wait until another says that something has changed; they then look for themselves.
class Condition {
 public:
  explicit Condition(const Executor& executor) : timer_(executor, SteadyTime::max()) {}
  /// Returns after the next notify().
  Task<> wait() {
    const auto [error] = co_await timer_.async_wait(asio::as_tuple(use_task));
    static_cast<void>(error);  // always operation_aborted: that is how a notification arrives
  }
  void notify() { timer_.cancel(); }

 private:
  SteadyTimer timer_;
};

/// One coroutine at a time, in no particular order.
class CoroutineLock {
 public:
  explicit CoroutineLock(const Executor& executor) : free_(executor) {}
  class Guard {
   public:
    explicit Guard(CoroutineLock& lock) : lock_(&lock) {}
    Guard(Guard&& other) noexcept : lock_(std::exchange(other.lock_, nullptr)) {}
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;
    Guard& operator=(Guard&&) = delete;
    ~Guard() {
      if (lock_ == nullptr) return;
      lock_->held_ = false;
      lock_->free_.notify();
    }

   private:
    CoroutineLock* lock_;
  };
  [[nodiscard]] bool held() const { return held_; }
  /// Takes the lock at once where it is free.
  [[nodiscard]] bool try_take() { return !std::exchange(held_, true); }
  Task<Guard> take() {
    while (held_) co_await free_.wait();
    held_ = true;
    co_return Guard(*this);
  }

 private:
  bool held_ = false;
  Condition free_;
};

/// Calls `expire` (which cancels what is being waited for) when the time is up, unless it is destroyed before.
/// What then ends with operation_aborted is a time-out: ask expired().
class Deadline {
 public:
  Deadline(const Executor& executor, SteadyTime at, std::function<void()> expire)
      : timer_(executor, at), state_(std::make_shared<State>(State{std::move(expire), false, true})) {
    timer_.async_wait([state = state_](const boost::system::error_code& error) {
      if (error || !state->armed) return;
      state->expired = true;
      state->expire();
    });
  }
  ~Deadline() { state_->armed = false; }
  Deadline(const Deadline&) = delete;
  Deadline& operator=(const Deadline&) = delete;
  [[nodiscard]] bool expired() const { return state_->expired; }

 private:
  struct State {
    std::function<void()> expire;
    bool expired;
    bool armed;
  };
  SteadyTimer timer_;
  std::shared_ptr<State> state_;
};

}  // namespace holdfast::proxy

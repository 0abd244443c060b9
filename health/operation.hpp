// One deadline for a whole sequence of waits, which may also be ended early from outside.
#pragma once

#include <chrono>
#include <functional>
#include <memory>

#include "proxy/task.hpp"
#include "proxy/upstream_types.hpp"

namespace holdfast::health {

using SteadyTimer = asio::basic_waitable_timer<std::chrono::steady_clock, asio::wait_traits<std::chrono::steady_clock>,
                                               Executor>;

/// Lives in the coroutine whose waits it limits; used on that coroutine's thread only.
class Operation {
  enum class End { none, deadline, aborted };
  // Outlives the operation in the timer's handler, which may already be on its way when the operation ends.
  struct State {
    End end = End::none;
    std::function<void()> interrupt;
  };

 public:
  Operation(const Executor& executor, proxy::SteadyTime deadline);
  ~Operation();
  Operation(const Operation&) = delete;
  Operation& operator=(const Operation&) = delete;

  /// Ends it now, as the deadline would.
  void abort() { finish(*state_, End::aborted); }
  [[nodiscard]] bool ended() const { return state_->end != End::none; }
  /// `timed out` or `closed`; empty while it has not ended.
  [[nodiscard]] const char* reason() const;

  /// While this lives, the end of the operation calls `interrupt`, which must make the wait under way return.
  /// One at a time. Does not outlive the operation.
  class Wait {
   public:
    Wait(Operation& operation, std::function<void()> interrupt) : state_(*operation.state_) {
      state_.interrupt = std::move(interrupt);
    }
    ~Wait() { state_.interrupt = nullptr; }
    Wait(const Wait&) = delete;
    Wait& operator=(const Wait&) = delete;

   private:
    State& state_;
  };

 private:
  static void finish(State& state, End how);

  std::shared_ptr<State> state_;
  SteadyTimer timer_;
};

/// Waits until `descriptor` is ready for `direction`. False: the operation has ended. The descriptor stays its
/// owner's: a copy of it is waited on, so that the owner may close it meanwhile.
Task<bool> wait_ready(Operation& operation, int descriptor, asio::posix::descriptor_base::wait_type direction);

}  // namespace holdfast::health

// Circuit breaker: counts failed attempts, opens after the last that is allowed, and lets one through to try again.
#pragma once

#include <cstdint>

namespace holdfast::backoff {

class Breaker {
 public:
  enum class State {
    closed,     // attempts follow their delays
    open,       // too many failed: nothing waits for the next one
    half_open,  // one attempt is under way; it decides
  };
  [[nodiscard]] State state() const { return state_; }
  [[nodiscard]] std::uint32_t failures() const { return failures_; }

  void on_success() {
    state_ = State::closed;
    failures_ = 0;
  }
  /// A counted attempt failed; true when that opened the breaker.
  bool on_failure(std::uint32_t failures_max) {
    if (state_ == State::closed) ++failures_;
    if (state_ == State::closed && failures_ < failures_max) return false;
    const bool opened = state_ == State::closed;
    state_ = State::open;
    return opened;
  }
  /// An attempt begins that may close an open breaker.
  void on_trial() {
    if (state_ == State::open) state_ = State::half_open;
  }
  /// The trial was no verdict (the server is there but not ready): open again.
  void on_no_verdict() {
    if (state_ == State::half_open) state_ = State::open;
  }
  void reset() { on_success(); }

 private:
  State state_ = State::closed;
  std::uint32_t failures_ = 0;
};

}  // namespace holdfast::backoff

// Starts, pauses and ends the client threads of a workload. Knows nothing of what they do.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <mutex>

#include "workload/wait.hpp"

namespace holdfast::workload {

class Control {
 public:
  // For the one who runs the workload.

  /// Lets each client finish what it is at (a write until its outcome is known) and then wait.
  void pause();
  /// Whether `clients` of them are parked within `limit`.
  [[nodiscard]] bool wait_until_parked(std::size_t clients, milliseconds limit);
  void resume();
  /// Ends the clients at their next look; a statement under way is still waited for.
  void stop();
  /// Ends also the waiting for statements under way.
  void abandon();

  // For the clients.

  [[nodiscard]] bool stopping() const { return stopping_; }
  [[nodiscard]] bool abandoned() const { return abandoned_; }
  [[nodiscard]] bool pausing() const { return pausing_; }
  /// Waits while the workload is paused.
  void park();
  /// Sleeps; stop() wakes it.
  void rest(milliseconds duration);

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::size_t parked_ = 0;
  std::atomic<bool> pausing_ = false, stopping_ = false, abandoned_ = false;
};

}  // namespace holdfast::workload

// Implements the workload's switch. Owns no thread.
#include "workload/control.hpp"

namespace holdfast::workload {

void Control::pause() {
  const std::lock_guard lock(mutex_);
  pausing_ = true;
}

bool Control::wait_until_parked(std::size_t clients, milliseconds limit) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, limit, [&] { return parked_ >= clients; });
}

void Control::resume() {
  const std::lock_guard lock(mutex_);
  pausing_ = false;
  changed_.notify_all();
}

void Control::stop() {
  const std::lock_guard lock(mutex_);
  stopping_ = true;
  changed_.notify_all();
}

void Control::abandon() {
  const std::lock_guard lock(mutex_);
  stopping_ = true;
  abandoned_ = true;
  changed_.notify_all();
}

void Control::park() {
  std::unique_lock lock(mutex_);
  ++parked_;
  changed_.notify_all();
  changed_.wait(lock, [&] { return !pausing_ || stopping_; });
  --parked_;
}

void Control::rest(milliseconds duration) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, duration, [&] { return stopping_.load(); });
}

}  // namespace holdfast::workload

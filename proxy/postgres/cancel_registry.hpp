// Finds the session that a CancelRequest is meant for: its key is ours, so that it stays good over all backends.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <utility>

namespace holdfast::proxy::postgres {

/// One for the process. Any thread; a cancel request is rare, so a lock is no matter.
class CancelRegistry {
 public:
  using Cancel = std::function<void()>;  // posts to the session's worker; must not block

  void add(std::int32_t process_id, std::string secret_key, Cancel cancel) {
    const std::lock_guard lock(mutex_);
    entries_.insert_or_assign({process_id, std::move(secret_key)}, std::move(cancel));
  }
  void remove(std::int32_t process_id, const std::string& secret_key) {
    const std::lock_guard lock(mutex_);
    entries_.erase({process_id, secret_key});
  }
  /// Calls the session's Cancel; nothing when no session has that key.
  void cancel(std::int32_t process_id, const std::string& secret_key) {
    const std::lock_guard lock(mutex_);
    if (const auto found = entries_.find({process_id, secret_key}); found != entries_.end()) found->second();
  }

 private:
  std::mutex mutex_;
  std::map<std::pair<std::int32_t, std::string>, Cancel> entries_;
};

}  // namespace holdfast::proxy::postgres

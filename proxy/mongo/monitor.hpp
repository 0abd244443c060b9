// A connection to each member that does nothing but say hello: what is new of a member is known at once, how far it is every
// ten seconds.
#pragma once

#include <functional>
#include <map>
#include <memory>

#include "proxy/mongo/backend.hpp"
#include "proxy/mongo/members.hpp"
#include "proxy/waiting.hpp"

namespace holdfast::proxy::mongo {

/// All on the home worker.
class Monitors {
 public:
  /// `members` and `buffers` outlive this. `learnt` is called when a member has said something, `suspect` when one is not what it
  /// was, or cannot be reached any more.
  Monitors(Executor home, std::shared_ptr<const BackendSettings> settings, Members& members, BufferPool& buffers,
           std::function<void()> learnt, std::function<void(std::size_t)> suspect);
  ~Monitors();
  Monitors(const Monitors&) = delete;
  Monitors& operator=(const Monitors&) = delete;

  /// Sees to it that each member that is not retired has a monitor, and that none waits longer for an answer than this, also for one that it
  /// waits for already.
  void follow(milliseconds hang_timeout);
  void stop();

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace holdfast::proxy::mongo

// The one thread on which health does its work: libpq and name look-ups stay off the workers that serve clients.
#pragma once

#include <thread>

#include "proxy/task.hpp"

namespace holdfast::health {

/// One for the process, made by main before the standing connections and destroyed after them.
class HealthThread {
 public:
  HealthThread();
  /// Waits for what is under way. All standing connections are closed by then, so that is short, except for a name
  /// look-up that the system's resolver does not give back.
  ~HealthThread();
  HealthThread(const HealthThread&) = delete;
  HealthThread& operator=(const HealthThread&) = delete;

  [[nodiscard]] Executor executor() { return context_.get_executor(); }

 private:
  asio::io_context context_;
  asio::executor_work_guard<Executor> work_;
  std::thread thread_;
};

}  // namespace holdfast::health

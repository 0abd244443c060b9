// Runs the health thread's event loop.
#include "health/health_thread.hpp"

#include <pthread.h>

namespace holdfast::health {

HealthThread::HealthThread() : context_(1), work_(context_.get_executor()), thread_([this] { context_.run(); }) {
  ::pthread_setname_np(thread_.native_handle(), "health");
}

HealthThread::~HealthThread() {
  work_.reset();
  thread_.join();
}

}  // namespace holdfast::health

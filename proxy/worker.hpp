// A thread with an io_context of its own, and what the sessions on it share.
#pragma once

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>

#include "protocol/read_buffer.hpp"
#include "proxy/task.hpp"

namespace holdfast::proxy {

class Worker {
 public:
  Worker() : context_(1), work_(context_.get_executor()) {}
  ~Worker() { join(); }
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  [[nodiscard]] Executor executor() { return context_.get_executor(); }
  [[nodiscard]] asio::io_context& context() { return context_; }
  [[nodiscard]] BufferPool& pool() { return pool_; }
  /// Runs on a thread of its own.
  void start() {
    thread_ = std::thread([this] {
      context_.run();
      const std::lock_guard lock(mutex_);
      ended_ = true;
      end_.notify_all();
    });
  }
  /// Lets the thread end once nothing is left to do.
  void release() { work_.reset(); }
  /// Waits until the thread has ended by itself, and ends it at `limit`.
  void stop_after(std::chrono::steady_clock::time_point limit) {
    if (!thread_.joinable()) return;
    std::unique_lock lock(mutex_);
    if (!end_.wait_until(lock, limit, [this] { return ended_; })) context_.stop();
  }
  void join() {
    if (thread_.joinable()) thread_.join();
  }

 private:
  BufferPool pool_;  // outlives what the context still holds
  asio::io_context context_;
  asio::executor_work_guard<Executor> work_;
  std::thread thread_;
  std::mutex mutex_;
  std::condition_variable end_;
  bool ended_ = false;
};

}  // namespace holdfast::proxy

// Runs a task on another thread's event loop and resumes the caller on its own.
#pragma once

#include <exception>
#include <type_traits>
#include <utility>

#include "proxy/task.hpp"

namespace holdfast::health {

/// `make` is called at once and must return a Task that owns all that it needs. The task is not cancelled with the
/// caller (cancellation signals are not thread-safe): it ends by its own deadline. What it throws reaches the caller.
/// The caller's io_context counts this as work, so it must run until the answer has come.
template <class Make>
auto run_on(Executor there, Make make) -> std::invoke_result_t<Make> {
  using Result = typename std::invoke_result_t<Make>::value_type;
  const Executor home = co_await asio::this_coro::executor;
  auto start = [there, home, make = std::move(make)](auto handler) mutable {
    auto work = asio::make_work_guard(home);
    auto finish = [home, work = std::move(work), handler = std::move(handler)](std::exception_ptr thrown,
                                                                               Result result) mutable {
      auto resume = [handler = std::move(handler), thrown, result = std::move(result)]() mutable {
        std::move(handler)(thrown, std::move(result));
      };
      asio::post(home, std::move(resume));
    };
    asio::co_spawn(there, make(), std::move(finish));
  };
  co_return co_await asio::async_initiate<const asio::use_awaitable_t<Executor>, void(std::exception_ptr, Result)>(
      std::move(start), use_task);
}

}  // namespace holdfast::health

// Starts a coroutine whose end nobody waits for: it keeps its session alive, and what it throws is logged.
#pragma once

#include <spdlog/spdlog.h>

#include <exception>
#include <memory>
#include <utility>

#include "proxy/task.hpp"

namespace holdfast::proxy {

template <class Owner>
void spawn_named(const Executor& executor, Task<> task, const char* name, std::shared_ptr<Owner> owner) {
  asio::co_spawn(executor, std::move(task), [name, owner = std::move(owner)](const std::exception_ptr& thrown) {
    if (!thrown) return;
    try {
      std::rethrow_exception(thrown);
    } catch (const std::exception& error) {
      spdlog::error("{}: {}", name, error.what());
    }
  });
}

}  // namespace holdfast::proxy

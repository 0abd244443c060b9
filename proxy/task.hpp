// The coroutine type of the I/O shells. The executor is the concrete one of io_context: no type erasure on the data path.
#pragma once

#include <boost/asio.hpp>

#include "proxy/frame_pool.hpp"

namespace holdfast {

namespace asio = boost::asio;

using Executor = asio::io_context::executor_type;

/// A coroutine on one worker's thread. Parameters by value, or references that outlive the frame.
template <class T = void>
using Task = asio::awaitable<T, Executor>;

/// Completion token that suspends a Task.
inline constexpr asio::use_awaitable_t<Executor> use_task{};

}  // namespace holdfast

template <>
inline void* boost::asio::detail::awaitable_frame_base<holdfast::Executor>::operator new(std::size_t size) {
  return holdfast::FramePool::take(size);
}

template <>
inline void boost::asio::detail::awaitable_frame_base<holdfast::Executor>::operator delete(void* memory, std::size_t size) {
  holdfast::FramePool::give_back(memory, size);
}

// The timer behind an operation's deadline, and the wait for a descriptor that belongs to somebody else.
#include "health/operation.hpp"

#include <fcntl.h>

#include <utility>

namespace holdfast::health {

Operation::Operation(const Executor& executor, proxy::SteadyTime deadline)
    : state_(std::make_shared<State>()), timer_(executor, deadline) {
  timer_.async_wait([state = state_](const boost::system::error_code& error) {
    if (!error) finish(*state, End::deadline);
  });
}

Operation::~Operation() { state_->interrupt = nullptr; }

const char* Operation::reason() const {
  switch (state_->end) {
    case End::none: return "";
    case End::deadline: return "timed out";
    case End::aborted: return "closed";
  }
  return "";
}

void Operation::finish(State& state, End how) {
  if (state.end != End::none) return;
  state.end = how;
  if (state.interrupt) state.interrupt();
}

Task<bool> wait_ready(Operation& operation, int descriptor, asio::posix::descriptor_base::wait_type direction) {
  if (operation.ended()) co_return false;
  const Executor executor = co_await asio::this_coro::executor;
  const int copy = ::fcntl(descriptor, F_DUPFD_CLOEXEC, 0);
  if (copy < 0) throw boost::system::system_error(errno, boost::system::system_category(), "cannot watch a connection");
  asio::posix::basic_stream_descriptor<Executor> watched(executor, copy);
  Operation::Wait wait(operation, [&watched] { watched.cancel(); });
  const auto [error] = co_await watched.async_wait(direction, asio::as_tuple(use_task));
  // An error of the descriptor itself shows in what the owner does with it next.
  static_cast<void>(error);
  co_return !operation.ended();
}

}  // namespace holdfast::health

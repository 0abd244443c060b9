// Reads the feed, writes, waits; the write is the only wait for the listener, and it has a limit of its own.
#include "admin/event_stream.hpp"

#include <array>
#include <string>
#include <utility>

#include "admin/event_text.hpp"

namespace holdfast::admin {
namespace {

constexpr std::size_t batch_events_max = 64;
constexpr int send_buffer_size = 64 * 1024;  // bytes; what the kernel may keep for one who does not read

}  // namespace

Task<> EventStream::run(std::uint64_t after, std::shared_ptr<void> keep) {
  beast::error_code ignored;
  stream_.socket().set_option(asio::socket_base::send_buffer_size(send_buffer_size), ignored);
  asio::co_spawn(timer_.get_executor(), watch(),
                 [self = shared_from_this(), keep = std::move(keep)](const std::exception_ptr&) { self->stop(); });
  bool going = co_await send(event_heartbeat);
  while (going && !over_) {
    const auto batch = feed_.read(after, batch_events_max);
    auto text = gap_text(batch, std::chrono::system_clock::now());
    if (!text.empty()) after = batch.last_missed;
    for (const auto& event : batch.events) {
      text += event_text(*event);
      after = event->id;
    }
    if (text.empty()) {
      timer_.expires_after(limits_.heartbeat_interval);
      const auto [woken] = co_await timer_.async_wait(asio::as_tuple(use_task));
      if (woken) continue;
      text = event_heartbeat;
    }
    going = co_await send(std::move(text));
  }
  stop();
}

Task<bool> EventStream::send(std::string text) {
  // Not the limit of ordinary answers: one who sleeps for a while is meant to find a gap, not the end.
  stream_.expires_after(limits_.listener_stall_timeout);
  const auto [error, length] = co_await asio::async_write(stream_, asio::buffer(text), asio::as_tuple(use_task));
  static_cast<void>(length);
  co_return !error;
}

/// Nothing is expected of a listener but that he goes, which nobody else would see before the next heartbeat.
Task<> EventStream::watch() {
  std::array<char, 512> discarded;
  while (!over_) {
    // Past the stream, whose limits are for the writes here, and past TLS: it is thrown away unread.
    const auto [error, count] =
        co_await stream_.socket().async_read_some(asio::buffer(discarded), asio::as_tuple(use_task));
    static_cast<void>(count);
    if (error) co_return;
  }
}

void EventStream::stop() {
  if (std::exchange(over_, true)) return;
  timer_.cancel();
  stream_.close();
}

}  // namespace holdfast::admin

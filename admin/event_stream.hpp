// One listener of the event stream: sends what the feed has, and waits for more. Not for other folders.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>

#include "admin/channel.hpp"
#include "admin/event_feed.hpp"
#include "admin/http.hpp"
#include "admin/server.hpp"

namespace holdfast::admin {

/// Used on the admin thread only. Holds the number of the last event sent and nothing else: one who reads slowly costs no
/// memory, and gets a gap when the feed has gone on without him.
class EventStream : public std::enable_shared_from_this<EventStream> {
 public:
  /// All outlive what run() says.
  EventStream(Channel& stream, const EventFeed& feed, const Limits& limits)
      : stream_(stream), feed_(feed), limits_(limits), timer_(stream.get_executor()) {}

  /// Sends what came after the event `after` until the listener has gone or stop(). `keep` keeps the stream for as long
  /// as anything may still use it, which is a little longer.
  Task<> run(std::uint64_t after, std::shared_ptr<void> keep);
  /// There is something to send.
  void wake() { timer_.cancel(); }
  void stop();

 private:
  using Timer = asio::basic_waitable_timer<std::chrono::steady_clock, asio::wait_traits<std::chrono::steady_clock>,
                                           Executor>;

  Task<> watch();
  Task<bool> send(std::string text);

  Channel& stream_;
  const EventFeed& feed_;
  const Limits& limits_;
  Timer timer_;
  bool over_ = false;
};

}  // namespace holdfast::admin

// The last events of all connections, numbered, for any thread to append to and for the admin thread to read. Bounded;
// knows no listener and no socket.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "proxy/upstream_types.hpp"

namespace holdfast::admin {

/// An event with its number. Numbers begin at 1 with the process and leave none out.
struct NumberedEvent {
  std::uint64_t id = 0;
  proxy::Event event;
};

class EventFeed {
 public:
  static constexpr std::size_t events_default = 1024;

  explicit EventFeed(std::size_t events_max = events_default) : events_max_(events_max) {}
  EventFeed(const EventFeed&) = delete;
  EventFeed& operator=(const EventFeed&) = delete;

  /// Takes the event, for the oldest one where the feed is full, and calls `wake` unless that was done and not answered
  /// with `awake`. From any thread; holds a lock for as long as that takes.
  void append(proxy::Event event);

  /// What came after the event `after`.
  struct Batch {
    std::uint64_t missed = 0;     // events after `after` that the feed no longer holds
    std::uint64_t last_missed = 0;  // the number of the last of them
    bool other_run = false;       // `after` is of an earlier process: nobody knows how many are missing
    std::vector<std::shared_ptr<const NumberedEvent>> events;
  };
  [[nodiscard]] Batch read(std::uint64_t after, std::size_t events_max) const;
  /// The number of the newest event; 0 where there was none yet.
  [[nodiscard]] std::uint64_t last() const;

  /// `wake` is called, by whoever appends, when there is something to read; it must not wait, nor call the feed. Once
  /// this has returned the former one is not called any more.
  void on_wake(std::function<void()> wake);
  /// The woken one begins to read: from now on the next event wakes again.
  void awake();

 private:
  const std::size_t events_max_;
  mutable std::mutex mutex_;
  std::deque<std::shared_ptr<const NumberedEvent>> events_;
  std::uint64_t last_ = 0;
  std::function<void()> wake_;
  bool waking_ = false;
};

}  // namespace holdfast::admin

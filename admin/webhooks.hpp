// Tells others over HTTP what happens to the connections: a signed POST for each event, again after a failure, at most so
// often. Reads the feed like a listener; the data path does not know of it.
#pragma once

#include <chrono>
#include <memory>
#include <vector>

#include "admin/event_feed.hpp"
#include "config/config.hpp"

namespace holdfast::admin {

struct WebhookLimits {
  std::chrono::milliseconds look_interval{200};     // how often the feed is looked at
  std::chrono::milliseconds request_timeout{10'000};
  std::chrono::milliseconds retry_delay{1'000};     // doubles from attempt to attempt
  std::chrono::milliseconds retry_delay_max{60'000};
  int attempts_max = 8;                             // then the event is given up for this address
};

/// On a thread of its own. Each address has its own place in the feed: one that does not answer holds up no other, and
/// when the feed has gone on without it, it misses events, which is logged.
class Webhooks {
 public:
  /// Begins with what happens from now on. `feed` outlives this. Throws std::runtime_error where TLS cannot be had.
  Webhooks(const std::vector<config::Notify>& addresses, const EventFeed& feed, WebhookLimits limits = {});
  /// Gives up what is under way.
  ~Webhooks();
  Webhooks(const Webhooks&) = delete;
  Webhooks& operator=(const Webhooks&) = delete;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace holdfast::admin

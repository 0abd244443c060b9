// A ring under a lock that nobody holds for long.
#include "admin/event_feed.hpp"

#include <algorithm>
#include <utility>

namespace holdfast::admin {
namespace {

// The words of a server may be long, and the feed keeps many events.
constexpr std::size_t reason_length_max = 1024;  // bytes

}  // namespace

void EventFeed::append(proxy::Event event) {
  if (event.reason.size() > reason_length_max) event.reason.resize(reason_length_max);
  auto entry = std::make_shared<NumberedEvent>();
  entry->event = std::move(event);
  std::shared_ptr<const NumberedEvent> oldest;  // freed without the lock
  const std::lock_guard lock(mutex_);
  entry->id = ++last_;
  events_.push_back(std::move(entry));
  if (events_.size() > events_max_) {
    oldest = std::move(events_.front());
    events_.pop_front();
  }
  if (!wake_ || waking_) return;
  waking_ = true;
  wake_();
}

EventFeed::Batch EventFeed::read(std::uint64_t after, std::size_t events_max) const {
  Batch batch;
  const std::lock_guard lock(mutex_);
  if (after > last_) {
    batch.other_run = true;
    after = 0;
  }
  const auto oldest = last_ - events_.size() + 1;
  if (after + 1 < oldest) {
    batch.missed = oldest - 1 - after;
    batch.last_missed = oldest - 1;
    after = batch.last_missed;
  }
  const auto from = events_.begin() + static_cast<std::ptrdiff_t>(after + 1 - oldest);
  const auto count = std::min<std::uint64_t>(events_max, last_ - after);
  batch.events.assign(from, from + static_cast<std::ptrdiff_t>(count));
  return batch;
}

std::uint64_t EventFeed::last() const {
  const std::lock_guard lock(mutex_);
  return last_;
}

void EventFeed::on_wake(std::function<void()> wake) {
  const std::lock_guard lock(mutex_);
  wake_ = std::move(wake);
  waking_ = false;
}

void EventFeed::awake() {
  const std::lock_guard lock(mutex_);
  waking_ = false;
}

}  // namespace holdfast::admin

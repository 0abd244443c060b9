// Three short queues for each connection.
#include "admin/history.hpp"

#include <algorithm>

namespace holdfast::admin {
namespace {

constexpr std::size_t samples_max = static_cast<std::size_t>(History::span / History::slot) + 1;

template <class Queue>
void keep_newest(Queue& queue, std::size_t count_max) {
  while (queue.size() > count_max) queue.pop_front();
}

}  // namespace

void History::note_error(Past& past, proxy::SystemTime time, const std::string& message) {
  if (message.empty()) return;
  const auto text = message.substr(0, error_length_max);
  if (!past.errors.empty() && past.errors.back().message == text) {
    past.errors.back().time = time;
    return;
  }
  past.errors.push_back({time, text});
  keep_newest(past.errors, errors_max);
}

void History::on_measured(const proxy::Measurement& measurement) {
  const proxy::SystemTime begin(measurement.time.time_since_epoch() / slot * slot);
  const std::lock_guard lock(mutex_);
  auto& past = past_[measurement.connection];
  // A clock that was set back makes no new slot: the samples stay in order.
  if (past.samples.empty() || past.samples.back().time < begin) past.samples.push_back({begin, {}, 0});
  auto& sample = past.samples.back();
  if (!measurement.ok) {
    ++sample.failed;
    note_error(past, measurement.time, measurement.error);
  } else if (measurement.is_check) {
    sample.latency = std::max(measurement.latency, sample.latency.value_or(measurement.latency));
  }
  keep_newest(past.samples, samples_max);
}

void History::on_event(const proxy::Event& event) {
  using Kind = proxy::EventKind;
  const std::lock_guard lock(mutex_);
  auto& past = past_[event.connection];
  const bool is_open = !past.outages.empty() && !past.outages.back().to;
  if (event.kind == Kind::connection_lost && !is_open) {
    past.outages.push_back({event.time, {}, event.reason.substr(0, error_length_max)});
    keep_newest(past.outages, outages_max);
  }
  if (is_open && event.kind == Kind::connected) past.outages.back().to = event.time;
  // The event comes up to a second late; the downtime says when it was over.
  if (is_open && event.kind == Kind::reconnected) past.outages.back().to = past.outages.back().from + event.downtime;
  if (event.kind == Kind::connection_lost || event.kind == Kind::health_check_failed) {
    note_error(past, event.time, event.reason);
  }
}

History::View History::read(const std::string& connection, proxy::SystemTime now) const {
  View view;
  const auto oldest = now - span;
  const std::lock_guard lock(mutex_);
  const auto found = past_.find(connection);
  if (found == past_.end()) return view;
  const auto& past = found->second;
  for (const auto& sample : past.samples) {
    if (sample.time >= oldest) view.samples.push_back(sample);
  }
  for (const auto& outage : past.outages) {
    if (!outage.to || *outage.to >= oldest) view.outages.push_back(outage);
  }
  view.errors.assign(past.errors.begin(), past.errors.end());
  return view;
}

}  // namespace holdfast::admin

// What is known of many things for a while: bounded, the least recently used goes first. Standard library only; one thread.
#pragma once

#include <chrono>
#include <cstddef>
#include <list>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

namespace holdfast::proxy::mongo {

template <class Value>
class RecentTable {
 public:
  using Time = std::chrono::steady_clock::time_point;
  RecentTable(std::size_t size_max, std::chrono::milliseconds age_max) : size_max_(size_max), age_max_(age_max) {}

  /// None where it is not known; what is found counts as used. Valid until the next put or erase.
  [[nodiscard]] Value* find(std::string_view key, Time now) {
    const auto found = index_.find(key);
    if (found == index_.end()) return nullptr;
    entries_.splice(entries_.begin(), entries_, found->second);
    found->second->used = now;
    return &found->second->value;
  }
  void put(std::string key, Value value, Time now) {
    erase(key);
    entries_.push_front({std::move(key), std::move(value), now});
    index_.emplace(entries_.front().key, entries_.begin());
    if (entries_.size() > size_max_) drop_last();
  }
  void erase(std::string_view key) {
    const auto found = index_.find(key);
    if (found == index_.end()) return;
    const auto entry = found->second;
    index_.erase(found);
    entries_.erase(entry);
  }
  /// Drops what has not been used for too long.
  void expire(Time now) {
    while (!entries_.empty() && entries_.back().used + age_max_ < now) drop_last();
  }
  [[nodiscard]] std::size_t size() const { return entries_.size(); }

 private:
  struct Entry {
    std::string key;  // the index's key is a view of it
    Value value;
    Time used;
  };
  void drop_last() {
    index_.erase(entries_.back().key);
    entries_.pop_back();
  }

  std::size_t size_max_;
  std::chrono::milliseconds age_max_;
  std::list<Entry> entries_;
  std::unordered_map<std::string_view, typename std::list<Entry>::iterator> index_;
};

}  // namespace holdfast::proxy::mongo

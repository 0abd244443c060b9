// Implements the history's record and its check. Does no I/O.
#include "workload/history.hpp"

#include <algorithm>

namespace holdfast::workload {

namespace {

/// How often each part of one write was found.
struct Found {
  std::map<std::uint32_t, std::size_t> copies;

  [[nodiscard]] bool doubled() const {
    return std::any_of(copies.begin(), copies.end(), [](const auto& part) { return part.second > 1; });
  }
  [[nodiscard]] bool complete(std::uint32_t parts) const {
    for (std::uint32_t part = 1; part <= parts; ++part) {
      if (!copies.contains(part)) {
        return false;
      }
    }
    return true;
  }
};

}  // namespace

HistoryVerdict check_history(const std::map<WriteId, Write>& writes, std::span<const StoredPart> stored) {
  std::map<WriteId, Found> found;
  for (const auto& row : stored) {
    ++found[row.id].copies[row.part];
  }

  HistoryVerdict verdict;
  for (const auto& [id, write] : writes) {
    const auto rows = found.find(id);
    const bool present = rows != found.end();
    const bool complete = present && rows->second.complete(write.parts);
    if (write.acknowledged) {
      ++verdict.acknowledged;
      if (!complete) {
        verdict.lost.push_back(id);
      }
    } else if (present && !complete) {
      verdict.torn.push_back(id);
    }
  }
  for (const auto& [id, rows] : found) {
    const auto write = writes.find(id);
    // A part beyond the last one is as much nobody's as a whole write that nobody made.
    if (write == writes.end() || rows.copies.rbegin()->first > write->second.parts || rows.copies.begin()->first == 0) {
      verdict.invented.push_back(id);
    }
    if (rows.doubled()) {
      verdict.doubled.push_back(id);
    }
  }
  return verdict;
}

void History::attempt(WriteId id, std::uint32_t parts) {
  const std::lock_guard lock(mutex_);
  writes_.try_emplace(id, Write{.parts = parts});
}

void History::acknowledge(WriteId id) {
  const std::lock_guard lock(mutex_);
  if (const auto write = writes_.find(id); write != writes_.end()) {
    write->second.acknowledged = true;
  }
}

std::map<WriteId, Write> History::snapshot() const {
  const std::lock_guard lock(mutex_);
  return writes_;
}

}  // namespace holdfast::workload

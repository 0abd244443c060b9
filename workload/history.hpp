// The record of what the writers were told, and the check of it against what the database holds at the end.
// Knows no database: rows come in as numbers, so that other workloads and made histories can use it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <span>
#include <vector>

namespace holdfast::workload {

using WriteId = std::int64_t;

/// One write as its client knows it. A write of several parts puts rows 1 to `parts` into the table, or none.
struct Write {
  std::uint32_t parts = 1;
  bool acknowledged = false;  // the client was told, or has seen for itself, that it is committed
  bool operator==(const Write&) const = default;
};

/// One row found in the table at the end.
struct StoredPart {
  WriteId id = 0;
  std::uint32_t part = 1;
  auto operator<=>(const StoredPart&) const = default;
};

/// What is wrong with a history; each list is in ascending order and names a write once.
struct HistoryVerdict {
  std::size_t acknowledged = 0;    // writes, not parts
  std::vector<WriteId> lost;       // acknowledged, but a part of it is absent
  std::vector<WriteId> doubled;    // a part is present more than once
  std::vector<WriteId> torn;       // never acknowledged, and only some of its parts are present
  std::vector<WriteId> invented;   // present, but no client wrote it
  [[nodiscard]] bool ok() const { return lost.empty() && doubled.empty() && torn.empty() && invented.empty(); }
};

/// Compares what the clients know with the table's rows, which may stand in any order. Pure.
[[nodiscard]] HistoryVerdict check_history(const std::map<WriteId, Write>& writes, std::span<const StoredPart> stored);

/// Collects the writes of several client threads; every function may be called from any of them.
class History {
 public:
  /// Before the first attempt of a write of `parts` rows.
  void attempt(WriteId id, std::uint32_t parts);
  /// Once the write is known to be committed. A write that was never attempted is ignored: check_history would call it invented.
  void acknowledge(WriteId id);
  [[nodiscard]] std::map<WriteId, Write> snapshot() const;

 private:
  mutable std::mutex mutex_;
  std::map<WriteId, Write> writes_;
};

}  // namespace holdfast::workload

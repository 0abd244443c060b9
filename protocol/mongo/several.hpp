// Commands that concern more than one member: what each of them gets, and the one answer that comes of theirs.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::mongo {

/// The body of a killCursors with these cursors in place of its own.
[[nodiscard]] std::string body_of_kill_cursors(std::string_view body, const std::vector<std::int64_t>& cursors);

/// What several members answered to their part of one killCursors.
class KilledCursors {
 public:
  /// A reply to a part. False where it is an error, or cannot be read.
  [[nodiscard]] bool add(std::string_view reply);
  /// Where these were, nobody is to be asked any more.
  void add_missing(const std::vector<std::int64_t>& cursors);
  /// These could not be ended.
  void add_alive(const std::vector<std::int64_t>& cursors);
  /// The answer to the whole.
  [[nodiscard]] std::string body() const;

 private:
  static constexpr std::array<std::string_view, 4> keys{"cursorsKilled", "cursorsNotFound", "cursorsAlive", "cursorsUnknown"};
  std::array<std::vector<std::int64_t>, keys.size()> found_;
};

/// The ids (16 bytes each) of the sessions that a killSessions names.
[[nodiscard]] std::vector<std::string> sessions_to_kill(std::string_view body);
/// The body of a killSessions with these sessions, too; it names at least one.
[[nodiscard]] std::string body_with_sessions(std::string_view body, const std::vector<std::string>& sessions);

/// The numbers of the operations that a reply to currentOp, or a batch of $currentOp, lists. A mongos has names for its own; they are not among them.
[[nodiscard]] std::vector<std::int64_t> operations_in(std::string_view reply);

}  // namespace holdfast::mongo

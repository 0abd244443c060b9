// Reads of a client's command what decides whether it may be sent again, where it must go and who answers it.
// It judges the command alone, not what became of it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "protocol/mongo/frame.hpp"

namespace holdfast::mongo {

enum class CommandKind {
  hello,           // hello, isMaster: answered by the proxy
  authentication,  // sasl*, authenticate, getnonce, logout: answered by the proxy
  own,             // whatsmyuri: the proxy's own truth
  refused,         // getLastError and its kin: untrue behind a pool
  read,            // changes nothing: may be sent again as often as one likes
  write,           // insert, update, delete, findAndModify, bulkWrite
  get_more,        // advances a cursor: never sent twice
  kill_cursors,
  commit,
  abort,
  sessions,        // endSessions, killSessions and their kin: sent again without harm
  other,           // DDL, $out, $merge, mapReduce, and all that is not known: sent once
};

/// What a cursor is over.
enum class CursorOf { documents, changes, operations };

enum class ReadMode { primary, primary_preferred, secondary, secondary_preferred, nearest };

using TagSet = std::vector<std::pair<std::string, std::string>>;

/// What $readPreference asks for; `hedge` is not heeded.
struct ReadPreference {
  ReadMode mode = ReadMode::primary;
  std::vector<TagSet> tags;     // the first that any member fits counts; empty: any member
  std::optional<std::int64_t> max_staleness_seconds;
  bool read = true;             // false: it has more tags than are read
};
[[nodiscard]] ReadPreference read_preference(std::string_view document);

/// So many fields of a command are read, and so many tags of a read preference. No driver's has as many, and a client that sends millions shall not
/// keep the others waiting.
inline constexpr std::size_t fields_max = 1'000;

struct Command {
  CommandKind kind = CommandKind::other;
  std::string_view name;        // as the client wrote it; empty: the body holds no element
  std::string_view database;
  std::string_view collection;  // of a read, write, getMore, killCursors
  std::string_view session;     // the bytes of lsid.id; empty: none
  std::optional<std::int64_t> transaction_number;
  bool in_transaction = false;  // autocommit: false
  bool starts_transaction = false;
  bool acknowledged = true;     // writeConcern is not w: 0
  bool majority = false;        // writeConcern w: "majority"
  bool one_member = false;      // writeConcern w: 1 or 0; without any it is the servers' default
  bool multiple = false;        // a statement may change several documents: no txnNumber makes it exact
  bool ordered = true;
  bool projects = false;        // findAndModify with `fields`, which a repetition ignores
  CursorOf opens = CursorOf::documents;  // aggregate
  std::optional<std::int64_t> operation;  // of killOp
  bool everywhere = false;      // killSessions and its kin: meant for every member
  bool writes = false;          // may change something: for transactions
  bool cut = false;             // it has more fields than are read: what the others say is not known
  std::size_t statements = 0;   // of a write
  std::optional<std::int64_t> time_limit;  // maxTimeMS, milliseconds
  ReadPreference preference;
  std::int64_t cursor = 0;      // of getMore
  std::vector<std::int64_t> cursors;  // of killCursors
};

/// Never fails: what cannot be read is a command of kind `other`, and its server says what is wrong with it. One that is cut is `other` too, and in
/// no transaction, so that it is sent once; but not where the proxy answers it.
[[nodiscard]] Command read_command(const Message& message);

/// The field that holds the statements of an insert, update, delete or bulkWrite; empty for any other command.
[[nodiscard]] std::string_view statements_key(std::string_view name);

/// May the same bytes be sent again after an unknown outcome, where the server deduplicates by (lsid, txnNumber)?
[[nodiscard]] inline bool is_deduplicated(const Command& command) {
  return command.kind == CommandKind::write && command.transaction_number && !command.session.empty() &&
         !command.in_transaction && command.acknowledged && !command.multiple;
}

/// May a txnNumber of the proxy's make this write one that the server knows again? Only where it comes without one, wants an answer, changes
/// one document with each statement, and no collection is meant that takes none.
[[nodiscard]] bool may_be_numbered(const Message& message, const Command& command);
/// The write's body with this session (the 16 bytes of its id) and number; the client's own session is left out.
[[nodiscard]] std::string body_of_numbered_write(std::string_view body, std::string_view session, std::int64_t number);
/// The body of commitTransaction as it is sent from the second time on: with w: majority, and a wtimeout where it has none.
[[nodiscard]] std::string body_of_repeated_commit(std::string_view body);
/// The body with another maxTimeMS.
[[nodiscard]] std::string body_with_time_limit(std::string_view body, std::int64_t milliseconds);
/// The body of abortTransaction for the transaction that a statement belongs to.
[[nodiscard]] std::string body_of_abort(std::string_view statement);

}  // namespace holdfast::mongo

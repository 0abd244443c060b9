// Where cursors, transactions and operations that were listed are: with one member each, and nowhere else. Sans-io; one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string_view>
#include <vector>

#include "protocol/mongo/command.hpp"
#include "protocol/mongo/reply.hpp"
#include "proxy/mongo/recent_table.hpp"

namespace holdfast::proxy::mongo {

namespace wire = holdfast::mongo;

class Places {
 public:
  Places();

  using Time = std::chrono::steady_clock::time_point;
  struct Place {
    std::optional<std::size_t> member;  // none: the command is bound to no member
    bool wrote = true;                  // the transaction has changed something, or that is not known
    wire::CursorOf cursor = wire::CursorOf::documents;
    bool several = false;               // it concerns cursors of more than one member
  };
  /// The cursors of a killCursors by their members; those of none are nowhere that is known.
  [[nodiscard]] std::map<std::optional<std::size_t>, std::vector<std::int64_t>> cursors_by_member(const wire::Command& command, Time now);
  /// `user`: to a server a session is its user's, and two users may choose the same id.
  [[nodiscard]] Place find(const wire::Command& command, std::string_view user, Time now);
  /// Before a command goes out: where a transaction is must be known before its fate is.
  void note_sent(const wire::Command& command, std::string_view user, std::size_t member, Time now);
  /// A reply that was believed.
  void note_reply(const wire::Command& command, const wire::Reply& reply, std::size_t member, Time now);
  void expire(Time now);

 private:
  struct Transaction {
    std::size_t member = 0;
    std::int64_t number = 0;
    bool wrote = false;
  };
  struct Cursor {
    std::size_t member = 0;
    wire::CursorOf of = wire::CursorOf::documents;
  };
  [[nodiscard]] const Cursor* find_cursor(std::string_view collection, std::int64_t id, Time now);
  [[nodiscard]] Transaction* find_transaction(const wire::Command& command, std::string_view user, Time now);

  RecentTable<Cursor> cursors_;
  RecentTable<Transaction> transactions_;
  RecentTable<std::size_t> operations_;  // by their number
};

}  // namespace holdfast::proxy::mongo

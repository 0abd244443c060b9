// Where cursors and transactions are: with one member each, and nowhere else. Sans-io; one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

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
    bool change_stream = false;         // the cursor is one: its driver opens another where this one is not found
    bool several = false;               // it concerns cursors of more than one member
  };
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
    bool change_stream = false;
  };
  [[nodiscard]] const Cursor* find_cursor(std::string_view collection, std::int64_t id, Time now);
  [[nodiscard]] Transaction* find_transaction(const wire::Command& command, std::string_view user, Time now);

  RecentTable<Cursor> cursors_;
  RecentTable<Transaction> transactions_;
};

}  // namespace holdfast::proxy::mongo

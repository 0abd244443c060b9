// Gives writes that come without a txnNumber one of the proxy's own, and decides afterwards what becomes of their sessions and of
// collections that take none. Sans-io; one thread.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "protocol/mongo/command.hpp"
#include "protocol/mongo/reply.hpp"
#include "proxy/mongo/own_sessions.hpp"
#include "proxy/mongo/recent_table.hpp"

namespace holdfast::proxy::mongo {

namespace wire = holdfast::mongo;

/// A write as it goes upstream with a number of ours; its views point into its frame.
struct NumberedWrite {
  NumberedWrite() = default;
  NumberedWrite(const NumberedWrite&) = delete;
  NumberedWrite& operator=(const NumberedWrite&) = delete;

  std::string user;
  std::string client_session;  // that it came in; empty: none
  OwnSession own;
  std::string frame;
  wire::Message message;
  wire::Command command;
};

class Numbering {
 public:
  using Time = std::chrono::steady_clock::time_point;
  /// `new_id` gives the 16 bytes of a UUID that nobody has had.
  explicit Numbering(std::function<std::string()> new_id);

  struct Servers {
    bool deduplicate = false;  // they know (lsid, txnNumber) again
    bool repeat = false;       // and a mongos makes use of that by itself
  };
  /// None where the write goes as it is.
  [[nodiscard]] std::unique_ptr<NumberedWrite> begin(const wire::Message& request, const wire::Command& command, const std::string& user,
                                                     Servers servers, Time now);
  /// What became of a command. `refused`: it got an answer that refuses the number, and has done nothing.
  enum class Fate { unknown, answered, refused };
  /// Of one whose answer was believed.
  [[nodiscard]] static Fate fate_of(const wire::Reply& reply) { return wire::refuses_number(reply) ? Fate::refused : Fate::answered; }
  /// What was refused is to be sent again as the client wrote it.
  void end(NumberedWrite& write, Fate fate, Time now);
  /// And this became of it then.
  void end_without(const wire::Command& command, Fate fate, Time now);
  /// The sessions of ours in which writes are under way that came in these of clients.
  [[nodiscard]] std::vector<std::string> sessions_for(const std::vector<std::string>& client_sessions) const;
  void expire(Time now);

 private:
  OwnSessions sessions_;
  std::multimap<std::string, std::string, std::less<>> under_way_;  // sessions of ours, by the client's
  RecentTable<bool> refusing_;  // collections, by database and name
};

}  // namespace holdfast::proxy::mongo

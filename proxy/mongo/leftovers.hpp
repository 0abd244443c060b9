// What a client has begun over one connection and not ended there: cursors, and a transaction. A driver that speaks with a load balancer goes on
// with them nowhere else, and leaves it to the service to end them once the connection is gone (Load Balancer Support specification). Sans-io.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/mongo/command.hpp"
#include "protocol/mongo/reply.hpp"

namespace holdfast::proxy::mongo {

namespace wire = holdfast::mongo;

class Leftovers {
 public:
  /// Before a command goes out.
  void note_sent(const wire::Command& command, std::string_view body, std::size_t member);
  /// A reply that was believed.
  void note_reply(const wire::Command& command, const wire::Reply& reply, std::size_t member);

  /// What ends one of them, and where.
  struct Ending {
    std::size_t member = 0;
    std::string body;
  };
  /// Forgets them.
  [[nodiscard]] std::vector<Ending> take();

 private:
  struct Cursor {
    std::size_t member = 0;
    std::string database, collection;
  };
  std::map<std::int64_t, Cursor> cursors_;
  std::map<std::string, Ending, std::less<>> transactions_;  // by the session
};

}  // namespace holdfast::proxy::mongo

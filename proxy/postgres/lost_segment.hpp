// What was under way at a loss, cut into what ends together. Between the files of SessionMachine that judge a loss.
#pragma once

#include <vector>

#include "proxy/postgres/session_machine.hpp"

namespace holdfast::proxy::postgres {

/// The requests that end together: one Query, or an extended segment up to its Sync.
struct SessionMachine::Segment {
  std::vector<pg::StatementId> executed;  // answered, but no ReadyForQuery has confirmed them
  std::vector<pg::Request> requests;      // those without an answer yet, Sync included
  bool simple = false;                // a Query or a function call
  bool open = false;                  // its Sync was not sent
  bool failed = false;                // its error has reached the client
  bool copying = false;               // its COPY data was not ended
  bool commit_behind = false;         // a segment behind it, sent as well, may have committed

  /// All but ReadyForQuery has been delivered.
  [[nodiscard]] bool answered() const { return requests.size() == 1 && requests[0].kind == pg::RequestKind::sync; }
  /// CommandComplete of a Query, or of one of its statements, has been delivered.
  [[nodiscard]] bool completed() const { return simple && requests.back().completed_part; }
};

/// Where the client's transaction stands while the segments are answered one after the other.
struct SessionMachine::Progress {
  char status = 'I';
  bool lost_here = false;  // 'E' only by an answer of ours: the server may have done what stands behind
  bool unsure = false;     // an outcome is unknown, and with it where the server stood behind it
  bool parsed = false;     // the segment was answered as if it had run: what it prepares is there for the client
};

}  // namespace holdfast::proxy::postgres

// What goes into a session's machine (session_machine.hpp) and comes out of it: states, verdicts, options, counts.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "protocol/postgres/two_phase.hpp"

namespace holdfast::proxy::postgres {

namespace pg = holdfast::postgres;

/// What a server says in ParameterStatus.
using Parameters = std::map<std::string, std::string, std::less<>>;
/// Empty where the server has not said it.
[[nodiscard]] inline std::string_view value_of(const Parameters& parameters, std::string_view name) {
  const auto found = parameters.find(name);
  return found == parameters.end() ? std::string_view() : std::string_view(found->second);
}

enum class SessionState {
  detached,          // no backend, no transaction: the next statement asks for one
  attached,          // a backend works for the client
  losing,            // the backend is gone; what that means is being found out
  lost_transaction,  // the client's transaction died with its backend; answered here until it ends
  closed,            // nothing more is read or written
};
[[nodiscard]] const char* to_string(SessionState);

/// What the shell does with the bytes that it showed, and then.
struct Step {
  enum class Next {
    read,   // show more bytes, at least `want` in all
    again,  // show the rest again, after the outputs were written
    hold,   // client's bytes only: nothing goes on before the state changes
    close,  // write the outputs, then close the session
    lost,   // server's bytes only: it broke the protocol; treat the backend as lost
  };
  Next next = Next::read;
  std::size_t forward = 0;  // bytes at the front that go to the other side as they are
  std::size_t consume = 0;  // bytes at the front that are done with, at least `forward`
  std::size_t want = 0;     // size of the message that stands at the front afterwards, 0 if not known
};

/// What a server says at the end of a session that is lost with it.
struct LossReport {
  std::string code;     // SQLSTATE of the FATAL that was held back; empty: none came
  std::string message;  // its text, or the system's words
};

enum class Witness {
  alive,    // the same server goes on serving others: an administrator ended this backend
  gone,     // the server is lost, or nobody can tell
};

/// Whether what the lost backend did can still go on behind our back.
enum class OldBackend {
  gone,
  may_live_on,  // it could not be ended, and may hold its locks
};

/// What follows from a loss.
struct LossResult {
  enum class Then { stay, attach_now, close };
  Then then = Then::stay;
  std::string reason;  // for metrics and logs, where the session ends
};

struct SessionOptions {
  std::string connection;                       // id, for messages
  std::size_t message_buffer = 64 * 1024;       // bytes; longer messages are forwarded as they come
  std::string unknown_outcome_code = "08007";
  enum class LostState { disconnect, error } lost_state = LostState::disconnect;
  std::size_t replay_limit = 0;                 // bytes of a transaction that are kept to be sent again; 0: nothing is run again
  std::string ledger_session;                   // UUID under which commits are recorded in the ledger; empty: they are not
};

struct SessionStatistics {
  std::uint64_t statements = 0;
  std::uint64_t outcomes_unknown = 0;
  std::uint64_t outcomes_committed = 0, outcomes_not_committed = 0;        // as the server says later
  std::uint64_t transactions_lost = 0;
  std::uint64_t notification_gaps = 0;
  std::uint64_t snapshots = 0;
  std::uint64_t statements_replayed = 0, statements_not_replayed = 0;      // outside a transaction
  std::uint64_t transactions_replayed = 0, transactions_not_replayed = 0;  // those that a loss ended for good
};

/// A commit that the ledger is to tell of.
struct RecordedCommit {
  std::uint64_t sequence = 0;
  std::optional<std::uint64_t> request;  // the client's message that commits; none: it stands behind what was injected
  bool sent = false;                     // and its answer has not come
  bool recorded = true;                  // false: the transaction was READ ONLY
};

/// A PREPARE TRANSACTION, COMMIT PREPARED or ROLLBACK PREPARED of the client's, that the server can be asked about later.
struct TwoPhase {
  pg::TwoPhaseStatement statement;
  std::uint64_t request = 0;  // the client's message that runs it; 0: it has not gone out
  bool done = false;          // its CommandComplete has reached the client
  bool undone = false;        // the server was asked: it has not been done
  std::string error;          // ErrorResponse to what was asked before; a transaction has failed of it
};

}  // namespace holdfast::proxy::postgres

// What a server's reply says of the fate of the command that it answers, and the error replies of the proxy's own.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

#include "protocol/mongo/command.hpp"
#include "protocol/mongo/error_codes.hpp"

namespace holdfast::mongo {

/// The fields of a reply that anything acts on. Views point into the reply.
struct Reply {
  std::string_view body;             // all of it
  bool readable = false;
  bool ok = false;
  int code = 0;                      // at the root, of a failure
  std::string_view message;          // errmsg
  bool retryable_label = false, transient_label = false;
  int write_concern_code = 0;        // of writeConcernError
  bool has_n = false;
  std::int64_t n = 0;
  std::size_t write_errors = 0;
  std::size_t first_error_index = 0; // of writeErrors, or of what a bulkWrite has in their place
  int first_error_code = 0;
  bool known_again = false;          // retriedStmtIds, of 5.0 and newer: some statements were answered from history
  int inner_state_change = 0;        // the first such code in writeErrors or writeConcernError
  int inner_network_code = 0;        // in writeErrors, of a mongos that lost a shard; or, where none was lost, that it found none
  std::optional<std::int64_t> cursor;
  std::string_view cursor_namespace;
  std::string_view election_id;      // twelve bytes, of replies to writes; empty: none
};

[[nodiscard]] Reply read_reply(std::string_view body);

/// What became of a command, by its reply.
enum class Verdict {
  believed,      // the reply is the answer, good or bad
  not_executed,  // the member refused it before it did anything
  unknown,       // interrupted: it may have been executed, in part or as a whole
  try_again,     // it may be sent again as it is, and should: a read, or a write that the server deduplicates
};
[[nodiscard]] Verdict judge(const Command& command, const Reply& reply);

/// The connection is logged in for nobody, and so the command was not looked at. One that its user may not run is refused otherwise.
[[nodiscard]] bool wants_login(const Reply& reply);

/// Does this failure of a repetition say nothing of what became of the command before? One of a batch comes before any statement is looked
/// for in the history, or by an interruption; one of a findAndModify may also come of its execution, which is the first then.
[[nodiscard]] bool tells_of_the_repetition_only(const Command& command, const Reply& reply);

/// Does a commit's answer say what became of the transaction, also where that was asked for before? Other failures are of the present asking.
[[nodiscard]] bool tells_of_the_transaction(const Reply& reply);

/// Was the command's txnNumber refused, and nothing executed? A mongos tells that of its shards in writeErrors.
[[nodiscard]] bool refuses_number(const Reply& reply);

/// Does the answer to a repetition of `statements` of a batch say of every one what became of it, and of none what became of another?
[[nodiscard]] bool accounts_for(const Command& command, std::size_t statements, const Reply& reply);
/// The same for the whole command. A failure at the root speaks for all.
[[nodiscard]] bool accounts_for_all(const Command& command, const Reply& reply);
/// Does an answer to an insert leave documents out? Then it is one to a repetition, whoever repeated.
[[nodiscard]] bool leaves_documents_out(const Command& command, const Reply& reply);

struct Error {
  int code = 0;
  std::string message;
  std::initializer_list<std::string_view> labels = {};
};
/// `{ok: 0, errmsg, code, codeName, errorLabels}`.
[[nodiscard]] std::string error_body(const Error& error);
/// `{ok: 1}`.
[[nodiscard]] std::string ok_body();
/// What killCursors answers where none of the cursors lives any more.
[[nodiscard]] std::string no_cursors_body(const Command& command);

}  // namespace holdfast::mongo

// What the texts of one segment could have done, by their parse trees. Judged at a loss, never on the hot path.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "protocol/postgres/reply_tracker.hpp"
#include "protocol/postgres/session_state.hpp"
#include "protocol/postgres/statement_judge.hpp"
#include "protocol/postgres/statement_store.hpp"
#include "proxy/postgres/session_types.hpp"

namespace holdfast::proxy::postgres {

namespace pg = holdfast::postgres;

/// What the texts of a segment could have done.
struct SegmentEffects {
  bool only_reads = true;       // provably
  bool may_commit = false;      // something in it may end a transaction, or nothing is known
  bool undoable = true;         // of a transaction that is not committed nothing stays
  bool only_begin = false;      // one BEGIN and nothing else
  bool plain_rollback = false;  // one ROLLBACK of the whole transaction and nothing else
  bool plain_end = false;       // one COMMIT or ROLLBACK of the whole transaction
  bool single = true;           // one statement
  std::vector<pg::TextJudgement> texts;

  [[nodiscard]] char status_after(char before) const {
    for (const auto& text : texts) {
      // Of a text that cannot be read nothing is known; a client outside a transaction is not put into one.
      if (text.parsed || before != 'I') before = pg::status_after(text, before).status;
    }
    return before;
  }
};

/// The parser reads a text as this server does: its literals and its characters are cut alike.
[[nodiscard]] bool reads_alike(const Parameters& parameters);

/// How this server reads a text, as a number that is not 0: its encoding and its literals.
[[nodiscard]] std::uint64_t reading_of(const Parameters& parameters);

/// What a session has prepared under names, for the judge: by the protocol and by SQL.
struct Prepared {
  const pg::StatementStore& statements;
  const pg::SessionState& session;
};

/// Is the text, of this kind by its scan, an EXECUTE whose name was given to another statement behind the `request`?
[[nodiscard]] bool runs_under_a_name_given_since(const pg::StatementStore& statements, std::string_view text, pg::TextClass kind,
                                                 std::uint64_t request);
/// A statement's text, or what it runs where it is an EXECUTE; not parsed where the text is not known.
[[nodiscard]] pg::TextJudgement judge_run(const Prepared& prepared, pg::StatementId id);
/// The same for a text by itself, of this kind by its scan.
[[nodiscard]] pg::TextJudgement judge_run(const Prepared& prepared, std::string_view text, pg::TextClass kind);

/// `executed` were answered, `requests` were not; `before` is the transaction status that the segment began in.
[[nodiscard]] SegmentEffects judge_segment(const Prepared& prepared, const std::vector<pg::StatementId>& executed,
                                           const std::vector<pg::Request>& requests, char before);

}  // namespace holdfast::proxy::postgres

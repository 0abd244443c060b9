// PREPARE TRANSACTION, COMMIT PREPARED and ROLLBACK PREPARED: what became of one whose answer was lost. A prepared
// transaction outlives its session and its server (PostgreSQL documentation, "PREPARE TRANSACTION"), so any later backend can
// be asked for it: in pg_prepared_xacts by global id and transaction id, and once it is gone from there by pg_xact_status.
// That is believed of an id only where the id cannot have been given out again since: what is not flushed when a server
// crashes leaves ids that are, but a transaction that was once seen prepared is flushed; and a promoted standby need never
// have got it, so not on another timeline.
// The SQL of it; when it is asked is session_machine_two_phase.cpp's to say.
#pragma once

#include <string>
#include <string_view>

#include "protocol/postgres/inquiry.hpp"
#include "protocol/postgres/statement_judge.hpp"

namespace holdfast::postgres {

/// What the text's only statement is, if it is one of the three; else none.
[[nodiscard]] TransactionControl two_phase_control(const TextJudgement& text);

/// One of the three, and what must be known of it before it goes out.
struct TwoPhaseStatement {
  TransactionControl control = TransactionControl::none;
  std::string global_id;
  std::string transaction;  // id with its epoch, as a decimal number; empty: not known
  std::string timeline;     // eight hexadecimal digits; empty for prepare_transaction
};

/// Asks for transaction and timeline: one row of both, or none, or NULLs. For prepare_transaction within the transaction.
[[nodiscard]] Inquiry two_phase_before(const TwoPhaseStatement& statement);
/// Asks what became of it, once the backend that ran it is gone: one row, one column: 'committed' (done), 'fenced' (not done,
/// and never to be), 'unknown', 'read_only' (a standby cannot say), 'in_progress' (to be asked once more; said twice it is 'fenced').
[[nodiscard]] Inquiry two_phase_after(const TwoPhaseStatement& statement);
/// The tag of its CommandComplete.
[[nodiscard]] std::string_view two_phase_tag(TransactionControl control);

}  // namespace holdfast::postgres

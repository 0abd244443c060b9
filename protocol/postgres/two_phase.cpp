// The SQL of two-phase commit.
#include "protocol/postgres/two_phase.hpp"

namespace holdfast::postgres {

namespace {

// Everything by its schema: no search_path and no operator of a user's changes what it means.

constexpr std::string_view own_transaction =
    "SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN NULL ELSE pg_catalog.pg_current_xact_id()::pg_catalog.text END, ''";

const std::string newest = "(pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::pg_catalog.text::pg_catalog.int8)";
const std::string half = "4294967296::pg_catalog.int8";
const std::string timeline = "pg_catalog.left(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_flush_lsn()), 8)";
const std::string prepared = " FROM pg_catalog.pg_prepared_xacts WHERE gid OPERATOR(pg_catalog.=) $1::pg_catalog.text"
                             " AND database OPERATOR(pg_catalog.=) pg_catalog.current_database()";

// pg_prepared_xacts has the low half of an id: the whole one is the nearest to the newest. (Operators that are written in this way all
// bind alike, from the left.)
const std::string prepared_transaction =
    "SELECT (" + newest + " OPERATOR(pg_catalog.+) ((((transaction::pg_catalog.text::pg_catalog.int8 OPERATOR(pg_catalog.-) " + newest +
    ") OPERATOR(pg_catalog.%) " + half + ") OPERATOR(pg_catalog.+) 6442450944::pg_catalog.int8) OPERATOR(pg_catalog.%) " + half +
    ") OPERATOR(pg_catalog.-) 2147483648::pg_catalog.int8)::pg_catalog.text,"
    " CASE WHEN pg_catalog.pg_is_in_recovery() THEN NULL ELSE " + timeline + " END" + prepared;

const std::string still_there = "EXISTS (SELECT FROM pg_catalog.pg_prepared_xacts WHERE transaction::pg_catalog.text OPERATOR(pg_catalog.=)"
                                " ($2::pg_catalog.int8 OPERATOR(pg_catalog.%) " + half + ")::pg_catalog.text";
const std::string status = "CASE WHEN $2::pg_catalog.int8 OPERATOR(pg_catalog.>=) " + newest + " THEN 'in progress'"
                           " ELSE pg_catalog.pg_xact_status($2::pg_catalog.text::pg_catalog.xid8) END";

// Under another global id: the one that was parsed here is not the server's. Not there, and committed: somebody has ended it since, or the
// id is another's by now. Not there, and in progress: another's, or ended between two looks of this very query.
const std::string was_prepared =
    "SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN 'read_only'"
    " WHEN " + still_there + " AND gid OPERATOR(pg_catalog.=) $1::pg_catalog.text) THEN 'committed'"
    " WHEN " + still_there + ") THEN 'unknown'"
    " WHEN " + status + " OPERATOR(pg_catalog.=) 'in progress' THEN 'in_progress'"
    " WHEN " + status + " OPERATOR(pg_catalog.=) 'aborted' THEN 'fenced' ELSE 'unknown' END";

// $1: the timeline before, $3: the status that it asks for. The other one: somebody was faster, and a second run is told so.
const std::string was_ended =
    "SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN 'read_only' WHEN " + still_there + ") THEN 'fenced'"
    " WHEN " + timeline + " OPERATOR(pg_catalog.<>) $1::pg_catalog.text THEN 'unknown'"
    " WHEN " + status + " OPERATOR(pg_catalog.=) $3::pg_catalog.text THEN 'committed'"
    " WHEN " + status + " OPERATOR(pg_catalog.=) ANY (ARRAY['committed', 'aborted']) THEN 'fenced' ELSE 'unknown' END";

}  // namespace

TransactionControl two_phase_control(const TextJudgement& text) {
  if (!text.parsed || text.statements.size() != 1) return TransactionControl::none;
  const auto control = text.statements.front().control;
  const bool is_one = control == TransactionControl::prepare_transaction || control == TransactionControl::commit_prepared ||
                      control == TransactionControl::rollback_prepared;
  return is_one ? control : TransactionControl::none;
}

Inquiry two_phase_before(const TwoPhaseStatement& statement) {
  if (statement.control == TransactionControl::prepare_transaction) return {own_transaction, {}};
  return {prepared_transaction, {statement.global_id}};
}

Inquiry two_phase_after(const TwoPhaseStatement& statement) {
  if (statement.control == TransactionControl::prepare_transaction) {
    return {was_prepared, {statement.global_id, statement.transaction}};
  }
  const bool commits = statement.control == TransactionControl::commit_prepared;
  return {was_ended, {statement.timeline, statement.transaction, commits ? "committed" : "aborted"}};
}

std::string_view two_phase_tag(TransactionControl control) {
  switch (control) {
    case TransactionControl::prepare_transaction: return "PREPARE TRANSACTION";
    case TransactionControl::commit_prepared: return "COMMIT PREPARED";
    default: return "ROLLBACK PREPARED";
  }
}

}  // namespace holdfast::postgres

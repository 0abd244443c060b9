// The ledger of exactly_once: a table in the client's own database in which each commit leaves a row, written by the same
// transaction under a key that is used once. After a loss the same key is written by a transaction of its own, the fence:
// where that succeeds the lost transaction can never commit any more, where the key is taken it has committed. There is no
// third answer: a unique key waits for whoever holds it (PostgreSQL documentation, "Index Uniqueness Checks").
// The SQL of it, and what a text is to it by its parse tree; when it is used is session_machine_ledger.cpp's to say.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "protocol/postgres/statement_judge.hpp"

namespace holdfast::postgres {

/// What an administrator runs once in each database, as its owner; running it again changes nothing.
[[nodiscard]] std::string_view ledger_setup();
/// Removes what ledger_setup made.
[[nodiscard]] std::string_view ledger_removal();

/// One row, one column: true where this user can use the ledger of this database.
[[nodiscard]] std::string_view ledger_check();
/// Within the client's transaction; parameters: session (uuid), sequence. Answers false, and writes nothing, in a transaction
/// that is READ ONLY.
[[nodiscard]] std::string_view ledger_record();
/// Outside a transaction; parameters: session, sequence. Waits for the lost transaction, if that is still under way.
[[nodiscard]] std::string_view ledger_fence();
/// Removes what the session has no more use for; parameters: session, the last sequence of these.
[[nodiscard]] std::string_view ledger_forget();
/// Removes what is a day old: of sessions that ended, and of proxies that died.
[[nodiscard]] std::string_view ledger_sweep();

/// What one text is to the ledger.
struct LedgerEntry {
  /// It may leave something behind that a commit makes permanent.
  bool writes = true;
  /// It can be run in a transaction of ours in place of its own: one SELECT, INSERT, UPDATE, DELETE, MERGE or COPY.
  bool can_join = false;
  TransactionControl control = TransactionControl::none;  // of a text that is one statement
};
[[nodiscard]] LedgerEntry judge_for_ledger(const TextJudgement& text);

}  // namespace holdfast::postgres

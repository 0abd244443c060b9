// Judges texts by their parse tree (libpg_query: the grammar of PostgreSQL 15): transaction control, whether a statement
// can write, what functions it calls. Knows no catalog: what the names mean on a server is for the caller to look up.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::postgres {

/// What a statement does to the transaction it stands in.
enum class TransactionControl : std::uint8_t {
  none,
  begin,  ///< BEGIN, START TRANSACTION
  commit,
  rollback,
  commit_chain,
  rollback_chain,
  savepoint,
  release,
  rollback_to,
  prepare_transaction,
  commit_prepared,
  rollback_prepared,
};

/// A name as it is written, folded by the parser; `schema` is empty where none is written.
struct QualifiedName {
  std::string schema;
  std::string name;
  auto operator<=>(const QualifiedName&) const = default;
};

/// What a statement does, as far as its tree tells.
enum class StatementEffect : std::uint8_t {
  reads,      ///< nothing but reads, provided that its functions, operators and relations do: look at the lists
  writes,     ///< writes or locks, or may: EXECUTE and FETCH too, for what they run stands elsewhere
  session,    ///< SET, RESET, LISTEN, PREPARE, DECLARE, … : of this session; writes only what its functions do
  procedure,  ///< CALL, DO: can hold transaction control
  transaction,
};

struct StatementJudgement {
  TransactionControl control = TransactionControl::none;
  StatementEffect effect = StatementEffect::writes;
  /// Savepoint of savepoint, release, rollback_to; global id of prepare_transaction and its two ends.
  std::string name;
  /// SELECT, VALUES, TABLE, SHOW, EXPLAIN without ANALYZE, COPY TO STDOUT of these: no data-modifying CTE, no FOR UPDATE or SHARE, no INTO, and no
  /// name of a function of PostgreSQL's own that is known here to write or to touch the session. Proven only once the
  /// server's catalog has said of all the names below that they do no more than read.
  bool reads_only = false;
  /// COPY from or to a file or a program of the server's.
  bool outside = false;
  /// A read, or SELECT, INSERT, UPDATE, DELETE, MERGE, COPY: never a command that commits by itself.
  bool manipulates_data = false;
  /// PREPARE, DEALLOCATE, DISCARD: changes what the session has prepared, whatever becomes of its transaction.
  bool prepares = false;
  /// What is named, each once, sorted. A relation can also be one of the statement's `common_tables`. Functions called
  /// in attribute notation (t.f), by casts between types, domains and default operator classes are not named.
  std::vector<QualifiedName> functions;
  std::vector<QualifiedName> operators;
  std::vector<QualifiedName> relations;
  std::vector<QualifiedName> types;  // of casts
  std::vector<std::string> common_tables;
};

/// How the server reads a backslash in a plain literal (its parameter standard_conforming_strings).
enum class StringSyntax : std::uint8_t { standard, with_escapes };

struct TextJudgement {
  /// False: not SQL of PostgreSQL 15, over the limits of length and depth, or read differently than the parser would
  /// (StringSyntax). Nothing is known then, and `statements` is empty.
  bool parsed = false;
  std::vector<StatementJudgement> statements;
};

/// Longest text that is parsed, in bytes.
inline constexpr std::size_t judged_text_max = std::size_t{1} << 20;

/// Parses and judges one text. Some 10 µs for a short one; throws nothing but std::bad_alloc. To be called where at least
/// 4 MiB of stack are left (a thread has 8 by default): the parser recurses.
[[nodiscard]] TextJudgement judge_text(std::string_view text, StringSyntax syntax = StringSyntax::standard);

/// Judges what a `PREPARE name AS …` prepares, as if the text were that. Not parsed where it is no such statement.
[[nodiscard]] TextJudgement judge_prepared(std::string_view text);

/// The text may commit something: a COMMIT of any kind, PREPARE TRANSACTION, CALL, DO, a text that could not be parsed,
/// and one that does more than read, in a transaction of its own that ends with it. `before` is ReadyForQuery's byte
/// before the text: a lone COMMIT in a failed block ('E') commits nothing.
[[nodiscard]] bool may_commit(const TextJudgement& text, char before);

/// Where a text is on its way through the transaction block; `same_block` is false once a statement of it has ended the
/// block that it started in, though another may be open now.
struct BlockStatus {
  char status = 'I';
  bool same_block = true;
  auto operator<=>(const BlockStatus&) const = default;
};
/// Status after the text has run without an error, given ReadyForQuery's byte before it; 'E' for a text that was not
/// parsed. From 'E' only the end of the block or ROLLBACK TO leads elsewhere.
[[nodiscard]] BlockStatus status_after(const TextJudgement& text, char before);

/// One ROLLBACK or ABORT, not TO a savepoint, not AND CHAIN.
[[nodiscard]] bool is_plain_rollback(const TextJudgement& text);
/// One COMMIT or END, not AND CHAIN.
[[nodiscard]] bool is_plain_commit(const TextJudgement& text);
/// Transaction control together with anything else in one text: what follows is not replayable until the block ends.
[[nodiscard]] bool mixes_transaction_control(const TextJudgement& text);
/// Every statement is reads_only; false for an empty text and one not parsed.
[[nodiscard]] bool only_reads(const TextJudgement& text);
/// Calls no functions but those in daily use that are known to do no more than read (builtin_functions.hpp).
[[nodiscard]] bool calls_only_common_reads(const StatementJudgement& statement);
/// CALL or DO among the statements, or not parsed.
[[nodiscard]] bool may_call_procedure(const TextJudgement& text);

}  // namespace holdfast::postgres

// Sorts the text of one Query or Parse message by what it can do to its session, in one pass over its bytes. Does not
// parse: what it cannot tell for certain is `unknown`, and the judges (statement_judge, session_judge) look at it later.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::postgres {

/// What one text is, as far as a look at its tokens tells. Everything but `unknown` and `procedure` is one statement.
enum class TextClass : std::uint8_t {
  /// Certainly leaves the session alone: an empty text, or one SELECT, INSERT, UPDATE, DELETE, MERGE, VALUES, TABLE,
  /// SHOW, COPY, FETCH, MOVE, CLOSE, LOCK, NOTIFY, TRUNCATE, EXPLAIN of these, or a statement of transaction control, that names no
  /// function, makes no table and declares nothing. What triggers, rules, operators, casts, column defaults and
  /// functions in attribute notation (t.f) do is not seen.
  harmless,
  /// SET [SESSION] name = constants, SET TIME ZONE, NAMES, SCHEMA, and SET SESSION CHARACTERISTICS with one mode, as drivers
  /// write it; not LOCAL, TRANSACTION, ROLE or AUTHORIZATION.
  constant_set,
  /// RESET, SET ROLE, SET SESSION AUTHORIZATION, other SET SESSION CHARACTERISTICS, a call of set_config; with `set_local`
  /// what ends with the transaction (SET LOCAL, SET TRANSACTION, SET CONSTRAINTS, set_config(…, …, true)).
  set_other,
  prepare,     ///< PREPARE name AS …; PREPARE TRANSACTION is `harmless` with `transaction_word`
  deallocate,
  execute,     ///< EXECUTE name whose arguments call nothing
  listen,
  unlisten,
  discard,
  load,
  declare,     ///< DECLARE … CURSOR
  temporary,   ///< makes or names something temporary: CREATE TEMP …, SELECT INTO TEMP …, pg_temp
  procedure,   ///< CALL, DO
  unknown,     ///< anything else: function calls, DDL, several statements, what cannot be read for certain
};

struct TextScan {
  TextClass kind = TextClass::unknown;
  /// Refers to a prepared statement of SQL: the word EXECUTE or DEALLOCATE anywhere, in dollar quotes too.
  bool uses_prepared = false;
  /// A statement of the text may begin, end or divide a transaction by itself (not by way of CALL or DO). Where this is
  /// false there certainly is none; where it is true, judge_text() says which.
  bool transaction_word = false;
  /// One PREPARE TRANSACTION, COMMIT PREPARED or ROLLBACK PREPARED; false in doubt.
  bool two_phase = false;
  /// At most one statement; false in doubt.
  bool single_statement = false;
  /// set_config is named in the text, dollar quotes included, other than in calls whose last argument is TRUE.
  bool calls_set_config = false;
  /// The settings that the statement changes end with the transaction.
  bool set_local = false;
  /// Something in the text may call a function. A text of another kind than harmless for which this is true is to be
  /// judged like an unknown one, besides what its kind asks for: the body of a PREPARE (each time it is executed), the
  /// query of a DECLARE or CREATE TEMP TABLE AS.
  bool may_call = false;
  /// Hash of the text without its blanks, comments, literals and numbers, in lower case; dollar quotes count as they
  /// are. Texts of one shape call functions of the same names.
  std::uint64_t shape = 0;
};

/// Scans a text as the client sent it, in any client encoding. Never allocates; 5 to 7 ns a byte (measured).
[[nodiscard]] TextScan scan_text(std::string_view text) noexcept;

/// Name of the setting of a `constant_set` in lower case ("timezone", "app.tenant"); none when the text is not such.
[[nodiscard]] std::optional<std::string> set_target(std::string_view text);

/// The setting behind SET SESSION CHARACTERISTICS AS TRANSACTION with an isolation level or READ ONLY or READ WRITE and
/// nothing else; none for other texts.
[[nodiscard]] std::optional<std::string_view> characteristics_target(std::string_view text);

/// Name that a PREPARE, EXECUTE or DEALLOCATE is about, as the server folds it; none for DEALLOCATE ALL and others.
[[nodiscard]] std::optional<std::string> prepared_name(std::string_view text);

/// Names that the DEALLOCATE statements of a text are about, one for each in their order; an empty one for ALL.
[[nodiscard]] std::vector<std::string> deallocated_names(std::string_view text);

/// The name (as the server has it) stands in the text, dollar quotes looked into, or may stand in a literal of it.
[[nodiscard]] bool names_it(std::string_view text, std::string_view name);

/// Of a statement that makes something temporary: it ends with its transaction (ON COMMIT DROP).
[[nodiscard]] bool is_dropped_at_commit(std::string_view text);

/// Channel of a LISTEN or UNLISTEN, as the server folds it; none for UNLISTEN * and others.
[[nodiscard]] std::optional<std::string> channel_name(std::string_view text);

/// Custom settings (names with a dot) that the text may set: the names after SET, and every string literal of the form
/// name.name of a text that names set_config, dollar quotes and literals looked into. In lower case, each once.
[[nodiscard]] std::vector<std::string> dotted_settings(std::string_view text);

/// Every string literal of the form name.name, in lower case.
[[nodiscard]] std::vector<std::string> dotted_literals(std::string_view text);

/// The form name.name of a custom setting.
[[nodiscard]] bool is_dotted_name(std::string_view name);

/// What `$1` is: a value of the client's Bind, or an argument of the function whose body it stands in.
enum class ParameterOf : std::uint8_t { client, function };
/// Calls set_config, other than for the transaction, with a name that does not stand there: neither a literal nor a parameter
/// of the client's. Dollar quotes and literals are looked into.
[[nodiscard]] bool computes_setting_name(std::string_view text, ParameterOf parameters);

/// What stands in front of a parenthesis, as the server folds it, each once: functions, and what looks like one.
[[nodiscard]] std::vector<std::string> called_names(std::string_view text);

}  // namespace holdfast::postgres

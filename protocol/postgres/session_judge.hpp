// Judges at the loss whether texts of unknown effect have left the session something that another backend would not
// have: by their parse trees and by the functions that they call, whose stored bodies it asks the new backend for. Sends
// nothing itself. Does not see what triggers, rules, views, operators, casts and column defaults call.
#pragma once

#include <cstddef>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/postgres/statement_judge.hpp"

namespace holdfast::postgres {

/// One row of SessionJudge::catalog_query(), column by column.
struct CatalogFunction {
  std::string schema;
  std::string name;
  bool builtin = false;  // came with the server ("true" or "false" in the row)
  std::string language;  // "aggregate" for an aggregate, whose source names its functions
  std::string source;
};

struct SessionVerdict {
  bool restorable = false;
  /// For metrics: temporary_table, cursor, advisory_lock, sequence_value, random_seed, setting, extension_state,
  /// unconfirmed_state. Empty when restorable.
  std::string reason;
  /// For people: half a sentence that names a statement's kind or a function; never a literal or a value.
  std::string what;
};

/// Texts in, then rounds of look-ups until there is a verdict:
///
///   add_text()… → next_names() ── some ──→ run catalog_query() → on_function()… ┐
///                   ↑   └ none: verdict()                                       │
///                   └───────────────────────────────────────────────────────────┘
class SessionJudge {
 public:
  /// Functions that the operator vouches for, as `name` or `schema.name`, are not looked into.
  explicit SessionJudge(std::vector<std::string> trusted = {}, StringSyntax syntax = StringSyntax::standard);

  /// A text that was run since the last snapshot, whole.
  void add_text(std::string_view text);

  /// Ends a round of look-ups and begins the next one: the names to look up, none once there is a verdict.
  [[nodiscard]] std::vector<std::string> next_names();
  /// Takes next_names() as its one parameter of type text[]. Runs on PostgreSQL 13 and later, under any search_path.
  [[nodiscard]] static std::string_view catalog_query();
  /// The parameter in text format.
  [[nodiscard]] static std::string array_literal(const std::vector<std::string>& names);

  void on_function(const CatalogFunction& function);

  /// Valid once next_names() was empty.
  [[nodiscard]] SessionVerdict verdict() const;

 private:
  /// Where a name was found: a name of a text must be a function; in a body it may be anything before a parenthesis.
  enum class Found { text, body };

  void refuse(std::string_view reason, std::string what);
  void want(const QualifiedName& name, Found found);
  void scan_body(std::string_view body, const std::string& owner);
  [[nodiscard]] bool is_trusted(const QualifiedName& name) const;

  std::vector<std::string> trusted_;
  StringSyntax syntax_;
  std::optional<SessionVerdict> refusal_;
  std::set<QualifiedName> wanted_;    // for the next round
  std::set<QualifiedName> looking_;   // in this round
  std::set<QualifiedName> asked_;     // in this round and before
  std::set<std::string> must_exist_;  // names of texts that no row has shown yet
  std::size_t rounds_ = 0;
};

}  // namespace holdfast::postgres

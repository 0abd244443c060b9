// Reads, writes, commits: what a segment's statements are taken for.
#include "proxy/postgres/segment_effects.hpp"

#include <algorithm>
#include <functional>
#include <optional>
#include <string_view>
#include <utility>

namespace holdfast::proxy::postgres {

namespace {

std::optional<std::string_view> text_of(const pg::StatementStore& statements, pg::StatementId id) {
  if (id == pg::no_statement || !statements[id].has_text()) return std::nullopt;
  return statements[id].text();
}

bool provably_reads(const pg::StatementJudgement& statement) {
  return statement.reads_only && pg::calls_only_common_reads(statement);
}

/// One statement of data manipulation: within a transaction, never a command that commits by itself.
bool manipulates_data(const pg::TextJudgement& text) {
  return text.parsed && text.statements.size() == 1 && text.statements[0].manipulates_data;
}

}  // namespace

bool reads_alike(const Parameters& parameters) {
  if (value_of(parameters, "standard_conforming_strings") == "off") return false;
  // In these the second byte of a character can look like a quote or a backslash (PostgreSQL documentation,
  // "Character Set Support": client-side only encodings).
  for (const std::string_view encoding : {"BIG5", "GB18030", "GBK", "JOHAB", "SJIS", "SHIFT_JIS_2004", "UHC"}) {
    if (value_of(parameters, "client_encoding") == encoding) return false;
  }
  return true;
}

std::uint64_t reading_of(const Parameters& parameters) {
  const std::hash<std::string_view> hash;
  return (hash(value_of(parameters, "client_encoding")) << 1 ^ hash(value_of(parameters, "standard_conforming_strings")) << 2) | 1;
}

bool runs_under_a_name_given_since(const pg::StatementStore& statements, std::string_view text, pg::TextClass kind, std::uint64_t request) {
  const auto name = kind == pg::TextClass::execute ? pg::prepared_name(text) : std::nullopt;
  const auto named = name ? statements.find(*name) : pg::no_statement;
  return named != pg::no_statement && statements[named].born > request;
}

pg::TextJudgement judge_run(const Prepared& prepared, pg::StatementId id) {
  const auto text = text_of(prepared.statements, id);
  if (!text) return {};
  const auto& statement = prepared.statements[id];
  if (runs_under_a_name_given_since(prepared.statements, *text, statement.scan.kind, statement.born)) return {};
  return judge_run(prepared, *text, statement.scan.kind);
}

pg::TextJudgement judge_run(const Prepared& prepared, std::string_view text, pg::TextClass kind) {
  if (kind != pg::TextClass::execute) return pg::judge_text(text);
  const auto name = pg::prepared_name(text);
  if (!name) return {};
  const auto named = text_of(prepared.statements, prepared.statements.find(*name));
  return named ? pg::judge_text(*named) : pg::judge_prepared(prepared.session.prepared(*name));
}

SegmentEffects judge_segment(const Prepared& prepared, const std::vector<pg::StatementId>& executed,
                             const std::vector<pg::Request>& requests, char before) {
  SegmentEffects effects;
  char status = before;  // behind a ROLLBACK the rest of a segment stands outside a transaction: its Sync commits
  const auto add = [&](pg::StatementId id) {
    auto text = judge_run(prepared, id);
    const bool begins =
        text.statements.size() == 1 && text.statements[0].control == pg::TransactionControl::begin;
    effects.only_reads = effects.only_reads && text.parsed && std::ranges::all_of(text.statements, provably_reads);
    effects.may_commit = effects.may_commit || pg::may_commit(text, status);
    if (text.parsed) status = pg::status_after(text, status).status;
    effects.undoable = effects.undoable && (begins || manipulates_data(text));
    effects.texts.push_back(std::move(text));
  };
  for (const auto id : executed) add(id);
  for (const auto& request : requests) {
    const bool runs = request.kind == pg::RequestKind::query || request.kind == pg::RequestKind::execute ||
                      request.kind == pg::RequestKind::function_call;
    if (runs) add(request.statement);
  }
  effects.single = effects.texts.size() == 1 && effects.texts[0].parsed && effects.texts[0].statements.size() == 1;
  if (effects.single) {
    effects.only_begin = effects.texts[0].statements[0].control == pg::TransactionControl::begin;
    effects.plain_rollback = pg::is_plain_rollback(effects.texts[0]);
    effects.plain_end = effects.plain_rollback || pg::is_plain_commit(effects.texts[0]);
  }
  return effects;
}

}  // namespace holdfast::proxy::postgres

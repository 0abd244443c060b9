// The words that text_scan knows, found by an integer key instead of a comparison of strings. Knows words, no grammar.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

namespace holdfast::postgres {

enum class Word : std::uint8_t {
  none,
  update_, delete_, insert_, merge_, begin_, start_, commit_, end_, rollback_, abort_, savepoint_, release_, fetch_,
  move_, close_, show_, lock_, copy_, explain_, set_, reset_, prepare_, deallocate_, execute_, listen_, unlisten_,
  discard_, load_, declare_, create_, refresh_, call_, do_, into_, temp_, join_, conflict_, by_, group_, order_, true_,
  set_config_, pg_catalog_, local_, global_, session_, transaction_, transaction_setting_, role_, authorization_,
  session_authorization_, characteristics_, constraints_, seed_, replace_, materialized_, varying_, analyze_, verbose_,
  zone_, names_, schema_, xml_, notify_, truncate_, prepared_,
  // From here on: words after which a parenthesis can call nothing, in the grammars of PostgreSQL 13 to 18: reserved
  // words, the syntax functions that no function of a user can replace, and types that are keywords.
  grouping_, on_, or_, as_, from_, select_, values_, table_, with_, char_,
};

constexpr bool opens_group(Word word) { return word >= Word::grouping_; }

constexpr std::uint64_t mix(std::uint64_t hash, std::uint64_t value) {
  hash = (hash ^ value) * 0x9e3779b97f4a7c15ULL;
  return hash ^ (hash >> 29);
}

/// Up to eight bytes, the first one lowest. Setting bit 5 folds letters and keeps every two identifier characters apart
/// that differ otherwise ('_' becomes 0x7f, which is none).
constexpr std::uint64_t load_folded(const char* at, std::size_t size) {
  std::uint64_t out = 0;
  for (std::size_t i = 0; i < size; ++i) {
    out |= std::uint64_t{static_cast<std::uint8_t>(static_cast<std::uint8_t>(at[i]) | 0x20)} << (8 * i);
  }
  return out;
}

/// Exact for up to eight bytes, a hash for longer words.
constexpr std::uint64_t word_key(std::string_view word) {
  if (word.size() <= 8) return load_folded(word.data(), word.size());
  std::uint64_t out = word.size();
  for (std::size_t i = 0; i < word.size(); i += 8) {
    out = mix(out, load_folded(word.data() + i, word.size() - i < 8 ? word.size() - i : 8));
  }
  return out;
}

constexpr Word short_word(std::uint64_t key) {
  switch (key) {
    case word_key("select"): return Word::select_;
    case word_key("insert"): return Word::insert_;
    case word_key("update"): return Word::update_;
    case word_key("delete"): return Word::delete_;
    case word_key("merge"): return Word::merge_;
    case word_key("values"): return Word::values_;
    case word_key("table"): return Word::table_;
    case word_key("with"): return Word::with_;
    case word_key("begin"): return Word::begin_;
    case word_key("start"): return Word::start_;
    case word_key("commit"): return Word::commit_;
    case word_key("end"): return Word::end_;
    case word_key("rollback"): return Word::rollback_;
    case word_key("abort"): return Word::abort_;
    case word_key("release"): return Word::release_;
    case word_key("fetch"): return Word::fetch_;
    case word_key("move"): return Word::move_;
    case word_key("close"): return Word::close_;
    case word_key("show"): return Word::show_;
    case word_key("lock"): return Word::lock_;
    case word_key("copy"): return Word::copy_;
    case word_key("explain"): return Word::explain_;
    case word_key("set"): return Word::set_;
    case word_key("reset"): return Word::reset_;
    case word_key("prepare"): return Word::prepare_;
    case word_key("prepared"): return Word::prepared_;
    case word_key("execute"): return Word::execute_;
    case word_key("listen"): return Word::listen_;
    case word_key("unlisten"): return Word::unlisten_;
    case word_key("discard"): return Word::discard_;
    case word_key("load"): return Word::load_;
    case word_key("declare"): return Word::declare_;
    case word_key("create"): return Word::create_;
    case word_key("refresh"): return Word::refresh_;
    case word_key("call"): return Word::call_;
    case word_key("do"): return Word::do_;
    case word_key("into"): return Word::into_;
    case word_key("temp"): return Word::temp_;
    case word_key("join"): return Word::join_;
    case word_key("conflict"): return Word::conflict_;
    case word_key("by"): return Word::by_;
    case word_key("group"): return Word::group_;
    case word_key("order"): return Word::order_;
    case word_key("true"): return Word::true_;
    case word_key("local"): return Word::local_;
    case word_key("global"): return Word::global_;
    case word_key("session"): return Word::session_;
    case word_key("role"): return Word::role_;
    case word_key("seed"): return Word::seed_;
    case word_key("replace"): return Word::replace_;
    case word_key("varying"): return Word::varying_;
    case word_key("analyze"): case word_key("analyse"): return Word::analyze_;
    case word_key("verbose"): return Word::verbose_;
    case word_key("zone"): return Word::zone_;
    case word_key("names"): return Word::names_;
    case word_key("schema"): return Word::schema_;
    case word_key("notify"): return Word::notify_;
    case word_key("truncate"): return Word::truncate_;
    case word_key("xml"): return Word::xml_;
    case word_key("on"): return Word::on_;
    case word_key("or"): return Word::or_;
    case word_key("as"): return Word::as_;
    case word_key("from"): return Word::from_;
    case word_key("char"): case word_key("nchar"): case word_key("bit"): return Word::char_;
    case word_key("all"): case word_key("and"): case word_key("any"): case word_key("array"): case word_key("case"):
    case word_key("cast"): case word_key("distinct"): case word_key("else"): case word_key("except"):
    case word_key("exists"): case word_key("for"): case word_key("having"): case word_key("in"):
    case word_key("lateral"): case word_key("limit"): case word_key("not"): case word_key("offset"):
    case word_key("only"): case word_key("some"): case word_key("then"): case word_key("union"):
    case word_key("using"): case word_key("variadic"): case word_key("when"): case word_key("where"):
    case word_key("between"): case word_key("coalesce"): case word_key("greatest"): case word_key("least"):
    case word_key("nullif"): case word_key("row"): case word_key("extract"): case word_key("position"):
    case word_key("trim"): case word_key("grouping"): case word_key("dec"): case word_key("decimal"):
    case word_key("float"): case word_key("numeric"): case word_key("time"): case word_key("varchar"):
    case word_key("interval"):
      return Word::grouping_;
    default: return Word::none;
  }
}

constexpr Word long_word_candidate(std::uint64_t key, std::string_view& spelling) {
#define HOLDFAST_WORD(text, word) \
  case word_key(text): spelling = text; return Word::word;
  switch (key) {
    HOLDFAST_WORD("savepoint", savepoint_)
    HOLDFAST_WORD("deallocate", deallocate_)
    HOLDFAST_WORD("temporary", temp_)
    HOLDFAST_WORD("set_config", set_config_)
    HOLDFAST_WORD("pg_catalog", pg_catalog_)
    HOLDFAST_WORD("transaction", transaction_)
    HOLDFAST_WORD("transaction_isolation", transaction_setting_)
    HOLDFAST_WORD("transaction_read_only", transaction_setting_)
    HOLDFAST_WORD("transaction_deferrable", transaction_setting_)
    HOLDFAST_WORD("authorization", authorization_)
    HOLDFAST_WORD("session_authorization", session_authorization_)
    HOLDFAST_WORD("characteristics", characteristics_)
    HOLDFAST_WORD("constraints", constraints_)
    HOLDFAST_WORD("materialized", materialized_)
    HOLDFAST_WORD("character", char_)
    HOLDFAST_WORD("intersect", grouping_)
    HOLDFAST_WORD("returning", grouping_)
    HOLDFAST_WORD("symmetric", grouping_)
    HOLDFAST_WORD("asymmetric", grouping_)
    HOLDFAST_WORD("timestamp", grouping_)
    HOLDFAST_WORD("localtime", grouping_)
    HOLDFAST_WORD("localtimestamp", grouping_)
    HOLDFAST_WORD("current_time", grouping_)
    HOLDFAST_WORD("current_timestamp", grouping_)
    HOLDFAST_WORD("normalize", grouping_)
    default: return Word::none;
  }
#undef HOLDFAST_WORD
}

constexpr Word find_word(std::string_view text, std::uint64_t key) {
  if (text.size() <= 8) return short_word(key);
  std::string_view spelling;
  const Word word = long_word_candidate(key, spelling);
  if (word == Word::none || spelling.size() != text.size()) return Word::none;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if ((static_cast<std::uint8_t>(text[i]) | 0x20) != (static_cast<std::uint8_t>(spelling[i]) | 0x20)) {
      return Word::none;
    }
  }
  return word;
}

}  // namespace holdfast::postgres

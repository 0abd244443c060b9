// Records of a session's state as it is confirmed, and what brings it back. The snapshot that replaces them is session_snapshot.cpp's.
#include "protocol/postgres/session_state.hpp"

#include <algorithm>
#include <utility>

#include "protocol/postgres/text_lexer.hpp"

namespace holdfast::postgres {
namespace {

/// Shapes of statements whose effect is not known, kept for the judge; more than that is unconfirmed for good.
constexpr std::size_t shapes_max = 64;
constexpr std::size_t unconfirmed_text_max = 16 * 1024;  // bytes of one text
constexpr std::size_t settings_max = 1024;
constexpr std::size_t prepared_max = 4096;
constexpr std::size_t functions_max = 4096;

const Pin unnamed_setting{"setting", "a setting whose name did not stand in the statement that made it"};

/// What a snapshot cannot see: a word in a text is enough to take it as used.
struct Lasting {
  std::string_view word, reason, what;
};
constexpr Lasting lasting_words[] = {
    {"setseed", "random_seed", "a seed set by setseed()"},
    {"currval", "sequence_value", "the value that currval() remembers"},
    {"lastval", "sequence_value", "the value that lastval() remembers"},
    {"dblink", "extension_state", "a connection of dblink"},
    {"pg_replication_origin_session_setup", "extension_state", "a replication origin"},
};

/// What follows the first place of `word` (in lower case) in `text`; none where it does not stand there.
std::optional<std::string_view> behind_word(std::string_view text, std::string_view word) {
  const auto equal = [](char a, char b) { return (a >= 'A' && a <= 'Z' ? a + 32 : a) == b; };
  const auto found = std::search(text.begin(), text.end(), word.begin(), word.end(), equal);
  if (found == text.end()) return std::nullopt;
  return text.substr(static_cast<std::size_t>(found - text.begin()) + word.size());
}

bool contains_word(std::string_view text, std::string_view word) { return behind_word(text, word).has_value(); }

/// Words by which one of several statements in a text may change what a session is; a longer word may hold them too.
constexpr std::string_view changing_words[] = {"set", "reset", "listen", "temp", "declare", "discard", "prepare", "load"};

/// Takes or gives back an advisory lock of the session; those of a transaction end with it.
bool names_session_lock(std::string_view text) {
  constexpr std::string_view of_transaction = "_xact";
  for (auto rest = behind_word(text, "advisory"); rest; rest = behind_word(*rest, "advisory")) {
    if (!contains_word(rest->substr(0, of_transaction.size()), of_transaction)) return true;
  }
  return false;
}

/// SET seed, or a set_config of it: as setseed(), and no setting that could be read back.
bool sets_seed(std::string_view text, const TextScan& scan) {
  TextLexer lexer(text);
  Word before = Word::none;
  for (Token token = lexer.next(); token.kind != Token::Kind::end; token = lexer.next()) {
    if (token.word == Word::seed_ && before == Word::set_) return true;
    if (scan.calls_set_config && token.kind == Token::Kind::literal && lower(token.text) == "'seed'") return true;
    const bool goes_on = before == Word::set_ && (token.word == Word::local_ || token.word == Word::session_);
    if (!goes_on) before = token.word;
  }
  return false;
}

bool is_ascii(std::string_view text) {
  return std::ranges::none_of(text, [](char c) { return (c & 0x80) != 0; });
}

/// When a setting is brought back, where others depend on it.
enum class RestoreTime { before_load, before_others, among_others, last };

RestoreTime restore_time(std::string_view name) {
  // The others are written in the one; the other says where a LOAD looks.
  if (name == "client_encoding" || name == "dynamic_library_path") return RestoreTime::before_load;
  if (name == "search_path") return RestoreTime::before_others;  // as default_text_search_config is looked for there
  // Time limits that are meant for the client's statements.
  for (const std::string_view limit : {"statement_timeout", "lock_timeout", "transaction_timeout"}) {
    if (name == limit) return RestoreTime::last;
  }
  return RestoreTime::among_others;
}

}  // namespace

std::string quote_identifier(std::string_view name) {
  std::string out = "\"";
  for (const char c : name) {
    if (c == '"') out += '"';
    out += c;
  }
  return out + '"';
}

StateEffect SessionState::on_completed(std::string_view text, const TextScan& scan, std::string_view tag,
                                       Where where) {
  // What pins the session may just have been given back: then it is as good as any other again.
  const bool gives_back = tag.starts_with("CLOSE") || tag.starts_with("DROP") || tag.starts_with("DISCARD") ||
                          tag.starts_with("DEALLOCATE");
  const bool free = gives_back && !pins_.empty();
  if (scan.kind == TextClass::harmless) return free ? StateEffect::snapshot_now : StateEffect::none;
  if (scan.calls_set_config || scan.kind == TextClass::constant_set || (scan.kind == TextClass::set_other && !scan.set_local) ||
      scan.kind == TextClass::unknown || scan.kind == TextClass::procedure) {
    note_settings(text, scan);
  }
  if (scan.set_local && !scan.calls_set_config) note_local_settings(text);
  if ((tag == "SET" || scan.calls_set_config) && !lasting_pin_ && contains_word(text, "seed") && sets_seed(text, scan)) {
    lasting_pin_ = Pin{"random_seed", "a seed that was set"};
  }
  if (tag == "LOAD") note_loads(text);
  const auto effect = apply(text, scan, tag, where);
  return free && !pins_.empty() ? StateEffect::snapshot_now : effect;
}

StateEffect SessionState::apply(std::string_view text, const TextScan& scan, std::string_view tag, Where where) {
  const bool known = scan.kind != TextClass::unknown && scan.kind != TextClass::procedure;
  if (scan.may_call && known) remember(text, scan);
  // A PREPARE runs nothing yet: its EXECUTE does.
  if (scan.calls_set_config && scan.kind != TextClass::prepare) return StateEffect::snapshot_now;
  switch (scan.kind) {
    case TextClass::constant_set: {
      if (tag != "SET") return StateEffect::none;
      auto name = set_target(text);
      if (name == "client_encoding" && holds_other_than_ascii()) return StateEffect::snapshot_now;  // it is written in another
      if (where == Where::in_transaction || !name || settings_.size() >= settings_max) return StateEffect::snapshot_now;
      settings_[*name] = Setting{std::string(text), true};
      return StateEffect::none;
    }
    case TextClass::set_other: return scan.set_local ? StateEffect::none : StateEffect::snapshot_now;
    case TextClass::listen:
      if (auto name = channel_name(text); name && where == Where::outside_transaction) {
        channels_.insert(std::move(*name));
        return StateEffect::none;
      }
      return StateEffect::snapshot_now;
    case TextClass::unlisten: return StateEffect::snapshot_now;
    case TextClass::prepare:
      if (auto name = prepared_name(text); name && tag == "PREPARE" && prepared_.size() < prepared_max) {
        prepared_[*name] = std::string(text);
        return StateEffect::none;
      }
      return StateEffect::snapshot_now;
    case TextClass::deallocate:
      if (tag == "DEALLOCATE ALL") {
        prepared_.clear();
      } else if (auto name = prepared_name(text)) {
        prepared_.erase(*name);
      }
      return StateEffect::none;
    case TextClass::discard:
      if (tag == "DISCARD ALL") {
        forget_all();
        return StateEffect::none;
      }
      return StateEffect::snapshot_when_idle;
    case TextClass::load: return StateEffect::none;
    case TextClass::temporary:
      if (where == Where::in_transaction && scan.single_statement && is_dropped_at_commit(text)) return StateEffect::snapshot_when_idle;
      pins_.push_back({"temporary_table", "a temporary table"});
      // Whether it outlives its transaction only the server knows.
      return where == Where::in_transaction ? StateEffect::snapshot_now : StateEffect::snapshot_when_idle;
    case TextClass::declare:
      if (!contains_word(text, "hold")) return StateEffect::snapshot_when_idle;
      pins_.push_back({"cursor", "a cursor WITH HOLD"});
      return StateEffect::snapshot_now;
    case TextClass::execute: return on_executed(text);
    default: break;
  }
  remember(text, scan);
  const auto named = [text](std::string_view word) { return contains_word(text, word); };
  const bool several = !scan.single_statement && std::ranges::any_of(changing_words, named);
  return several || names_session_lock(text) ? StateEffect::snapshot_judged : StateEffect::snapshot_when_idle;
}

bool SessionState::holds_other_than_ascii() const {
  const auto other = [](const std::string& text) { return !is_ascii(text); };
  const auto value = [&](const auto& setting) { return other(setting.second.text); };
  const auto either = [&](const auto& named) { return other(named.first) || other(named.second); };
  return std::ranges::any_of(settings_, value) || std::ranges::any_of(channels_, other) || std::ranges::any_of(prepared_, either) ||
         other(role_) || other(authorization_);
}

/// Of custom settings the server tells only by their names.
void SessionState::note_settings(std::string_view text, const TextScan& scan) {
  for (const auto& name : dotted_settings(text)) note_setting_name(name);
  if (scan.calls_set_config && !lasting_pin_ && computes_setting_name(text, ParameterOf::client)) lasting_pin_ = unnamed_setting;
}

/// The server knows a custom setting for as long as the session lasts, though its value ends with the transaction. What it
/// is then, a snapshot tells.
void SessionState::note_local_settings(std::string_view text) {
  for (const auto& name : dotted_settings(text)) {
    if (settings_.contains(name) || dotted_.contains(name)) continue;
    note_setting_name(name);
    snapshot_wanted_ = true;
  }
}

/// What a snapshot does not tell of: each library once, in the order in which they were loaded.
void SessionState::note_loads(std::string_view text) {
  TextLexer lexer(text);
  bool begins = true;
  for (Token token = lexer.next(); token.kind != Token::Kind::end;) {
    const bool loads = begins && token.word == Word::load_;
    begins = token.kind == Token::Kind::semicolon;
    token = lexer.next();
    if (!loads || token.kind != Token::Kind::literal) continue;
    auto load = "LOAD " + std::string(token.text);
    if (std::ranges::find(loads_, load) == loads_.end()) loads_.push_back(std::move(load));
  }
}

void SessionState::note_setting_name(std::string_view name) {
  if (!is_dotted_name(name)) return;
  if (dotted_.size() < settings_max) {
    dotted_.insert(lower(name));
  } else if (!lasting_pin_) {
    lasting_pin_ = Pin{"setting", "more custom settings than can be kept"};
  }
}

void SessionState::want_bodies(std::string_view text) {
  for (auto& name : called_names(text)) {
    if (looked_.contains(name) || looking_.contains(name)) continue;
    if (looked_.size() + looking_.size() + wanted_.size() >= functions_max) {
      if (!lasting_pin_) lasting_pin_ = Pin{"unconfirmed_state", "more functions than can be looked into"};
      return;
    }
    wanted_.insert(std::move(name));
  }
}

void SessionState::on_body(std::string_view function, std::string_view body) {
  for (auto& name : dotted_settings(body)) body_settings_.insert(std::move(name));
  want_bodies(body);
  if (!lasting_pin_ && computes_setting_name(body, ParameterOf::function)) {
    lasting_pin_ = Pin{"setting", "a setting that the function " + std::string(function) + "() may have made, under a name that it is given"};
  }
}

StateEffect SessionState::on_executed(std::string_view text) {
  const auto name = prepared_name(text);
  const auto found = name ? prepared_.find(*name) : prepared_.end();
  if (found == prepared_.end()) return on_completed_without_text();
  const auto scan = scan_text(found->second);
  note_settings(found->second, scan);
  if (scan.calls_set_config) {
    for (const auto& given : dotted_literals(text)) note_setting_name(given);
  }
  if (scan.may_call) remember(found->second, scan);
  if (scan.calls_set_config) return StateEffect::snapshot_now;
  if (!scan.may_call) return StateEffect::none;
  return names_session_lock(found->second) ? StateEffect::snapshot_judged : StateEffect::snapshot_when_idle;
}

void SessionState::remember(std::string_view text, const TextScan& scan) {
  if (!lasting_pin_) {
    for (const auto& lasting : lasting_words) {
      if (contains_word(text, lasting.word)) {
        lasting_pin_ = Pin{std::string(lasting.reason), std::string(lasting.what)};
      }
    }
  }
  snapshot_wanted_ = true;
  if (shapes_.contains(scan.shape)) return;
  want_bodies(text);
  if (shapes_.size() >= shapes_max || text.size() > unconfirmed_text_max) {
    overflowed_ = true;
    return;
  }
  shapes_.insert(scan.shape);
  unconfirmed_.emplace_back(text);
}

StateEffect SessionState::on_completed_without_text() {
  overflowed_ = true;
  snapshot_wanted_ = true;
  return StateEffect::snapshot_when_idle;
}

std::vector<RestoreItem> SessionState::restore_items() const {
  std::vector<RestoreItem> items;
  const auto set_config = [&](RestoreItem::Kind kind, const std::string& name, const std::string& value) {
    items.push_back({kind, name, "SELECT pg_catalog.set_config($1, $2, false)", {name, value}});
  };
  const auto add_setting = [&](const std::string& name, const Setting& setting) {
    if (setting.is_statement) {
      items.push_back({RestoreItem::Kind::setting, name, setting.text, {}});
    } else {
      set_config(RestoreItem::Kind::setting, name, setting.text);
    }
  };
  const auto add_settings_of = [&](RestoreTime time) {
    for (const auto& [name, setting] : settings_) {
      if (restore_time(name) == time) add_setting(name, setting);
    }
  };
  add_settings_of(RestoreTime::before_load);
  for (const auto& text : loads_) items.push_back({RestoreItem::Kind::load, "LOAD", text, {}});
  add_settings_of(RestoreTime::before_others);
  add_settings_of(RestoreTime::among_others);
  for (const auto& [name, text] : prepared_) items.push_back({RestoreItem::Kind::prepared, name, text, {}});
  for (const auto& name : channels_) {
    items.push_back({RestoreItem::Kind::channel, name, "LISTEN " + quote_identifier(name), {}});
  }
  if (!authorization_.empty()) set_config(RestoreItem::Kind::identity, "session_authorization", authorization_);
  if (!role_.empty()) set_config(RestoreItem::Kind::identity, "role", role_);
  // As whom each was prepared is not known: what the login may not see is prepared as the role, and what is there already fails.
  if (!authorization_.empty() || (!role_.empty() && role_ != "none")) {
    for (const auto& [name, text] : prepared_) items.push_back({RestoreItem::Kind::prepared, name, text, {}});
  }
  add_settings_of(RestoreTime::last);
  return items;
}

std::optional<Pin> SessionState::pin() const {
  if (life_pin_) return life_pin_;
  if (!pins_.empty()) return pins_.front();
  if (lasting_pin_) return lasting_pin_;
  if (overflowed_) {
    return Pin{"unconfirmed_state", "what statements since the last snapshot of the session may have changed"};
  }
  return std::nullopt;
}

void SessionState::forget_pins() {
  pins_.clear();
  lasting_pin_.reset();
  overflowed_ = false;
  unconfirmed_.clear();
  shapes_.clear();
}

void SessionState::forget_all() {
  SessionState fresh(std::move(login_));
  fresh.life_pin_ = std::move(life_pin_);
  *this = std::move(fresh);
}

}  // namespace holdfast::postgres

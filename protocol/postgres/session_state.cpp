// Records of a session's state, and the snapshot that replaces them.
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

bool is_ascii(std::string_view text) {
  return std::ranges::none_of(text, [](char c) { return (c & 0x80) != 0; });
}

std::string quote_element(std::string_view element) {
  std::string out = "\"";
  for (const char c : element) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + '"';
}

std::string array_literal(const std::set<std::string>& elements) {
  std::string out = "{";
  for (const auto& element : elements) {
    if (out.size() > 1) out += ',';
    out += quote_element(element);
  }
  return out + '}';
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
      const auto written_in_another = [](const auto& each) { return each.second.is_statement && !is_ascii(each.second.text); };
      if (name == "client_encoding" && std::ranges::any_of(settings_, written_in_another)) return StateEffect::snapshot_now;
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
    case TextClass::load: loads_.emplace_back(text); return StateEffect::none;
    case TextClass::temporary:
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

/// Of custom settings the server tells only by their names.
void SessionState::note_settings(std::string_view text, const TextScan& scan) {
  for (const auto& name : dotted_settings(text)) note_setting_name(name);
  if (scan.calls_set_config && !lasting_pin_ && computes_setting_name(text, ParameterOf::client)) lasting_pin_ = unnamed_setting;
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

// Every name is qualified and every operator is written out, so that the client's search_path does not matter.
std::string_view SessionState::snapshot_query() {
  return "SELECT 'setting'::pg_catalog.text, name, setting FROM pg_catalog.pg_settings"
         " WHERE source OPERATOR(pg_catalog.=) 'session'"
         " UNION ALL SELECT 'channel', c, '' FROM pg_catalog.pg_listening_channels() AS c"
         " UNION ALL SELECT 'cursor', name, '' FROM pg_catalog.pg_cursors WHERE is_holdable"
         " UNION ALL SELECT 'lock', '', '' FROM pg_catalog.pg_locks WHERE locktype OPERATOR(pg_catalog.=) 'advisory'"
         " AND pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()"
         " UNION ALL SELECT 'temporary', relname::pg_catalog.text, '' FROM pg_catalog.pg_class"
         " WHERE relnamespace OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema()"
         " AND relkind OPERATOR(pg_catalog.<>) 'i'"
         " UNION ALL SELECT 'temporary object', pg_catalog.regexp_replace(pg_catalog.pg_describe_object(classid, objid, objsubid),"
         " '[^[:ascii:]]', '_', 'g'), '' FROM pg_catalog.pg_depend"
         " WHERE refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_namespace'::pg_catalog.regclass::pg_catalog.oid"
         " AND refobjid OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema()"
         " AND classid OPERATOR(pg_catalog.<>) 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid"
         " UNION ALL SELECT 'prepared', name, statement FROM pg_catalog.pg_prepared_statements WHERE from_sql"
         " UNION ALL SELECT 'role', '', pg_catalog.current_setting('role')"
         " UNION ALL SELECT 'authorization', '', pg_catalog.current_setting('session_authorization')"
         " UNION ALL SELECT 'dotted', n, pg_catalog.current_setting(n, true)"
         " FROM pg_catalog.unnest($1::pg_catalog.text[]) AS n"
         " WHERE pg_catalog.current_setting(n, true) IS NOT NULL"
         // One that an extension has declared is among the settings, if it was set here.
         " AND n OPERATOR(pg_catalog.<>) ALL (ARRAY(SELECT pg_catalog.lower(name) FROM pg_catalog.pg_settings))"
         // An SQL body in the form of the standard (version 14) is not in prosrc. The client's encoding may not have all that is in it.
         " UNION ALL SELECT 'body', p.proname::pg_catalog.text, CASE WHEN pg_catalog.current_setting('client_encoding')"
         " OPERATOR(pg_catalog.=) ANY (ARRAY['UTF8', 'SQL_ASCII', pg_catalog.current_setting('server_encoding')]) THEN b.body"
         " ELSE pg_catalog.regexp_replace(b.body, '[^[:ascii:]]', '_', 'g') END FROM pg_catalog.pg_proc p, pg_catalog.pg_language l,"
         " LATERAL (SELECT CASE WHEN p.prosrc OPERATOR(pg_catalog.=) ''::pg_catalog.text THEN pg_catalog.pg_get_functiondef(p.oid)"
         " ELSE p.prosrc END) AS b(body) WHERE p.proname OPERATOR(pg_catalog.=) ANY ($2::pg_catalog.name[]) AND l.oid OPERATOR(pg_catalog.=) p.prolang"
         " AND p.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid AND p.prokind OPERATOR(pg_catalog.<>) 'a'::pg_catalog.\"char\""
         " AND l.lanname OPERATOR(pg_catalog.<>) ALL (ARRAY['c', 'internal']::pg_catalog.name[])";
}

std::string SessionState::dotted_names() const {
  auto all = dotted_;
  all.insert(body_settings_.begin(), body_settings_.end());
  return array_literal(all);
}

std::string SessionState::wanted_functions() const { return array_literal(looking_); }

void SessionState::begin_snapshot() {
  snapshot_ = Snapshot{};
  snapshot_wanted_ = snapshot_incomplete_ = false;
  asked_ = dotted_;
  looking_.merge(wanted_);
  wanted_.clear();
  settings_asked_ = body_settings_.size();
}

void SessionState::on_snapshot_row(std::string_view kind, std::string_view name, std::string_view value) {
  if (kind == "setting" || kind == "dotted") {
    snapshot_.settings[std::string(name)] = Setting{std::string(value), false};
  } else if (kind == "channel") {
    snapshot_.channels.emplace(name);
  } else if (kind == "cursor") {
    snapshot_.pins.push_back({"cursor", "the cursor WITH HOLD \"" + std::string(name) + '"'});
  } else if (kind == "lock") {
    snapshot_.pins.push_back({"advisory_lock", "a session advisory lock"});
  } else if (kind == "temporary") {
    snapshot_.pins.push_back({"temporary_table", "the temporary relation \"" + std::string(name) + '"'});
  } else if (kind == "temporary object") {
    snapshot_.pins.push_back({"temporary_table", "the temporary " + std::string(name)});
  } else if (kind == "body") {
    on_body(name, value);
  } else if (kind == "prepared") {
    snapshot_.prepared.insert_or_assign(std::string(name), std::string(value));
  } else if (kind == "role") {
    snapshot_.role = value;
  } else if (kind == "authorization") {
    if (value != login_) snapshot_.authorization = value;
  }
}

void SessionState::end_snapshot() {
  settings_ = std::move(snapshot_.settings);
  channels_ = std::move(snapshot_.channels);
  role_ = std::move(snapshot_.role);
  authorization_ = std::move(snapshot_.authorization);
  pins_ = std::move(snapshot_.pins);
  take_prepared();
  take_names();
  if (snapshot_incomplete_) return;
  unconfirmed_.clear();
  shapes_.clear();
  overflowed_ = false;
}

/// A name that was asked for in vain is not kept; one of a function's body is, for that is not looked into again.
void SessionState::take_names() {
  for (const auto& name : asked_) {
    if (!settings_.contains(name)) dotted_.erase(name);
  }
  asked_.clear();
  looked_.merge(looking_);
  looking_.clear();
  snapshot_incomplete_ = !wanted_.empty() || body_settings_.size() > settings_asked_;
}

/// The server shows the whole text that a PREPARE stood in: with others in it, it cannot be run again.
void SessionState::take_prepared() {
  prepared_ = std::move(snapshot_.prepared);
  for (const auto& [name, text] : prepared_) {
    if (scan_text(text).kind == TextClass::prepare && prepared_name(text) == name) continue;
    pins_.push_back({"unconfirmed_state", "the prepared statement \"" + name + "\", which a longer text made"});
  }
}

std::vector<RestoreItem> SessionState::restore_items() const {
  std::vector<RestoreItem> items;
  const auto set_config = [&](RestoreItem::Kind kind, const std::string& name, const std::string& value) {
    items.push_back({kind, name, "SELECT pg_catalog.set_config($1, $2, false)", {name, value}});
  };
  for (const auto& text : loads_) items.push_back({RestoreItem::Kind::load, "LOAD", text, {}});
  const auto add_setting = [&](const std::string& name, const Setting& setting) {
    if (setting.is_statement) {
      items.push_back({RestoreItem::Kind::setting, name, setting.text, {}});
    } else {
      set_config(RestoreItem::Kind::setting, name, setting.text);
    }
  };
  // The others are written in it.
  const auto encoding = settings_.find("client_encoding");
  if (encoding != settings_.end()) add_setting(encoding->first, encoding->second);
  for (const auto& [name, setting] : settings_) {
    if (name != "client_encoding") add_setting(name, setting);
  }
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

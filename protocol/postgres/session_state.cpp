// Records of a session's state, and the snapshot that replaces them.
#include "protocol/postgres/session_state.hpp"

#include <algorithm>
#include <utility>

namespace holdfast::postgres {
namespace {

/// Shapes of statements whose effect is not known, kept for the judge; more than that is unconfirmed for good.
constexpr std::size_t shapes_max = 64;
constexpr std::size_t unconfirmed_text_max = 16 * 1024;  // bytes of one text
constexpr std::size_t settings_max = 1024;
constexpr std::size_t prepared_max = 4096;

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

std::string quote_element(std::string_view element) {
  std::string out = "\"";
  for (const char c : element) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + '"';
}

std::string quote_identifier(std::string_view name) {
  std::string out = "\"";
  for (const char c : name) {
    if (c == '"') out += '"';
    out += c;
  }
  return out + '"';
}

}  // namespace

StateEffect SessionState::on_completed(std::string_view text, const TextScan& scan, std::string_view tag,
                                       Where where) {
  // What pins the session may just have been given back: then it is as good as any other again.
  const bool gives_back = tag.starts_with("CLOSE") || tag.starts_with("DROP") || tag.starts_with("DISCARD");
  const bool free = gives_back && !pins_.empty();
  if (scan.kind == TextClass::harmless) return free ? StateEffect::snapshot_now : StateEffect::none;
  if (dotted_.size() < settings_max && (scan.calls_set_config || scan.kind == TextClass::constant_set ||
                                        (scan.kind == TextClass::set_other && !scan.set_local) ||
                                        scan.kind == TextClass::unknown || scan.kind == TextClass::procedure)) {
    for (auto& name : dotted_settings(text)) dotted_.insert(std::move(name));
  }
  const auto effect = apply(text, scan, tag, where);
  return free && !pins_.empty() ? StateEffect::snapshot_now : effect;
}

StateEffect SessionState::apply(std::string_view text, const TextScan& scan, std::string_view tag, Where where) {
  const bool known = scan.kind != TextClass::unknown && scan.kind != TextClass::procedure;
  if (scan.may_call && known) remember(text, scan);
  if (scan.calls_set_config) return StateEffect::snapshot_now;
  switch (scan.kind) {
    case TextClass::constant_set: {
      if (tag != "SET") return StateEffect::none;
      auto name = set_target(text);
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
    case TextClass::execute: return StateEffect::none;  // what it runs was judged as it was prepared: no utility
    default: break;
  }
  remember(text, scan);
  const auto named = [text](std::string_view word) { return contains_word(text, word); };
  const bool several = !scan.single_statement && std::ranges::any_of(changing_words, named);
  return several || names_session_lock(text) ? StateEffect::snapshot_judged : StateEffect::snapshot_when_idle;
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
         " UNION ALL SELECT 'role', '', pg_catalog.current_setting('role')"
         " UNION ALL SELECT 'authorization', '', pg_catalog.current_setting('session_authorization')"
         " UNION ALL SELECT 'dotted', n, pg_catalog.current_setting(n, true)"
         " FROM pg_catalog.unnest($1::pg_catalog.text[]) AS n"
         " WHERE pg_catalog.current_setting(n, true) IS NOT NULL";
}

std::string SessionState::dotted_names() const {
  std::string out = "{";
  for (const auto& name : dotted_) {
    if (out.size() > 1) out += ',';
    out += quote_element(name);
  }
  return out + '}';
}

void SessionState::begin_snapshot() {
  snapshot_ = Snapshot{};
  snapshot_wanted_ = false;
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
  } else if (kind == "role") {
    if (value != "none") snapshot_.role = value;
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
  unconfirmed_.clear();
  shapes_.clear();
  overflowed_ = false;
}

std::vector<RestoreItem> SessionState::restore_items() const {
  std::vector<RestoreItem> items;
  const auto set_config = [&](RestoreItem::Kind kind, const std::string& name, const std::string& value) {
    items.push_back({kind, name, "SELECT pg_catalog.set_config($1, $2, false)", {name, value}});
  };
  for (const auto& text : loads_) items.push_back({RestoreItem::Kind::load, "LOAD", text, {}});
  for (const auto& [name, setting] : settings_) {
    if (setting.is_statement) {
      items.push_back({RestoreItem::Kind::setting, name, setting.text, {}});
    } else {
      set_config(RestoreItem::Kind::setting, name, setting.text);
    }
  }
  for (const auto& [name, text] : prepared_) items.push_back({RestoreItem::Kind::prepared, name, text, {}});
  for (const auto& name : channels_) {
    items.push_back({RestoreItem::Kind::channel, name, "LISTEN " + quote_identifier(name), {}});
  }
  if (!authorization_.empty()) set_config(RestoreItem::Kind::identity, "session_authorization", authorization_);
  if (!role_.empty()) set_config(RestoreItem::Kind::identity, "role", role_);
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

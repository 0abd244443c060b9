// The look at a session that its server takes for us: what is asked, and what replaces the records.
#include <algorithm>
#include <utility>

#include "protocol/postgres/session_state.hpp"

namespace holdfast::postgres {
namespace {

// Every name is qualified and every operator is written out, so that the client's search_path does not matter.

constexpr std::string_view of_session =
    "SELECT 'setting'::pg_catalog.text, name, setting FROM pg_catalog.pg_settings"
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
    " UNION ALL SELECT 'role', pg_catalog.pg_has_role('pg_read_all_settings', 'USAGE')::pg_catalog.text, pg_catalog.current_setting('role')"
    " UNION ALL SELECT 'authorization', '', pg_catalog.current_setting('session_authorization')"
    " UNION ALL SELECT 'dotted', n, pg_catalog.current_setting(n, true)"
    " FROM pg_catalog.unnest($1::pg_catalog.text[]) AS n"
    " WHERE pg_catalog.current_setting(n, true) IS NOT NULL"
    // One that an extension has declared is among the settings, if it was set here.
    " AND n OPERATOR(pg_catalog.<>) ALL (ARRAY(SELECT pg_catalog.lower(name) FROM pg_catalog.pg_settings))";

// An SQL body in the form of the standard (version 14) is not in prosrc. The client's encoding may not have all that is in it.
// Not asked without need: there are servers on which not everybody may read pg_proc.
constexpr std::string_view of_functions =
    " UNION ALL SELECT 'body', p.proname::pg_catalog.text, CASE WHEN pg_catalog.current_setting('client_encoding')"
    " OPERATOR(pg_catalog.=) ANY (ARRAY['UTF8', 'SQL_ASCII', pg_catalog.current_setting('server_encoding')]) THEN b.body"
    " ELSE pg_catalog.regexp_replace(b.body, '[^[:ascii:]]', '_', 'g') END FROM pg_catalog.pg_proc p, pg_catalog.pg_language l,"
    " LATERAL (SELECT CASE WHEN p.prosrc OPERATOR(pg_catalog.=) ''::pg_catalog.text THEN pg_catalog.pg_get_functiondef(p.oid)"
    " ELSE p.prosrc END) AS b(body) WHERE p.proname OPERATOR(pg_catalog.=) ANY ($2::pg_catalog.name[]) AND l.oid OPERATOR(pg_catalog.=) p.prolang"
    " AND p.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid AND p.prokind OPERATOR(pg_catalog.<>) 'a'::pg_catalog.\"char\""
    " AND l.lanname OPERATOR(pg_catalog.<>) ALL (ARRAY['c', 'internal']::pg_catalog.name[])";

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

/// pg_settings shows it to the members of pg_read_all_settings alone (GUC_SUPERUSER_ONLY, of those that a session can change).
bool is_hidden(std::string_view name) { return name == "dynamic_library_path"; }

}  // namespace

std::string SessionState::snapshot_query() const {
  return std::string(of_session) += looking_.empty() ? std::string_view() : of_functions;
}

std::vector<std::string> SessionState::snapshot_parameters() const {
  if (looking_.empty()) return {dotted_names()};
  return {dotted_names(), wanted_functions()};
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
    snapshot_.sees_all = name != "false";
  } else if (kind == "authorization") {
    if (value != login_) snapshot_.authorization = value;
  }
}

void SessionState::end_snapshot() {
  for (const auto& [name, setting] : settings_) {
    if (!snapshot_.sees_all && is_hidden(name)) snapshot_.settings.try_emplace(name, setting);
  }
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

}  // namespace holdfast::postgres

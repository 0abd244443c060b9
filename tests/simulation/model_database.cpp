// The few statements that the model knows, and the two protocols around them.
#include "tests/simulation/model_database.hpp"

#include <gtest/gtest.h>

#include <charconv>
#include <utility>

#include "tests/unit/proxy/session_script.hpp"

namespace holdfast::simulation {

namespace pg = holdfast::postgres;
namespace say = holdfast::proxy::postgres::test;

namespace {

int number_after(std::string_view text, std::string_view sign) {
  const auto at = text.find(sign);
  int value = -1;
  if (at == std::string_view::npos) return value;
  std::from_chars(text.data() + at + sign.size(), text.data() + text.size(), value);
  return value;
}

std::string trimmed(std::string_view text) {
  const auto start = text.find_first_not_of(" \n");
  return start == std::string_view::npos ? std::string() : std::string(text.substr(start));
}

std::string global_id_in(std::string_view text) {
  const auto start = text.find('\'');
  return start == std::string_view::npos ? std::string() : std::string(text.substr(start + 1, text.rfind('\'') - start - 1));
}

}  // namespace

bool ModelBackend::has_message() const {
  pg::Header header;
  return pg::read_header(in_, header) == pg::HeaderResult::complete && in_.size() >= header.size;
}

ModelBackend::Did ModelBackend::run_message(std::string& out) {
  pg::Header header;
  EXPECT_EQ(pg::read_header(in_, header), pg::HeaderResult::complete);
  const std::string body = in_.substr(pg::header_size, header.size - pg::header_size);
  in_.erase(0, header.size);
  const auto rows = database_.rows.size();
  const auto prepared = database_.prepared.size();
  const bool skipped = skip_;
  if (copying_) {
    on_copy_message(header.type, body, unflushed_);
  } else if (!skip_ || header.type == 'S') {
    on_message(header.type, body, unflushed_);
  }
  const bool waits = header.type == 'P' || header.type == 'B' || header.type == 'D' || header.type == 'E' || header.type == 'C';
  if (!waits || copying_ || (skip_ && !skipped)) out += std::exchange(unflushed_, {});
  return database_.rows.size() > rows || database_.prepared.size() != prepared ? Did::commit : Did::something;
}

bool ModelBackend::commits_unheard() {
  std::string unheard;
  return has_message() && run_message(unheard) == Did::commit;
}

void ModelBackend::die(std::string_view severity, std::string_view code, std::string& out) {
  out += std::exchange(unflushed_, {});
  out += severity == "WARNING" ? say::notice(severity, code, "the server is going") : say::error(code, severity);
  roll_back();
  in_.clear();
}

void ModelBackend::on_message(char type, std::string_view body, std::string& out) {
  pg::Reader reader(body);
  switch (type) {
    case 'Q': return query(reader.cstring(), out);
    case 'P': return on_parse(body, out);
    case 'B': return on_bind(body, out);
    case 'D': {
      const bool statement = reader.u8() == 'S';
      const std::string name(reader.cstring());
      if (statement && !prepared_.contains(name)) return fail("26000", out);
      if (statement) out += say::message('t', std::string_view("\0\0", 2));
      out += say::no_data;
      return;
    }
    case 'E': {
      const std::string name(reader.cstring());
      if (!portals_.contains(name)) return fail("34000", out);
      const auto portal = portals_[name];
      parameters_ = portal.parameters;
      run(portal.text, false, out);
      return;
    }
    case 'C':
      if (reader.u8() == 'S') prepared_.erase(std::string(reader.cstring()));
      out += say::closed;
      return;
    case 'S':
      skip_ = false;
      if (status_ == 'I') commit();
      portals_.clear();
      out += say::ready(status_);
      return;
    case 'X':
    case 'H':
    case 'd':
    case 'c':
    case 'f': return;
    default: ADD_FAILURE() << "the server got a message of type " << type;
  }
}

void ModelBackend::on_copy_message(char type, std::string_view body, std::string& out) {
  if (type == 'd') copied_.push_back(number_after(body, ""));
  if (type != 'c' && type != 'f') return;
  copying_ = false;
  if (type == 'f') {
    fail("57014", out);
    skip_ = !simple_copy_;
  } else {
    pending_.insert(pending_.end(), copied_.begin(), copied_.end());
    out += say::complete("COPY " + std::to_string(copied_.size()));
    if (simple_copy_ && status_ == 'I') commit();
  }
  copied_.clear();
  if (simple_copy_) out += say::ready(status_);
}

void ModelBackend::on_parse(std::string_view body, std::string& out) {
  pg::Reader reader(body);
  const std::string name(reader.cstring()), text(reader.cstring());
  if (!name.empty() && prepared_.contains(name)) return fail("42P05", out);
  if (status_ == 'E' && !text.starts_with("COMMIT") && !text.starts_with("ROLLBACK") && !text.starts_with("PREPARE TR")) return fail("25P02", out);
  prepared_[name] = {text};
  out += say::parsed;
}

void ModelBackend::on_bind(std::string_view body, std::string& out) {
  pg::Reader reader(body);
  const std::string portal(reader.cstring()), name(reader.cstring());
  if (!prepared_.contains(name)) return fail("26000", out);
  Portal bound{prepared_[name].text, {}};
  for (int formats = reader.i16(); formats > 0; --formats) static_cast<void>(reader.i16());
  for (int values = reader.i16(); values > 0; --values) {
    const auto size = reader.i32();
    bound.parameters.emplace_back(reader.take(static_cast<std::size_t>(size)));
  }
  portals_[portal] = std::move(bound);
  out += say::bound;
}

void ModelBackend::query(std::string_view text, std::string& out) {
  parameters_.clear();
  prepared_.erase("");
  while (!text.empty()) {
    const auto end = text.find(';');
    const auto one = trimmed(text.substr(0, end));
    text = end == std::string_view::npos ? std::string_view{} : text.substr(end + 1);
    if (one.empty()) continue;
    if (!run(one, true, out)) break;
    if (copying_) return;
  }
  skip_ = false;
  if (status_ == 'I') commit();
  out += say::ready(status_);
}

/// One statement; false when it failed.
bool ModelBackend::run(std::string_view text, bool simple, std::string& out) {
  const auto is = [&](std::string_view start) { return text.starts_with(start); };
  const bool ends_prepared = is("COMMIT PREPARED") || is("ROLLBACK PREPARED");
  if (ends_prepared && status_ != 'E') return end_prepared(global_id_in(text), is("COMMIT"), out);
  if (is("PREPARE TRANSACTION")) return prepare_transaction(global_id_in(text), out);
  if (is("ROLLBACK TO")) return save_or_go_back(true, out);
  if (!ends_prepared && (is("COMMIT") || is("ROLLBACK"))) return end_transaction(text, out);
  if (status_ == 'E') {
    fail("25P02", out);
    return false;
  }
  const auto row = [&](const std::string& value) {
    if (simple) out += say::message('T', std::string_view("\0\0", 2));
    out += say::row({value});
  };
  const auto answer = [&](const std::vector<std::string>& columns) {
    if (!columns.empty()) out += say::row(columns);
    out += say::complete("SELECT 1");
  };
  if (is("BEGIN")) {
    status_ = 'T';
    out += say::complete("BEGIN");
  } else if (is("INSERT")) {
    pending_.push_back(parameters_.empty() ? number_after(text, "VALUES (") : number_after(parameters_[0], ""));
    out += say::complete("INSERT 0 1");
  } else if (is("SELECT holdfast.record")) {
    if (!record(out)) return false;
    row("t");
    out += say::complete("SELECT 1");
  } else if (is("SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN NULL")) {
    answer({std::to_string(transaction()), ""});
  } else if (is("SELECT (pg_catalog.pg_snapshot_xmax")) {
    answer(look_for_prepared());
  } else if (is("SELECT CASE WHEN pg_catalog.pg_is_in_recovery()")) {
    answer({parameters_.size() == 2 ? was_prepared() : was_ended()});
  } else if (is("SELECT CASE")) {
    row(fence());
    out += say::complete("SELECT 1");
  } else if (is("SELECT holdfast.")) {
    row("");  // what is forgotten: nothing of it shows
    out += say::complete("SELECT 1");
  } else if (is("SELECT 'setting'")) {
    snapshot(out);
  } else if (is("SELECT pg_catalog.set_config")) {
    if (parameters_.at(0) == "statement_timeout") setting_ = parameters_.at(1);
    row(setting_);
    out += say::complete("SELECT 1");
  } else if (is("SELECT rows")) {
    const auto count = std::to_string(database_.rows.size());
    reads_ += count + ' ';
    row(count);
    out += say::complete("SELECT 1");
  } else if (is("SELECT 1/0")) {
    fail("22012", out);
    return false;
  } else if (is("SAVEPOINT")) {
    return save_or_go_back(false, out);
  } else if (is("LOCK")) {
    if (++database_.locks % 2 == 1) {
      fail("55P03", out);
      return false;
    }
    out += say::complete("LOCK TABLE");
  } else if (is("SELECT")) {
    row(std::to_string(number_after(text, "SELECT ")));
    out += say::complete("SELECT 1");
  } else if (is("SHOW")) {
    row(setting_);
    out += say::complete("SHOW");
  } else if (is("SET")) {
    setting_ = std::to_string(number_after(text, "TO "));
    out += say::complete("SET");
  } else if (is("LISTEN")) {
    const auto name = trimmed(text.substr(6));
    channels_.insert(name.front() == '"' ? name.substr(1, name.size() - 2) : name);
    out += say::complete("LISTEN");
  } else if (is("UNLISTEN")) {
    channels_.erase(trimmed(text.substr(8)));
    out += say::complete("UNLISTEN");
  } else if (is("COPY")) {
    copying_ = true;
    simple_copy_ = simple;
    out += say::copy_in;
  } else {
    ADD_FAILURE() << "the model does not know: " << text;
  }
  return true;
}

bool ModelBackend::record(std::string& out) {
  const auto key = parameters_.at(0) + ' ' + parameters_.at(1);
  if (database_.ledger.contains(key) || database_.recording.contains(key)) {
    fail("23505", out);
    return false;
  }
  database_.recording[key] = process_id;
  recorded_.push_back(key);
  return true;
}

/// A real one waits for the transaction that holds the key; this one says so.
std::string ModelBackend::fence() {
  const auto key = parameters_.at(0) + ' ' + parameters_.at(1);
  if (database_.recording.contains(key)) return "busy";
  return database_.ledger.try_emplace(key, true).first->second ? "fenced" : "committed";
}

bool ModelBackend::end_transaction(std::string_view text, std::string& out) {
  const bool chain = text.ends_with("AND CHAIN");
  if (chain && status_ == 'I') {
    fail("25P01", out);
    return false;
  }
  if (text.starts_with("COMMIT") && status_ != 'E') {
    commit();
    out += say::complete("COMMIT");
  } else {
    roll_back();
    out += say::complete("ROLLBACK");
  }
  status_ = chain ? 'T' : 'I';
  return true;
}

bool ModelBackend::save_or_go_back(bool back, std::string& out) {
  if (status_ == 'I' || (back && !savepoint_)) {
    fail(status_ == 'I' ? "25P01" : "3B001", out);
    return false;
  }
  if (back) {
    pending_.resize(savepoint_->pending);
    setting_ = savepoint_->setting;
    status_ = 'T';
  } else {
    savepoint_ = {pending_.size(), setting_};
  }
  out += say::complete(back ? "ROLLBACK" : "SAVEPOINT");
  return true;
}

void ModelBackend::snapshot(std::string& out) {
  if (setting_ != "0") out += say::row({"setting", "statement_timeout", setting_});
  for (const auto& channel : channels_) out += say::row({"channel", channel, ""});
  out += say::row({"role", "", "none"}) + say::row({"authorization", "", "app"}) + say::complete("SELECT 3");
}

void ModelBackend::commit() {
  if (!pending_.empty() || !recorded_.empty()) database_.end(transaction(), true);
  transaction_ = 0;
  database_.add(pending_, reads_);
  for (const auto& key : recorded_) {
    database_.ledger[key] = false;
    database_.recording.erase(key);
  }
  recorded_.clear();
  pending_.clear();
  reads_.clear();
  savepoint_.reset();
  committed_setting_ = setting_;
}

void ModelBackend::roll_back() {
  if (const auto id = std::exchange(transaction_, 0)) database_.ended[id] = false;
  for (const auto& key : recorded_) database_.recording.erase(key);
  recorded_.clear();
  pending_.clear();
  reads_.clear();
  savepoint_.reset();
  setting_ = committed_setting_;
}

void ModelBackend::fail(std::string_view code, std::string& out) {
  out += say::error(code);
  skip_ = true;
  if (status_ == 'T') status_ = 'E';
  if (status_ == 'I') roll_back();
}

}  // namespace holdfast::simulation

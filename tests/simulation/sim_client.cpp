// The program of a simulated client: what it sends, chosen by chance.
#include "tests/simulation/sim_client.hpp"

#include <utility>

namespace holdfast::simulation {

namespace pg = holdfast::postgres;
namespace say = holdfast::proxy::postgres::test;

namespace {

/// Bind with one parameter in text form.
std::string bind_value(std::string_view statement, const std::string& value) {
  std::string out;
  pg::Writer(out, pg::frontend::bind).cstring("").cstring(statement).i16(0).i16(1)
      .i32(static_cast<std::int32_t>(value.size())).bytes(value).i16(0).finish();
  return out;
}

constexpr std::string_view insert_text = "INSERT INTO t VALUES ($1)";

}  // namespace

SimClient::SimClient(Clock& clock, Ledger& ledger, int segments, Send send)
    : clock_(clock), ledger_(ledger), send_(std::move(send)), segments_left_(segments),
      global_id_("client-" + std::to_string(ledger.prepared.size())), prefers_two_phase_(clock.chance(20)) {
  ledger_.prepared[global_id_] = Prepared::gone;
}

void SimClient::think() {
  const bool long_pause = clock_.chance(5);
  clock_.after(clock_.between(0us, long_pause ? 3s : 80ms), [this] { act(); });
}

void SimClient::act() {
  if (done_) return;
  if (segments_left_ <= 0 && status_ == 'I') {
    done_ = true;
    return send_(say::message(pg::frontend::terminate));
  }
  // What is sent behind an unanswered segment is chosen as if all went well.
  char status = status_;
  const auto count = clock_.chance(25) ? 2 + clock_.pick(3) : 1;
  std::string bytes;
  for (std::uint64_t i = 0; i < count; ++i) {
    auto segment = segments_left_ <= 0 ? make_segment('X') : make_segment(status);
    --segments_left_;
    for (const auto& one : segment.operations) {
      // Behind an unanswered write of the same batch it is a part of what the ledger may be asked about.
      const bool alone = status == 'I' && segment.operations.size() == 1 && i == 0;
      if ((one.kind == Kind::set && !alone) || one.kind == Kind::unlisten) snapshot_needed_ = true;
      if (one.kind == Kind::begin || one.kind == Kind::chain || one.kind == Kind::back) status = 'T';
      if (one.kind == Kind::commit || one.kind == Kind::rollback || one.kind == Kind::prepare) status = 'I';
    }
    const bool copies = segment.operations.back().kind == Kind::copy;
    bytes += segment.bytes;
    segment.errors_before = errors_;
    owed_.push_back(std::move(segment));
    if (copies) break;
  }
  waiting_since_ = clock_.now();
  send_bytes(bytes);
}

/// In one piece, or in pieces with pauses between them.
void SimClient::send_bytes(const std::string& bytes) {
  checker_.sent(bytes);
  const auto cuts = clock_.chance(30) ? 1 + clock_.pick(3) : 0;
  std::size_t at = 0;
  auto time = clock_.now();
  for (std::uint64_t i = 0; i <= cuts; ++i) {
    const auto size = i == cuts ? bytes.size() - at : clock_.pick(bytes.size() - at + 1);
    clock_.at(time, [this, piece = bytes.substr(at, size)] {
      if (!done_) send_(piece);
    });
    at += size;
    time += clock_.between(0us, 30ms);
  }
}

void SimClient::send_copy_data() {
  auto time = clock_.now();
  for (const int row : owed_.front().operations.back().rows) {
    time += clock_.between(0us, 10ms);
    clock_.at(time, [this, row] {
      if (!done_ && copying_) send_(say::message(pg::frontend::copy_data, std::to_string(row) + "\n"));
    });
  }
  clock_.at(time + clock_.between(0us, 10ms), [this] {
    if (done_ || !copying_) return;
    copying_ = false;
    const auto end = say::message(pg::frontend::copy_done);
    checker_.sent(end);
    send_(end);
  });
}

SimClient::Kind SimClient::pick_kind(char status) {
  if (status == 'X') return Kind::rollback;
  if (const auto kind = pick_two_phase(status)) return *kind;
  const auto dice = clock_.pick(100);
  if (status == 'E') {
    if (savepoint_ && dice < 60) return Kind::back;
    return dice < 40 ? Kind::rollback : dice < 65 ? Kind::commit : dice < 70 ? Kind::chain : dice < 85 ? Kind::select : Kind::insert;
  }
  if (status == 'T') {
    if (savepoint_ && dice < 25) return dice < 15 ? Kind::lock : Kind::back;
    return dice < 35   ? Kind::insert
           : dice < 42 ? Kind::count
           : dice < 48 ? Kind::select
           : dice < 55 ? Kind::save
           : dice < 58 ? Kind::set
           : dice < 61 ? Kind::show
           : dice < 64 ? Kind::failing
           : dice < 66 ? Kind::lock
           : dice < 69 ? Kind::copy
           : dice < 86 ? Kind::commit
           : dice < 92 ? Kind::chain
                       : Kind::rollback;
  }
  if (prefers_two_phase_ && dice < 50) return Kind::begin;
  return dice < 30   ? Kind::insert
         : dice < 36 ? Kind::count
         : dice < 42 ? Kind::select
         : dice < 65 ? Kind::begin
         : dice < 73 ? Kind::set
         : dice < 84 ? Kind::show
         : dice < 88 ? Kind::failing
         : dice < 92 ? Kind::copy
         : dice < 97 ? Kind::listen
                     : Kind::unlisten;
}

SimClient::Operation SimClient::operation(Kind kind) {
  Operation made{kind, {}, {}};
  if (kind == Kind::insert) made.rows = {++ledger_.last_row};
  if (kind == Kind::copy) {
    for (auto rows = clock_.pick(4); rows > 0; --rows) made.rows.push_back(++ledger_.last_row);
  }
  if (kind == Kind::set || kind == Kind::select) made.value = std::to_string(1 + clock_.pick(99'999));
  for (const int row : made.rows) ledger_.rows[row] = Belief::unknown;
  return made;
}

std::string SimClient::text_of(const Operation& operation) const {
  switch (operation.kind) {
    case Kind::insert: return "INSERT INTO t VALUES (" + std::to_string(operation.rows[0]) + ")";
    case Kind::copy: return "COPY t FROM STDIN";
    case Kind::select: return "SELECT " + operation.value;
    case Kind::count: return "SELECT rows FROM counted";
    case Kind::failing: return "SELECT 1/0";
    case Kind::begin: return "BEGIN";
    case Kind::commit: return "COMMIT";
    case Kind::chain: return "COMMIT AND CHAIN";
    case Kind::save: return "SAVEPOINT here";
    case Kind::back: return "ROLLBACK TO here";
    case Kind::lock: return "LOCK t";
    case Kind::rollback: return "ROLLBACK";
    case Kind::set: return "SET statement_timeout TO " + operation.value;
    case Kind::show: return "SHOW statement_timeout";
    case Kind::listen: return "LISTEN news";
    case Kind::unlisten: return "UNLISTEN news";
    case Kind::prepare: return "PREPARE TRANSACTION '" + global_id_ + '\'';
    case Kind::commit_prepared: return "COMMIT PREPARED '" + global_id_ + '\'';
    case Kind::rollback_prepared: return "ROLLBACK PREPARED '" + global_id_ + '\'';
  }
  return {};
}

SimClient::Segment SimClient::make_segment(char status) {
  return status != 'X' && clock_.chance(40) ? make_extended(status) : make_query(status);
}

SimClient::Segment SimClient::make_query(char status) {
  Segment segment;
  const auto first = pick_kind(status);
  segment.operations.push_back(operation(first));
  const bool alone = first == Kind::copy || first == Kind::listen || first == Kind::unlisten || is_two_phase(first) || status == 'X';
  for (auto more = !alone && clock_.chance(20) ? 1 + clock_.pick(3) : 0; more > 0; --more) {
    // Texts of several statements: data and control in any order.
    const Kind kinds[] = {Kind::insert, Kind::insert, Kind::select, Kind::count, Kind::commit, Kind::begin, Kind::rollback, Kind::failing};
    segment.operations.push_back(operation(kinds[clock_.pick(std::size(kinds))]));
  }
  std::string text;
  for (const auto& one : segment.operations) text += (text.empty() ? "" : "; ") + text_of(one);
  segment.bytes = say::query(text);
  history_ += " Q:" + text;
  return segment;
}

SimClient::Segment SimClient::make_extended(char status) {
  Segment segment;
  segment.simple = false;
  history_ += " [";
  for (auto count = 1 + (clock_.chance(40) ? clock_.pick(3) : 0); count > 0; --count) {
    auto kind = pick_kind(status);
    if (is_two_phase(kind) && !segment.operations.empty()) {
      two_phase_sent_ = false;
      break;
    }
    if (is_two_phase(kind)) count = 1;
    if (kind == Kind::copy || kind == Kind::listen || kind == Kind::unlisten) kind = Kind::insert;
    const auto one = operation(kind);
    const auto text = text_of(one);
    history_ += text + ',';
    if (kind == Kind::insert && clock_.chance(50)) {
      const std::string name = clock_.chance(50) ? "s1" : "s2";
      // Prepared once, used again and again, also on backends that never saw its Parse.
      if (!prepared_[name]) segment.bytes += say::close('S', name) + say::parse(name, insert_text);
      prepared_[name] = true;
      segment.bytes += bind_value(name, std::to_string(one.rows[0])) + say::execute();
    } else {
      segment.bytes += say::parse("", text) + say::bind("") + (clock_.chance(50) ? say::describe('P') : "") + say::execute();
    }
    segment.operations.push_back(one);
    if (kind == Kind::begin || kind == Kind::chain || kind == Kind::back) status = 'T';
    if (kind == Kind::commit || kind == Kind::rollback) status = 'I';
  }
  segment.bytes += say::sync();
  history_ += ']';
  return segment;
}

}  // namespace holdfast::simulation

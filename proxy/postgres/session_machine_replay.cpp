// The second run: what a client lost with its backend is sent again to the next one, from the journal and segment by
// segment, and what comes back is compared with what the client was given. Where it is the same, the client sees nothing
// but time; at the first difference the new backend is left, and the client is told of its loss.
// What may be run again is decided here too, by parse trees (replay_judge.hpp); the order of promises is
// session_machine_loss.cpp's.
#include <algorithm>
#include <cassert>
#include <utility>

#include "proxy/mutation.hpp"
#include "proxy/postgres/lost_segment.hpp"
#include "proxy/postgres/replay_judge.hpp"
#include "proxy/postgres/segment_effects.hpp"
#include "proxy/postgres/session_machine.hpp"

namespace holdfast::proxy::postgres {

namespace front = pg::frontend;

namespace {

/// No obstacle, and no need: what is owed can be said without a server.
constexpr std::string_view answered = "answered";

std::optional<pg::RequestKind> request_kind(char type) {
  switch (type) {
    case front::query: return pg::RequestKind::query;
    case front::parse: return pg::RequestKind::parse;
    case front::bind: return pg::RequestKind::bind;
    case front::describe: return pg::RequestKind::describe;
    case front::execute: return pg::RequestKind::execute;
    case front::close: return pg::RequestKind::close;
    case front::function_call: return pg::RequestKind::function_call;
    case front::copy_done: case front::copy_fail: return pg::RequestKind::copy_end;
    case front::sync: return pg::RequestKind::sync;
    default: return std::nullopt;
  }
}

bool ends_segment(pg::RequestKind kind) {
  return kind == pg::RequestKind::query || kind == pg::RequestKind::function_call || kind == pg::RequestKind::sync;
}

/// What the server can be asked about afterwards.
bool ends_transaction(const pg::TextJudgement& text) {
  return pg::is_plain_commit(text) || pg::two_phase_control(text) != pg::TransactionControl::none;
}

/// What was run is not in the journal, or not known by its parse tree.
bool not_judged(std::string_view obstacle) {
  return obstacle == "replay_off" || obstacle == "replay_limit" || obstacle == "encoding";
}

}  // namespace

// ---- may it run again? ----

bool SessionMachine::plan_replay(const std::vector<Segment>& segments, Witness witness, OldBackend old_backend,
                                 bool partial) {
  const bool again = replay_.has_value() || replayed_;
  const auto difference = replay_ ? replay_->difference : std::string();
  const bool transaction = status_ != 'I';
  replay_.reset();
  replay_obstacle_.clear();
  if (!transaction && segments.empty()) return false;
  Replay plan;
  asks_two_phase_ = asks_two_phase(segments, old_backend);
  const auto obstacle = [&]() -> std::string {
    if (two_phase_ && two_phase_->done) return std::string(answered);
    if (!journal_.enabled()) return "replay_off";
    if (!difference.empty()) return "different_result";
    if (again && !(!transaction && is_lone_begin(segments))) return "second_loss";
    if (journal_.overflowed() && !broken("journal_limit")) return "replay_limit";
    if (refusal_) return "lost_state";
    if (ended_by_rule()) return "server_rule";
    if (is_killed(witness)) return "administrator";
    if (!reads_alike(told_)) return "encoding";
    if (!transaction) return std::string(obstacle_outside(segments, witness, plan.reads));
    const std::string found(obstacle_in_transaction(segments, witness, plan.reads));
    // What only read holds no lock that the second run could meet.
    return found.empty() && plan.reads.empty() && old_backend != OldBackend::gone ? "old_backend" : found;
  }();
  if (obstacle == answered) return false;
  const bool asks_outcome = asks_ledger() || asks_two_phase_;
  if (!obstacle.empty()) plan.reads.clear();  // those before the one that is in the way
  if (transaction && !obstacle.empty() && !asks_outcome && !partial && !reads_proven_ && !not_judged(obstacle)) {
    // It does not run again, and yet a COMMIT of what only read can be told to have left nothing behind.
    static_cast<void>(obstacle_in_transaction(segments, witness, plan.reads));
  }
  if (!obstacle.empty() && !asks_outcome && plan.reads.empty()) {
    replay_obstacle_ = obstacle;
    ++(transaction ? statistics_.transactions_not_replayed : statistics_.statements_not_replayed);
    return false;
  }
  plan.transaction = transaction;
  plan.partial = partial;
  plan.given = digest_.mark();
  plan.asks_outcome = asks_outcome;
  plan.obstacle = obstacle;
  if (wrap_ == Wrap::ending) wrap_ = Wrap::open;  // its Query is one of those that are under way
  for (const auto& segment : segments) {
    plan.failed = plan.failed || segment.failed;
    plan.copying = plan.copying || segment.copying;
    plan.open = segment.open;
    plan.pending.insert(plan.pending.end(), segment.requests.begin(), segment.requests.end());
  }
  for (std::size_t i = 0; i < journal_.size(); ++i) plan.answered += journal_[i].answered ? 1U : 0U;
  if (!segments.empty()) executed_ = segments.front().executed;
  replay_ = std::move(plan);
  return true;
}

/// It can be sent as often as it takes: no server dies of it, and nothing of it outlives its server.
bool SessionMachine::is_lone_begin(const std::vector<Segment>& segments) const {
  return segments.size() == 1 && judge_segment({statements_, session_}, segments[0].executed, segments[0].requests, 'I').only_begin;
}

/// A simple query, of which FATAL 57P01 came before CommandComplete: a backend looks at its interrupts before it begins to
/// commit and after it has said so, never in between (PostgreSQL, CommitTransaction holds them off); but one that waits
/// for a standby says a warning first, and has committed. Hammered in tests/integration/test_certainly_not_committed.py.
bool SessionMachine::certainly_undone(const Segment& segment, const SegmentEffects& effects, Witness witness) const {
  if (loss_.code != "57P01" || witness == Witness::alive) return false;
  if (commit_warned_ && !broken("standby_warning")) return false;
  if (!segment.simple || segment.requests.size() != 1 || segment.completed() || !effects.single) return false;
  return effects.undoable || (effects.plain_end && !effects.plain_rollback);
}

std::string_view SessionMachine::obstacle_in_transaction(const std::vector<Segment>& segments, Witness witness,
                                                         std::vector<pg::StatementJudgement>& reads) const {
  const auto under_way = segments.empty() || segments[0].requests.empty() ? pg::JournalEntry::no_request
                                                                          : segments[0].requests[0].number;
  auto journal = judge_journal(under_way);
  bool savepoint = journal.savepoint;
  if (!journal.obstacle.empty()) return journal.obstacle;
  char status = status_;
  for (const auto& segment : segments) {
    const auto effects = judge_segment({statements_, session_}, segment.executed, segment.requests, status);
    // What was lost is what it asks for, or what it would have got: it is answered without a server.
    const bool ended = segment.completed() || segment.answered() || status == 'E';
    if (effects.plain_rollback || (ended && effects.plain_end)) return answered;
    if (segment.failed && status != 'I') status = 'E';
    const bool last = &segment == &segments.back();
    if (last && effects.plain_end && certainly_undone(segment, effects, witness)) break;
    if (last && segments.size() == 1 && effects.plain_end && status == 'T' && journal.only_reads && !outcome_known()) {
      // A COMMIT of what only read leaves nothing behind, however often it is made.
      reads = std::move(journal.reads);
      break;
    }
    const bool known = last && outcome_known();
    if (effects.may_commit && !known && !broken("commit_under_way")) return "commit";
    for (const auto& text : effects.texts) {
      if (known && ends_transaction(text)) continue;
      if (const auto obstacle = obstacle_in(text, savepoint); !obstacle.empty() && !broken("commit_under_way")) return obstacle;
    }
    status = effects.status_after(status);
  }
  // A failed transaction can do nothing but end, unless it has a savepoint to go back to.
  return status_ == 'E' && !savepoint ? answered : "";
}

/// Outside a transaction each segment is one of its own. `reads` gets the statements that only the catalog can clear.
std::string_view SessionMachine::obstacle_outside(const std::vector<Segment>& segments, Witness witness,
                                                  std::vector<pg::StatementJudgement>& reads) const {
  char status = 'I';
  bool savepoint = false;
  for (const auto& segment : segments) {
    // An answer that is only to be completed is no matter of a second run.
    const bool in_block = status != 'I' || !segment.simple || segment.copying;
    const auto effects =
        judge_segment({statements_, session_}, segment.executed, segment.requests, in_block ? 'T' : status);
    const bool only_ready = segment.answered() && (segment.executed.empty() || effects.only_reads);
    const bool known = outcome_known();
    if (segment.failed || (!known && ((segment.completed() && !effects.only_begin) || only_ready))) return answered;
    for (const auto& text : effects.texts) {
      if (known && ends_transaction(text)) continue;
      if (const auto obstacle = obstacle_in(text, savepoint); !obstacle.empty() && obstacle != "prepared_statement") {
        return obstacle;
      }
    }
    const char after = effects.status_after(status);
    const bool opens_block = after != 'I' && effects.undoable && !effects.may_commit;
    const bool not_sent_whole =
        (segment.open || segment.copying || broken("sync_sent")) && effects.undoable && !effects.may_commit;
    const bool sets_up = std::ranges::all_of(effects.texts, [](const auto& text) { return only_sets_up(text); });
    if (!known && !opens_block && !not_sent_whole && !sets_up && !certainly_undone(segment, effects, witness)) {
      const bool reads_only = after == 'I' && std::ranges::all_of(effects.texts, pg::only_reads);
      if (!reads_only && !broken("write_under_way")) return "may_have_committed";
      for (const auto& text : effects.texts) reads.insert(reads.end(), text.statements.begin(), text.statements.end());
    }
    status = after;
  }
  return "";
}

std::string_view SessionMachine::not_replayable() const {
  if (!journal_.enabled()) return "replay_off";
  if (status_ == 'I') return "";
  if (journal_.overflowed()) return "replay_limit";
  return replayed_ ? "second_loss" : "";
}

const std::vector<pg::StatementJudgement>& SessionMachine::unproven_reads() const {
  static const std::vector<pg::StatementJudgement> none;
  return replay_ ? replay_->reads : none;
}

void SessionMachine::on_reads_judged(Reads reads) {
  if (!replay_) return;
  replay_->reads.clear();
  reads_proven_ = reads == Reads::proven;
  if (reads_proven_ && replay_->obstacle.empty()) return;
  replay_obstacle_ = replay_->obstacle.empty() ? "unproven_read" : replay_->obstacle;
  abandon_replay({});
}

/// Nothing is run again: the client is told what it has lost.
void SessionMachine::abandon_replay(std::optional<pg::ErrorText> first) {
  const bool partial = client_in_the_middle();
  const bool transaction = replay_->transaction;
  const auto segments = take_segments();
  replay_.reset();
  if (replay_obstacle_.empty()) replay_obstacle_ = "no_upstream";
  ++(transaction ? statistics_.transactions_not_replayed : statistics_.statements_not_replayed);
  if (partial) {
    state_ = SessionState::closed;
    return;
  }
  resolve_segments(segments, Witness::gone, first);
}

bool SessionMachine::client_in_the_middle() const {
  return replay_ && !replay_->caught_up ? replay_->partial : server_stream_left_ > 0;
}

// ---- it runs ----

void SessionMachine::begin_replay() {
  assert(replay_->reads.empty() && "on_reads_judged comes first");
  digest_.reset();
  replayed_ = true;
  replay_->running = true;
  if (broken("skip_given")) replay_->given = {};
  replay_->caught_up = replay_->answered == 0 && replay_->given.bytes == 0;
  advance_replay();
}

/// Sends the next segment as soon as the one before is answered and found the same.
void SessionMachine::advance_replay() {
  if (!replay_ || !replay_->running || replay_differed()) return;
  if (replay_->entry < journal_.size() && tracker_.empty()) feed_replay();
  if (replay_differed() || replay_->entry < journal_.size()) return;
  if (replay_->caught_up) return finish_replay();
  // All of it is answered, and nothing more will come.
  if (tracker_.empty()) differs("a statement gave less than the first time");
}

void SessionMachine::feed_replay() {
  auto& replay = *replay_;
  bool ended = false;
  while (replay.entry < journal_.size()) {
    const auto& entry = journal_[replay.entry];
    const auto kind = request_kind(entry.type);
    // Behind a COPY its data and their end go with it.
    if (ended && kind && *kind != pg::RequestKind::copy_end) return;
    const bool commits = commit_ && commit_->request == entry.request;
    const bool begun = !replay.caught_up && is_begun(entry);
    if ((commits || begun) && tracker_.empty() && !replay.caught_up && !broken("compare_results")) {
      differs("a statement gave less than the first time");
      return;
    }
    // Its commit goes out once all before it is answered, as the first time; and in the middle of a message nothing can be
    // asked for.
    const bool waits = begun || (commits && entry.type != front::query && (entry.type == front::sync || !answered_so_far()));
    if (waits && !tracker_.empty()) return pg::write_flush(server_output);
    ended = ended || (kind && ends_segment(*kind));
    send_again(entry, journal_.message(replay.byte, entry.size));
    replay.byte += entry.size;
    ++replay.entry;
  }
  // What stands at the end may have been answered for a Flush of ours, or in front of the server's last words: nothing in the
  // journal asks for those answers again, and the client is held until they are in.
  const bool flushed = journal_[journal_.size() - 1].type == front::flush;
  if (!replay.caught_up && tracker_.segment_open() && !flushed && client_stream_left_ == 0) pg::write_flush(server_output);
}

/// A message of which the client has not sent all yet, and to which the server says nothing before it has: the last one.
bool SessionMachine::is_begun(const pg::JournalEntry& entry) const {
  return client_stream_left_ > 0 && client_stream_ == Stream::forward && &entry == &journal_[journal_.size() - 1] &&
         !front::is_copy_message(entry.type);
}

void SessionMachine::send_again(const pg::JournalEntry& entry, std::string_view message) {
  auto& pending = replay_->pending;
  if (wrap_ == Wrap::open && entry.request == wrapped_.number) inject("holdfast_begin", "BEGIN");
  note_two_phase_sent_again(entry.request);
  if (commit_ && commit_->request == entry.request) {
    inject_record(entry.type == front::query);
    commit_->sent = commit_->recorded = true;
  }
  const bool owed = !pending.empty() && pending.front().number == entry.request;
  prepare_again(entry.type, message, owed ? pending.front().previous : pg::no_statement);
  if (const auto kind = request_kind(entry.type)) {
    if (owed) {
      const auto request = pending.front();
      pending.pop_front();
      if (!tracker_.push_again(request)) take_back(request);
    } else {
      pg::Request given;
      given.kind = *kind;
      given.owner = pg::Owner::replay;
      given.number = entry.request;
      static_cast<void>(tracker_.push_again(given));
    }
    if (*kind == pg::RequestKind::parse) {
      const auto parse = pg::parse_parse(message.substr(pg::header_size));
      const auto id = parse ? statements_.find(parse->name) : pg::no_statement;
      if (id != pg::no_statement && statements_[id].born == entry.request) statements_[id].backend = backend_;
    }
  }
  server_output += message;
}

/// What was prepared before the journal begins is parsed again in front of its first use, as at any other time; so is what
/// stands in the way of a Parse, for the client is owed the error. `previous` had the name of a Parse under way before it.
void SessionMachine::prepare_again(char type, std::string_view message, pg::StatementId previous) {
  const auto body = message.size() < pg::header_size ? message : message.substr(pg::header_size);
  const auto need = [&](std::string_view name) {
    const auto id = statements_.find(name);
    if (id != pg::no_statement && statements_[id].born < journal_.first_request()) static_cast<void>(ensure_parsed(name));
  };
  if (type == front::parse) {
    const auto parse = pg::parse_parse(body);
    if (!parse || parse->name.empty()) return;
    if (previous == pg::no_statement) return need(parse->name);
    if (statements_[previous].backend != backend_ && statements_[previous].has_text()) inject_parse(previous);
  } else if (type == front::close) {
    if (const auto target = pg::parse_target(body); target && target->kind == 'S') forget_closed(target->name);
  } else if (type == front::bind) {
    const auto bind = pg::parse_bind(body);
    if (!bind) return;
    need(bind->statement);
    const auto id = statements_.find(bind->statement);
    if (id != pg::no_statement && statements_[id].scan.uses_prepared) static_cast<void>(parse_for_text(statements_[id].text()));
  } else if (type == front::describe) {
    if (const auto target = pg::parse_target(body); target && target->kind == 'S') need(target->name);
  } else if (type == front::query) {
    pg::Reader reader(body);
    const auto text = reader.cstring();
    if (pg::scan_text(text).uses_prepared) static_cast<void>(parse_for_text(text));
  }
}

/// What is closed need not be brought back: neither for what uses the name behind it, nor to stand in the way of a Parse.
void SessionMachine::forget_closed(std::string_view name) {
  const auto known = [this](pg::StatementId id) {
    if (id != pg::no_statement) statements_[id].backend = backend_;
  };
  if (const auto id = statements_.find(name); id != pg::no_statement && statements_[id].born < journal_.first_request()) known(id);
  for (const auto& request : replay_->pending) {
    const bool parses = request.kind == pg::RequestKind::parse && request.statement != pg::no_statement;
    if (parses && statements_[request.statement].name() == name) known(request.previous);
  }
}

SessionMachine::Pass SessionMachine::differs(std::string what) {
  if (!replay_) return Pass::close;
  loss_.message = "run again on the new server, " + what;
  replay_->difference = std::move(what);
  return Pass::close;
}

/// A reply to the client's request: passed on, or found to be what the client has had.
SessionMachine::Pass SessionMachine::on_given(std::string_view message) {
  if (!catching_up()) {
    if (journal_.enabled()) digest_given(message);
    return Pass::forward;
  }
  const auto given = skip_given(message);
  if (replay_differed()) return Pass::close;
  const auto rest = message.substr(given);
  if (!rest.empty()) digest_.add(rest);
  client_output += rest;
  return Pass::drop;
}

/// One that is streamed counts as it stands, whatever buffer it came in.
void SessionMachine::digest_given(std::string_view message) {
  const bool whole = server_stream_left_ == 0 && message.size() <= options_.message_buffer;
  if (whole && message[0] == pg::backend::row_description) return digest_.add_row_description(message);
  digest_.add(message);
}

/// How many of these bytes the client has had.
std::size_t SessionMachine::skip_given(std::string_view bytes) {
  auto& replay = *replay_;
  if (replay.answered > 0) {
    digest_given(bytes);
    return bytes.size();
  }
  const auto left = replay.given.bytes - digest_.bytes();
  const auto given = bytes.substr(0, static_cast<std::size_t>(std::min<std::uint64_t>(left, bytes.size())));
  given.size() == bytes.size() ? digest_given(given) : digest_.add(given);
  if (digest_.bytes() < replay.given.bytes) return given.size();
  if (digest_.mark() != replay.given && !broken("compare_results")) {
    differs("a statement gave another result than the first time");
  } else {
    replay.caught_up = true;
  }
  return given.size();
}

/// An error that the client has had as well. Looked at before the request that failed leaves the queue.
bool SessionMachine::is_given_error(std::string_view code) {
  digest_.add_error(code);
  auto& replay = *replay_;
  if (replay.answered == 0) {
    replay.caught_up = replay.failed && digest_.mark() == replay.given;
    return replay.caught_up;
  }
  for (auto at = replay.compared; at < journal_.size(); ++at) {
    if (journal_[at].answered) return journal_[at].given.failed;  // the rest is compared at its end
  }
  return false;
}

/// ReadyForQuery of a segment that the client has had whole.
SessionMachine::Pass SessionMachine::on_given_segment(std::uint64_t request, char status) {
  auto& replay = *replay_;
  digest_.add({&status, 1});
  while (replay.compared < journal_.size() && !journal_[replay.compared].answered) ++replay.compared;
  if (replay.compared == journal_.size() || journal_[replay.compared].request != request ||
      (journal_[replay.compared].given != digest_.mark() && !broken("compare_results"))) {
    return differs("a statement gave another result than the first time");
  }
  digest_.reset();
  ++replay.compared;
  --replay.answered;
  replay.caught_up = replay.answered == 0 && replay.given.bytes == 0;
  return Pass::drop;
}

void SessionMachine::finish_replay() {
  ++(replay_->transaction ? statistics_.transactions_replayed : statistics_.statements_replayed);
  replay_.reset();
  replay_obstacle_.clear();
  reads_proven_ = false;  // what is sent from now on was not looked at
}

}  // namespace holdfast::proxy::postgres

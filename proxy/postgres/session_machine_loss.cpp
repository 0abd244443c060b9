// What a client is told when its backend is lost: the table of docs/transparency.md, row by row.
// The order of promises: never a wrong answer; then the session lives; then transparency.
#include <algorithm>
#include <utility>

#include "proxy/postgres/lost_segment.hpp"
#include "proxy/postgres/segment_effects.hpp"
#include "proxy/postgres/session_machine.hpp"

namespace holdfast::proxy::postgres {

namespace back = pg::backend;

namespace {

constexpr std::string_view lost_text = "the transaction was lost with its server; run it again";
constexpr std::string_view aborted_text =
    "current transaction is aborted, commands ignored until end of transaction block";

}  // namespace

LossResult SessionMachine::resolve_loss(Witness witness, OldBackend old_backend) {
  if (state_ != SessionState::losing) return {};
  replay_obstacle_.clear();
  drop_unsent_commit();
  if (snapshot_ != Snapshot::none) {
    snapshot_ = Snapshot::none;
    session_.want_snapshot();
  }
  // An error of the client's own ends the session.
  if (fatal_forwarded_) return close_silently("server_error");
  // A message that the client has in part can be completed by a second run alone.
  const bool partial = client_in_the_middle();
  if (partial && session_.pin()) return close_silently("partial_message");
  if (held_ready_ || snapshot_overdue_) {
    const bool ready_owed = std::exchange(held_ready_, false);
    snapshot_overdue_ = snapshot_now_ = false;
    if (std::exchange(unknown_change_, false)) {
      // The statement is done, but what it set is not known: the session cannot be built again as it was.
      const pg::Pin unknown{"unconfirmed_state", "a setting whose new value is not known"};
      if (options_.lost_state == SessionOptions::LostState::disconnect) {
        tracker_.reset();
        return give_up(unknown);
      }
      tell_what_is_lost(unknown);
    }
    if (ready_owed) pg::write_ready_for_query(client_output, status_);
  }
  if (const auto pin = session_.pin(); pin && options_.lost_state == SessionOptions::LostState::disconnect) {
    return give_up(*pin);
  } else if (pin) {
    tell_what_is_lost(*pin);
  }
  const auto segments = take_segments();
  if (plan_replay(segments, witness, old_backend, partial)) {
    state_ = SessionState::detached;
    server_stream_left_ = 0;
    return {LossResult::Then::attach_now, {}};
  }
  if (partial) return close_silently("partial_message");
  return resolve_segments(segments, witness);
}

LossResult SessionMachine::close_silently(std::string reason) {
  state_ = SessionState::closed;
  return {LossResult::Then::close, std::move(reason)};
}

LossResult SessionMachine::give_up(const pg::Pin& pin) {
  terminate("57P01", "terminating connection: the session has lost " + pin.what + " with its server");
  return {LossResult::Then::close, pin.reason};
}

LossResult SessionMachine::cannot_restore(const pg::Pin& pin) {
  if (options_.lost_state == SessionOptions::LostState::disconnect) return give_up(pin);
  tell_what_is_lost(pin);
  return {};
}

/// The next statement outside a transaction gets the error, and the session goes on without what it held.
void SessionMachine::tell_what_is_lost(const pg::Pin& pin) {
  refusal_ = Refusal{"57P01", "the session has lost " + pin.what + " with its server", true};
  session_.forget_pins();
}

std::vector<SessionMachine::Segment> SessionMachine::take_segments() {
  std::vector<Segment> segments;
  Segment current;
  current.failed = tracker_.failed();
  bool copying = tracker_.copying_in();
  bool open = tracker_.client_segment_open();
  if (replay_) {
    // A second run that did not come as far as the first: what counts is what the client had then.
    if (!replay_->caught_up) {
      current.failed = replay_->failed;
      copying = replay_->copying;
    }
    if (!replay_->running || replay_->entry < journal_.size()) open = replay_->open;
  }
  const auto take = [&](const pg::Request& request) {
    current.requests.push_back(request);
    const bool simple =
        request.kind == pg::RequestKind::query || request.kind == pg::RequestKind::function_call;
    if (!simple && request.kind != pg::RequestKind::sync) return;
    current.simple = simple;
    segments.push_back(std::exchange(current, Segment{}));
  };
  if (wrap_ == Wrap::ending || wrap_ == Wrap::done) {
    current.failed = wrapped_failed_;
    statements_.hold(wrapped_.statement);
    take(wrapped_);
  }
  const auto& requests = tracker_.requests();
  const auto size = requests.size();
  for (std::size_t i = 0; i < size; ++i) {
    const auto& request = requests[i];
    if (request.owner == pg::Owner::client) {
      take(request);
    } else if (request.owner != pg::Owner::replay) {
      if (request.kind == pg::RequestKind::parse) statements_.release(request.statement);
      if (request.kind == pg::RequestKind::sync) current.failed = false;  // the failure was one of ours
    }
  }
  if (replay_) std::ranges::for_each(replay_->pending, take);
  if (open) {
    current.open = true;
    segments.push_back(std::move(current));
  }
  if (!segments.empty()) {
    segments.front().copying = copying;
    segments.front().executed.swap(executed_);
  }
  tracker_.reset();
  bool commit_behind = false;
  for (auto segment = segments.rbegin(); segment != segments.rend(); ++segment) {
    segment->commit_behind = commit_behind;
    if (segments.size() == 1) continue;
    // An open one counts too: a COMMIT takes effect as it is executed, before its Sync.
    commit_behind = commit_behind || judge_segment({statements_, session_}, segment->executed, segment->requests, 'T').may_commit;
  }
  return segments;
}

/// `first`: what is said of the first of them, where that is known already.
LossResult SessionMachine::resolve_segments(const std::vector<Segment>& segments, Witness witness,
                                            const std::optional<pg::ErrorText>& first) {
  Progress progress;
  progress.status = status_;
  std::vector<pg::Request> refused;
  for (const auto& segment : segments) {
    if (first && &segment == &segments.front() && !segment.failed) {
      fail_segment(segment, *first, status_ == 'I' ? 'I' : 'E', progress);
    } else {
      answer_segment(segment, witness, progress);
    }
    if (std::exchange(progress.parsed, false)) continue;
    // Their replies will never come: to the client nothing of them happened, and a name means what it meant before.
    refused.insert(refused.end(), segment.requests.begin(), segment.requests.end());
  }
  std::for_each(refused.rbegin(), refused.rend(), [this](const pg::Request& request) { take_back(request); });
  for (const auto& segment : segments) {
    for (const auto id : segment.executed) statements_.release(id);
  }
  status_ = progress.status;
  if (status_ == 'I') {
    detach();
    return {session_.listening() ? LossResult::Then::attach_now : LossResult::Then::stay, {}};
  }
  // 'T': the client has not been told yet; its next statement gets the error.
  if (status_ == 'T') ++statistics_.transactions_lost;
  enter_lost_transaction(status_ == 'T');
  return {};
}

/// The error for a transaction that is lost. One that the server ended by its own rules keeps the server's words.
pg::ErrorText SessionMachine::lost_transaction_error() const {
  if (ended_by_rule()) return {"ERROR", loss_.code, loss_.message};
  return {"ERROR", "40001", lost_text};
}

/// The same for a statement outside of one, which transaction_timeout ends too.
pg::ErrorText SessionMachine::lost_statement_error(Witness witness) const {
  if (is_killed(witness)) return {"ERROR", "57014", "canceling statement: an administrator ended its server process"};
  if (ended_by_rule()) return {"ERROR", loss_.code, loss_.message};
  return {"ERROR", "40001", "the statement was lost with its server; run it again"};
}

/// Decides what the client gets for one segment.
void SessionMachine::answer_segment(const Segment& segment, Witness witness, Progress& progress) {
  // What is in the extended protocol waits for its Sync as if in a block; COPY waits for the end of its data.
  // And one that failed by our word alone may be whole on the server.
  const bool as_in_block = progress.lost_here || (progress.status == 'I' && (!segment.simple || segment.copying));
  const auto effects =
      judge_segment({statements_, session_}, segment.executed, segment.requests, as_in_block ? 'T' : progress.status);
  if (segment.failed) {
    // The client has had the error; what the server would have done with the rest is to skip it.
    if (progress.status != 'I') fail_block(segment, progress);
    if (!segment.open) return pg::write_ready_for_query(client_output, progress.status);
    skip_to_sync_ = true;
    status_after_skip_ = progress.status;
    return;
  }
  if (certainly_not_committed()) return fail_undone(segment, witness, progress);
  if (commit_sent() && wrap_ != Wrap::none) return fail_unknown(segment, 'I', progress);
  const bool completed = segment.completed();
  if ((completed || segment.answered()) && (effects.plain_end || (effects.single && two_phase_ && two_phase_->done))) {
    // Its CommandComplete came after the transaction's end: only ReadyForQuery is missing.
    progress = {};
    return pg::write_ready_for_query(client_output, 'I');
  }
  if (segment.answered() && (segment.executed.empty() || (progress.status == 'I' && effects.only_reads))) {
    return pg::write_ready_for_query(client_output, progress.status);
  }
  switch (progress.status) {
    case 'E': return answer_in_failed_block(segment, effects, progress);
    case 'T': return answer_in_block(segment, effects, progress);
    default: return answer_outside_block(segment, effects, witness, progress);
  }
}

/// A segment failed by the server's own error, in a transaction or behind its end.
void SessionMachine::fail_block(const Segment& segment, Progress& progress) {
  const Prepared prepared{statements_, session_};
  bool known = true;
  if (segment.simple) {
    // Which of several statements it was that failed is not recorded.
    const auto id = segment.requests.back().statement;
    known = id != pg::no_statement && statements_[id].has_text() && statements_[id].scan.single_statement;
  }
  for (const auto id : segment.executed) {
    const auto text = judge_run(prepared, id);
    known = known && text.parsed;
    progress.status = pg::status_after(text, progress.status).status;
  }
  if (progress.status != 'I') progress.status = 'E';
  progress.unsure = !known;
}

void SessionMachine::answer_in_failed_block(const Segment& segment, const SegmentEffects& effects, Progress& progress) {
  const bool commit_sent = effects.plain_end && !effects.plain_rollback && (progress.lost_here || progress.unsure);
  if (commit_sent) return fail_unknown(segment, 'I', progress);
  if (effects.plain_end && !segment.open) return answer_rollback(segment, progress);
  if (effects.may_commit && !effects.plain_end) {
    return fail_unknown(segment, effects.status_after('E') == 'I' ? 'I' : 'E', progress);
  }
  // A savepoint to go back to was lost with the rest.
  const bool to_savepoint =
      effects.single && effects.texts[0].statements[0].control == pg::TransactionControl::rollback_to;
  if (to_savepoint && segment.commit_behind) return fail_unknown(segment, 'E', progress);
  if (to_savepoint) return fail_segment(segment, lost_transaction_error(), 'E', progress);
  // Where the transaction failed by our word alone, or a text ends it and begins another, the server may have run this, and
  // the COMMIT behind it.
  const bool leaves = effects.status_after('E') != 'E';
  if (progress.unsure || ((progress.lost_here || leaves) && segment.commit_behind)) return fail_unknown(segment, 'E', progress);
  const char block = progress.lost_here ? 'T' : 'E';
  progress.unsure = effects.status_after(block) != block;
  fail_segment(segment, {"ERROR", "25P02", aborted_text}, 'E', progress);
}

void SessionMachine::answer_in_block(const Segment& segment, const SegmentEffects& effects, Progress& progress) {
  if (effects.plain_rollback && !segment.open) return answer_rollback(segment, progress);
  const bool leaves_nothing = reads_proven_ && effects.plain_end;  // a COMMIT of what only read
  if (effects.may_commit && !leaves_nothing) return fail_unknown(segment, effects.status_after('T') == 'I' ? 'I' : 'E', progress);
  if (segment.commit_behind) return fail_unknown(segment, 'E', progress);
  ++statistics_.transactions_lost;
  // Where it may have ended the transaction, what stands behind it may have committed by itself.
  progress.unsure = !leaves_nothing && effects.status_after('T') != 'T';
  fail_segment(segment, lost_transaction_error(), leaves_nothing ? 'I' : 'E', progress);
}

void SessionMachine::answer_outside_block(const Segment& segment, const SegmentEffects& effects, Witness witness,
                                          Progress& progress) {
  const bool completed = segment.completed();
  const bool stays_outside = effects.status_after('I') == 'I';
  if (completed && effects.single && stays_outside) {
    // CommandComplete of a single simple statement comes after its commit: only ReadyForQuery is missing.
    return pg::write_ready_for_query(client_output, 'I');
  }
  if (!stays_outside) {
    const bool lost = effects.undoable && !effects.may_commit && !segment.commit_behind;
    if (!lost) return fail_unknown(segment, 'E', progress);
    ++statistics_.transactions_lost;
    // Where more than a BEGIN stood in it, it may have failed by itself: what stands behind it then ran outside a block.
    progress.unsure = !effects.only_begin;
    return fail_segment(segment, lost_transaction_error(), 'E', progress);
  }
  const bool ended = is_killed(witness) || ended_by_rule();
  if (ended && (effects.only_reads || (segment.simple && !completed && effects.undoable && !commit_warned_))) {
    return fail_segment(segment, lost_statement_error(witness), 'I', progress);
  }
  const bool not_sent_whole = (segment.open || segment.copying) && effects.undoable && !effects.may_commit;
  if (effects.only_reads || reads_proven_ || not_sent_whole) {
    return fail_segment(segment, lost_statement_error(Witness::gone), 'I', progress);
  }
  fail_unknown(segment, 'I', progress);
}

/// The transaction is gone with its server, which is what a ROLLBACK asks for: its missing replies are written here.
void SessionMachine::answer_rollback(const Segment& segment, Progress& progress) {
  for (const auto& request : segment.requests) answer_end(request, "ROLLBACK");
  progress = {};
  progress.parsed = true;
  pg::write_ready_for_query(client_output, 'I');
}

/// The reply that a request is owed, as if it had been run: one of those that bring and run the end of a transaction.
void SessionMachine::answer_end(const pg::Request& request, std::string_view tag) {
  switch (request.kind) {
    case pg::RequestKind::parse: pg::write_empty(client_output, back::parse_complete); break;
    case pg::RequestKind::bind: pg::write_empty(client_output, back::bind_complete); break;
    case pg::RequestKind::close: pg::write_empty(client_output, back::close_complete); break;
    case pg::RequestKind::describe:
      if (request.number == statement_described_) pg::Writer(client_output, back::parameter_description).i16(0).finish();
      pg::write_empty(client_output, back::no_data);
      break;
    case pg::RequestKind::query:
    case pg::RequestKind::execute: pg::write_command_complete(client_output, tag); break;
    default: break;
  }
  if (request.kind == pg::RequestKind::parse && request.statement != pg::no_statement) statements_.release(request.previous);
  statements_.release(request.statement);
}

/// Its commit was not sent, or has been fenced out: it can be run again.
void SessionMachine::fail_undone(const Segment& segment, Witness witness, Progress& progress) {
  if (progress.status == 'T') {
    ++statistics_.transactions_lost;
    return fail_segment(segment, lost_transaction_error(), 'I', progress);
  }
  fail_segment(segment, lost_statement_error(witness), 'I', progress);
}

void SessionMachine::fail_unknown(const Segment& segment, char after, Progress& progress) {
  ++statistics_.outcomes_unknown;
  progress.unsure = true;
  fail_segment(segment,
               {"ERROR", options_.unknown_outcome_code,
                "the outcome is unknown: the server was lost before it confirmed"},
               after, progress);
}

/// `after` is the client's transaction status then.
void SessionMachine::fail_segment(const Segment& segment, pg::ErrorText error, char after, Progress& progress) {
  const auto detail = options_.connection + ": " + loss_.message;
  error.detail = detail;
  pg::write_error(client_output, error);
  progress.lost_here = after == 'E' && (progress.lost_here || progress.status != 'E');
  progress.status = after;
  if (segment.open) {
    skip_to_sync_ = true;
    status_after_skip_ = after;
  } else {
    pg::write_ready_for_query(client_output, after);
  }
}

void SessionMachine::enter_lost_transaction(bool error_pending) {
  detach();
  state_ = SessionState::lost_transaction;
  lost_error_pending_ = error_pending;
  const auto error = lost_transaction_error();
  lost_code_ = error.code;
  lost_message_ = error.message;
}

void SessionMachine::detach() {
  state_ = SessionState::detached;
  for (auto& [name, id] : portals_) statements_.release(id);
  portals_.clear();
  statements_.release(std::exchange(unnamed_portal_, pg::no_statement));
  backend_process_id_ = 0;
  forget_segment();
  forget_journal();
  forget_commit();
  two_phase_.reset();
  if (client_stream_left_ > 0) client_stream_ = Stream::drop;  // the rest of a message that was cut
}

}  // namespace holdfast::proxy::postgres

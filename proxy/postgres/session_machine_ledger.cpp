// exactly_once: each commit of the client's that may leave something behind is recorded in the ledger (protocol/postgres/
// ledger.hpp) by the transaction itself. When its answer is lost, the ledger tells what became of it.
//
// A commit goes out only once everything before it is answered, so that what is lost with its answer is no more than the
// answer itself, which can then be said without the server:
//
//   simple, in a block:      … ✓ | record, Sync | COMMIT                                no more round trips
//   extended, in a block:    … ✓ Parse Bind | record | Execute COMMIT, Sync             no more round trips
//   extended, autocommit:    Parse Bind Execute, Flush ✓ | record | Sync                one more
//   simple, autocommit:      BEGIN of ours | Query ✓ | record, Sync | COMMIT of ours    one more
//
// What cannot be recorded is left to the rules for everybody (session_machine_loss.cpp).
#include <utility>

#include "proxy/mutation.hpp"
#include "proxy/postgres/segment_effects.hpp"
#include "proxy/postgres/session_machine.hpp"

namespace holdfast::proxy::postgres {

namespace front = pg::frontend;

namespace {

/// Texts of as many shapes are remembered; an application has some hundred.
constexpr std::size_t entries_max = 1024;
/// Rows that a session leaves in the ledger before it removes them, all at once.
constexpr std::uint64_t forget_after = 100;

}  // namespace

// ---- before a message of the client's goes on ----

/// What has to happen first, if anything. `message` is empty where it is too long to be read whole.
std::optional<SessionMachine::Pass> SessionMachine::prepare_commit(const pg::Header& header, std::string_view message) {
  if (wrap_ != Wrap::none) {
    const bool own = wrap_ == Wrap::open && wrapped_.statement == pg::no_statement;
    if (own || front::is_copy_message(header.type) || header.type == front::flush) return std::nullopt;
    return hold_for_answers(false);
  }
  if (commit_ && !commit_->request) return std::nullopt;  // its record is on the way: this is the commit
  if (commit_sent()) {
    const bool belongs = (header.type == front::sync && tracker_.segment_open()) || header.type == front::flush;
    return belongs ? std::nullopt : std::optional(hold_for_answers(tracker_.segment_open()));
  }
  if (message.empty() || header.type == front::function_call) {
    writes_ = unjoinable_ = true;
    return std::nullopt;
  }
  const auto body = message.substr(pg::header_size);
  switch (header.type) {
    case front::query: {
      pg::Reader reader(body);
      return before_query(reader.cstring());
    }
    case front::execute: return before_execute(body);
    case front::sync: return before_sync();
    default: return std::nullopt;
  }
}

std::optional<SessionMachine::Pass> SessionMachine::before_query(std::string_view text) {
  const auto entry = ledger_entry(text, pg::scan_text(text));
  if (!entry.writes && entry.control == pg::TransactionControl::none) return std::nullopt;
  // In the middle of an extended segment, which is no driver's way: left to the rules for everybody.
  const bool apart = !tracker_.segment_open();
  if (apart && !tracker_.empty()) return hold_for_answers(false);
  if (apart && status_ == 'T' && entry.control == pg::TransactionControl::commit && writes_) {
    commit_.emplace();
    inject_record(true);
    return Pass::inject;
  }
  if (apart && status_ == 'I' && entry.writes && entry.can_join) {
    wrap_ = Wrap::open;
    wrapped_ = {};
    wrapped_failed_ = false;
    inject("holdfast_begin", "BEGIN");
    return Pass::inject;
  }
  writes_ = writes_ || entry.writes;
  return std::nullopt;
}

std::optional<SessionMachine::Pass> SessionMachine::before_execute(std::string_view body) {
  pg::Reader reader(body);
  const auto id = statement_of_portal(reader.cstring());
  if (id == pg::no_statement || !statements_[id].has_text()) {
    writes_ = unjoinable_ = true;
    return std::nullopt;
  }
  const auto entry = ledger_entry(statements_[id].text(), statements_[id].scan);
  const bool commits = entry.control == pg::TransactionControl::commit;
  if (!commits || !writes_ || tracker_.failed()) {
    if (entry.control == pg::TransactionControl::begin) in_block_ = true;
    if (commits || entry.control == pg::TransactionControl::rollback) in_block_ = false;
    if (entry.control == pg::TransactionControl::rollback) writes_ = false;  // what was before it is undone, if it succeeds
    writes_ = writes_ || entry.writes;
    unjoinable_ = unjoinable_ || (entry.writes && !entry.can_join);
    return std::nullopt;
  }
  if (!answered_so_far()) return hold_for_answers(true);
  const bool in_block = in_block_.value_or(status_ == 'T');
  if (status_ == 'E' || (!in_block && unjoinable_)) return std::nullopt;
  commit_.emplace();
  inject_record(false);
  return Pass::inject;
}

std::optional<SessionMachine::Pass> SessionMachine::before_sync() {
  // A server that reads COPY data ignores it.
  if (tracker_.copying_in()) return std::nullopt;
  if (!writes_ || !tracker_.segment_open() || tracker_.failed()) return std::nullopt;
  if (awaits_ready()) return hold_for_answers(true);
  if (in_block_.value_or(status_ != 'I') || unjoinable_) return std::nullopt;
  if (!tracker_.empty()) return hold_for_answers(true);
  commit_.emplace();
  inject_record(false);
  return Pass::inject;
}

/// A message has gone out: it may be the one in front of which something was injected.
void SessionMachine::note_commit_sent(char type) {
  if (type == front::sync && !tracker_.copying_in()) {
    in_block_.reset();
    unjoinable_ = false;
  }
  if (type == front::query && wrap_ == Wrap::open && wrapped_.statement == pg::no_statement) {
    wrapped_ = tracker_.requests().back();
    statements_.hold(wrapped_.statement);
  }
  if (!commit_ || commit_->request || type == front::flush) return;
  commit_->request = tracker_.last_number();
  commit_->sent = true;
  if (type == front::execute) in_block_ = false;
}

pg::LedgerEntry SessionMachine::ledger_entry(std::string_view text, const pg::TextScan& scan) {
  const Prepared prepared{statements_, session_};
  if (scan.kind == pg::TextClass::execute) return pg::judge_for_ledger(judge_run(prepared, text, scan.kind));
  if (const auto known = ledger_entries_.find(scan.shape); known != ledger_entries_.end()) return known->second;
  if (ledger_entries_.size() == entries_max) ledger_entries_.clear();
  return ledger_entries_[scan.shape] = pg::judge_for_ledger(judge_run(prepared, text, scan.kind));
}

/// Until the server has answered more than it has. In the extended protocol it is asked to.
SessionMachine::Pass SessionMachine::hold_for_answers(bool flush) {
  if (flush && flushed_ != tracker_.last_number()) {
    flushed_ = tracker_.last_number();
    pg::write_flush(server_output);
    return Pass::inject;
  }
  waits_for_answers_ = true;
  return Pass::hold;
}

/// What is not answered yet has answers that are known beforehand, should a COMMIT behind it be found to have committed.
bool SessionMachine::answered_so_far() const {
  const auto& requests = tracker_.requests();
  for (std::size_t i = 0; i < requests.size(); ++i) {
    const auto& request = requests[i];
    const bool described = request.kind == pg::RequestKind::describe && request.number == portal_described_;
    if (request.kind != pg::RequestKind::parse && request.kind != pg::RequestKind::bind && !described) return false;
  }
  return true;
}

/// A segment before the open one is not answered to its end: where the client stands is not known.
bool SessionMachine::awaits_ready() const {
  const auto& requests = tracker_.requests();
  for (std::size_t i = 0; i < requests.size(); ++i) {
    const auto kind = requests[i].kind;
    if (kind == pg::RequestKind::sync || kind == pg::RequestKind::query || kind == pg::RequestKind::function_call) return true;
  }
  return false;
}

/// A statement of ours on which the client's depends: its errors are the client's.
void SessionMachine::inject(std::string_view name, std::string_view text) {
  run_own(name, text, {}, pg::Owner::injected, {.name_left = true, .sync = true});
}

void SessionMachine::inject_record(bool with_sync) {
  commit_->sequence = ++sequence_;
  own_error_.clear();
  if (broken("record")) return;
  run_own("holdfast_record", pg::ledger_record(), {options_.ledger_session, std::to_string(commit_->sequence)}, pg::Owner::injected,
          {.name_left = true, .sync = with_sync});
}

// ---- the server's answers ----

/// A Query in a transaction of ours is answered: it is committed only now. The rest of a message that the client is in the
/// middle of goes first: data of a COPY that has failed.
SessionMachine::Pass SessionMachine::on_wrapped_ready(char status) {
  if (catching_up()) return differs("a statement gave less than the first time");
  wrap_ = Wrap::ending;
  wrapped_failed_ = status != 'T';
  wrap_end_due_ = true;
  if (client_stream_left_ == 0) send_wrap_end();
  return Pass::drop;
}

void SessionMachine::send_wrap_end() {
  if (!std::exchange(wrap_end_due_, false)) return;
  if (wrapped_failed_) {
    inject("holdfast_rollback", "ROLLBACK");
    wrap_readies_ = 1;
  } else {
    commit_ = RecordedCommit{0, wrapped_.number, true, true};
    inject_record(true);
    inject("holdfast_commit", "COMMIT");
    wrap_readies_ = 2;
  }
}

/// ReadyForQuery of a segment of ours. The last one of a wrap is the client's.
SessionMachine::Pass SessionMachine::on_own_ready(char status) {
  if ((wrap_ != Wrap::ending && wrap_ != Wrap::done) || --wrap_readies_ > 0) return Pass::drop;
  if (!wrapped_failed_ && commit_) client_output += own_error_;
  const auto request = wrapped_;
  end_wrap();
  return on_ready(request, status);
}

/// CommandComplete of a statement of the client's, where that is not simply passed on.
std::optional<SessionMachine::Pass> SessionMachine::on_completed_for_ledger(const pg::Request& request, std::string_view message) {
  if (wrap_ == Wrap::open && request.number == wrapped_.number) {
    if (catching_up()) return differs("a statement gave less than the first time");
    held_completion_ = message;
    return Pass::drop;
  }
  if (!commit_ || commit_->request != request.number) return std::nullopt;
  commit_.reset();
  writes_ = false;
  if (own_error_.empty()) return std::nullopt;
  // The record had failed, and COMMIT was answered with ROLLBACK: no success that was none.
  client_output += std::exchange(own_error_, {});
  return Pass::drop;
}

void SessionMachine::note_ready_for_ledger(std::uint64_t request, char status) {
  if (wrap_ == Wrap::open && request == wrapped_.number) {
    // The block that was begun for it is gone: what is reported is done.
    client_output += std::exchange(held_completion_, {});
    end_wrap();
  }
  if (commit_ && commit_->request == request) commit_.reset();
  flushed_.reset();
  if (status == 'I' && tracker_.empty() && !tracker_.segment_open()) writes_ = false;
}

/// CommandComplete of a statement of ours.
void SessionMachine::on_own_completed(std::string_view tag) {
  if (wrap_ != Wrap::ending || tag != "COMMIT") return;
  commit_.reset();
  wrap_ = Wrap::done;
  wrapped_.completed_part = true;
  client_output += std::exchange(held_completion_, {});
}

void SessionMachine::on_recorded(std::string_view body) {
  const bool recorded = pg::parse_data_row(body, columns_) && columns_.size() == 1 && columns_[0] == "t";
  if (commit_) commit_->recorded = recorded;
}

void SessionMachine::end_wrap() {
  if (wrap_ == Wrap::none) return;
  statements_.release(std::exchange(wrapped_.statement, pg::no_statement));
  wrap_ = Wrap::none;
  wrap_end_due_ = false;
  own_error_.clear();
  held_completion_.clear();
  commit_.reset();
}

void SessionMachine::forget_commit() {
  end_wrap();
  commit_.reset();
  in_block_.reset();
  writes_ = unjoinable_ = false;
}

// ---- after a loss ----

/// What was injected for a message that never went out.
void SessionMachine::drop_unsent_commit() {
  if (commit_ && !commit_->request) commit_.reset();
  if (two_phase_ && two_phase_->request == 0) two_phase_.reset();
  if (wrap_ == Wrap::open && wrapped_.statement == pg::no_statement) wrap_ = Wrap::none;
  wrap_end_due_ = false;
  waits_for_answers_ = false;
  flushed_.reset();
}

bool SessionMachine::certainly_not_committed() const {
  if (two_phase_ && two_phase_->undone) return true;
  return ((wrap_ == Wrap::open || wrap_ == Wrap::ending) && !commit_sent()) || (commit_ && commit_->request && !commit_->sent);
}

std::optional<SessionMachine::OutcomeQuestion> SessionMachine::commit_in_question() const {
  if (!replay_ || !replay_->asks_outcome) return std::nullopt;
  if (asks_two_phase_) return OutcomeQuestion{pg::two_phase_after(two_phase_->statement), pg::commit_barrier()};
  const std::vector<std::string> key{options_.ledger_session, std::to_string(commit_->sequence)};
  return OutcomeQuestion{{pg::ledger_fence(), key}, pg::commit_barrier()};
}

void SessionMachine::on_commit_judged(Outcome outcome) {
  if (!replay_ || !std::exchange(replay_->asks_outcome, false)) return;
  if (outcome == Outcome::committed && !broken("fence")) return answer_committed();
  if (outcome == Outcome::unknown) {
    replay_obstacle_ = asks_two_phase_ ? "two_phase" : "ledger";
    return abandon_replay({});
  }
  ++statistics_.outcomes_not_committed;
  held_completion_.clear();
  if (asks_two_phase_) {
    two_phase_->undone = true;
  } else if (wrap_ == Wrap::none) {
    commit_->sent = false;
  } else {
    commit_.reset();
  }
  if (replay_->obstacle.empty()) return;
  replay_obstacle_ = replay_->obstacle;
  abandon_replay({});
}

/// It has committed: what the client is still owed is known.
void SessionMachine::answer_committed() {
  ++statistics_.outcomes_committed;
  bool ready = false;
  for (const auto& request : replay_->pending) {
    ready = ready || request.kind == pg::RequestKind::query || request.kind == pg::RequestKind::sync;
    if (wrap_ == Wrap::none) {
      answer_end(request, asks_two_phase_ ? pg::two_phase_tag(two_phase_->statement.control) : "COMMIT");
    } else {
      client_output += std::exchange(held_completion_, {});
      statements_.release(request.statement);
    }
  }
  status_ = 'I';
  if (ready) pg::write_ready_for_query(client_output, 'I');
  const bool session_changed = snapshot_now_ || segment_changed_state_ || !set_by_execute_.empty();
  replay_.reset();
  detach();
  if (!session_changed) return;
  // It is committed, and the session that it made cannot be built again.
  static_cast<void>(cannot_restore({"unconfirmed_state", "a setting that was changed by the transaction"}));
}

// ---- what is of no more use ----

bool SessionMachine::ledger_forget_due() const {
  return ledger_on() && state_ == SessionState::attached && status_ == 'I' && snapshot_ == Snapshot::none && !busy() &&
         client_stream_left_ == 0 && sequence_ - sequence_forgotten_ >= forget_after;
}

void SessionMachine::begin_ledger_forget() {
  sequence_forgotten_ = sequence_;
  run_own("holdfast_forget", pg::ledger_forget(), {options_.ledger_session, std::to_string(sequence_)}, pg::Owner::holdfast,
          {.name_left = true, .sync = true});
}

void SessionMachine::begin_ledger_sweep() {
  run_own("holdfast_sweep", pg::ledger_sweep(), {}, pg::Owner::holdfast, {.name_left = true, .sync = true});
}

}  // namespace holdfast::proxy::postgres

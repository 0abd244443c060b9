// PREPARE TRANSACTION, COMMIT PREPARED and ROLLBACK PREPARED (protocol/postgres/two_phase.hpp): before one goes out, the
// server is asked for its transaction; when its answer is lost, the next backend is asked what became of that.
//
//   simple:    | question, Sync ✓ | PREPARE TRANSACTION 'a'                  one round trip more
//   extended:  | question, Sync ✓ | Parse Bind Execute, Sync                 one round trip more
//
// One in the middle of a pipeline, or in a text with others, is left to the rules for everybody (session_machine_loss.cpp).
#include <utility>

#include "proxy/mutation.hpp"
#include "proxy/postgres/lost_segment.hpp"
#include "proxy/postgres/segment_effects.hpp"
#include "proxy/postgres/session_machine.hpp"

namespace holdfast::proxy::postgres {

/// Looked at with each message that brings such a text, for as long as nothing of its segment has gone out.
std::optional<SessionMachine::Pass> SessionMachine::before_two_phase(char type, pg::StatementId id) {
  if (tracker_.segment_open() || !reads_alike(told_)) return std::nullopt;
  if (!tracker_.empty()) return hold_for_answers(false);
  const auto judged = pg::judge_text(statements_[id].text());
  const auto control = pg::two_phase_control(judged);
  const char needed = control == pg::TransactionControl::prepare_transaction ? 'T' : 'I';
  if (control == pg::TransactionControl::none || status_ != needed) return std::nullopt;
  const auto& global_id = judged.statements.front().name;
  if (two_phase_ && two_phase_->statement.control == control && two_phase_->statement.global_id == global_id) {
    return two_phase_->error.empty() || status_ == 'I' ? std::nullopt : std::optional(fail_two_phase(type));
  }
  two_phase_.emplace().statement = {control, global_id, {}, {}};
  const auto question = pg::two_phase_before(two_phase_->statement);
  run_own("holdfast_two_phase", question.text, question.parameters, pg::Owner::injected, {.name_left = true, .sync = true});
  return Pass::inject;
}

/// What was asked has failed, and the client's transaction of it: PREPARE TRANSACTION would say ROLLBACK, which not everybody reads.
SessionMachine::Pass SessionMachine::fail_two_phase(char type) {
  client_output += two_phase_->error;
  two_phase_.reset();
  status_ = 'E';
  if (type == pg::frontend::query) {
    pg::write_ready_for_query(client_output, status_);
  } else {
    skip_to_sync_ = true;
    status_after_skip_ = status_;
  }
  return Pass::drop;
}

void SessionMachine::on_two_phase_row(std::string_view body) {
  const bool known = pg::parse_data_row(body, columns_) && columns_.size() == 2 && columns_[0] && columns_[1];
  if (!known) return;
  two_phase_->statement.transaction = broken("two_phase_id") ? "0" : *columns_[0];
  two_phase_->statement.timeline = *columns_[1];
}

/// The message that runs it was recorded as the last request.
void SessionMachine::note_two_phase_sent(pg::StatementId id) {
  if (two_phase_->request != 0 || id == pg::no_statement || !statements_[id].scan.two_phase) return;
  two_phase_->request = tracker_.last_number();
}

/// By a second run: another transaction prepares, and nobody has asked for its id.
void SessionMachine::note_two_phase_sent_again(std::uint64_t request) {
  if (!two_phase_ || two_phase_->request != request) return;
  two_phase_->undone = false;
  if (two_phase_->statement.control == pg::TransactionControl::prepare_transaction) two_phase_->statement.transaction.clear();
}

/// It is all that was under way, what is owed for it is known beforehand, and nobody can be at it any more.
bool SessionMachine::asks_two_phase(const std::vector<Segment>& segments, OldBackend old_backend) const {
  if (!two_phase_ || two_phase_->statement.transaction.empty() || two_phase_->done || two_phase_->undone) return false;
  if (old_backend != OldBackend::gone && !broken("two_phase_gone")) return false;
  if (segments.size() != 1 || segments.front().failed) return false;
  for (const auto& request : segments.front().requests) {
    const bool described = request.number == portal_described_ || request.number == statement_described_;
    if (request.kind == pg::RequestKind::close || (request.kind == pg::RequestKind::describe && !described)) return false;
  }
  const auto effects =
      judge_segment({statements_, session_}, segments.front().executed, segments.front().requests, status_);
  return effects.single && pg::two_phase_control(effects.texts.front()) == two_phase_->statement.control &&
         effects.texts.front().statements.front().name == two_phase_->statement.global_id;
}

}  // namespace holdfast::proxy::postgres

// The table of what a client sees, row by row, for one command.
#include "proxy/mongo/operation_machine.hpp"

#include <algorithm>
#include <utility>

#include "protocol/mongo/projection.hpp"
#include "proxy/mutation.hpp"

namespace holdfast::proxy::mongo {

using namespace operation_step;
using wire::CommandKind;
namespace code = wire::code;
namespace label = wire::label;

OperationMachine::OperationMachine(const wire::Command& command, const wire::Message& request, OperationSettings settings,
                                   Places::Place place)
    : command_(command), request_(request), settings_(settings), place_(place) {}

bool OperationMachine::ends_transaction() const { return command_.kind == CommandKind::commit || command_.kind == CommandKind::abort; }

bool OperationMachine::is_statement_of_transaction() const { return command_.in_transaction && !ends_transaction(); }

bool OperationMachine::ends_sessions() const { return command_.name == "endSessions"; }

/// Others may wait, with a connection each, for a lock that a transaction has: it goes on, and ends, however many these are. So does whoever
/// looks for what is under way, and ends that.
PoolBook::Room OperationMachine::room() const {
  const bool goes_on = command_.in_transaction && !command_.starts_transaction;
  const bool ends = command_.kind == CommandKind::kill_cursors || command_.operation || command_.everywhere;
  const bool looks = command_.opens == wire::CursorOf::operations;
  return goes_on || ends || looks ? PoolBook::Room::beyond_limit : PoolBook::Room::within_limit;
}

/// Where it may have been executed, its client is told so in the end, and not that it was not.
bool OperationMachine::is_told_unknown() const {
  return command_.kind != CommandKind::read && command_.kind != CommandKind::sessions;
}

/// Is it to be sent to the member that its cursor or transaction is with, and to no other? A set's transaction is ended by the primary: if that is
/// another one by now, there is nothing left to end. Of mongos each has its own, until an ending may have reached one of them.
bool OperationMachine::is_bound() const { return place_.member && (!ends_transaction() || (settings_.sharded && !unknown_)); }

/// Sent twice it is executed once only by a server that knows (lsid, txnNumber) again.
bool OperationMachine::needs_memory() const { return command_.kind == CommandKind::write || ends_transaction(); }

/// May the same bytes be sent again although they may have been executed?
bool OperationMachine::may_repeat() const {
  switch (command_.kind) {
    case CommandKind::read:
    case CommandKind::sessions: return settings_.replays && !command_.in_transaction;
    case CommandKind::write: return settings_.deduplicates && (wire::is_deduplicated(command_) || broken("numbered"));
    case CommandKind::commit:
    case CommandKind::abort: return settings_.deduplicates;
    case CommandKind::get_more: return broken("get_more_once");
    default: return false;
  }
}

bool OperationMachine::may_begin_anew() const { return sends_ == 0 || command_.kind == CommandKind::read || broken("begin_anew"); }

OperationStep OperationMachine::start(SteadyTime now) {
  started_ = now;
  deadline_ = now + settings_.hold_timeout;
  // A client that leaves is not kept: what it does not end, its server ends after a while.
  if (ends_sessions()) deadline_ = now;
  const bool awaits = command_.kind == CommandKind::get_more;  // its maxTimeMS says how long to wait for data
  if (command_.time_limit && !awaits) {
    const auto limit = std::min<std::int64_t>(*command_.time_limit, milliseconds(std::chrono::hours(24 * 365)).count());
    time_limit_ = now + milliseconds(limit);
    deadline_ = std::min(deadline_, *time_limit_);
  }
  // A pause is for what begins: a transaction goes on with its member, and so does its end.
  const bool ends_while_paused = settings_.paused && ends_transaction() && place_.member;
  if (is_bound() || ends_while_paused) return Use{*place_.member, deadline_};
  return Select{deadline_, false};
}

void OperationMachine::note_server(bool deduplicates) {
  settings_.deduplicates = settings_.deduplicates && (deduplicates || broken("another_server"));
}

OperationStep OperationMachine::on_member(SteadyTime now) {
  // Another server stands at that address by now than when it was sent first.
  if (unknown_ && needs_memory() && !settings_.deduplicates) return give_up();
  Send send;
  if (batch_) {
    auto part = batch_->part();
    send.body = std::move(part.body);
    send.statements = part.statements;
  }
  if (sends_ > 0 && command_.kind == CommandKind::commit && !broken("commit_majority")) {
    // Without w: majority a commit that was rolled back could be applied a second time (Transactions specification).
    send.body = wire::body_of_repeated_commit(request_.body);
  } else if (sends_ > 0 && time_limit_) {
    const auto left = std::chrono::duration_cast<milliseconds>(*time_limit_ - now).count();
    if (left <= 0) return give_up();
    send.body = wire::body_with_time_limit(send.body ? *send.body : request_.body, left);
  }
  ++sends_;
  if (!first_sent_) first_sent_ = now;
  return send;
}

/// The first trouble gives the command a wait of its own, however long it has been running.
void OperationMachine::trouble(SteadyTime now) {
  if (std::exchange(troubled_, true) || ends_sessions()) return;
  deadline_ = now + settings_.hold_timeout;
  if (time_limit_) deadline_ = std::min(deadline_, *time_limit_);
}

OperationStep OperationMachine::again(SteadyTime now) {
  trouble(now);
  // What a server has executed it forgets in the end, and would execute again.
  if (unknown_ && is_told_unknown() && !broken("server_memory")) deadline_ = std::min(deadline_, *first_sent_ + settings_.memory);
  if (now >= deadline_) return give_up();
  return Select{deadline_, true};
}

OperationStep OperationMachine::on_refused(RefusalReason reason, const std::string& message, SteadyTime) {
  reason_ = message;
  if (reason == RefusalReason::breaker_open) time_limit_.reset();  // it is not the time that is over
  return give_up();
}

OperationStep OperationMachine::on_unreachable(const std::string& message, SteadyTime now) {
  reason_ = message;
  if (ends_transaction()) return again(now);
  if (is_statement_of_transaction()) return transaction_lost();
  if (command_.kind == CommandKind::kill_cursors) return Answer{wire::no_cursors_body(command_)};
  return command_.operation ? operation_gone() : cursor_lost();
}

OperationStep OperationMachine::on_lost(Written written, const std::string& message, SteadyTime now) {
  reason_ = message;
  if (written == Written::yes && !broken("written")) return on_unknown(now);
  auto next = over_another(now);
  return is_bound() && std::exchange(used_twice_, true) ? on_unreachable(message, now) : next;
}

/// Of what was sent last nothing was executed, and nothing is wrong with the member.
OperationStep OperationMachine::over_another(SteadyTime now) {
  if (sends_ > 0) --sends_;
  trouble(now);
  return is_bound() ? OperationStep(Use{*place_.member, deadline_}) : again(now);
}

OperationStep OperationMachine::on_unknown(SteadyTime now) {
  if (is_statement_of_transaction()) {
    return broken("statement_once") && place_.member ? OperationStep(Use{*place_.member, deadline_}) : transaction_lost();
  }
  unknown_ = !broken("remember_unknown");
  if (may_repeat()) return again(now);
  switch (command_.kind) {
    case CommandKind::get_more: return cursor_lost();
    case CommandKind::kill_cursors: return kill_again(now);
    case CommandKind::commit: return give_up();
    case CommandKind::read: return error(code::host_unreachable, "the connection to the server was lost: " + reason_);
    default: return outcome_unknown();
  }
}

/// The cursors may live, and to kill them twice does no harm. One that loses this twice hangs, or is about to end.
OperationStep OperationMachine::kill_again(SteadyTime now) {
  if (!place_.member) return again(now);
  trouble(now);
  if (std::exchange(used_twice_, true)) return Answer{wire::no_cursors_body(command_)};
  return Use{*place_.member, deadline_};
}

OperationStep OperationMachine::on_not_executed(SteadyTime now) {
  // Whoever is no primary any more has ended its transactions; a first statement has not begun one, but for a mongos, which knows its number now.
  const bool begun = !command_.starts_transaction || (settings_.sharded && !broken("begun_by_mongos"));
  if (is_statement_of_transaction() && begun) return transaction_lost();
  if (command_.kind == CommandKind::get_more) return cursor_lost();
  if (command_.kind == CommandKind::kill_cursors && place_.member) return Answer{wire::no_cursors_body(command_)};
  // Another member's operation of that number is another one.
  if (command_.operation && place_.member) return operation_gone();
  return again(now);
}

/// Does a reply that asks for a repetition tell the client enough, where there is none?
bool OperationMachine::may_be_seen(const wire::Reply& reply) const {
  if (!reply.readable || (code::is_state_change(reply.code) && !broken("hide_state_change"))) return false;
  if (broken("hide_lost_shard")) return true;
  // A driver reads success of what a mongos hides, and failure of a commit that has no label.
  return reply.ok ? reply.inner_network_code == 0
                  : command_.kind != CommandKind::commit && reply.code != code::failed_to_satisfy_read_preference;
}

OperationStep OperationMachine::on_reply(const wire::Reply& reply, Replier replier, SteadyTime now) {
  auto verdict = wire::judge(command_, reply);
  if (!reply.readable) reason_ = "its reply cannot be read";
  if (!reply.message.empty()) reason_ = reply.message;
  // A transaction is its session's and a cursor its user's, whatever the connection. Twice is no accident. By a mongos it may be said of one of
  // its own connections, when others have executed their part.
  const bool nothing_done = !settings_.sharded || !is_told_unknown() || may_repeat();
  if (replier == Replier::logged_out && nothing_done && !std::exchange(logged_out_, true) && !broken("logged_out")) return over_another(now);
  // A cursor and an open transaction are their member's, whoever is the primary.
  const bool its_own = command_.kind == CommandKind::get_more || (command_.in_transaction && command_.kind != CommandKind::commit);
  if (replier == Replier::replaced && verdict == wire::Verdict::believed && !its_own) {
    reason_ = "the member that answered had been replaced as primary";
    verdict = wire::Verdict::unknown;
  }
  const bool for_several_shards = command_.kind == CommandKind::other || (command_.kind == CommandKind::write && command_.multiple);
  const bool of_one_shard = settings_.sharded && for_several_shards && !broken("refusal_of_a_shard");
  if (of_one_shard && verdict == wire::Verdict::not_executed) verdict = wire::Verdict::unknown;
  switch (verdict) {
    case wire::Verdict::believed: return on_believed(reply, now);
    case wire::Verdict::not_executed: return on_not_executed(now);
    case wire::Verdict::unknown: return broken("interrupted") ? on_not_executed(now) : on_unknown(now);
    case wire::Verdict::try_again:
      if (!may_repeat()) return may_be_seen(reply) ? OperationStep(Forward{}) : on_unknown(now);
      unknown_ = !broken("remember_unknown");
      return again(now);
  }
  return Forward{};
}

OperationStep OperationMachine::on_believed(const wire::Reply& reply, SteadyTime now) {
  // A mongos that has not heard of the transaction could ask for it, but is told whom only where something was written (recoveryToken).
  const bool unheard_of = reply.code == code::no_recovery_token;
  const bool lost = unheard_of || reply.code == code::no_such_transaction;
  const bool wrote = place_.wrote && !broken("only_read");
  if (command_.kind == CommandKind::commit && lost && !wrote) {
    // Nothing was changed, and what was read came from one snapshot: there is nothing left to commit. For a majority it would also
    // have to be shown that what was read has stayed.
    if (command_.one_member) return Answer{wire::ok_body()};
    if (unheard_of) return transaction_lost();
  }
  // What fails the second time only, or there, says nothing of the first time.
  const bool of_the_asking = unheard_of || (unknown_ && !wire::tells_of_the_transaction(reply));
  if (command_.kind == CommandKind::commit && of_the_asking) return give_up();
  // Its member has rolled back. A driver resumes after 43 and never after this, which would end the client's loop.
  if (place_.cursor == wire::CursorOf::changes && reply.code == code::query_plan_killed) return cursor_lost();
  // A mongos repeats by itself, and the client may have done so over another connection.
  const bool of_repetition = may_repeat() && wire::leaves_documents_out(command_, reply) && !broken("repeated_elsewhere");
  if (!unknown_ && !of_repetition) return Forward{};
  if (command_.kind == CommandKind::abort && reply.code == code::no_such_transaction) return Answer{wire::ok_body()};
  if (command_.kind != CommandKind::write) return Forward{};
  const bool repetition = code::is_caused_by_repetition(reply.code) || code::is_caused_by_repetition(reply.first_error_code);
  if (repetition && !broken("caused_by_repetition")) return outcome_unknown();
  // It may have waited for the first, which goes on.
  if (unknown_ && wire::tells_of_the_repetition_only(command_, reply)) return outcome_unknown();
  // A mongos tells below the root what a shard says at it, before it looks into its history.
  const bool of_shard = settings_.sharded && code::is_apart_from_execution(reply.first_error_code);
  if (unknown_ && of_shard && !broken("repetition_at_shard")) return outcome_unknown();
  // The first time it may have been taken: collections are dropped and made anew as others.
  if (wire::refuses_number(reply) && !broken("refused_again")) return outcome_unknown();
  if (batch_) return on_part(reply, now);
  if (!wire::accounts_for_all(command_, reply) && !broken("accounts_for_all")) {
    unknown_ = true;
    batch_ = BatchRepeat::begin(request_, command_, reply);
    return batch_ ? on_member(now) : outcome_unknown();
  }
  if (command_.projects && reply.ok && !broken("projects")) {
    // A server answers a repetition with the whole document, whatever `fields` says (SERVER-31242).
    const auto fields = wire::find(request_.body, "fields");
    auto projected = fields ? wire::with_projected_value(reply.body, fields->bytes) : std::nullopt;
    return projected ? OperationStep(Forward{std::move(projected)}) : outcome_unknown();
  }
  return Forward{};
}

/// What a part of a batch was answered. The connection is at hand, so that the next one goes out at once.
OperationStep OperationMachine::on_part(const wire::Reply& reply, SteadyTime now) {
  const auto heard = batch_->on_reply(reply);
  if (heard == BatchRepeat::Heard::all) return Forward{batch_->take_answer()};
  if (heard == BatchRepeat::Heard::unclear || now >= *first_sent_ + settings_.memory) return outcome_unknown();
  troubled_ = false;  // it gets on: what goes wrong from here gets a wait of its own
  return on_member(now);
}

Answer OperationMachine::error(int code, const std::string& message, std::initializer_list<std::string_view> labels) const {
  return Answer{wire::error_body({code, "holdfast: " + message, labels})};
}

Answer OperationMachine::unknown(const std::string& message, std::initializer_list<std::string_view> labels) const {
  auto answer = error(code::host_unreachable, message, labels);
  answer.unknown = true;
  return answer;
}

OperationStep OperationMachine::transaction_over(const std::string& message) const {
  auto answer = error(code::no_such_transaction, message + (reason_.empty() ? "" : ": " + reason_), {label::transient_transaction});
  answer.abort = true;
  return answer;
}

OperationStep OperationMachine::transaction_lost() const { return transaction_over("the transaction was lost with the server that it ran on"); }

OperationStep OperationMachine::cursor_lost() const {
  return error(code::cursor_not_found,
               "the cursor was lost with the server that it was open on" + (reason_.empty() ? "" : ": " + reason_));
}

OperationStep OperationMachine::operation_gone() const {
  return error(code::host_unreachable, "the server that the operation was running on cannot be asked to end it" +
                                           (reason_.empty() ? "" : ": " + reason_));
}

OperationStep OperationMachine::outcome_unknown() const {
  return unknown("outcome unknown: the command may have been executed, in part or as a whole" + (reason_.empty() ? "" : " (" + reason_ + ")"));
}

/// The wait is over, or the gate is shut.
OperationStep OperationMachine::give_up() {
  if (ends_sessions()) return Answer{wire::ok_body()};
  const auto why = reason_.empty() ? std::string("no primary") : reason_;
  if (command_.kind == CommandKind::commit && !broken("unknown_commit")) {
    // Never 133: a driver then takes the commit for one that failed.
    return unknown("the outcome of the commit is unknown: " + why, {label::retryable_write, label::unknown_commit});
  }
  if (command_.kind == CommandKind::abort) return outcome_unknown();
  if (is_statement_of_transaction()) return transaction_over("the transaction was ended, its statement could not be sent in time");
  // No driver resumes after any other code.
  if (place_.cursor == wire::CursorOf::changes) return error(code::cursor_not_found, "the cursor could not be asked in time: " + why);
  if (unknown_ && is_told_unknown()) return outcome_unknown();
  if (time_limit_ && deadline_ == *time_limit_) {
    return error(code::max_time_expired, "operation exceeded time limit while there was no primary: " + why);
  }
  if (!unknown_ && settings_.backpressure) {
    return error(code::request_rate_limit_exceeded, "not executed: " + why,
                 {label::overloaded, label::retryable, label::no_writes_performed});
  }
  const bool asked = unknown_ || sends_ > 0;
  return error(code::failed_to_satisfy_read_preference, (asked ? "no member could answer: " : "not executed: ") + why);
}

}  // namespace holdfast::proxy::mongo

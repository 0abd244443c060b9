// A transaction that died with its backend, as its client goes on to see it: one error that names the loss, then
// 25P02 until ROLLBACK or COMMIT ends it. Nothing of it needs a backend.
#include <utility>

#include "protocol/postgres/statement_judge.hpp"
#include "proxy/postgres/session_machine.hpp"

namespace holdfast::proxy::postgres {

namespace front = pg::frontend;
namespace back = pg::backend;

namespace {

enum class Ends { nothing, to_savepoint, commit, rollback };

/// Whether a text is one COMMIT or one ROLLBACK of the whole transaction, or one ROLLBACK TO a savepoint.
Ends ends_transaction(std::string_view text) {
  const auto judged = pg::judge_text(text);
  if (pg::is_plain_rollback(judged)) return Ends::rollback;
  if (judged.statements.size() == 1 && judged.statements[0].control == pg::TransactionControl::rollback_to) {
    return Ends::to_savepoint;
  }
  return pg::is_plain_commit(judged) ? Ends::commit : Ends::nothing;
}

bool ends_whole(std::string_view text) {
  const auto ends = ends_transaction(text);
  return ends == Ends::commit || ends == Ends::rollback;
}

}  // namespace

SessionMachine::Pass SessionMachine::answer_in_lost_transaction(const pg::Header& header, std::string_view message) {
  const auto body = message.empty() ? message : message.substr(pg::header_size);
  if (header.type != front::sync && header.type != front::query && header.type != front::flush) local_segment_ = true;
  switch (header.type) {
    case front::query: {
      pg::Reader reader(body);
      return lost_query(message.empty() ? "?" : reader.cstring());
    }
    case front::parse: return lost_parse(message, body);
    case front::bind: {
      const auto bind = pg::parse_bind(body);
      const auto id = bind ? statements_.find(bind->statement) : pg::no_statement;
      const auto ends = id == pg::no_statement ? Ends::nothing : ends_transaction(statements_[id].text());
      if (ends != Ends::commit && ends != Ends::rollback) {
        // A driver prepares its ROLLBACK TO once, and then only binds it: the same answer as to its text (lost_parse).
        if (ends == Ends::to_savepoint) lost_error_pending_ = true;
        lost_error();
        return Pass::drop;
      }
      statements_.hold(id);
      statements_.release(std::exchange(unnamed_portal_, id));
      pg::write_empty(client_output, back::bind_complete);
      return Pass::drop;
    }
    case front::describe: {
      const auto target = pg::parse_target(body);
      const auto id = !target                ? pg::no_statement
                      : target->kind == 'S' ? statements_.find(target->name)
                                            : unnamed_portal_;
      if (id == pg::no_statement || !ends_whole(statements_[id].text())) {
        lost_error();
        return Pass::drop;
      }
      if (target->kind == 'S') pg::Writer(client_output, back::parameter_description).i16(0).finish();
      pg::write_empty(client_output, back::no_data);
      return Pass::drop;
    }
    case front::execute: return lost_execute(body);
    case front::close:
      if (const auto target = pg::parse_target(body); target && target->kind == 'S') {
        statements_.drop_name(target->name);
      }
      pg::write_empty(client_output, back::close_complete);
      return Pass::drop;
    case front::sync:
      local_segment_ = false;
      pg::write_ready_for_query(client_output, status_);
      return Pass::drop;
    case front::function_call:
      lost_error();
      skip_to_sync_ = false;
      pg::write_ready_for_query(client_output, status_);
      return Pass::drop;
    case front::flush:
    case front::copy_data:
    case front::copy_done:
    case front::copy_fail: return Pass::drop;
    default: return protocol_violation("a message has an unknown type");
  }
}

SessionMachine::Pass SessionMachine::lost_query(std::string_view text) {
  if (text.find_first_not_of(" \t\r\n;") == std::string_view::npos) {
    pg::write_empty(client_output, back::empty_query);
    pg::write_ready_for_query(client_output, status_);
    return Pass::drop;
  }
  const auto ends = ends_transaction(text);
  if (ends == Ends::to_savepoint) lost_error_pending_ = true;  // it was lost with the rest, and the client is told so
  if (ends == Ends::nothing || ends == Ends::to_savepoint || (ends == Ends::commit && lost_error_pending_)) {
    lost_error();
    skip_to_sync_ = false;  // a simple query is its own segment
    // A COMMIT that fails ends its transaction, as any server's does.
    if (ends == Ends::commit) leave_lost_transaction();
  } else {
    pg::write_command_complete(client_output, "ROLLBACK");
    leave_lost_transaction();
  }
  pg::write_ready_for_query(client_output, status_);
  return Pass::drop;
}

SessionMachine::Pass SessionMachine::lost_parse(std::string_view message, std::string_view body) {
  const auto parse = pg::parse_parse(body);
  const auto ends = parse ? ends_transaction(parse->text) : Ends::nothing;
  if (ends == Ends::nothing || ends == Ends::to_savepoint) {
    // The savepoint that is asked for was lost with the rest: that is what the client is told, not that it has failed.
    if (ends == Ends::to_savepoint) lost_error_pending_ = true;
    lost_error();
    return Pass::drop;
  }
  const auto id = statements_.add_parse(message, parse->name, parse->text);
  statements_.release(statements_.bind_name(parse->name, id));
  statements_.release(id);
  pg::write_empty(client_output, back::parse_complete);
  return Pass::drop;
}

SessionMachine::Pass SessionMachine::lost_execute(std::string_view) {
  const auto ends = unnamed_portal_ == pg::no_statement ? Ends::nothing
                                                        : ends_transaction(statements_[unnamed_portal_].text());
  ++statistics_.statements;
  if (ends == Ends::rollback || (ends == Ends::commit && !lost_error_pending_)) {
    pg::write_command_complete(client_output, "ROLLBACK");
    leave_lost_transaction();
    return Pass::drop;
  }
  lost_error();
  if (ends == Ends::commit) {
    leave_lost_transaction();
    status_after_skip_ = 'I';
  }
  return Pass::drop;
}

/// The first error names the loss, those after it are a failed transaction's. The rest of the segment is skipped.
void SessionMachine::lost_error() {
  if (std::exchange(lost_error_pending_, false)) {
    pg::write_error(client_output, {"ERROR", lost_code_, lost_message_, options_.connection + ": " + loss_.message});
  } else {
    pg::write_error(client_output, {"ERROR", "25P02",
                                    "current transaction is aborted, commands ignored until end of transaction block"});
  }
  status_ = 'E';
  skip_to_sync_ = true;
  status_after_skip_ = 'E';
}

void SessionMachine::leave_lost_transaction() {
  state_ = SessionState::detached;
  status_ = 'I';
  lost_error_pending_ = false;
}

}  // namespace holdfast::proxy::postgres

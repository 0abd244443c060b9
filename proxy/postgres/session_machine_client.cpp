// The client's side of a session: follows its messages to the backend, holds them, or answers them here.
#include <algorithm>
#include <utility>

#include "proxy/postgres/segment_effects.hpp"
#include "proxy/postgres/session_machine.hpp"

namespace holdfast::proxy::postgres {

namespace front = pg::frontend;

namespace {

/// Texts up to this size are read whole, so that they can be judged and prepared again.
constexpr std::size_t text_size_max = 1 << 20;
/// Requests under way in one session, pipelined ones included.
constexpr std::size_t requests_max = 1 << 18;

bool carries_text(char type) { return type == front::query || type == front::parse; }

/// What has to be known of a message that is too long for the buffer: the names in front of a Bind, the function of a call.
bool has_beginning(char type, std::string_view bytes) {
  const auto body = bytes.substr(pg::header_size);
  if (type == front::bind) return pg::parse_bind(body).has_value();
  return type != front::function_call || body.size() >= 4;
}

/// The functions of large objects, which drivers call so: they leave nothing behind in the session (pg_proc.dat).
bool is_large_object_function(std::int32_t oid) {
  static constexpr std::int32_t functions[] = {715, 764, 765, 767, 952, 953, 954, 955, 956, 957, 958, 964, 1004, 3170, 3171, 3172,
                                               3457, 3458, 3459, 3460};
  return std::ranges::find(functions, oid) != std::end(functions);
}

}  // namespace

Step SessionMachine::on_client_bytes(std::string_view bytes) {
  batch_ = tracker_.mark();
  batch_journal_ = journal_.mark();
  batch_stream_left_ = client_stream_left_;
  std::size_t at = 0;
  const auto step = [&](Step::Next next, std::size_t consume, std::size_t want = 0) {
    return Step{next, at, consume, want};
  };
  if (state_ == SessionState::closed) return step(Step::Next::close, 0);
  // Statements of our own go out before anything that the tracker has behind them.
  if (!server_output.empty()) return step(Step::Next::again, 0);
  for (;;) {
    if (client_stream_left_ > 0) {
      const bool relays = state_ == SessionState::attached && !replay_;
      if (client_stream_ == Stream::forward && !relays) return step(Step::Next::hold, at);
      const auto size = std::min(client_stream_left_, bytes.size() - at);
      client_stream_left_ -= size;
      if (client_stream_ == Stream::forward) journal_.append_more(bytes.substr(at, size));
      if (client_stream_ == Stream::drop) {
        return step(size == 0 ? Step::Next::read : Step::Next::again, at + size);
      }
      at += size;
      if (client_stream_left_ > 0) return step(Step::Next::read, at);
      send_wrap_end();
      if (!server_output.empty()) return step(Step::Next::again, at);
    }
    const auto rest = bytes.substr(at);
    pg::Header header;
    const auto found = pg::read_header(rest, header);
    if (found == pg::HeaderResult::need_more) return step(Step::Next::read, at);
    if (found == pg::HeaderResult::bad_length) {
      protocol_violation("a message has an invalid length");
      return step(Step::Next::close, at);
    }
    const bool whole = rest.size() >= header.size;
    if (!whole && (header.size <= options_.message_buffer ||
                   (carries_text(header.type) && header.size <= text_size_max))) {
      return step(Step::Next::read, at, header.size);
    }
    if (!whole && rest.size() < options_.message_buffer && !has_beginning(header.type, rest)) {
      return step(Step::Next::read, at, options_.message_buffer);
    }
    const auto size = whole ? header.size : 0;
    switch (on_client_message(header, rest.substr(0, size), rest)) {
      case Pass::forward:
        if (!whole) {
          client_stream_left_ = header.size;
          client_stream_ = Stream::forward;
        }
        at += size;
        break;
      case Pass::drop:
        if (!whole) {
          client_stream_left_ = header.size;
          client_stream_ = Stream::drop;
          if (client_output.empty()) continue;
        }
        return step(Step::Next::again, at + size);
      case Pass::inject: return step(Step::Next::again, at);
      case Pass::hold: return step(Step::Next::hold, at);
      case Pass::close: return step(Step::Next::close, at);
    }
  }
}

void SessionMachine::unwind_client_bytes() {
  scratch_.clear();
  tracker_.unwind(batch_, scratch_);
  journal_.unwind(batch_journal_);
  client_stream_left_ = batch_stream_left_;
  for (const auto& request : scratch_) take_back(request);
  scratch_.clear();
  if (commit_ && commit_->request >= batch_.number) commit_.reset();
  if (two_phase_ && two_phase_->request >= batch_.number) two_phase_.reset();
  if (wrap_ == Wrap::open && wrapped_.statement != pg::no_statement && wrapped_.number >= batch_.number) end_wrap();
}

/// `message` is empty when it is too long to be read whole; `beginning` is as much of it as is there.
SessionMachine::Pass SessionMachine::on_client_message(const pg::Header& header, std::string_view message,
                                                       std::string_view beginning) {
  if (state_ == SessionState::closed) return Pass::close;
  if (header.type == front::terminate) {
    // A client that leaves in the middle of things leaves no work behind that could still be undone.
    state_ = SessionState::closed;
    return Pass::close;
  }
  if (state_ == SessionState::losing || replay_) return Pass::hold;
  if (skip_to_sync_) {
    if (header.type != front::sync) return Pass::drop;
    skip_to_sync_ = local_segment_ = false;
    status_ = status_after_skip_;
    pg::write_ready_for_query(client_output, status_);
    return Pass::drop;
  }
  if (state_ == SessionState::lost_transaction) return answer_in_lost_transaction(header, message);
  if (state_ == SessionState::attached && !refusal_) {
    if (ledger_on()) {
      if (const auto pass = prepare_commit(header, message)) return *pass;
    }
    const auto number = tracker_.last_number();
    const auto pass = message.empty() ? stream_client_message(header, beginning) : relay_client_message(header, message);
    if (pass == Pass::forward) {
      const bool asks = tracker_.last_number() != number;
      journal_.append(header.type, message, asks ? tracker_.last_number() : pg::JournalEntry::no_request);
      if (ledger_on()) note_commit_sent(header.type);
    }
    return pass;
  }
  switch (header.type) {
    case front::sync:
      local_segment_ = false;
      pg::write_ready_for_query(client_output, status_);
      return Pass::drop;
    case front::flush:
    case front::copy_data:
    case front::copy_done:
    case front::copy_fail: return Pass::drop;
    case front::password: return protocol_violation("a password message came after the login");
    default: return refusal_ ? refuse_client_message(header) : Pass::hold;
  }
}

SessionMachine::Pass SessionMachine::relay_client_message(const pg::Header& header, std::string_view message) {
  if (tracker_.requests().size() >= requests_max) {
    terminate("54000", "too many requests in a pipeline");
    return Pass::close;
  }
  const auto body = message.substr(pg::header_size);
  switch (header.type) {
    case front::query: return on_query(message, body);
    case front::parse: return on_parse(message, body);
    case front::bind: return on_bind(body);
    case front::describe: return on_describe(body);
    case front::execute: return on_execute(body);
    case front::close: return on_close(body);
    case front::sync: push(pg::RequestKind::sync); return Pass::forward;
    case front::function_call: return on_function_call(body);
    case front::copy_done:
    case front::copy_fail: push(pg::RequestKind::copy_end); return Pass::forward;
    case front::copy_data:
    case front::flush: return Pass::forward;
    case front::password: return protocol_violation("a password message came after the login");
    default: return protocol_violation("a message has an unknown type");
  }
}

/// A message too long for the buffer: it is followed by its type, its text is not known.
SessionMachine::Pass SessionMachine::stream_client_message(const pg::Header& header, std::string_view beginning) {
  const auto body = beginning.substr(pg::header_size);
  switch (header.type) {
    case front::query:
      ++statistics_.statements;
      push(pg::RequestKind::query, statements_.add_without_text());
      return Pass::forward;
    case front::parse: {
      // Its name is not known either: it cannot be prepared again.
      session_.on_completed_without_text();
      push(pg::RequestKind::parse);
      return Pass::forward;
    }
    case front::bind: return on_bind(body);
    case front::function_call: return on_function_call(body);
    case front::copy_data: return Pass::forward;
    default: return protocol_violation("a message is longer than its type allows");
  }
}

SessionMachine::Pass SessionMachine::on_query(std::string_view message, std::string_view body) {
  pg::Reader reader(body);
  const auto text = reader.cstring();
  if (!reader.check()) return protocol_violation("a Query message is malformed");
  const auto id = statements_.add_query(message, text);
  if (statements_[id].scan.uses_prepared && parse_for_text(text)) {
    statements_.release(id);
    return Pass::inject;
  }
  if (statements_[id].scan.two_phase) {
    if (const auto pass = before_two_phase(front::query, id)) {
      statements_.release(id);
      return *pass;
    }
  }
  // A simple query ends the unnamed statement (protocol documentation, "Extended Query").
  statements_.drop_name({});
  ++statistics_.statements;
  push(pg::RequestKind::query, id);
  statements_[id].born = tracker_.last_number();
  if (two_phase_) note_two_phase_sent(id);
  return Pass::forward;
}

/// A text names prepared statements: those that this backend does not know are parsed again. False when it knows all.
bool SessionMachine::parse_for_text(std::string_view text) {
  bool injected = false;
  const bool open = tracker_.segment_open();
  // One that can be prepared no more would take the client's transaction or segment with it.
  const bool only_named = open || status_ != 'I' || wrap_ != Wrap::none;
  own_error_.clear();
  statements_.each_name([&](const std::string& name, pg::StatementId named) {
    const auto& statement = statements_[named];
    if (!is_to_be_parsed(statement)) return;
    if (only_named && !pg::names_it(text, name)) return;
    if (replay_ && statement.born >= journal_.first_request()) return;  // the second run comes to it by itself
    if (!inject_parse(named)) return;
    injected = true;
    if (open) return;
    // A segment of its own, so that its failure does not make the server skip the client's query.
    pg::write_sync(server_output);
    pg::Request sync;
    sync.kind = pg::RequestKind::sync;
    sync.owner = pg::Owner::injected;
    static_cast<void>(tracker_.push(sync));
  });
  return injected;
}

SessionMachine::Pass SessionMachine::on_parse(std::string_view message, std::string_view body) {
  const auto parse = pg::parse_parse(body);
  if (!parse) return protocol_violation("a Parse message is malformed");
  // A name that is taken must be taken on this backend too, for the client is owed the error.
  if (!parse->name.empty() && !ensure_parsed(parse->name)) return Pass::inject;
  const auto id = statements_.add_parse(message, parse->name, parse->text);
  if (statements_[id].scan.two_phase) {
    if (const auto pass = before_two_phase(front::parse, id)) {
      statements_.release(id);
      return *pass;
    }
  }
  statements_[id].backend = backend_;
  const auto previous = statements_.bind_name(parse->name, id);
  push(pg::RequestKind::parse, id, previous);
  statements_[id].born = tracker_.last_number();
  return Pass::forward;
}

SessionMachine::Pass SessionMachine::on_bind(std::string_view body) {
  const auto bind = pg::parse_bind(body);
  if (!bind) return protocol_violation("a Bind message is malformed");
  if (const auto id = statements_.find(bind->statement); id != pg::no_statement && statements_[id].scan.two_phase) {
    if (const auto pass = before_two_phase(front::bind, id)) return *pass;
  }
  if (!ensure_parsed(bind->statement)) return Pass::inject;
  const auto id = statements_.find(bind->statement);
  if (id != pg::no_statement && statements_[id].scan.uses_prepared && parse_for_text(statements_[id].text())) return Pass::inject;
  if (id == pg::no_statement && !session_.prepared(std::string(bind->statement)).empty()) return on_bind_of_sql(*bind);
  if (id != pg::no_statement && statements_[id].scan.calls_set_config) {
    for (const auto value : pg::bind_values(body)) session_.note_setting_name(value);
  }
  statements_.hold(id);
  push_bind(bind->portal, id != pg::no_statement ? id : statements_.add_without_text());  // not known here: of what a longer text prepared
  return Pass::forward;
}

/// A statement that SQL has prepared: its portal runs what an EXECUTE of it would.
SessionMachine::Pass SessionMachine::on_bind_of_sql(const pg::BindMessage& bind) {
  const auto text = "EXECUTE " + pg::quote_identifier(bind.statement);
  std::string message;
  pg::write_query(message, text);
  const auto id = statements_.add_query(message, text);
  push_bind(bind.portal, id);
  statements_[id].born = tracker_.last_number();
  return Pass::forward;
}

/// Takes over the caller's reference to what the portal runs.
void SessionMachine::push_bind(std::string_view portal, pg::StatementId id) {
  if (portal.empty()) {
    statements_.release(std::exchange(unnamed_portal_, id));
  } else {
    const auto [at, inserted] = portals_.try_emplace(std::string(portal), id);
    if (!inserted) statements_.release(std::exchange(at->second, id));
  }
  push(pg::RequestKind::bind);
}

SessionMachine::Pass SessionMachine::on_function_call(std::string_view body) {
  ++statistics_.statements;
  pg::Reader reader(body);
  // Any other may do to the session what the same function in a text does.
  const bool known = is_large_object_function(reader.i32()) && !reader.failed();
  push(pg::RequestKind::function_call, known ? pg::no_statement : statements_.add_without_text());
  return Pass::forward;
}

SessionMachine::Pass SessionMachine::on_describe(std::string_view body) {
  const auto target = pg::parse_target(body);
  if (!target) return protocol_violation("a Describe message is malformed");
  if (target->kind == 'S' && !ensure_parsed(target->name)) return Pass::inject;
  push(pg::RequestKind::describe);
  if (target->kind == 'P' && target->name.empty()) portal_described_ = tracker_.last_number();
  if (target->kind == 'S') statement_described_ = tracker_.last_number();
  return Pass::forward;
}

SessionMachine::Pass SessionMachine::on_execute(std::string_view body) {
  pg::Reader reader(body);
  const auto portal = reader.cstring();
  static_cast<void>(reader.i32());
  if (!reader.check()) return protocol_violation("an Execute message is malformed");
  const auto id = statement_of_portal(portal);
  statements_.hold(id);
  ++statistics_.statements;
  push(pg::RequestKind::execute, id);
  if (two_phase_) note_two_phase_sent(id);
  return Pass::forward;
}

/// What a portal runs; none where there is no such portal.
pg::StatementId SessionMachine::statement_of_portal(std::string_view portal) const {
  if (portal.empty()) return unnamed_portal_;
  const auto found = portals_.find(std::string(portal));
  return found == portals_.end() ? pg::no_statement : found->second;
}

SessionMachine::Pass SessionMachine::on_close(std::string_view body) {
  const auto target = pg::parse_target(body);
  if (!target) return protocol_violation("a Close message is malformed");
  auto id = pg::no_statement;
  auto stale = pg::no_statement;
  if (target->kind == 'S') {
    id = statements_.find(target->name);
    statements_.hold(id);
    // It need not be brought back only to be closed.
    if (id != pg::no_statement && std::exchange(statements_[id].backend, backend_) != backend_) stale = id;
  } else if (const auto found = portals_.find(std::string(target->name)); found != portals_.end()) {
    statements_.release(found->second);
    portals_.erase(found);
  }
  push(pg::RequestKind::close, id, stale);
  return Pass::forward;
}

/// What waits at the front gets the error that was meant for it.
SessionMachine::Pass SessionMachine::refuse_client_message(const pg::Header& header) {
  pg::write_error(client_output, {"ERROR", refusal_->code, refusal_->message});
  refusal_.reset();
  if (header.type == front::query || header.type == front::function_call) {
    pg::write_ready_for_query(client_output, status_);
  } else {
    skip_to_sync_ = true;
    status_after_skip_ = status_;
  }
  return Pass::drop;
}

SessionMachine::Pass SessionMachine::protocol_violation(std::string_view what) {
  terminate("08P01", "protocol violation: " + std::string(what));
  return Pass::close;
}

/// This backend does not know it, and would read its text as the first one did.
bool SessionMachine::is_to_be_parsed(const pg::Statement& statement) const {
  return statement.backend != backend_ && statement.has_text() && (statement.read_as == 0 || statement.read_as == reading_of(told_));
}

/// False when a Parse was written to server_output that must go before the client's message.
bool SessionMachine::ensure_parsed(std::string_view name) {
  const auto id = statements_.find(name);
  if (id == pg::no_statement) return true;
  if (is_to_be_parsed(statements_[id])) return !inject_parse(id);
  const bool gone = statements_[id].backend != backend_ && statements_[id].has_text();
  if (gone) statements_.drop_name(name);  // sent again it would be another: the server says that there is none
  return true;
}

/// Parses a statement again that this backend does not know. False when the server would not read it.
bool SessionMachine::inject_parse(pg::StatementId id) {
  pg::Request request;
  request.kind = pg::RequestKind::parse;
  request.owner = pg::Owner::injected;
  request.statement = id;
  if (!tracker_.push(request)) return false;
  statements_.hold(id);
  server_output += statements_[id].message;
  statements_[id].backend = backend_;
  return true;
}

/// Takes over the caller's references to `statement` and `previous`.
void SessionMachine::push(pg::RequestKind kind, pg::StatementId statement, pg::StatementId previous) {
  pg::Request request;
  request.kind = kind;
  request.statement = statement;
  request.previous = previous;
  if (!tracker_.push(request)) take_back(request);  // the server will not read it
}

void SessionMachine::refuse(std::string_view code, std::string message) {
  if (replay_) {
    loss_.message = message;
    // What began in a transaction was lost with it; a cancel is answered as one.
    const bool told = (status_ == 'I' || code == "57014") && !replay_->asks_outcome;
    return abandon_replay(told ? std::optional<pg::ErrorText>({"ERROR", code, message}) : std::nullopt);
  }
  if (refusal_ && refusal_->stays) return;  // what is lost is told nowhere else: what waits gets that now
  refusal_ = Refusal{std::string(code), std::move(message), false};
}

void SessionMachine::terminate(std::string_view code, std::string_view message) {
  std::string fatal;
  pg::write_error(fatal, {"FATAL", code, message});
  end_with(fatal);
}

void SessionMachine::end_with(std::string_view fatal) {
  if (state_ == SessionState::closed) return;
  // A client in the middle of a message would take the error for a part of it.
  if (!client_in_the_middle()) client_output += fatal;
  terminated_ = true;
  state_ = SessionState::closed;
}

}  // namespace holdfast::proxy::postgres

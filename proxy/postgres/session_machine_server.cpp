// The server's side of a session: passes replies on, keeps back what is ours or announces a loss, and records what
// the client's statements changed.
#include <algorithm>
#include <utility>

#include "proxy/postgres/segment_effects.hpp"
#include "proxy/postgres/session_machine.hpp"

namespace holdfast::proxy::postgres {

namespace back = pg::backend;

namespace {

/// Codes of a FATAL after which the session goes on elsewhere ("What counts as lost" in docs/transparency.md).
/// 08P01 is left out: it is the server's answer to a client that broke the protocol.
bool means_lost(std::string_view code) {
  if (code == "08P01") return false;
  return code == "57P01" || code == "57P02" || code == "57P03" || code == "57P05" || code == "25P03" ||
         code == "25P04" || code.starts_with("08");
}

constexpr std::string_view snapshot_name = "holdfast_snapshot";

/// COMMIT AND CHAIN, or something that the parser will tell from it.
bool names_chain(std::string_view text) {
  static constexpr std::string_view word = "chain";
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  return !std::ranges::search(text, word, {}, lower).empty();
}

/// The reply completes a request of which nothing was complete before.
bool completes(const pg::Request& request, char type) {
  const bool completion = type == back::command_complete || type == back::empty_query;
  switch (request.kind) {
    case pg::RequestKind::query: return type == back::ready_for_query || (completion && !request.completed_part);
    case pg::RequestKind::function_call: case pg::RequestKind::sync: return type == back::ready_for_query;
    case pg::RequestKind::execute: return completion || type == back::portal_suspended;
    case pg::RequestKind::describe: return type == back::row_description || type == back::no_data;
    default: return true;
  }
}

/// Statements of one extended segment that are remembered until its ReadyForQuery.
constexpr std::size_t executed_max = 4096;

}  // namespace

Step SessionMachine::on_server_bytes(std::span<char> bytes) {
  std::size_t at = 0;
  const auto step = [&](Step::Next next, std::size_t consume, std::size_t want = 0) {
    return Step{next, at, consume, want};
  };
  if (state_ == SessionState::closed) return step(Step::Next::read, bytes.size());  // nothing follows a FATAL of ours
  for (;;) {
    if (server_stream_left_ > 0) {
      const auto size = std::min(server_stream_left_, bytes.size() - at);
      const std::string_view part(bytes.data() + at, size);
      if (catching_up() && size > 0) {
        const auto given = skip_given(part);
        if (replay_differed()) return step(Step::Next::lost, at);
        server_stream_left_ -= given;
        advance_replay();
        return step(Step::Next::again, at + given);
      }
      if (journal_.enabled()) digest_.add(part);
      server_stream_left_ -= size;
      at += size;
      if (server_stream_left_ > 0) return step(Step::Next::read, at);
      advance_replay();
    }
    if (replay_differed()) return step(Step::Next::lost, at);
    const auto rest = bytes.subspan(at);
    pg::Header header;
    const auto found = pg::read_header({rest.data(), rest.size()}, header);
    if (found == pg::HeaderResult::need_more) return step(Step::Next::read, at);
    if (found == pg::HeaderResult::bad_length) {
      loss_.message = "the server sent a message with an invalid length";
      return step(Step::Next::lost, at);
    }
    if (!deferred_output_.empty() && !client_in_the_middle()) {
      client_output += std::exchange(deferred_output_, {});
      return step(Step::Next::again, at);
    }
    if (!held_notice_.empty()) {
      // Anything that follows the warning shows that it did not announce the end.
      client_output += std::exchange(held_notice_, {});
      return step(Step::Next::again, at);
    }
    if (rest.size() < header.size) {
      const bool streamed = answers_client() && header.size > options_.message_buffer &&
                            (header.type == back::data_row || header.type == back::copy_data ||
                             header.type == back::function_result || header.type == back::row_description);
      if (!streamed) return step(Step::Next::read, at, header.size);
      segment_notes_.gave = true;
      if (header.type != back::data_row && header.type != back::copy_data) {
        static_cast<void>(tracker_.on_reply(header.type));
      }
      server_stream_left_ = header.size;
      continue;
    }
    switch (on_server_message(header, rest.first(header.size))) {
      case Pass::forward: at += header.size; break;
      case Pass::drop: advance_replay(); return step(Step::Next::again, at + header.size);
      default: return step(Step::Next::lost, at);
    }
    advance_replay();
    if (!server_output.empty()) return step(Step::Next::again, at);
    if (!client_output.empty()) return step(Step::Next::again, at);
  }
}

SessionMachine::Pass SessionMachine::on_server_message(const pg::Header& header, std::span<char> message) {
  const std::string_view whole(message.data(), message.size());
  const auto body = whole.substr(pg::header_size);
  if (std::exchange(waits_for_answers_, false)) answers_came_ = true;
  switch (header.type) {
    case back::data_row:
    case back::copy_data:
      if (!answers_client()) return on_own_reply(header.type, body);
      segment_notes_.gave = true;
      return on_given(whole);
    case back::notice: return on_server_notice(whole, body);
    case back::notification: return on_notification(message);
    case back::parameter_status: return on_parameter_status(whole, body);
    case back::error: return on_server_error(body);
    default: break;
  }
  if (header.type == back::ready_for_query && body != "I" && body != "T" && body != "E") {
    loss_.message = "the server sent a malformed ReadyForQuery";
    return Pass::close;
  }
  if (catching_up() && replay_->answered == 0 && !tracker_.empty()) {
    // The first run had come further in it without an end. Looked at before the request counts as completed: an answer is owed.
    const auto& front = tracker_.requests()[0];
    if (front.owner == pg::Owner::client && completes(front, header.type)) return differs("a statement gave less than the first time");
  }
  const auto reply = tracker_.on_reply(header.type);
  if (!reply.expected) {
    loss_.message = "the server sent a message that answers nothing";
    return Pass::close;
  }
  if (header.type == back::command_complete) {
    on_completed(reply.request, pg::command_tag(body));
    if (two_phase_ && two_phase_->request == reply.request.number) two_phase_->done = true;
    if (ledger_on() && reply.owner == pg::Owner::client) {
      if (const auto pass = on_completed_for_ledger(reply.request, whole)) return *pass;
    }
  }
  // A client that asks for no more rows never sees the end of it, and yet it has run.
  if (header.type == back::portal_suspended) on_completed(reply.request, {});
  if (reply.finished) finish_request(reply.request);
  if (reply.ready) {
    const auto pass = on_ready(reply.request, body[0]);
    if (pass != Pass::forward || client_output.empty()) return pass;
    client_output += whole;  // what was said before stands before it
    return Pass::drop;
  }
  const bool clients = reply.owner == pg::Owner::client || reply.owner == pg::Owner::replay;
  return clients ? on_given(whole) : on_own_reply(header.type, body);
}

/// What comes next is a reply to something that the client has sent.
bool SessionMachine::answers_client() const {
  if (tracker_.empty()) return true;
  const auto owner = tracker_.requests()[0].owner;
  return owner == pg::Owner::client || owner == pg::Owner::replay;
}

void SessionMachine::finish_request(const pg::Request& request) {
  if (request.kind == pg::RequestKind::parse) statements_.release(request.previous);
  if (request.kind == pg::RequestKind::close && request.statement != pg::no_statement) {
    // The name may have been given to another statement behind this Close.
    const std::string name(statements_[request.statement].name());
    if (statements_.find(name) == request.statement) statements_.drop_name(name);
  }
  if (request.kind == pg::RequestKind::execute && request.owner == pg::Owner::client) {
    // Not committed before ReadyForQuery: what is said after a loss depends on it still.
    const bool repeated = !executed_.empty() && executed_.back() == request.statement;
    if (!repeated && executed_.size() < executed_max) return executed_.push_back(request.statement);
    if (executed_.size() == executed_max) executed_.push_back(pg::no_statement);  // as one whose text is not known
  }
  statements_.release(request.statement);
}

void SessionMachine::forget_segment() {
  for (const auto id : executed_) statements_.release(id);
  executed_.clear();
  for (const auto id : set_by_execute_) statements_.release(id);
  set_by_execute_.clear();
  segment_changed_state_ = segment_controls_transaction_ = false;
  deallocated_ = 0;
  recorded_text_.looked_for_chain = recorded_text_.controls_transaction = false;
  recorded_text_.tags.clear();
}

bool SessionMachine::is_recorded(std::string_view tag) {
  auto& known = recorded_text_;
  const auto gives_back = [tag](std::string_view word) { return tag.starts_with(word); };
  // What these undo may be done again behind them. Behind a COMMIT all that follows may stand in a transaction.
  constexpr std::string_view undoing[] = {"CLOSE", "DROP", "DISCARD", "DEALLOCATE"};
  const bool undoes = std::ranges::any_of(undoing, gives_back);
  if (undoes || known.controls_transaction != segment_controls_transaction_) known.tags.clear();
  known.controls_transaction = segment_controls_transaction_;
  if (undoes) return false;
  const auto word = tag.substr(0, tag.find_first_of("0123456789"));
  if (std::ranges::find(known.tags, word) != known.tags.end()) return true;
  known.tags.emplace_back(word);
  return false;
}

void SessionMachine::on_completed(const pg::Request& request, std::string_view tag) {
  if (request.owner != pg::Owner::client) return;
  segment_notes_.gave = true;
  if (request.statement == pg::no_statement) return;  // a portal that is a cursor's: its DECLARE was recorded
  const auto& statement = statements_[request.statement];
  const bool of_text = request.kind == pg::RequestKind::query;
  if ((tag == "COMMIT" || tag == "ROLLBACK") && !(of_text && std::exchange(recorded_text_.looked_for_chain, true))) {
    segment_notes_.chained = segment_notes_.chained || names_chain(statement.text());
  }
  // After COMMIT AND CHAIN, or COMMIT and BEGIN in one text, no ReadyForQuery tells that a transaction has ended.
  const bool keeps_settings = tag == "COMMIT" || tag == "PREPARE TRANSACTION";
  if (keeps_settings && !set_by_execute_.empty()) snapshot_now_ = unknown_change_ = true;
  if (keeps_settings && snapshot_now_) snapshot_overdue_ = true;
  if (statement.scan.transaction_word && statement.scan.kind == pg::TextClass::harmless) {
    // Behind it the segment may stand in a transaction, and what stood before it may have been rolled back.
    segment_controls_transaction_ = true;
    if (segment_changed_state_) snapshot_now_ = unknown_change_ = true;
  }
  if (statement.scan.kind == pg::TextClass::harmless && statement.has_text() && !session_.pin()) return;
  if (!statement.has_text()) {
    session_.on_completed_without_text();
    return;
  }
  const bool sets = statement.scan.kind == pg::TextClass::constant_set || statement.scan.kind == pg::TextClass::listen;
  if (request.kind == pg::RequestKind::execute && sets) {
    statements_.hold(request.statement);
    return set_by_execute_.push_back(request.statement);
  }
  if (of_text && is_recorded(tag)) return;
  record(request.statement, tag);
  const auto nth = tag.starts_with("DEALLOCATE") && request.kind == pg::RequestKind::query ? deallocated_++ : 0;
  if (tag == "DISCARD ALL" || tag == "DEALLOCATE ALL") {
    statements_.drop_all_names();
  } else if (tag == "DEALLOCATE") {
    const auto names = pg::deallocated_names(statement.text());
    if (nth < names.size()) statements_.drop_name(names[nth]);
  }
}

void SessionMachine::record(pg::StatementId id, std::string_view tag) {
  const auto& statement = statements_[id];
  const auto where = status_ == 'I' && !segment_controls_transaction_ ? pg::SessionState::Where::outside_transaction
                                                                       : pg::SessionState::Where::in_transaction;
  const auto effect = statement.scan.kind == pg::TextClass::execute
                          ? record_executed(statement.text(), tag, where)
                          : session_.on_completed(statement.text(), statement.scan, tag, where);
  // What is not known for certain is kept to be judged, whether it was undone or not.
  if (statement.scan.kind != pg::TextClass::unknown) segment_changed_state_ = true;
  if (effect == pg::StateEffect::snapshot_now) snapshot_now_ = unknown_change_ = true;
  if (effect == pg::StateEffect::snapshot_judged) snapshot_now_ = true;
  if (effect == pg::StateEffect::snapshot_when_idle) session_.want_snapshot();
}

/// An EXECUTE leaves behind what the statement does that it runs, whoever has prepared that.
pg::StateEffect SessionMachine::record_executed(std::string_view text, std::string_view tag, pg::SessionState::Where where) {
  const auto name = pg::prepared_name(text);
  const auto named = name ? statements_.find(*name) : pg::no_statement;
  if (named == pg::no_statement) return session_.on_executed(text);
  const auto& statement = statements_[named];
  return statement.has_text() ? session_.on_completed(statement.text(), statement.scan, tag, where)
                              : session_.on_completed_without_text();
}

/// A segment has ended well: what it set is no longer undone by an error of its own.
void SessionMachine::record_segment() {
  for (const auto id : set_by_execute_) {
    const bool listens = statements_[id].scan.kind == pg::TextClass::listen;
    record(id, listens ? "LISTEN" : "SET");
  }
}

SessionMachine::Pass SessionMachine::on_ready(const pg::Request& request, char status) {
  if (request.owner == pg::Owner::injected) return on_own_ready(status);
  if (request.owner == pg::Owner::holdfast) {
    end_snapshot();
    return Pass::drop;
  }
  if (request.owner == pg::Owner::replay) return on_given_segment(request.number, status);
  if (wrap_ == Wrap::open && request.number == wrapped_.number && status != 'I') return on_wrapped_ready(status);
  if (catching_up()) return differs("a statement gave less than the first time");
  if (ledger_on()) note_ready_for_ledger(request.number, status);
  commit_warned_ = false;
  two_phase_.reset();
  const bool calls_unknown = request.kind == pg::RequestKind::function_call && request.statement != pg::no_statement;
  if (calls_unknown) session_.on_completed_without_text();
  if (journal_.enabled()) note_answered(request.number, status);
  // In a transaction it is not known yet how that ends.
  if (status != 'I') status_ = status;
  record_segment();
  status_ = status;
  forget_segment();
  if (status != 'I') return Pass::forward;
  for (auto& [name, id] : portals_) statements_.release(id);
  portals_.clear();
  const bool alone = tracker_.empty() && !tracker_.segment_open() && client_stream_left_ == 0;
  if (snapshot_now_) snapshot_overdue_ = true;
  if (!snapshot_now_ || !alone) return Pass::forward;
  // What the session is now is known only to the server: ask before the client can rely on it.
  held_ready_ = true;
  begin_snapshot();
  return Pass::drop;
}

SessionMachine::Pass SessionMachine::on_server_error(std::string_view body) {
  const auto fields = pg::parse_error(body);
  if (!fields) {
    loss_.message = "the server sent a malformed error";
    return Pass::close;
  }
  if (fields->ends_connection()) {
    if (means_lost(fields->code)) {
      loss_ = {std::string(fields->code), std::string(fields->message)};
      return Pass::drop;
    }
    if (client_in_the_middle()) return differs("the server ended the session");
    fatal_forwarded_ = true;
    return Pass::forward;
  }
  const bool ours = !answers_client();
  const bool given = catching_up();
  if (given && (ours || !is_given_error(fields->code))) return differs("a statement failed: " + std::string(fields->message));
  if (!ours && !given && journal_.enabled()) note_error(fields->code);
  scratch_.clear();
  const auto owner = tracker_.on_error(scratch_);
  drop_skipped();
  if (owner == pg::Owner::client || owner == pg::Owner::injected) {
    // They are undone, unless a COMMIT stood between them and the error.
    if (!set_by_execute_.empty() && segment_controls_transaction_) snapshot_now_ = unknown_change_ = true;
    for (const auto id : set_by_execute_) statements_.release(id);
    set_by_execute_.clear();
  }
  if (segment_changed_state_ && owner != pg::Owner::holdfast) snapshot_now_ = unknown_change_ = true;
  // A Parse of ours before a Query: the client sees that Query's error, not two.
  const bool apart = owner == pg::Owner::injected && !tracker_.empty() &&
                     tracker_.requests()[0].owner == pg::Owner::injected;
  if (apart) {
    auto& kept = two_phase_ ? two_phase_->error : own_error_;
    if (kept.empty()) kept.assign(body.data() - pg::header_size, body.size() + pg::header_size);
    return Pass::drop;
  }
  // A statement of ours failed in the client's transaction: that is the reason.
  const bool of_ours = fields->code == "25P02" && (status_ == 'T' || wrap_ == Wrap::open) && !own_error_.empty();
  if (of_ours && owner == pg::Owner::client && !given) {
    client_output += std::exchange(own_error_, {});
    return Pass::drop;
  }
  const bool commit_failed = commit_ && (commit_->sent || !commit_->request) && wrap_ == Wrap::none;
  if (commit_failed && owner != pg::Owner::holdfast) commit_.reset();
  if (given) return Pass::drop;
  if (owner != pg::Owner::holdfast) return Pass::forward;
  if (snapshot_ == Snapshot::running) snapshot_ = Snapshot::failed;
  return Pass::drop;
}

/// Requests that the server skipped after an error: nothing of them happened. Newest first, so that a name that two of
/// them gave away comes back to its first owner.
void SessionMachine::drop_skipped() {
  for (auto at = scratch_.rbegin(); at != scratch_.rend(); ++at) take_back(*at);
  scratch_.clear();
}

/// A request that the server did not read, or answered with an error: its effects on what is recorded here are undone.
void SessionMachine::take_back(const pg::Request& request) {
  using Kind = pg::RequestKind;
  if (request.kind == Kind::close && request.previous != pg::no_statement) statements_[request.statement].backend = 0;
  if (request.kind == Kind::parse && request.statement != pg::no_statement) {
    const std::string name(statements_[request.statement].name());
    if (request.owner == pg::Owner::injected) {
      statements_[request.statement].backend = 0;
    } else if (statements_.find(name) == request.statement) {
      statements_.rebind_name(name, request.previous);
    } else {
      statements_.release(request.previous);
    }
  }
  statements_.release(request.statement);
}

SessionMachine::Pass SessionMachine::on_server_notice(std::string_view message, std::string_view body) {
  const auto fields = pg::parse_error(body);
  if (fields && fields->severity == "WARNING" && (fields->code == "57P01" || fields->code == "57P02")) {
    commit_warned_ = true;
    if (!catching_up()) held_notice_.assign(message);  // else the client has had it, and may be in the middle of a message
    return Pass::drop;
  }
  return catching_up() ? Pass::drop : Pass::forward;
}

SessionMachine::Pass SessionMachine::on_notification(std::span<char> message) {
  // Its own notifications carry the process id that the client knows as its own.
  if (message.size() < pg::header_size + 4) return Pass::close;
  char* at = message.data() + pg::header_size;
  const auto from = static_cast<std::int32_t>(pg::load_u32(at));
  if (from == backend_process_id_) {
    pg::store_u32(at, static_cast<std::uint32_t>(virtual_process_id_));
  } else if (from == virtual_process_id_) {
    pg::store_u32(at, static_cast<std::uint32_t>(backend_process_id_));  // another's, who has that number by now
  }
  return pass_aside({message.data(), message.size()});
}

/// What answers no request goes between two messages, never into one that the client holds a part of.
SessionMachine::Pass SessionMachine::pass_aside(std::string_view message) {
  if (!client_in_the_middle()) return Pass::forward;
  deferred_output_ += message;
  return Pass::drop;
}

SessionMachine::Pass SessionMachine::on_parameter_status(std::string_view message, std::string_view body) {
  if (const auto parameter = pg::parse_parameter_status(body)) set_parameter(parameter->first, parameter->second);
  return pass_aside(message);
}

void SessionMachine::set_parameter(std::string_view name, std::string_view value) {
  // What is prepared stays as it was read then.
  const bool reads = name == "client_encoding" || name == "standard_conforming_strings";
  if (reads && value_of(told_, name) != value) statements_.note_reading(reading_of(told_));
  told_.insert_or_assign(std::string(name), std::string(value));
}

/// Replies to statements of ours.
SessionMachine::Pass SessionMachine::on_own_reply(char type, std::string_view body) {
  if (type == back::command_complete) on_own_completed(pg::command_tag(body));
  if (type == back::data_row && snapshot_ != Snapshot::running) two_phase_ ? on_two_phase_row(body) : on_recorded(body);
  if (type == back::data_row && snapshot_ == Snapshot::running) {
    if (pg::parse_data_row(body, columns_) && columns_.size() == 3 && columns_[0] && columns_[1] && columns_[2]) {
      session_.on_snapshot_row(*columns_[0], *columns_[1], *columns_[2]);
    } else {
      snapshot_ = Snapshot::failed;
    }
  }
  return Pass::drop;
}

bool SessionMachine::snapshot_due() const {
  return state_ == SessionState::attached && status_ == 'I' && snapshot_ == Snapshot::none && !busy() &&
         client_stream_left_ == 0 &&
         (session_.snapshot_wanted() || snapshot_now_);
}

void SessionMachine::begin_snapshot() {
  snapshot_now_ = false;
  snapshot_ = Snapshot::running;
  session_.begin_snapshot();
  run_own(snapshot_name, session_.snapshot_query(), session_.snapshot_parameters(), pg::Owner::holdfast,
          {.name_left = std::exchange(snapshot_left_, false), .sync = true});
}

/// A statement of ours: a segment of its own, or without `sync` a part of the client's.
void SessionMachine::run_own(std::string_view name, std::string_view text, const std::vector<std::string>& parameters, pg::Owner owner,
                             OwnStatement how) {
  how.name_left ? pg::write_statement_anew(server_output, name, text, parameters)
                : pg::write_statement(server_output, name, text, parameters);
  if (how.sync) pg::write_sync(server_output);
  const auto push_own = [&](pg::RequestKind kind) {
    pg::Request request;
    request.kind = kind;
    request.owner = owner;
    static_cast<void>(tracker_.push(request));
  };
  using Kind = pg::RequestKind;
  if (how.name_left) push_own(Kind::close);
  for (const auto kind : {Kind::parse, Kind::bind, Kind::execute, Kind::close, Kind::close}) push_own(kind);
  if (how.sync) push_own(Kind::sync);
}

void SessionMachine::end_snapshot() {
  if (snapshot_ == Snapshot::failed) {
    snapshot_left_ = true;
    session_.want_snapshot();
  } else if (snapshot_ == Snapshot::running) {
    session_.end_snapshot();
    ++statistics_.snapshots;
    if (session_.snapshot_incomplete()) {
      if (tracker_.empty() && !tracker_.segment_open() && client_stream_left_ == 0) return begin_snapshot();
      snapshot_now_ = true;  // at the next moment at which nothing of the client's is under way
    }
    snapshot_overdue_ = snapshot_now_;
    unknown_change_ = unknown_change_ && snapshot_now_;
  }
  snapshot_ = Snapshot::none;
  if (!held_ready_) return;
  held_ready_ = false;
  pg::write_ready_for_query(client_output, status_);
}

}  // namespace holdfast::proxy::postgres

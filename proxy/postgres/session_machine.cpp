// Attachment: what a session takes over from its backends, and what it keeps for itself.
#include "proxy/postgres/session_machine.hpp"

#include <cassert>
#include <utility>

namespace holdfast::proxy::postgres {

const char* to_string(SessionState state) {
  switch (state) {
    case SessionState::detached: return "detached";
    case SessionState::attached: return "attached";
    case SessionState::losing: return "losing";
    case SessionState::lost_transaction: return "lost_transaction";
    case SessionState::closed: return "closed";
  }
  return "unknown";
}

SessionMachine::SessionMachine(SessionOptions options) : options_(std::move(options)), journal_(options_.replay_limit) {}

bool SessionMachine::on_attached(std::int32_t process_id, Parameters parameters, Attachment attachment) {
  assert(state_ != SessionState::lost_transaction && "the client believes in a transaction that this backend has not");
  backend_process_id_ = process_id;
  ++backend_;
  loss_ = {};
  held_notice_.clear();
  commit_warned_ = false;
  server_output.clear();
  server_stream_left_ = 0;
  // What was refused was not passed on in time: a backend is here, and the refusal is not the next statement's.
  if (refusal_ && !refusal_->stays) refusal_.reset();
  if (attachment == Attachment::first) {
    virtual_process_id_ = process_id;
    told_ = std::move(parameters);
    state_ = SessionState::attached;
    return true;
  }
  const auto major = [](const Parameters& all) {
    const auto version = value_of(all, "server_version");
    return version.substr(0, version.find_first_not_of("0123456789"));
  };
  for (const auto name : {"server_encoding", "integer_datetimes"}) {
    if (value_of(told_, name) != value_of(parameters, name)) {
      terminate("57P01", "terminating connection: the new server has another " + std::string(name));
      return false;
    }
  }
  if (major(told_) != major(parameters)) {
    terminate("57P01", "terminating connection: the new server has another major version");
    return false;
  }
  for (const auto& [name, text] : parameters) {
    if (const auto told = told_.find(name); told != told_.end() && told->second == text) continue;
    pg::write_parameter_status(client_output, name, text);
    set_parameter(name, text);
  }
  if (session_.listening()) {
    ++statistics_.notification_gaps;
    pg::write_notice(client_output, {"WARNING", "01000", "notifications may have been missed",
                                     "The session was listening while its server was lost; it listens again."});
  }
  state_ = SessionState::attached;
  if (replay_) {
    if (client_in_the_middle()) deferred_output_ = std::exchange(client_output, {});
    begin_replay();
  }
  return true;
}

void SessionMachine::on_backend_closed(std::string reason) {
  if (state_ != SessionState::attached) return;
  state_ = SessionState::losing;
  server_output.clear();
  if (!held_notice_.empty() && loss_.code.empty()) {
    if (const auto notice = pg::parse_error(std::string_view(held_notice_).substr(pg::header_size))) {
      // An immediate shutdown announces itself this way; so does a commit that gave up waiting for its standby.
      loss_.message = notice->message;
    }
  }
  held_notice_.clear();
  if (loss_.message.empty()) loss_.message = std::move(reason);
}

bool SessionMachine::awaits_backend() const {
  if (state_ != SessionState::attached || tracker_.empty()) return false;
  if (waits_for_answers_ || held_ready_ || wrap_ != Wrap::none) return true;
  const auto& requests = tracker_.requests();
  for (std::size_t i = 0; i < requests.size(); ++i) {
    if (requests[i].owner == pg::Owner::client || requests[i].owner == pg::Owner::replay) return true;
  }
  return false;
}

bool SessionMachine::cancellable() const {
  return state_ == SessionState::attached && !tracker_.empty() && answers_client();
}

}  // namespace holdfast::proxy::postgres

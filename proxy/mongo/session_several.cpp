// Commands that concern several members: killCursors of cursors that lie apart, killSessions and its kin.
#include <utility>

#include "protocol/mongo/several.hpp"
#include "proxy/mongo/kills.hpp"
#include "proxy/mongo/session.hpp"

namespace holdfast::proxy::mongo {

/// Runs a command of the client's at this member: one that does no harm the second time, after its connection was cut or logged out.
Task<Session::Ran> Session::run_at(std::size_t member, std::string body) {
  Ran ran;
  for (int tries = 0; tries < 2 && !ran.reply; ++tries) {
    auto found = co_await connect_to(member, Pool::Room::beyond_limit, std::chrono::steady_clock::now() + context_->config->reconnect.connection_timeout);
    if (const auto* none = std::get_if<NoConnection>(&found)) {
      ran.all_in_use = none->all_in_use;
      break;
    }
    auto& lease = std::get<Lease>(found);
    begin_exchange(lease, false);
    ran.reply = co_await backend_->run(body);
    backend_ = nullptr;
    const bool logged_out = ran.reply && lease->is_logged_out(wire::read_reply(*ran.reply));
    if (logged_out && tries == 0) ran.reply.reset();
    if (!context_->pool.is_shared()) keep(std::move(lease));
  }
  co_return ran;
}

/// With a member its cursors have gone.
Task<bool> Session::kill_cursors(const wire::Message& request, const wire::Command& command) {
  CursorKills kills(request.body, context_->places.cursors_by_member(command, std::chrono::steady_clock::now()));
  while (auto question = kills.next()) {
    const auto member = question->member ? question->member : context_->upstream.ready_endpoint(Wish::primary);
    Ran ran;
    if (member) ran = co_await run_at(*member, std::move(question->body));
    ran.all_in_use ? kills.on_all_in_use() : kills.on_reply(ran.reply);
  }
  auto body = kills.answer();
  co_return co_await answer(request, std::move(body));
}

/// Writes that were given a session of ours are ended with the client's that they came in.
Task<bool> Session::kill_sessions(const wire::Message& request, std::string_view frame, const wire::Command& command) {
  const auto ours = context_->numbering.sessions_for(wire::sessions_to_kill(request.body));
  const auto flags = request.flags & wire::flag::more_to_come;
  const auto with_ours = ours.empty() ? std::string(frame)
                                      : wire::make_message(request.header.request_id, 0, flags, wire::body_with_sessions(request.body, ours));
  wire::Message message;
  if (wire::parse_message(with_ours, message) != wire::FrameError::none) {
    co_return co_await refuse(request, wire::code::bad_value, "holdfast: too many sessions to kill at once");
  }
  if (auto refused = co_await kill_sessions_elsewhere(message.body)) co_return co_await answer(request, std::move(*refused));
  Trial trial;
  co_return co_await perform(message, with_ours, command, trial);
}

/// The body that answers the command where a member refuses, or is there and cannot be asked; else none.
Task<std::optional<std::string>> Session::kill_sessions_elsewhere(std::string_view body) {
  // Nothing that is kept of this client logs in anywhere else.
  if (!login_->can_log_in()) co_return std::nullopt;
  SessionKills kills(context_->members.serving());
  while (const auto member = kills.next(context_->upstream.ready_endpoint(Wish::primary))) {
    const auto ran = co_await run_at(*member, std::string(body));
    if (auto refused = kills.on_reply(ran.reply, context_->members.hosts()[*member].to_string())) co_return refused;
  }
  co_return std::nullopt;
}

}  // namespace holdfast::proxy::mongo

// Commands that concern several members: killCursors of cursors that lie apart, killSessions and its kin.
#include <algorithm>
#include <utility>

#include "protocol/mongo/several.hpp"
#include "proxy/mongo/session.hpp"

namespace holdfast::proxy::mongo {

/// Runs a command of the client's at this member. None where it cannot be reached, or is lost meanwhile.
Task<std::optional<std::string>> Session::run_at(std::size_t member, std::string body) {
  auto found = co_await connect_to(member, std::chrono::steady_clock::now() + context_->config->reconnect.connection_timeout);
  auto* lease = std::get_if<Lease>(&found);
  if (lease == nullptr) co_return std::nullopt;
  begin_exchange(*lease, false);
  auto reply = co_await backend_->run(std::move(body));
  backend_ = nullptr;
  if (!context_->pool.is_shared()) keep(std::move(*lease));
  co_return reply;
}

/// Each member is sent its own, and the client gets one answer. With a member its cursors have gone.
Task<bool> Session::kill_cursors(const wire::Message& request, const wire::Command& command) {
  wire::KilledCursors killed;
  const auto members = context_->places.cursors_by_member(command, std::chrono::steady_clock::now());
  for (const auto& [known, cursors] : members) {
    const auto member = known ? known : context_->upstream.ready_endpoint(Wish::primary);
    std::optional<std::string> reply;
    if (member) reply = co_await run_at(*member, wire::body_of_kill_cursors(request.body, cursors));
    if (!reply) {
      killed.add_missing(cursors);
    } else if (!killed.add(*reply)) {
      co_return co_await answer(request, std::move(*reply));
    }
  }
  co_return co_await answer(request, killed.body());
}

/// Every member that serves is told, as a mongos does, the primary at last. Writes that were given a session of ours are ended with the
/// client's that they came in.
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
  for (const auto member : context_->members.serving()) {
    if (context_->upstream.ready_endpoint(Wish::primary) == member) continue;
    auto reply = co_await run_at(member, std::string(body));
    if (reply && wire::read_reply(*reply).ok) continue;
    if (reply && !wire::code::is_state_change(wire::read_reply(*reply).code)) co_return reply;
    co_return wire::error_body({wire::code::host_unreachable, "holdfast: " + context_->members.hosts()[member].to_string() +
                                                                  " could not be asked, so sessions may live on there"});
  }
  co_return std::nullopt;
}

}  // namespace holdfast::proxy::mongo

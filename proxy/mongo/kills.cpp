// Member by member.
#include "proxy/mongo/kills.hpp"

#include <algorithm>

#include "protocol/mongo/reply.hpp"
#include "proxy/mutation.hpp"

namespace holdfast::proxy::mongo {

namespace code = wire::code;

std::optional<CursorKills::Question> CursorKills::next() const {
  if (next_ == cursors_.end() || refusal_) return std::nullopt;
  return Question{broken("kill_at_member") ? std::nullopt : next_->first, wire::body_of_kill_cursors(body_, next_->second)};
}

void CursorKills::on_reply(const std::optional<std::string>& reply) {
  const auto& [member, cursors] = *next_++;
  // As for a killCursors of one member: what is interrupted by a change of state ends nothing, and that is no client's business.
  const bool interrupted = reply && code::is_state_change(wire::read_reply(*reply).code);
  if (!reply || (interrupted && !broken("hide_state_change"))) return killed_.add_missing(cursors);
  if (!killed_.add(*reply)) refusal_ = reply;
}

void CursorKills::on_all_in_use() { killed_.add_alive((next_++)->second); }

std::optional<std::size_t> SessionKills::next(std::optional<std::size_t> primary) {
  if (left_.empty() || broken("kill_everywhere")) return std::nullopt;
  auto found = std::ranges::find_if(left_, [&](const auto each) { return each != primary; });
  if (found == left_.end()) found = left_.begin();
  const auto member = *found;
  left_.erase(found);
  return member;
}

std::optional<std::string> SessionKills::on_reply(const std::optional<std::string>& reply, const std::string& name) {
  const auto said = reply ? wire::read_reply(*reply) : wire::Reply{};
  if ((reply && said.ok) || broken("kill_answered")) return std::nullopt;
  if (reply && !code::is_state_change(said.code)) return reply;
  return wire::error_body({code::host_unreachable, "holdfast: " + name + " could not be asked, so sessions may live on there"});
}

}  // namespace holdfast::proxy::mongo

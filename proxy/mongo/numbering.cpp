// One session for each write under way; one entry for each collection that takes no number.
#include "proxy/mongo/numbering.hpp"

#include <algorithm>
#include <utility>

#include "protocol/mongo/frame.hpp"
#include "proxy/mutation.hpp"

namespace holdfast::proxy::mongo {

namespace {

constexpr std::size_t refusing_max = 10'000;
/// Servers forget sessions after thirty minutes.
constexpr auto age_max = std::chrono::minutes(30);

std::string namespace_of(const wire::Command& command) { return std::string(command.database) + "." + std::string(command.collection); }

}  // namespace

Numbering::Numbering(std::function<std::string()> new_id) : sessions_(std::move(new_id), age_max), refusing_(refusing_max, age_max) {}

std::unique_ptr<NumberedWrite> Numbering::begin(const wire::Message& request, const wire::Command& command, const std::string& user,
                                                Servers servers, Time now) {
  if (!(servers.deduplicate || broken("number_for_nothing")) || !wire::may_be_numbered(request, command)) return nullptr;
  // Whether its answer is the first or the second nobody could tell, and a refused second says nothing of the first.
  if (servers.repeat && !broken("number_for_mongos")) return nullptr;
  if (refusing_.find(namespace_of(command), now) != nullptr) return nullptr;
  auto write = std::make_unique<NumberedWrite>();
  write->user = user;
  write->own = sessions_.take(user);
  const auto body = wire::body_of_numbered_write(request.body, write->own.id, write->own.number);
  write->frame = wire::make_message(request.header.request_id, 0, request.flags, body, request.sequences);
  if (wire::parse_message(write->frame, write->message) != wire::FrameError::none) {
    sessions_.give_back(user, std::move(write->own), now);  // with a number it is longer than a message may be
    return nullptr;
  }
  write->command = wire::read_command(write->message);
  write->client_session = command.session;
  if (!command.session.empty()) under_way_.emplace(write->client_session, write->own.id);
  if (broken("own_session_alone")) sessions_.give_back(user, write->own, now);
  return write;
}

void Numbering::end(NumberedWrite& write, Fate fate, Time now) {
  const auto [first, last] = under_way_.equal_range(write.client_session);
  const auto found = std::find_if(first, last, [&](const auto& each) { return each.second == write.own.id; });
  if (found != last) under_way_.erase(found);
  if (broken("own_number_once") && fate == Fate::unknown) {
    --write.own.number;
    fate = Fate::answered;
  }
  if (fate != Fate::unknown && !broken("own_session_alone")) sessions_.give_back(write.user, std::move(write.own), now);
}

void Numbering::end_without(const wire::Command& command, Fate fate, Time now) {
  // What is refused without a number, too, says nothing about numbers.
  if (fate == Fate::answered && !broken("remember_refusal")) refusing_.put(namespace_of(command), true, now);
}

std::vector<std::string> Numbering::sessions_for(const std::vector<std::string>& client_sessions) const {
  std::vector<std::string> ours;
  for (const auto& each : client_sessions) {
    const auto [first, last] = under_way_.equal_range(each);
    for (auto at = first; at != last; ++at) ours.push_back(at->second);
  }
  return ours;
}

void Numbering::expire(Time now) {
  sessions_.expire(now);
  refusing_.expire(now);
}

}  // namespace holdfast::proxy::mongo

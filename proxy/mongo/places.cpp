// Two tables, bounded and expiring.
#include "proxy/mongo/places.hpp"

#include <string>

#include "protocol/mongo/several.hpp"
#include "proxy/mutation.hpp"

namespace holdfast::proxy::mongo {

using wire::CommandKind;

namespace {

constexpr std::size_t cursors_max = 100'000, transactions_max = 100'000, operations_max = 10'000;
/// Servers forget cursors after ten minutes and sessions after thirty.
constexpr auto place_age = std::chrono::minutes(30);

std::string cursor_key(std::string_view collection, std::int64_t id) { return std::to_string(id) + " " + std::string(collection); }

std::string session_key(const wire::Command& command, std::string_view user) {
  return std::string(user) + '\0' + std::string(command.session);
}

}  // namespace

Places::Places()
    : cursors_(cursors_max, place_age), transactions_(transactions_max, place_age), operations_(operations_max, place_age) {}

const Places::Cursor* Places::find_cursor(std::string_view collection, std::int64_t id, Time now) {
  return broken("cursor_place") ? nullptr : cursors_.find(cursor_key(collection, id), now);
}

Places::Transaction* Places::find_transaction(const wire::Command& command, std::string_view user, Time now) {
  auto* found = transactions_.find(session_key(command, user), now);
  return found != nullptr && found->number == *command.transaction_number && !broken("transaction_place") ? found : nullptr;
}

std::map<std::optional<std::size_t>, std::vector<std::int64_t>> Places::cursors_by_member(const wire::Command& command, Time now) {
  std::map<std::optional<std::size_t>, std::vector<std::int64_t>> members;
  for (const auto id : command.cursors) {
    const auto* cursor = find_cursor(command.collection, id, now);
    members[cursor == nullptr ? std::nullopt : std::optional(cursor->member)].push_back(id);
  }
  return members;
}

Places::Place Places::find(const wire::Command& command, std::string_view user, Time now) {
  Place place;
  if (command.kind == CommandKind::get_more) {
    if (const auto* cursor = find_cursor(command.collection, command.cursor, now)) {
      place.member = cursor->member;
      place.cursor = cursor->of;
    }
  } else if (command.kind == CommandKind::kill_cursors && !command.cursors.empty()) {
    const auto members = cursors_by_member(command, now);
    place.member = members.begin()->first;
    place.several = members.size() > 1;
  } else if (command.operation) {
    if (const auto* member = operations_.find(std::to_string(*command.operation), now)) place.member = *member;
  } else if (command.transaction_number && command.in_transaction && !command.starts_transaction) {
    if (const auto* transaction = find_transaction(command, user, now)) {
      place.member = transaction->member;
      place.wrote = transaction->wrote;
    }
  }
  return place;
}

void Places::note_sent(const wire::Command& command, std::string_view user, std::size_t member, Time now) {
  if (!command.in_transaction || !command.transaction_number) return;
  const bool writes = command.writes && !broken("transaction_wrote");
  if (command.starts_transaction) {
    transactions_.put(session_key(command, user), {member, *command.transaction_number, writes}, now);
  } else if (writes) {
    if (auto* transaction = find_transaction(command, user, now)) transaction->wrote = true;
  }
}

void Places::note_reply(const wire::Command& command, const wire::Reply& reply, std::size_t member, Time now) {
  if (!reply.ok) return;
  auto of = command.opens;
  if (command.kind == CommandKind::get_more) {
    if (const auto* cursor = find_cursor(command.collection, command.cursor, now)) of = cursor->of;
  }
  if (of == wire::CursorOf::operations) {
    for (const auto number : wire::operations_in(reply.body)) operations_.put(std::to_string(number), member, now);
  }
  if (!reply.cursor) return;
  if (command.kind == CommandKind::get_more) {
    if (*reply.cursor == 0) cursors_.erase(cursor_key(command.collection, command.cursor));
    return;
  }
  if (*reply.cursor == 0) return;
  const auto dot = reply.cursor_namespace.find('.');
  if (dot == std::string_view::npos) return;
  cursors_.put(cursor_key(reply.cursor_namespace.substr(dot + 1), *reply.cursor), {member, of}, now);
}

void Places::expire(Time now) {
  cursors_.expire(now);
  transactions_.expire(now);
  operations_.expire(now);
}

}  // namespace holdfast::proxy::mongo

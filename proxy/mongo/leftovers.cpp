// A few entries: such a driver keeps a connection for each cursor and each transaction.
#include "proxy/mongo/leftovers.hpp"

#include <utility>

#include "protocol/mongo/document.hpp"
#include "protocol/mongo/several.hpp"

namespace holdfast::proxy::mongo {

using wire::CommandKind;

namespace {

/// A client that opens more is none of these drivers.
constexpr std::size_t size_max = 1'000;

std::string body_of_kill(std::int64_t id, const std::string& database, const std::string& collection) {
  wire::Writer none;
  const auto body = wire::Writer().text("killCursors", collection).array("cursors", none.finish()).text("$db", database).finish();
  return wire::body_of_kill_cursors(body, {id});
}

}  // namespace

void Leftovers::note_sent(const wire::Command& command, std::string_view body, std::size_t member) {
  if (!command.in_transaction || !command.transaction_number) return;
  if (command.kind == CommandKind::commit || command.kind == CommandKind::abort) {
    const auto found = transactions_.find(command.session);
    if (found != transactions_.end()) transactions_.erase(found);
  } else if (transactions_.size() < size_max) {
    transactions_.insert_or_assign(std::string(command.session), Ending{member, wire::body_of_abort(body)});
  }
}

void Leftovers::note_reply(const wire::Command& command, const wire::Reply& reply, std::size_t member) {
  if (command.kind == CommandKind::kill_cursors) {
    for (const auto id : command.cursors) cursors_.erase(id);
    return;
  }
  if (command.kind == CommandKind::get_more) {
    if (!reply.ok || reply.cursor == 0) cursors_.erase(command.cursor);
    return;
  }
  const auto dot = reply.cursor_namespace.find('.');
  if (!reply.ok || reply.cursor.value_or(0) == 0 || dot == std::string_view::npos || cursors_.size() >= size_max) return;
  const auto name = reply.cursor_namespace;
  cursors_.insert_or_assign(*reply.cursor, Cursor{member, std::string(name.substr(0, dot)), std::string(name.substr(dot + 1))});
}

std::vector<Leftovers::Ending> Leftovers::take() {
  std::vector<Ending> endings;
  for (const auto& [id, cursor] : cursors_) endings.push_back({cursor.member, body_of_kill(id, cursor.database, cursor.collection)});
  for (auto& [session, abort] : transactions_) endings.push_back(std::move(abort));
  cursors_.clear();
  transactions_.clear();
  return endings;
}

}  // namespace holdfast::proxy::mongo

// What is one member's alone, cursors and transactions, must be asked for there, and what is one user's for that user.
#include <gtest/gtest.h>

#include "protocol/mongo/reply.hpp"
#include "tests/simulation/mongo/sim_servers.hpp"

namespace holdfast::simulation::mongo {

using wire::CommandKind;

void SimServers::check_place(std::size_t member, const std::string& login, const wire::Command& command) {
  if (!command.session.empty()) {
    const auto user = login.substr(0, login.find('#'));
    const auto [found, first] = users_of_sessions_.emplace(command.session, user);
    EXPECT_EQ(found->second, user) << "a session comes over another user's connection";
  }
  auto cursors = command.cursors;
  if (command.kind == CommandKind::get_more) cursors.push_back(command.cursor);
  for (const auto id : cursors) {
    const auto found = cursor_places_.find(id);
    EXPECT_TRUE(found == cursor_places_.end() || found->second == member) << "a cursor is asked for where it is not";
  }
  if (!command.in_transaction || command.kind == CommandKind::commit || command.kind == CommandKind::abort) return;
  auto& place = transaction_places_[std::string(command.session)];
  const std::pair present(*command.transaction_number, member);
  if (command.starts_transaction) place = present;
  EXPECT_TRUE(place.first != present.first || place == present) << "a transaction is gone on with where it is not";
}

void SimServers::note_place(std::size_t member, const std::string& body) {
  const auto reply = wire::read_reply(body);
  if (reply.cursor.value_or(0) != 0) cursor_places_.emplace(*reply.cursor, member);
}

}  // namespace holdfast::simulation::mongo

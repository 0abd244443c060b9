// Compares two configurations.
#include "config/reload.hpp"

#include <algorithm>

namespace holdfast::config {

std::vector<std::string> needs_restart(const Config& running, const Config& next) {
  std::vector<std::string> sentences;
  const auto say = [&](bool differs, const std::string& what) {
    if (differs) sentences.push_back(what + " takes effect after a restart");
  };
  say(running.workers != next.workers, "the new number of workers");
  say(running.admin != next.admin, "the changed admin section");
  say(running.notify != next.notify, "the changed notify section");
  say(running.log.format != next.log.format, "the new log format");
  for (const auto& connection : next.connections) {
    const auto found = std::ranges::find(running.connections, connection.id, &Connection::id);
    if (found == running.connections.end()) {
      say(true, "the new connection " + connection.id);
      continue;
    }
    say(found->type != connection.type, "the new type of " + connection.id);
    say(found->listen != connection.listen, "the new listen address of " + connection.id);
    say(found->tls != connection.tls, "the changed tls section of " + connection.id);
    say(found->postgres.hosts != connection.postgres.hosts || found->mongo.hosts != connection.mongo.hosts,
        "the new hosts of " + connection.id);
  }
  for (const auto& connection : running.connections) {
    const bool kept = std::ranges::find(next.connections, connection.id, &Connection::id) != next.connections.end();
    say(!kept, "the removal of " + connection.id);
  }
  return sentences;
}

}  // namespace holdfast::config

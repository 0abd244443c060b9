// Turns an endpoint of the configuration into addresses that can be connected to.
#pragma once

#include <string>
#include <vector>

#include "config/config.hpp"
#include "health/operation.hpp"
#include "proxy/task.hpp"

namespace holdfast::health {

struct Address {
  asio::generic::stream_protocol::endpoint endpoint;
  std::string text;  // the IP address; for a unix socket the folder
};

struct Resolved {
  std::vector<Address> addresses;  // at least one, in the resolver's order, or
  std::string error;               // a sentence
};

/// Literal addresses and the folders of unix sockets (a host that begins with '/') need no look-up. Returns at the
/// operation's end even when the system's resolver hangs.
Task<Resolved> resolve(Operation& operation, config::HostPort endpoint);

}  // namespace holdfast::health

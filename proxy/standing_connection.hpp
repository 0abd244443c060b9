// What a protocol supplies to an upstream: the one connection of its own to a server, and probes.
#pragma once

#include <functional>
#include <string>

#include "config/config.hpp"
#include "proxy/task.hpp"
#include "proxy/upstream_types.hpp"

namespace holdfast::proxy {

/// The standing connection of one upstream and the probes that look for a server's return.
/// All members are called on the upstream's home worker and their tasks resume there; an implementation that works on
/// another thread goes there and back by itself. Destroyed on the home worker after close().
class StandingConnection {
 public:
  virtual ~StandingConnection() = default;

  /// Logs in to `endpoint` (DNS looked up anew). On success the connection is kept until close() or a loss, and
  /// replaces an earlier one. Where there is no login to use, alive means: the server asked for one.
  virtual Task<Outcome> attempt(config::HostPort endpoint, SteadyTime deadline) = 0;

  /// Asks whether a server accepts logins at `endpoint`, without keeping anything. Cheap.
  virtual Task<Outcome> probe(config::HostPort endpoint, SteadyTime deadline) = 0;

  /// `SELECT 1` and the role, on the standing connection. Fails when there is none.
  virtual Task<Outcome> check(SteadyTime deadline) = 0;

  /// Drops the standing connection; on_lost is not called for it.
  virtual void close() = 0;

  /// Called on the home worker when the standing connection is lost by itself.
  std::function<void(std::string reason)> on_lost;
};

}  // namespace holdfast::proxy

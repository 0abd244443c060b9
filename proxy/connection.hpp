// One connection of the configuration: its listeners, its upstream and its sessions, whatever its protocol.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "config/config.hpp"
#include "proxy/capability_types.hpp"
#include "proxy/counters.hpp"
#include "proxy/inherited_types.hpp"
#include "proxy/session_types.hpp"
#include "proxy/task.hpp"
#include "proxy/upstream.hpp"

namespace holdfast::proxy {

/// Made and destroyed by the composer while no worker runs; the rest as each member says.
class Connection {
 public:
  virtual ~Connection() = default;

  /// Binds the listeners, or takes those that were bound for it; throws std::runtime_error with a sentence. Before the
  /// workers start.
  virtual void open(const InheritedSockets& inherited) = 0;
  /// Begins to accept and to connect. From any thread.
  virtual void start() = 0;
  /// `reconnect` and `health` hold for every session from its next wait on, the rest for sessions that come from now on.
  /// From any thread.
  virtual void reconfigure(std::shared_ptr<const config::Connection> config) = 0;
  /// Ends every session with FATAL 57P01 (or the protocol's word for it) and stops listening. From any thread.
  virtual void stop_sessions() = 0;
  /// Stops the upstream. From any thread, once no session is left.
  virtual void stop() = 0;

  [[nodiscard]] virtual const std::string& id() const = 0;
  [[nodiscard]] virtual config::ConnectionType type() const { return config::ConnectionType::postgres; }
  [[nodiscard]] virtual Upstream& upstream() = 0;
  /// Sessions by activity, over all workers. Resumes on the caller's executor.
  virtual Task<SessionCounts> sessions() = 0;
  /// Every session, over all workers, by id. Resumes on the caller's executor.
  virtual Task<std::vector<SessionEntry>> session_list() = 0;
  /// Counters of each worker, readable from any thread.
  [[nodiscard]] virtual std::vector<const ConnectionCounters*> counters() const = 0;
  /// Why sessions cannot be restored, by reason, over all workers.
  virtual Task<std::vector<std::pair<std::string, std::uint64_t>>> protection() = 0;
  /// What the upstream does with a write that is sent again; none where the protocol has nothing of the kind. Resumes on the
  /// caller's executor.
  virtual Task<std::optional<Capabilities>> capabilities() { co_return std::nullopt; }
};

}  // namespace holdfast::proxy

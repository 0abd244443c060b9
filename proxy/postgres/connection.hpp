// A connection of type postgres: listeners, sessions spread over the workers, one upstream on the first of them.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "proxy/connection.hpp"
#include "proxy/listener.hpp"
#include "proxy/postgres/session.hpp"
#include "proxy/tls.hpp"
#include "proxy/worker.hpp"

namespace holdfast::proxy::postgres {

class PostgresConnection final : public Connection {
 public:
  /// Throws std::runtime_error with a sentence where a certificate or key cannot be used.
  PostgresConnection(std::shared_ptr<const config::Connection> config, std::vector<std::unique_ptr<Worker>>& workers,
                     std::unique_ptr<StandingConnection> standing, UpstreamObserver& observer,
                     CancelRegistry& cancels, std::uint64_t random_seed);
  ~PostgresConnection() override;

  void open(const InheritedSockets& inherited) override;
  void start() override;
  void reconfigure(std::shared_ptr<const config::Connection> config) override;
  void stop_sessions() override;
  void stop() override;
  [[nodiscard]] const std::string& id() const override { return id_; }
  [[nodiscard]] Upstream& upstream() override { return upstream_; }
  Task<SessionCounts> sessions() override;
  Task<std::vector<SessionEntry>> session_list() override;
  [[nodiscard]] std::vector<const ConnectionCounters*> counters() const override;
  Task<std::vector<std::pair<std::string, std::uint64_t>>> protection() override;

 private:
  /// What one worker holds of the connection; touched on that worker only.
  struct Share {
    Worker* worker = nullptr;
    std::shared_ptr<SessionContext> context;
    // This worker's own copies of the configuration, one for each context that still has sessions: what changes while
    // they run changes in place, where no session's reference is lost.
    std::vector<std::weak_ptr<config::Connection>> configs;
    std::vector<std::weak_ptr<SessionContext>> contexts;  // all that still have sessions
    std::unique_ptr<ConnectionCounters> counters;
    std::unordered_map<std::uint64_t, std::shared_ptr<Session>> sessions;
    bool ticking = true;
  };

  /// Contexts from the certificates and keys as they are now; an error keeps the ones in force.
  struct Tls {
    TlsContext client, server;
  };
  [[nodiscard]] Tls read_tls(const config::Connection& config) const;
  static void reconfigure(Share& share, const config::Connection& config, const Tls& tls);
  void accept(Share& share, Socket socket, Listener::Origin origin);
  Task<> tick(Share& share);

  const std::string id_;
  std::shared_ptr<const config::Connection> config_;
  Upstream upstream_;
  CancelRegistry& cancels_;
  std::vector<std::unique_ptr<Share>> shares_;
  std::vector<std::unique_ptr<Listener>> listeners_;
  std::atomic<std::uint64_t> last_session_{0};
  std::atomic<std::size_t> clients_{0};
  std::size_t next_share_ = 0;  // on the first worker
};

}  // namespace holdfast::proxy::postgres

// A connection of type mongodb: listeners, sessions and the upstream, all on the first worker.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "proxy/connection.hpp"
#include "proxy/listener.hpp"
#include "proxy/mongo/context.hpp"
#include "proxy/mongo/monitor.hpp"
#include "proxy/mongo/seed_lookup.hpp"
#include "proxy/mongo/seed_polling.hpp"
#include "proxy/mongo/session.hpp"
#include "proxy/mongo/standing.hpp"
#include "proxy/worker.hpp"

namespace holdfast::proxy::mongo {

class MongoConnection final : public Connection {
 public:
  MongoConnection(std::shared_ptr<const config::Connection> config, Worker& home, UpstreamObserver& observer,
                  std::uint64_t random_seed);
  ~MongoConnection() override;

  void open(const InheritedSockets& inherited) override;
  void start() override;
  void reconfigure(std::shared_ptr<const config::Connection> config) override;
  void stop_sessions() override;
  void stop() override;
  [[nodiscard]] const std::string& id() const override { return id_; }
  [[nodiscard]] config::ConnectionType type() const override { return config::ConnectionType::mongodb; }
  [[nodiscard]] Upstream& upstream() override { return upstream_; }
  Task<SessionCounts> sessions() override;
  Task<std::vector<SessionEntry>> session_list() override;
  [[nodiscard]] std::vector<const ConnectionCounters*> counters() const override;
  Task<std::vector<std::pair<std::string, std::uint64_t>>> protection() override;
  Task<std::optional<Capabilities>> capabilities() override;

 private:
  struct Tls {
    TlsContext client, server;  // none: not used, or not to be had
  };
  /// From the files as they are now; what they do not yield is logged.
  [[nodiscard]] Tls read_tls(const config::Connection& config) const;
  Task<std::string> find_seeds(SteadyTime deadline);
  Task<> poll_seeds();
  void take_seeds(const config::MongoUri& uri);
  /// The configuration with what DNS has said.
  [[nodiscard]] std::shared_ptr<const config::Connection> with_found(std::shared_ptr<const config::Connection> config) const;
  [[nodiscard]] MongoStanding::Hooks standing_hooks();
  void accept(Socket socket);
  void on_learnt();
  void tell_of_repetitions();
  void follow_members();
  void leave_replaced();
  Task<> tick();

  const std::string id_;
  Worker& home_;
  const std::shared_ptr<BackendSettings> settings_;  // changed on the home worker
  Members members_;
  std::unique_ptr<SeedLookup> lookup_;  // none: the URI names its hosts
  SeedPolling polling_;
  Upstream upstream_;
  std::shared_ptr<Context> context_;
  std::vector<std::unique_ptr<Listener>> listeners_;
  std::unordered_map<std::uint64_t, std::shared_ptr<Session>> sessions_;  // on the home worker
  std::uint64_t last_session_ = 0;
  std::vector<bool> retired_;   // of the members that the upstream and the pool have
  std::unique_ptr<Monitors> monitors_;
  std::optional<std::int64_t> version_told_;
  std::optional<bool> repetitions_told_;
  bool ticking_ = true;
  bool seeded_ = false;  // DNS has said where the members are
};

}  // namespace holdfast::proxy::mongo

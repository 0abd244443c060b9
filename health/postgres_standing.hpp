// The standing connection of a PostgreSQL upstream, kept by libpq on the health thread.
#pragma once

#include <memory>

#include "config/config.hpp"
#include "health/health_thread.hpp"
#include "proxy/standing_connection.hpp"

namespace holdfast::health {

/// Made and used on the home worker as proxy::StandingConnection says; everything else happens on the health thread,
/// which outlives this. After close() the home worker's io_context must run until it is out of work.
///
/// Identity is `SYSTEM_IDENTIFIER/MAJOR_VERSION/ENCODING` of the cluster, empty where the login may not ask for it.
/// Without a user in the URI, or where the server wants a password and the URI has none, alive means that the server
/// asks for a password; role and identity stay unknown then, check() is a probe, and on_lost is never called.
/// A check that times out leaves the connection open: an answer that comes late is the next check's.
class PostgresStanding final : public proxy::StandingConnection {
 public:
  /// Of `uri` all is used but the list of hosts and target_session_attrs.
  PostgresStanding(HealthThread& thread, Executor home, config::PostgresUri uri);
  ~PostgresStanding() override;
  PostgresStanding(const PostgresStanding&) = delete;
  PostgresStanding& operator=(const PostgresStanding&) = delete;

  /// What attempts and probes log in with from now on; an open connection stays. From any thread.
  void reconfigure(config::PostgresUri uri);

  Task<proxy::Outcome> attempt(config::HostPort endpoint, proxy::SteadyTime deadline) override;
  Task<proxy::Outcome> probe(config::HostPort endpoint, proxy::SteadyTime deadline) override;
  Task<proxy::Outcome> check(proxy::SteadyTime deadline) override;
  void close() override;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace holdfast::health

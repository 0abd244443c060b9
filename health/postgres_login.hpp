// Logs in to one address of a PostgreSQL server by libpq, without blocking.
#pragma once

#include <memory>

#include "config/config.hpp"
#include "health/operation.hpp"
#include "health/resolve.hpp"
#include "proxy/upstream_types.hpp"

struct pg_conn;  // libpq's PGconn

namespace holdfast::health {

struct FinishConnection {
  void operator()(pg_conn* connection) const;
};
using ConnectionPointer = std::unique_ptr<pg_conn, FinishConnection>;

struct Login {
  ConnectionPointer connection;    // where the login succeeded
  bool password_wanted = false;    // the server asked for a password, and there is none: it is alive
  proxy::Outcome outcome;          // how it failed otherwise
};

/// `uri` outlives the task. `endpoint` is the name that certificates are checked against.
Task<Login> login(Operation& operation, const config::PostgresUri& uri, config::HostPort endpoint, Address address);

}  // namespace holdfast::health

// Asks a PostgreSQL server whether it accepts logins, as far as that shows before a password is due. Keeps nothing.
#pragma once

#include <string_view>

#include "config/config.hpp"
#include "health/operation.hpp"
#include "health/resolve.hpp"
#include "proxy/upstream_types.hpp"

namespace holdfast::health {

/// What an SQLSTATE of a refused login or a failed question means for reconnection.
[[nodiscard]] proxy::Failure classify(std::string_view sqlstate);

/// Sends a startup message and looks at the first answer (PostgreSQL documentation, "Message Flow", "Start-up"). Only
/// 57P03, 53300, and an end before any answer say that the server is not ready; every other answer of a server,
/// a refusal by pg_hba.conf too, says that it takes logins. `uri` outlives the task.
Task<proxy::Outcome> probe_address(Operation& operation, const config::PostgresUri& uri, Address address);

/// Every address of `endpoint` in turn, until one takes logins.
Task<proxy::Outcome> probe_endpoint(Operation& operation, const config::PostgresUri& uri, config::HostPort endpoint);

}  // namespace holdfast::health

// Whether the ledger of exactly_once is there, asked once before the program serves anybody.
#pragma once

#include <string>

#include "config/config.hpp"
#include "health/health_thread.hpp"

namespace holdfast::health {

/// `question` is SQL with one boolean for an answer. A sentence where the database of the URI has certainly no ledger that its user can use. Empty where it has, and where
/// nobody can tell now: no login in the URI, no server that answers in time. Blocks for two seconds at most; not to be called
/// on the health thread.
[[nodiscard]] std::string missing_ledger(HealthThread& health, const config::PostgresUri& uri, std::string question);

}  // namespace holdfast::health

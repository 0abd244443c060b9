// Finds the programs of an installed PostgreSQL server. Runs none of them, but for the pg_config that the user named.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace holdfast::workload {

/// Where to look.
struct PostgresSearch {
  std::optional<std::string> pg_config;                            // the variable PG_CONFIG: a user's wish goes first
  std::filesystem::path versions_directory = "/usr/lib/postgresql";  // Debian's: VERSION/bin below it, the newest wins
  std::string path;                                                // the variable PATH
};

/// The search as the environment of this process has it.
[[nodiscard]] PostgresSearch postgres_search();

/// The directory that holds both `initdb` and `postgres`. Throws std::runtime_error with a sentence that says what to install.
[[nodiscard]] std::filesystem::path find_postgres(const PostgresSearch& search);

}  // namespace holdfast::workload

// PGPASSFILE, as libpq reads it (PostgreSQL documentation, "The Password File").
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "config/config.hpp"

namespace holdfast::config {

struct PassfileResult {
  Secret password;      // empty: none found
  std::string file;
  std::string warning;  // why the file was left unread
};
/// The password for the first host of the URI. A file that others can read is left unread.
[[nodiscard]] PassfileResult look_up_passfile(
    const std::function<std::optional<std::string>(std::string_view)>& environment, const PostgresUri& uri);

}  // namespace holdfast::config

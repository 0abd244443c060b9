// The part of `holdfast check` that asks DNS: what mongodb+srv:// names stand for at the moment.
#pragma once

#include "config/config.hpp"

namespace holdfast::cli {

/// Prints what was found for each such name, on stderr where that is nothing or something else than it may be. False where DNS says what
/// it may not; one that cannot be looked up from here is only a warning. Waits `connection_timeout` for each.
[[nodiscard]] bool check_names(const config::Config& config);

}  // namespace holdfast::cli

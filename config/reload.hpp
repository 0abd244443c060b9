// What a reload cannot apply to a running process.
#pragma once

#include <string>
#include <vector>

#include "config/config.hpp"

namespace holdfast::config {

/// A sentence for each difference between `running` and `next` that takes effect only after a restart.
[[nodiscard]] std::vector<std::string> needs_restart(const Config& running, const Config& next);

}  // namespace holdfast::config

// What was said in file, environment and flags, as if all of it had been written in one file.
#pragma once

#include <optional>

#include "config/load.hpp"
#include "config/section.hpp"

namespace holdfast::config {

/// None where there is nothing to read: the reason is among the mistakes of `state`, which also gets the overlays and the warnings.
[[nodiscard]] std::optional<YAML::Node> read_tree(const Sources& sources, LoadState& state);

}  // namespace holdfast::config

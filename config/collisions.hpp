// Ids and addresses that two parts of the configuration want to have. Private to this folder, as section.hpp is.
#pragma once

#include "config/section.hpp"

namespace holdfast::config {

/// Each is told at the place of the second; `nodes` is the list of connections.
void check_collisions(LoadState& state, const Config& config, const YAML::Node& nodes);

}  // namespace holdfast::config

// What a reload cannot apply to a running process, and which files it is about.
#pragma once

#include <string>
#include <vector>

#include "config/config.hpp"
#include "config/load.hpp"

namespace holdfast::config {

/// A sentence for each difference between `running` and `next` that takes effect only after a restart.
[[nodiscard]] std::vector<std::string> needs_restart(const Config& running, const Config& next);

/// The configuration's own file and those that it names, each once: passwords, tokens, certificates, keys, PGPASSFILE.
[[nodiscard]] std::vector<std::string> named_files(const Sources& sources, const Config& config);

}  // namespace holdfast::config

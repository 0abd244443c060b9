// Sets up the process's log: text or one JSON object a line, on standard error.
#pragma once

#include <string>
#include <vector>

#include "config/config.hpp"

namespace holdfast::cli {

/// Replaces the default logger. Before any thread that logs is started.
/// `connections` are the ids that lines may begin with.
void set_up_logging(const config::Log& log, std::vector<std::string> connections);
/// Changes the level alone. Any thread.
void set_log_level(config::LogLevel level);

}  // namespace holdfast::cli

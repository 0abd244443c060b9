// The settings in force as JSON, and the changes to them that a client may send. Shows no secret.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config/config.hpp"

namespace holdfast::admin {

struct Settings {
  config::Config running;
  config::Config file;  // with what environment and flags say; what a reload would bring back
};

/// The names are those of the file. Durations are written as `250ms`, so that what was read can be sent back.
[[nodiscard]] std::string settings_json(const Settings& settings);

/// The words for `log.level`.
inline constexpr std::array<std::pair<const char*, config::LogLevel>, 4> log_levels{{{"debug", config::LogLevel::debug},
                                                                                     {"info", config::LogLevel::info},
                                                                                     {"warn", config::LogLevel::warn},
                                                                                     {"error", config::LogLevel::error}}};

/// A field of a change that cannot be taken.
struct BadField {
  std::string field;  // dotted
  std::string message;
};

/// Applies a body of PATCH /api/v1/config, which is empty or a JSON object, to `config`: `reconnect` and `health` to every
/// connection, those below `connections.ID` to one; `log.level`. Returns every bad field; `config` is of use only where there is none.
[[nodiscard]] std::vector<BadField> change_settings(std::string_view body, config::Config& config);

/// The answer to a change with bad fields: an error as any other, with `fields`.
[[nodiscard]] std::string bad_fields_json(const std::vector<BadField>& fields);

/// `reconnect.retry_delay health.interval`: what of the two sections differs, with a space between.
[[nodiscard]] std::string changed_settings(const config::Connection& before, const config::Connection& after);

}  // namespace holdfast::admin

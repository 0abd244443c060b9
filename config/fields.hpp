// The fields of `reconnect` and `health`: names as in the file, members, bounds. One table for all that read, show or change
// them: the file, the environment, the admin API.
#pragma once

#include <array>
#include <cstdint>
#include <variant>

#include "config/config.hpp"

namespace holdfast::config {

template <class Settings>
struct Field {
  const char* name;
  std::variant<milliseconds Settings::*, std::uint32_t Settings::*, double Settings::*> member;
  double least, most;  // of durations in milliseconds
};

// A hundred years: beyond that, arithmetic on clocks would not be safe.
inline constexpr double duration_max = 3.2e12;

/// The fields of a section of the configuration.
template <class Settings>
struct Fields;

template <>
struct Fields<Reconnect> {
  using R = Reconnect;
  static constexpr const char* name = "reconnect";
  static constexpr std::array<Field<R>, 11> all{{
      {"max_retries", &R::max_retries, 1, 1'000'000},
      {"retry_delay", &R::retry_delay, 1, duration_max},
      {"multiplier", &R::multiplier, 1, 100},
      {"max_delay", &R::max_delay, 1, duration_max},
      {"jitter", &R::jitter, 0, 1},
      {"connection_timeout", &R::connection_timeout, 1, duration_max},
      {"keep_alive_interval", &R::keep_alive_interval, 1000, duration_max},
      {"hang_timeout", &R::hang_timeout, 100, duration_max},
      {"probe_interval", &R::probe_interval, 10, duration_max},
      {"hold_timeout", &R::hold_timeout, 0, duration_max},
      {"concurrency", &R::concurrency, 1, 100'000},
  }};
};

template <>
struct Fields<Health> {
  using H = Health;
  static constexpr const char* name = "health";
  static constexpr std::array<Field<H>, 3> all{{
      {"interval", &H::interval, 10, duration_max},
      {"timeout", &H::timeout, 10, duration_max},
      {"failures", &H::failures, 1, 1000},
  }};
};

/// Calls `visit` with the name of each field in which the two differ.
template <class Settings, class Visit>
void for_each_difference(const Settings& left, const Settings& right, Visit visit) {
  for (const auto& field : Fields<Settings>::all) {
    const bool differ = std::visit([&](auto member) { return left.*member != right.*member; }, field.member);
    if (differ) visit(field);
  }
}

}  // namespace holdfast::config

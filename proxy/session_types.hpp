// What is shown of client sessions, in words that every protocol has. Plain data.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

namespace holdfast::proxy {

/// Client sessions by what they do: a statement under way, none, or one held while there is no upstream.
struct SessionCounts {
  std::uint64_t active = 0, idle = 0, waiting = 0;
};

/// One session at one moment.
struct SessionEntry {
  std::string connection;
  std::uint64_t id = 0;  // within its connection
  std::string client, user, database, application;
  std::string state;    // active, idle, waiting
  std::string backend;  // empty: none at present
  std::uint64_t reconnections = 0;
  std::optional<std::chrono::system_clock::time_point> statement_start;  // of what the client waits for; none: nothing
  std::string protection, reason;  // the reason may be empty
};

}  // namespace holdfast::proxy

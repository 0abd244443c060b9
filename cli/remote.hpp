// Commands that speak to the admin port of a running proxy. Each prints its own failure and returns the exit code.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace holdfast::cli {

struct RemoteOptions {
  std::string admin;       // http://HOST:PORT, https://HOST:PORT or unix:PATH
  std::string token_file;  // empty: no token
  std::string ca_file, cert_file, key_file;  // for TLS
  std::string id;          // of a connection
  bool json = false;       // the API's answer as it is
  bool watch = false;      // status again and again
  bool follow = false;     // events as they come
  std::optional<std::uint64_t> since;  // events after this one
};

enum class RemoteOrder { reconnect, pause, resume };

/// Prints a table of the connections. 0, or 1 when any is not connected or the proxy cannot be reached. With `watch` it
/// returns only where the first look fails.
[[nodiscard]] int show_status(const RemoteOptions& options);
/// Tells one connection what to do. 0, or 1 when that could not be ordered.
[[nodiscard]] int give_order(const RemoteOptions& options, RemoteOrder order);
/// Prints nothing where the proxy serves, whatever its databases do: 0 or 1. For a container's HEALTHCHECK.
[[nodiscard]] int check_health(const RemoteOptions& options);
/// Prints the settings in force as indented JSON. 0 or 1.
[[nodiscard]] int show_config(const RemoteOptions& options);
/// Prints events, one line each. 0, or 1 when they cannot be had; with `follow` also when the stream ends.
[[nodiscard]] int show_events(const RemoteOptions& options);

}  // namespace holdfast::cli

// Tells systemd, or whatever else started the program with NOTIFY_SOCKET, how the service is. Decides nothing about the service.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace holdfast::cli {

/// The protocol of sd_notify(3), which its manual page gives to reimplement: datagrams of `NAME=value` lines. Without
/// NOTIFY_SOCKET every call does nothing. A datagram that cannot be sent is lost: the service goes on without.
class ServiceManager {
 public:
  using Environment = std::function<std::optional<std::string>(std::string_view)>;

  explicit ServiceManager(const Environment& environment);

  void ready() const;
  void reloading() const;
  /// `time_max`: how long the end may take; a manager with a shorter patience is asked for as much.
  void stopping(std::chrono::milliseconds time_max) const;
  /// Feeds the watchdog.
  void alive() const;

  /// How often `alive` is wanted: half of the watchdog's time. None: there is no watchdog, or it is another process's.
  [[nodiscard]] std::optional<std::chrono::milliseconds> alive_interval() const { return alive_interval_; }

 private:
  void send(std::string_view message) const;

  std::string socket_;  // a path, or an abstract name that begins with @; empty: nobody to tell
  std::optional<std::chrono::milliseconds> alive_interval_;
};

}  // namespace holdfast::cli

// What the admin server asks of the program that it is part of, and what it may tell it to do.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "admin/event_feed.hpp"
#include "admin/history.hpp"
#include "admin/metrics.hpp"
#include "admin/settings_json.hpp"
#include "config/config.hpp"
#include "proxy/capability_types.hpp"
#include "proxy/task.hpp"
#include "proxy/upstream_types.hpp"

namespace holdfast::admin {

/// One connection as the API shows it.
struct ConnectionView {
  config::ConnectionType type = config::ConnectionType::postgres;
  proxy::UpstreamStatus status;
  SessionCounts sessions;
  std::optional<proxy::Capabilities> capabilities;
};

struct Readiness {
  bool ready = false;
  std::string reason;  // a sentence where it is not
};

/// What became of an order.
enum class Order { given, unknown_connection };

/// All members are called on the admin thread. Tasks may wait for other threads and resume on the admin thread; they
/// must end by themselves, also while the program shuts down. Nothing here may block.
class Source {
 public:
  virtual ~Source() = default;

  /// In the configuration's order.
  virtual Task<std::vector<ConnectionView>> connections() = 0;
  /// None where no connection has this id. Shows the effect of an order that was given before.
  virtual Task<std::optional<ConnectionView>> connection(std::string id) = 0;
  /// Those of one connection, or of all where `id` is none. None where no connection has this id.
  virtual Task<std::optional<std::vector<proxy::SessionEntry>>> sessions(std::optional<std::string> id) = 0;
  /// None where no connection has this id.
  virtual std::optional<History::View> history(const std::string& id) = 0;
  virtual Task<Readiness> readiness() = 0;
  virtual Task<MetricsSnapshot> metrics() = 0;
  virtual Settings settings() = 0;
  /// Lets `change` work on a copy of the settings in force. Where it returns true, what has become of `reconnect`,
  /// `health` and `log.level` applies at once and is announced.
  virtual void change_settings(const std::function<bool(config::Config&)>& change) = 0;
  /// What happened to the connections. Always the same one.
  virtual EventFeed& events() = 0;

  virtual Order force_reconnect(const std::string& id) = 0;
  virtual Order pause(const std::string& id) = 0;
  virtual Order resume(const std::string& id) = 0;
};

}  // namespace holdfast::admin

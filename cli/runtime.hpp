// The running proxy: builds every object from the configuration, passes references in, and takes it all down in order.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "admin/settings_json.hpp"
#include "cli/event_log.hpp"
#include "config/config.hpp"
#include "config/load.hpp"
#include "health/health_thread.hpp"
#include "proxy/connection.hpp"
#include "proxy/postgres/cancel_registry.hpp"
#include "proxy/task.hpp"
#include "proxy/waiting.hpp"
#include "proxy/worker.hpp"

namespace holdfast::cli {

class AdminSource;
class AdminService;

class Runtime {
 public:
  /// Binds every listener; throws std::runtime_error with a sentence where one cannot be had.
  Runtime(config::Config config, config::Sources sources);
  ~Runtime();
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  /// Serves until a signal ends it; returns the exit code.
  int run();

  // ---- for the admin service, from its thread ----
  [[nodiscard]] const std::vector<std::unique_ptr<proxy::Connection>>& connections() const { return connections_; }
  [[nodiscard]] proxy::Connection* find(std::string_view id) const;
  [[nodiscard]] bool draining() const { return draining_; }
  [[nodiscard]] EventLog& events() { return events_; }
  [[nodiscard]] admin::Settings settings() const;
  /// Where `change` returns true for a copy of the settings in force, applies their `reconnect` and `health`.
  void change_settings(const std::function<bool(config::Config&)>& change);

 private:
  std::unique_ptr<proxy::Connection> make_connection(const config::Connection& config, std::uint64_t seed);
  Task<> watch_signals();
  Task<> drain();
  void reload();
  void apply(config::Connection& running, config::Connection next);
  void take_down();

  mutable std::mutex settings_mutex_;  // a reload and the admin thread both change them
  config::Config config_;              // in force
  config::Config file_;                // as loaded last
  config::Sources sources_;
  asio::io_context main_;
  EventLog events_;
  proxy::postgres::CancelRegistry cancels_;
  health::HealthThread health_;
  std::vector<std::unique_ptr<proxy::Worker>> workers_;
  std::vector<std::unique_ptr<proxy::Connection>> connections_;
  std::unique_ptr<AdminService> admin_;
  std::atomic<bool> draining_{false};
};

}  // namespace holdfast::cli

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
#include "cli/file_watch.hpp"
#include "cli/service_manager.hpp"
#include "config/config.hpp"
#include "config/load.hpp"
#include "health/health_thread.hpp"
#include "health/postgres_standing.hpp"
#include "proxy/connection.hpp"
#include "proxy/postgres/cancel_registry.hpp"
#include "proxy/task.hpp"
#include "proxy/waiting.hpp"
#include "proxy/worker.hpp"

namespace holdfast::admin {
class Webhooks;
}

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
  /// Where `change` returns true for a copy of the settings in force, applies their `reconnect`, `health` and `log.level`.
  void change_settings(const std::function<bool(config::Config&)>& change);

 private:
  std::unique_ptr<proxy::Connection> make_connection(const config::Connection& config, std::uint64_t seed);
  void require_ledgers();
  Task<> watch_signals();
  Task<> watch_files();
  Task<> feed_watchdog();
  Task<> retry_login(proxy::Connection& connection);
  Task<std::uint64_t> count_clients();
  Task<> drain();
  void reload();
  void load_again();
  void apply(config::Connection& running, config::Connection next);
  void take_down();

  mutable std::mutex settings_mutex_;  // a reload and the admin thread both change them
  config::Config config_;              // in force
  config::Config file_;                // as loaded last
  config::Sources sources_;
  ServiceManager manager_;
  FileWatch watch_;  // of the file and those that it names
  asio::io_context main_;
  EventLog events_;
  proxy::postgres::CancelRegistry cancels_;
  health::HealthThread health_;
  std::vector<std::unique_ptr<proxy::Worker>> workers_;
  std::vector<std::unique_ptr<proxy::Connection>> connections_;
  std::map<std::string, health::PostgresStanding*> standings_;  // by connection, which owns them
  std::unique_ptr<AdminService> admin_;
  std::unique_ptr<admin::Webhooks> webhooks_;
  std::atomic<bool> draining_{false};
};

}  // namespace holdfast::cli

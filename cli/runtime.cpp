// Start, reload, drain, end.
#include "cli/runtime.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <csignal>
#include <random>
#include <stdexcept>
#include <thread>

#include "admin/webhooks.hpp"
#include "cli/admin_service.hpp"
#include "cli/inherited_sockets.hpp"
#include "cli/logging.hpp"
#include "config/reload.hpp"
#include "health/ledger_check.hpp"
#include "protocol/postgres/ledger.hpp"
#include "proxy/log_scope.hpp"
#include "proxy/mongo/connection.hpp"
#include "proxy/postgres/connection.hpp"
#include "proxy/spawn.hpp"

namespace holdfast::cli {

using proxy::SteadyTimer;

namespace {

constexpr auto drain_poll = std::chrono::milliseconds(50);
constexpr auto farewell_time = std::chrono::seconds(1);
constexpr auto look_interval = std::chrono::seconds(1);

/// Of a coroutine beside the signals: what it throws is a bug and ends the program.
void end_of_helper(const std::exception_ptr& thrown) {
  if (thrown) std::rethrow_exception(thrown);
}

}  // namespace

Runtime::Runtime(config::Config config, config::Sources sources)
    : config_(std::move(config)), file_(config_), sources_(std::move(sources)), manager_(sources_.environment), main_(1) {
  watch_.follow(config::named_files(sources_, config_));
  const auto count = config_.workers == 0 ? std::max(1U, std::thread::hardware_concurrency()) : config_.workers;
  for (std::uint32_t i = 0; i < count; ++i) workers_.push_back(std::make_unique<proxy::Worker>());
  std::random_device seed;
  auto inherited = inherited_sockets(sources_.environment, config_);
  for (const auto& connection : config_.connections) {
    connections_.push_back(make_connection(connection, seed()));
    connections_.back()->open(inherited.connections[connection.id]);
  }
  if (config_.admin.listen) admin_ = std::make_unique<AdminService>(*this, config_.admin, std::move(inherited.admin));
  if (!config_.notify.empty()) webhooks_ = std::make_unique<admin::Webhooks>(config_.notify, events_.feed());
}

std::unique_ptr<proxy::Connection> Runtime::make_connection(const config::Connection& config, std::uint64_t seed) {
  auto own = std::make_shared<const config::Connection>(config);
  if (config.type == config::ConnectionType::mongodb) {
    return std::make_unique<proxy::mongo::MongoConnection>(std::move(own), *workers_.front(), events_, seed);
  }
  auto standing = std::make_unique<health::PostgresStanding>(health_, workers_.front()->executor(), config.postgres);
  standings_.emplace(config.id, standing.get());
  return std::make_unique<proxy::postgres::PostgresConnection>(std::move(own), workers_, std::move(standing), events_, cancels_,
                                                               seed);
}

Runtime::~Runtime() { take_down(); }

proxy::Connection* Runtime::find(std::string_view id) const {
  const auto found = std::ranges::find_if(connections_, [id](const auto& each) { return each->id() == id; });
  return found == connections_.end() ? nullptr : found->get();
}

/// Throws where a ledger is wanted and certainly not there.
void Runtime::require_ledgers() {
  for (const auto& connection : config_.connections) {
    if (connection.exactly_once != config::ExactlyOnce::on) continue;
    const auto missing = health::missing_ledger(health_, connection.postgres, std::string(postgres::ledger_check()));
    if (!missing.empty()) throw std::runtime_error(connection.id + ": " + missing);
  }
}

int Runtime::run() {
  require_ledgers();
  for (auto& worker : workers_) worker->start();
  for (auto& connection : connections_) connection->start();
  asio::co_spawn(main_, watch_signals(), [this](const std::exception_ptr& thrown) {
    main_.stop();
    if (thrown) std::rethrow_exception(thrown);
  });
  asio::co_spawn(main_, watch_files(), end_of_helper);
  asio::co_spawn(main_, feed_watchdog(), end_of_helper);
  manager_.ready();
  main_.run();
  take_down();
  return 0;
}

Task<> Runtime::watch_signals() {
  asio::basic_signal_set<Executor> signals(main_.get_executor(), SIGTERM, SIGINT, SIGHUP);
  for (;;) {
    const auto signal = co_await signals.async_wait(use_task);
    if (signal != SIGHUP) break;
    reload();
  }
  spdlog::info("ending: waiting up to {}ms for {}", config_.drain_timeout.count(), "clients to leave");
  draining_ = true;
  manager_.stopping(config_.drain_timeout + 4 * farewell_time);
  // A second signal ends the wait.
  asio::co_spawn(main_, drain(), [this](const std::exception_ptr&) { main_.stop(); });
  for (;;) {
    if (co_await signals.async_wait(use_task) != SIGHUP) co_return;
  }
}

/// Asks every worker.
Task<std::uint64_t> Runtime::count_clients() {
  std::uint64_t sum = 0;
  for (const auto& connection : connections_) {
    const auto counts = co_await connection->sessions();
    sum += counts.active + counts.idle + counts.waiting;
  }
  co_return sum;
}

/// Applies what changes in the files while nobody sends a signal, as in Kubernetes.
Task<> Runtime::watch_files() {
  SteadyTimer timer(main_.get_executor());
  for (;;) {
    timer.expires_after(look_interval);
    co_await timer.async_wait(use_task);
    if (draining_) co_return;
    if (!config_.watch_files) continue;
    const auto changed = watch_.look();
    if (changed.empty()) continue;
    for (const auto& path : changed) spdlog::info("{} has changed", path);
    reload();
  }
}

/// A worker that hangs does not answer, and then nobody says that the process is alive.
Task<> Runtime::feed_watchdog() {
  const auto interval = manager_.alive_interval();
  if (!interval) co_return;
  SteadyTimer timer(main_.get_executor());
  for (;;) {
    static_cast<void>(co_await count_clients());
    manager_.alive();
    timer.expires_after(*interval);
    co_await timer.async_wait(use_task);
  }
}

Task<> Runtime::drain() {
  SteadyTimer timer(main_.get_executor());
  const auto wait_until_gone = [&](std::chrono::milliseconds limit) -> Task<bool> {
    const auto deadline = std::chrono::steady_clock::now() + limit;
    while (co_await count_clients() > 0) {
      if (std::chrono::steady_clock::now() >= deadline) co_return false;
      timer.expires_after(drain_poll);
      co_await timer.async_wait(use_task);
    }
    co_return true;
  };
  if (co_await wait_until_gone(config_.drain_timeout)) co_return;
  spdlog::warn("ending with clients connected");
  for (const auto& connection : connections_) connection->stop_sessions();
  co_await wait_until_gone(farewell_time);
}

/// A valid file applies as far as it can without a restart; an invalid one changes nothing.
void Runtime::load_again() {
  // Before the files are read: what changes from here on is a change of its own.
  watch_.mark();
  auto loaded = config::load(sources_);
  if (!loaded.ok()) {
    for (const auto& mistake : loaded.mistakes) spdlog::error("reload refused: {}", mistake.to_string());
    return;
  }
  for (const auto& warning : loaded.warnings) spdlog::warn("{}", warning.to_string());
  const std::lock_guard lock(settings_mutex_);
  for (const auto& sentence : config::needs_restart(config_, loaded.config)) spdlog::warn("reload: {}", sentence);
  set_log_level(loaded.config.log.level);
  for (const auto& next : loaded.config.connections) {
    const auto running = std::ranges::find(config_.connections, next.id, &config::Connection::id);
    if (running == config_.connections.end()) continue;
    auto merged = next;
    // What was bound or connected at the start stays as it is until a restart.
    merged.listen = running->listen;
    merged.tls = running->tls;
    merged.postgres.hosts = running->postgres.hosts;
    const auto standing = standings_.find(next.id);  // of PostgreSQL connections
    const bool other_login = standing != standings_.end() && merged.postgres != running->postgres;
    if (other_login) standing->second->reconfigure(merged.postgres);
    merged.mongo.hosts = running->mongo.hosts;
    apply(*running, std::move(merged));
    if (auto* connection = find(next.id); other_login && connection != nullptr) {
      asio::co_spawn(main_, retry_login(*connection), end_of_helper);
    }
  }
  if (loaded.config.admin.token_file == config_.admin.token_file) config_.admin.token = loaded.config.admin.token;
  if (admin_) admin_->renew(config_.admin);
  config_.drain_timeout = loaded.config.drain_timeout;
  config_.log.level = loaded.config.log.level;
  config_.watch_files = loaded.config.watch_files;
  watch_.follow(config::named_files(sources_, loaded.config));
  config_.reconnect = loaded.config.reconnect;
  config_.health = loaded.config.health;
  config_.origins = loaded.config.origins;
  file_ = std::move(loaded.config);
  spdlog::info("configuration reloaded");
}

void Runtime::reload() {
  manager_.reloading();
  load_again();
  manager_.ready();
}

/// A login that the server has refused is not tried again by itself; another one is worth a try.
Task<> Runtime::retry_login(proxy::Connection& connection) {
  const auto status = co_await connection.upstream().status();
  if (status.state != proxy::State::connected) connection.upstream().force_reconnect();
}

admin::Settings Runtime::settings() const {
  const std::lock_guard lock(settings_mutex_);
  return {config_, file_};
}

void Runtime::change_settings(const std::function<bool(config::Config&)>& change) {
  const std::lock_guard lock(settings_mutex_);
  auto wanted = config_;
  if (!change(wanted)) return;
  config_.reconnect = wanted.reconnect;
  config_.health = wanted.health;
  if (wanted.log.level != config_.log.level) {
    config_.log.level = wanted.log.level;
    set_log_level(config_.log.level);
    spdlog::info("settings changed: log.level");
    proxy::Event event;
    event.kind = proxy::EventKind::config_changed;
    event.time = std::chrono::system_clock::now();
    event.reason = "log.level";
    events_.on_event(event);
  }
  for (auto& running : config_.connections) {
    const auto found = std::ranges::find(wanted.connections, running.id, &config::Connection::id);
    if (found == wanted.connections.end()) continue;
    auto next = running;
    next.reconnect = found->reconnect;
    next.health = found->health;
    if (next != running) apply(running, std::move(next));
  }
}

/// Tells the connection what holds from now on, and everybody who listens where that is something new.
void Runtime::apply(config::Connection& running, config::Connection next) {
  auto* connection = find(next.id);
  if (connection == nullptr) return;
  connection->reconfigure(std::make_shared<const config::Connection>(next));
  if (next != running) {
    proxy::Event event;
    event.kind = proxy::EventKind::config_changed;
    event.connection = next.id;
    event.time = std::chrono::system_clock::now();
    event.reason = admin::changed_settings(running, next);
    const proxy::LogScope scope({next.id, proxy::to_string(event.kind), {}});
    spdlog::info("settings of {} changed{}{}", next.id, event.reason.empty() ? "" : ": ", event.reason);
    events_.on_event(event);
  }
  running = std::move(next);
}

void Runtime::take_down() {
  if (connections_.empty() && workers_.empty()) return;
  if (admin_) admin_->stop();
  webhooks_.reset();
  for (auto& connection : connections_) {
    connection->stop_sessions();
    connection->stop();
  }
  // What has not come to its end by itself a moment later does not hold up the process.
  const auto limit = std::chrono::steady_clock::now() + farewell_time;
  for (auto& worker : workers_) worker->release();
  for (auto& worker : workers_) worker->stop_after(limit);
  for (auto& worker : workers_) worker->join();
  admin_.reset();
  connections_.clear();
  workers_.clear();
}

}  // namespace holdfast::cli

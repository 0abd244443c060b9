// What the admin server shows of the running proxy.
#include "cli/admin_service.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

#include "admin/server.hpp"
#include "cli/runtime.hpp"
#include "cli/version.hpp"

namespace holdfast::cli {

struct AdminService::Impl final : admin::Source {
  Impl(Runtime& of, const config::Admin& settings) : runtime(of), config(settings) {}

  Runtime& runtime;
  config::Admin config;
  std::unique_ptr<admin::Server> server;  // last: its thread asks the rest

  Task<admin::ConnectionView> view(proxy::Connection& connection) {
    admin::ConnectionView shown;
    shown.type = connection.type();
    shown.status = co_await connection.upstream().status();
    shown.sessions = co_await connection.sessions();
    shown.capabilities = co_await connection.capabilities();
    co_return shown;
  }

  Task<std::vector<admin::ConnectionView>> connections() override {
    std::vector<admin::ConnectionView> all;
    for (const auto& connection : runtime.connections()) all.push_back(co_await view(*connection));
    co_return all;
  }

  Task<std::optional<admin::ConnectionView>> connection(std::string id) override {
    auto* found = runtime.find(id);
    if (found == nullptr) co_return std::nullopt;
    co_return co_await view(*found);
  }

  Task<std::optional<std::vector<proxy::SessionEntry>>> sessions(std::optional<std::string> id) override {
    std::vector<proxy::SessionEntry> all;
    auto* only = id ? runtime.find(*id) : nullptr;
    if (id && only == nullptr) co_return std::nullopt;
    for (const auto& connection : runtime.connections()) {
      if (only != nullptr && only != connection.get()) continue;
      auto entries = co_await connection->session_list();
      std::ranges::move(entries, std::back_inserter(all));
    }
    co_return all;
  }

  std::optional<admin::History::View> history(const std::string& id) override {
    if (runtime.find(id) == nullptr) return std::nullopt;
    return runtime.events().history().read(id, std::chrono::system_clock::now());
  }

  Task<admin::Readiness> readiness() override {
    admin::Readiness readiness{true, {}};
    if (runtime.draining()) readiness = {false, "the proxy is ending"};
    if (!readiness.ready) co_return readiness;
    for (const auto& connection : runtime.connections()) {
      const auto status = co_await connection->upstream().status();
      if (status.breaker != proxy::BreakerState::open) continue;
      readiness.ready = false;
      readiness.reason += (readiness.reason.empty() ? "" : "; ") + connection->id() +
                          ": the circuit breaker is open (" + status.last_error + ")";
    }
    co_return readiness;
  }

  Task<admin::MetricsSnapshot> metrics() override {
    admin::MetricsSnapshot snapshot;
    snapshot.version = version;
    for (const auto& connection : runtime.connections()) {
      admin::ConnectionMetrics metrics;
      metrics.connection = connection->id();
      const auto status = co_await connection->upstream().status();
      metrics.up = !status.current.empty();  // also while paused
      metrics.breaker = status.breaker;
      metrics.sessions = co_await connection->sessions();
      for (auto& [reason, sessions] : co_await connection->protection()) {
        metrics.protection.push_back({reason.empty() ? "restorable" : "not_restorable", reason, sessions});
      }
      for (const auto* counters : connection->counters()) metrics.add(*counters);
      runtime.events().read(metrics.connection, [&](const auto& counters) { metrics.add(counters); });
      snapshot.connections.push_back(std::move(metrics));
    }
    co_return snapshot;
  }

  admin::Settings settings() override { return runtime.settings(); }
  void change_settings(const std::function<bool(config::Config&)>& change) override { runtime.change_settings(change); }

  admin::EventFeed& events() override { return runtime.events().feed(); }

  template <class Act>
  admin::Order order(const std::string& id, Act act) {
    auto* found = runtime.find(id);
    if (found == nullptr) return admin::Order::unknown_connection;
    act(found->upstream());
    return admin::Order::given;
  }
  admin::Order force_reconnect(const std::string& id) override {
    return order(id, [](proxy::Upstream& upstream) { upstream.force_reconnect(); });
  }
  admin::Order pause(const std::string& id) override {
    return order(id, [](proxy::Upstream& upstream) { upstream.pause(); });
  }
  admin::Order resume(const std::string& id) override {
    return order(id, [](proxy::Upstream& upstream) { upstream.resume(); });
  }
};

AdminService::AdminService(Runtime& runtime, const config::Admin& config, std::optional<proxy::InheritedSocket> inherited)
    : impl_(std::make_unique<Impl>(runtime, config)) {
  impl_->server = std::make_unique<admin::Server>(impl_->config, *impl_, admin::Limits{}, std::move(inherited));
}

AdminService::~AdminService() = default;

void AdminService::renew(const config::Admin& config) { impl_->server->renew(config); }

void AdminService::stop() { impl_->server.reset(); }

}  // namespace holdfast::cli

// Accepts, spreads, ticks and ends sessions.
#include "proxy/postgres/connection.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <map>
#include <stdexcept>
#include <utility>

#include "crypto/random.hpp"
#include "proxy/spawn.hpp"

namespace holdfast::proxy::postgres {

namespace {

constexpr auto tick_interval = std::chrono::milliseconds(250);

Upstream::Settings settings_of(const config::Connection& config) {
  Upstream::Settings settings;
  settings.connection = config.id;
  settings.endpoints = config.postgres.hosts;
  switch (config.postgres.target_session_attrs) {
    case config::TargetSessionAttrs::any: settings.wish = Wish::any; break;
    case config::TargetSessionAttrs::read_write: settings.wish = Wish::read_write; break;
    case config::TargetSessionAttrs::read_only: settings.wish = Wish::read_only; break;
    case config::TargetSessionAttrs::primary: settings.wish = Wish::primary; break;
    case config::TargetSessionAttrs::standby: settings.wish = Wish::standby; break;
    case config::TargetSessionAttrs::prefer_standby: settings.wish = Wish::prefer_standby; break;
  }
  settings.reconnect = config.reconnect;
  settings.health = config.health;
  settings.pause_timeout = config.pause_timeout;
  return settings;
}

TlsContext require(TlsResult result, const std::string& id) {
  if (!result.context) throw std::runtime_error(id + ": " + result.error);
  return std::move(result.context);
}

}  // namespace

PostgresConnection::PostgresConnection(std::shared_ptr<const config::Connection> config,
                                       std::vector<std::unique_ptr<Worker>>& workers,
                                       std::unique_ptr<StandingConnection> standing, UpstreamObserver& observer,
                                       CancelRegistry& cancels, std::uint64_t random_seed)
    : id_(config->id), config_(std::move(config)),
      upstream_(workers.front()->executor(), settings_of(*config_), std::move(standing), observer, random_seed),
      cancels_(cancels) {
  TlsContext client_tls, server_tls;
  if (config_->tls) client_tls = require(listener_tls(*config_->tls), id_);
  if (config_->postgres.sslmode != config::SslMode::disable) server_tls = require(upstream_tls(config_->postgres), id_);
  std::string secret(32, '\0');
  crypto::random_bytes(secret);
  for (auto& worker : workers) {
    auto share = std::make_unique<Share>();
    share->worker = worker.get();
    share->counters = std::make_unique<ConnectionCounters>();
    const auto own = std::make_shared<config::Connection>(*config_);
    share->configs.push_back(own);
    auto* raw = share.get();
    share->context = std::make_shared<SessionContext>(SessionContext{
        own, upstream_, worker->pool(), cancels_, *share->counters, clients_, secret, client_tls, server_tls,
        [this, raw](const std::shared_ptr<Session>& session) {
          raw->sessions.emplace(session->id(), session);
          ++clients_;
        },
        [this, raw](const Session& session) {
          if (raw->sessions.erase(session.id()) > 0) --clients_;
        }});
    share->contexts.push_back(share->context);
    shares_.push_back(std::move(share));
  }
}

PostgresConnection::~PostgresConnection() = default;

void PostgresConnection::open(const InheritedSockets& inherited) {
  for (const auto& address : config_->listen) {
    auto& home = *shares_.front()->worker;
    // A socket is made on the worker that will serve it: sessions never change threads.
    const auto next = [this] {
      next_share_ = (next_share_ + 1) % shares_.size();
      return shares_[next_share_]->worker->executor();
    };
    const auto accepted = [this](Socket socket, Listener::Origin origin) {
      for (auto& share : shares_) {
        if (share->worker->executor() == socket.get_executor()) return accept(*share, std::move(socket), origin);
      }
    };
    listeners_.push_back(std::make_unique<Listener>(home.executor(), address, next, accepted, inherited));
    spdlog::info("{} listens on {}", id_, listeners_.back()->address().to_string());
  }
}

void PostgresConnection::accept(Share& share, Socket socket, Listener::Origin origin) {
  const auto executor = share.worker->executor();
  const auto id = ++last_session_;
  // From here on the socket belongs to its own worker.
  asio::post(executor, [this, &share, executor, id, origin, client = std::move(socket)]() mutable {
    share.counters->client_connections.add(1);
    const auto from = origin == Listener::Origin::local ? Session::Origin::local : Session::Origin::remote;
    auto session = std::make_shared<Session>(std::move(client), from, share.context, id);
    spawn_named(executor, session->run(), "session", session);
  });
}

void PostgresConnection::start() {
  asio::post(shares_.front()->worker->executor(), [this] {
    upstream_.start();
    for (auto& listener : listeners_) listener->start();
  });
  for (auto& share : shares_) {
    spawn_named(share->worker->executor(), tick(*share), "tick", share->context);
  }
}

Task<> PostgresConnection::tick(Share& share) {
  SteadyTimer timer(share.worker->executor());
  while (share.ticking) {
    timer.expires_after(tick_interval);
    const auto [error] = co_await timer.async_wait(asio::as_tuple(use_task));
    static_cast<void>(error);
    const auto now = std::chrono::steady_clock::now();
    for (const auto& [id, session] : share.sessions) session->on_tick(now);
  }
}

PostgresConnection::Tls PostgresConnection::read_tls(const config::Connection& config) const {
  Tls tls;
  const auto take = [this](TlsResult result, TlsContext& into) {
    if (!result.context) spdlog::error("{}: {}: the certificates in force stay", id_, result.error);
    into = std::move(result.context);
  };
  if (config.tls) take(listener_tls(*config.tls), tls.client);
  if (config.postgres.sslmode != config::SslMode::disable) take(upstream_tls(config.postgres), tls.server);
  return tls;
}

void PostgresConnection::reconfigure(std::shared_ptr<const config::Connection> config) {
  const auto tls = read_tls(*config);
  for (auto& share : shares_) {
    asio::post(share->worker->executor(), [raw = share.get(), config, tls] { reconfigure(*raw, *config, tls); });
  }
  upstream_.reconfigure(config->reconnect, config->health);
}

void PostgresConnection::reconfigure(Share& share, const config::Connection& config, const Tls& tls) {
  std::erase_if(share.configs, [](const auto& each) { return each.expired(); });
  for (const auto& each : share.configs) {
    if (const auto held = each.lock()) {
      held->reconnect = config.reconnect;
      held->health = config.health;
    }
  }
  // A session that is open logs in again after a loss: it has to know the server's new authority then.
  std::erase_if(share.contexts, [](const auto& each) { return each.expired(); });
  for (const auto& each : share.contexts) {
    const auto held = each.lock();
    if (held && tls.server && uses_same_files(held->config->postgres, config.postgres)) held->server_tls = tls.server;
  }
  // Also where the settings are the same: a certificate may have been replaced under its name.
  if (*share.context->config == config && !tls.client && !tls.server) return;
  const auto own = std::make_shared<config::Connection>(config);
  auto next = std::make_shared<SessionContext>(*share.context);
  next->config = own;
  if (tls.client) next->client_tls = tls.client;
  if (tls.server) next->server_tls = tls.server;
  share.configs.push_back(own);
  share.contexts.push_back(next);
  share.context = std::move(next);
}

void PostgresConnection::stop_sessions() {
  asio::post(shares_.front()->worker->executor(), [this] {
    for (auto& listener : listeners_) listener->close();
  });
  for (auto& share : shares_) {
    asio::post(share->worker->executor(), [raw = share.get()] {
      const auto sessions = raw->sessions;
      for (const auto& [id, session] : sessions) {
        session->stop("57P01", "terminating connection due to administrator command");
      }
    });
  }
}

void PostgresConnection::stop() {
  for (auto& share : shares_) {
    asio::post(share->worker->executor(), [raw = share.get()] { raw->ticking = false; });
  }
  asio::post(shares_.front()->worker->executor(), [this] { upstream_.stop(); });
}

Task<SessionCounts> PostgresConnection::sessions() {
  SessionCounts counts;
  for (auto& share : shares_) {
    co_await asio::co_spawn(
        share->worker->executor(),
        [](Share& of, SessionCounts& into) -> Task<> {
          for (const auto& [id, session] : of.sessions) {
            switch (session->activity()) {
              case Session::Activity::active: ++into.active; break;
              case Session::Activity::idle: ++into.idle; break;
              case Session::Activity::waiting: ++into.waiting; break;
            }
          }
          co_return;
        }(*share, counts),
        use_task);
  }
  co_return counts;
}

Task<std::vector<SessionEntry>> PostgresConnection::session_list() {
  std::vector<SessionEntry> all;
  for (auto& share : shares_) {
    co_await asio::co_spawn(
        share->worker->executor(),
        [](Share& of, std::vector<SessionEntry>& into) -> Task<> {
          for (const auto& [id, session] : of.sessions) into.push_back(session->info());
          co_return;
        }(*share, all),
        use_task);
  }
  std::ranges::sort(all, {}, &SessionEntry::id);
  co_return all;
}

Task<std::vector<std::pair<std::string, std::uint64_t>>> PostgresConnection::protection() {
  std::map<std::string, std::uint64_t> counts;
  for (auto& share : shares_) {
    co_await asio::co_spawn(
        share->worker->executor(),
        [](Share& of, std::map<std::string, std::uint64_t>& into) -> Task<> {
          for (const auto& [id, session] : of.sessions) ++into[session->info().reason];
          co_return;
        }(*share, counts),
        use_task);
  }
  co_return std::vector<std::pair<std::string, std::uint64_t>>(counts.begin(), counts.end());
}

std::vector<const ConnectionCounters*> PostgresConnection::counters() const {
  std::vector<const ConnectionCounters*> all;
  for (const auto& share : shares_) all.push_back(share->counters.get());
  return all;
}

}  // namespace holdfast::proxy::postgres

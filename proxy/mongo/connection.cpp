// Accepts, ticks and ends sessions.
#include "proxy/mongo/connection.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "config/load.hpp"
#include "crypto/random.hpp"
#include "proxy/spawn.hpp"

namespace holdfast::proxy::mongo {

namespace {

constexpr auto tick_interval = std::chrono::milliseconds(250);

Upstream::Settings settings_of(const config::Connection& config) {
  Upstream::Settings settings;
  settings.connection = config.id;
  settings.endpoints = config.mongo.hosts;
  settings.wish = Wish::primary;
  settings.unfit = Unfit::awaited;
  settings.reconnect = config.reconnect;
  settings.health = config.health;
  settings.pause_timeout = config.pause_timeout;
  return settings;
}

TlsContext require(TlsResult result, const std::string& id) {
  if (!result.context) throw std::runtime_error(id + ": " + result.error);
  return std::move(result.context);
}

std::shared_ptr<BackendSettings> backend_settings(const config::Connection& config) {
  auto settings = std::make_shared<BackendSettings>();
  settings->uri = config.mongo;
  settings->keep_alive_interval = config.reconnect.keep_alive_interval;
  if (config.mongo.tls) settings->tls = require(upstream_tls(config.mongo), config.id);
  settings->own = std::make_shared<Login>();
  settings->own->user = config.mongo.user;
  settings->own->database = config.mongo.auth_database;
  settings->own->password = config.mongo.password;
  settings->own->mechanism = config.mongo.mechanism;
  return settings;
}

wire::ObjectId new_process() {
  wire::ObjectId process{};
  crypto::random_bytes(process);
  return process;
}

std::string names_of(const std::vector<config::HostPort>& hosts) {
  std::string names;
  for (const auto& host : hosts) names += (names.empty() ? "" : ", ") + host.to_string();
  return names;
}

}  // namespace

MongoConnection::MongoConnection(std::shared_ptr<const config::Connection> config, Worker& home, UpstreamObserver& observer,
                                 std::uint64_t random_seed)
    : id_(config->id), home_(home), settings_(backend_settings(*config)), members_(*config, new_process()),
      lookup_(config->mongo.srv ? std::make_unique<SeedLookup>(home.executor()) : nullptr),
      upstream_(home.executor(), settings_of(*config),
                std::make_unique<MongoStanding>(home.executor(), settings_, members_, home.pool(), standing_hooks()),
                observer, random_seed) {
  TlsContext client_tls;
  if (config->tls) client_tls = require(listener_tls(*config->tls, ListenerProtocol::any), id_);
  retired_.resize(config->mongo.hosts.size());
  context_ = std::make_shared<Context>(home.executor(), std::move(config), settings_, upstream_, members_, home.pool(), std::move(client_tls));
  monitors_ = std::make_unique<Monitors>(
      home.executor(), settings_, members_, home.pool(), [this] { on_learnt(); },
      [this](std::size_t member) {
        if (upstream_.ready_endpoint(Wish::primary) == member) upstream_.backend_lost(member, "its monitor says that it is no primary");
      });
  context_->opened = [this](const std::shared_ptr<Session>& session) { sessions_.emplace(session->id(), session); };
  context_->closed = [this](const Session& session) { sessions_.erase(session.id()); };
}

MongoConnection::~MongoConnection() = default;

MongoStanding::Hooks MongoConnection::standing_hooks() {
  MongoStanding::Hooks hooks;
  hooks.seek = [this](SteadyTime deadline) { return find_seeds(deadline); };
  hooks.learnt = [this] { on_learnt(); };
  hooks.doubt = [this](std::size_t member, const std::string& reason) { upstream_.backend_lost(member, reason); };
  hooks.question_time = [this] { return context_->config->health.timeout; };
  return hooks;
}

void MongoConnection::open(const InheritedSockets& inherited) {
  for (const auto& address : context_->config->listen) {
    const auto accepted = [this](Socket socket, Listener::Origin) { accept(std::move(socket)); };
    const auto next = [this] { return home_.executor(); };
    listeners_.push_back(std::make_unique<Listener>(home_.executor(), address, next, accepted, inherited));
    spdlog::info("{} listens on {}", id_, listeners_.back()->address().to_string());
  }
}

void MongoConnection::accept(Socket socket) {
  context_->counters.client_connections.add(1);
  if (sessions_.size() >= context_->config->max_clients) {
    spdlog::warn("{}: more than max_clients ({}) clients", id_, context_->config->max_clients);
    context_->counters.disconnected("too_many_clients");
    return;
  }
  auto session = std::make_shared<Session>(std::move(socket), context_, ++last_session_);
  spawn_named(home_.executor(), session->run(), "session", session);
}

void MongoConnection::start() {
  asio::post(home_.executor(), [this] {
    upstream_.start();
    for (auto& listener : listeners_) listener->start();
  });
  spawn_named(home_.executor(), tick(), "tick", context_);
}

Task<> MongoConnection::tick() {
  SteadyTimer timer(home_.executor());
  while (ticking_) {
    timer.expires_after(tick_interval);
    const auto [error] = co_await timer.async_wait(asio::as_tuple(use_task));
    static_cast<void>(error);
    const auto now = std::chrono::steady_clock::now();
    context_->on_tick(now);
    tell_of_repetitions();
    for (const auto& [id, session] : sessions_) session->on_tick(now);
    if (members_.follows_dns() && polling_.begin(now)) spawn_named(home_.executor(), poll_seeds(), "look-up of hosts", context_);
  }
}

/// Looks up the hosts of a mongodb+srv:// URI, until that has succeeded once.
Task<std::string> MongoConnection::find_seeds(SteadyTime deadline) {
  if (!lookup_ || seeded_) co_return std::string();
  const auto srv = *settings_->uri.srv;
  const auto records = co_await lookup_->ask(srv, SeedLookup::What::all, deadline);
  if (seeded_ || !records.error.empty()) co_return seeded_ ? std::string() : records.error;
  std::string error;
  const auto found = config::with_seeds(settings_->uri, records.targets, records.texts, error);
  if (!found) co_return error;
  polling_.on_answer(std::chrono::steady_clock::now(), records.ttl);
  take_seeds(*found);
  co_return std::string();
}

/// Looks them up again; where that brings nothing, those that are known stay.
Task<> MongoConnection::poll_seeds() {
  const auto srv = *settings_->uri.srv;
  const auto limit = std::chrono::steady_clock::now() + context_->config->reconnect.connection_timeout;
  const auto records = co_await lookup_->ask(srv, SeedLookup::What::hosts, limit);
  const auto known = members_.present_hosts();
  auto trouble = records.error;
  const auto hosts = trouble.empty() ? config::polled_seeds(srv, known, records.targets, trouble) : std::vector<config::HostPort>();
  if (!trouble.empty()) spdlog::warn("{}: {}", id_, trouble);
  polling_.on_answer(std::chrono::steady_clock::now(), hosts.empty() ? std::nullopt : std::optional(records.ttl));
  if (hosts.empty() || hosts == known || !ticking_ || !members_.follows_dns()) co_return;
  spdlog::info("{}: {} names {} now", id_, srv.name(), names_of(hosts));
  members_.follow_dns(hosts);
  on_learnt();
}

/// The endpoint that stood for all of them becomes the first.
void MongoConnection::take_seeds(const config::MongoUri& uri) {
  seeded_ = true;
  spdlog::info("{}: {} names {}", id_, uri.srv->name(), names_of(uri.hosts));
  settings_->uri = uri;
  settings_->own->database = uri.auth_database;
  members_.seed(uri);
  upstream_.rename_endpoint(0, uri.hosts.front());
  context_->use_seeds(with_found(context_->config));
  follow_members();
}

std::shared_ptr<const config::Connection> MongoConnection::with_found(std::shared_ptr<const config::Connection> config) const {
  if (!seeded_) return config;
  auto found = std::make_shared<config::Connection>(*config);
  found->mongo.hosts = settings_->uri.hosts;
  found->mongo.replica_set = settings_->uri.replica_set;
  found->mongo.auth_database = settings_->uri.auth_database;
  return found;
}

/// Brings the list of members, which may have grown or shrunk, to those that work with it.
void MongoConnection::follow_members() {
  const auto& hosts = members_.hosts();
  for (auto i = retired_.size(); i < hosts.size(); ++i) {
    spdlog::info("{}: found the member {} of the set", id_, hosts[i].to_string());
    context_->pool.add_member();
    upstream_.add_endpoint(hosts[i]);
    retired_.push_back(false);
  }
  for (std::size_t i = 0; i < hosts.size(); ++i) {
    if (retired_[i] == members_.is_retired(i)) continue;
    retired_[i] = !retired_[i];
    spdlog::info("{}: {} is {} member of the set", id_, hosts[i].to_string(), retired_[i] ? "no" : "again a");
    upstream_.retire(i, retired_[i]);
  }
  // A monitor costs a connection; where there is one member only, the standing connection tells the same.
  if (hosts.size() > 1 && ticking_) monitors_->follow(context_->config->reconnect.hang_timeout);
}

/// A mongos that DNS names no more is left once another one serves.
void MongoConnection::leave_replaced() {
  const auto present = upstream_.ready_endpoint(Wish::primary);
  if (!present || !members_.is_replaced(*present)) return;
  spdlog::info("{}: leaves {}", id_, members_.hosts()[*present].to_string());
  upstream_.force_reconnect();
}

void MongoConnection::on_learnt() {
  context_->on_learnt();
  follow_members();
  leave_replaced();
  const auto present = upstream_.ready_endpoint(Wish::primary), newest = members_.newest_primary();
  if (present && newest && *present != *newest) upstream_.backend_lost(*present, "another member was elected");
  const auto& face = members_.face();
  if (!face || version_told_ == face->version.counter) return;
  version_told_ = face->version.counter;
  spdlog::info("{} shows itself to clients as a {}, wire versions {} to {}", id_,
               face->kind == wire::FaceKind::mongos ? "mongos" : "standalone server", face->wire_min, face->wire_max);
  for (const auto& [id, session] : sessions_) session->on_face();
}

/// Servers come and go, and some say what they are to a client's login only.
void MongoConnection::tell_of_repetitions() {
  const bool once = members_.deduplicates();
  if (!members_.face() || repetitions_told_ == once) return;
  repetitions_told_ = once;
  std::string why;
  for (const auto& each : once ? std::vector<MemberCapabilities>() : members_.capabilities().members) {
    if (!each.reason.empty()) why += "; " + each.address + ": " + each.reason;
  }
  spdlog::info("{}: {}{}", id_, once ? "writes with a txnNumber are executed once however often they are sent" : "no write is sent twice", why);
}

MongoConnection::Tls MongoConnection::read_tls(const config::Connection& config) const {
  Tls tls;
  const auto take = [this](TlsResult result, TlsContext& into) {
    if (!result.context) spdlog::error("{}: {}: the certificates in force stay", id_, result.error);
    into = std::move(result.context);
  };
  if (config.tls) take(listener_tls(*config.tls, ListenerProtocol::any), tls.client);
  if (config.mongo.tls) take(upstream_tls(config.mongo), tls.server);
  return tls;
}

void MongoConnection::reconfigure(std::shared_ptr<const config::Connection> config) {
  asio::post(home_.executor(), [this, config, tls = read_tls(*config)] {
    const auto found = with_found(config);
    context_->use(found);
    settings_->own->take_password(found->mongo.auth_database, found->mongo.user, found->mongo.password);
    settings_->keep_alive_interval = config->reconnect.keep_alive_interval;
    follow_members();
    if (tls.client) context_->client_tls = tls.client;
    if (!tls.server) return;
    settings_->tls = tls.server;
    settings_->uri.tls_verify = config->mongo.tls_verify;
    settings_->uri.tls_verify_host = config->mongo.tls_verify_host;
  });
  upstream_.reconfigure(config->reconnect, config->health);
}

void MongoConnection::stop_sessions() {
  asio::post(home_.executor(), [this] {
    for (auto& listener : listeners_) listener->close();
    const auto sessions = sessions_;
    for (const auto& [id, session] : sessions) session->stop();
  });
}

void MongoConnection::stop() {
  asio::post(home_.executor(), [this] {
    ticking_ = false;
    monitors_->stop();
    upstream_.stop();
    context_->pool.stop();
  });
}

Task<SessionCounts> MongoConnection::sessions() {
  SessionCounts counts;
  for (const auto& entry : co_await session_list()) {
    if (entry.state == "active") ++counts.active;
    if (entry.state == "idle") ++counts.idle;
    if (entry.state == "waiting") ++counts.waiting;
  }
  co_return counts;
}

Task<std::vector<SessionEntry>> MongoConnection::session_list() {
  std::vector<SessionEntry> all;
  co_await asio::co_spawn(
      home_.executor(),
      [](MongoConnection& of, std::vector<SessionEntry>& into) -> Task<> {
        for (const auto& [id, session] : of.sessions_) into.push_back(session->info());
        co_return;
      }(*this, all),
      use_task);
  std::ranges::sort(all, {}, &SessionEntry::id);
  co_return all;
}

std::vector<const ConnectionCounters*> MongoConnection::counters() const { return {&context_->counters}; }

Task<std::vector<std::pair<std::string, std::uint64_t>>> MongoConnection::protection() {
  const auto all = co_await session_list();
  std::vector<std::pair<std::string, std::uint64_t>> counts;
  if (!all.empty()) counts.emplace_back("", all.size());
  co_return counts;
}

Task<std::optional<Capabilities>> MongoConnection::capabilities() {
  Capabilities found;
  co_await asio::co_spawn(
      home_.executor(),
      [](const Members& of, Capabilities& into) -> Task<> {
        into = of.capabilities();
        co_return;
      }(members_, found),
      use_task);
  co_return found;
}

}  // namespace holdfast::proxy::mongo

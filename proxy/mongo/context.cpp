// Where connections come from, and who is asked for them.
#include "proxy/mongo/context.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "crypto/random.hpp"
#include "protocol/mongo/reply.hpp"
#include "proxy/mongo/recognition.hpp"

namespace holdfast::proxy::mongo {

namespace {

/// How long the question whether the primary still is one may take; without an answer it is lost.
constexpr auto ask_time = std::chrono::seconds(1);
/// A member that takes no more connections is asked for one not more often than this.
constexpr auto between_connections = std::chrono::milliseconds(100);

SteadyTime now() { return std::chrono::steady_clock::now(); }

/// The 16 bytes of a random UUID (RFC 4122, version 4).
std::string new_uuid() {
  std::string bytes(16, '\0');
  crypto::random_bytes(bytes);
  bytes[6] = static_cast<char>((bytes[6] & 0x0F) | 0x40);
  bytes[8] = static_cast<char>((bytes[8] & 0x3F) | 0x80);
  return bytes;
}

PoolBook::Shared sharing_of(const config::Connection& config) {
  return config.pool == config::MongoPool::shared ? PoolBook::Shared::yes : PoolBook::Shared::no;
}

PoolBook::Limits limits_of(const config::Connection& config) {
  return {config.pool_max, config.reconnect.concurrency, config.pool_idle_timeout};
}

Outcome outcome_of(const Backend::Opened& made) {
  Outcome outcome;
  outcome.failure = made.failure;
  outcome.error = made.error;
  outcome.code = made.code;
  return outcome;
}

Refusal refusal_of_gone() { return {RefusalReason::cancelled, "the client has gone"}; }

std::string process_secret() {
  std::string secret(32, '\0');
  crypto::random_bytes(secret);
  return secret;
}

std::string database_of_service(const config::Connection& config) {
  return config.mongo.mechanism == config::MongoMechanism::x509 ? "admin" : config.mongo.auth_database;
}

std::shared_ptr<Login> service_of(const config::Connection& config) {
  if (!config.auth_query) return nullptr;
  auto login = std::make_shared<Login>();
  login->user = config.auth_query->user;
  login->password = config.auth_query->password;
  login->database = database_of_service(config);
  return login;
}

}  // namespace

Context::Context(Executor on, std::shared_ptr<const config::Connection> with, std::shared_ptr<const BackendSettings> backends,
                 Upstream& gate, Members& of, BufferPool& pool_of_buffers, TlsContext tls)
    : home(on), config(std::move(with)), settings(std::move(backends)), upstream(gate), members(of), buffers(pool_of_buffers),
      client_tls(std::move(tls)), users(*config, process_secret()), service(service_of(*config)),
      pool(on, config->mongo.hosts.size(), sharing_of(*config), limits_of(*config)),
      numbering(new_uuid), learnt(on) {}

void Context::use(std::shared_ptr<const config::Connection> next) {
  config = std::move(next);
  users.update(*config);
  pool.limit_logins(config->reconnect.concurrency);
  if (service && config->auth_query) service->take_password(database_of_service(*config), config->auth_query->user, config->auth_query->password);
}

void Context::use_seeds(std::shared_ptr<const config::Connection> found) {
  if (service) service->database = database_of_service(*found);
  use(std::move(found));
}

Task<Context::Found> Context::primary(Waiter waiter, std::shared_ptr<Login> login, AskFirst ask, SteadyTime deadline) {
  if (ask == AskFirst::yes) {
    const bool answered = co_await upstream.alive(std::min(deadline, now() + ask_time));
    static_cast<void>(answered);  // what it is now, the upstream knows
  }
  co_return co_await connect(waiter, std::move(login), Reuse::yes, deadline);
}

/// What a primary that was replaced answers is not believed. It is asked until the upstream leaves it, or it shows that it was
/// elected again: twice, because the first answer may be older than the news.
Task<std::optional<Refusal>> Context::outlast_deposed(Waiter waiter, SteadyTime deadline) {
  for (int shown = 0; shown < 2;) {
    const auto ready = upstream.ready_endpoint(Wish::primary);
    if (!ready || !members.is_deposed(*ready)) break;
    if (now() >= deadline) {
      co_return Refusal{RefusalReason::hold_timeout, config->id + ": another primary was elected, and cannot be used yet"};
    }
    if (co_await upstream.alive(std::min(deadline, now() + ask_time))) ++shown;
    if (*waiter.gone) co_return refusal_of_gone();
  }
  co_return std::nullopt;
}

void Context::cancel_wait(WaiterId waiter) {
  if (waiter != 0) upstream.cancel_wait(waiter);
  pool.wake();
}

Task<Context::Found> Context::fresh(Waiter waiter, SteadyTime deadline) {
  co_return co_await connect(waiter, nobody, Reuse::no, deadline);
}

/// The gate is where one waits for a primary, the pool where one waits for a connection to it.
Task<Context::Found> Context::connect(Waiter waiter, std::shared_ptr<Login> login, Reuse reuse, SteadyTime deadline) {
  const Pool::Waiter in_pool{pool.next_ticket(), waiter.gone, true, waiter.room};
  Pool::Turn turn;
  for (;;) {
    if (*waiter.gone) co_return refusal_of_gone();
    // Others may have use meanwhile for what is none of a primary's.
    if (turn && (!turn.is_at(upstream.ready_endpoint(Wish::primary)) || members.is_deposed(turn.member()))) turn = {};
    if (auto refused = co_await outlast_deposed(waiter, deadline)) co_return std::move(*refused);
    auto primary = upstream.ready_endpoint(Wish::primary);
    if (!primary) {
      turn = {};
      auto entered = co_await upstream.enter(waiter.id, Wish::primary, deadline);
      if (auto* refused = std::get_if<Refusal>(&entered)) co_return std::move(*refused);
      primary = std::get<Grant>(entered).endpoint;
      upstream.grant_unused(std::move(std::get<Grant>(entered)));
    }
    // A new connection says hello first, and so it shows whether its member was replaced meanwhile.
    const auto* user = reuse == Reuse::yes && !members.is_deposed(*primary) ? login.get() : nullptr;
    if (!turn.is_at(primary) || (turn.lease && user == nullptr)) {
      turn = {};
      turn = pool.take(*primary, user, waiter.room);
    }
    if (turn.lease) co_return std::move(turn.lease);
    if (!turn && now() >= deadline) {
      co_return Refusal{RefusalReason::hold_timeout, config->id + ": all " + std::to_string(config->pool_max) +
                                                         " connections to the primary are in use"};
    }
    if (!turn) {
      turn = co_await pool.wait(in_pool, *primary, user, deadline);
      continue;
    }
    if (!login->can_log_in()) co_return LoginRefused{"the client has to log in again: nothing that is kept of it logs in"};
    bool no_more = false;
    auto found = co_await log_in(std::move(turn.place), login, deadline, no_more);
    auto* lease = std::get_if<Lease>(&found);
    if (lease == nullptr || *lease) co_return std::move(found);
    turn = {};
    if (no_more) turn = co_await pool.wait(in_pool, *primary, user, std::min(deadline, now() + between_connections));
  }
}

/// A member at its limit of connections ends each new one, and serves those that it has: one of these is what is waited for. So it is where
/// this host can make no more.
bool Context::takes_no_more(const Backend::Opened& made, std::size_t index) const {
  return (made.turned_away || made.ours) && pool.serves(index);
}

/// A connection to this member. An address may stand for another server by now, also while connections to the one before live on: for one of
/// another set, which is not served, or for another product, which is sent nothing twice.
Task<Backend::Opened> Context::open(std::size_t index, std::shared_ptr<Login> login, SteadyTime deadline) {
  const auto address = members.hosts()[index];  // a copy: the list grows
  const auto limit = std::min(deadline, now() + config->reconnect.connection_timeout);
  auto made = co_await Backend::open(settings, address, buffers, std::move(login), limit);
  auto why = made.backend ? members.mismatch(made.hello) : std::string();
  if (made.backend && why.empty()) {
    co_await recognise(*made.backend, index, members, settings, buffers, limit);
    if (!made.backend->is_sound()) why = "it does not say what it is";
  }
  if (!why.empty()) {
    made.backend.reset();
    made.failure = Failure::unreachable;
    made.error = address.to_string() + ": " + why;
  }
  co_return made;
}

/// A new connection to the primary. An empty lease: to be tried again; with `no_more` not before one of those that there are was waited for.
Task<Context::Found> Context::log_in(Place place, std::shared_ptr<Login> login, SteadyTime deadline, bool& no_more) {
  const auto index = place.member();
  const auto started = now();
  auto made = co_await open(index, std::move(login), deadline);
  auto outcome = outcome_of(made);
  if (made.backend && !members.accepts_writes(made.hello)) {
    outcome.failure = Failure::unfit;
    outcome.error = members.hosts()[index].to_string() + " is no primary any more";
    made.backend.reset();
  }
  auto lease = place.fill(std::move(made.backend));
  if (outcome.ok()) counters.upstream_login_seconds.observe(std::chrono::duration<double>(now() - started).count());
  no_more = takes_no_more(made, index);
  if (!no_more) upstream.logged_in(index, outcome);
  if (outcome.ok()) co_return std::move(lease);
  if (outcome.failure == Failure::rejected) co_return LoginRefused{outcome.error};
  if (now() >= deadline) co_return Refusal{RefusalReason::hold_timeout, config->id + ": " + outcome.error};
  co_return Lease{};
}

Task<std::variant<Lease, NoConnection>> Context::member(Waiter waiter, std::size_t index, std::shared_ptr<Login> login,
                                                        SteadyTime deadline) {
  const Pool::Waiter in_pool{pool.next_ticket(), waiter.gone, false, waiter.room};
  auto turn = pool.take(index, login.get(), waiter.room);
  if (!turn.lease && !login->can_log_in()) co_return NoConnection{"the client has to log in again", true};
  for (;;) {
    if (turn.lease) co_return std::move(turn.lease);
    auto limit = deadline;
    if (turn.place) {
      auto made = co_await open(index, login, deadline);
      auto lease = turn.place.fill(std::move(made.backend));
      if (lease) co_return std::move(lease);
      if (!takes_no_more(made, index)) co_return NoConnection{made.error, made.failure == Failure::rejected};
      limit = std::min(deadline, now() + between_connections);
    }
    if (*waiter.gone) co_return NoConnection{refusal_of_gone().message};
    if (now() >= deadline) co_return NoConnection{"all connections to its member are in use", false, true};
    turn = co_await pool.wait(in_pool, index, login.get(), limit);
    if (!turn) turn = pool.take(index, login.get(), waiter.room);
  }
}

Task<std::variant<Verifiers, std::string>> Context::ask_verifiers(Waiter waiter, std::string database, std::string user,
                                                                  SteadyTime deadline) {
  std::string error = "the time is up";
  bool logged_out = false;
  while (now() < deadline) {
    auto found = co_await primary(waiter, service, AskFirst::no, deadline);
    if (auto* refused = std::get_if<Refusal>(&found)) co_return std::move(refused->message);
    if (auto* refused = std::get_if<LoginRefused>(&found)) co_return "the user of auth_query cannot log in: " + refused->error;
    auto& lease = std::get<Lease>(found);
    auto* backend = &*lease;
    Deadline limit(home, std::min(deadline, now() + config->reconnect.connection_timeout), [backend] { backend->close(); });
    const auto body = co_await lease->run(make_users_info(database, user));
    if (!body) {
      upstream.backend_lost(lease.member(), "a question for a user was not answered");
      error = "the connection was lost";
      continue;
    }
    const auto reply = wire::read_reply(*body);
    if (lease->is_logged_out(reply) && !std::exchange(logged_out, true)) continue;
    if (!reply.ok && wire::code::is_state_change(reply.code)) {
      lease->close();
      upstream.backend_lost(lease.member(), "a question for a user was refused");
      continue;
    }
    if (!reply.ok) co_return "usersInfo: " + std::string(reply.message);
    auto verifiers = read_users_info(*body).value_or(Verifiers{});
    if (verifiers.any()) users.learn(database, user, verifiers, now());
    co_return verifiers;
  }
  co_return error;
}

Task<> Context::check_member(std::size_t index) {
  if (!checked_.insert(index).second) co_return;
  const auto begun = now();
  const auto limit = begun + std::max(config->reconnect.hang_timeout / 2, milliseconds(100));
  const auto address = members.hosts()[index];
  const auto made = co_await Backend::open(settings, address, buffers, nullptr, limit);
  checked_.erase(index);
  // One that refuses, or takes no more connections, is not silent; nor is one that was not asked.
  if (made.failure != Failure::unreachable || made.turned_away || made.ours || pool.has_answered_since(index, begun)) co_return;
  const auto reason = address.to_string() + " answers neither a command nor a hello: " + made.error;
  upstream.server_silent(index, reason);
  pool.fail(index);
}

Task<> Context::end(std::vector<Leftovers::Ending> endings, std::shared_ptr<Login> login) {
  static constexpr bool gone = false;
  for (const auto& ending : endings) {
    // Once more where the connection had been logged out.
    for (int tries = 0; tries < 2; ++tries) {
      auto found = co_await member({0, &gone, Pool::Room::beyond_limit}, ending.member, login, now() + ask_time);
      auto* lease = std::get_if<Lease>(&found);
      if (lease == nullptr) break;
      auto* backend = &**lease;
      Deadline limit(home, now() + ask_time, [backend] { backend->close(); });
      const auto answer = co_await backend->run(ending.body);
      if (!answer || !backend->is_logged_out(wire::read_reply(*answer))) break;
    }
  }
}

Task<> Context::wait_for_face(SteadyTime deadline) {
  SteadyTimer limit(home, deadline);
  limit.async_wait([this](const boost::system::error_code& error) {
    if (!error) learnt.notify();
  });
  while (!members.face() && now() < deadline) co_await learnt.wait();
}

void Context::on_learnt() { learnt.notify(); }

void Context::on_tick(SteadyTime at) {
  numbering.expire(at);
  pool.close_idle(at);
  pool.follow_primary(upstream.ready_endpoint(Wish::primary));
  places.expire(at);
}

}  // namespace holdfast::proxy::mongo

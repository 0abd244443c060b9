// Where connections come from, and who is asked for them.
#include "proxy/mongo/context.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "crypto/random.hpp"
#include "protocol/mongo/reply.hpp"

namespace holdfast::proxy::mongo {

namespace {

/// How long the question whether the primary still is one may take; without an answer it is lost.
constexpr auto ask_time = std::chrono::seconds(1);

SteadyTime now() { return std::chrono::steady_clock::now(); }

/// The 16 bytes of a random UUID (RFC 4122, version 4).
std::string new_uuid() {
  std::string bytes(16, '\0');
  crypto::random_bytes(bytes);
  bytes[6] = static_cast<char>((bytes[6] & 0x0F) | 0x40);
  bytes[8] = static_cast<char>((bytes[8] & 0x3F) | 0x80);
  return bytes;
}

Pool::Shared sharing_of(const config::Connection& config) {
  return config.pool == config::MongoPool::shared ? Pool::Shared::yes : Pool::Shared::no;
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
      pool(on, config->mongo.hosts.size(), sharing_of(*config), config->pool_max, config->pool_idle_timeout),
      numbering(new_uuid), learnt(on) {}

void Context::use(std::shared_ptr<const config::Connection> next) {
  config = std::move(next);
  users.update(*config);
  if (service) service->database = database_of_service(*config);
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
  upstream.cancel_wait(waiter);
  pool.wake();
}

Task<Context::Found> Context::fresh(Waiter waiter, SteadyTime deadline) {
  co_return co_await connect(waiter, nobody, Reuse::no, deadline);
}

Task<Context::Found> Context::connect(Waiter waiter, std::shared_ptr<Login> login, Reuse reuse, SteadyTime deadline) {
  for (;;) {
    if (*waiter.gone) co_return refusal_of_gone();
    if (auto refused = co_await outlast_deposed(waiter, deadline)) co_return std::move(*refused);
    if (const auto ready = upstream.ready_endpoint(Wish::primary)) {
      if (reuse == Reuse::yes) {
        if (auto lease = pool.take(*ready, login.get())) co_return std::move(lease);
      }
      if (!pool.has_room(*ready)) {
        if (now() >= deadline) {
          co_return Refusal{RefusalReason::hold_timeout, config->id + ": all " + std::to_string(config->pool_max) +
                                                             " connections to the primary are in use"};
        }
        co_await pool.wait_for_room(deadline);
        continue;
      }
    }
    if (!login->can_log_in()) co_return LoginRefused{"the client has to log in again: nothing that is kept of it logs in"};
    auto entered = co_await upstream.enter(waiter.id, Wish::primary, deadline);
    if (auto* refused = std::get_if<Refusal>(&entered)) co_return std::move(*refused);
    auto found = co_await log_in(std::move(std::get<Grant>(entered)), login, reuse, deadline);
    auto* lease = std::get_if<Lease>(&found);
    if (lease == nullptr || *lease) co_return std::move(found);
  }
}

/// An address may stand for another server by now, also while connections to the one before live on.
void Context::refuse_stranger(Backend::Opened& made, const config::HostPort& address) const {
  if (!made.backend) return;
  const auto why = members.mismatch(made.hello);
  if (why.empty()) return;
  made.backend.reset();
  made.failure = Failure::unreachable;
  made.error = address.to_string() + ": " + why;
}

/// Uses a grant. An empty lease: to be tried again.
Task<Context::Found> Context::log_in(Grant grant, std::shared_ptr<Login> login, Reuse reuse, SteadyTime deadline) {
  const auto index = grant.endpoint;
  Lease lease;
  // A new connection says hello first, and so it shows whether its member was replaced meanwhile.
  if (reuse == Reuse::yes && !members.is_deposed(index)) lease = pool.take(index, login.get());
  if (lease || !pool.reserve(index)) {
    upstream.login_finished(std::move(grant), Outcome{});
    co_return std::move(lease);
  }
  const auto started = now();
  const auto limit = std::min(deadline, started + config->reconnect.connection_timeout);
  auto made = co_await Backend::open(settings, grant.address, buffers, login, limit);
  refuse_stranger(made, grant.address);
  auto outcome = outcome_of(made);
  if (made.backend && !members.accepts_writes(made.hello)) {
    outcome.failure = Failure::unfit;
    outcome.error = grant.address.to_string() + " is no primary any more";
    made.backend.reset();
  }
  lease = pool.fill(index, std::move(made.backend));
  if (outcome.ok()) counters.upstream_login_seconds.observe(std::chrono::duration<double>(now() - started).count());
  upstream.login_finished(std::move(grant), outcome);
  if (outcome.ok()) co_return std::move(lease);
  if (outcome.failure == Failure::rejected) co_return LoginRefused{outcome.error};
  if (now() >= deadline) co_return Refusal{RefusalReason::hold_timeout, config->id + ": " + outcome.error};
  co_return Lease{};
}

Task<std::variant<Lease, NoConnection>> Context::member(std::size_t index, std::shared_ptr<Login> login, SteadyTime deadline) {
  for (;;) {
    if (auto lease = pool.take(index, login.get())) co_return std::move(lease);
    if (!login->can_log_in()) co_return NoConnection{"the client has to log in again", true};
    if (pool.reserve(index)) break;
    if (now() >= deadline) co_return NoConnection{"all connections to its member are in use"};
    co_await pool.wait_for_room(deadline);
  }
  const auto limit = std::min(deadline, now() + config->reconnect.connection_timeout);
  const auto address = members.hosts()[index];  // a copy: the list grows
  auto made = co_await Backend::open(settings, address, buffers, std::move(login), limit);
  refuse_stranger(made, address);
  auto lease = pool.fill(index, std::move(made.backend));
  if (lease) co_return std::move(lease);
  co_return NoConnection{made.error, made.failure == Failure::rejected};
}

Task<std::variant<Verifiers, std::string>> Context::ask_verifiers(Waiter waiter, std::string database, std::string user,
                                                                  SteadyTime deadline) {
  std::string error = "the time is up";
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

Task<bool> Context::check_member(std::size_t index) {
  const auto limit = now() + std::max(config->reconnect.hang_timeout / 2, milliseconds(100));
  const auto address = members.hosts()[index];
  const auto made = co_await Backend::open(settings, address, buffers, nullptr, limit);
  if (made.backend) co_return true;
  const auto reason = address.to_string() + " answers neither a command nor a hello: " + made.error;
  upstream.server_silent(index, reason);
  pool.fail(index);
  co_return false;
}

Task<> Context::abort_transaction(std::size_t index, std::shared_ptr<Login> login, std::string body) {
  auto found = co_await member(index, std::move(login), now() + ask_time);
  auto* lease = std::get_if<Lease>(&found);
  if (lease == nullptr) co_return;
  auto* backend = &**lease;
  Deadline limit(home, now() + ask_time, [backend] { backend->close(); });
  const auto answer = co_await backend->run(std::move(body));
  static_cast<void>(answer);
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
  places.expire(at);
}

}  // namespace holdfast::proxy::mongo

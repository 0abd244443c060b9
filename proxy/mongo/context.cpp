// Where connections come from, and who is asked for them.
#include "proxy/mongo/context.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

namespace holdfast::proxy::mongo {

namespace {

constexpr std::size_t cursors_max = 100'000, transactions_max = 100'000;
/// Servers forget cursors after ten minutes and sessions after thirty.
constexpr auto place_age = std::chrono::minutes(30);
/// How long the question whether the primary still is one may take; without an answer it is lost.
constexpr auto ask_time = std::chrono::seconds(1);

SteadyTime now() { return std::chrono::steady_clock::now(); }

std::string cursor_key(std::string_view collection, std::int64_t id) { return std::to_string(id) + " " + std::string(collection); }

Outcome outcome_of(const Backend::Opened& made) {
  Outcome outcome;
  outcome.failure = made.failure;
  outcome.error = made.error;
  outcome.code = made.code;
  return outcome;
}

}  // namespace

Context::Context(Executor on, std::shared_ptr<const config::Connection> with, std::shared_ptr<const BackendSettings> backends,
                 Upstream& gate, Members& of, BufferPool& pool_of_buffers)
    : home(on), config(std::move(with)), settings(std::move(backends)), upstream(gate), members(of), buffers(pool_of_buffers),
      pool(on, config->mongo.hosts.size(), config->pool_max, config->pool_idle_timeout), learnt(on),
      cursors_(cursors_max, place_age), transactions_(transactions_max, place_age) {}

Task<std::variant<Lease, Refusal>> Context::primary(WaiterId waiter, AskFirst ask, SteadyTime deadline) {
  if (ask == AskFirst::yes) {
    const bool answered = co_await upstream.alive(std::min(deadline, now() + ask_time));
    static_cast<void>(answered);  // what it is now, the upstream knows
  }
  for (;;) {
    if (const auto ready = upstream.ready_endpoint(Wish::primary)) {
      if (auto lease = pool.take(*ready)) co_return std::move(lease);
      if (pool.open(*ready) >= config->pool_max) {
        if (now() >= deadline) {
          co_return Refusal{RefusalReason::hold_timeout, config->id + ": all " + std::to_string(config->pool_max) +
                                                             " connections to the primary are in use"};
        }
        co_await pool.wait_for_room(deadline);
        continue;
      }
    }
    auto entered = co_await upstream.enter(waiter, Wish::primary, deadline);
    if (auto* refused = std::get_if<Refusal>(&entered)) co_return std::move(*refused);
    Lease lease;
    auto refused = co_await log_in(std::move(std::get<Grant>(entered)), lease, deadline);
    if (refused) co_return std::move(*refused);
    if (lease) co_return std::move(lease);
  }
}

/// Uses a grant. Neither a lease nor a refusal: to be tried again.
Task<std::optional<Refusal>> Context::log_in(Grant grant, Lease& into, SteadyTime deadline) {
  const auto index = grant.endpoint;
  into = pool.take(index);
  if (into || !pool.reserve(index)) {
    upstream.login_finished(std::move(grant), Outcome{});
    co_return std::nullopt;
  }
  const auto started = now();
  const auto limit = std::min(deadline, started + config->reconnect.connection_timeout);
  auto made = co_await Backend::open(settings, grant.address, buffers, Backend::Login::yes, limit);
  auto outcome = outcome_of(made);
  using Type = wire::MemberHello::Type;
  const bool writable = (made.hello.type == Type::primary && !members.is_stale_primary(made.hello)) || made.hello.type == Type::standalone;
  if (made.backend && !writable) {
    outcome.failure = Failure::unfit;
    outcome.error = grant.address.to_string() + " is no primary any more";
    made.backend.reset();
  }
  into = pool.fill(index, std::move(made.backend));
  if (outcome.ok()) counters.upstream_login_seconds.observe(std::chrono::duration<double>(now() - started).count());
  upstream.login_finished(std::move(grant), outcome);
  if (outcome.ok()) co_return std::nullopt;
  if (outcome.failure == Failure::rejected) co_return Refusal{RefusalReason::cancelled, config->id + ": " + outcome.error};
  if (now() >= deadline) co_return Refusal{RefusalReason::hold_timeout, config->id + ": " + outcome.error};
  co_return std::nullopt;
}

Task<std::variant<Lease, std::string>> Context::member(std::size_t index, SteadyTime deadline) {
  for (;;) {
    if (auto lease = pool.take(index)) co_return std::move(lease);
    if (pool.reserve(index)) break;
    if (now() >= deadline) co_return std::string("all connections to its member are in use");
    co_await pool.wait_for_room(deadline);
  }
  const auto limit = std::min(deadline, now() + config->reconnect.connection_timeout);
  auto made = co_await Backend::open(settings, settings->uri.hosts[index], buffers, Backend::Login::yes, limit);
  auto lease = pool.fill(index, std::move(made.backend));
  if (lease) co_return std::move(lease);
  co_return made.error;
}

Task<bool> Context::check_member(std::size_t index) {
  const auto limit = now() + std::max(config->reconnect.hang_timeout / 2, milliseconds(100));
  const auto address = settings->uri.hosts[index];
  const auto made = co_await Backend::open(settings, address, buffers, Backend::Login::no, limit);
  if (made.backend) co_return true;
  const auto reason = address.to_string() + " answers neither a command nor a hello: " + made.error;
  upstream.server_silent(index, reason);
  pool.fail(index);
  co_return false;
}

Task<> Context::abort_transaction(std::size_t index, std::string body) {
  auto found = co_await member(index, now() + ask_time);
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

void Context::remember_cursor(std::string_view collection, std::int64_t id, std::size_t member_index) {
  cursors_.put(cursor_key(collection, id), member_index, now());
}

void Context::forget_cursor(std::string_view collection, std::int64_t id) { cursors_.erase(cursor_key(collection, id)); }

std::optional<std::size_t> Context::find_cursor(std::string_view collection, std::int64_t id) {
  const auto* found = cursors_.find(cursor_key(collection, id), now());
  return found == nullptr ? std::nullopt : std::optional(*found);
}

TransactionPlace* Context::find_transaction(std::string_view session, std::int64_t number) {
  auto* found = transactions_.find(session, now());
  return found != nullptr && found->number == number ? found : nullptr;
}

void Context::remember_transaction(std::string_view session, TransactionPlace place) {
  transactions_.put(std::string(session), place, now());
}

void Context::on_tick(SteadyTime at) {
  pool.close_idle(at);
  cursors_.expire(at);
  transactions_.expire(at);
}

}  // namespace holdfast::proxy::mongo

// Brings together login, questions and probes, and takes what happens on the health thread home.
#include "health/postgres_standing.hpp"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <set>
#include <string_view>
#include <string>
#include <utility>

#include "health/hop.hpp"
#include "health/operation.hpp"
#include "health/postgres_login.hpp"
#include "health/postgres_probe.hpp"
#include "health/postgres_session.hpp"
#include "health/resolve.hpp"

namespace holdfast::health {

using proxy::Failure;
using proxy::Outcome;
using proxy::Role;
using proxy::SteadyTime;

namespace {

// The role comes first in both, so that one function reads it.
constexpr const char* check_question =
    "SELECT pg_catalog.pg_is_in_recovery(), pg_catalog.current_setting('default_transaction_read_only'), 1";
constexpr const char* login_question =
    "SELECT pg_catalog.pg_is_in_recovery(), pg_catalog.current_setting('default_transaction_read_only'),"
    " (SELECT system_identifier FROM pg_catalog.pg_control_system()),"
    " pg_catalog.current_setting('server_version_num'), pg_catalog.current_setting('server_encoding')";

Outcome failed(Failure failure, std::string error, std::string code = {}) {
  Outcome outcome;
  outcome.failure = failure;
  outcome.error = std::move(error);
  outcome.code = std::move(code);
  return outcome;
}

Role role_of(const std::vector<std::string>& row) {
  if (row.size() < 2) return Role::unknown;
  if (row[0] == "t") return Role::standby;
  return row[1] == "on" ? Role::read_only : Role::primary;
}

std::string identity_of(const std::vector<std::string>& row) {
  if (row.size() < 5 || row[2].empty()) return {};
  constexpr std::size_t digits_of_minor = 4;  // 150020 is 15.20
  const auto major = row[3].size() > digits_of_minor ? row[3].substr(0, row[3].size() - digits_of_minor) : row[3];
  return row[2] + "/" + major + "/" + row[4];
}

Outcome outcome_of(const Answer& answer) {
  if (answer.kind != Answer::Kind::row) {
    const bool refused = answer.kind == Answer::Kind::refused;
    return failed(refused ? classify(answer.code) : Failure::unreachable, answer.message, answer.code);
  }
  Outcome outcome;
  outcome.role = role_of(answer.row);
  outcome.identity = identity_of(answer.row);
  return outcome;
}

void measure(Outcome& outcome, SteadyTime started) {
  outcome.latency = std::chrono::duration_cast<proxy::microseconds>(std::chrono::steady_clock::now() - started);
}

}  // namespace

struct PostgresStanding::Impl : std::enable_shared_from_this<PostgresStanding::Impl> {
  Impl(Executor on_health, Executor at_home, config::PostgresUri with)
      : health(std::move(on_health)), home(std::move(at_home)), uri(std::make_shared<const config::PostgresUri>(std::move(with))) {}

  const Executor health, home;
  // On the home worker.
  PostgresStanding* owner = nullptr;
  std::uint64_t era = 0;  // counts the closes: what began in an earlier era is not told any more

  // On the health thread.
  std::shared_ptr<const config::PostgresUri> uri;  // whoever waits with it keeps a copy of the pointer
  std::shared_ptr<PostgresSession> session;
  std::optional<config::HostPort> password_wanted_at;
  std::set<Operation*> operations;

  Task<Outcome> attempt(config::HostPort endpoint, SteadyTime deadline, std::uint64_t in_era);
  Task<Outcome> attempt_address(Operation& operation, config::HostPort endpoint, Address address, std::uint64_t in_era);
  Task<Outcome> question(Operation& operation, std::shared_ptr<PostgresSession> opened);
  Task<Outcome> probe(config::HostPort endpoint, SteadyTime deadline);
  Task<Outcome> check(SteadyTime deadline);
  void drop();
  void keep(std::shared_ptr<PostgresSession> opened, std::optional<config::HostPort> wanted_at);
  void tell_lost(std::uint64_t in_era, std::string reason);
};

namespace {

/// An operation that close() can end.
class Listed {
 public:
  Listed(std::set<Operation*>& list, const Executor& executor, SteadyTime deadline)
      : operation(executor, deadline), list_(list) {
    list_.insert(&operation);
  }
  ~Listed() { list_.erase(&operation); }
  Listed(const Listed&) = delete;
  Listed& operator=(const Listed&) = delete;

  Operation operation;

 private:
  std::set<Operation*>& list_;
};

}  // namespace

Task<Outcome> PostgresStanding::Impl::attempt(config::HostPort endpoint, SteadyTime deadline, std::uint64_t in_era) {
  const auto self = shared_from_this();
  const auto started = std::chrono::steady_clock::now();
  const auto with = uri;
  if (with->connect_timeout && with->connect_timeout->count() > 0) {
    deadline = std::min(deadline, started + *with->connect_timeout);
  }
  Listed listed(operations, health, deadline);
  auto& operation = listed.operation;
  Outcome outcome;
  if (with->user.empty()) {
    outcome = co_await probe_endpoint(operation, *with, endpoint);
    if (outcome.ok()) keep(nullptr, endpoint);
  } else {
    const auto resolved = co_await resolve(operation, endpoint);
    outcome = failed(Failure::unreachable, resolved.error);
    for (const auto& address : resolved.addresses) {
      outcome = co_await attempt_address(operation, endpoint, address, in_era);
      // A refused password will be refused at every address, and each try counts toward a lock-out.
      if (outcome.ok() || outcome.failure == Failure::rejected || operation.ended()) break;
    }
  }
  measure(outcome, started);
  co_return outcome;
}

Task<Outcome> PostgresStanding::Impl::attempt_address(Operation& operation, config::HostPort endpoint, Address address,
                                                      std::uint64_t in_era) {
  const auto with = uri;
  auto logged_in = co_await login(operation, *with, endpoint, std::move(address));
  if (logged_in.password_wanted) {
    keep(nullptr, endpoint);
    co_return Outcome{};
  }
  if (!logged_in.connection) co_return logged_in.outcome;
  auto opened = std::make_shared<PostgresSession>(health, std::move(logged_in.connection));
  // Whoever keeps a session may post to the home worker, whose io_context therefore has work as long.
  auto on_lost = [self = shared_from_this(), in_era, work = asio::make_work_guard(home)](std::string reason) {
    self->tell_lost(in_era, std::move(reason));
  };
  opened->start();
  auto outcome = co_await question(operation, opened);
  if (!outcome.ok()) {
    opened->close();
    co_return outcome;
  }
  opened->watch(std::move(on_lost));
  keep(std::move(opened), std::nullopt);
  co_return outcome;
}

Task<Outcome> PostgresStanding::Impl::question(Operation& operation, std::shared_ptr<PostgresSession> opened) {
  auto answer = co_await opened->ask(operation, login_question);
  constexpr std::string_view insufficient_privilege = "42501";
  if (answer.kind == Answer::Kind::refused && answer.code == insufficient_privilege) {
    // Some providers take pg_control_system away from ordinary logins: then the identity is not known.
    answer = co_await opened->ask(operation, check_question);
  }
  co_return outcome_of(answer);
}

Task<Outcome> PostgresStanding::Impl::probe(config::HostPort endpoint, SteadyTime deadline) {
  const auto self = shared_from_this();
  Listed listed(operations, health, deadline);
  const auto with = uri;
  co_return co_await probe_endpoint(listed.operation, *with, std::move(endpoint));
}

Task<Outcome> PostgresStanding::Impl::check(SteadyTime deadline) {
  const auto self = shared_from_this();
  Listed listed(operations, health, deadline);
  const auto with = uri;
  if (password_wanted_at) co_return co_await probe_endpoint(listed.operation, *with, *password_wanted_at);
  const auto asked = session;  // close() may come while this waits
  if (!asked) co_return failed(Failure::unreachable, "there is no connection to check");
  const auto started = std::chrono::steady_clock::now();
  const auto answer = co_await asked->ask(listed.operation, check_question);
  auto outcome = outcome_of(answer);
  measure(outcome, started);
  co_return outcome;
}

void PostgresStanding::Impl::keep(std::shared_ptr<PostgresSession> opened, std::optional<config::HostPort> wanted_at) {
  if (session) session->close();
  session = std::move(opened);
  password_wanted_at = std::move(wanted_at);
}

void PostgresStanding::Impl::drop() {
  for (auto* operation : operations) operation->abort();
  keep(nullptr, std::nullopt);
}

void PostgresStanding::Impl::tell_lost(std::uint64_t in_era, std::string reason) {
  asio::post(home, [self = shared_from_this(), in_era, reason = std::move(reason)]() mutable {
    if (self->owner == nullptr || self->era != in_era || !self->owner->on_lost) return;
    // A copy, because what is called may replace it.
    const auto on_lost = self->owner->on_lost;
    on_lost(std::move(reason));
  });
}

PostgresStanding::PostgresStanding(HealthThread& thread, Executor home, config::PostgresUri uri)
    : impl_(std::make_shared<Impl>(thread.executor(), std::move(home), std::move(uri))) {
  impl_->owner = this;
}

PostgresStanding::~PostgresStanding() {
  impl_->owner = nullptr;
  close();
}

// These may be destroyed while they wait: after the hop nothing of `this` is touched.

Task<Outcome> PostgresStanding::attempt(config::HostPort endpoint, SteadyTime deadline) {
  const auto impl = impl_;
  const auto era = impl->era;
  auto make = [impl, endpoint = std::move(endpoint), deadline, era] { return impl->attempt(endpoint, deadline, era); };
  auto outcome = co_await run_on(impl->health, std::move(make));
  if (impl->era != era) co_return failed(Failure::unreachable, "closed");
  co_return outcome;
}

Task<Outcome> PostgresStanding::probe(config::HostPort endpoint, SteadyTime deadline) {
  const auto impl = impl_;
  auto make = [impl, endpoint = std::move(endpoint), deadline] { return impl->probe(endpoint, deadline); };
  co_return co_await run_on(impl->health, std::move(make));
}

Task<Outcome> PostgresStanding::check(SteadyTime deadline) {
  const auto impl = impl_;
  auto make = [impl, deadline] { return impl->check(deadline); };
  co_return co_await run_on(impl->health, std::move(make));
}

void PostgresStanding::reconfigure(config::PostgresUri uri) {
  asio::post(impl_->health, [impl = impl_, next = std::make_shared<const config::PostgresUri>(std::move(uri))] { impl->uri = next; });
}

void PostgresStanding::close() {
  ++impl_->era;
  asio::post(impl_->health, [impl = impl_] { impl->drop(); });
}

}  // namespace holdfast::health

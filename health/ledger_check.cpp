// One login, one question.
#include "health/ledger_check.hpp"

#include <libpq-fe.h>

#include <chrono>
#include <future>
#include <memory>
#include <utility>

#include "health/postgres_login.hpp"

namespace holdfast::health {
namespace {

constexpr auto answer_time = std::chrono::seconds(2);

Task<std::string> ask(Executor executor, config::PostgresUri uri, std::string question) {
  Operation operation(executor, std::chrono::steady_clock::now() + answer_time);
  for (const auto& host : uri.hosts) {
    const auto resolved = co_await resolve(operation, host);
    for (const auto& address : resolved.addresses) {
      const auto found = co_await login(operation, uri, host, address);
      if (!found.connection) continue;
      const std::unique_ptr<PGresult, decltype(&PQclear)> result(PQexec(found.connection.get(), question.c_str()), &PQclear);
      if (PQresultStatus(result.get()) != PGRES_TUPLES_OK || PQgetvalue(result.get(), 0, 0)[0] == 't') co_return "";
      const auto& database = uri.database.empty() ? uri.user : uri.database;
      co_return "exactly_once is on, and database " + database + " at " + host.to_string() + " has no ledger that " + uri.user +
          " can use: give the output of `holdfast ledger` to psql there";
    }
  }
  co_return "";
}

}  // namespace

std::string missing_ledger(HealthThread& health, const config::PostgresUri& uri, std::string question) {
  if (uri.user.empty()) return {};
  return asio::co_spawn(health.executor(), ask(health.executor(), uri, std::move(question)), asio::use_future).get();
}

}  // namespace holdfast::health

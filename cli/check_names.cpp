// One look-up after the other, by the means that a running proxy has.
#include "cli/check_names.hpp"

#include <chrono>
#include <exception>
#include <iostream>
#include <string>

#include "config/load.hpp"
#include "proxy/mongo/seed_lookup.hpp"

namespace holdfast::cli {
namespace {

using proxy::mongo::SeedLookup;
using proxy::mongo::SeedRecords;

SeedRecords look_up(const config::Connection& connection) {
  asio::io_context io;
  SeedLookup lookup(io.get_executor());
  SeedRecords records;
  const auto limit = std::chrono::steady_clock::now() + connection.reconnect.connection_timeout;
  asio::co_spawn(
      io,
      [](SeedLookup& by, config::MongoSrv srv, proxy::SteadyTime until, SeedRecords& into) -> Task<> {
        into = co_await by.ask(std::move(srv), SeedLookup::What::all, until);
      }(lookup, *connection.mongo.srv, limit, records),
      [](const std::exception_ptr&) {});
  io.run();
  return records;
}

bool check_name(const config::Connection& connection) {
  const auto records = look_up(connection);
  if (!records.error.empty()) {
    std::cerr << "warning: " << connection.id << ": " << records.error << '\n';
    return true;
  }
  std::string error;
  const auto found = config::with_seeds(connection.mongo, records.targets, records.texts, error);
  if (!found) {
    std::cerr << connection.id << ": " << error << '\n';
    return false;
  }
  std::cout << connection.id << ": " << found->srv->name() << " names";
  for (const auto& host : found->hosts) std::cout << ' ' << host.to_string();
  if (!records.texts.empty()) std::cout << "; replicaSet=" << found->replica_set << ", authSource=" << found->auth_database;
  std::cout << '\n';
  return true;
}

}  // namespace

bool check_names(const config::Config& config) {
  bool sound = true;
  for (const auto& connection : config.connections) {
    if (connection.mongo.srv && !check_name(connection)) sound = false;
  }
  return sound;
}

}  // namespace holdfast::cli

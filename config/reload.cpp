// Compares two configurations, and lists files.
#include "config/reload.hpp"

#include <algorithm>
#include <set>

namespace holdfast::config {

namespace {

/// MongoDB: is the proxy's own login another's, and not only its password another one? PostgreSQL's is made anew for each connection.
bool changes_login(const MongoUri& running, const MongoUri& next) {
  if (running.user != next.user || running.mechanism != next.mechanism) return true;
  return !running.user.empty() && running.auth_database != next.auth_database;
}

bool changes_service(const Connection& running, const Connection& next) {
  if (running.type != ConnectionType::mongodb || next.type != ConnectionType::mongodb) return false;
  if (!running.auth_query || !next.auth_query) return running.auth_query.has_value() != next.auth_query.has_value();
  return running.auth_query->user != next.auth_query->user || running.mongo.auth_database != next.mongo.auth_database;
}

bool changes_pool(const Connection& running, const Connection& next) {
  return running.pool != next.pool || running.pool_max != next.pool_max || running.pool_idle_timeout != next.pool_idle_timeout;
}

/// MongoDB: what the proxy says of itself and asks for in each hello.
bool changes_hello(const MongoUri& running, const MongoUri& next) {
  return running.application_name != next.application_name || running.compressors != next.compressors || running.zlib_level != next.zlib_level;
}

}  // namespace

std::vector<std::string> needs_restart(const Config& running, const Config& next) {
  std::vector<std::string> sentences;
  const auto say = [&](bool differs, const std::string& what) {
    if (differs) sentences.push_back(what + " takes effect after a restart");
  };
  say(running.workers != next.workers, "the new number of workers");
  // The content of the token's file is read again.
  auto admin = next.admin;
  if (admin.token_file == running.admin.token_file) admin.token = running.admin.token;
  say(running.admin != admin, "the changed admin section");
  say(running.notify != next.notify, "the changed notify section");
  say(running.log.format != next.log.format, "the new log format");
  for (const auto& connection : next.connections) {
    const auto found = std::ranges::find(running.connections, connection.id, &Connection::id);
    if (found == running.connections.end()) {
      say(true, "the new connection " + connection.id);
      continue;
    }
    say(found->type != connection.type, "the new type of " + connection.id);
    say(found->listen != connection.listen, "the new listen address of " + connection.id);
    say(found->tls != connection.tls, "the changed tls section of " + connection.id);
    say(found->postgres.hosts != connection.postgres.hosts || found->mongo.hosts != connection.mongo.hosts,
        "the new hosts of " + connection.id);
    say(changes_login(found->mongo, connection.mongo), "the new user, authSource or authMechanism of " + connection.id);
    say(changes_pool(*found, connection), "the new pool, pool_max or pool_idle_timeout of " + connection.id);
    say(changes_hello(found->mongo, connection.mongo), "the new appName, compressors or zlibCompressionLevel of " + connection.id);
    say(changes_service(*found, connection), "the new user or authSource of auth_query of " + connection.id);
  }
  for (const auto& connection : running.connections) {
    const bool kept = std::ranges::find(next.connections, connection.id, &Connection::id) != next.connections.end();
    say(!kept, "the removal of " + connection.id);
  }
  return sentences;
}

namespace {

void add_tls(const std::optional<TlsFiles>& tls, std::set<std::string>& files) {
  if (tls) files.insert({tls->cert_file, tls->key_file, tls->client_ca_file});
}

std::vector<std::string> without_the_empty(std::set<std::string> files) {
  files.erase("");
  return {files.begin(), files.end()};
}

}  // namespace

std::vector<std::string> named_files(const Sources& sources, const Config& config) {
  std::set<std::string> files;
  files.insert(sources.file.value_or(""));
  if (sources.environment) files.insert(sources.environment("PGPASSFILE").value_or(""));
  files.insert(config.admin.token_file);
  add_tls(config.admin.tls, files);
  for (const auto& notify : config.notify) files.insert(notify.secret_file);
  for (const auto& connection : config.connections) {
    files.insert(connection.password_file);
    for (const auto& user : connection.users) files.insert(user.password_file);
    if (connection.auth_query) files.insert(connection.auth_query->password_file);
    add_tls(connection.tls, files);
    const auto& uri = connection.postgres;
    files.insert({uri.sslrootcert == "system" ? "" : uri.sslrootcert, uri.sslcert, uri.sslkey, uri.sslcrl});
    files.insert({connection.mongo.tls_ca_file, connection.mongo.tls_certificate_key_file});
  }
  return without_the_empty(std::move(files));
}

}  // namespace holdfast::config

// PQconnectPoll as a coroutine, and what its failures mean.
#include "health/postgres_login.hpp"

#include <libpq-fe.h>

#include <array>
#include <filesystem>
#include <string_view>
#include <utility>
#include <vector>

#include "health/postgres_probe.hpp"

namespace holdfast::health {
namespace {

using proxy::Failure;
using Parameters = std::vector<std::pair<const char*, std::string>>;

const char* mode_name(config::SslMode mode) {
  switch (mode) {
    case config::SslMode::disable: return "disable";
    case config::SslMode::allow: return "allow";
    case config::SslMode::prefer: return "prefer";
    case config::SslMode::require: return "require";
    case config::SslMode::verify_ca: return "verify-ca";
    case config::SslMode::verify_full: return "verify-full";
  }
  return "prefer";
}

/// libpq knows `sslrootcert=system` from version 16 on; before, the file that it stands for must be named.
std::string root_certificates(const std::string& configured) {
  constexpr int first_with_system = 160000;
  if (configured != "system" || PQlibVersion() >= first_with_system) return configured;
  for (const char* path : {"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"}) {
    std::error_code ignored;
    if (std::filesystem::exists(path, ignored)) return path;
  }
  return configured;
}

const char* binding_name(config::ChannelBinding binding) {
  switch (binding) {
    case config::ChannelBinding::disable: return "disable";
    case config::ChannelBinding::prefer: return "prefer";
    case config::ChannelBinding::require: return "require";
  }
  return "prefer";
}

Parameters parameters_of(const config::PostgresUri& uri, const config::HostPort& endpoint, const Address& address) {
  Parameters parameters{{"host", endpoint.host}, {"port", std::to_string(endpoint.port)}};
  // A folder is no address; a name was looked up already, because libpq would block on it.
  if (!endpoint.host.starts_with('/')) parameters.emplace_back("hostaddr", address.text);
  parameters.insert(parameters.end(), {
      {"user", uri.user},
      {"password", uri.password.reveal()},
      {"dbname", uri.database.empty() ? uri.user : uri.database},
      {"application_name", uri.application_name.empty() ? "holdfast" : uri.application_name},
      {"options", uri.options},
      {"sslmode", uri.sslrootcert == "system" ? "verify-full" : mode_name(uri.sslmode)},
      {"sslrootcert", root_certificates(uri.sslrootcert)},
      {"sslcert", uri.sslcert},
      {"sslkey", uri.sslkey},
      {"sslcrl", uri.sslcrl},
      {"channel_binding", binding_name(uri.channel_binding)},
      {"target_session_attrs", "any"},  // roles are the upstream's to judge
      {"gssencmode", "disable"},        // GSSAPI blocks
      {"client_encoding", "UTF8"},      // what the server says ends in JSON
  });
  return parameters;
}

struct Refusal {
  std::string code, message;
};

bool is_sqlstate(std::string_view text) {
  constexpr std::string_view alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
  return text.size() == 5 && text.find_first_not_of(alphabet) == std::string_view::npos;
}

/// libpq gives no result object for a refused login, only text; with PQERRORS_VERBOSE set that text has a form which
/// no language changes: severity, colon, two spaces, SQLSTATE, colon, space, message, end of line. sslmode=prefer and
/// allow try twice and leave two of them: that the server is not ready is then more than how it refused.
Refusal find_refusal(std::string_view text) {
  constexpr std::string_view separator = ":  ";
  constexpr std::size_t code_length = 5;
  Refusal found;
  for (auto at = text.find(separator); at != std::string_view::npos; at = text.find(separator, at + 1)) {
    const auto rest = text.substr(at + separator.size());
    const auto code = rest.substr(0, code_length);
    if (!is_sqlstate(code) || !rest.substr(code.size()).starts_with(": ")) continue;
    const auto message = rest.substr(code_length + 2);
    if (found.code.empty() || classify(code) == Failure::not_ready) {
      found = {std::string(code), std::string(message.substr(0, message.find('\n')))};
    }
  }
  return found;
}

std::string first_line(std::string_view text) { return std::string(text.substr(0, text.find('\n'))); }

Task<Login> explain_failure(Operation& operation, const config::PostgresUri& uri, Address address, PGconn* connection) {
  Login result;
  auto& outcome = result.outcome;
  if (PQconnectionNeedsPassword(connection) != 0 && uri.password.empty()) {
    result.password_wanted = true;
    co_return result;
  }
  const auto refusal = find_refusal(PQerrorMessage(connection));
  if (!refusal.code.empty()) {
    outcome.failure = classify(refusal.code);
    outcome.code = refusal.code;
    outcome.error = refusal.message;
    co_return result;
  }
  outcome.failure = Failure::unreachable;
  outcome.error = first_line(PQerrorMessage(connection));
  // Without a code only the exchange itself tells whether the server hung up before any login: libpq has it in words.
  auto probed = co_await probe_address(operation, uri, std::move(address));
  if (probed.failure == Failure::not_ready) outcome = std::move(probed);
  co_return result;
}

}  // namespace

void FinishConnection::operator()(pg_conn* connection) const { PQfinish(connection); }

Task<Login> login(Operation& operation, const config::PostgresUri& uri, config::HostPort endpoint, Address address) {
  Login result;
  result.outcome.failure = Failure::unreachable;
  const auto parameters = parameters_of(uri, endpoint, address);
  std::vector<const char*> names, values;
  for (const auto& [name, value] : parameters) {
    names.push_back(name);
    values.push_back(value.c_str());
  }
  names.push_back(nullptr);
  values.push_back(nullptr);
  ConnectionPointer connection(PQconnectStartParams(names.data(), values.data(), 0));
  if (!connection) throw std::bad_alloc();
  PQsetErrorVerbosity(connection.get(), PQERRORS_VERBOSE);
  // Nothing that libpq has to say goes to standard error.
  PQsetNoticeProcessor(connection.get(), [](void*, const char*) {}, nullptr);

  auto polled = PQstatus(connection.get()) == CONNECTION_BAD ? PGRES_POLLING_FAILED : PGRES_POLLING_WRITING;
  while (polled == PGRES_POLLING_READING || polled == PGRES_POLLING_WRITING) {
    const auto direction = polled == PGRES_POLLING_READING ? asio::posix::descriptor_base::wait_read
                                                           : asio::posix::descriptor_base::wait_write;
    // libpq may have opened another socket meanwhile (sslmode=prefer), so it is asked each time.
    const bool ready = co_await wait_ready(operation, PQsocket(connection.get()), direction);
    if (!ready) {
      result.outcome.error = operation.reason();
      co_return result;
    }
    polled = PQconnectPoll(connection.get());
  }
  if (polled != PGRES_POLLING_OK) {
    co_return co_await explain_failure(operation, uri, std::move(address), connection.get());
  }
  PQsetnonblocking(connection.get(), 1);
  result.outcome.failure = Failure::none;
  result.connection = std::move(connection);
  co_return result;
}

}  // namespace holdfast::health

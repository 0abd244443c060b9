// Who the client is: what its startup packet says, and its proof by SCRAM, by auth_query, or by its server's word.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "proxy/postgres/client_authentication.hpp"
#include "proxy/postgres/message_channel.hpp"
#include "proxy/postgres/session.hpp"

namespace holdfast::proxy::postgres {

namespace {

/// A client has at least this long for each part of its login, however short the time for a server is.
constexpr auto client_time_min = std::chrono::seconds(10);

/// The stored password that an auth_query answered: the second column as pgbouncer has it, or the only one.
std::string stored_password(const Rows& rows) {
  if (rows.empty() || rows.front().empty()) return {};
  return rows.front().back().value_or(std::string());
}

}  // namespace

SteadyTime Session::client_deadline() const {
  return std::chrono::steady_clock::now() +
         std::max<SteadyTime::duration>(context_->config->reconnect.connection_timeout, client_time_min);
}

bool Session::knows_database(std::string_view database) const {
  const auto& allowed = context_->config->databases;
  return allowed.empty() || std::ranges::find(allowed, database) != allowed.end();
}

/// Takes from the startup packet what every backend of the session will be asked for.
Task<bool> Session::accept_startup(const pg::Startup& startup) {
  const auto& config = *context_->config;
  user_ = startup.parameter("user");
  if (user_.empty()) user_ = config.postgres.user;
  if (user_.empty()) {
    co_await refuse_login("28000", "no PostgreSQL user name specified in startup packet");
    co_return false;
  }
  database_ = startup.parameter("database");
  if (database_.empty()) database_ = startup.parameter("user").empty() ? config.postgres.database : user_;
  application_ = startup.parameter("application_name");
  if (!knows_database(database_)) {
    co_await refuse_login("3D000", "database \"" + database_ + "\" is not served here");
    co_return false;
  }
  replication_ = startup.is_replication();
  version_ = std::min(startup.version, pg::protocol_3_2);
  if (version_ != pg::protocol_3_2) version_ = pg::protocol_3_0;
  std::vector<std::string> unknown_options;
  for (const auto& [name, value] : startup.parameters) {
    if (name.starts_with("_pq_.")) {
      unknown_options.push_back(name);
    } else if (name != "user" && name != "database" &&
               std::ranges::find(config.ignore_startup_parameters, name) == config.ignore_startup_parameters.end()) {
      parameters_.emplace_back(name, value);
    }
  }
  parameters_.emplace_back("user", user_);
  parameters_.emplace_back("database", database_);
  machine_.set_user(user_);
  if (version_ == startup.version && unknown_options.empty()) co_return true;
  std::string negotiate;
  pg::write_negotiate_version(negotiate, version_, unknown_options);
  const auto [size, error] = co_await client_.write(negotiate);
  static_cast<void>(size);
  co_return !error;
}

/// The client shows that it is who it says, as far as the proxy can know; a passthrough client's server decides later.
Task<bool> Session::prove_client() {
  const auto& config = *context_->config;
  if (config.auth == config::AuthMode::trust && origin_ != Origin::local) {
    co_await refuse_login("28000", "trust is for local clients only");
    co_return false;
  }
  ClientAuthentication::Known known;
  known.credentials.user = user_;
  if (config.auth != config::AuthMode::passthrough) known = look_up_user(config, user_, context_->process_secret);
  if (config.auth == config::AuthMode::scram && config.auth_query && !is_configured(config, user_)) {
    const auto stored = co_await ask_auth_query();
    if (!stored) co_return false;
    known = known_by_query(user_, *stored, context_->process_secret);
  }
  auto* tls = client_.tls();
  ClientAuthentication authentication(config.auth, std::move(known),
                                      tls != nullptr ? end_point_binding(*tls, CertificateOf::own) : std::string());
  Deadline limit(executor_, client_deadline(), [this] { client_.close(); });
  MessageChannel channel(client_, client_in_);
  std::string answer;
  for (auto next = authentication.start(answer);;) {
    if (!answer.empty() && !co_await channel.write(answer)) co_return false;
    answer.clear();
    if (next == ClientAuthentication::Next::done) break;
    if (next == ClientAuthentication::Next::failed) {
      spdlog::info("{}: login of {} from {} refused: {}", config.id, user_, client_address_, authentication.error());
      co_await refuse_login(std::string(authentication.code()), authentication.error());
      co_return false;
    }
    const auto message = co_await channel.read();
    if (!message) {
      co_await login_broken(channel);
      co_return false;
    }
    next = authentication.on_message(message->type, message->body(), answer);
  }
  credentials_ = authentication.credentials();
  co_return true;
}

/// A client that left, or that sent what is no message.
Task<> Session::login_broken(const MessageChannel& channel) {
  end_reason_ = "client";
  if (channel.malformed()) co_await refuse_login("08P01", "invalid message length in the login");
}

/// What the server that the connection leads to has stored for the user; empty where there is no such user. None when
/// the question could not be asked: the client has then been told.
Task<std::optional<std::string>> Session::ask_auth_query() {
  const auto& config = *context_->config;
  const auto& ask = *config.auth_query;
  const auto deadline = std::chrono::steady_clock::now() + config.reconnect.hold_timeout;
  std::string problem;
  do {
    auto answer = co_await enter_gate(Wish::any, deadline);
    if (auto* refusal = std::get_if<Refusal>(&answer)) {
      co_await refuse_login("57P03", refusal->message);
      co_return std::nullopt;
    }
    auto& grant = std::get<Grant>(answer);
    Credentials service;
    service.user = ask.user;
    service.password = ask.password;
    auto request = login_request(grant.address);
    request.version = pg::protocol_3_0;
    const auto& database = config.postgres.database.empty() ? database_ : config.postgres.database;
    request.parameters = {{"user", ask.user}, {"database", database}, {"application_name", "holdfast auth_query"}};
    request.credentials = &service;
    auto login = co_await log_in(std::move(request), server_in_);
    std::optional<Rows> rows;
    if (login.backend) {
      std::vector<std::string> parameters{user_};
      const auto limit = std::chrono::steady_clock::now() + config.reconnect.connection_timeout;
      rows = co_await query(*login.backend, ask.sql, std::move(parameters), server_in_, limit);
    }
    server_in_.consume(server_in_.data().size());
    const auto failure = login.outcome.failure;
    problem = login.backend ? "the query failed" : login.outcome.error;
    context_->upstream.login_finished(std::move(grant), std::move(login.outcome));
    if (rows) co_return stored_password(*rows);
    if (failure == Failure::rejected || failure == Failure::none) break;
  } while (std::chrono::steady_clock::now() < deadline && !closing_);
  spdlog::error("{}: auth_query for {} could not be run: {}", config.id, user_, problem);
  co_await refuse_login("28000", "authentication is not possible now: the auth_query could not be run");
  co_return std::nullopt;
}

/// The server wants a password that only the client knows: asks for it, once. False when there will be none.
Task<bool> Session::ask_password() {
  if (origin_ != Origin::local && !client_.is_tls()) {
    co_await refuse_login("28000", "the server asks for a password, which would cross the network in clear: use TLS");
    co_return false;
  }
  Deadline limit(executor_, client_deadline(), [this] { client_.close(); });
  MessageChannel channel(client_, client_in_);
  std::string request;
  pg::write_authentication(request, pg::authentication::cleartext);
  if (!co_await channel.write(request)) co_return false;
  const auto message = co_await channel.read();
  if (!message) {
    co_await login_broken(channel);
    co_return false;
  }
  const auto body = message->body();
  if (message->type != pg::frontend::password || body.find('\0') != body.size() - 1) {
    co_await refuse_login("08P01", "invalid password packet");
    co_return false;
  }
  if (body.size() == 1) {
    co_await refuse_login("28P01", "empty password returned by client");
    co_return false;
  }
  credentials_.password = config::Secret(std::string(body.substr(0, body.size() - 1)));
  co_return true;
}

/// A passthrough login succeeded: keeps what the next one needs, and no more.
void Session::keep_credentials(const LoginResult& login) {
  const auto& config = *context_->config;
  if (config.auth != config::AuthMode::passthrough || login.password != LoginResult::Password::asked) return;
  if (config.keep_passwords) return;
  credentials_ = login.derived;
  if (!credentials_.keys && credentials_.md5.empty()) {
    machine_.pin_for_life({"login", "its login, which needs the password itself (keep_passwords is off)"});
  }
}

}  // namespace holdfast::proxy::postgres

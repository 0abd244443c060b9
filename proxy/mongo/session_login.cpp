// Who the client is: its login ends here, or is relayed to the primary, whose answer then yields what later logins need.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <utility>

#include "crypto/base64.hpp"
#include "crypto/random.hpp"
#include "protocol/mongo/reply.hpp"
#include "proxy/mongo/recognition.hpp"
#include "proxy/mongo/session.hpp"
#include "proxy/waiting.hpp"

namespace holdfast::proxy::mongo {

namespace {

SteadyTime now() { return std::chrono::steady_clock::now(); }

/// What is relayed of a client's login, and of the answers to it.
constexpr std::array relayed_fields{"saslStart", "saslContinue", "mechanism", "payload", "options", "autoAuthorize", "conversationId",
                                    "done", "errmsg", "code", "codeName", "ok"};

std::string relayed_body(std::string_view body, std::string_view database) {
  wire::Writer writer;
  static_cast<void>(wire::for_each(body, [&](const wire::Element& field) {
    if (std::ranges::find(relayed_fields, field.key) != relayed_fields.end()) writer.raw(field.raw);
    return true;
  }));
  if (!database.empty()) writer.text("$db", database);
  return writer.finish();
}

/// OP_MSG names its database in the body, OP_QUERY before it.
std::string database_of(const wire::Message& request) {
  if (const auto found = wire::find(request.body, "$db"); found && found->kind == wire::Kind::text) return std::string(found->bytes);
  return std::string(request.collection.substr(0, request.collection.find('.')));
}

std::string unknown_mechanism(const std::string& mechanism) {
  return wire::error_body({wire::code::mechanism_unavailable,
                           "Received authentication for mechanism " + mechanism + " which is unknown or not enabled"});
}

std::string unreachable(const std::string& why) {
  return wire::error_body({wire::code::host_unreachable, "holdfast: the login could not be checked: " + why});
}

/// What the server is to let in is called here by the name that was read. Where that can be read otherwise, or not at all, nobody is let in.
/// No database has a name with a dot: "a.b" and "c" are not who is "a" and "b.c".
bool names_one_user(std::string_view body, const SaslStart& start) {
  return reads_one_way(body) && !start.user.empty() && start.database.find('.') == std::string::npos;
}

/// DATABASE.USER; a user's name may hold dots.
std::pair<std::string, std::string> split_name(const std::string& name) {
  const auto dot = name.find('.');
  if (dot == std::string::npos) return {};
  return {name.substr(0, dot), name.substr(dot + 1)};
}

}  // namespace

/// For whom a client's commands are run that has not logged in; none where it must.
std::shared_ptr<Login> Session::login_of_a_stranger() const {
  switch (context_->config->auth) {
    case config::AuthMode::trust: return context_->settings->own;
    case config::AuthMode::passthrough: return context_->nobody;
    case config::AuthMode::scram: return nullptr;
  }
  return nullptr;
}

Task<bool> Session::serve_authentication(const wire::Message& request, const wire::Command& command) {
  std::string body;
  if (context_->config->auth == config::AuthMode::trust) {
    body = wire::error_body({wire::code::mechanism_unavailable,
                             "holdfast: auth: trust checks no login, every client has the rights of the upstream's URI; leave the "
                             "user out of the connection string"});
  } else if (command.name == "saslStart") {
    body = co_await start_login(request.body, database_of(request), ClientLogin::Ok::with);
  } else if (command.name == "saslContinue") {
    body = co_await continue_login(request.body);
  } else if (command.name == "logout") {
    login_ = login_of_a_stranger();
    body = wire::ok_body();
  } else {
    body = unknown_mechanism(std::string(command.name));
  }
  co_return co_await answer(request, std::move(body));
}

/// What may be asked before a login, as at a server.
Task<bool> Session::serve_stranger(const wire::Message& request, const wire::Command& command) {
  if (command.name == "ping" || command.name == "endSessions") {
    auto body = wire::ok_body();
    co_return co_await answer(request, std::move(body));
  }
  co_return co_await refuse(request, wire::code::unauthorized, "command " + std::string(command.name) + " requires authentication");
}

Task<std::string> Session::start_login(std::string_view body, std::string database, ClientLogin::Ok ok) {
  auto start = read_sasl_start(body);
  if (start.database.empty()) start.database = std::move(database);
  client_login_.reset();
  if (!start.hash) co_return unknown_mechanism(start.mechanism);
  if (context_->config->auth == config::AuthMode::passthrough) co_return co_await start_relay(body, std::move(start));
  const auto hash = *start.hash;
  auto known = co_await find_verifiers(start.database, start.user);
  if (const auto* error = std::get_if<std::string>(&known)) co_return cannot_check(start.user, *error);
  auto verifier = std::get<Verifiers>(known)[hash];
  if (!verifier) verifier = context_->users.mock(start.database, start.user, hash);
  std::string random(24, '\0');
  crypto::random_bytes(random);
  client_login_.emplace(std::move(start), std::move(*verifier), crypto::base64_encode(random));
  co_return client_login_->first(ok);
}

Task<std::string> Session::continue_login(std::string_view body) {
  if (relay_ && !relay_->server_first.empty()) co_return co_await continue_relay(body);
  if (!client_login_) co_return wire::error_body({17, "No SASL session state found"});
  auto answer = client_login_->next(body);
  const auto& start = client_login_->start();
  if (client_login_->state() == ClientLogin::State::done) {
    login_ = context_->users.login_of(start.database, start.user, now());
    // With a password of ours the salt was ours too: what the proof yields fits no server.
    if (login_->password.empty()) login_->keys[*start.hash] = client_login_->keys();
  } else if (client_login_->state() == ClientLogin::State::failed) {
    const auto known = context_->users.configured(start.database, start.user) || context_->users.learnt(start.database, start.user, now());
    spdlog::info("{}: login of {} from {} refused: {}", context_->config->id, start.user, address_,
                 known ? client_login_->error() : "no user " + start.database + "." + start.user + " is known");
    context_->users.forget(start.database, start.user);
    login_ = login_of_a_stranger();
  }
  if (client_login_->state() != ClientLogin::State::waiting) client_login_.reset();
  co_return answer;
}

/// By the configuration, else by the server where there is an auth_query. Empty: no such user.
Task<std::variant<Verifiers, std::string>> Session::find_verifiers(std::string database, std::string user) {
  // No database has a name with a dot, but a user may: "a.b" and "c" are not who is "a" and "b.c".
  if (user.empty() || database.find('.') != std::string::npos) co_return Verifiers{};
  if (const auto* known = context_->users.configured(database, user)) co_return *known;
  if (!context_->service) co_return Verifiers{};
  if (const auto* known = context_->users.learnt(database, user, now())) co_return *known;
  waiter_ = context_->upstream.next_waiter();
  auto asked = co_await context_->ask_verifiers({waiter_, &gone_}, database, user, now() + context_->config->reconnect.hold_timeout);
  waiter_ = 0;
  co_return asked;
}

std::string Session::cannot_check(const std::string& user, const std::string& why) const {
  spdlog::error("{}: the login of {} could not be checked: {}", context_->config->id, user, why);
  return unreachable(why);
}

/// What a hello says of logins: how a user may log in, and the answer to a login that came with it. Both are left out where
/// there is nothing to say, and so they are for users that do not exist. Where nobody could be asked whether one does, the hello is refused
/// with this body: its driver would take the older mechanism, and the user may not have that.
Task<std::variant<wire::HelloExtras, std::string>> Session::answer_login_hello(const wire::HelloRequest& hello) {
  wire::HelloExtras extras;
  const bool asks = !hello.wants_mechanisms_of.empty() || !hello.speculative.empty();
  if (!asks || context_->config->auth == config::AuthMode::trust) co_return extras;
  if (context_->config->auth == config::AuthMode::passthrough) co_return co_await relay_hello(hello);
  if (const auto [database, user] = split_name(hello.wants_mechanisms_of); !user.empty()) {
    const auto known = co_await find_verifiers(database, user);
    if (const auto* error = std::get_if<std::string>(&known)) co_return cannot_check(user, *error);
    const auto& verifiers = std::get<Verifiers>(known);
    if (verifiers.sha1) extras.mechanisms.emplace_back("SCRAM-SHA-1");
    if (verifiers.sha256) extras.mechanisms.emplace_back("SCRAM-SHA-256");
  }
  // A driver tries the better mechanism before it knows whether the user has it.
  const auto tried = read_sasl_start(hello.speculative.empty() ? wire::empty_document : hello.speculative);
  const auto name_tried = mechanism_of(tried.hash.value_or(crypto::HashKind::sha256));
  const bool has_other_only = !extras.mechanisms.empty() && std::ranges::find(extras.mechanisms, name_tried) == extras.mechanisms.end();
  if (!hello.speculative.empty() && !has_other_only) {
    auto first = co_await start_login(hello.speculative, "admin", ClientLogin::Ok::without);
    if (client_login_ && client_login_->state() == ClientLogin::State::waiting) {
      extras.speculative_answer = std::move(first);
    } else {
      client_login_.reset();
    }
  }
  co_return extras;
}

// ---- passthrough ----

/// A connection of which nothing is kept for others as long as it is not logged in.
void Session::drop_relay() {
  if (relay_ && relay_->lease) relay_->lease->close();
  relay_.reset();
}

/// The relay's connection, a new one where there is none. A sentence where none can be had.
Task<std::string> Session::open_relay(SteadyTime deadline) {
  if (relay_ && relay_->lease && relay_->lease->is_quiet()) co_return std::string();
  drop_relay();
  waiter_ = context_->upstream.next_waiter();
  auto found = co_await context_->fresh({waiter_, &gone_}, deadline);
  waiter_ = 0;
  if (auto* refused = std::get_if<Refusal>(&found)) co_return std::move(refused->message);
  if (auto* refused = std::get_if<LoginRefused>(&found)) co_return std::move(refused->error);
  relay_.emplace();
  relay_->lease = std::move(std::get<Lease>(found));
  relay_->since = now();
  co_return std::string();
}

/// Asks the primary, and another one while nothing of a conversation has begun. None where there is no answer.
Task<std::optional<std::string>> Session::ask_relay(std::string body, SteadyTime deadline, std::string& error) {
  while (!gone_) {
    error = co_await open_relay(deadline);
    if (!error.empty() || gone_) break;
    auto* backend = &*relay_->lease;
    const auto member = relay_->lease.member();
    Deadline limit(context_->home, std::min(deadline, now() + context_->config->reconnect.connection_timeout),
                   [backend] { backend->close(); });
    auto reply = co_await backend->run(body);
    const auto code = reply ? wire::read_reply(*reply).code : 0;
    if (reply && !wire::code::is_state_change(code)) co_return reply;
    drop_relay();
    context_->upstream.backend_lost(member, "a login was not answered");
    error = "the connection was lost";
    if (now() >= deadline) break;
  }
  co_return std::nullopt;
}

Task<std::variant<wire::HelloExtras, std::string>> Session::relay_hello(const wire::HelloRequest& hello) {
  wire::HelloExtras extras;
  auto start = read_sasl_start(hello.speculative.empty() ? wire::empty_document : hello.speculative);
  if (start.database.empty()) start.database = "admin";
  const auto speculative = start.hash && names_one_user(hello.speculative, start) ? hello.speculative : std::string_view();
  std::string error;
  drop_relay();
  if (speculative.empty() && hello.wants_mechanisms_of.empty()) co_return extras;
  auto question = wire::make_login_hello(hello.wants_mechanisms_of, speculative);
  const auto reply = co_await ask_relay(std::move(question), now() + context_->config->reconnect.hold_timeout, error);
  if (!reply && !hello.wants_mechanisms_of.empty()) co_return unreachable(error);
  if (!reply) co_return extras;
  auto said = wire::read_member_hello(*reply);
  extras.mechanisms = std::move(said.mechanisms);
  const auto payload = read_sasl_payload(said.speculative.empty() ? wire::empty_document : std::string_view(said.speculative));
  if (payload) {
    relay_->start = std::move(start);
    relay_->server_first = payload->bytes;
    extras.speculative_answer = std::move(said.speculative);
  } else {
    drop_relay();  // no login has begun, and whoever has only asked may never begin one
  }
  co_return extras;
}

/// The client is nobody from here on, whoever it was before.
std::string Session::refuse_relay(const std::string& why) {
  const auto user = relay_ ? relay_->start.user : std::string();
  spdlog::info("{}: login of {} from {} refused: {}", context_->config->id, user.empty() ? "somebody" : user, address_, why);
  drop_relay();
  login_ = login_of_a_stranger();
  return login_failed_body();
}

std::string Session::lose_relay() {
  context_->upstream.backend_lost(relay_->lease.member(), "a login was not answered");
  drop_relay();
  return unreachable("the connection was lost");
}

Task<std::string> Session::start_relay(std::string_view body, SaslStart start) {
  if (relay_ && !relay_->server_first.empty()) drop_relay();
  if (!names_one_user(body, start)) co_return refuse_relay("whom it is for can be read in more ways than one, or in none");
  std::string error;
  const auto reply = co_await ask_relay(relayed_body(body, start.database), now() + context_->config->reconnect.hold_timeout, error);
  if (!reply) co_return unreachable(error);
  const auto payload = read_sasl_payload(*reply);
  if (!payload) {
    drop_relay();
    login_ = login_of_a_stranger();
  } else {
    relay_->start = std::move(start);
    relay_->server_first = payload->bytes;
  }
  co_return relayed_body(*reply, {});
}

Task<std::string> Session::continue_relay(std::string_view body) {
  if (!reads_one_way(body)) co_return refuse_relay("a key of its saslContinue stands there twice");
  auto* backend = &*relay_->lease;
  if (relay_->client_final.empty()) {
    if (const auto payload = read_sasl_payload(body)) relay_->client_final = payload->bytes;
  }
  Deadline limit(context_->home, now() + context_->config->reconnect.connection_timeout, [backend] { backend->close(); });
  const auto reply = co_await backend->run(relayed_body(body, relay_->start.database));
  const auto said = reply ? wire::read_reply(*reply) : wire::Reply{};
  if (!reply || wire::code::is_state_change(said.code)) co_return lose_relay();
  const auto done = wire::find(*reply, "done");
  if (!said.ok) {
    spdlog::info("{}: login of {} from {} refused by the server", context_->config->id, relay_->start.user, address_);
    drop_relay();
    login_ = login_of_a_stranger();
  } else if (done && done->truth()) {
    auto failed = co_await finish_relay();
    if (!failed.empty()) co_return failed;
  }
  co_return relayed_body(*reply, {});
}

/// The server has let the client in. Its own verifier, where it may read that, and its proof yield the key for later logins. Returns what to
/// answer where it gets none of that.
Task<std::string> Session::finish_relay() {
  const auto& start = relay_->start;
  // All that a user's sessions share goes by the name that was read here. That of whom the server has let in is its own word only.
  const auto status = co_await relay_->lease->run(make_connection_status());
  if (!status || wire::code::is_state_change(wire::read_reply(*status).code)) co_return lose_relay();
  if (!is_logged_in_as(*status, start.database, start.user)) {
    co_return refuse_relay("the server does not say by connectionStatus that it has let in " + start.database + "." + start.user);
  }
  login_ = context_->users.login_of(start.database, start.user, now());
  const auto body = co_await relay_->lease->run(make_users_info(start.database, start.user));
  const auto verifiers = body ? read_users_info(*body) : std::nullopt;
  const auto verifier = verifiers ? (*verifiers)[*start.hash] : std::nullopt;
  if (verifier) login_->keys[*start.hash] = crypto::keys_of_exchange(*verifier, start.payload, relay_->server_first, relay_->client_final);
  if (!login_->can_log_in()) {
    spdlog::info("{}: {} may not read its own verifier: its clients log in again for each new connection", context_->config->id,
                 login_->name());
  }
  relay_->lease->belong_to(login_);
  // Some tell users only what they are.
  const auto limit = now() + context_->config->reconnect.connection_timeout;
  co_await recognise(*relay_->lease, relay_->lease.member(), context_->members, context_->settings, context_->buffers, limit);
  own_.clear();
  if (!login_->can_log_in() || !context_->pool.is_shared()) own_.push_back(std::move(relay_->lease));
  relay_.reset();
  co_return std::string();
}

}  // namespace holdfast::proxy::mongo

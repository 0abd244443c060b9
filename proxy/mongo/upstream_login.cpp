// saslStart and saslContinue (authentication specification), two rounds and a third where the server wants an empty one;
// authenticate for certificates.
#include "proxy/mongo/upstream_login.hpp"

#include <algorithm>
#include <utility>

#include "crypto/base64.hpp"
#include "crypto/random.hpp"
#include "protocol/mongo/document.hpp"
#include "protocol/mongo/error_codes.hpp"
#include "proxy/mongo/backend.hpp"

namespace holdfast::proxy::mongo {

namespace {

struct Round {
  std::string payload;
  std::int64_t conversation = 0;
  bool done = false;
  LoginOutcome failed;
};

LoginOutcome failure(Failure kind, std::string error, std::string code = {}) { return {kind, std::move(error), std::move(code)}; }

Round read_round(const std::optional<std::string>& body) {
  Round round;
  if (!body) {
    round.failed = failure(Failure::unreachable, "the connection was lost while logging in");
    return round;
  }
  bool ok = false;
  std::int64_t code = 0;
  std::string message;
  static_cast<void>(wire::for_each(*body, [&](const wire::Element& field) {
    if (field.key == "ok") ok = field.truth();
    if (field.key == "code") code = field.integer;
    if (field.key == "errmsg") message = field.bytes;
    if (field.key == "payload") round.payload = field.bytes;
    if (field.key == "conversationId") round.conversation = field.integer;
    if (field.key == "done") round.done = field.truth();
    return true;
  }));
  if (ok) return round;
  const bool ours = code == wire::code::authentication_failed || code == wire::code::mechanism_unavailable ||
                    code == wire::code::unauthorized;
  round.failed = failure(ours ? Failure::rejected : Failure::not_ready, "login refused: " + message, std::to_string(code));
  return round;
}

std::string continue_body(const Round& last, std::string_view payload, std::string_view database) {
  wire::Writer writer;
  writer.int32("saslContinue", 1).int32("conversationId", static_cast<std::int32_t>(last.conversation));
  return writer.binary("payload", payload).text("$db", database).finish();
}

/// With which hash: what the configuration says, what there are keys for, what the member offers, the better one first.
crypto::HashKind choose(const Login& login, const std::vector<std::string>& mechanisms) {
  using crypto::HashKind;
  if (login.mechanism == config::MongoMechanism::scram_sha_1) return HashKind::sha1;
  if (login.mechanism == config::MongoMechanism::scram_sha_256) return HashKind::sha256;
  const auto offered = [&](HashKind hash) {
    return mechanisms.empty() || std::ranges::find(mechanisms, mechanism_of(hash)) != mechanisms.end();
  };
  for (const auto hash : scram_hashes) {
    if ((!login.password.empty() || login.keys[hash]) && offered(hash)) return hash;
  }
  return login.password.empty() && login.keys.sha1 && !login.keys.sha256 ? HashKind::sha1 : HashKind::sha256;
}

crypto::ScramClient client_of(const Login& login, crypto::HashKind hash, bool by_keys) {
  std::string random(24, '\0');
  crypto::random_bytes(random);
  const auto nonce = crypto::base64_encode(random);
  using Binding = crypto::ScramClient::Binding;
  auto made = by_keys ? crypto::ScramClient(*login.keys[hash], nonce, Binding::none, {})
                      : crypto::ScramClient(scram_password(hash, login.user, login.password.reveal()), nonce, Binding::none, {}, hash);
  made.name_user(login.user);
  return made;
}

Task<LoginOutcome> log_in_by_certificate(Backend& backend) {
  wire::Writer writer;
  writer.int32("authenticate", 1).text("mechanism", "MONGODB-X509").text("$db", "$external");
  const auto answered = co_await backend.run(writer.finish());
  co_return read_round(answered).failed;
}

/// One exchange. `stale`: the keys do not fit the member's verifier; nothing was refused yet.
Task<LoginOutcome> log_in_once(Backend& backend, Login& login, crypto::HashKind hash, bool by_keys, bool& stale) {
  auto scram = client_of(login, hash, by_keys);
  const auto refused = [&] { return failure(Failure::rejected, scram.error()); };
  wire::Writer options, start;
  options.boolean("skipEmptyExchange", true);
  start.int32("saslStart", 1).text("mechanism", mechanism_of(hash)).binary("payload", scram.client_first());
  start.document("options", options.finish()).text("$db", login.database);
  auto answered = co_await backend.run(start.finish());
  auto round = read_round(answered);
  if (!round.failed.error.empty()) co_return round.failed;

  std::string proof;
  if (!scram.on_server_first(round.payload, proof)) {
    stale = scram.stale();
    co_return refused();
  }
  answered = co_await backend.run(continue_body(round, proof, login.database));
  round = read_round(answered);
  if (!round.failed.error.empty()) co_return round.failed;
  if (!scram.on_server_final(round.payload)) co_return refused();
  if (!round.done) {
    answered = co_await backend.run(continue_body(round, {}, login.database));
    round = read_round(answered);
    if (!round.failed.error.empty()) co_return round.failed;
    if (!round.done) co_return failure(Failure::not_ready, "the server does not end the login");
  }
  if (!by_keys || !login.keys[hash]) login.keys[hash] = scram.keys();
  co_return LoginOutcome{};
}

bool are_same(const std::optional<crypto::ScramKeys>& one, const std::optional<crypto::ScramKeys>& other) {
  return one && other && one->client_key == other->client_key && one->salt == other->salt;
}

/// A secondary may not have heard yet of a user who was made, or given another password, a moment ago: what it refuses may be good elsewhere.
bool knows_users(const wire::MemberHello& of) {
  using Type = wire::MemberHello::Type;
  return of.type == Type::primary || of.type == Type::mongos || of.type == Type::standalone;
}

}  // namespace

Task<LoginOutcome> log_in(Backend& backend, std::shared_ptr<Login> login, const wire::MemberHello& hello) {
  if (login->mechanism == config::MongoMechanism::x509) co_return co_await log_in_by_certificate(backend);
  const auto hash = choose(*login, hello.mechanisms);
  bool stale = false;
  const auto keys = login->keys[hash];
  if (!keys && login->password.empty()) co_return failure(Failure::rejected, "there is nothing to log in with");
  auto outcome = co_await log_in_once(backend, *login, hash, keys.has_value(), stale);
  if (!keys || outcome.failure != Failure::rejected) co_return outcome;
  const bool kept = are_same(keys, login->keys[hash]);
  // All sessions of the user log in with these.
  if (kept && knows_users(hello)) login->keys[hash].reset();
  if (login->keys[hash] && !kept) {
    // The password has changed, and somebody has logged in with the new one meanwhile.
    outcome = co_await log_in_once(backend, *login, hash, true, stale);
  } else if (stale && !login->password.empty()) {
    // The salt is another one: the password may still be the same.
    outcome = co_await log_in_once(backend, *login, hash, false, stale);
  }
  co_return outcome;
}

}  // namespace holdfast::proxy::mongo

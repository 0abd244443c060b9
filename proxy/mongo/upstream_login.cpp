// saslStart and saslContinue (authentication specification), two rounds and a third where the server wants an empty one.
#include "proxy/mongo/upstream_login.hpp"

#include <utility>

#include "crypto/base64.hpp"
#include "crypto/random.hpp"
#include "crypto/scram.hpp"
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

}  // namespace

Task<LoginOutcome> log_in(Backend& backend, const config::MongoUri& uri) {
  std::string random(24, '\0');
  crypto::random_bytes(random);
  using Binding = crypto::ScramClient::Binding;
  crypto::ScramClient scram(uri.password.reveal(), crypto::base64_encode(random), Binding::none, {});
  scram.name_user(uri.user);
  const auto refused = [&] { return failure(Failure::rejected, scram.error()); };

  wire::Writer options, start;
  options.boolean("skipEmptyExchange", true);
  start.int32("saslStart", 1).text("mechanism", "SCRAM-SHA-256").binary("payload", scram.client_first());
  start.document("options", options.finish()).text("$db", uri.auth_database);
  auto answered = co_await backend.run(start.finish());
  auto round = read_round(answered);
  if (!round.failed.error.empty()) co_return round.failed;

  std::string proof;
  if (!scram.on_server_first(round.payload, proof)) co_return refused();
  answered = co_await backend.run(continue_body(round, proof, uri.auth_database));
  round = read_round(answered);
  if (!round.failed.error.empty()) co_return round.failed;
  if (!scram.on_server_final(round.payload)) co_return refused();
  if (round.done) co_return LoginOutcome{};

  answered = co_await backend.run(continue_body(round, {}, uri.auth_database));
  round = read_round(answered);
  if (round.failed.error.empty() && !round.done) {
    co_return failure(Failure::not_ready, "the server does not end the login");
  }
  co_return round.failed;
}

}  // namespace holdfast::proxy::mongo

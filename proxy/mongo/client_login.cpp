// The rounds of the authentication specification, from the other side.
#include "proxy/mongo/client_login.hpp"

#include <utility>
#include <vector>

#include "crypto/base64.hpp"
#include "protocol/mongo/document.hpp"
#include "protocol/mongo/error_codes.hpp"
#include "protocol/mongo/frame.hpp"
#include "protocol/mongo/reply.hpp"
#include "proxy/mongo/login.hpp"

namespace holdfast::proxy::mongo {

namespace wire = holdfast::mongo;

namespace {

constexpr std::int32_t conversation = 1;

bool take_payload(const wire::Element& field, std::string& bytes, bool& text) {
  if (field.kind == wire::Kind::binary) {
    bytes = field.bytes;
    return true;
  }
  if (field.kind != wire::Kind::text) return false;
  auto decoded = crypto::base64_decode(field.bytes);
  if (!decoded) return false;
  text = true;
  bytes = std::move(*decoded);
  return true;
}

}  // namespace

SaslStart read_sasl_start(std::string_view body) {
  SaslStart start;
  static_cast<void>(wire::for_each(body, [&](const wire::Element& field) {
    if (field.key == "mechanism" && field.kind == wire::Kind::text) start.mechanism = field.bytes;
    if ((field.key == "$db" || field.key == "db") && field.kind == wire::Kind::text) start.database = field.bytes;
    if (field.key == "payload") static_cast<void>(take_payload(field, start.payload, start.text));
    if (field.key == "options" && field.kind == wire::Kind::document) {
      const auto skip = wire::find(field.bytes, "skipEmptyExchange");
      start.skip_empty = skip && skip->truth();
    }
    return true;
  }));
  for (const auto hash : scram_hashes) {
    if (start.mechanism == mechanism_of(hash)) start.hash = hash;
  }
  if (start.hash) start.user = crypto::user_of_client_first(start.payload).value_or(std::string());
  return start;
}

bool reads_one_way(std::string_view body) {
  std::vector<std::string_view> keys;
  const auto walk = wire::for_each(body, [&](const wire::Element& field) {
    keys.push_back(field.key);
    return true;
  });
  return walk == wire::Walk::complete && !wire::holds_one_twice(std::move(keys));
}

std::optional<SaslPayload> read_sasl_payload(std::string_view body) {
  SaslPayload payload;
  bool found = false;
  static_cast<void>(wire::for_each(body, [&](const wire::Element& field) {
    if (field.key == "payload") found = take_payload(field, payload.bytes, payload.text);
    if (field.key == "conversationId") payload.conversation = field.integer;
    return true;
  }));
  if (!found) return std::nullopt;
  return payload;
}

std::string login_failed_body() { return wire::error_body({wire::code::authentication_failed, "Authentication failed."}); }

ClientLogin::ClientLogin(SaslStart start, crypto::ScramVerifier verifier, std::string nonce)
    : start_(std::move(start)), scram_(std::move(verifier), {}), nonce_(std::move(nonce)) {}

std::string ClientLogin::fail(std::string error) {
  state_ = State::failed;
  error_ = std::move(error);
  return login_failed_body();
}

std::string ClientLogin::body(std::string_view payload, bool done, Ok ok) const {
  wire::Writer writer;
  writer.int32("conversationId", conversation).boolean("done", done);
  if (start_.text) {
    writer.text("payload", crypto::base64_encode(payload));
  } else {
    writer.binary("payload", payload);
  }
  if (ok == Ok::with) writer.real("ok", 1);
  return writer.finish();
}

std::string ClientLogin::first(Ok ok) {
  std::string answer;
  if (!scram_.on_client_first(start_.payload, crypto::ScramServer::Mechanism::plain, nonce_, answer)) return fail(scram_.error());
  return body(answer, false, ok);
}

std::string ClientLogin::next(std::string_view request) {
  const auto payload = read_sasl_payload(request);
  if (!payload) return fail("saslContinue without a payload");
  if (payload->conversation != conversation) {
    state_ = State::failed;
    error_ = "saslContinue of another conversation";
    return wire::error_body({17, "sasl: Mismatched conversation id"});
  }
  if (proved_) {
    if (!payload->bytes.empty()) return fail("the last round of a login must be empty");
    state_ = State::done;
    return body({}, true, Ok::with);
  }
  std::string answer;
  if (!scram_.on_client_final(payload->bytes, answer)) return fail(scram_.error());
  proved_ = true;
  if (start_.skip_empty) state_ = State::done;
  return body(answer, start_.skip_empty, Ok::with);
}

}  // namespace holdfast::proxy::mongo

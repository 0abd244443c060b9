// The client's part in PostgreSQL's authentication.
#include "proxy/postgres/server_authentication.hpp"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "crypto/base64.hpp"
#include "crypto/random.hpp"
#include "protocol/postgres/startup.hpp"

namespace holdfast::proxy::postgres {

namespace pg = holdfast::postgres;
namespace kind = pg::authentication;

ServerAuthentication::Next ServerAuthentication::on_message(std::string_view body, std::string& answer) {
  pg::Reader reader(body);
  const auto request = reader.i32();
  if (reader.failed()) return fail("the server sent a malformed authentication request");
  const bool bindable = request == kind::sasl || request == kind::sasl_continue || request == kind::sasl_final ||
                        (request == kind::ok && proven_);
  if (channel_.must_bind && !bindable) return fail("channel binding is required, and the server does not ask for SCRAM");
  switch (request) {
    case kind::ok:
      // A server that skips its own proof could be anybody who does not know the password.
      if (scram_ && !proven_) return fail("the server did not finish the SCRAM exchange");
      return Next::done;
    case kind::cleartext:
      method_ = Method::cleartext;
      if (credentials_.password.empty()) return ask("the server wants the password itself, which is not known here");
      if (!channel_.encrypted && !channel_.local) {
        return fail("the server wants the password in clear over a channel without protection");
      }
      pg::write_password(answer, credentials_.password.reveal());
      return Next::send;
    case kind::md5: {
      const auto salt = reader.take(4);
      if (reader.failed()) return fail("the server sent a malformed authentication request");
      method_ = Method::md5;
      if (stored_md5().empty()) return ask("the server wants an md5 answer, and no password is known here");
      pg::write_password(answer, crypto::md5_answer(stored_md5(), salt));
      return Next::send;
    }
    case kind::sasl: return begin_scram(reader.rest(), answer);
    case kind::sasl_continue: {
      std::string message;
      if (!scram_) return fail("the server sent a SASL message out of turn");
      if (!scram_->on_server_first(reader.rest(), message)) return fail(scram_->error());
      pg::write_sasl_response(answer, message);
      return Next::send;
    }
    case kind::sasl_final:
      if (!scram_) return fail("the server sent a SASL message out of turn");
      if (!scram_->on_server_final(reader.rest())) return fail(scram_->error());
      proven_ = true;
      return Next::wait;
    default: return fail("the server asks for an authentication method that holdfast does not speak (GSS, SSPI)");
  }
}

std::string ServerAuthentication::stored_md5() const {
  if (credentials_.password.empty()) return credentials_.md5.reveal();
  return crypto::md5_stored(credentials_.user, credentials_.password.reveal());
}

Credentials ServerAuthentication::derived() const {
  Credentials kept;
  kept.user = credentials_.user;
  if (method_ == Method::md5) kept.md5 = config::Secret(stored_md5());
  if (method_ == Method::scram) kept.keys = scram_->keys();
  return kept;
}

ServerAuthentication::Next ServerAuthentication::begin_scram(std::string_view data, std::string& answer) {
  std::vector<std::string_view> mechanisms;
  if (!pg::parse_sasl_mechanisms(data, mechanisms)) return fail("the server sent a malformed list of mechanisms");
  const auto offers = [&](std::string_view name) { return std::ranges::find(mechanisms, name) != mechanisms.end(); };
  const bool plus = offers("SCRAM-SHA-256-PLUS") && !channel_.binding.empty();
  if (channel_.must_bind && !plus) return fail("channel binding is required, and the server does not offer it");
  if (!plus && !offers("SCRAM-SHA-256")) return fail("the server offers no SASL mechanism that holdfast speaks");
  if (credentials_.password.empty() && !credentials_.keys) {
    return ask("the server asks for a password of user \"" + credentials_.user + "\", and none is known here");
  }
  method_ = Method::scram;
  std::array<char, 18> random;
  crypto::random_bytes(random);
  const auto nonce = crypto::base64_encode({random.data(), random.size()});
  using Binding = crypto::ScramClient::Binding;
  const auto binding = plus ? Binding::used : channel_.binding.empty() ? Binding::none : Binding::supported;
  if (credentials_.password.empty()) {
    scram_.emplace(*credentials_.keys, nonce, binding, channel_.binding);
  } else {
    scram_.emplace(credentials_.password.reveal(), nonce, binding, channel_.binding);
  }
  pg::write_sasl_initial(answer, plus ? "SCRAM-SHA-256-PLUS" : "SCRAM-SHA-256", scram_->client_first());
  return Next::send;
}

}  // namespace holdfast::proxy::postgres

// The server's part in PostgreSQL's authentication.
#include "proxy/postgres/client_authentication.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "crypto/base64.hpp"
#include "crypto/random.hpp"
#include "protocol/postgres/messages.hpp"
#include "protocol/postgres/startup.hpp"

namespace holdfast::proxy::postgres {

namespace pg = holdfast::postgres;

namespace {

/// As PostgreSQL makes them.
constexpr std::uint32_t iterations = 4096;
constexpr std::size_t salt_size = 16;

std::string random_string(std::size_t size) {
  std::string out(size, '\0');
  crypto::random_bytes(out);
  return out;
}

}  // namespace

ClientAuthentication::Known look_up_user(const config::Connection& config, const std::string& user,
                                         std::string_view process_secret) {
  ClientAuthentication::Known known;
  known.credentials.user = user;
  std::optional<config::Secret> verifier;
  if (user == config.postgres.user) known.credentials.password = config.postgres.password;
  for (const auto& entry : config.users) {
    if (entry.name != user) continue;
    known.credentials.password = entry.password;
    if (!entry.scram.empty()) verifier = entry.scram;
  }
  if (verifier) {
    known.verifier = crypto::parse_verifier(verifier->reveal());
  } else if (!known.credentials.password.empty()) {
    known.verifier = crypto::make_verifier(known.credentials.password.reveal(), random_string(salt_size), iterations);
  }
  if (!known.verifier) known.verifier = crypto::mock_verifier(user, process_secret);
  return known;
}

bool is_configured(const config::Connection& config, std::string_view user) {
  if (user == config.postgres.user && !config.postgres.password.empty()) return true;
  return std::ranges::any_of(config.users, [&](const auto& entry) { return entry.name == user; });
}

ClientAuthentication::Known known_by_query(const std::string& user, std::string_view stored,
                                           std::string_view process_secret) {
  ClientAuthentication::Known known;
  known.credentials.user = user;
  known.verifier = crypto::parse_verifier(stored);
  if (!known.verifier) known.verifier = crypto::mock_verifier(user, process_secret);
  return known;
}

ClientAuthentication::ClientAuthentication(config::AuthMode mode, Known known, std::string binding)
    : mode_(mode), known_(std::move(known)), binding_(std::move(binding)) {}

ClientAuthentication::Next ClientAuthentication::start(std::string& answer) {
  // A passthrough client is asked for its password once its server has asked for it.
  if (mode_ != config::AuthMode::scram) return Next::done;
  std::string mechanisms;
  if (!binding_.empty()) mechanisms += std::string("SCRAM-SHA-256-PLUS") + '\0';
  mechanisms += std::string("SCRAM-SHA-256") + '\0' + '\0';
  pg::write_authentication(answer, pg::authentication::sasl, mechanisms);
  return Next::read;
}

ClientAuthentication::Next ClientAuthentication::on_message(char type, std::string_view body, std::string& answer) {
  if (type != pg::frontend::password) return fail("08P01", "expected a SASL response");
  std::string message;
  if (state_ == State::first) {
    pg::SaslInitial initial;
    if (!pg::parse_sasl_initial(body, initial)) return fail("08P01", "malformed SASLInitialResponse");
    const bool plus = initial.mechanism == "SCRAM-SHA-256-PLUS" && !binding_.empty();
    if (!plus && initial.mechanism != "SCRAM-SHA-256") {
      return fail("08P01", "client selected an invalid SASL authentication mechanism");
    }
    scram_.emplace(*known_.verifier, binding_);
    const auto nonce = crypto::base64_encode(random_string(18));
    const auto mechanism = plus ? crypto::ScramServer::Mechanism::plus : crypto::ScramServer::Mechanism::plain;
    if (!scram_->on_client_first(initial.data, mechanism, nonce, message)) return fail("08P01", scram_->error());
    pg::write_authentication(answer, pg::authentication::sasl_continue, message);
    state_ = State::final;
    return Next::read;
  }
  if (!scram_->on_client_final(body, message)) {
    return fail("28P01", "password authentication failed for user \"" + known_.credentials.user + "\"");
  }
  pg::write_authentication(answer, pg::authentication::sasl_final, message);
  if (known_.credentials.password.empty()) known_.credentials.keys = scram_->keys();
  return Next::done;
}

ClientAuthentication::Next ClientAuthentication::fail(std::string_view code, std::string error) {
  code_ = code;
  error_ = std::move(error);
  return Next::failed;
}

}  // namespace holdfast::proxy::postgres

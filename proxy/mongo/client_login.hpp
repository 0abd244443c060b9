// A client's login, as the server: saslStart and saslContinue, checked against a verifier. Sans-io.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "crypto/scram.hpp"

namespace holdfast::proxy::mongo {

/// What saslStart says, or the same within a hello (speculativeAuthenticate).
struct SaslStart {
  std::string mechanism, database, payload;
  bool text = false;        // the payload came as base64, and goes so
  bool skip_empty = false;  // no third round
  std::optional<crypto::HashKind> hash;  // none: a mechanism that is not SCRAM
  std::string user;         // whom the payload names; empty: nobody
};
[[nodiscard]] SaslStart read_sasl_start(std::string_view body);
/// Can another read only the same in it? Not where a key stands in it twice: some take the first of them, some the last. Nor in what is no BSON.
[[nodiscard]] bool reads_one_way(std::string_view body);

/// The payload of saslStart, of saslContinue or of an answer to them; none where there is none that can be read.
struct SaslPayload {
  std::string bytes;
  bool text = false;
  std::int64_t conversation = 0;
};
[[nodiscard]] std::optional<SaslPayload> read_sasl_payload(std::string_view body);

/// The answer that every failed login gets, whatever was wrong with it.
[[nodiscard]] std::string login_failed_body();

class ClientLogin {
 public:
  /// `nonce`: random, printable.
  ClientLogin(SaslStart start, crypto::ScramVerifier verifier, std::string nonce);

  /// Answers saslStart; within a hello without `ok`.
  enum class Ok { with, without };
  [[nodiscard]] std::string first(Ok ok);
  /// Answers saslContinue.
  [[nodiscard]] std::string next(std::string_view body);

  enum class State { waiting, done, failed };
  [[nodiscard]] State state() const { return state_; }
  [[nodiscard]] const SaslStart& start() const { return start_; }
  /// What was wrong, for the log.
  [[nodiscard]] const std::string& error() const { return error_; }
  /// After done: what the proof yields.
  [[nodiscard]] const crypto::ScramKeys& keys() const { return scram_.keys(); }

 private:
  [[nodiscard]] std::string fail(std::string error);
  [[nodiscard]] std::string body(std::string_view payload, bool done, Ok ok) const;

  SaslStart start_;
  crypto::ScramServer scram_;
  std::string nonce_, error_;
  bool proved_ = false;  // an empty round is still to come
  State state_ = State::waiting;
};

}  // namespace holdfast::proxy::mongo

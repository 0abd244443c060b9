// Answers a server's requests for authentication: SCRAM-SHA-256 (also from keys, also with channel binding), md5,
// cleartext where the channel is protected. Sans-io. PostgreSQL documentation, "SASL Authentication".
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "crypto/scram.hpp"
#include "proxy/postgres/credentials.hpp"

namespace holdfast::proxy::postgres {

/// What is known of the channel to the server.
struct Channel {
  bool encrypted = false;
  bool local = false;          // loopback or a unix socket
  std::string binding = {};    // tls-server-end-point data; empty without TLS
  bool must_bind = false;      // channel_binding=require: nothing but SCRAM-SHA-256-PLUS will do
};

class ServerAuthentication {
 public:
  ServerAuthentication(const Credentials& credentials, Channel channel)
      : credentials_(credentials), channel_(std::move(channel)) {}

  enum class Next {
    send,    // write `answer`
    wait,    // read on
    done,    // AuthenticationOk came
    ask,     // the server wants a password, and nothing is known to answer with
    failed,  // error() says why: nothing that is known satisfies the server
  };
  /// `body` of an Authentication message.
  Next on_message(std::string_view body, std::string& answer);
  [[nodiscard]] const std::string& error() const { return error_; }
  /// After failed: the SQLSTATE that says it best.
  [[nodiscard]] const char* code() const { return scram_ && scram_->stale() ? "28P01" : "28000"; }
  /// After done: what a later login can be made with instead of the password; empty where the server wanted the
  /// password itself, or nothing at all (then asked() is false).
  [[nodiscard]] Credentials derived() const;
  /// The server wanted to be shown a password in some way.
  [[nodiscard]] bool asked() const { return method_ != Method::none; }

 private:
  enum class Method { none, cleartext, md5, scram };
  Next ask(std::string error) {
    error_ = std::move(error);
    return Next::ask;
  }
  Next fail(std::string error) {
    error_ = std::move(error);
    return Next::failed;
  }
  [[nodiscard]] std::string stored_md5() const;
  Next begin_scram(std::string_view mechanisms, std::string& answer);

  const Credentials& credentials_;
  Channel channel_;
  std::optional<crypto::ScramClient> scram_;
  Method method_ = Method::none;
  bool proven_ = false;  // the server has shown that it knows the password
  std::string error_;
};

}  // namespace holdfast::proxy::postgres

// Logs a connection in to a member: SCRAM with a password or with keys, or by the certificate of its TLS.
#pragma once

#include <memory>
#include <string>

#include "protocol/mongo/hello.hpp"
#include "proxy/mongo/login.hpp"
#include "proxy/task.hpp"
#include "proxy/upstream_types.hpp"

namespace holdfast::proxy::mongo {

class Backend;

struct LoginOutcome {
  Failure failure = Failure::none;
  std::string error, code;  // empty: logged in
};

/// `hello`: what the member said of itself, and of the user's mechanisms. Keeps the keys of a login that succeeds, and drops keys that do not
/// fit any more by the word of one that writes. `backend` and `hello` outlive this.
Task<LoginOutcome> log_in(Backend& backend, std::shared_ptr<Login> login, const holdfast::mongo::MemberHello& hello);

}  // namespace holdfast::proxy::mongo

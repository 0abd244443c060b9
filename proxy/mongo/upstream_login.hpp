// Logs a connection in to a member: SCRAM with a password or with keys, or by the certificate of its TLS.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "proxy/mongo/login.hpp"
#include "proxy/task.hpp"
#include "proxy/upstream_types.hpp"

namespace holdfast::proxy::mongo {

class Backend;

struct LoginOutcome {
  Failure failure = Failure::none;
  std::string error, code;  // empty: logged in
};

/// `mechanisms`: what the member says that the user has; empty: nothing said. Keeps the keys of a login that succeeds, and
/// drops keys that do not fit any more. `backend` outlives this.
Task<LoginOutcome> log_in(Backend& backend, std::shared_ptr<Login> login, std::vector<std::string> mechanisms);

}  // namespace holdfast::proxy::mongo

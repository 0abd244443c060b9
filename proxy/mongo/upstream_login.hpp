// Logs a connection in to a member with the login of the URI: SCRAM-SHA-256.
#pragma once

#include <string>

#include "config/config.hpp"
#include "proxy/task.hpp"
#include "proxy/upstream_types.hpp"

namespace holdfast::proxy::mongo {

class Backend;

struct LoginOutcome {
  Failure failure = Failure::none;
  std::string error, code;  // empty: logged in
};

/// `backend` and `uri` outlive this.
Task<LoginOutcome> log_in(Backend& backend, const config::MongoUri& uri);

}  // namespace holdfast::proxy::mongo

// What a login can be made with.
#pragma once

#include <optional>
#include <string>

#include "config/config.hpp"
#include "crypto/scram.hpp"

namespace holdfast::proxy::postgres {

/// For a login upstream. Never logged.
struct Credentials {
  std::string user;
  config::Secret password;                // empty: none known
  std::optional<crypto::ScramKeys> keys;  // from the client's proof, or kept from an earlier login
  config::Secret md5;                     // crypto::md5_stored, kept from an earlier login; may be empty
};

}  // namespace holdfast::proxy::postgres

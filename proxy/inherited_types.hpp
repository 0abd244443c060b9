// A listening socket that somebody else has bound, and by which `listen` of the configuration it is meant.
#pragma once

#include <map>
#include <string>

#include "config/config.hpp"

namespace holdfast::proxy {

struct InheritedSocket {
  int descriptor = -1;
  config::ListenAddress address;  // as bound
};

/// Of one connection, by the `listen` that each stands for, as ListenAddress::to_string() writes it.
using InheritedSockets = std::map<std::string, InheritedSocket>;

}  // namespace holdfast::proxy

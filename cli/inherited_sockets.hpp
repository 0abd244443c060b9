// Finds the listening sockets that a service manager has handed over (LISTEN_FDS of sd_listen_fds(3)). Accepts on none of them.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "config/config.hpp"
#include "proxy/inherited_types.hpp"

namespace holdfast::cli {

struct Inherited {
  std::map<std::string, proxy::InheritedSockets> connections;  // by id
  std::optional<proxy::InheritedSocket> admin;
};

/// Whose each socket is: of the `listen` with its address; else of the connection whose id is its name in LISTEN_FDNAMES, in
/// place of that one's only `listen`; or of the admin port, whose name is `admin`. Throws std::runtime_error with a sentence
/// where it is nobody's, no listening stream socket, or one that the configuration would not allow there. `first` is the
/// number of the first of them: 3 for systemd.
[[nodiscard]] Inherited inherited_sockets(const std::function<std::optional<std::string>(std::string_view)>& environment,
                                          const config::Config& config, int first = 3);

}  // namespace holdfast::cli

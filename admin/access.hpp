// Who may ask the admin server for anything: Host, Origin, token. Also how a request's target is taken apart.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config/config.hpp"

namespace holdfast::admin {

class Access {
 public:
  Access(const config::ListenAddress& listen, config::Secret token);

  /// Is the Host header (RFC 9110, section 7.2) one of this listener's? A web page whose name was made to point at this
  /// machine is not (DNS rebinding). On addresses that other machines reach a token is demanded, and any Host will do.
  [[nodiscard]] bool host_allowed(std::string_view host) const;
  /// Does a request with this Origin come from a page of this server, reached as `host`?
  [[nodiscard]] static bool origin_allowed(std::string_view origin, std::string_view host);
  /// Is the Authorization header good enough? Takes as long for a wrong token as for the right one.
  [[nodiscard]] bool token_allowed(std::string_view authorization) const;
  void set_token(config::Secret token) { token_ = std::move(token); }

 private:
  bool any_host_;
  std::string own_host_;  // in lower case
  config::Secret token_;
};

/// A request's target: the path in its segments and the query, both decoded.
struct Target {
  std::vector<std::string> path;             // `/` has none
  std::map<std::string, std::string> query;  // of equal names the first
};
/// None where it does not begin with '/' or is badly encoded.
[[nodiscard]] std::optional<Target> parse_target(std::string_view target);

}  // namespace holdfast::admin

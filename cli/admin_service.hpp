// The admin server on a thread of its own, with the running proxy as what it shows and commands.
#pragma once

#include <memory>
#include <optional>

#include "config/config.hpp"
#include "proxy/inherited_types.hpp"

namespace holdfast::cli {

class Runtime;

class AdminService {
 public:
  /// Binds, or takes the socket that is inherited; throws std::runtime_error with a sentence.
  AdminService(Runtime& runtime, const config::Admin& config, std::optional<proxy::InheritedSocket> inherited);
  ~AdminService();
  /// Takes the token and the files of `config` into use for requests and clients from now on.
  void renew(const config::Admin& config);
  void stop();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace holdfast::cli

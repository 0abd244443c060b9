// The admin server on a thread of its own, with the running proxy as what it shows and commands.
#pragma once

#include <memory>

#include "config/config.hpp"

namespace holdfast::cli {

class Runtime;

class AdminService {
 public:
  /// Binds; throws std::runtime_error with a sentence.
  AdminService(Runtime& runtime, const config::Admin& config);
  ~AdminService();
  void stop();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace holdfast::cli

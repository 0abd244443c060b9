// Accepts clients on a TCP address or a unix socket and hands each on; knows no protocol.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "config/config.hpp"
#include "proxy/inherited_types.hpp"
#include "proxy/stream.hpp"

namespace holdfast::proxy {

class Listener {
 public:
  enum class Origin { local, remote };
  /// Called for each client on the listener's worker; the socket belongs to the executor that `next_executor` named.
  using Accepted = std::function<void(Socket, Origin)>;
  using NextExecutor = std::function<Executor()>;

  /// Binds and listens, unless one of `inherited` does already for this address. Throws std::runtime_error with a sentence
  /// that names the address.
  Listener(const Executor& executor, config::ListenAddress address, NextExecutor next_executor, Accepted accepted,
           const InheritedSockets& inherited = {});
  ~Listener();
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  void start();
  void close();
  /// As bound: with the port that the kernel chose where 0 was asked for.
  [[nodiscard]] const config::ListenAddress& address() const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace holdfast::proxy

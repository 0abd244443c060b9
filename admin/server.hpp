// The admin HTTP server: its listener, its thread, its limits. What it answers comes from a Source.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include "admin/source.hpp"
#include "config/config.hpp"
#include "proxy/inherited_types.hpp"

namespace holdfast::admin {

struct Limits {
  std::size_t header_length_max = 8 * 1024;  // bytes; more is answered with 431
  std::size_t body_length_max = 64 * 1024;   // bytes; more is answered with 413
  std::chrono::milliseconds request_timeout{10'000};  // from a request's first byte to its last, and for its answer
  std::chrono::milliseconds idle_timeout{60'000};     // between requests
  std::size_t clients_max = 256;  // one more ends the one that has been connected for longest
  std::chrono::milliseconds heartbeat_interval{15'000};       // of an event stream where nothing happens
  std::chrono::milliseconds listener_stall_timeout{300'000};  // how long a listener may take nothing
};

/// HTTP/1.1 on a thread of its own.
class Server {
 public:
  /// Listens and begins to serve. `source` outlives this. Throws std::runtime_error with a sentence where `config.listen`
  /// (which must be there) cannot be listened on, or must not be: without a token only where no other machine gets. The
  /// socket that is inherited takes its place.
  Server(const config::Admin& config, Source& source, Limits limits = {}, std::optional<proxy::InheritedSocket> inherited = {});
  /// Ends all clients; waits for what `source` has been asked and not answered.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  /// Takes the token of `config` and what stands in its TLS files into use, for requests and clients from now on. What
  /// cannot be used is logged, and the certificate in force stays. From any thread.
  void renew(const config::Admin& config);

  /// As bound: with the port that the kernel chose.
  [[nodiscard]] const config::ListenAddress& address() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace holdfast::admin

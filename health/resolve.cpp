// Name look-ups by the system's resolver on Asio's own thread for it.
#include "health/resolve.hpp"

#include <memory>

namespace holdfast::health {
namespace {

using Tcp = asio::ip::tcp;
using Resolver = asio::ip::basic_resolver<Tcp, Executor>;

/// Shared with the look-up's handler, which may come long after nobody waits for it any more.
struct Lookup {
  explicit Lookup(const Executor& executor)
      : resolver(executor), answered(executor, proxy::SteadyTime::max()) {}
  Resolver resolver;
  SteadyTimer answered;
  bool finished = false;
  boost::system::error_code error;
  Resolver::results_type results;
};

Address address_of(const Tcp::endpoint& endpoint) { return {endpoint, endpoint.address().to_string()}; }

}  // namespace

Task<Resolved> resolve(Operation& operation, config::HostPort endpoint) {
  const auto port = std::to_string(endpoint.port);
  Resolved resolved;
  if (endpoint.host.starts_with('/')) {
    const auto path = endpoint.host + "/.s.PGSQL." + port;
    if (path.size() >= sizeof(sockaddr_un::sun_path)) {
      resolved.error = "the path of the unix socket is too long: " + path;
    } else {
      resolved.addresses.push_back({asio::local::stream_protocol::endpoint(path), endpoint.host});
    }
    co_return resolved;
  }
  boost::system::error_code not_literal;
  if (const auto literal = asio::ip::make_address(endpoint.host, not_literal); !not_literal) {
    resolved.addresses.push_back(address_of(Tcp::endpoint(literal, endpoint.port)));
    co_return resolved;
  }

  const Executor executor = co_await asio::this_coro::executor;
  auto lookup = std::make_shared<Lookup>(executor);
  lookup->resolver.async_resolve(endpoint.host, port,
                                 [lookup](const boost::system::error_code& error, Resolver::results_type results) {
                                   lookup->finished = true;
                                   lookup->error = error;
                                   lookup->results = std::move(results);
                                   lookup->answered.cancel();
                                 });
  {
    Operation::Wait wait(operation, [lookup] { lookup->answered.cancel(); });
    if (!operation.ended()) {
      const auto [woken] = co_await lookup->answered.async_wait(asio::as_tuple(use_task));
      static_cast<void>(woken);  // always operation_aborted: that is how the answer arrives
    }
  }
  if (!lookup->finished) {
    resolved.error = std::string(operation.reason()) + " looking up " + endpoint.host;
  } else if (lookup->error) {
    resolved.error = "cannot look up " + endpoint.host + ": " + lookup->error.message();
  } else {
    for (const auto& result : lookup->results) resolved.addresses.push_back(address_of(result.endpoint()));
    if (resolved.addresses.empty()) resolved.error = "no address for " + endpoint.host;
  }
  co_return resolved;
}

}  // namespace holdfast::health

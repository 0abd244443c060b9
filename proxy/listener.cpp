// The accept loop.
#include "proxy/listener.hpp"

#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <stdexcept>

#include "proxy/waiting.hpp"
#include "proxy/spawn.hpp"

namespace holdfast::proxy {

using Acceptor = asio::basic_socket_acceptor<asio::generic::stream_protocol, Executor>;

struct Listener::Impl : std::enable_shared_from_this<Listener::Impl> {
  Impl(const Executor& executor, config::ListenAddress where, NextExecutor next, Accepted on_accepted)
      : acceptor(executor), address(std::move(where)), next_executor(std::move(next)), accepted(std::move(on_accepted)) {}

  Acceptor acceptor;
  config::ListenAddress address;
  NextExecutor next_executor;
  Accepted accepted;
  bool is_inherited = false;  // then the path is not ours to remove

  void open();
  void inherit(const InheritedSocket& socket);
  void open_unix();
  void open_tcp();
  Task<> run();
};

void Listener::Impl::open_tcp() {
  ErrorCode error;
  const auto ip = asio::ip::make_address(address.host == "localhost" ? "127.0.0.1" : address.host == "*" ? "0.0.0.0" : address.host, error);
  if (error) throw std::runtime_error("cannot listen on " + address.to_string() + ": not an address of this machine");
  const asio::ip::tcp::endpoint endpoint(ip, address.port);
  acceptor.open(asio::generic::stream_protocol(endpoint.protocol().family(), endpoint.protocol().protocol()), error);
  if (!error) acceptor.set_option(asio::socket_base::reuse_address(true), error);
  if (!error) acceptor.bind(endpoint, error);
  if (!error) acceptor.listen(4096, error);
  if (error) throw std::runtime_error("cannot listen on " + address.to_string() + ": " + error.message());
  asio::ip::tcp::endpoint bound;
  const auto local = acceptor.local_endpoint(error);
  std::memcpy(bound.data(), local.data(), local.size());
  address.port = bound.port();
}

void Listener::Impl::open_unix() {
  // A socket left by a process that was killed is removed; one that answers is in use.
  struct stat status {};
  if (::lstat(address.unix_path.c_str(), &status) == 0 && S_ISSOCK(status.st_mode)) {
    asio::io_context context;
    asio::local::stream_protocol::socket attempt(context);
    ErrorCode refused;
    attempt.connect(asio::local::stream_protocol::endpoint(address.unix_path), refused);
    if (!refused) throw std::runtime_error("cannot listen on " + address.to_string() + ": the socket is in use");
    ::unlink(address.unix_path.c_str());
  }
  ErrorCode error;
  const asio::local::stream_protocol::endpoint endpoint(address.unix_path);
  acceptor.open(asio::generic::stream_protocol(AF_UNIX, 0), error);
  if (!error) acceptor.bind(endpoint, error);
  if (!error) acceptor.listen(4096, error);
  if (error) throw std::runtime_error("cannot listen on " + address.to_string() + ": " + error.message());
}

void Listener::Impl::inherit(const InheritedSocket& socket) {
  const int family = socket.address.is_unix() ? AF_UNIX : socket.address.host.find(':') == std::string::npos ? AF_INET : AF_INET6;
  ErrorCode error;
  acceptor.assign(asio::generic::stream_protocol(family, socket.address.is_unix() ? 0 : IPPROTO_TCP), socket.descriptor, error);
  if (error) throw std::runtime_error("cannot listen on " + socket.address.to_string() + ": " + error.message());
  address = socket.address;
  is_inherited = true;
}

void Listener::Impl::open() { address.is_unix() ? open_unix() : open_tcp(); }

Task<> Listener::Impl::run() {
  for (;;) {
    const auto executor = next_executor();
    const auto [error, socket] = co_await acceptor.async_accept(executor, asio::as_tuple(use_task));
    if (!acceptor.is_open()) co_return;
    if (error) {
      // Out of descriptors, most likely: clients wait in the kernel's queue for a moment.
      spdlog::warn("cannot accept on {}: {}", address.to_string(), error.message());
      SteadyTimer pause(acceptor.get_executor(), std::chrono::milliseconds(100));
      const auto [ended] = co_await pause.async_wait(asio::as_tuple(use_task));
      static_cast<void>(ended);
      continue;
    }
    auto& client = const_cast<std::remove_const_t<std::remove_reference_t<decltype(socket)>>&>(socket);
    auto origin = Origin::local;
    if (!address.is_unix()) {
      ErrorCode ignored;
      asio::ip::tcp::endpoint peer;
      const auto remote = client.remote_endpoint(ignored);
      if (!ignored && remote.size() <= peer.capacity()) std::memcpy(peer.data(), remote.data(), remote.size());
      auto from = peer.address();
      if (from.is_v6() && from.to_v6().is_v4_mapped()) {
        from = asio::ip::make_address_v4(asio::ip::v4_mapped, from.to_v6());
      }
      origin = from.is_loopback() ? Origin::local : Origin::remote;
    }
    accepted(std::move(client), origin);
  }
}

Listener::Listener(const Executor& executor, config::ListenAddress address, NextExecutor next_executor,
                   Accepted accepted, const InheritedSockets& inherited)
    : impl_(std::make_shared<Impl>(executor, std::move(address), std::move(next_executor), std::move(accepted))) {
  const auto found = inherited.find(impl_->address.to_string());
  found == inherited.end() ? impl_->open() : impl_->inherit(found->second);
}

Listener::~Listener() { close(); }

void Listener::start() { spawn_named(impl_->acceptor.get_executor(), impl_->run(), "listener", impl_); }

void Listener::close() {
  if (!impl_->acceptor.is_open()) return;
  ErrorCode ignored;
  impl_->acceptor.close(ignored);
  if (impl_->address.is_unix() && !impl_->is_inherited) ::unlink(impl_->address.unix_path.c_str());
}

const config::ListenAddress& Listener::address() const { return impl_->address; }

}  // namespace holdfast::proxy

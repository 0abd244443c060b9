// The accept loop and the thread of the admin server.
#include "admin/server.hpp"

#include <pthread.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <list>
#include <stdexcept>
#include <string>
#include <thread>

#include "admin/api.hpp"
#include "admin/server_session.hpp"

namespace holdfast::admin {
namespace {

using Acceptor = asio::basic_socket_acceptor<asio::generic::stream_protocol, Executor>;
using SteadyTimer = asio::basic_waitable_timer<std::chrono::steady_clock, asio::wait_traits<std::chrono::steady_clock>,
                                               Executor>;
using ErrorCode = boost::system::error_code;

[[noreturn]] void fail(const config::ListenAddress& listen, const std::string& reason) {
  throw std::runtime_error("admin: cannot listen on " + listen.to_string() + ": " + reason);
}

std::string reason_of(const ErrorCode& error) {
  return error == asio::error::address_in_use ? "address in use" : error.message();
}

void open_tcp(Acceptor& acceptor, config::ListenAddress& listen) {
  ErrorCode error;
  const auto ip = asio::ip::make_address(
      listen.host == "localhost" ? "127.0.0.1" : listen.host == "*" ? "0.0.0.0" : listen.host, error);
  if (error) fail(listen, "not an address of this machine");
  asio::ip::tcp::endpoint endpoint(ip, listen.port);
  acceptor.open({endpoint.protocol().family(), endpoint.protocol().protocol()}, error);
  if (!error) acceptor.set_option(asio::socket_base::reuse_address(true), error);
  if (!error) acceptor.bind(endpoint, error);
  if (!error) acceptor.listen(asio::socket_base::max_listen_connections, error);
  if (error) fail(listen, reason_of(error));
  const auto bound = acceptor.local_endpoint(error);
  std::memcpy(endpoint.data(), bound.data(), bound.size());
  listen.port = endpoint.port();
}

void open_unix(Acceptor& acceptor, const config::ListenAddress& listen) {
  const asio::local::stream_protocol::endpoint endpoint(listen.unix_path);
  struct stat status {};
  if (::lstat(listen.unix_path.c_str(), &status) == 0 && S_ISSOCK(status.st_mode)) {
    // What a killed process left is removed; a socket that answers is somebody's.
    asio::io_context context;
    asio::local::stream_protocol::socket trial(context);
    ErrorCode silent;
    trial.connect(endpoint, silent);
    if (!silent) fail(listen, "address in use");
    ::unlink(listen.unix_path.c_str());
  }
  ErrorCode error;
  acceptor.open({AF_UNIX, 0}, error);
  if (!error) acceptor.bind(endpoint, error);
  if (!error) acceptor.listen(asio::socket_base::max_listen_connections, error);
  if (error) fail(listen, reason_of(error));
}

void inherit(Acceptor& acceptor, const proxy::InheritedSocket& socket) {
  const auto& address = socket.address;
  const int family = address.is_unix() ? AF_UNIX : address.host.find(':') == std::string::npos ? AF_INET : AF_INET6;
  ErrorCode error;
  acceptor.assign({family, address.is_unix() ? 0 : IPPROTO_TCP}, socket.descriptor, error);
  if (error) fail(address, error.message());
}

/// None where the configuration has no TLS. Throws where a file cannot be used.
std::shared_ptr<asio::ssl::context> make_tls(const config::Admin& config) {
  if (!config.tls) return nullptr;
  using asio::ssl::context;
  auto made = std::make_shared<context>(context::tls_server);
  ErrorCode error;
  const auto check = [&](const std::string& key, const std::string& file) {
    if (error) throw std::runtime_error("admin: " + key + " " + file + ": " + error.message());
  };
  made->set_options(context::default_workarounds | context::no_sslv2 | context::no_sslv3 | context::no_tlsv1 |
                        context::no_tlsv1_1 | context::single_dh_use,
                    error);
  made->use_certificate_chain_file(config.tls->cert_file, error);
  check("cert_file", config.tls->cert_file);
  made->use_private_key_file(config.tls->key_file, context::pem, error);
  check("key_file", config.tls->key_file);
  if (config.tls->client_ca_file.empty()) return made;
  made->load_verify_file(config.tls->client_ca_file, error);
  check("client_ca_file", config.tls->client_ca_file);
  made->set_verify_mode(asio::ssl::verify_peer | asio::ssl::verify_fail_if_no_peer_cert, error);
  return made;
}

}  // namespace

struct Server::Impl {
  Impl(const config::Admin& config, Source& source, Limits with, const std::optional<proxy::InheritedSocket>& inherited);

  Task<> accept();
  void serve(ServerSession::Socket socket);
  void make_room();
  void wake_listeners();
  void stop();

  const Limits limits;
  const bool is_inherited;  // then the path is not ours to remove
  config::ListenAddress listen;
  asio::io_context context{1};
  EventFeed& feed;
  Api api;
  std::shared_ptr<asio::ssl::context> tls;
  Acceptor acceptor;
  SteadyTimer pause;
  std::list<std::shared_ptr<ServerSession>> sessions;  // the oldest first
  std::thread thread;
};

Server::Impl::Impl(const config::Admin& config, Source& source, Limits with,
                   const std::optional<proxy::InheritedSocket>& inherited)
    : limits(with), is_inherited(inherited.has_value()), listen(inherited ? inherited->address : config.listen.value()), feed(source.events()), api(source, Access(listen, config.token)),
      tls(make_tls(config)), acceptor(context.get_executor()), pause(context.get_executor()) {
  if (!listen.is_local() && config.token.empty()) fail(listen, "other machines can reach it, so token_file is needed");
  if (inherited) {
    inherit(acceptor, *inherited);
  } else {
    listen.is_unix() ? open_unix(acceptor, listen) : open_tcp(acceptor, listen);
  }
}

Task<> Server::Impl::accept() {
  while (acceptor.is_open()) {
    auto [error, socket] = co_await acceptor.async_accept(asio::as_tuple(use_task));
    if (!acceptor.is_open()) co_return;
    if (!error) {
      serve(std::move(socket));
      continue;
    }
    // Out of descriptors, most likely: clients wait in the kernel's queue for a moment.
    spdlog::warn("admin: cannot accept: {}", error.message());
    pause.expires_after(std::chrono::milliseconds(100));
    const auto [woken] = co_await pause.async_wait(asio::as_tuple(use_task));
    static_cast<void>(woken);
  }
}

void Server::Impl::serve(ServerSession::Socket socket) {
  if (sessions.size() >= limits.clients_max) make_room();
  auto session = std::make_shared<ServerSession>(std::move(socket), tls, api, feed, limits);
  const auto place = sessions.insert(sessions.end(), session);
  asio::co_spawn(context, session->run(), [this, session, place](const std::exception_ptr& thrown) {
    sessions.erase(place);
    if (!thrown) return;
    try {
      std::rethrow_exception(thrown);
    } catch (const std::exception& error) {
      spdlog::error("admin: a client was dropped: {}", error.what());
    }
  });
}

/// The client that has been there for longest without being worked for gives way to the new one: slow clients cannot
/// keep others out. Listeners go last: they have a use, and can resume.
void Server::Impl::make_room() {
  for (const bool listeners : {false, true}) {
    for (const auto& session : sessions) {
      if (session->busy() || session->stopping() || session->listening() != listeners) continue;
      session->stop();
      return;
    }
  }
}

void Server::Impl::wake_listeners() {
  feed.awake();
  for (const auto& session : sessions) session->wake();
}

void Server::Impl::stop() {
  ErrorCode ignored;
  acceptor.close(ignored);
  pause.cancel();
  for (const auto& session : sessions) session->stop();
}

Server::Server(const config::Admin& config, Source& source, Limits limits, std::optional<proxy::InheritedSocket> inherited)
    : impl_(std::make_unique<Impl>(config, source, limits, inherited)) {
  asio::co_spawn(impl_->context, impl_->accept(), [](const std::exception_ptr& thrown) {
    if (!thrown) return;
    try {
      std::rethrow_exception(thrown);
    } catch (const std::exception& error) {
      spdlog::error("admin: stopped accepting: {}", error.what());
    }
  });
  impl_->feed.on_wake([impl = impl_.get()] { asio::post(impl->context, [impl] { impl->wake_listeners(); }); });
  impl_->thread = std::thread([this] { impl_->context.run(); });
  ::pthread_setname_np(impl_->thread.native_handle(), "admin");
}

Server::~Server() {
  impl_->feed.on_wake({});
  asio::post(impl_->context, [this] { impl_->stop(); });
  impl_->thread.join();
  if (impl_->listen.is_unix() && !impl_->is_inherited) ::unlink(impl_->listen.unix_path.c_str());
}

void Server::renew(const config::Admin& config) {
  std::shared_ptr<asio::ssl::context> tls;
  try {
    tls = make_tls(config);
  } catch (const std::runtime_error& error) {
    spdlog::error("{}: the certificate in force stays", error.what());
  }
  asio::post(impl_->context, [impl = impl_.get(), tls = std::move(tls), token = config.token] {
    impl->api.set_token(token);
    if (tls) impl->tls = tls;
  });
}

const config::ListenAddress& Server::address() const { return impl_->listen; }

}  // namespace holdfast::admin

// Sockets: connecting, tuning, writing, TLS handshakes.
#include "proxy/stream.hpp"

#include <openssl/ssl.h>

#include <netinet/tcp.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "proxy/waiting.hpp"
#include "proxy/tls.hpp"

namespace holdfast::proxy {

namespace {

/// Bytes that each pending read in clear has for what comes first: most statements and commands, and their answers.
constexpr std::size_t lingering_size = 512;

}  // namespace

using Tcp = asio::ip::tcp;
using Resolver = asio::ip::basic_resolver<Tcp, Executor>;

Stream::Stream(Socket socket) : socket_(std::move(socket)) {
  ErrorCode ignored;
  socket_.non_blocking(true, ignored);
}
Stream::~Stream() = default;
Stream::Stream(Stream&&) noexcept = default;
Stream& Stream::operator=(Stream&&) noexcept = default;

Task<std::pair<ErrorCode, std::size_t>> Stream::read(ReadBuffer& buffer, std::size_t want) {
  if (tls_) {
    const auto space = buffer.lingering_space(want);
    const auto [error, size] =
        co_await tls_->async_read_some(asio::buffer(space.data(), space.size()), asio::as_tuple(use_task));
    if (!error) buffer.commit(size);
    co_return std::pair{error, size};
  }
  buffer.rest();
  // Waiting for readiness would cost an epoll_ctl each time (Asio registers its wait anew). A read of what fits into a few bytes
  // of the frame costs nothing, and after a short one Asio knows that there is no more and does not try again in vain.
  std::array<char, lingering_size> first;
  const auto [failed, got] = co_await socket_.async_read_some(asio::buffer(first), asio::as_tuple(use_task));
  if (failed) co_return std::pair{failed, std::size_t{0}};
  const auto space = buffer.space(std::max(want, buffer.data().size() + got));
  std::memcpy(space.data(), first.data(), got);
  buffer.commit(got);
  if (got < first.size() || space.size() == got) co_return std::pair{failed, got};
  // Nothing more, or the end of the stream, is for the next read to find.
  ErrorCode ignored;
  const auto more = socket_.read_some(asio::buffer(space.data() + got, space.size() - got), ignored);
  if (!ignored) buffer.commit(more);
  co_return std::pair{failed, got + (ignored ? 0 : more)};
}

std::size_t Stream::write_now(const Parts& parts, ErrorCode& error) {
  if (tls_) return 0;  // an encrypted record is written by the asynchronous path
  std::size_t done = 0;
  const std::array<asio::const_buffer, 2> buffers{asio::buffer(parts[0].data(), parts[0].size()),
                                                  asio::buffer(parts[1].data(), parts[1].size())};
  if (parts[1].empty()) {
    done = socket_.write_some(buffers[0], error);
  } else if (parts[0].empty()) {
    done = socket_.write_some(buffers[1], error);
  } else {
    done = socket_.write_some(buffers, error);
  }
  if (error == asio::error::would_block || error == asio::error::try_again) error = {};
  return done;
}

Task<std::pair<std::size_t, ErrorCode>> Stream::write(std::string_view data, std::size_t done) {
  ErrorCode error;
  if (tls_) {
    const auto rest = data.substr(done);
    const auto [failed, size] =
        co_await asio::async_write(*tls_, asio::buffer(rest.data(), rest.size()), asio::as_tuple(use_task));
    co_return std::pair{done + size, failed};
  }
  while (done < data.size()) {
    done += socket_.write_some(asio::buffer(data.data() + done, data.size() - done), error);
    if (error == asio::error::would_block || error == asio::error::try_again) {
      const auto [failed] = co_await socket_.async_wait(Socket::wait_write, asio::as_tuple(use_task));
      error = failed;
    }
    if (error) break;
  }
  co_return std::pair{done, error};
}

Task<ErrorCode> Stream::start_tls_client(asio::ssl::context& context, std::string server_name, HostCheck check) {
  tls_ = std::make_unique<TlsStream>(std::move(socket_), context);
  if (check == HostCheck::on) expect_host(*tls_, server_name);
  boost::system::error_code not_an_address;
  asio::ip::make_address(server_name, not_an_address);
  if (not_an_address) SSL_set_tlsext_host_name(tls_->native_handle(), server_name.c_str());
  const auto [error] = co_await tls_->async_handshake(asio::ssl::stream_base::client, asio::as_tuple(use_task));
  co_return error;
}

Task<ErrorCode> Stream::start_tls_server(asio::ssl::context& context, std::string_view received) {
  tls_ = std::make_unique<TlsStream>(std::move(socket_), context);
  const auto [error, used] = co_await tls_->async_handshake(
      asio::ssl::stream_base::server, asio::buffer(received.data(), received.size()), asio::as_tuple(use_task));
  static_cast<void>(used);
  co_return error;
}

void Stream::shutdown_send() {
  ErrorCode ignored;
  if (tls_) {
    // The close_notify goes out if the socket takes it now; nobody waits for the answer.
    SSL_set_quiet_shutdown(tls_->native_handle(), 0);
  }
  socket().shutdown(Socket::shutdown_send, ignored);
}

void Stream::close() {
  ErrorCode ignored;
  socket().close(ignored);
}

void tune(Socket& socket, milliseconds keep_alive_interval) {
  ErrorCode error;
  const auto family = socket.local_endpoint(error).protocol().family();
  if (error || (family != AF_INET && family != AF_INET6)) return;
  const int handle = socket.native_handle();
  const auto set = [handle](int level, int option, int value) { ::setsockopt(handle, level, option, &value, sizeof value); };
  const auto seconds = std::max(1, static_cast<int>(keep_alive_interval.count() / 1000));
  constexpr int probes = 3;
  set(IPPROTO_TCP, TCP_NODELAY, 1);
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  set(IPPROTO_TCP, TCP_KEEPIDLE, seconds);
  set(IPPROTO_TCP, TCP_KEEPINTVL, std::max(1, seconds / probes));
  set(IPPROTO_TCP, TCP_KEEPCNT, probes);
  // Bytes that stay unacknowledged for as long as a keepalive would take mean the same: the peer is gone.
  set(IPPROTO_TCP, TCP_USER_TIMEOUT, seconds * 1000 * 2);
}

bool is_ours(const ErrorCode& error) {
  namespace errc = boost::system::errc;
  return error == errc::too_many_files_open || error == errc::too_many_files_open_in_system || error == errc::no_buffer_space ||
         error == errc::not_enough_memory || error == errc::address_not_available;
}

namespace {

Task<Connected> connect_unix(config::HostPort endpoint) {
  const auto path = endpoint.host + "/.s.PGSQL." + std::to_string(endpoint.port);
  const auto executor = co_await asio::this_coro::executor;
  Socket socket(executor);
  const auto [error] =
      co_await socket.async_connect(asio::local::stream_protocol::endpoint(path), asio::as_tuple(use_task));
  const bool refused = error == asio::error::connection_refused || error == boost::system::errc::no_such_file_or_directory;
  if (error) co_return Connected{nullptr, error.message() + " (" + path + ")", refused, is_ours(error)};
  co_return Connected{std::make_unique<Stream>(std::move(socket)), {}, false, false};
}

}  // namespace

Task<Connected> connect(config::HostPort endpoint, milliseconds keep_alive_interval, SteadyTime deadline) {
  const auto executor = co_await asio::this_coro::executor;
  if (endpoint.host.starts_with('/')) co_return co_await connect_unix(std::move(endpoint));
  const auto name = endpoint.to_string();
  Tcp::endpoint address;
  ErrorCode error;
  std::vector<Tcp::endpoint> addresses;
  if (const auto literal = asio::ip::make_address(endpoint.host, error); !error) {
    addresses.emplace_back(literal, endpoint.port);
  } else {
    Resolver resolver(executor);
    Deadline limit(executor, deadline, [&resolver] { resolver.cancel(); });
    const auto [failed, results] = co_await resolver.async_resolve(endpoint.host, std::to_string(endpoint.port),
                                                                   Resolver::flags(), asio::as_tuple(use_task));
    if (limit.expired()) co_return Connected{nullptr, "timed out looking up " + endpoint.host, false, false};
    if (failed) co_return Connected{nullptr, failed.message() + " (" + endpoint.host + ")", false, is_ours(failed)};
    for (const auto& result : results) addresses.push_back(result.endpoint());
  }
  std::string last = "no address for " + endpoint.host;
  bool refused = !addresses.empty(), ours = refused;
  for (const auto& candidate : addresses) {
    Socket socket(executor);
    Deadline limit(executor, deadline, [&socket] {
      ErrorCode ignored;
      socket.close(ignored);
    });
    const auto [failed] = co_await socket.async_connect(candidate, asio::as_tuple(use_task));
    if (limit.expired()) co_return Connected{nullptr, "timed out connecting to " + name, false, false};
    if (!failed) {
      tune(socket, keep_alive_interval);
      co_return Connected{std::make_unique<Stream>(std::move(socket)), {}, false, false};
    }
    ours = ours && is_ours(failed);
    refused = refused && failed == asio::error::connection_refused;
    last = failed.message() + " (" + name + ")";
  }
  co_return Connected{nullptr, last, refused, ours};
}

}  // namespace holdfast::proxy

// A byte stream to a client or a server: TCP or a unix socket, with TLS on top or without.
#pragma once

#include <boost/asio/ssl.hpp>

#include <array>
#include <memory>
#include <string_view>
#include <utility>

#include "config/config.hpp"
#include "protocol/read_buffer.hpp"
#include "proxy/task.hpp"
#include "proxy/upstream_types.hpp"

namespace holdfast::proxy {

using Socket = asio::basic_stream_socket<asio::generic::stream_protocol, Executor>;
using TlsStream = asio::ssl::stream<Socket>;
using ErrorCode = boost::system::error_code;

class Stream {
 public:
  explicit Stream(Socket socket);
  ~Stream();
  Stream(Stream&&) noexcept;
  Stream& operator=(Stream&&) noexcept;

  [[nodiscard]] Socket& socket() { return tls_ ? tls_->next_layer() : socket_; }
  [[nodiscard]] bool is_open() { return socket().is_open(); }
  [[nodiscard]] bool is_tls() const { return tls_ != nullptr; }
  [[nodiscard]] TlsStream* tls() { return tls_.get(); }

  /// Reads what is there, at least one byte. One read at a time.
  template <class Token>
  auto async_read_some(asio::mutable_buffer buffer, Token&& token) {
    return asio::async_initiate<Token, void(ErrorCode, std::size_t)>(
        [this](auto handler, asio::mutable_buffer into) {
          if (tls_) {
            tls_->async_read_some(into, std::move(handler));
          } else {
            socket_.async_read_some(into, std::move(handler));
          }
        },
        token, buffer);
  }

  /// Reads what is there into `buffer`, at least one byte, with room for `want` bytes in all. One read at a time. In clear
  /// the buffer needs no memory while nothing comes.
  Task<std::pair<ErrorCode, std::size_t>> read(ReadBuffer& buffer, std::size_t want);

  using Parts = std::array<std::string_view, 2>;
  /// Writes as much of both parts as goes without waiting. Returns the bytes written; would_block is no error.
  std::size_t write_now(const Parts& parts, ErrorCode& error);
  /// Writes all of `data` but the first `done` bytes. One write at a time. Returns the bytes written, those included, and the error that
  /// stopped it.
  Task<std::pair<std::size_t, ErrorCode>> write(std::string_view data, std::size_t done = 0);

  /// Continues the stream under TLS; `server_name` is sent (SNI) and, with `check`, looked for in the certificate.
  enum class HostCheck { off, on };
  Task<ErrorCode> start_tls_client(asio::ssl::context& context, std::string server_name, HostCheck check);
  /// `received`: bytes of the handshake that were read before it was known for one.
  Task<ErrorCode> start_tls_server(asio::ssl::context& context, std::string_view received = {});

  /// Says to the peer that nothing more comes, without waiting.
  void shutdown_send();
  void close();

 private:
  Socket socket_;
  std::unique_ptr<TlsStream> tls_;
};

/// Keepalive, TCP_NODELAY and TCP_USER_TIMEOUT on a TCP socket; nothing on a unix socket.
void tune(Socket& socket, milliseconds keep_alive_interval);

struct Connected {
  std::unique_ptr<Stream> stream;  // none on failure
  std::string error;               // the system's words, with the address
  bool refused = false;            // the host answered: nobody listens there
  bool ours = false;               // nobody was asked: this host has no descriptor, memory or port left. It says nothing of the other one
};
/// Is it this host that lacks something, whoever was to be connected to?
[[nodiscard]] bool is_ours(const ErrorCode& error);
/// Connects to a host (DNS looked up anew, every address tried) or, for a host that begins with '/', to the unix
/// socket that PostgreSQL has in that folder. Ends at `deadline`.
Task<Connected> connect(config::HostPort endpoint, milliseconds keep_alive_interval, SteadyTime deadline);

}  // namespace holdfast::proxy

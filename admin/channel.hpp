// One client's connection to the admin port, plain or TLS, as Beast wants its streams. Knows no HTTP. Not for other folders.
#pragma once

#include <boost/asio/ssl.hpp>

#include <memory>
#include <optional>
#include <utility>

#include "admin/http.hpp"

namespace holdfast::admin {

/// Used on the admin thread only. Its time-outs are those of the plain stream: one that passes closes the connection.
class Channel {
 public:
  using Plain = beast::basic_stream<asio::generic::stream_protocol, Executor>;
  using Socket = Plain::socket_type;
  using executor_type = Plain::executor_type;

  /// Plain where there is no context.
  Channel(Socket socket, std::shared_ptr<asio::ssl::context> tls) : plain_(std::move(socket)), context_(std::move(tls)) {
    if (context_) tls_.emplace(plain_, *context_);
  }
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;

  [[nodiscard]] executor_type get_executor() { return plain_.get_executor(); }
  [[nodiscard]] Socket& socket() { return plain_.socket(); }
  void expires_after(std::chrono::nanoseconds limit) { plain_.expires_after(limit); }
  void close() { plain_.close(); }

  /// Before anything is read.
  Task<beast::error_code> handshake() {
    if (!tls_) co_return beast::error_code{};
    const auto [error] = co_await tls_->async_handshake(asio::ssl::stream_base::server, asio::as_tuple(use_task));
    co_return error;
  }
  /// Says that nothing more will be sent. What is under way must have ended.
  Task<> finish() {
    if (tls_) co_await tls_->async_shutdown(asio::as_tuple(use_task));
    beast::error_code ignored;
    plain_.socket().shutdown(asio::socket_base::shutdown_send, ignored);
  }

  template <class Buffers, class Token>
  auto async_read_some(const Buffers& buffers, Token&& token) {
    return asio::async_initiate<Token, void(beast::error_code, std::size_t)>(
        [this](auto handler, const Buffers& into) {
          tls_ ? tls_->async_read_some(into, std::move(handler)) : plain_.async_read_some(into, std::move(handler));
        },
        token, buffers);
  }
  template <class Buffers, class Token>
  auto async_write_some(const Buffers& buffers, Token&& token) {
    return asio::async_initiate<Token, void(beast::error_code, std::size_t)>(
        [this](auto handler, const Buffers& from) {
          tls_ ? tls_->async_write_some(from, std::move(handler)) : plain_.async_write_some(from, std::move(handler));
        },
        token, buffers);
  }

 private:
  Plain plain_;
  std::shared_ptr<asio::ssl::context> context_;
  std::optional<asio::ssl::stream<Plain&>> tls_;
};

}  // namespace holdfast::admin

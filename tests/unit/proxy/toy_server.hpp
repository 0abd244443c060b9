// The server of the tests' own protocol of lines, as small as one can be; nothing of it is in the product.
//
// A client says `name X` (state of its session), `whoami`, `put X` (a write); a server welcomes with its role who says hello.
#pragma once

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "proxy/spawn.hpp"
#include "proxy/upstream_types.hpp"
#include "proxy/waiting.hpp"

namespace holdfast::proxy::toy {

using namespace std::chrono_literals;
using TcpSocket = asio::basic_stream_socket<asio::ip::tcp, Executor>;
using TcpAcceptor = asio::basic_socket_acceptor<asio::ip::tcp, Executor>;

inline SteadyTime now() { return std::chrono::steady_clock::now(); }

/// Lines over a socket.
class LineSocket {
 public:
  explicit LineSocket(const Executor& executor) : socket(executor) {}

  Task<bool> open(config::HostPort address) {
    const asio::ip::tcp::endpoint to(asio::ip::make_address(address.host), address.port);
    const auto [error] = co_await socket.async_connect(to, asio::as_tuple(use_task));
    co_return !error;
  }
  Task<bool> write(std::string line) {
    line += '\n';
    const auto [error, size] = co_await asio::async_write(socket, asio::buffer(line), asio::as_tuple(use_task));
    static_cast<void>(size);
    co_return !error;
  }
  Task<std::optional<std::string>> read() {
    const auto [error, size] =
        co_await asio::async_read_until(socket, asio::dynamic_buffer(buffer_), '\n', asio::as_tuple(use_task));
    if (error) co_return std::nullopt;
    auto line = buffer_.substr(0, size - 1);
    buffer_.erase(0, size);
    co_return line;
  }
  /// The other side is there, as far as is known without asking.
  [[nodiscard]] bool alive() {
    boost::system::error_code error;
    char byte = 0;
    socket.non_blocking(true, error);
    const auto size = socket.receive(asio::buffer(&byte, 1), TcpSocket::message_peek, error);
    return size > 0 || error == asio::error::would_block;
  }
  void close() {
    boost::system::error_code ignored;
    socket.close(ignored);
  }

  TcpSocket socket;

 private:
  std::string buffer_;
};

/// A server that keeps its port and what it was asked to do, however often it stops.
class LineServer : public std::enable_shared_from_this<LineServer> {
 public:
  LineServer(const Executor& executor, Role is) : role(is), executor_(executor), acceptor_(executor) {}

  void start() {
    const asio::ip::tcp::endpoint at(asio::ip::address_v4::loopback(), port_);
    acceptor_.open(at.protocol());
    acceptor_.set_option(asio::socket_base::reuse_address(true));
    acceptor_.bind(at);
    acceptor_.listen();
    port_ = acceptor_.local_endpoint().port();
    spawn_named(executor_, accept(), "line server", shared_from_this());
  }
  void stop() {
    boost::system::error_code ignored;
    acceptor_.close(ignored);
    for (const auto& weak : std::exchange(clients_, {})) {
      if (const auto client = weak.lock()) client->close();
    }
  }
  [[nodiscard]] config::HostPort address() const { return {"127.0.0.1", port_}; }

  Role role;
  bool denies = false;        // who says hello is sent away
  bool loses_answer = false;  // of the next put: done, not answered
  int busy = 0;               // so many puts are answered by `busy`, and not done
  milliseconds login_time{0};
  std::vector<std::string> executed;
  int logins = 0, logins_at_once = 0, logins_at_once_max = 0;

 private:
  Task<> accept() {
    for (;;) {
      auto client = std::make_shared<LineSocket>(executor_);
      const auto [error] = co_await acceptor_.async_accept(client->socket, asio::as_tuple(use_task));
      if (error) co_return;
      clients_.push_back(client);
      spawn_named(executor_, serve(client), "line server's client", shared_from_this());
    }
  }
  Task<> serve(std::shared_ptr<LineSocket> client) {
    std::string name = "nobody";
    for (;;) {
      const auto line = co_await client->read();
      if (!line) break;
      const auto answer = co_await run(*line, name);
      if (!answer) break;
      const bool written = co_await client->write(*answer);
      if (!written) break;
    }
    client->close();
  }
  Task<std::optional<std::string>> run(std::string line, std::string& name) {
    const auto word = line.substr(0, line.find(' '));
    const auto rest = line.size() > word.size() ? line.substr(word.size() + 1) : std::string();
    if (word == "hello") {
      auto welcomed = co_await welcome();
      co_return welcomed;
    }
    if (word == "role") co_return to_string(role);
    if (word == "whoami") co_return name;
    if (word == "name") {
      name = rest;
      co_return "done";
    }
    if (busy > 0) {
      --busy;
      co_return "busy";
    }
    executed.push_back(rest);
    if (std::exchange(loses_answer, false)) co_return std::nullopt;
    co_return "done " + rest;
  }
  Task<std::optional<std::string>> welcome() {
    ++logins;
    logins_at_once_max = std::max(logins_at_once_max, ++logins_at_once);
    SteadyTimer timer(executor_, now() + login_time);
    co_await timer.async_wait(asio::as_tuple(use_task));
    --logins_at_once;
    std::string answer = "denied";
    if (!denies) answer = std::string("welcome ") + to_string(role);
    co_return answer;
  }

  Executor executor_;
  TcpAcceptor acceptor_;
  std::uint16_t port_ = 0;
  std::vector<std::weak_ptr<LineSocket>> clients_;
};

}  // namespace holdfast::proxy::toy

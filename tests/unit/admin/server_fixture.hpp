// A server on loopback with a source that is made up, and a client for it. Not a test itself.
#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "admin/http.hpp"
#include "admin/server.hpp"

namespace holdfast::admin {

/// Two connections, one up and one down; remembers what it was told to do.
class FakeSource final : public Source {
 public:
  FakeSource() {
    for (const auto* id : {"orders", "down"}) {
      config::Connection connection;
      connection.id = id;
      settings_.file.connections.push_back(connection);
    }
    settings_.running = settings_.file;
  }
  Task<std::vector<ConnectionView>> connections() override { co_return std::vector{view("orders"), view("down")}; }
  Task<std::optional<ConnectionView>> connection(std::string id) override {
    if (id == "broken") throw std::runtime_error("a fault in the program");
    co_return known(id) ? std::optional(view(id)) : std::nullopt;
  }
  Task<std::optional<std::vector<proxy::SessionEntry>>> sessions(std::optional<std::string> id) override {
    if (id && !known(*id)) co_return std::nullopt;
    std::vector<proxy::SessionEntry> all;
    for (const std::string connection : {"orders", "orders", "down"}) {
      if (id && *id != connection) continue;
      proxy::SessionEntry session;
      session.connection = connection;
      session.id = all.size() + 1;
      session.client = "127.0.0.1:40000";
      session.user = "app\xff";
      session.state = "idle";
      session.protection = "restorable";
      if (connection == "orders") session.backend = "db:5432";
      all.push_back(session);
    }
    co_return all;
  }
  std::optional<History::View> history(const std::string& id) override {
    if (!known(id)) return std::nullopt;
    History::View view;
    view.errors.push_back({{}, "refused\xff"});
    return view;
  }
  Task<Readiness> readiness() override {
    const std::lock_guard lock(mutex_);
    co_return Readiness{ready_reason_.empty(), ready_reason_};
  }
  Task<MetricsSnapshot> metrics() override {
    MetricsSnapshot snapshot;
    snapshot.version = "1.2.3";
    co_return snapshot;
  }
  Settings settings() override { return settings_; }
  void change_settings(const std::function<bool(config::Config&)>& change) override {
    auto wanted = settings_.running;
    if (change(wanted)) settings_.running = wanted;
  }
  EventFeed& events() override { return feed_; }
  Order force_reconnect(const std::string& id) override { return take("reconnect " + id, id); }
  Order pause(const std::string& id) override { return take("pause " + id, id); }
  Order resume(const std::string& id) override { return take("resume " + id, id); }

  void not_ready(std::string reason) {
    const std::lock_guard lock(mutex_);
    ready_reason_ = std::move(reason);
  }
  [[nodiscard]] std::vector<std::string> orders() {
    const std::lock_guard lock(mutex_);
    return orders_;
  }

 private:
  static bool known(const std::string& id) { return id == "orders" || id == "down"; }
  static ConnectionView view(const std::string& id) {
    ConnectionView view;
    view.status.connection = id;
    view.status.state = id == "orders" ? proxy::State::connected : proxy::State::failed;
    if (id == "orders") view.status.current = "db:5432";
    if (id == "down") view.status.last_error = "<b>refused</b>";
    return view;
  }
  Order take(std::string order, const std::string& id) {
    if (!known(id)) return Order::unknown_connection;
    const std::lock_guard lock(mutex_);
    orders_.push_back(std::move(order));
    return Order::given;
  }

  EventFeed feed_;
  Settings settings_;  // on the admin thread
  std::mutex mutex_;
  std::string ready_reason_;
  std::vector<std::string> orders_;
};

class Client {
 public:
  explicit Client(const config::ListenAddress& address) : socket_(context_) {
    socket_.connect({asio::ip::make_address(address.host), address.port});
    // A server that never answers fails a test instead of holding it up.
    const timeval limit{20, 0};
    ::setsockopt(socket_.native_handle(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  }
  void send(std::string_view bytes) {
    boost::system::error_code ignored;  // the server may already have had enough
    asio::write(socket_, asio::buffer(bytes), ignored);
  }
  enum class Body { read, skip };
  Response receive(Body body = Body::read) {
    http::response_parser<http::string_body> parser;
    parser.skip(body == Body::skip);
    boost::system::error_code error;
    http::read(socket_, buffer_, parser, error);
    EXPECT_FALSE(error) << error.message();
    return parser.release();
  }
  /// Whether the server ends the connection, with nothing more to read before.
  [[nodiscard]] bool closed() {
    char byte = 0;
    return buffer_.size() == 0 && ::recv(socket_.native_handle(), &byte, 1, 0) <= 0 && errno != EAGAIN;
  }

 private:
  asio::io_context context_;
  asio::ip::tcp::socket socket_;
  beast::flat_buffer buffer_;
};

inline config::Admin local() {
  config::Admin config;
  config.listen = config::ListenAddress{"127.0.0.1", 0, {}};
  return config;
}

class AdminServer : public testing::Test {
 protected:
  explicit AdminServer(const config::Admin& config = local(), Limits limits = {})
      : server_(std::make_unique<Server>(config, source_, limits)) {}

  Response ask(const std::string& request, Client::Body body = Client::Body::read) {
    Client client(server_->address());
    client.send(request);
    return client.receive(body);
  }
  static std::string request(const std::string& method, const std::string& target, const std::string& headers = {},
                             const std::string& body = {}) {
    const auto length = body.empty() ? "" : "Content-Length: " + std::to_string(body.size()) + "\r\n";
    return method + " " + target + " HTTP/1.1\r\nHost: localhost\r\n" + headers + length + "\r\n" + body;
  }
  Response get(const std::string& target) { return ask(request("GET", target)); }
  Response post(const std::string& target, const std::string& headers = {}, const std::string& body = {}) {
    return ask(request("POST", target, headers, body));
  }

  static constexpr const char* json_header = "Content-Type: application/json\r\n";
  FakeSource source_;
  std::unique_ptr<Server> server_;
};

inline bool contains(const Response& response, std::string_view part) {
  return response.body().find(part) != std::string::npos;
}

}  // namespace holdfast::admin

// One client of the admin server, from accept to close. Not for other folders.
#pragma once

#include <cstddef>
#include <memory>
#include <utility>

#include "admin/api.hpp"
#include "admin/channel.hpp"
#include "admin/event_stream.hpp"
#include "admin/http.hpp"
#include "admin/server.hpp"

namespace holdfast::admin {

class ServerSession : public std::enable_shared_from_this<ServerSession> {
 public:
  using Socket = Channel::Socket;

  /// `api`, `feed` and `limits` outlive this. Plain where there is no TLS context.
  ServerSession(Socket socket, std::shared_ptr<asio::ssl::context> tls, Api& api, const EventFeed& feed, const Limits& limits);

  /// Serves requests until one side has had enough.
  Task<> run();
  /// Ends at once, or where an answer is being made, after it.
  void stop();
  /// An answer is being made.
  [[nodiscard]] bool busy() const { return busy_; }
  [[nodiscard]] bool stopping() const { return stopping_; }
  /// It is sent events, and nothing else any more.
  [[nodiscard]] bool listening() const { return events_ != nullptr; }
  /// There are new events.
  void wake() {
    if (events_) events_->wake();
  }

 private:
  enum class Next { request, close };
  using Parser = http::request_parser<http::string_body>;

  Task<bool> wait_for_request();
  Task<beast::error_code> read(Parser& parser);
  Task<Next> answer(Request request);
  Task<> stream_events(Response response, std::uint64_t after);
  Task<> reject(beast::error_code error);
  Task<beast::error_code> write(Response response, http::verb method);
  Task<> linger();

  Channel stream_;
  Api& api_;
  const EventFeed& feed_;
  const Limits& limits_;
  beast::flat_buffer buffer_;
  std::shared_ptr<EventStream> events_;  // where it listens
  bool busy_ = false, stopping_ = false;
};

}  // namespace holdfast::admin

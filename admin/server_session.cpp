// Reads, answers, reads the next; every wait has a limit.
#include "admin/server_session.hpp"

#include <spdlog/spdlog.h>

#include <array>

namespace holdfast::admin {
namespace {

constexpr std::size_t read_length = 4096;
constexpr std::chrono::seconds farewell_time{1};

}  // namespace

ServerSession::ServerSession(Socket socket, std::shared_ptr<asio::ssl::context> tls, Api& api, const EventFeed& feed, const Limits& limits)
    : stream_(std::move(socket), std::move(tls)), api_(api), feed_(feed), limits_(limits),
      buffer_(limits.header_length_max + limits.body_length_max + read_length) {}

Task<> ServerSession::run() {
  stream_.expires_after(limits_.request_timeout);
  const auto refused = co_await stream_.handshake();
  if (refused) co_return stream_.close();
  for (;;) {
    const bool comes = co_await wait_for_request();
    if (!comes) break;
    Parser parser;
    parser.header_limit(static_cast<std::uint32_t>(limits_.header_length_max));
    parser.body_limit(limits_.body_length_max);
    const auto error = co_await read(parser);
    if (error) {
      co_await reject(error);
      break;
    }
    const auto next = co_await answer(parser.release());
    if (next == Next::close) break;
  }
  // In TLS the end is said, or the client would take the answer for cut off.
  stream_.expires_after(farewell_time);
  co_await stream_.finish();
  stream_.close();
}

Task<bool> ServerSession::wait_for_request() {
  if (stopping_) co_return false;
  if (buffer_.size() > 0) co_return true;
  stream_.expires_after(limits_.idle_timeout);
  const auto space = buffer_.prepare(read_length);
  const auto [error, count] = co_await stream_.async_read_some(space, asio::as_tuple(use_task));
  buffer_.commit(count);
  co_return !error && !stopping_;
}

Task<beast::error_code> ServerSession::read(Parser& parser) {
  // One limit for all of the request: a client that sends a byte now and then does not get another.
  stream_.expires_after(limits_.request_timeout);
  const auto [header_error, header_length] =
      co_await http::async_read_header(stream_, buffer_, parser, asio::as_tuple(use_task));
  static_cast<void>(header_length);
  if (header_error) co_return header_error;
  if (beast::iequals(parser.get()[http::field::expect], "100-continue")) {
    constexpr std::string_view go_on = "HTTP/1.1 100 Continue\r\n\r\n";
    const auto [error, length] = co_await asio::async_write(stream_, asio::buffer(go_on), asio::as_tuple(use_task));
    static_cast<void>(length);
    if (error) co_return error;
  }
  const auto [body_error, body_length] =
      co_await http::async_read(stream_, buffer_, parser, asio::as_tuple(use_task));
  static_cast<void>(body_length);
  co_return body_error;
}

Task<ServerSession::Next> ServerSession::answer(Request request) {
  busy_ = true;
  const auto method = request.method();
  const auto version = request.version();
  const bool keep = request.keep_alive();
  Answer answer;
  Response& response = answer.response;
  try {
    answer = co_await api_.handle(std::move(request));
  } catch (const std::exception& error) {
    spdlog::error("admin: a request failed: {}", error.what());
    response = Api::error(http::status::internal_server_error, "internal", "the request failed; the log says why");
  }
  response.version(version);
  // The end of a stream is the end of its connection: nothing else tells where it ends.
  response.keep_alive(keep && !stopping_ && !answer.events_after);
  if (answer.events_after && method != http::verb::head) {
    co_await stream_events(std::move(response), *answer.events_after);
    co_return Next::close;
  }
  const bool more = response.keep_alive();
  const auto failed = co_await write(std::move(response), method);
  busy_ = false;
  co_return failed || !more ? Next::close : Next::request;
}

Task<> ServerSession::stream_events(Response response, std::uint64_t after) {
  const auto failed = co_await write(std::move(response), http::verb::head);
  busy_ = false;
  if (failed || stopping_) co_return;
  events_ = std::make_shared<EventStream>(stream_, feed_, limits_);
  co_await events_->run(after, shared_from_this());
}

Task<> ServerSession::reject(beast::error_code error) {
  Response response;
  if (error == http::error::header_limit || error == http::error::buffer_overflow) {
    response = Api::error(http::status::request_header_fields_too_large, "header_too_large", "the header is too large");
  } else if (error == http::error::body_limit) {
    response = Api::error(http::status::payload_too_large, "body_too_large", "the body is too large");
  } else if (error == beast::error::timeout) {
    // Beast has closed the socket with the time-out: there is nobody to tell.
    co_return;
  } else if (error.category() == make_error_code(http::error::bad_method).category() &&
             error != http::error::end_of_stream && error != http::error::partial_message) {
    response = Api::error(http::status::bad_request, "malformed", "this is no HTTP request: " + error.message());
  } else {
    co_return;
  }
  response.keep_alive(false);
  const auto failed = co_await write(std::move(response), http::verb::unknown);
  if (!failed) co_await linger();
}

Task<beast::error_code> ServerSession::write(Response response, http::verb method) {
  stream_.expires_after(limits_.request_timeout);
  http::response_serializer<http::string_body> serializer(response);
  if (method == http::verb::head) {
    // The length stays that of the body which GET would have had.
    serializer.split(true);
    const auto [error, length] = co_await http::async_write_header(stream_, serializer, asio::as_tuple(use_task));
    static_cast<void>(length);
    co_return error;
  }
  const auto [error, length] = co_await http::async_write(stream_, serializer, asio::as_tuple(use_task));
  static_cast<void>(length);
  co_return error;
}

/// Reads on for a moment after a refusal: closing with unread bytes makes the kernel send a reset, which may overtake
/// the answer.
Task<> ServerSession::linger() {
  stream_.expires_after(farewell_time);
  co_await stream_.finish();
  std::array<char, read_length> discarded;
  for (int reads = 0; reads < 256 && !stopping_; ++reads) {
    const auto [error, count] = co_await stream_.async_read_some(asio::buffer(discarded), asio::as_tuple(use_task));
    static_cast<void>(count);
    if (error) co_return;
  }
}

void ServerSession::stop() {
  stopping_ = true;
  if (events_) events_->stop();
  if (!busy_) stream_.close();
}

}  // namespace holdfast::admin

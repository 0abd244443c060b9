// The startup exchange in the raw: one message out, the head of one message in.
#include "health/postgres_probe.hpp"

#include <array>
#include <cstdint>
#include <optional>
#include <utility>

namespace holdfast::health {
namespace {

using proxy::Failure;
using proxy::Outcome;
using Socket = asio::basic_stream_socket<asio::generic::stream_protocol, Executor>;
using ErrorCode = boost::system::error_code;

constexpr std::size_t reply_length_max = 8192;  // ErrorResponse before login is a few hundred bytes

void append_int32(std::string& out, std::uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) out.push_back(static_cast<char>(value >> shift & 0xff));
}

std::uint32_t int32_at(std::string_view bytes, std::size_t at) {
  std::uint32_t value = 0;
  for (std::size_t i = at; i < at + 4; ++i) value = value << 8 | static_cast<unsigned char>(bytes[i]);
  return value;
}

std::string startup_message(const config::PostgresUri& uri) {
  constexpr std::uint32_t protocol_3_0 = 3 << 16;
  std::string body;
  append_int32(body, protocol_3_0);
  const auto add = [&body](std::string_view name, std::string_view value) {
    body.append(name).push_back('\0');
    body.append(value).push_back('\0');
  };
  add("user", uri.user.empty() ? "holdfast" : uri.user);
  if (!uri.database.empty()) add("database", uri.database);
  add("application_name", uri.application_name.empty() ? "holdfast" : uri.application_name);
  body.push_back('\0');
  std::string message;
  append_int32(message, static_cast<std::uint32_t>(body.size() + 4));
  return message + body;
}

/// Field `wanted` of an ErrorResponse ("Error and Notice Message Fields"); empty when it is not there.
std::string field(std::string_view body, char wanted) {
  while (!body.empty() && body.front() != '\0') {
    const auto end = body.find('\0', 1);
    if (end == std::string_view::npos) break;
    if (body.front() == wanted) return std::string(body.substr(1, end - 1));
    body.remove_prefix(end + 1);
  }
  return {};
}

Outcome failed(Failure failure, std::string error, std::string code = {}) {
  Outcome outcome;
  outcome.failure = failure;
  outcome.error = std::move(error);
  outcome.code = std::move(code);
  return outcome;
}

enum class Talk { ask_more, say_goodbye, finished };

struct Judgement {
  Talk next = Talk::ask_more;
  Outcome outcome;
};

/// What `reply`, the bytes so far, says. ask_more: not enough of them yet.
Judgement judge(std::string_view reply) {
  constexpr std::size_t header_length = 5;
  if (reply.empty()) return {};
  const char type = reply.front();
  if (type != 'R' && type != 'E' && type != 'N' && type != 'v') {
    return {Talk::finished, failed(Failure::unreachable, "what answers is not a PostgreSQL server")};
  }
  if (reply.size() < header_length) return {};
  const std::size_t length = int32_at(reply, 1);
  if (length < 4 || length >= reply_length_max) {
    return {Talk::finished, failed(Failure::unreachable, "what answers is not a PostgreSQL server")};
  }
  if (reply.size() < length + 1) return {};
  const auto body = reply.substr(header_length, length - 4);
  if (type == 'E') {
    auto code = field(body, 'C');
    if (classify(code) == Failure::not_ready) {
      return {Talk::finished, failed(Failure::not_ready, field(body, 'M'), std::move(code))};
    }
    return {Talk::finished, {}};
  }
  // AuthenticationOk has made a backend, which is told goodbye; in the midst of an authentication one just leaves.
  const bool logged_in = type == 'R' && body.size() >= 4 && int32_at(body, 0) == 0;
  return {logged_in ? Talk::say_goodbye : Talk::finished, {}};
}

std::string at(const ErrorCode& error, const Address& address) { return error.message() + " (" + address.text + ")"; }

Task<Outcome> exchange(Operation& operation, Socket& socket, const config::PostgresUri& uri, const Address& address) {
  const auto ended = [&] { return failed(Failure::unreachable, std::string(operation.reason())); };
  const auto [refused] = co_await socket.async_connect(address.endpoint, asio::as_tuple(use_task));
  if (operation.ended()) co_return ended();
  if (refused) co_return failed(Failure::unreachable, at(refused, address));

  const auto startup = startup_message(uri);
  const auto [unsent, sent] = co_await asio::async_write(socket, asio::buffer(startup), asio::as_tuple(use_task));
  static_cast<void>(sent);
  if (operation.ended()) co_return ended();
  if (unsent) co_return failed(Failure::not_ready, "the server closed the connection before login");

  std::array<char, reply_length_max> buffer;
  std::size_t size = 0;
  while (size < buffer.size()) {
    const auto space = asio::buffer(buffer.data() + size, buffer.size() - size);
    const auto [error, count] = co_await socket.async_read_some(space, asio::as_tuple(use_task));
    if (operation.ended()) co_return ended();
    if (error) co_return failed(Failure::not_ready, "the server closed the connection before login");
    size += count;
    auto judgement = judge({buffer.data(), size});
    if (judgement.next == Talk::ask_more) continue;
    if (judgement.next == Talk::say_goodbye) {
      constexpr std::array<char, 5> terminate{'X', 0, 0, 0, 4};
      const auto [ignored, written] =
          co_await asio::async_write(socket, asio::buffer(terminate), asio::as_tuple(use_task));
      static_cast<void>(ignored);
      static_cast<void>(written);
    }
    co_return judgement.outcome;
  }
  co_return failed(Failure::unreachable, "what answers is not a PostgreSQL server");
}

}  // namespace

Failure classify(std::string_view sqlstate) {
  if (sqlstate == "57P03" || sqlstate == "53300") return Failure::not_ready;  // cannot_connect_now, too_many_connections
  if (sqlstate.starts_with("28") || sqlstate == "3D000" || sqlstate == "42501") return Failure::rejected;
  return Failure::unreachable;
}

Task<Outcome> probe_address(Operation& operation, const config::PostgresUri& uri, Address address) {
  const Executor executor = co_await asio::this_coro::executor;
  const auto started = std::chrono::steady_clock::now();
  Socket socket(executor);
  Operation::Wait wait(operation, [&socket] {
    ErrorCode ignored;
    socket.close(ignored);
  });
  if (operation.ended()) co_return failed(Failure::unreachable, operation.reason());
  auto outcome = co_await exchange(operation, socket, uri, address);
  outcome.latency = std::chrono::duration_cast<proxy::microseconds>(std::chrono::steady_clock::now() - started);
  co_return outcome;
}

Task<Outcome> probe_endpoint(Operation& operation, const config::PostgresUri& uri, config::HostPort endpoint) {
  const auto resolved = co_await resolve(operation, std::move(endpoint));
  std::optional<Outcome> best;
  for (const auto& address : resolved.addresses) {
    auto outcome = co_await probe_address(operation, uri, address);
    if (outcome.ok() || operation.ended()) co_return outcome;
    if (!best || outcome.failure == Failure::not_ready) best = std::move(outcome);
  }
  co_return best ? *best : failed(Failure::unreachable, resolved.error);
}

}  // namespace holdfast::health

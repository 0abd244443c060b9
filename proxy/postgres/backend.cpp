// Logging in to a server, and what is said to it before a session's own traffic begins.
#include "proxy/postgres/backend.hpp"

#include <algorithm>
#include <utility>

#include "protocol/postgres/messages.hpp"
#include "protocol/postgres/startup.hpp"
#include "proxy/waiting.hpp"
#include "proxy/postgres/message_channel.hpp"
#include "proxy/postgres/server_authentication.hpp"

namespace holdfast::proxy::postgres {

namespace back = pg::backend;

namespace {

LoginResult failed(Failure failure, std::string error, std::string code = {}) {
  LoginResult result;
  result.outcome.failure = failure;
  result.outcome.error = std::move(error);
  result.outcome.code = std::move(code);
  return result;
}

bool is_loopback(const std::string& host) {
  ErrorCode error;
  const auto address = asio::ip::make_address(host, error);
  return host == "localhost" || (!error && address.is_loopback());
}

/// What an ErrorResponse during the login means for reconnection.
Failure classify(std::string_view code) {
  // Class 53: it has not enough of something now (memory, connections), as one that recovers from a crash may have.
  if (code == "57P03" || code == "57P01" || code == "57P02" || code.starts_with("53")) return Failure::not_ready;
  return Failure::rejected;
}

LoginResult server_error(const Message& message) {
  const auto fields = pg::parse_error(message.body());
  if (!fields) return failed(Failure::unreachable, "the server sent a malformed error");
  auto result = failed(classify(fields->code), std::string(fields->message), std::string(fields->code));
  result.error_message = std::string(message.whole);
  return result;
}

/// Encryption as sslmode asks for it. An empty string, or what went wrong.
Task<std::string> negotiate_tls(const LoginRequest& request, Stream& stream) {
  using config::SslMode;
  const auto mode = request.uri->sslmode;
  const bool unix_socket = request.address.host.starts_with('/');
  if (!request.tls || unix_socket || mode == SslMode::disable || mode == SslMode::allow) co_return std::string{};
  const auto check = verifies_host(*request.uri) ? Stream::HostCheck::on : Stream::HostCheck::off;
  if (!request.uri->ssl_direct) {
    std::string ask;
    pg::write_ssl_request(ask);
    const auto [size, error] = co_await stream.write(ask);
    static_cast<void>(size);
    if (error) co_return error.message();
    char answer = 0;
    const auto [failure, count] =
        co_await stream.async_read_some(asio::buffer(&answer, 1), asio::as_tuple(use_task));
    static_cast<void>(count);
    if (failure) co_return failure == asio::error::eof ? std::string("the server closed the connection") : failure.message();
    if (answer != 'S') {
      if (mode == SslMode::prefer) co_return std::string{};
      co_return std::string("the server does not offer TLS, and sslmode asks for it");
    }
  }
  const auto error = co_await stream.start_tls_client(*request.tls, request.address.host, check);
  co_return error ? "TLS: " + error.message() : std::string{};
}

/// From AuthenticationOk to ReadyForQuery.
Task<LoginResult> await_ready(MessageChannel& channel, Backend backend) {
  for (;;) {
    const auto message = co_await channel.read();
    if (!message) co_return failed(Failure::not_ready, channel.error());
    switch (message->type) {
      case back::parameter_status:
        if (const auto parameter = pg::parse_parameter_status(message->body())) {
          backend.parameters.insert_or_assign(std::string(parameter->first), std::string(parameter->second));
        }
        break;
      case back::backend_key_data: {
        pg::Reader reader(message->body());
        backend.process_id = reader.i32();
        backend.secret_key = std::string(reader.rest());
        break;
      }
      case back::notice:
      case back::negotiate_version: break;
      case back::error: co_return server_error(*message);
      case back::ready_for_query: {
        LoginResult result;
        result.backend = std::move(backend);
        co_return result;
      }
      default: co_return failed(Failure::unreachable, "the server sent an unexpected message during the login");
    }
  }
}

Task<LoginResult> log_in_before(LoginRequest request, ReadBuffer& buffer, Backend backend) {
  if (const auto error = co_await negotiate_tls(request, *backend.stream); !error.empty()) {
    co_return failed(Failure::unreachable, error + " (" + request.address.to_string() + ")");
  }
  MessageChannel channel(*backend.stream, buffer);
  std::string startup;
  pg::write_startup(startup, request.version, request.parameters);
  if (!co_await channel.write(startup)) co_return failed(Failure::unreachable, channel.error());
  Channel kind;
  kind.local = request.address.host.starts_with('/') || is_loopback(request.address.host);
  if (auto* tls = backend.stream->tls()) {
    kind.encrypted = true;
    if (request.uri->channel_binding != config::ChannelBinding::disable) {
      kind.binding = end_point_binding(*tls, CertificateOf::peer);
    }
  }
  kind.must_bind = request.uri->channel_binding == config::ChannelBinding::require;
  ServerAuthentication authentication(*request.credentials, std::move(kind));
  for (;;) {
    const auto message = co_await channel.read();
    // A server that goes away before it has asked anything is one that is about to end, or one that just began.
    if (!message) co_return failed(Failure::not_ready, channel.error());
    if (message->type == back::error) co_return server_error(*message);
    if (message->type == back::negotiate_version || message->type == back::notice) continue;
    if (message->type != back::authentication) {
      co_return failed(Failure::unreachable, "the server sent an unexpected message during the login");
    }
    std::string answer;
    switch (authentication.on_message(message->body(), answer)) {
      case ServerAuthentication::Next::send:
        if (!co_await channel.write(answer)) co_return failed(Failure::unreachable, channel.error());
        break;
      case ServerAuthentication::Next::wait: break;
      case ServerAuthentication::Next::done: {
        auto result = co_await await_ready(channel, std::move(backend));
        result.derived = authentication.derived();
        if (authentication.asked()) result.password = LoginResult::Password::asked;
        co_return result;
      }
      case ServerAuthentication::Next::ask: {
        auto result = failed(Failure::rejected, authentication.error(), "28000");
        result.password = LoginResult::Password::wanted;
        co_return result;
      }
      case ServerAuthentication::Next::failed:
        co_return failed(Failure::rejected, authentication.error(), authentication.code());
    }
  }
}

}  // namespace

Task<LoginResult> log_in(LoginRequest request, ReadBuffer& buffer) {
  Backend backend;
  backend.asked_at = std::chrono::steady_clock::now();
  auto connected = co_await connect(request.address, request.keep_alive_interval, request.deadline);
  if (!connected.stream) {
    auto result = failed(Failure::unreachable, std::move(connected.error));
    result.ours = connected.ours;
    co_return result;
  }
  backend.stream = std::move(connected.stream);
  backend.address = request.address;
  auto& stream = *backend.stream;
  const auto name = request.address.to_string();
  const auto executor = co_await asio::this_coro::executor;
  Deadline limit(executor, request.deadline, [&stream] { stream.close(); });
  auto result = co_await log_in_before(std::move(request), buffer, std::move(backend));
  if (limit.expired()) co_return failed(Failure::unreachable, "timed out logging in to " + name);
  co_return result;
}

namespace {

constexpr auto busy_pause = milliseconds(100);

/// By a time limit, somebody else's lock, or want of memory: another try may go well.
bool is_of_the_moment(std::string_view code) {
  return code == "57014" || code == "55P03" || code == "40P01" || code == "40001" || code.starts_with("53");
}

struct Run {
  std::string lost;  // how, or why it is to be begun anew; empty: it was not
  std::vector<std::pair<pg::RestoreItem, std::string>> refused;  // and the server's words
};

Task<Run> run_items(MessageChannel& channel, Backend& backend, const std::vector<pg::RestoreItem>& items) {
  std::string script;
  for (const auto& item : items) {
    pg::write_statement_anew(script, "holdfast_restore", item.text, item.parameters);  // the item before it may have failed
    pg::write_sync(script);
  }
  Run run;
  if (!co_await channel.write(script)) run.lost = channel.error();
  for (std::size_t done = 0; done < items.size() && run.lost.empty();) {
    const auto message = co_await channel.read();
    if (!message) {
      run.lost = channel.error();
    } else if (message->type == back::ready_for_query) {
      ++done;
    } else if (message->type == back::parameter_status) {
      if (const auto parameter = pg::parse_parameter_status(message->body())) {
        backend.parameters.insert_or_assign(std::string(parameter->first), std::string(parameter->second));
      }
    } else if (message->type == back::error) {
      const auto fields = pg::parse_error(message->body());
      if (!fields || fields->ends_connection()) {
        run.lost = fields ? std::string(fields->message) : "malformed";
      } else if (is_of_the_moment(fields->code)) {
        run.lost = std::string(fields->message);
        SteadyTimer pause(co_await asio::this_coro::executor);
        pause.expires_after(busy_pause);
        co_await pause.async_wait(asio::as_tuple(use_task));
      } else if (items[done].kind != pg::RestoreItem::Kind::prepared) {  // that shows at its use
        run.refused.emplace_back(items[done], fields->message);
      }
    }
  }
  co_return run;
}

}  // namespace

Task<RestoreResult> restore(Backend& backend, std::vector<pg::RestoreItem> items, ReadBuffer& buffer,
                            SteadyTime deadline) {
  if (items.empty()) co_return RestoreResult{};
  auto& stream = *backend.stream;
  const auto executor = co_await asio::this_coro::executor;
  Deadline limit(executor, deadline, [&stream] { stream.close(); });
  MessageChannel channel(stream, buffer);
  auto run = co_await run_items(channel, backend, items);
  const auto is_identity = [](const pg::RestoreItem& item) { return item.kind == pg::RestoreItem::Kind::identity; };
  if (run.lost.empty() && !run.refused.empty() && std::ranges::any_of(items, is_identity)) {
    // The session may have done it as the role that it has now.
    std::vector<pg::RestoreItem> again;
    for (const auto& [item, error] : run.refused) again.push_back(item);
    run = co_await run_items(channel, backend, again);
  }
  if (!run.lost.empty()) {
    co_return RestoreResult{RestoreResult::Kind::lost, {}, limit.expired() ? "timed out" : run.lost};
  }
  if (run.refused.empty()) co_return RestoreResult{};
  auto& [item, error] = run.refused.front();
  co_return RestoreResult{RestoreResult::Kind::failed_item, std::move(item), std::move(error)};
}

Task<std::optional<Rows>> query(Backend& backend, std::string text, std::vector<std::string> parameters,
                                ReadBuffer& buffer, SteadyTime deadline) {
  auto& stream = *backend.stream;
  const auto executor = co_await asio::this_coro::executor;
  Deadline limit(executor, deadline, [&stream] { stream.close(); });
  MessageChannel channel(stream, buffer);
  std::string script;
  pg::write_statement_anew(script, "holdfast_query", text, parameters);
  pg::write_sync(script);
  const auto lost = [&stream] {
    stream.close();
    return std::nullopt;
  };
  if (!co_await channel.write(script)) co_return lost();
  Rows rows;
  bool failure = false;
  std::vector<std::optional<std::string_view>> columns;
  for (;;) {
    const auto message = co_await channel.read();
    if (!message) co_return lost();
    if (message->type == back::error) failure = true;
    if (message->type == back::data_row && pg::parse_data_row(message->body(), columns)) {
      auto& row = rows.emplace_back();
      for (const auto& column : columns) row.push_back(column ? std::optional<std::string>(*column) : std::nullopt);
    }
    if (message->type == back::ready_for_query) break;
  }
  if (failure) co_return std::nullopt;
  co_return rows;
}

void part_from(Backend& backend) {
  std::string terminate;
  pg::Writer(terminate, pg::frontend::terminate).finish();
  ErrorCode ignored;
  backend.stream->write_now({terminate, {}}, ignored);
  backend.stream->close();
}

Task<> send_cancel(config::HostPort address, std::int32_t process_id, std::string secret_key, SteadyTime deadline) {
  auto connected = co_await connect(std::move(address), milliseconds(60'000), deadline);
  if (!connected.stream) co_return;
  auto& stream = *connected.stream;
  const auto executor = co_await asio::this_coro::executor;
  Deadline limit(executor, deadline, [&stream] { stream.close(); });
  std::string request;
  pg::write_cancel_request(request, process_id, secret_key);
  static_cast<void>(co_await stream.write(request));
  // The server closes the connection once the signal is on its way.
  char ignored[64];
  for (;;) {
    const auto [error, size] = co_await stream.async_read_some(asio::buffer(ignored), asio::as_tuple(use_task));
    static_cast<void>(size);
    if (error) break;
  }
}

}  // namespace holdfast::proxy::postgres

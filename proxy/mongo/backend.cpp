// Connecting, saying hello, exchanging messages.
#include "proxy/mongo/backend.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <tuple>
#include <utility>

#include "protocol/mongo/document.hpp"
#include "protocol/mongo/frame.hpp"
#include "proxy/mongo/upstream_login.hpp"
#include "proxy/waiting.hpp"

namespace holdfast::proxy::mongo {

Task<Backend::Exchange> Backend::exchange(std::string_view request) {
  rest();
  Exchange done;
  std::string packed;
  if (compressor_) packed = wire::compress_if_shorter(request, *compressor_, zlib_level_);
  const auto bytes = packed.empty() ? request : std::string_view(packed);
  ErrorCode error;
  auto size = stream_->write_now({bytes, {}}, error);
  if (!error && size < bytes.size()) std::tie(size, error) = co_await stream_->write(bytes, size);
  done.written = size == bytes.size();
  if (error) {
    sound_ = false;
    done.error = error.message();
    co_return done;
  }
  wire::Arrival reply;
  for (;;) {
    reply = wire::arrival_of(in_->data());
    const bool readable = reply.error == wire::FrameError::none || (reply.error == wire::FrameError::compressed && compressor_);
    if (!readable) done.error = wire::sentence_of(reply.error);
    if (!readable || reply.whole) break;
    const auto [failed, size_read] = co_await stream_->read(*in_, reply.wanted);
    if (failed) done.error = failed == asio::error::eof ? "the server closed the connection" : failed.message();
    if (failed) break;
  }
  if (!done.error.empty()) {
    sound_ = false;
    co_return done;
  }
  held_ = reply.wanted;
  last_answer = std::chrono::steady_clock::now();
  done.frame = in_->data().substr(0, held_);
  if (reply.error == wire::FrameError::compressed) {
    if (const auto wrong = wire::decompress(done.frame, unpacked_); wrong != wire::FrameError::none) {
      sound_ = false;
      done.error = wire::sentence_of(wrong);
      co_return done;
    }
    done.frame = unpacked_;
  }
  wire::Header asked, answered;
  const bool related = wire::parse_header(request, asked) == wire::FrameError::none &&
                       wire::parse_header(done.frame, answered) == wire::FrameError::none &&
                       asked.request_id == answered.response_to;
  if (!related || in_->data().size() != held_) {
    sound_ = false;
    done.error = "the server sent a reply to another request";
  }
  co_return done;
}

Backend::Reply Backend::take_reply() {
  held_ = 0;
  return {std::exchange(in_, std::make_unique<ReadBuffer>(pool_)), std::exchange(unpacked_, {})};
}

Task<std::optional<std::string>> Backend::run(std::string body) {
  const auto request = wire::make_message(++last_request_, 0, 0, body);
  const auto done = co_await exchange(request);
  wire::Message reply;
  if (!done.error.empty() || wire::parse_message(done.frame, reply) != wire::FrameError::none) {
    sound_ = false;
    co_return std::nullopt;
  }
  co_return std::string(reply.body);
}

Task<std::optional<wire::MemberHello>> Backend::say(std::string hello) {
  const auto body = co_await run(std::move(hello));
  if (!body) co_return std::nullopt;
  co_return wire::read_member_hello(*body);
}

Task<std::optional<wire::MemberHello>> Backend::hello() { return say(wire::make_next_hello()); }

void Backend::negotiate(const config::MongoUri& uri, const wire::MemberHello& hello) {
  const auto taken = [&](const auto& name) { return std::ranges::find(hello.compressors, name) != hello.compressors.end(); };
  const auto found = std::ranges::find_if(uri.compressors, taken);
  if (found != uri.compressors.end()) compressor_ = wire::compressor_named(*found);
  zlib_level_ = uri.zlib_level;
}

Task<std::optional<wire::Build>> Backend::build(SteadyTime deadline) {
  const auto executor = co_await asio::this_coro::executor;
  Deadline limit(executor, deadline, [this] { close(); });
  wire::Writer question;
  question.int32("buildInfo", 1).text("$db", "admin");
  const auto body = co_await run(question.finish());
  co_return body ? wire::read_build(*body) : std::nullopt;
}

bool Backend::is_quiet() {
  if (!sound_ || !stream_->is_open() || in_->data().size() != held_) return false;
  char byte = 0;
  const auto found = ::recv(stream_->socket().native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return found < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
}

void Backend::belong_to(std::shared_ptr<Login> user) {
  logouts_ = user->logouts;
  login = std::move(user);
}

bool Backend::is_logged_out(const wire::Reply& reply) {
  if (!login || login->is_nobody() || !wire::wants_login(reply)) return false;
  if (login->logouts == logouts_) ++login->logouts;
  return true;
}

Task<> Backend::wait_for_end() {
  const auto [error] = co_await stream_->socket().async_wait(Socket::wait_read, asio::as_tuple(use_task));
  static_cast<void>(error);
}

void Backend::close() {
  sound_ = false;
  stream_->close();
}

Task<Backend::Opened> Backend::open(std::shared_ptr<const BackendSettings> settings, config::HostPort address, BufferPool& pool,
                                    std::shared_ptr<Login> as, SteadyTime deadline) {
  const auto executor = co_await asio::this_coro::executor;
  Opened opened;
  const auto fail = [&](Failure failure, std::string error) {
    opened.backend.reset();
    opened.failure = failure;
    opened.error = std::move(error);
  };
  auto connected = co_await connect(address, settings->keep_alive_interval, deadline);
  if (!connected.stream) {
    opened.ours = connected.ours;
    fail(Failure::unreachable, connected.error);
    co_return opened;
  }
  auto* stream = connected.stream.get();
  opened.backend = std::make_unique<Backend>(std::move(connected.stream), pool);
  Deadline limit(executor, deadline, [stream] { stream->close(); });
  const auto name = address.to_string();
  if (const auto tls = settings->tls) {  // a copy: a reload may replace it meanwhile
    using HostCheck = Stream::HostCheck;
    const bool checked = settings->uri.tls_verify && settings->uri.tls_verify_host;
    const auto error = co_await stream->start_tls_client(*tls, address.host, checked ? HostCheck::on : HostCheck::off);
    if (error) {
      opened.turned_away = !limit.expired();
      fail(Failure::unreachable, (limit.expired() ? "timed out in the TLS handshake" : "TLS: " + error.message()) + (" (" + name + ")"));
      co_return opened;
    }
  }
  const bool logs_in = as && !as->is_nobody();
  const auto mechanisms_of = logs_in && !as->user.empty() ? as->name() : std::string();
  const auto hello =
      co_await opened.backend->say(wire::make_first_hello(settings->uri.application_name, mechanisms_of, settings->uri.compressors));
  if (!hello || !hello->ok) {
    const auto why = limit.expired() ? "timed out saying hello" : hello ? hello->error : "no answer to hello";
    opened.turned_away = !hello && !limit.expired();
    // A server that answers and says no is about to end or has just begun.
    fail(hello ? Failure::not_ready : Failure::unreachable, why + (" (" + name + ")"));
    co_return opened;
  }
  opened.hello = *hello;
  if (hello->topology_version) opened.backend->process = hello->topology_version->process;
  opened.backend->negotiate(settings->uri, *hello);
  if (logs_in) {
    const auto result = co_await log_in(*opened.backend, as, opened.hello);
    if (!result.error.empty()) {
      const auto failure = limit.expired() ? Failure::unreachable : result.failure;
      fail(failure, (limit.expired() ? "timed out logging in" : result.error) + (" (" + name + ")"));
      opened.code = result.code;
    }
  }
  if (opened.backend && as) opened.backend->belong_to(std::move(as));
  co_return opened;
}

}  // namespace holdfast::proxy::mongo

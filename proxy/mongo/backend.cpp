// Connecting, saying hello, exchanging messages.
#include "proxy/mongo/backend.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <utility>

#include "protocol/mongo/document.hpp"
#include "protocol/mongo/frame.hpp"
#include "proxy/mongo/upstream_login.hpp"
#include "proxy/waiting.hpp"

namespace holdfast::proxy::mongo {

Task<std::string> Backend::read_frame(std::size_t& length) {
  std::size_t want = wire::header_size;
  length = 0;
  for (;;) {
    const auto data = in_->data();
    if (length == 0 && data.size() >= wire::header_size) {
      wire::Header header;
      const auto error = wire::parse_header(data, header);
      if (error != wire::FrameError::none && !(error == wire::FrameError::compressed && compressor_)) {
        co_return std::string(wire::sentence_of(error));
      }
      length = want = header.length;
    }
    if (length > 0 && data.size() >= length) co_return std::string();
    const auto [error, size] = co_await stream_->read(*in_, want);
    if (error) co_return error == asio::error::eof ? "the server closed the connection" : error.message();
  }
}

Task<Backend::Exchange> Backend::exchange(std::string_view request) {
  rest();
  Exchange done;
  std::string packed;
  if (compressor_ && wire::may_be_compressed(request)) packed = wire::compress(request, *compressor_, zlib_level_);
  const auto bytes = packed.empty() ? request : std::string_view(packed);
  const auto [size, error] = co_await stream_->write(bytes);
  done.written = size == bytes.size();
  if (error) {
    sound_ = false;
    done.error = error.message();
    co_return done;
  }
  std::size_t length = 0;
  done.error = co_await read_frame(length);
  if (!done.error.empty()) {
    sound_ = false;
    co_return done;
  }
  held_ = length;
  last_answer = std::chrono::steady_clock::now();
  done.frame = in_->data().substr(0, length);
  wire::Header asked, answered;
  if (wire::parse_header(done.frame, answered) == wire::FrameError::compressed) {
    if (const auto wrong = wire::decompress(done.frame, unpacked_); wrong != wire::FrameError::none) {
      sound_ = false;
      done.error = wire::sentence_of(wrong);
      co_return done;
    }
    done.frame = unpacked_;
  }
  const bool related = wire::parse_header(request, asked) == wire::FrameError::none &&
                       wire::parse_header(done.frame, answered) == wire::FrameError::none &&
                       asked.request_id == answered.response_to;
  if (!related || in_->data().size() != length) {
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
  if (found < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return true;
  // Under TLS a server may say something of the protocol's own; what it is shows in the next read.
  return found > 0 && stream_->is_tls();
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
    // A server that answers and says no is about to end or has just begun.
    fail(hello ? Failure::not_ready : Failure::unreachable, why + (" (" + name + ")"));
    co_return opened;
  }
  opened.hello = *hello;
  opened.backend->negotiate(settings->uri, *hello);
  if (logs_in) {
    const auto result = co_await log_in(*opened.backend, as, hello->mechanisms);
    if (!result.error.empty()) {
      const auto failure = limit.expired() ? Failure::unreachable : result.failure;
      fail(failure, (limit.expired() ? "timed out logging in" : result.error) + (" (" + name + ")"));
      opened.code = result.code;
    }
  }
  if (opened.backend) opened.backend->login = std::move(as);
  co_return opened;
}

}  // namespace holdfast::proxy::mongo

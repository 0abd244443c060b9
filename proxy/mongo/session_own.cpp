// What the proxy answers itself: hello in all its forms.
#include <algorithm>
#include <chrono>
#include <utility>

#include "proxy/mongo/session.hpp"

namespace holdfast::proxy::mongo {

namespace {

/// How long a first hello waits for the upstream to say what may be shown.
constexpr auto face_time = std::chrono::seconds(10);

}  // namespace

std::string Session::hello_body(const wire::HelloRequest& hello, wire::HelloExtras extras) const {
  extras.local_time =
      std::chrono::duration_cast<milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
  extras.connection_id = static_cast<std::int32_t>(id_ % INT32_MAX);
  return wire::make_face_hello(*context_->members.face(), hello, extras);
}

Task<bool> Session::serve_hello(const wire::Message& request) {
  const auto& face = context_->members.face();
  if (!face) {
    co_await context_->wait_for_face(std::chrono::steady_clock::now() + face_time);
    if (!face) {
      co_return co_await refuse(request, wire::code::host_unreachable, "holdfast: no member of the upstream has answered yet");
    }
  }
  auto hello = wire::read_hello_request(request.body, *face);
  if (hello.error_code == 0 && hello.has_metadata && has_metadata_) {
    hello.error_code = wire::code::metadata_cannot_be_mutated;
    hello.error = "The client metadata document may only be sent in the first hello";
  }
  if (hello.error_code != 0) co_return co_await refuse(request, hello.error_code, hello.error);
  backpressure_ = backpressure_ || hello.backpressure;
  load_balanced_ = load_balanced_ || (hello.load_balanced && face->kind == wire::FaceKind::mongos);
  if (!hello.application.empty()) application_ = hello.application;
  if (!hello.driver.empty()) logs_in_again_ = wire::logs_in_again(hello.driver, hello.driver_version);
  auto said = co_await answer_login_hello(hello);
  if (auto* refused = std::get_if<std::string>(&said)) co_return co_await answer(request, std::move(*refused));
  auto extras = std::get<wire::HelloExtras>(std::move(said));
  has_metadata_ = has_metadata_ || hello.has_metadata;  // not by a hello that was refused, which may be sent again
  if (!co_await wait_for_change(hello)) co_return false;
  const bool exhaust = (request.flags & wire::flag::exhaust_allowed) != 0 && hello.await_milliseconds;
  auto body = hello_body(hello, std::move(extras));
  if (exhaust) co_return co_await stream_hello(request, std::move(hello), std::move(body));
  co_return co_await answer(request, std::move(body));
}

/// An awaitable hello is answered when there is something new, or its time is up. False where the client has gone.
Task<bool> Session::wait_for_change(const wire::HelloRequest& hello) {
  if (!hello.await_milliseconds || !hello.topology_version) co_return !gone_;
  constexpr std::int64_t day = 24 * 3600 * 1000;
  const auto until = std::chrono::steady_clock::now() + milliseconds(std::min(*hello.await_milliseconds, day));
  while (!gone_ && std::chrono::steady_clock::now() < until && context_->members.face()->version == *hello.topology_version) {
    pause_.expires_at(until);
    const auto [error] = co_await pause_.async_wait(asio::as_tuple(use_task));
    static_cast<void>(error);
  }
  co_return !gone_;
}

/// Replies without further requests, each of which says that more will come, until the client goes (OP_MSG, exhaustAllowed).
Task<bool> Session::stream_hello(const wire::Message& request, wire::HelloRequest hello, std::string body) {
  auto previous = request.header.request_id;
  while (!gone_) {
    const auto id = ++next_message_;
    hello.topology_version = context_->members.face()->version;
    const auto bytes = wire::make_message(id, std::exchange(previous, id), wire::flag::more_to_come, body);
    if (!co_await write(bytes) || !co_await wait_for_change(hello)) co_return false;
    body = hello_body(hello, {});
  }
  co_return false;
}

}  // namespace holdfast::proxy::mongo

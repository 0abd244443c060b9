// One coroutine for each address: looks at the feed, sends, waits, sends again.
#include "admin/webhooks.hpp"

#include <boost/asio/ssl.hpp>
#include <pthread.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <stdexcept>
#include <string>
#include <thread>

#include "admin/http.hpp"
#include "admin/webhook_request.hpp"

namespace holdfast::admin {
namespace {

using Plain = beast::basic_stream<asio::ip::tcp, Executor>;
using Timer = asio::basic_waitable_timer<std::chrono::steady_clock, asio::wait_traits<std::chrono::steady_clock>, Executor>;
using Resolver = asio::ip::basic_resolver<asio::ip::tcp, Executor>;
using PostRequest = http::request<http::string_body>;

constexpr std::size_t batch_events_max = 64;
constexpr std::uint64_t answer_length_max = 64 * 1024;  // bytes; an answer is not looked at beyond its status

/// What became of one POST: the status, or why there is none.
struct Delivery {
  unsigned status = 0;
  std::string error;
  [[nodiscard]] bool done() const { return status / 100 == 2; }
  /// Worth another attempt: nobody answered, or the answer blames the moment.
  [[nodiscard]] bool may_succeed_later() const { return status == 0 || status / 100 == 5 || status == 429 || status == 408; }
  [[nodiscard]] std::string text() const { return status == 0 ? error : "answered " + std::to_string(status); }
};

template <class Stream>
Task<Delivery> exchange(Stream& stream, const PostRequest& request) {
  const auto [sent, length] = co_await http::async_write(stream, request, asio::as_tuple(use_task));
  static_cast<void>(length);
  Delivery delivery;
  delivery.error = sent ? sent.message() : "";
  if (sent) co_return delivery;
  beast::flat_buffer buffer;
  http::response_parser<http::string_body> parser;
  parser.body_limit(answer_length_max);
  const auto [received, count] = co_await http::async_read_header(stream, buffer, parser, asio::as_tuple(use_task));
  static_cast<void>(count);
  delivery.error = received ? received.message() : "";
  if (!received) delivery.status = parser.get().result_int();
  co_return delivery;
}

}  // namespace

struct Webhooks::Impl {
  Impl(const EventFeed& of, WebhookLimits with) : feed(of), limits(with) {
    boost::system::error_code error;
    tls.set_default_verify_paths(error);
    if (error) throw std::runtime_error("notify: the system's authorities cannot be read: " + error.message());
  }

  Task<> follow(config::Notify entry, WebhookAddress address);
  Task<> tell(const config::Notify& entry, const WebhookAddress& address, const NumberedEvent& event);
  Task<Delivery> post(const WebhookAddress& address, const PostRequest& request);
  Task<bool> pause(std::chrono::milliseconds time);

  const EventFeed& feed;
  const WebhookLimits limits;
  asio::ssl::context tls{asio::ssl::context::tls_client};
  asio::io_context context{1};
  std::thread thread;
};

Task<bool> Webhooks::Impl::pause(std::chrono::milliseconds time) {
  Timer timer(context.get_executor(), time);
  const auto [error] = co_await timer.async_wait(asio::as_tuple(use_task));
  co_return !error;
}

Task<> Webhooks::Impl::follow(config::Notify entry, WebhookAddress address) {
  auto after = feed.last();
  for (;;) {
    const auto batch = feed.read(after, batch_events_max);
    if (batch.missed > 0) {
      spdlog::warn("notify: {} has missed {} events: it answers too slowly", address.shown(), batch.missed);
      after = batch.last_missed;
    }
    for (const auto& event : batch.events) {
      if (wants(entry, event->event)) co_await tell(entry, address, *event);
      after = event->id;
    }
    if (batch.events.empty()) co_await pause(limits.look_interval);
  }
}

Task<> Webhooks::Impl::tell(const config::Notify& entry, const WebhookAddress& address, const NumberedEvent& event) {
  PostRequest request(http::verb::post, address.target, 11);
  request.set(http::field::host, address.authority);
  request.set(http::field::user_agent, "holdfast");
  request.set(http::field::content_type, "application/json");
  request.set("X-Holdfast-Event", proxy::to_string(event.event.kind));
  // The same in every attempt: by it the receiver knows one that it has had already.
  request.set("X-Holdfast-Id", std::to_string(event.id));
  request.keep_alive(false);
  request.body() = webhook_body(event);
  request.prepare_payload();
  auto delay = limits.retry_delay;
  for (int attempt = 1;; ++attempt) {
    const auto now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
    request.set("X-Holdfast-Timestamp", std::to_string(now));
    if (!entry.secret.empty()) request.set("X-Holdfast-Signature", webhook_signature(entry.secret, now, request.body()));
    const auto delivery = co_await post(address, request);
    if (delivery.done()) co_return;
    if (attempt >= limits.attempts_max || !delivery.may_succeed_later()) {
      spdlog::warn("notify: gave up telling {} of {}: {}", address.shown(), proxy::to_string(event.event.kind), delivery.text());
      co_return;
    }
    co_await pause(delay);
    delay = std::min(delay * 2, limits.retry_delay_max);
  }
}

Task<Delivery> Webhooks::Impl::post(const WebhookAddress& address, const PostRequest& request) {
  Delivery failed;
  Resolver resolver(context.get_executor());
  const auto [unknown, endpoints] = co_await resolver.async_resolve(address.host, address.port, asio::as_tuple(use_task));
  failed.error = unknown ? unknown.message() : "";
  if (unknown) co_return failed;
  Plain stream(context.get_executor());
  stream.expires_after(limits.request_timeout);
  const auto [refused, endpoint] = co_await stream.async_connect(endpoints, asio::as_tuple(use_task));
  static_cast<void>(endpoint);
  failed.error = refused ? refused.message() : "";
  if (refused) co_return failed;
  if (!address.tls) co_return co_await exchange(stream, request);
  asio::ssl::stream<Plain&> secure(stream, tls);
  boost::system::error_code error;
  secure.set_verify_mode(asio::ssl::verify_peer, error);
  secure.set_verify_callback(asio::ssl::host_name_verification(address.host), error);
  const auto [untrusted] = co_await secure.async_handshake(asio::ssl::stream_base::client, asio::as_tuple(use_task));
  failed.error = untrusted ? untrusted.message() : "";
  if (untrusted) co_return failed;
  co_return co_await exchange(secure, request);
}

Webhooks::Webhooks(const std::vector<config::Notify>& addresses, const EventFeed& feed, WebhookLimits limits)
    : impl_(std::make_unique<Impl>(feed, limits)) {
  for (const auto& entry : addresses) {
    const auto address = parse_webhook(entry.url);
    if (!address) throw std::runtime_error("notify: an address is neither http:// nor https://");
    asio::co_spawn(impl_->context, impl_->follow(entry, *address), [](const std::exception_ptr& thrown) {
      if (!thrown) return;
      try {
        std::rethrow_exception(thrown);
      } catch (const std::exception& error) {
        spdlog::error("notify: stopped telling an address: {}", error.what());
      }
    });
  }
  impl_->thread = std::thread([this] { impl_->context.run(); });
  ::pthread_setname_np(impl_->thread.native_handle(), "notify");
}

Webhooks::~Webhooks() {
  impl_->context.stop();
  impl_->thread.join();
}

}  // namespace holdfast::admin

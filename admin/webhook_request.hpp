// What is sent to a webhook: the address taken apart, the body, the signature. No socket in here.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "admin/event_feed.hpp"
#include "config/config.hpp"

namespace holdfast::admin {

struct WebhookAddress {
  bool tls = false;
  std::string host, port;
  std::string target;     // path and query; may hold a secret, so no log shows it
  std::string authority;  // for the Host header
  /// `https://hooks.example`: what may be shown.
  [[nodiscard]] std::string shown() const { return (tls ? "https://" : "http://") + authority; }
};
/// None where it is no http:// or https:// address; the configuration has checked that it is.
[[nodiscard]] std::optional<WebhookAddress> parse_webhook(std::string_view url);

/// Does this entry want the event? One without a list wants every event.
[[nodiscard]] bool wants(const config::Notify& entry, const proxy::Event& event);

/// The data of the event stream with the event's name: `{"event": …, "id": …, "time": …, "connectionId": …, …}`.
[[nodiscard]] std::string webhook_body(const NumberedEvent& event);

/// `sha256=` and the hex of HMAC-SHA-256 over TIMESTAMP.BODY: the receiver sees that the body is ours, and how old it is.
[[nodiscard]] std::string webhook_signature(const config::Secret& secret, std::int64_t timestamp, std::string_view body);

}  // namespace holdfast::admin

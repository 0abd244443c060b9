// Text in, text out.
#include "admin/webhook_request.hpp"

#include <algorithm>

#include "admin/event_text.hpp"
#include "crypto/hash.hpp"

namespace holdfast::admin {

std::optional<WebhookAddress> parse_webhook(std::string_view url) {
  constexpr std::string_view plain = "http://", secure = "https://";
  WebhookAddress address;
  address.tls = url.starts_with(secure);
  if (!address.tls && !url.starts_with(plain)) return std::nullopt;
  url.remove_prefix(address.tls ? secure.size() : plain.size());
  address.authority = url.substr(0, url.find_first_of("/?#"));
  address.target = url.substr(address.authority.size());
  address.target.erase(std::min(address.target.find('#'), address.target.size()));
  if (!address.target.starts_with('/')) address.target.insert(0, "/");
  std::string_view rest = address.authority;
  if (rest.find('@') != std::string_view::npos) return std::nullopt;
  if (rest.starts_with('[')) {
    const auto end = rest.find(']');
    if (end == std::string_view::npos) return std::nullopt;
    address.host = rest.substr(1, end - 1);
    rest.remove_prefix(end + 1);
  } else {
    address.host = rest.substr(0, rest.find(':'));
    rest.remove_prefix(address.host.size());
  }
  address.port = rest.starts_with(':') ? std::string(rest.substr(1)) : address.tls ? "443" : "80";
  const bool is_number = !address.port.empty() && std::ranges::all_of(address.port, [](char c) { return c >= '0' && c <= '9'; });
  const bool is_clean = std::ranges::all_of(address.authority + address.target, [](char c) { return c > ' ' && c < 0x7f; });
  if (address.host.empty() || !is_number || !is_clean || (!rest.empty() && !rest.starts_with(':'))) return std::nullopt;
  return address;
}

bool wants(const config::Notify& entry, const proxy::Event& event) {
  return entry.events.empty() || std::ranges::find(entry.events, proxy::to_string(event.kind)) != entry.events.end();
}

std::string webhook_body(const NumberedEvent& event) { return event_json(event, EventName::inside); }

std::string webhook_signature(const config::Secret& secret, std::int64_t timestamp, std::string_view body) {
  constexpr std::string_view digits = "0123456789abcdef";
  const auto digest = crypto::hmac_sha256(secret.reveal(), std::to_string(timestamp) + "." + std::string(body));
  std::string text = "sha256=";
  for (const auto byte : digest) text += {digits[byte / 16U], digits[byte % 16U]};
  return text;
}

}  // namespace holdfast::admin

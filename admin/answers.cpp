// Headers that every answer has, and those of files.
#include "admin/answers.hpp"

#include <algorithm>
#include <chrono>
#include <ctime>

namespace holdfast::admin {
namespace {

constexpr const char* html_type = "text/html; charset=utf-8";

/// As the header Date wants it (RFC 9110, section 5.6.7).
std::string http_date() {
  const auto now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  std::tm parts{};
  ::gmtime_r(&now, &parts);
  char text[64];
  return {text, std::strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &parts)};
}

/// Does If-None-Match name this ETag (RFC 9110, section 13.1.2)?
bool names_etag(std::string_view list, std::string_view etag) {
  while (!list.empty()) {
    auto each = list.substr(0, list.find(','));
    list.remove_prefix(std::min(list.size(), each.size() + 1));
    while (each.starts_with(' ')) each.remove_prefix(1);
    while (each.ends_with(' ')) each.remove_suffix(1);
    if (each.starts_with("W/")) each.remove_prefix(2);
    if (each == "*" || each == etag) return true;
  }
  return false;
}

}  // namespace

Response answer(http::status status, const char* content_type, std::string body) {
  Response response(status, 11);
  response.set(http::field::server, "holdfast");
  response.set(http::field::content_type, content_type);
  response.set(http::field::cache_control, "no-store");
  response.set(http::field::date, http_date());
  response.set("X-Content-Type-Options", "nosniff");
  response.set("Referrer-Policy", "no-referrer");
  // No answer is a page that may load, be framed or run anything; the status page brings its own policy.
  response.set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'");
  response.set("X-Frame-Options", "DENY");
  response.body() = std::move(body);
  response.prepare_payload();
  return response;
}

Response file_answer(const Request& request, const Embedded& embedded, const char* content_type) {
  const bool known = names_etag(view_of(request[http::field::if_none_match]), embedded.etag);
  auto response = answer(known ? http::status::not_modified : http::status::ok, content_type,
                         known ? std::string() : std::string(embedded.content));
  response.set(http::field::etag, beast::string_view(embedded.etag.data(), embedded.etag.size()));
  response.set(http::field::cache_control, "no-cache");
  return response;
}

Response page_answer(const Request& request) {
  auto response = file_answer(request, status_page(), html_type);
  const auto policy = status_page_policy().content;
  response.set("Content-Security-Policy", std::string(policy.substr(0, policy.find('\n'))));
  return response;
}

}  // namespace holdfast::admin

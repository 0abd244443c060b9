// Comparisons of headers; nothing here touches a socket.
#include "admin/access.hpp"

#include <boost/asio/ip/address.hpp>

#include <utility>

#include "config/lower.hpp"

namespace holdfast::admin {
namespace {

using config::lower;

/// A Host header without its port and the brackets of an IPv6 address.
std::string host_name(std::string_view host) {
  if (host.starts_with('[')) return lower(host.substr(1, host.find(']') - 1));
  return lower(host.substr(0, host.find(':')));
}

bool is_loopback(const std::string& name) {
  boost::system::error_code error;
  const auto address = boost::asio::ip::make_address(name, error);
  return !error && address.is_loopback();
}

std::optional<std::string> decode(std::string_view text, char plus) {
  const auto digit = [](char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
  };
  std::string result;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      result.push_back(text[i] == '+' ? plus : text[i]);
      continue;
    }
    if (i + 2 >= text.size()) return std::nullopt;
    const int high = digit(text[i + 1]), low = digit(text[i + 2]);
    if (high < 0 || low < 0) return std::nullopt;
    result.push_back(static_cast<char>(high * 16 + low));
    i += 2;
  }
  return result;
}

bool parse_query(std::string_view query, Target& into) {
  while (!query.empty()) {
    const auto field = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(query.size(), field.size() + 1));
    const auto equals = std::min(field.find('='), field.size());
    auto name = decode(field.substr(0, equals), ' ');
    auto value = decode(field.substr(std::min(field.size(), equals + 1)), ' ');
    if (!name || !value) return false;
    into.query.emplace(std::move(*name), std::move(*value));
  }
  return true;
}

}  // namespace

Access::Access(const config::ListenAddress& listen, config::Secret token)
    : any_host_(listen.is_unix() || !listen.is_local()), own_host_(lower(listen.host)), token_(std::move(token)) {}

bool Access::host_allowed(std::string_view host) const {
  if (any_host_) return true;
  const auto name = host_name(host);
  return name == own_host_ || name == "localhost" || is_loopback(name);
}

bool Access::origin_allowed(std::string_view origin, std::string_view host) {
  const auto own = lower(host);
  return lower(origin) == "http://" + own || lower(origin) == "https://" + own;
}

bool Access::token_allowed(std::string_view authorization) const {
  if (token_.empty()) return true;
  constexpr std::string_view scheme = "bearer ";
  if (lower(authorization.substr(0, scheme.size())) != scheme) return false;
  const auto given = authorization.substr(scheme.size());
  const std::string_view wanted = token_.reveal();
  // Every byte that was given is looked at, so that the time tells nothing of where the first difference is.
  volatile unsigned char difference = given.size() == wanted.size() ? 0 : 1;
  for (std::size_t i = 0; i < given.size(); ++i) {
    difference = static_cast<unsigned char>(difference | (given[i] ^ wanted[i % wanted.size()]));
  }
  return difference == 0;
}

std::optional<Target> parse_target(std::string_view target) {
  if (!target.starts_with('/')) return std::nullopt;
  Target result;
  auto path = target.substr(0, target.find('?'));
  if (path.size() < target.size() && !parse_query(target.substr(path.size() + 1), result)) return std::nullopt;
  path.remove_prefix(1);
  while (!path.empty()) {
    const auto segment = path.substr(0, path.find('/'));
    path.remove_prefix(std::min(path.size(), segment.size() + 1));
    auto decoded = decode(segment, '+');
    if (!decoded) return std::nullopt;
    result.path.push_back(std::move(*decoded));
  }
  return result;
}

}  // namespace holdfast::admin

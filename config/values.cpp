// Durations, sizes, addresses: how single values are written.
#include <arpa/inet.h>

#include <charconv>
#include <cmath>
#include <limits>

#include "config/load.hpp"

namespace holdfast::config {
namespace {

/// A decimal number at the front; what follows it is left in `text`.
std::optional<double> take_number(std::string_view& text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, std::chars_format::fixed);
  // No sign, and none of the names that a number may have: infinity, nan.
  if (error != std::errc{} || !std::isfinite(value) || std::signbit(value)) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return value;
}

bool is_address(const std::string& host, int family) {
  unsigned char bytes[sizeof(in6_addr)];
  return ::inet_pton(family, host.c_str(), bytes) == 1;
}

}  // namespace

std::optional<milliseconds> parse_duration(std::string_view text) {
  if (text == "0") return milliseconds(0);
  const auto number = take_number(text);
  if (!number) return std::nullopt;
  double unit = 0;
  if (text == "ms") unit = 1;
  if (text == "s") unit = 1000;
  if (text == "m") unit = 60'000;
  if (text == "h") unit = 3'600'000;
  const double value = *number * unit;
  // A hundred years of milliseconds: beyond that, arithmetic on clocks would not be safe.
  if (unit == 0 || value > 3.2e12) return std::nullopt;
  return milliseconds(std::llround(value));
}

std::optional<std::size_t> parse_size(std::string_view text) {
  const auto number = take_number(text);
  if (!number) return std::nullopt;
  double unit = 0;
  if (text.empty() || text == "B") unit = 1;
  if (text == "KiB") unit = 1024;
  if (text == "MiB") unit = 1024.0 * 1024;
  if (text == "GiB") unit = 1024.0 * 1024 * 1024;
  if (unit == 0 || *number * unit > 1e15) return std::nullopt;
  return static_cast<std::size_t>(*number * unit);
}

std::optional<ListenAddress> parse_listen(std::string_view text, std::string& error) {
  ListenAddress address;
  if (text.starts_with("unix:")) {
    address.unix_path = text.substr(5);
    if (address.unix_path.empty() || address.unix_path[0] != '/' || address.unix_path.size() > 107) {
      error = "a unix socket needs an absolute path of at most 107 bytes, as in unix:/run/holdfast/.s.PGSQL.6432";
      return std::nullopt;
    }
    return address;
  }
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos) {
    error = "expected HOST:PORT, [ADDRESS]:PORT or unix:/PATH";
    return std::nullopt;
  }
  auto host = text.substr(0, colon);
  const auto port = text.substr(colon + 1);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  address.host = host;
  unsigned value = 0;
  const auto [end, failed] = std::from_chars(port.data(), port.data() + port.size(), value);
  if (failed != std::errc{} || end != port.data() + port.size() || value > 65'535) {
    error = "the port must be a number from 0 to 65535";
    return std::nullopt;
  }
  address.port = static_cast<std::uint16_t>(value);
  const bool known = address.host == "localhost" || address.host == "*" || is_address(address.host, AF_INET) ||
                     is_address(address.host, AF_INET6);
  if (!known) {
    error = "\"" + address.host + "\" is not an address to listen on: use an IP address, localhost, or *";
    return std::nullopt;
  }
  return address;
}

bool ListenAddress::is_local() const {
  return is_unix() || host == "localhost" || host == "::1" || host.starts_with("127.");
}

std::string ListenAddress::to_string() const {
  if (is_unix()) return "unix:" + unix_path;
  const bool bracket = host.find(':') != std::string::npos;
  return (bracket ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

std::string HostPort::to_string() const {
  const bool bracket = host.find(':') != std::string::npos;
  return (bracket ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

std::string Mistake::to_string() const {
  if (line == 0) return origin + ": " + message;
  return origin + ":" + std::to_string(line) + ":" + std::to_string(column) + ": " + message;
}

}  // namespace holdfast::config

// Connection URIs as libpq reads them (PostgreSQL documentation, "Connection URIs").
#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config/load.hpp"
#include "config/percent.hpp"
#include "config/uri.hpp"

namespace holdfast::config {
namespace {

/// Parameters that libpq knows and that have no meaning for a proxy.
constexpr std::array ignored_parameters{
    "client_encoding", "fallback_application_name", "gssencmode", "gsslib", "gssdelegation",
    "keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "krbsrvname", "load_balance_hosts",
    "max_protocol_version", "min_protocol_version", "passfile", "replication", "requirepeer", "service",
    "ssl_max_protocol_version", "ssl_min_protocol_version", "sslcertmode", "sslcompression", "sslcrldir", "sslpassword",
    "sslsni", "tcp_user_timeout"};

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (;;) {
    const auto at = text.find(separator);
    parts.push_back(text.substr(0, at));
    if (at == std::string_view::npos) return parts;
    text.remove_prefix(at + 1);
  }
}

template <class Enum, std::size_t Size>
bool choose(const std::array<std::pair<std::string_view, Enum>, Size>& words, std::string_view value, Enum& out,
            std::string_view name, std::string& error) {
  std::string known;
  for (const auto& [word, meaning] : words) {
    if (word == value) {
      out = meaning;
      return true;
    }
    known += (known.empty() ? "" : ", ") + std::string(word);
  }
  error = std::string(name) + " must be one of " + known;
  return false;
}

constexpr std::array<std::pair<std::string_view, SslMode>, 6> ssl_modes{{{"disable", SslMode::disable},
                                                                        {"allow", SslMode::allow},
                                                                        {"prefer", SslMode::prefer},
                                                                        {"require", SslMode::require},
                                                                        {"verify-ca", SslMode::verify_ca},
                                                                        {"verify-full", SslMode::verify_full}}};
constexpr std::array<std::pair<std::string_view, ChannelBinding>, 3> channel_bindings{
    {{"disable", ChannelBinding::disable}, {"prefer", ChannelBinding::prefer}, {"require", ChannelBinding::require}}};
constexpr std::array<std::pair<std::string_view, TargetSessionAttrs>, 6> session_attributes{
    {{"any", TargetSessionAttrs::any},
     {"read-write", TargetSessionAttrs::read_write},
     {"read-only", TargetSessionAttrs::read_only},
     {"primary", TargetSessionAttrs::primary},
     {"standby", TargetSessionAttrs::standby},
     {"prefer-standby", TargetSessionAttrs::prefer_standby}}};

class Parser {
 public:
  explicit Parser(std::string& error) : error_(error) {}

  std::optional<PostgresUri> parse(std::string_view text) {
    for (const std::string_view scheme : {"postgresql://", "postgres://"}) {
      if (!text.starts_with(scheme)) continue;
      text.remove_prefix(scheme.size());
      if (!take_parts(text) || !resolve_hosts()) {
        const auto are_parameters = [](std::string_view parameters) {
          std::string unused;
          return Parser(unused).take_parameters(parameters);
        };
        if (login_goes_on(behind_login(text), are_parameters)) error_ = unencoded_login;
        return std::nullopt;
      }
      if (uri_.database.empty()) uri_.database = uri_.user;
      return std::move(uri_);
    }
    error_ = "a PostgreSQL URI begins with postgres:// or postgresql://";
    return std::nullopt;
  }

  /// Cut where libpq cuts: a login ends at the first '@' that no '/' precedes, whatever else stands before it.
  static std::string_view behind_login(std::string_view text) {
    const auto stop = text.find_first_of("@/");
    return stop != std::string_view::npos && text[stop] == '@' ? text.substr(stop + 1) : text;
  }

 private:
  bool fail(std::string error) {
    error_ = std::move(error);
    return false;
  }
  bool decoded(std::string_view text, std::string& out) {
    auto value = percent_decode(text);
    if (!value) return fail("a percent sign in a URI must be followed by two hexadecimal digits");
    out = std::move(*value);
    return true;
  }

  bool take_parts(std::string_view text) {
    const auto rest = behind_login(text);
    if (rest.size() < text.size() && !take_user(text.substr(0, text.size() - rest.size() - 1))) return false;
    text = rest;
    if (!take_authority(text)) return false;
    if (text.starts_with('/')) {
      const auto name = take_until(text, "?").substr(1);
      if (!decoded(name, uri_.database)) return false;
    }
    if (!text.empty()) text.remove_prefix(1);
    return take_parameters(text);
  }

  static std::string_view take_until(std::string_view& text, std::string_view ends) {
    const auto taken = text.substr(0, text.find_first_of(ends));
    text.remove_prefix(taken.size());
    return taken;
  }

  bool take_parameters(std::string_view text) {
    while (!text.empty()) {
      const auto part = take_until(text, "&");
      if (!text.empty()) text.remove_prefix(1);
      const auto equals = part.find('=');
      if (equals == std::string_view::npos || part.find('=', equals + 1) != std::string_view::npos) {
        return fail("a parameter in a URI needs the form name=value");
      }
      std::string name, value;
      if (!decoded(part.substr(0, equals), name) || !decoded(part.substr(equals + 1), value)) return false;
      if (!set(name, value)) return false;
    }
    return true;
  }

  bool take_user(std::string_view text) {
    const auto colon = text.find(':');
    if (!decoded(text.substr(0, colon), uri_.user)) return false;
    if (colon == std::string_view::npos) return true;
    std::string password;
    if (!decoded(text.substr(colon + 1), password)) return false;
    uri_.password = Secret(std::move(password));
    return true;
  }

  bool take_authority(std::string_view& text) {
    std::string hosts, ports;
    for (;;) {
      if (text.starts_with('[')) {
        const auto close = text.find(']');
        if (close == std::string_view::npos) return fail("an IPv6 address in a URI must end with ]");
        if (close == 1) return fail("an IPv6 address in a URI must not be empty");
        hosts += text.substr(1, close - 1);
        text.remove_prefix(close + 1);
        if (text.find_first_not_of(":/?,") == 0) return fail("after ] only a port may follow");
      } else {
        hosts += take_until(text, ":/?,");
      }
      if (text.starts_with(':')) ports += take_until(text, "/?,").substr(1);
      if (!text.starts_with(',')) break;
      text.remove_prefix(1);
      hosts += ',';
      ports += ',';
    }
    // Decoded before they are split, so that %2C separates too.
    return (hosts.empty() || set_list(hosts, hosts_)) && (ports.empty() || set_list(ports, ports_));
  }

  bool set_list(const std::string& text, std::vector<std::string>& into) {
    std::string plain;
    if (!decoded(text, plain)) return false;
    into.clear();
    for (const auto part : split(plain, ',')) into.emplace_back(part);
    return true;
  }

  bool set(const std::string& name, const std::string& value) {
    const auto list = [&](std::vector<std::string>& into) {
      into.clear();
      for (const auto part : split(value, ',')) into.emplace_back(part);
      return true;
    };
    const std::pair<std::string_view, std::string*> texts[] = {
        {"user", &uri_.user},           {"dbname", &uri_.database},   {"sslrootcert", &uri_.sslrootcert},
        {"sslcert", &uri_.sslcert},     {"sslkey", &uri_.sslkey},     {"sslcrl", &uri_.sslcrl},
        {"options", &uri_.options},     {"application_name", &uri_.application_name}};
    for (const auto& [known, into] : texts) {
      if (name == known) {
        *into = value;
        return true;
      }
    }
    if (name == "host") return list(hosts_);
    if (name == "hostaddr") return list(hosts_);
    if (name == "port") return list(ports_);
    if (name == "password") {
      uri_.password = Secret(value);
      return true;
    }
    if (name == "sslmode") return choose(ssl_modes, value, uri_.sslmode, name, error_);
    if (name == "target_session_attrs") {
      return choose(session_attributes, value, uri_.target_session_attrs, name, error_);
    }
    if (name == "channel_binding") return choose(channel_bindings, value, uri_.channel_binding, name, error_);
    if (name == "require_auth") {
      // To take the URI and not to do what it asks for would be less than its writer relies on.
      return value.empty() || fail("require_auth is not supported; channel_binding=require is");
    }
    if (name == "sslnegotiation") {
      if (value != "direct" && value != "postgres") return fail("sslnegotiation must be one of postgres, direct");
      uri_.ssl_direct = value == "direct";
      return true;
    }
    if (name == "ssl") {
      if (value != "true") return fail("ssl must be true; use sslmode for anything else");
      uri_.sslmode = SslMode::require;
      return true;
    }
    if (name == "connect_timeout") {
      int seconds = 0;
      const auto [end, failed] = std::from_chars(value.data(), value.data() + value.size(), seconds);
      if (failed != std::errc{} || end != value.data() + value.size()) return fail("connect_timeout must be a number of seconds");
      if (seconds > 0) uri_.connect_timeout = milliseconds(seconds * 1000LL);
      return true;
    }
    if (std::ranges::find(ignored_parameters, name) != ignored_parameters.end()) return true;
    return fail("unknown parameter \"" + name + "\" in the URI");
  }

  bool resolve_hosts() {
    if (hosts_.empty()) hosts_.emplace_back("localhost");
    if (ports_.empty()) ports_.emplace_back("");
    if (ports_.size() != 1 && ports_.size() != hosts_.size()) return fail("a URI needs one port, or one for each host");
    for (std::size_t i = 0; i < hosts_.size(); ++i) {
      const auto& port = ports_.size() == 1 ? ports_[0] : ports_[i];
      unsigned value = 5432;
      if (!port.empty()) {
        const auto [end, failed] = std::from_chars(port.data(), port.data() + port.size(), value);
        if (failed != std::errc{} || end != port.data() + port.size() || value == 0 || value > 65'535) {
          return fail("a port in a URI must be a number from 1 to 65535");
        }
      }
      uri_.hosts.push_back({hosts_[i].empty() ? "localhost" : hosts_[i], static_cast<std::uint16_t>(value)});
    }
    return true;
  }

  std::string& error_;
  PostgresUri uri_;
  std::vector<std::string> hosts_, ports_;
};

}  // namespace

std::optional<PostgresUri> parse_postgres_uri(std::string_view text, std::string& error) {
  return Parser(error).parse(text);
}

bool has_late_at_sign(std::string_view postgres_uri) {
  const auto rest = Parser::behind_login(postgres_uri.substr(postgres_uri.find("://") + 3));
  return login_goes_on(rest, [](std::string_view) { return true; });
}

// Hides too much rather than too little: a password with unquoted '@', '/' or '?' in it is no URI, but is shown all the same.
std::string redact_uri(std::string_view uri) {
  std::string out(uri);
  const auto scheme = out.find("://");
  if (scheme == std::string::npos) return out;
  const auto start = scheme + 3;
  const auto stop = out.find_first_of("@/", start);
  auto query = out.find('?', stop != std::string::npos && out[stop] == '@' ? stop : start);
  auto at = out.rfind('@', query);
  if (at == std::string::npos || at < start) at = out.rfind('@');
  const bool within_value = query != std::string::npos && at > query && out.find('=', query) < at;
  const auto colon = out.find(':', start);
  if (at != std::string::npos && at >= start && !within_value && colon < at) {
    out.replace(colon + 1, at - colon - 1, "***");
    query = out.find('?', colon + 4);
  }
  while (query != std::string::npos) {
    const auto equals = out.find_first_of("=&", query + 1);
    auto name = percent_decode(std::string_view(out).substr(query + 1, equals == std::string::npos ? equals : equals - query - 1));
    if (name) std::ranges::transform(*name, name->begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    const auto end = std::min(out.find('&', query + 1), out.size());
    const bool secret = name && (name->ends_with("password") || name->ends_with("key") || name->ends_with("secret"));
    if (secret && equals < end && *name != "sslkey") out.replace(equals + 1, end - equals - 1, "***");
    query = out.find('&', query + 1);
  }
  return out;
}

}  // namespace holdfast::config

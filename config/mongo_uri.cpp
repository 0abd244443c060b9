// Connection strings as MongoDB's drivers read them. An option that says how the upstream is reached and is not served is a
// mistake, not passed over; those that concern a driver's own pools and timers have no meaning for a proxy.
#include <algorithm>
#include <array>
#include <charconv>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config/load.hpp"
#include "config/lower.hpp"
#include "config/percent.hpp"
#include "config/uri.hpp"

namespace holdfast::config {
namespace {

constexpr std::uint16_t usual_port = 27017;

/// Of a driver's own pools, timers and preferences: a client's affair, in its own connection string.
constexpr std::array driver_options{
    "heartbeatfrequencyms", "localthresholdms", "maxidletimems", "maxpoolsize", "maxconnecting", "maxstalenessseconds",
    "minpoolsize", "readconcernlevel", "readpreference", "readpreferencetags", "retryreads", "retrywrites",
    "serverselectiontimeoutms", "serverselectiontryonce", "servermonitoringmode", "sockettimeoutms", "timeoutms",
    "uuidrepresentation", "w", "waitqueuetimeoutms", "wtimeoutms", "journal"};

constexpr std::array<std::string_view, 3> compressors{"zstd", "zlib", "snappy"};

class Parser {
 public:
  explicit Parser(std::string& error) : error_(error) {}

  std::optional<MongoUri> parse(std::string_view text) {
    constexpr std::string_view scheme = "mongodb://", srv_scheme = "mongodb+srv://";
    if (text.starts_with(srv_scheme)) uri_.srv.emplace();
    if (!uri_.srv && !text.starts_with(scheme)) return fail("a MongoDB URI begins with mongodb:// or mongodb+srv://");
    text.remove_prefix(uri_.srv ? srv_scheme.size() : scheme.size());
    // A password may hold no '/', '?' or '@' unescaped, so the login ends at the last '@' before the first of the others.
    const auto end = std::min(text.find_first_of("/?"), text.size());
    auto authority = text.substr(0, end);
    auto rest = text.substr(end);
    const auto are_options = [this](std::string_view options) {
      std::string unused;
      Parser trial(unused);
      trial.uri_.srv = uri_.srv;
      return trial.take_options(options);
    };
    if (login_goes_on(rest, are_options)) return fail(unencoded_login);
    if (const auto at = authority.rfind('@'); at != std::string_view::npos) {
      if (!take_user(authority.substr(0, at))) return std::nullopt;
      authority.remove_prefix(at + 1);
    }
    if (!(uri_.srv ? take_srv_host(authority) : take_hosts(authority))) return std::nullopt;
    if (rest.starts_with('/')) {
      rest.remove_prefix(1);
      const auto database = rest.substr(0, rest.find('?'));
      if (!decoded(database, database_)) return std::nullopt;
      rest.remove_prefix(database.size());
    }
    if (!rest.empty()) rest.remove_prefix(1);
    if (!take_options(rest) || !conclude()) return std::nullopt;
    return std::move(uri_);
  }

 private:
  std::nullopt_t fail(std::string error) {
    error_ = std::move(error);
    return std::nullopt;
  }
  bool decoded(std::string_view text, std::string& out) {
    auto value = percent_decode(text);
    if (!value) {
      error_ = "a percent sign in a URI must be followed by two hexadecimal digits";
      return false;
    }
    out = std::move(*value);
    return true;
  }

  bool take_user(std::string_view text) {
    const auto colon = text.find(':');
    if (!decoded(text.substr(0, colon), uri_.user)) return false;
    std::string password;
    if (colon != std::string_view::npos && !decoded(text.substr(colon + 1), password)) return false;
    uri_.password = Secret(std::move(password));
    if (!uri_.user.empty()) return true;
    error_ = "before the @ of a URI a user must stand";
    return false;
  }

  bool take_hosts(std::string_view text) {
    for (;;) {
      const auto comma = text.find(',');
      if (!take_host(text.substr(0, comma))) return false;
      if (comma == std::string_view::npos) return true;
      text.remove_prefix(comma + 1);
    }
  }

  /// "Initial DNS Seedlist Discovery" specification.
  bool take_srv_host(std::string_view text) {
    std::string host;
    if (!decoded(text, host)) return false;
    if (host.find_first_of(",:[/") != std::string::npos) return fail("a mongodb+srv:// URI names one host, without a port"), false;
    if (host.ends_with('.')) host.pop_back();
    const bool empty_part = host.empty() || host.front() == '.' || host.find("..") != std::string::npos;
    if (empty_part || std::ranges::count(host, '.') < 2) {
      return fail("the host of a mongodb+srv:// URI needs at least three parts, as in db.example.com"), false;
    }
    uri_.srv->host = lower(host);
    uri_.hosts.push_back({uri_.srv->host, usual_port});
    uri_.tls = true;
    return true;
  }

  bool take_host(std::string_view text) {
    HostPort host;
    host.port = usual_port;
    std::string_view port;
    if (text.starts_with('[')) {
      const auto close = text.find(']');
      if (close == std::string_view::npos) return fail("an IPv6 address in a URI must end with ]"), false;
      host.host = text.substr(1, close - 1);
      port = text.substr(close + 1);
    } else {
      const auto colon = text.find(':');
      if (!decoded(text.substr(0, colon), host.host)) return false;
      if (colon != std::string_view::npos) port = text.substr(colon);
    }
    if (host.host.empty()) return fail("a URI needs at least one host, and none may be empty"), false;
    if (host.host.starts_with('/')) return fail("unix sockets are not served as an upstream of type mongodb"), false;
    if (!port.empty()) {
      unsigned value = 0;
      const auto* end = port.data() + port.size();
      const auto [stop, failed] = std::from_chars(port.data() + 1, end, value);
      if (port.front() != ':' || failed != std::errc{} || stop != end || value == 0 || value > 65'535) {
        return fail("a port in a URI must be a number from 1 to 65535"), false;
      }
      host.port = static_cast<std::uint16_t>(value);
    }
    uri_.hosts.push_back(std::move(host));
    return true;
  }

  bool take_options(std::string_view text) {
    while (!text.empty()) {
      const auto part = text.substr(0, text.find_first_of("&;"));
      text.remove_prefix(std::min(text.size(), part.size() + 1));
      const auto equals = part.find('=');
      if (equals == std::string_view::npos) return fail("an option in a URI needs the form name=value"), false;
      std::string value;
      if (!decoded(part.substr(equals + 1), value) || !set(std::string(part.substr(0, equals)), value)) return false;
    }
    return true;
  }

  bool flag(const std::string& name, const std::string& value, bool& into) {
    if (value != "true" && value != "false") return fail(name + " must be true or false"), false;
    into = value == "true";
    return true;
  }

  bool lax(const std::string& name, const std::string& value, bool& strict) {
    bool allowed = false;
    if (!flag(name, value, allowed)) return false;
    strict = !allowed;
    return tls_meant_ = true;
  }

  bool set(const std::string& name, const std::string& value) {
    const auto key = lower(name);
    bool ignored = false;
    if (key == "replicaset") return uri_.replica_set = value, true;
    if (key == "authsource") return auth_source_ = value, true;
    if (key == "appname") return uri_.application_name = value, true;
    if (key == "directconnection") return flag(name, value, uri_.direct);
    if (key == "tls" || key == "ssl") return flag(name, value, uri_.tls) && (tls_said_ = true);
    if (key == "tlscafile") return uri_.tls_ca_file = value, tls_meant_ = true;
    if (key == "tlscertificatekeyfile") return uri_.tls_certificate_key_file = value, tls_meant_ = true;
    if (key == "tlsallowinvalidcertificates") return lax(name, value, uri_.tls_verify);
    if (key == "tlsallowinvalidhostnames") return lax(name, value, uri_.tls_verify_host);
    if (key == "tlsinsecure") return lax(name, value, uri_.tls_verify) && lax(name, value, uri_.tls_verify_host);
    if (key == "loadbalanced") {
      if (!flag(name, value, ignored)) return false;
      return !ignored || (fail("loadBalanced=true is not served as an upstream"), false);
    }
    if (key == "srvservicename" || key == "srvmaxhosts") return set_srv(name, value);
    if (key == "authmechanism") return set_mechanism(value);
    if (key == "compressors") return set_compressors(value);
    if (key == "zlibcompressionlevel") {
      long level = 0;
      if (!number(value, level) || level < -1 || level > 9) return fail(name + " must be a number from -1 to 9"), false;
      uri_.zlib_level = static_cast<int>(level);
      return true;
    }
    if (key == "connecttimeoutms") {
      long milli = 0;
      if (!number(value, milli) || milli < 0) return fail(name + " must be a number of milliseconds"), false;
      if (milli > 0) uri_.connect_timeout = milliseconds(milli);
      return true;
    }
    if (std::ranges::find(driver_options, key) != driver_options.end()) return true;
    return fail("the option \"" + name + "\" of a MongoDB URI is unknown or not served"), false;
  }

  static bool number(const std::string& value, long& into) {
    const auto* end = value.data() + value.size();
    const auto [stop, failed] = std::from_chars(value.data(), end, into);
    return failed == std::errc{} && stop == end;
  }

  bool set_srv(const std::string& name, const std::string& value) {
    if (!uri_.srv) return fail(name + " goes with mongodb+srv:// only"), false;
    if (lower(name) == "srvmaxhosts") {
      long most = 0;
      if (!number(value, most) || most < 0 || most > 1000) return fail(name + " must be a number from 0 to 1000"), false;
      uri_.srv->hosts_max = static_cast<std::uint32_t>(most);
      return true;
    }
    const auto allowed = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'; };
    if (value.empty() || value.size() > 15 || !std::ranges::all_of(lower(value), allowed)) {
      return fail(name + " must be a service's name: up to 15 letters, digits and hyphens"), false;
    }
    uri_.srv->service = value;
    return true;
  }

  bool set_compressors(std::string_view list) {
    uri_.compressors.clear();
    while (!list.empty()) {
      const auto name = list.substr(0, list.find(','));
      list.remove_prefix(std::min(list.size(), name.size() + 1));
      if (std::ranges::find(compressors, name) == compressors.end()) {
        return fail("compressors must be a list of zstd, zlib and snappy"), false;
      }
      if (std::ranges::find(uri_.compressors, name) == uri_.compressors.end()) uri_.compressors.emplace_back(name);
    }
    return true;
  }

  bool set_mechanism(const std::string& value) {
    if (value == "SCRAM-SHA-256") return uri_.mechanism = MongoMechanism::scram_sha_256, true;
    if (value == "SCRAM-SHA-1") return uri_.mechanism = MongoMechanism::scram_sha_1, true;
    if (value == "MONGODB-X509") return uri_.mechanism = MongoMechanism::x509, true;
    return fail("authMechanism must be SCRAM-SHA-256, SCRAM-SHA-1 or MONGODB-X509; others are not served"), false;
  }

  bool conclude() {
    uri_.auth_database = !auth_source_.empty() ? auth_source_ : !database_.empty() ? database_ : "admin";
    if (uri_.direct && uri_.hosts.size() > 1) return fail("directConnection=true goes with one host only"), false;
    if (uri_.srv) {
      uri_.srv->auth_source_said = !auth_source_.empty();
      if (uri_.direct) return fail("directConnection=true does not go with mongodb+srv://"), false;
      if (uri_.srv->hosts_max > 0 && !uri_.replica_set.empty()) return fail("srvMaxHosts does not go with replicaSet"), false;
    }
    if (tls_said_ && !uri_.tls && tls_meant_) return fail("tls=false does not go with other tls options"), false;
    uri_.tls = uri_.tls || tls_meant_;
    if (uri_.mechanism != MongoMechanism::x509) return true;
    if (!uri_.password.empty()) return fail("MONGODB-X509 takes no password"), false;
    if (uri_.tls_certificate_key_file.empty()) return fail("MONGODB-X509 needs tls=true and tlsCertificateKeyFile"), false;
    if (!auth_source_.empty() && auth_source_ != "$external") return fail("MONGODB-X509 has no authSource but $external"), false;
    uri_.auth_database = "$external";
    return true;
  }

  std::string& error_;
  MongoUri uri_;
  std::string database_, auth_source_;
  bool tls_said_ = false;   // tls= or ssl= stands there
  bool tls_meant_ = false;  // an option that means nothing without TLS stands there
};

}  // namespace

std::optional<MongoUri> parse_mongo_uri(std::string_view text, std::string& error) { return Parser(error).parse(text); }

}  // namespace holdfast::config

// The configuration in force, as plain structs: what the file, the environment and the flags say after validation.
// Nothing here reads or checks anything; load.hpp does.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace holdfast::config {

using std::chrono::milliseconds;

/// A string that must never reach a log, an API answer or a process title. Has no stream operator on purpose.
class Secret {
 public:
  Secret() = default;
  explicit Secret(std::string value) : value_(std::move(value)) {}
  /// The value itself; the caller must not print it.
  [[nodiscard]] const std::string& reveal() const { return value_; }
  [[nodiscard]] bool empty() const { return value_.empty(); }
  bool operator==(const Secret&) const = default;

 private:
  std::string value_;
};

/// Where a listener is bound: a TCP address or a unix socket's path.
struct ListenAddress {
  std::string host;         // empty for a unix socket; an IPv6 address stands without brackets
  std::uint16_t port = 0;   // 0 lets the kernel choose
  std::string unix_path;    // empty for TCP
  bool operator==(const ListenAddress&) const = default;
  [[nodiscard]] bool is_unix() const { return !unix_path.empty(); }
  /// Loopback or a unix socket: nobody on another machine can reach it.
  [[nodiscard]] bool is_local() const;
  /// As it is written in the configuration: `127.0.0.1:6432`, `[::1]:6432`, `unix:/path`.
  [[nodiscard]] std::string to_string() const;
};

/// One host of an upstream URI.
struct HostPort {
  std::string host;  // a name, an address, or (starting with '/') the folder of a unix socket
  std::uint16_t port = 0;
  bool operator==(const HostPort&) const = default;
  [[nodiscard]] std::string to_string() const;
};

enum class SslMode { disable, allow, prefer, require, verify_ca, verify_full };
enum class ChannelBinding { disable, prefer, require };
enum class TargetSessionAttrs { any, read_write, read_only, primary, standby, prefer_standby };

/// A connection URI of libpq's, taken apart (PostgreSQL documentation, "Connection URIs").
struct PostgresUri {
  std::vector<HostPort> hosts;  // at least one
  std::string user;             // may be empty: then passthrough only
  Secret password;
  std::string database;         // empty: same as user
  SslMode sslmode = SslMode::prefer;
  bool ssl_direct = false;      // sslnegotiation=direct
  ChannelBinding channel_binding = ChannelBinding::prefer;
  std::string sslrootcert, sslcert, sslkey, sslcrl;
  TargetSessionAttrs target_session_attrs = TargetSessionAttrs::any;
  std::string application_name;
  std::string options;          // passed on in the startup packet of the standing connection
  std::optional<milliseconds> connect_timeout;
  bool operator==(const PostgresUri&) const = default;
};

/// How the proxy itself logs in. `negotiated`: the best that the server has for the user.
enum class MongoMechanism { negotiated, scram_sha_256, scram_sha_1, x509 };

/// Of a mongodb+srv:// URI: where DNS has the hosts.
struct MongoSrv {
  std::string host;               // the name in the URI, in lower case
  std::string service = "mongodb";
  std::uint32_t hosts_max = 0;    // 0: all
  bool auth_source_said = false;  // the URI has an authSource, so DNS has none to say
  bool operator==(const MongoSrv&) const = default;
  /// What is looked up: _mongodb._tcp.HOST.
  [[nodiscard]] std::string name() const { return "_" + service + "._tcp." + host; }
};

/// A connection string of MongoDB's drivers, taken apart (MongoDB manual, "Connection Strings").
struct MongoUri {
  std::vector<HostPort> hosts;  // at least one; with `srv` its name stands in for them until they are looked up
  std::optional<MongoSrv> srv;
  std::string user;             // empty: no login
  Secret password;
  std::string auth_database;    // authSource, or what stands in its place
  std::string replica_set;      // empty: a standalone server, or whatever set the hosts are members of
  bool direct = false;          // directConnection=true
  MongoMechanism mechanism = MongoMechanism::negotiated;
  bool tls = false;
  bool tls_verify = true;        // the chain; tlsAllowInvalidCertificates=true turns it off
  bool tls_verify_host = true;   // the name; tlsAllowInvalidHostnames=true turns it off
  std::string tls_ca_file;       // empty: the system's store
  std::string tls_certificate_key_file;  // of ours, both in one file; empty: none
  std::vector<std::string> compressors;  // zstd, zlib, snappy, the most wanted first; empty: nothing is compressed
  int zlib_level = -1;                   // 0 to 9; -1: zlib's own choice
  std::string application_name;
  std::optional<milliseconds> connect_timeout;
  bool operator==(const MongoUri&) const = default;
};

struct Reconnect {
  std::uint32_t max_retries = 3;
  milliseconds retry_delay{5'000};
  double multiplier = 2;
  milliseconds max_delay{60'000};
  double jitter = 0.2;  // share of the delay drawn at random, 0 to 1
  milliseconds connection_timeout{10'000};
  milliseconds keep_alive_interval{60'000};
  milliseconds hang_timeout{5'000};
  milliseconds probe_interval{100};
  milliseconds hold_timeout{60'000};
  std::uint32_t concurrency = 16;
  bool operator==(const Reconnect&) const = default;
};

struct Health {
  milliseconds interval{30'000};
  milliseconds timeout{5'000};
  std::uint32_t failures = 3;
  bool operator==(const Health&) const = default;
};

struct TlsFiles {
  std::string cert_file, key_file, client_ca_file;
  bool operator==(const TlsFiles&) const = default;
};

struct User {
  std::string name;
  Secret password;          // either this …
  Secret scram;             // … or a verifier as in pg_authid
  std::string password_file, password_env;  // where `password` came from, for a reload
  bool operator==(const User&) const = default;
};

struct AuthQuery {
  std::string sql;
  std::string user;
  Secret password;
  std::string password_file, password_env;
  bool operator==(const AuthQuery&) const = default;
};

enum class ConnectionType { postgres, mongodb };
enum class AuthMode { passthrough, scram, trust };
enum class LostState { disconnect, error };
enum class ExactlyOnce { off, on };
enum class MongoFace { automatic, mongos, standalone };
enum class MongoPool { shared, session };

struct Connection {
  std::string id;
  ConnectionType type = ConnectionType::postgres;
  std::vector<ListenAddress> listen;
  std::string upstream;      // the URI without its password, for display
  PostgresUri postgres;      // `upstream` taken apart; its password already resolved from file, env, URI, PGPASSFILE
  MongoUri mongo;            // the same for type mongodb
  std::string password_file, password_env;
  AuthMode auth = AuthMode::passthrough;
  std::vector<User> users;
  std::vector<std::string> databases;  // empty: any
  std::optional<TlsFiles> tls;
  std::uint32_t max_clients = 1000;
  bool replay = true;
  std::size_t replay_limit = 1 << 20;  // bytes
  milliseconds replay_time_limit{30'000};
  ExactlyOnce exactly_once = ExactlyOnce::off;
  LostState lost_state = LostState::disconnect;
  std::string unknown_outcome_code = "08007";
  std::vector<std::string> read_only_functions;
  std::size_t message_buffer = 64 * 1024;  // bytes
  std::optional<AuthQuery> auth_query;
  bool keep_passwords = false;
  milliseconds pause_timeout{600'000};
  std::vector<std::string> ignore_startup_parameters;
  milliseconds server_lifetime{0};  // 0: never
  MongoFace face = MongoFace::automatic;
  bool upgrade_writes = true;
  MongoPool pool = MongoPool::shared;
  std::uint32_t pool_max = 100;              // connections to one member, where they are shared
  milliseconds pool_idle_timeout{600'000};
  Reconnect reconnect;
  Health health;
  bool operator==(const Connection&) const = default;
};

enum class LogLevel { debug, info, warn, error };
enum class LogFormat { text, json };

struct Log {
  LogLevel level = LogLevel::info;
  LogFormat format = LogFormat::text;
  bool operator==(const Log&) const = default;
};

struct Admin {
  std::optional<ListenAddress> listen;  // none: off
  std::string token_file;
  Secret token;
  std::optional<TlsFiles> tls;
  bool operator==(const Admin&) const = default;
};

struct Notify {
  std::string url;
  std::vector<std::string> events;
  Secret secret;
  std::string secret_file;
  bool operator==(const Notify&) const = default;
};

struct Config {
  Admin admin;
  std::vector<Notify> notify;
  Log log;
  std::uint32_t workers = 1;  // threads; 0 = one for each core
  milliseconds drain_timeout{25'000};
  bool watch_files = false;  // reload when this file or one that it names has changed
  Reconnect reconnect;
  Health health;
  std::vector<Connection> connections;
  /// Where each single value that is not a default was read: `file:LINE`, `environment NAME` or the flag, by dotted path.
  std::map<std::string, std::string> origins;
  bool operator==(const Config&) const = default;
};

}  // namespace holdfast::config

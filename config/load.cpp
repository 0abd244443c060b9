// From a tree of settings to a validated Config.
#include "config/load.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <map>
#include <set>

#include "config/collisions.hpp"
#include "config/crypto_syntax.hpp"
#include "config/fields.hpp"
#include "config/passfile.hpp"
#include "config/section.hpp"
#include "config/tree.hpp"
#include "config/uri.hpp"

namespace holdfast::config {
namespace {

/// As docs/operations.md lists them.
constexpr std::array<std::string_view, 8> event_names{
    "database-connected",    "database-connection-lost",  "database-reconnect-scheduled", "database-reconnecting",
    "database-reconnected",  "database-reconnect-failed", "database-health-check-failed", "config-changed"};

milliseconds whole(double value) { return milliseconds(static_cast<milliseconds::rep>(value)); }

/// Reads one field, as the kind of its member.
template <class Settings>
void read_field(Section& section, const Field<Settings>& field, Settings& into) {
  if (const auto* duration = std::get_if<milliseconds Settings::*>(&field.member)) {
    section.duration(field.name, into.*(*duration), whole(field.least));
  } else if (const auto* number = std::get_if<std::uint32_t Settings::*>(&field.member)) {
    section.number(field.name, into.*(*number), static_cast<std::uint32_t>(field.least), static_cast<std::uint32_t>(field.most));
  } else if (const auto* real = std::get_if<double Settings::*>(&field.member)) {
    section.real(field.name, into.*(*real), field.least, field.most);
  }
}

/// `reconnect` or `health`.
template <class Settings>
void read_fields(LoadState& state, const YAML::Node& node, const std::string& path, Settings& into) {
  Section section(state, node, path);
  for (const auto& field : Fields<Settings>::all) read_field(section, field, into);
  section.finish();
}

void check_readable(Section& section, std::string_view key, const std::string& path) {
  if (path.empty() || ::access(path.c_str(), R_OK) == 0) return;
  section.mistake(section.take(key), key, "cannot read " + path);
}

std::optional<TlsFiles> read_tls(LoadState& state, const YAML::Node& node, const std::string& path) {
  if (!node) return std::nullopt;
  Section section(state, node, path);
  TlsFiles files;
  section.text("cert_file", files.cert_file);
  section.text("key_file", files.key_file);
  section.text("client_ca_file", files.client_ca_file);
  if (files.cert_file.empty() || files.key_file.empty()) section.mistake_here("needs cert_file and key_file");
  check_readable(section, "cert_file", files.cert_file);
  check_readable(section, "key_file", files.key_file);
  check_readable(section, "client_ca_file", files.client_ca_file);
  section.finish();
  return files;
}

bool read_listen(Section& section, const YAML::Node& node, std::string_view key, std::vector<ListenAddress>& into) {
  std::vector<YAML::Node> entries;
  if (node.IsSequence()) {
    for (const auto& entry : node) entries.push_back(entry);
  } else {
    entries.push_back(node);
  }
  if (entries.empty()) section.mistake(node, key, "needs at least one address");
  for (const auto& entry : entries) {
    std::string error = "must be an address";
    const auto address = entry.IsScalar() ? parse_listen(entry.Scalar(), error) : std::nullopt;
    if (address) {
      into.push_back(*address);
    } else {
      section.mistake(entry, key, error);
    }
  }
  return !into.empty();
}

void read_users(LoadState& state, const YAML::Node& node, const std::string& path, Connection& into) {
  if (!node) return;
  if (!node.IsSequence()) {
    state.mistakes.push_back(state.at(node, path, path + ": must be a list"));
    return;
  }
  std::set<std::string> names;
  for (const auto& entry : node) {
    Section section(state, entry, path);
    User user;
    std::string verifier;
    section.text("name", user.name);
    section.secret("password", user.password, user.password_file, user.password_env);
    section.text("scram", verifier);
    if (user.name.empty()) section.mistake_here("each user needs a name");
    if (!names.insert(user.name).second) section.mistake_here("user \"" + user.name + "\" stands here twice");
    const bool mongodb = into.type == ConnectionType::mongodb;
    if (!verifier.empty() && !is_scram_verifier(verifier) && !(mongodb && is_scram_verifier(verifier, true))) {
      section.mistake(section.take("scram"), "scram",
                      std::string("must have the form SCRAM-SHA-256$ITERATIONS:SALT$STOREDKEY:SERVERKEY, as in pg_authid") +
                          (mongodb ? ", or the same of SCRAM-SHA-1" : ""));
    }
    user.scram = Secret(verifier);
    if (user.password.empty() && user.scram.empty() && user.password_file.empty() && user.password_env.empty()) {
      section.mistake_here("user \"" + user.name + "\" needs password_file, password_env or scram");
    }
    section.finish();
    into.users.push_back(std::move(user));
  }
}

/// As it is said; where that is no type, as the upstream begins, so that one wrong word is one mistake.
std::optional<ConnectionType> read_type(Section& section) {
  std::optional<ConnectionType> type;
  if (!section.has("type")) section.mistake_here("needs a type: postgres or mongodb");
  section.word<std::optional<ConnectionType>>("type", type,
                                              {{"postgres", ConnectionType::postgres}, {"mongodb", ConnectionType::mongodb}});
  const auto upstream = section.take("upstream");
  return type || !upstream || !upstream.IsScalar() ? type : type_of_uri(upstream.Scalar());
}

void read_upstream(Section& section, std::optional<ConnectionType> type, Connection& into) {
  const auto node = section.take("upstream");
  if (!node) return section.mistake_here("needs an upstream");
  if (!node.IsScalar()) return section.mistake(node, "upstream", "must be a connection URI");
  if (!type) return section.mistake(node, "upstream", unknown_scheme);
  const auto& uri = node.Scalar();
  into.upstream = redact_uri(uri);
  std::string error;
  if (type == ConnectionType::mongodb) {
    auto parsed = parse_mongo_uri(uri, error);
    if (!parsed) return section.mistake(node, "upstream", error);
    into.mongo = std::move(*parsed);
    return;
  }
  auto parsed = parse_postgres_uri(uri, error);
  if (!parsed) return section.mistake(node, "upstream", error);
  into.postgres = std::move(*parsed);
  if (!has_late_at_sign(uri)) return;
  section.warning(node, "upstream", "an @ stands behind the login, in the name of a host or of the database: in a user or password it must be "
                                    "written %40, and / %2F");
}

/// From password_file, password_env, the URI, or PGPASSFILE, in this order.
void resolve_password(Section& section, Connection& into) {
  Secret password;
  section.secret("password", password, into.password_file, into.password_env);
  if (into.type == ConnectionType::mongodb) {
    if (!password.empty()) into.mongo.password = password;
  } else if (!password.empty()) {
    into.postgres.password = password;
  } else if (into.postgres.password.empty() && !into.postgres.user.empty() && !into.postgres.hosts.empty()) {
    const auto found = look_up_passfile(section.state().environment, into.postgres);
    if (!found.warning.empty()) section.state().warnings.push_back({found.file, 0, 0, found.warning});
    into.postgres.password = found.password;
  }
}

void read_auth(Section& section, Connection& into) {
  const auto node = section.take("auth");
  // A source of the password that could not be read, or a URI that could not, is one mistake already.
  const bool unread = (into.postgres.hosts.empty() && into.mongo.hosts.empty()) || !into.password_file.empty() || !into.password_env.empty();
  // A certificate is no password that a client could prove to know: without users the clients' logins go to the server.
  const bool known = !into.postgres.password.empty() || !into.mongo.password.empty() || !into.users.empty() || into.auth_query.has_value();
  into.auth = known ? AuthMode::scram : AuthMode::passthrough;
  section.word<AuthMode>("auth", into.auth,
                         {{"passthrough", AuthMode::passthrough}, {"scram", AuthMode::scram}, {"trust", AuthMode::trust}});
  if (into.auth == AuthMode::scram && !known && !unread) {
    section.mistake(node, "auth", "scram needs a password, a verifier or an auth_query to check against");
  }
  if (into.auth != AuthMode::trust) return;
  for (const auto& address : into.listen) {
    if (!address.is_local()) {
      section.mistake(node, "auth", "trust is for loopback and unix sockets only, and " + address.to_string() +
                                        " can be reached from elsewhere");
    }
  }
}

bool names(const Section& section, const char* key, const char* inner) {
  if (!section.has(key)) return false;
  const YAML::Node found = section.node()[key];
  return found.IsMap() && found[inner].IsDefined();
}

/// What only connections of type postgres have.
void read_postgres(Section& section, Connection& into) {
  section.texts("databases", into.databases);
  section.size("replay_limit", into.replay_limit);
  section.duration("replay_time_limit", into.replay_time_limit);
  section.word<ExactlyOnce>("exactly_once", into.exactly_once, {{"off", ExactlyOnce::off}, {"on", ExactlyOnce::on}});
  section.word<LostState>("lost_state", into.lost_state, {{"disconnect", LostState::disconnect}, {"error", LostState::error}});
  section.word<std::string>("unknown_outcome_code", into.unknown_outcome_code, {{"08007", "08007"}, {"40003", "40003"}});
  section.texts("read_only_functions", into.read_only_functions);
  section.on_off("keep_passwords", into.keep_passwords);
  section.texts("ignore_startup_parameters", into.ignore_startup_parameters);
  section.duration("server_lifetime", into.server_lifetime);
  section.size("message_buffer", into.message_buffer);
  if (into.message_buffer < 1024 || into.message_buffer > 64 * 1024) {
    section.mistake(section.take("message_buffer"), "message_buffer", "must be from 1KiB to 64KiB");
  }
  if (into.exactly_once == ExactlyOnce::on && !into.replay) {
    section.mistake(section.take("exactly_once"), "exactly_once", "needs replay: on");
  }
}

/// What only connections of type mongodb have.
void read_mongodb(Section& section, const LoadState& state, Connection& into) {
  if (!state.hold_timeout_set && !names(section, "reconnect", "hold_timeout")) {
    into.reconnect.hold_timeout = milliseconds(30'000);
  }
  section.word<MongoFace>("face", into.face,
                          {{"auto", MongoFace::automatic}, {"mongos", MongoFace::mongos}, {"standalone", MongoFace::standalone}});
  section.word<MongoPool>("pool", into.pool, {{"shared", MongoPool::shared}, {"session", MongoPool::session}});
  section.on_off("upgrade_writes", into.upgrade_writes);
  section.number("pool_max", into.pool_max, 1, 100'000);
  section.duration("pool_idle_timeout", into.pool_idle_timeout, milliseconds(1));
  const auto& uri = into.mongo;
  const auto upstream = section.take("upstream");
  for (const auto& file : {uri.tls_ca_file, uri.tls_certificate_key_file}) {
    if (file.empty() || ::access(file.c_str(), R_OK) == 0) continue;
    section.mistake(upstream, "upstream", "cannot read " + file);
  }
  const bool by_password = !uri.user.empty() && uri.mechanism != MongoMechanism::x509;
  if (by_password && uri.password.empty() && into.password_file.empty() && into.password_env.empty()) {
    section.mistake(upstream, "upstream", "a user needs a password: in the URI, in password_file or in password_env");
  }
}

/// A key of the other type would do nothing, and whoever wrote it relies on it. Where the type is not known, neither is which these are.
void refuse_keys_of_others(Section& section, std::optional<ConnectionType> type) {
  const auto refuse = [&](ConnectionType owner, std::string_view key, const std::string& what) {
    if (type == owner || !section.has(key)) return;
    const auto node = section.take(key);
    if (type) section.mistake(node, key, what);
  };
  for (const auto* key : {"exactly_once", "ignore_startup_parameters", "keep_passwords", "lost_state", "message_buffer", "read_only_functions",
                          "replay_limit", "replay_time_limit", "server_lifetime", "unknown_outcome_code"}) {
    refuse(ConnectionType::postgres, key, "is not served for mongodb");
  }
  refuse(ConnectionType::postgres, "databases", "is not served for mongodb: give the users rights in the server instead");
  for (const auto* key : {"face", "pool", "pool_idle_timeout", "pool_max", "upgrade_writes"}) {
    refuse(ConnectionType::mongodb, key, "is not served for postgres");
  }
}

Connection read_connection(LoadState& state, const YAML::Node& node, const std::string& path, const Config& defaults) {
  Section section(state, node, path);
  Connection into;
  into.reconnect = defaults.reconnect;
  into.health = defaults.health;
  section.text("id", into.id);
  if (into.id.empty()) section.mistake_here("needs an id");
  const auto allowed = [](unsigned char c) { return std::isalnum(c) != 0 || c == '_' || c == '-' || c == '.'; };
  if (!std::ranges::all_of(into.id, allowed)) {
    section.mistake(section.take("id"), "id", "may hold letters, digits, '-', '_' and '.' only");
  }
  const auto type = read_type(section);
  into.type = type.value_or(ConnectionType::postgres);
  if (const auto listen = section.take("listen")) {
    read_listen(section, listen, "listen", into.listen);
  } else {
    section.mistake_here("needs a listen address");
  }
  read_upstream(section, type, into);
  resolve_password(section, into);
  read_users(state, section.take("users"), path + ".users", into);
  into.tls = read_tls(state, section.take("tls"), path + ".tls");
  section.number("max_clients", into.max_clients, 1, 1'000'000);
  if (const auto query = section.take("auth_query")) {
    Section inner(state, query, path + ".auth_query");
    AuthQuery auth;
    inner.text("sql", auth.sql);
    inner.text("user", auth.user);
    inner.secret("password", auth.password, auth.password_file, auth.password_env);
    if (into.type == ConnectionType::mongodb) {
      if (!auth.sql.empty()) inner.mistake(inner.take("sql"), "sql", "MongoDB is asked by usersInfo: leave it out");
      if (auth.user.empty()) inner.mistake_here("needs user");
    } else if (auth.sql.empty() || auth.user.empty()) {
      inner.mistake_here("needs sql and user");
    }
    inner.finish();
    into.auth_query = std::move(auth);
  }
  read_auth(section, into);
  section.on_off("replay", into.replay);
  if (type == ConnectionType::postgres) read_postgres(section, into);
  if (type == ConnectionType::mongodb) read_mongodb(section, state, into);
  refuse_keys_of_others(section, type);
  section.duration("pause_timeout", into.pause_timeout);
  const bool own_timeout = names(section, "reconnect", "connection_timeout");
  const auto of_uri = into.type == ConnectionType::mongodb ? into.mongo.connect_timeout : into.postgres.connect_timeout;
  if (of_uri && !own_timeout) into.reconnect.connection_timeout = *of_uri;
  read_fields(state, section.take("reconnect"), path + ".reconnect", into.reconnect);
  read_fields(state, section.take("health"), path + ".health", into.health);
  section.finish();
  return into;
}

void read_admin(LoadState& state, const YAML::Node& node, Admin& into) {
  Section section(state, node, "admin");
  if (const auto listen = section.take("listen")) {
    if (listen.IsScalar() && listen.Scalar() == "off") {
      into.listen.reset();
    } else if (std::vector<ListenAddress> found; read_listen(section, listen, "listen", found)) {
      into.listen = found.front();
    }
  }
  section.text("token_file", into.token_file);
  if (!into.token_file.empty()) {
    std::string error;
    if (auto token = read_secret_file(into.token_file, error)) {
      into.token = Secret(std::move(*token));
      if (into.token.empty()) section.mistake(section.take("token_file"), "token_file", into.token_file + " is empty");
    } else {
      section.mistake(section.take("token_file"), "token_file", error);
    }
  }
  into.tls = read_tls(state, section.take("tls"), "admin.tls");
  if (into.listen && !into.listen->is_local() && into.token_file.empty()) {
    section.mistake(section.take("listen"), "listen", into.listen->to_string() + " can be reached from elsewhere: it needs token_file");
  }
  section.finish();
}

/// A host, and maybe a port, after http:// or https://; no login, which belongs into no address. The address may hold a
/// secret, so no message repeats it.
void check_notify(Section& section, const Notify& notify) {
  const auto scheme = notify.url.starts_with("https://") ? 8U : notify.url.starts_with("http://") ? 7U : 0U;
  const auto authority = notify.url.substr(scheme, notify.url.find_first_of("/?#", scheme) - scheme);
  const auto bracket = authority.rfind(']');  // of an IPv6 address
  const auto colon = authority.find(':', bracket == std::string::npos ? 0 : bracket);
  const auto port = colon == std::string::npos ? std::string() : authority.substr(colon);
  const bool clean = std::ranges::all_of(notify.url, [](char c) { return c > ' ' && c < 0x7f; });
  const bool good = scheme > 0 && clean && !authority.empty() && !authority.starts_with(':') && authority.find('@') == std::string::npos &&
                    (port.empty() || (port.size() > 1 && port.find_first_not_of("0123456789", 1) == std::string::npos));
  if (!notify.url.empty() && !good) section.mistake(section.take("url"), "url", "must be http://HOST[:PORT]/… or https://…, without a login");
  for (const auto& event : notify.events) {
    if (std::ranges::find(event_names, event) != event_names.end()) continue;
    std::string known;
    for (const auto name : event_names) known += (known.empty() ? "" : ", ") + std::string(name);
    section.mistake(section.take("events"), "events", "there is no event \"" + event + "\"; there are " + known);
  }
}

void read_notify(LoadState& state, const YAML::Node& node, std::vector<Notify>& into) {
  if (!node) return;
  if (!node.IsSequence()) {
    state.mistakes.push_back(state.at(node, "notify", "notify: must be a list"));
    return;
  }
  for (const auto& entry : node) {
    Section section(state, entry, "notify");
    Notify notify;
    std::string unused;
    section.text("url", notify.url);
    section.texts("events", notify.events);
    section.secret("secret", notify.secret, notify.secret_file, unused);
    if (notify.url.empty()) section.mistake_here("each entry needs a url");
    check_notify(section, notify);
    section.finish();
    into.push_back(std::move(notify));
  }
}

void read_log(LoadState& state, const YAML::Node& node, Log& into) {
  Section log(state, node, "log");
  log.word<LogLevel>("level", into.level,
                     {{"debug", LogLevel::debug}, {"info", LogLevel::info}, {"warn", LogLevel::warn}, {"error", LogLevel::error}});
  log.word<LogFormat>("format", into.format, {{"text", LogFormat::text}, {"json", LogFormat::json}});
  log.finish();
}

void read_config(LoadState& state, const YAML::Node& tree, Config& config) {
  config.admin.listen = ListenAddress{"127.0.0.1", 9930, {}};
  Section root(state, tree, {});
  read_admin(state, root.take("admin"), config.admin);
  read_notify(state, root.take("notify"), config.notify);
  read_log(state, root.take("log"), config.log);
  root.number("workers", config.workers, 0, 1024);
  root.duration("drain_timeout", config.drain_timeout);
  root.on_off("watch_files", config.watch_files);
  read_fields(state, root.take("reconnect"), "reconnect", config.reconnect);
  state.hold_timeout_set = names(root, "reconnect", "hold_timeout");
  read_fields(state, root.take("health"), "health", config.health);
  const auto connections = root.take("connections");
  if (connections && connections.IsSequence()) {
    std::size_t index = 0;
    for (const auto& node : connections) {
      const bool named = node.IsMap() && node["id"] && node["id"].IsScalar();
      const auto name = named ? node["id"].Scalar() : std::to_string(index);
      config.connections.push_back(read_connection(state, node, "connections." + name, config));
      ++index;
    }
    check_collisions(state, config, connections);
  } else if (connections) {
    root.mistake(connections, "connections", "must be a list");
  }
  if (config.connections.empty()) root.mistake_here("needs at least one connection under connections");
  root.finish();
}

}  // namespace

Loaded load(const Sources& sources) {
  LoadState state;
  state.environment = sources.environment;
  Loaded loaded;
  if (const auto tree = read_tree(sources, state)) read_config(state, *tree, loaded.config);
  // Equal keys keep their order, as in a stable sort, whose buffer clang takes for deprecated.
  std::multimap<std::pair<int, int>, Mistake> by_place;
  for (auto& mistake : state.mistakes) by_place.emplace(std::pair(mistake.line, mistake.column), std::move(mistake));
  for (auto& [place, mistake] : by_place) loaded.mistakes.push_back(std::move(mistake));
  loaded.warnings = std::move(state.warnings);
  loaded.config.origins = std::move(state.origins);
  return loaded;
}

}  // namespace holdfast::config

// Verifiers of passwords are made once, when the configuration is read: a login then takes as long for a known user as for
// an unknown one.
#include "proxy/mongo/users.hpp"

#include <utility>

#include "crypto/random.hpp"
#include "protocol/mongo/document.hpp"

namespace holdfast::proxy::mongo {

namespace wire = holdfast::mongo;
using crypto::HashKind;

namespace {

/// As servers make them.
constexpr std::uint32_t iterations_of(HashKind hash) { return hash == HashKind::sha1 ? 10'000 : 15'000; }
constexpr std::size_t salt_size(HashKind hash) { return hash == HashKind::sha1 ? 16 : 28; }

constexpr std::size_t table_max = 10'000;
constexpr auto learnt_age = std::chrono::seconds(10);
constexpr auto login_age = std::chrono::hours(24);

}  // namespace

Users::Users(const config::Connection& config, std::string secret)
    : secret_(std::move(secret)), learnt_(table_max, learnt_age), logins_(table_max, login_age) {
  update(config);
}

void Users::update(const config::Connection& config) {
  std::map<std::string, Entry> next;
  const auto& uri = config.mongo;
  if (!uri.user.empty() && !uri.password.empty()) add(uri.auth_database, uri.user, uri.password, {}, next);
  const auto& database = uri.mechanism == config::MongoMechanism::x509 ? std::string("admin") : uri.auth_database;
  for (const auto& user : config.users) add(database, user.name, user.password, user.scram, next);
  entries_ = std::move(next);
}

void Users::add(const std::string& database, const std::string& user, const config::Secret& password, const config::Secret& scram,
                std::map<std::string, Entry>& into) const {
  const auto name = database + "." + user;
  const auto old = entries_.find(name);
  if (old != entries_.end() && old->second.password == password && old->second.scram == scram) {
    into[name] = old->second;
    return;
  }
  Entry entry{password, scram, {}};
  for (const auto hash : scram_hashes) {
    if (!scram.empty()) {
      entry.verifiers[hash] = crypto::parse_verifier(scram.reveal(), hash);
    } else if (!password.empty()) {
      entry.verifiers[hash] =
          crypto::make_verifier(scram_password(hash, user, password.reveal()), salt_of(name, hash), iterations_of(hash), hash);
    }
  }
  into[name] = std::move(entry);
}

std::string Users::salt_of(const std::string& name, HashKind hash) const {
  return std::string(crypto::view(crypto::hmac_sha256(secret_, name + mechanism_of(hash))).substr(0, salt_size(hash)));
}

const Verifiers* Users::configured(const std::string& database, const std::string& user) const {
  const auto found = entries_.find(database + "." + user);
  return found == entries_.end() ? nullptr : &found->second.verifiers;
}

const Verifiers* Users::learnt(const std::string& database, const std::string& user, Time now) {
  learnt_.expire(now);
  const auto* found = learnt_.find(database + "." + user, now);
  return found != nullptr && now < found->at + learnt_age ? &found->verifiers : nullptr;
}

void Users::learn(const std::string& database, const std::string& user, Verifiers verifiers, Time now) {
  learnt_.put(database + "." + user, Learnt{std::move(verifiers), now}, now);
}

void Users::forget(const std::string& database, const std::string& user) { learnt_.erase(database + "." + user); }

crypto::ScramVerifier Users::mock(const std::string& database, const std::string& user, HashKind hash) const {
  crypto::ScramVerifier verifier;
  verifier.hash = hash;
  verifier.iterations = iterations_of(hash);
  verifier.salt = salt_of(database + "." + user, hash);
  crypto::random_bytes({reinterpret_cast<char*>(verifier.stored_key.data()), crypto::hash_size(hash)});
  crypto::random_bytes({reinterpret_cast<char*>(verifier.server_key.data()), crypto::hash_size(hash)});
  return verifier;
}

std::shared_ptr<Login> Users::login_of(const std::string& database, const std::string& user, Time now) {
  const auto name = database + "." + user;
  auto* found = logins_.find(name, now);
  auto login = found != nullptr ? *found : std::make_shared<Login>();
  if (found == nullptr) {
    login->user = user;
    login->database = database;
    logins_.put(name, login, now);
  }
  // Of a user that the configuration names no more the password that it had may be an old one by now. What the user's own proof yields stays.
  const auto entry = entries_.find(name);
  login->use_password(entry != entries_.end() ? entry->second.password : config::Secret());
  return login;
}

std::optional<Verifiers> read_users_info(std::string_view body) {
  const auto users = wire::find(body, "users");
  if (!users || users->kind != wire::Kind::array) return std::nullopt;
  const auto user = wire::find(users->bytes, "0");
  const auto credentials = user ? wire::find(user->bytes, "credentials") : std::nullopt;
  if (!credentials || credentials->kind != wire::Kind::document) return std::nullopt;
  Verifiers verifiers;
  for (const auto hash : scram_hashes) {
    const auto each = wire::find(credentials->bytes, mechanism_of(hash));
    if (!each || each->kind != wire::Kind::document) continue;
    const auto text = [&](const char* key) {
      const auto field = wire::find(each->bytes, key);
      return field && field->kind == wire::Kind::text ? field->bytes : std::string_view();
    };
    const auto count = wire::find(each->bytes, "iterationCount");
    const bool sane = count && count->integer > 0 && count->integer <= crypto::scram_iterations_max;
    verifiers[hash] = crypto::verifier_of_parts(hash, sane ? static_cast<std::uint32_t>(count->integer) : 0, text("salt"),
                                                text("storedKey"), text("serverKey"));
  }
  if (!verifiers.any()) return std::nullopt;
  return verifiers;
}

std::string make_users_info(std::string_view database, std::string_view user) {
  wire::Writer who, writer;
  who.text("user", user).text("db", database);
  return writer.document("usersInfo", who.finish()).boolean("showCredentials", true).text("$db", database).finish();
}

bool is_logged_in_as(std::string_view body, std::string_view database, std::string_view user) {
  const auto info = wire::find(body, "authInfo");
  const auto users = info && info->kind == wire::Kind::document ? wire::find(info->bytes, "authenticatedUsers") : std::nullopt;
  if (!users || users->kind != wire::Kind::array) return false;
  int count = 0, fitting = 0;
  const auto walk = wire::for_each(users->bytes, [&](const wire::Element& one) {
    const auto says = [&](const char* key, std::string_view text) {
      const auto field = one.kind == wire::Kind::document ? wire::find(one.bytes, key) : std::nullopt;
      return field && field->kind == wire::Kind::text && field->bytes == text;
    };
    ++count;
    if (says("user", user) && says("db", database)) ++fitting;
    return true;
  });
  return walk == wire::Walk::complete && count == 1 && fitting == 1;
}

std::string make_connection_status() {
  wire::Writer writer;
  return writer.int32("connectionStatus", 1).text("$db", "admin").finish();
}

}  // namespace holdfast::proxy::mongo

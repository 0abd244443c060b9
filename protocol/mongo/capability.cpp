// The rules, from the most obvious to the most subtle.
#include "protocol/mongo/capability.hpp"

#include <algorithm>
#include <array>
#include <functional>

#include "protocol/mongo/document.hpp"

namespace holdfast::mongo {

namespace {

/// MongoDB 3.6, the first with retryable writes; 4.4, from which on every hello has a topologyVersion. Imitations have one, too.
constexpr std::int32_t wire_retryable_writes = 6, wire_topology_version = 9;

constexpr std::string_view mongodb = "MongoDB", percona = "Percona Server for MongoDB";

/// What buildInfo says before the login where buildInfoAuthMode is versionOnlyIfPreAuth, and what every reply may have.
constexpr std::array said_before_login{"version", "versionArray", "ok", "$clusterTime", "operationTime"};

/// Not among the signs: storageEngines, which a mongos has not; buildEnvironment, which is left out of builds without it; sysInfo, whose
/// spelling has changed; bits, debug, maxBsonObjectSize, which SecantusDB, FerretDB and others say, too. The texts may say anything: a
/// MongoDB that was built from its sources has "unknown" for its commit.
constexpr std::array texts_of_all{"gitVersion", "allocator", "javascriptEngine"};
constexpr std::array lists_of_all{"modules", "versionArray"};

struct Signs {
  std::array<bool, 6> seen{};
  void look_at(const Element& field) {
    for (std::size_t i = 0; i < 3; ++i) seen[i] = seen[i] || (field.key == texts_of_all[i] && field.kind == Kind::text);
    for (std::size_t i = 0; i < 2; ++i) seen[3 + i] = seen[3 + i] || (field.key == lists_of_all[i] && field.kind == Kind::array);
    if (field.key != "openssl" || field.kind != Kind::document) return;
    const auto running = find(field.bytes, "running");  // also where that is Windows' or Apple's, or "disabled"
    seen[5] = running && running->kind == Kind::text;
  }
  [[nodiscard]] bool all() const { return std::ranges::all_of(seen, std::identity()); }
};

/// A field that names another product than MongoDB, by the custom of them all: `secantusVersion`, `ferretdbVersion`, `psmdbVersion`.
std::optional<Build> product_named(const Element& field) {
  constexpr std::string_view suffix = "Version";
  const auto text = [](const std::optional<Element>& version) {
    return std::string(version && version->kind == Kind::text ? version->bytes : std::string_view());
  };
  if (field.key == "ferretdb") return Build{"FerretDB", text(field.kind == Kind::document ? find(field.bytes, "version") : std::optional(field))};
  const std::string_view key = field.key;
  if (!key.ends_with(suffix) || key == "gitVersion") return std::nullopt;
  const auto name = key.substr(0, key.size() - suffix.size());
  const bool readable = name.size() <= 40 && std::ranges::all_of(name, [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); });
  const auto product = name == "ferretdb" ? "FerretDB" : name == "secantus" ? "SecantusDB" : name == "psmdb" ? percona : readable ? name : "another product";
  return Build{std::string(product), text(field)};
}

}  // namespace

std::optional<Build> read_build(std::string_view body) {
  Build build;
  bool ok = false, more = false;
  std::string named;
  Signs signs;
  const auto walk = for_each(body, [&](const Element& field) {
    if (field.key == "ok") ok = field.truth();
    if (field.key == "version" && field.kind == Kind::text) build.version = field.bytes;
    if (auto other = product_named(field)) {
      named = other->product;
      if (!other->version.empty()) build.version = other->version;
    }
    signs.look_at(field);
    more = more || std::ranges::find(said_before_login, field.key) == said_before_login.end();
    return true;
  });
  if (walk != Walk::complete || !ok) return std::nullopt;
  const bool of_mongodb = named.empty() || named == percona;
  if (named.empty()) named = mongodb;
  if (!of_mongodb || signs.all()) build.product = std::move(named);
  build.version_only = !more;
  return build;
}

std::string why_not_by_hello(const MemberHello& hello) {
  if (hello.set_name.empty() && hello.type != MemberHello::Type::mongos) return "a standalone server does not know writes again";
  if (!hello.session_timeout_minutes) return "it has no sessions";
  if (hello.wire_max < wire_retryable_writes) {
    return "its wire version " + std::to_string(hello.wire_max) + " is older than retryable writes (" +
           std::to_string(wire_retryable_writes) + ")";
  }
  const bool shown = hello.wire_max < wire_topology_version || hello.topology_version;
  return shown ? std::string() : "its hello has no topologyVersion, as every MongoDB's of its wire version has";
}

std::string why_not_deduplicating(const MemberHello& hello, const std::optional<Build>& build) {
  const std::string product = build ? build->product : std::string();
  const bool known = product == mongodb || product == percona;
  auto reason = why_not_by_hello(hello);
  if (!reason.empty() || known) return reason;
  return product.empty() ? "nothing that it says shows that it is a MongoDB" : product + " is not known to know writes again";
}

}  // namespace holdfast::mongo

// The rules, from the most obvious to the most subtle.
#include "protocol/mongo/capability.hpp"

#include "protocol/mongo/document.hpp"

namespace holdfast::mongo {

namespace {

/// MongoDB 3.6, the first with retryable writes; 4.4, the first whose every hello has a topologyVersion.
constexpr std::int32_t wire_retryable_writes = 6, wire_topology_version = 9;

}  // namespace

std::optional<Build> read_build(std::string_view body) {
  Build build;
  bool ok = false, ferret = false, commit = false;
  const auto walk = for_each(body, [&](const Element& field) {
    if (field.key == "ok") ok = field.truth();
    if (field.key == "version" && field.kind == Kind::text) build.version = field.bytes;
    if (field.key == "gitVersion") commit = true;
    if (field.key == "ferretdb" || field.key == "ferretdbVersion") {
      ferret = true;
      const auto version = field.kind == Kind::document ? find(field.bytes, "version") : std::optional(field);
      if (version && version->kind == Kind::text) build.version = version->bytes;
    }
    return true;
  });
  if (walk != Walk::complete || !ok) return std::nullopt;
  build.product = ferret ? "FerretDB" : commit ? "MongoDB" : "";
  return build;
}

std::string why_not_deduplicating(const MemberHello& hello, const std::optional<Build>& build) {
  if (hello.set_name.empty() && hello.type != MemberHello::Type::mongos) return "a standalone server does not know writes again";
  if (!hello.session_timeout_minutes) return "it has no sessions";
  if (hello.wire_max < wire_retryable_writes) {
    return "its wire version " + std::to_string(hello.wire_max) + " is older than retryable writes (" +
           std::to_string(wire_retryable_writes) + ")";
  }
  const std::string product = build ? build->product : std::string();
  if (!product.empty() && product != "MongoDB") return product + " is not known to know writes again";
  const bool shown = hello.wire_max >= wire_topology_version ? hello.topology_version.has_value() : product == "MongoDB";
  return shown ? std::string() : "nothing that it says shows that it is a MongoDB";
}

}  // namespace holdfast::mongo

// The table of the specification: kind of the topology, type of the server that answers.
#include "proxy/mongo/topology.hpp"

#include <algorithm>
#include <set>

#include "config/lower.hpp"

namespace holdfast::proxy::mongo {

namespace {

/// What is spoken here, and what drivers of today speak.
constexpr std::int32_t wire_min = 6, wire_max = 25;
/// From MongoDB 6.0 on an election outweighs the version of the configuration.
constexpr std::int32_t election_first = 17;

std::vector<std::string> members_of(const wire::MemberHello& hello) {
  std::vector<std::string> all;
  for (const auto* list : {&hello.hosts, &hello.arbiters}) {
    for (const auto& host : *list) all.push_back(canonical_address(host));
  }
  return all;
}

}  // namespace

std::string canonical_address(std::string_view address) {
  auto out = config::lower(address);
  const auto bracket = out.rfind(']');
  const auto colon = out.find(':', bracket == std::string::npos ? 0 : bracket);
  return colon == std::string::npos ? out + ":27017" : out;
}

Topology::Topology(const config::MongoUri& uri) : set_name_(uri.replica_set), one_seed_(uri.hosts.size() == 1) {
  for (const auto& host : uri.hosts) servers_.emplace(canonical_address(host.to_string()), std::nullopt);
  if (uri.direct) {
    kind_ = TopologyKind::single;
  } else if (!set_name_.empty()) {
    kind_ = TopologyKind::replica_set_no_primary;
  }
}

void Topology::update(const std::string& named, const wire::MemberHello& hello) {
  const auto address = canonical_address(named);
  const auto found = servers_.find(address);
  if (found == servers_.end()) return;
  const auto& known = found->second;
  if (known && hello.ok && known->topology_version && hello.topology_version &&
      known->topology_version->process == hello.topology_version->process &&
      known->topology_version->counter > hello.topology_version->counter) {
    return;  // an older answer that was overtaken
  }
  if (!hello.ok) {
    found->second.reset();
    if (kind_ == TopologyKind::replica_set_with_primary) look_for_primary();
    return;
  }
  found->second = hello;
  switch (kind_) {
    case TopologyKind::single:
      if (!set_name_.empty() && hello.set_name != set_name_) found->second.reset();
      break;
    case TopologyKind::sharded:
      if (hello.type != Type::mongos) servers_.erase(found);
      break;
    case TopologyKind::unknown: update_unknown(address, hello); break;
    case TopologyKind::replica_set_no_primary:
    case TopologyKind::replica_set_with_primary: update_set(address, hello); break;
  }
}

void Topology::replace(const std::vector<config::HostPort>& hosts) {
  std::map<std::string, Server> servers;
  for (const auto& host : hosts) {
    const auto address = canonical_address(host.to_string());
    const auto known = servers_.find(address);
    servers.emplace(address, known == servers_.end() ? std::nullopt : std::move(known->second));
  }
  servers_ = std::move(servers);
}

void Topology::update_unknown(const std::string& address, const wire::MemberHello& hello) {
  switch (hello.type) {
    case Type::standalone:
      if (one_seed_) {
        kind_ = TopologyKind::single;
      } else {
        servers_.erase(address);
      }
      break;
    case Type::mongos: kind_ = TopologyKind::sharded; break;
    case Type::uninitialised: break;
    default:
      kind_ = TopologyKind::replica_set_no_primary;
      update_set(address, hello);
      break;
  }
}

void Topology::update_set(const std::string& address, const wire::MemberHello& hello) {
  switch (hello.type) {
    case Type::standalone:
    case Type::mongos:
      servers_.erase(address);
      look_for_primary();
      break;
    case Type::uninitialised: look_for_primary(); break;
    case Type::primary: update_by_primary(address, hello); break;
    default: update_by_member(address, hello); break;
  }
}

void Topology::update_by_member(const std::string& address, const wire::MemberHello& hello) {
  if (set_name_.empty()) set_name_ = hello.set_name;
  if (hello.set_name != set_name_) {
    servers_.erase(address);
    return look_for_primary();
  }
  // While there is a primary, its list of members is the only one.
  if (kind_ == TopologyKind::replica_set_no_primary) add_members(hello);
  if (!hello.me.empty() && canonical_address(hello.me) != address) servers_.erase(address);
  look_for_primary();
}

bool Topology::is_stale(const wire::MemberHello& primary) const {
  const auto version = primary.has_set_version ? std::optional(primary.set_version) : std::nullopt;
  if (primary.wire_max >= election_first) {
    return std::pair(primary.election_id, version) < std::pair(newest_election_, newest_set_version_);
  }
  const bool comparable = version && !primary.election_id.empty() && newest_set_version_ && !newest_election_.empty();
  return comparable && std::pair(*version, primary.election_id) < std::pair(*newest_set_version_, newest_election_);
}

void Topology::note_election(std::string_view election_id) {
  if (newest_election_ < election_id) newest_election_ = election_id;
}

void Topology::note_election(const wire::MemberHello& primary) {
  const auto version = primary.has_set_version ? std::optional(primary.set_version) : std::nullopt;
  if (primary.wire_max >= election_first) {
    newest_election_ = primary.election_id;
    newest_set_version_ = version;
    return;
  }
  if (version && !primary.election_id.empty()) newest_election_ = primary.election_id;
  if (version && (!newest_set_version_ || *version > *newest_set_version_)) newest_set_version_ = version;
}

void Topology::update_by_primary(const std::string& address, const wire::MemberHello& hello) {
  if (set_name_.empty()) set_name_ = hello.set_name;
  if (hello.set_name != set_name_) {
    servers_.erase(address);
    return look_for_primary();
  }
  if (is_stale(hello)) {
    servers_[address].reset();
    return look_for_primary();
  }
  note_election(hello);
  for (auto& [other, server] : servers_) {
    if (other != address && server && server->type == Type::primary) server.reset();  // it was, and has not said so yet
  }
  add_members(hello);
  const auto listed = members_of(hello);
  const std::set<std::string> members(listed.begin(), listed.end());
  std::erase_if(servers_, [&](const auto& each) { return !members.contains(each.first); });
  look_for_primary();
}

void Topology::add_members(const wire::MemberHello& hello) {
  for (auto& address : members_of(hello)) servers_.emplace(std::move(address), std::nullopt);
}

void Topology::look_for_primary() {
  const bool any = std::ranges::any_of(servers_, [](const auto& each) { return each.second && each.second->type == Type::primary; });
  kind_ = any ? TopologyKind::replica_set_with_primary : TopologyKind::replica_set_no_primary;
}

std::optional<std::int32_t> Topology::session_timeout_minutes() const {
  std::optional<std::int32_t> smallest;
  for (const auto& [address, server] : servers_) {
    const bool counts = server && (server->bears_data() || server->type == Type::mongos);
    if (!counts) continue;
    if (!server->session_timeout_minutes) return std::nullopt;
    smallest = smallest ? std::min(*smallest, *server->session_timeout_minutes) : *server->session_timeout_minutes;
  }
  return smallest;
}

std::string Topology::incompatibility() const {
  for (const auto& [address, server] : servers_) {
    if (!server || (server->wire_min <= wire_max && server->wire_max >= wire_min)) continue;
    return address + " speaks wire versions " + std::to_string(server->wire_min) + " to " + std::to_string(server->wire_max) +
           ", and here are spoken " + std::to_string(wire_min) + " to " + std::to_string(wire_max);
  }
  return {};
}

}  // namespace holdfast::proxy::mongo

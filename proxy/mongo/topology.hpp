// Which servers belong to the upstream and what each of them is, by what they say in hello: the specification "Server
// Discovery And Monitoring". Sans-io. One server's network error is no news of the set here (docs/transparency-mongodb.md).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config/config.hpp"
#include "protocol/mongo/hello.hpp"

namespace holdfast::proxy::mongo {

namespace wire = holdfast::mongo;

enum class TopologyKind { unknown, single, replica_set_no_primary, replica_set_with_primary, sharded };

class Topology {
 public:
  using Type = wire::MemberHello::Type;
  /// None: nothing is known of it.
  using Server = std::optional<wire::MemberHello>;

  explicit Topology(const config::MongoUri& uri);

  /// A server has answered; with `ok` false it could not be asked. What one says that does not belong here is not heard.
  void update(const std::string& address, const wire::MemberHello& hello);

  /// Consists of these servers from now on, which DNS has named ("Polling SRV Records for mongos Discovery").
  void replace(const std::vector<config::HostPort>& hosts);

  [[nodiscard]] TopologyKind kind() const { return kind_; }
  /// By address, `host:port` in lower case.
  [[nodiscard]] const std::map<std::string, Server>& servers() const { return servers_; }
  [[nodiscard]] const std::string& set_name() const { return set_name_; }
  /// The smallest of all that bear data; none where one of them has no sessions.
  [[nodiscard]] std::optional<std::int32_t> session_timeout_minutes() const;
  /// Empty, or which server has no wire version that is spoken here.
  [[nodiscard]] std::string incompatibility() const;
  [[nodiscard]] const std::optional<std::int64_t>& newest_set_version() const { return newest_set_version_; }
  [[nodiscard]] const std::string& newest_election() const { return newest_election_; }
  /// This one takes itself for the primary: was another elected after it?
  [[nodiscard]] bool is_stale(const wire::MemberHello& primary) const;
  /// A reply to a write has named the election of its primary, which may not have said hello yet.
  void note_election(std::string_view election_id);

 private:
  void update_unknown(const std::string& address, const wire::MemberHello& hello);
  void update_set(const std::string& address, const wire::MemberHello& hello);
  void update_by_primary(const std::string& address, const wire::MemberHello& hello);
  void update_by_member(const std::string& address, const wire::MemberHello& hello);
  void note_election(const wire::MemberHello& primary);
  void add_members(const wire::MemberHello& hello);
  void look_for_primary();

  TopologyKind kind_ = TopologyKind::unknown;
  std::map<std::string, Server> servers_;
  std::string set_name_;
  bool one_seed_ = false;
  std::optional<std::int64_t> newest_set_version_;
  std::string newest_election_;  // empty: none
};

/// `host:port` in lower case, as servers name themselves; the usual port where there is none.
[[nodiscard]] std::string canonical_address(std::string_view address);

}  // namespace holdfast::proxy::mongo

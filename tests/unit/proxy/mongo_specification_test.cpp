// The JSON cases of MongoDB's specifications on our topology and selection. They come with PyMongo's source distribution, which
// deploy/install-dependencies unpacks; they are read when the test runs, counted and printed, and are no part of this repository.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <set>
#include <sstream>

#include "config/load.hpp"
#include "protocol/mongo/document.hpp"
#include "proxy/mongo/selection.hpp"
#include "proxy/mongo/topology.hpp"
#include "tests/unit/protocol/mongo_json.hpp"

namespace holdfast::proxy::mongo {
namespace {

using Type = Topology::Type;
using wire::Element;
using wire::Kind;
namespace fs = std::filesystem;

/// What is not run, by folder or file, and why.
const std::map<std::string, std::string> left_out{
    {"discovery_and_monitoring/errors", "one member's error is not the set's here: it starts a hello, which decides"},
    {"discovery_and_monitoring/unified", "they need fail points and a driver's events: tests/integration/test_mongo_suites.py"},
    {"discovery_and_monitoring/load-balanced", "loadBalanced=true is refused as an upstream"},
    {"server_selection/in_window", "which of the nearest is taken by operations under way: here it is drawn"},
    {"srv_seedlist/load-balanced", "loadBalanced=true is refused as an upstream"},
    {"srv_seedlist/replica-set/srvAllowedHostsSuffix", "an option that is unknown here, and so a mistake"},
};

fs::path root() {
  const char* cache = std::getenv("HOLDFAST_CACHE");
  return fs::path(cache == nullptr ? DEFAULT_CACHE : cache) / "pymongo" / "test";
}

struct Case {
  std::string name, document;  // as BSON
};

/// Every case below a folder; those left out are counted and told.
std::vector<Case> cases(const std::string& folder, std::size_t& skipped) {
  std::vector<Case> found;
  std::set<std::string> told;
  for (const auto& entry : fs::recursive_directory_iterator(root() / folder)) {
    if (entry.path().extension() != ".json") continue;
    const auto name = fs::relative(entry.path(), root()).string();
    const auto out = std::ranges::find_if(left_out, [&](const auto& each) { return name.starts_with(each.first); });
    if (out != left_out.end()) {
      ++skipped;
      if (told.insert(out->first).second) std::cout << "left out: " << out->first << ": " << out->second << "\n";
      continue;
    }
    std::ifstream in(entry.path());
    std::stringstream text;
    text << in.rdbuf();
    std::string error;
    auto document = wire::test::bson_of_json(text.str(), error);
    EXPECT_TRUE(document) << name << ": " << error;
    if (document) found.push_back({name, std::move(*document)});
  }
  std::ranges::sort(found, {}, &Case::name);
  return found;
}

std::string text_of(std::string_view document, std::string_view key) {
  const auto found = wire::find(document, key);
  return found && found->kind == Kind::text ? std::string(found->bytes) : std::string();
}

std::string_view within(std::string_view document, std::string_view key) {
  const auto found = wire::find(document, key);
  return found && (found->kind == Kind::document || found->kind == Kind::array) ? found->bytes : wire::empty_document;
}

const char* name_of(TopologyKind kind) {
  switch (kind) {
    case TopologyKind::unknown: return "Unknown";
    case TopologyKind::single: return "Single";
    case TopologyKind::replica_set_no_primary: return "ReplicaSetNoPrimary";
    case TopologyKind::replica_set_with_primary: return "ReplicaSetWithPrimary";
    case TopologyKind::sharded: return "Sharded";
  }
  return "";
}

const char* name_of(const Topology::Server& server) {
  if (!server) return "Unknown";
  switch (server->type) {
    case Type::standalone: return "Standalone";
    case Type::primary: return "RSPrimary";
    case Type::secondary: return "RSSecondary";
    case Type::arbiter: return "RSArbiter";
    case Type::other: return "RSOther";
    case Type::mongos: return "Mongos";
    case Type::uninitialised: return "RSGhost";
  }
  return "";
}

TopologyKind kind_of(const std::string& name) {
  for (const auto kind : {TopologyKind::single, TopologyKind::replica_set_no_primary, TopologyKind::replica_set_with_primary,
                          TopologyKind::sharded}) {
    if (name == name_of(kind)) return kind;
  }
  return TopologyKind::unknown;
}

void compare_server(const Topology::Server& server, std::string_view wanted, const std::string& where) {
  auto type = text_of(wanted, "type");
  if (type == "PossiblePrimary") type = "Unknown";  // what the specification lets those say who do not have it
  EXPECT_EQ(name_of(server), type) << where;
  if (!server) return;
  EXPECT_EQ(server->set_name, text_of(wanted, "setName")) << where;
  if (const auto version = wire::find(wanted, "setVersion"); version && version->whole) {
    EXPECT_EQ(server->set_version, version->integer) << where;
  }
  if (const auto election = wire::find(wanted, "electionId"); election && election->kind == Kind::object_id) {
    EXPECT_EQ(server->election_id, election->bytes) << where;
  }
}

void compare(const Topology& topology, std::string_view outcome, const std::string& where) {
  const auto wanted_kind = text_of(outcome, "topologyType");
  EXPECT_EQ(name_of(topology.kind()), wanted_kind) << where;
  EXPECT_EQ(topology.set_name(), text_of(outcome, "setName")) << where;
  std::set<std::string> wanted;
  static_cast<void>(wire::for_each(within(outcome, "servers"), [&](const Element& each) {
    const auto address = canonical_address(each.key);
    wanted.insert(address);
    const auto found = topology.servers().find(address);
    EXPECT_NE(found, topology.servers().end()) << where << ": " << address;
    if (found != topology.servers().end()) compare_server(found->second, each.bytes, where + ": " + address);
    return true;
  }));
  for (const auto& [address, server] : topology.servers()) EXPECT_TRUE(wanted.contains(address)) << where << ": " << address;
  const auto timeout = wire::find(outcome, "logicalSessionTimeoutMinutes");
  if (timeout) {
    const auto expected = timeout->whole ? std::optional(static_cast<std::int32_t>(timeout->integer)) : std::nullopt;
    EXPECT_EQ(topology.session_timeout_minutes(), expected) << where;
  }
  const auto compatible = wire::find(outcome, "compatible");
  if (compatible) {
    EXPECT_EQ(topology.incompatibility().empty(), compatible->truth()) << where;
  }
  if (const auto most = wire::find(outcome, "maxSetVersion"); most && most->whole) {
    EXPECT_EQ(topology.newest_set_version(), most->integer) << where;
  }
  if (const auto most = wire::find(outcome, "maxElectionId"); most && most->kind == Kind::object_id) {
    EXPECT_EQ(topology.newest_election(), most->bytes) << where;
  }
}

/// Returns why the case cannot be run; empty: it was.
std::string run_discovery(const Case& one) {
  std::string error;
  const auto uri = config::parse_mongo_uri(text_of(one.document, "uri"), error);
  if (!uri) return error;
  Topology topology(*uri);
  static_cast<void>(wire::for_each(within(one.document, "phases"), [&](const Element& phase) {
    static_cast<void>(wire::for_each(within(phase.bytes, "responses"), [&](const Element& response) {
      const auto said = wire::find(response.bytes, "1");
      EXPECT_TRUE(said && said->kind == Kind::document) << one.name;
      // An empty answer is a network error.
      auto hello = said->bytes == wire::empty_document ? wire::MemberHello{} : wire::read_member_hello(said->bytes);
      topology.update(text_of(response.bytes, "0"), hello);
      return true;
    }));
    compare(topology, within(phase.bytes, "outcome"), one.name + ", phase " + std::string(phase.key));
    return true;
  }));
  return {};
}

TEST(MongoSpecification, discovery_and_monitoring_says_what_the_servers_are) {
  if (!fs::exists(root())) GTEST_SKIP() << "PyMongo's tests are not in " << root();
  std::size_t skipped = 0, run = 0;
  for (const auto& one : cases("discovery_and_monitoring", skipped)) {
    if (const auto reason = run_discovery(one); !reason.empty()) {
      std::cout << "left out: " << one.name << ": " << reason << "\n";
      ++skipped;
    } else {
      ++run;
    }
  }
  std::cout << "discovery and monitoring: " << run << " cases run, " << skipped << " left out\n";
  EXPECT_GE(run, 100U);
}

Type type_of(const std::string& name) {
  return name == "RSPrimary" ? Type::primary : name == "RSSecondary" ? Type::secondary : name == "Mongos" ? Type::mongos
       : name == "Standalone" ? Type::standalone : name == "RSArbiter" ? Type::arbiter : Type::other;
}

Candidate candidate_of(std::string_view server) {
  Candidate made;
  made.type = type_of(text_of(server, "type"));
  if (const auto time = wire::find(server, "avg_rtt_ms")) made.round_trip = time->real;
  if (const auto time = wire::find(server, "lastUpdateTime")) made.last_update = time->integer;
  if (const auto write = wire::find(within(server, "lastWrite"), "lastWriteDate")) made.last_write = write->integer;
  static_cast<void>(wire::for_each(within(server, "tags"), [&](const Element& tag) {
    made.tags.emplace_back(tag.key, tag.bytes);
    return true;
  }));
  return made;
}

wire::ReadPreference preference_of(std::string_view document) {
  wire::ReadPreference made;
  const auto mode = text_of(document, "mode");
  made.mode = mode == "PrimaryPreferred" ? wire::ReadMode::primary_preferred : mode == "Secondary" ? wire::ReadMode::secondary
            : mode == "SecondaryPreferred" ? wire::ReadMode::secondary_preferred : mode == "Nearest" ? wire::ReadMode::nearest
            : wire::ReadMode::primary;
  if (const auto limit = wire::find(document, "maxStalenessSeconds"); limit && limit->integer != -1) made.max_staleness_seconds = limit->integer;
  static_cast<void>(wire::for_each(within(document, "tag_sets"), [&](const Element& set) {
    auto& tags = made.tags.emplace_back();
    static_cast<void>(wire::for_each(set.bytes, [&](const Element& tag) {
      tags.emplace_back(tag.key, tag.bytes);
      return true;
    }));
    return true;
  }));
  return made;
}

void run_selection(const Case& one) {
  const auto topology = within(one.document, "topology_description");
  const auto kind = kind_of(text_of(topology, "type"));
  std::vector<Candidate> candidates;
  std::vector<std::string> addresses;
  static_cast<void>(wire::for_each(within(topology, "servers"), [&](const Element& server) {
    if (text_of(server.bytes, "type") == "Unknown" || text_of(server.bytes, "type") == "PossiblePrimary") return true;
    candidates.push_back(candidate_of(server.bytes));
    addresses.push_back(text_of(server.bytes, "address"));
    return true;
  }));
  const auto heartbeat = wire::find(one.document, "heartbeatFrequencyMS");
  std::vector<std::size_t> avoided;
  static_cast<void>(wire::for_each(within(one.document, "deprioritized_servers"), [&](const Element& server) {
    const auto found = std::ranges::find(addresses, text_of(server.bytes, "address"));
    if (found != addresses.end()) avoided.push_back(static_cast<std::size_t>(found - addresses.begin()));
    return true;
  }));
  const auto selection = text_of(one.document, "operation") == "write"
                             ? select_writable(kind, candidates, avoided)
                             : select_members(kind, candidates, preference_of(within(one.document, "read_preference")),
                                              heartbeat ? heartbeat->integer : 10'000, avoided);
  const auto fails = wire::find(one.document, "error");
  EXPECT_EQ(!selection.error.empty(), fails && fails->truth()) << one.name << ": " << selection.error;
  const auto same = [&](const char* key, const std::vector<std::size_t>& indices) {
    if (!wire::find(one.document, key)) return;
    std::multiset<std::string> wanted, found;
    static_cast<void>(wire::for_each(within(one.document, key), [&](const Element& server) {
      wanted.insert(text_of(server.bytes, "address"));
      return true;
    }));
    for (const auto i : indices) found.insert(addresses[i]);
    EXPECT_EQ(found, wanted) << one.name << ": " << key;
  };
  same("suitable_servers", selection.suitable);
  same("in_latency_window", selection.nearest);
}

TEST(MongoSpecification, server_selection_and_max_staleness_say_who_may_serve) {
  if (!fs::exists(root())) GTEST_SKIP() << "PyMongo's tests are not in " << root();
  std::size_t skipped = 0, run = 0;
  for (const char* folder : {"server_selection", "max_staleness"}) {
    for (const auto& one : cases(folder, skipped)) {
      if (const auto newest = wire::find(one.document, "new_rtt_ms")) {
        const auto average = wire::find(one.document, "avg_rtt_ms"), wanted = wire::find(one.document, "new_avg_rtt");
        EXPECT_NEAR(averaged(average->kind == Kind::number ? std::optional(average->real) : std::nullopt, newest->real), wanted->real, 1e-6)
            << one.name;
      } else if (text_of(within(one.document, "topology_description"), "type") == "LoadBalanced") {
        std::cout << "left out: " << one.name << ": loadBalanced=true is refused as an upstream\n";
        ++skipped;
        continue;
      } else {
        run_selection(one);
      }
      ++run;
    }
  }
  std::cout << "server selection and max staleness: " << run << " cases run, " << skipped << " left out\n";
  EXPECT_GE(run, 110U);
}

/// What the cases expect DNS to have: the zone is described beside them in the specification.
struct Records {
  std::vector<config::HostPort> targets;
  std::vector<std::string> texts;
};

Records records_of(std::string_view host) {
  const std::string usual = "localhost.test.build.10gen.cc";
  static const std::map<std::string, std::string, std::less<>> others{
      {"test12", "localhost.build.10gen.cc"},          {"test13", "test.build.10gen.cc"},
      {"test14", "localhost.not-test.build.10gen.cc"}, {"test15", "localhost.test.not-build.10gen.cc"},
      {"test16", "localhost.test.build.not-10gen.cc"}, {"test17", "localhost.test.build.10gen.not-cc"},
      {"test18", "localhost.sub.test.build.10gen.cc"}, {"test", "test.build.10gen.cc"},
      {"build", "build.10gen.cc"}};
  static const std::map<std::string, std::vector<std::string>, std::less<>> texts{
      {"test5", {"replicaSet=repl0&authSource=thisDB"}}, {"test6", {"replicaSet=repl0", "authSource=otherDB"}},
      {"test7", {"ssl=false"}},                          {"test8", {"authSource"}},
      {"test10", {"socketTimeoutMS=500"}},               {"test11", {"replicaSet=repl0"}},
      {"test21", {"loadBalanced=false"}}};
  const auto label = host.substr(0, host.find('.'));
  Records records;
  if (const auto found = texts.find(label); found != texts.end()) records.texts = found->second;
  if (label == "test4") return records;
  if (label == "test19") return {{{"localhost.evil.build.10gen.cc", 27017}, {usual, 27017}}, {}};
  if (label == "test1" || label == "test22") return {{{usual, 27017}, {usual, 27018}}, {}};
  if (label == "test2") return {{{usual, 27018}, {usual, 27019}}, {}};
  const auto other = others.find(label);
  records.targets.push_back({other == others.end() ? usual : other->second, 27017});
  return records;
}

void run_seed_list(const Case& one) {
  std::string error;
  auto found = config::parse_mongo_uri(text_of(one.document, "uri"), error);
  if (found) {
    const auto records = records_of(found->srv->host);
    found = config::with_seeds(*found, records.targets, records.texts, error);
  }
  const auto fails = wire::find(one.document, "error");
  ASSERT_EQ(!found, fails && fails->truth()) << one.name << ": " << error;
  if (!found) return;
  if (const auto count = wire::find(one.document, "numSeeds")) {
    EXPECT_EQ(found->hosts.size(), static_cast<std::size_t>(count->integer)) << one.name;
  }
  std::multiset<std::string> wanted, seeds;
  static_cast<void>(wire::for_each(within(one.document, "seeds"), [&](const Element& each) {
    wanted.emplace(each.bytes);
    return true;
  }));
  for (const auto& host : found->hosts) seeds.insert(host.to_string());
  if (!wanted.empty()) {
    EXPECT_EQ(seeds, wanted) << one.name;
  }
  const auto options = within(one.document, "options");
  EXPECT_EQ(found->replica_set, text_of(options, "replicaSet")) << one.name;
  if (const auto source = text_of(options, "authSource"); !source.empty()) {
    EXPECT_EQ(found->auth_database, source) << one.name;
  }
  if (const auto tls = wire::find(options, "ssl")) {
    EXPECT_EQ(found->tls, tls->truth()) << one.name;
  }
}

TEST(MongoSpecification, a_seed_list_is_what_dns_may_say) {
  if (!fs::exists(root())) GTEST_SKIP() << "PyMongo's tests are not in " << root();
  std::size_t skipped = 0, run = 0;
  for (const auto& one : cases("srv_seedlist", skipped)) {
    run_seed_list(one);
    ++run;
  }
  std::cout << "seed lists: " << run << " cases run, " << skipped << " left out\n";
  EXPECT_GE(run, 45U);
}

}  // namespace
}  // namespace holdfast::proxy::mongo

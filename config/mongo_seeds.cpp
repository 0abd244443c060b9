// What DNS adds to a mongodb+srv:// URI, and what it may not ("Initial DNS Seedlist Discovery" specification).
#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config/load.hpp"
#include "config/lower.hpp"
#include "config/percent.hpp"

namespace holdfast::config {
namespace {

std::string canonical(std::string_view host) {
  if (host.ends_with('.')) host.remove_suffix(1);
  return lower(host);
}

class Seeds {
 public:
  Seeds(MongoUri& uri, std::string& error) : uri_(uri), error_(error) {}

  bool take_targets(const std::vector<HostPort>& targets) {
    // Whoever can answer for a part of DNS is not thereby to lead a login elsewhere.
    const auto parent = uri_.srv->host.substr(uri_.srv->host.find('.'));
    uri_.hosts.clear();
    for (const auto& target : targets) {
      const HostPort host{canonical(target.host), target.port};
      if (host.host.size() <= parent.size() || !host.host.ends_with(parent)) {
        return fail("names \"" + host.host + "\", which is outside of " + parent.substr(1));
      }
      if (std::ranges::find(uri_.hosts, host) == uri_.hosts.end()) uri_.hosts.push_back(host);
    }
    if (uri_.hosts.empty()) return fail("names no host");
    if (uri_.srv->hosts_max > 0 && uri_.hosts.size() > uri_.srv->hosts_max) uri_.hosts.resize(uri_.srv->hosts_max);
    return true;
  }

  bool take_texts(const std::vector<std::string>& texts) {
    if (texts.empty()) return true;
    if (texts.size() > 1) return fail("has several TXT records, and one at most is allowed");
    std::string_view rest = texts.front();
    while (!rest.empty()) {
      const auto part = rest.substr(0, rest.find('&'));
      rest.remove_prefix(std::min(rest.size(), part.size() + 1));
      const auto equals = part.find('=');
      const auto value = equals == std::string_view::npos ? std::nullopt : percent_decode(part.substr(equals + 1));
      if (!value || value->empty() || !set(canonical(part.substr(0, equals)), *value)) {
        return fail("has a TXT record with something else than authSource, replicaSet and loadBalanced=false");
      }
    }
    const bool limited = uri_.srv->hosts_max > 0 && !uri_.replica_set.empty();
    return !limited || fail("names a replica set, and srvMaxHosts goes without one");
  }

 private:
  bool fail(const std::string& what) {
    error_ = uri_.srv->name() + " " + what;
    return false;
  }

  bool set(const std::string& key, const std::string& value) {
    if (key == "authsource") {
      if (!uri_.srv->auth_source_said && uri_.mechanism != MongoMechanism::x509) uri_.auth_database = value;
      return true;
    }
    if (key == "replicaset") {
      if (uri_.replica_set.empty()) uri_.replica_set = value;
      return true;
    }
    return key == "loadbalanced" && value == "false";
  }

  MongoUri& uri_;
  std::string& error_;
};

}  // namespace

std::optional<MongoUri> with_seeds(MongoUri uri, const std::vector<HostPort>& targets, const std::vector<std::string>& texts,
                                   std::string& error) {
  Seeds seeds(uri, error);
  if (!seeds.take_targets(targets) || !seeds.take_texts(texts)) return std::nullopt;
  return uri;
}

}  // namespace holdfast::config

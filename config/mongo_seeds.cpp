// What DNS adds to a mongodb+srv:// URI, and what it may not ("Initial DNS Seedlist Discovery" specification).
#include <algorithm>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config/load.hpp"
#include "config/lower.hpp"
#include "config/percent.hpp"

namespace holdfast::config {
namespace {

/// Whoever can answer for a part of DNS is not thereby to lead a login elsewhere.
class Domain {
 public:
  explicit Domain(const MongoSrv& srv) : parent_(srv.host.substr(srv.host.find('.'))) {}

  [[nodiscard]] bool has(const HostPort& target) const {
    return target.host.size() > parent_.size() && target.host.ends_with(parent_);
  }
  [[nodiscard]] std::string trouble_with(const HostPort& target) const {
    return "names \"" + target.host + "\", which is outside of " + parent_.substr(1);
  }

 private:
  std::string parent_;  // behind the first dot, with it
};

HostPort host_of(const HostPort& target) {
  std::string_view name = target.host;
  if (name.ends_with('.')) name.remove_suffix(1);
  return {lower(name), target.port};
}

bool contains(const std::vector<HostPort>& hosts, const HostPort& host) { return std::ranges::find(hosts, host) != hosts.end(); }

class Seeds {
 public:
  Seeds(MongoUri& uri, std::string& error) : uri_(uri), error_(error) {}

  bool take_targets(const std::vector<HostPort>& targets) {
    const Domain domain(*uri_.srv);
    uri_.hosts.clear();
    for (const auto& target : targets) {
      const auto host = host_of(target);
      if (!domain.has(host)) return fail(domain.trouble_with(host));
      if (!contains(uri_.hosts, host)) uri_.hosts.push_back(host);
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
      if (!value || value->empty() || !set(lower(part.substr(0, equals)), *value)) {
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

std::vector<HostPort> polled_seeds(const MongoSrv& srv, const std::vector<HostPort>& known, const std::vector<HostPort>& targets,
                                   std::string& error) {
  const Domain domain(srv);
  std::vector<HostPort> named, hosts;
  for (const auto& target : targets) {
    const auto host = host_of(target);
    if (!domain.has(host)) error = srv.name() + " " + domain.trouble_with(host);
    else if (!contains(named, host)) named.push_back(host);
  }
  if (named.empty() && error.empty()) error = srv.name() + " names no host";
  // Those that are known come first, and so stay where not all may be taken.
  std::ranges::copy_if(known, std::back_inserter(hosts), [&](const auto& host) { return contains(named, host); });
  std::ranges::copy_if(named, std::back_inserter(hosts), [&](const auto& host) { return !contains(known, host); });
  if (srv.hosts_max > 0 && hosts.size() > srv.hosts_max) hosts.resize(srv.hosts_max);
  return hosts;
}

}  // namespace holdfast::config

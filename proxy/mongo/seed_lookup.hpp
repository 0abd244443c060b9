// Asks the system's resolver for the hosts of a mongodb+srv:// URI, on a thread of its own: the C library has no way to ask for SRV
// and TXT records without waiting.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "config/config.hpp"
#include "proxy/upstream_types.hpp"
#include "proxy/waiting.hpp"

namespace holdfast::proxy::mongo {

/// What DNS said, unjudged. The hosts are shuffled.
struct SeedRecords {
  std::vector<config::HostPort> targets;
  std::vector<std::string> texts;
  std::chrono::seconds ttl{0};  // how long what names the hosts holds
  std::string error;  // a sentence; empty: answered
};

/// On the home worker. Destroying it waits for a look-up under way.
class SeedLookup {
 public:
  explicit SeedLookup(Executor home);
  ~SeedLookup();
  SeedLookup(const SeedLookup&) = delete;
  SeedLookup& operator=(const SeedLookup&) = delete;

  enum class What { all, hosts };
  /// Returns at `deadline` at the latest; a look-up that goes on then is joined by the next call. A failure is told again for a second.
  /// With `hosts` the TXT records are left out.
  Task<SeedRecords> ask(config::MongoSrv srv, What what, SteadyTime deadline);

 private:
  struct Lookup;
  Executor home_;
  std::shared_ptr<Lookup> latest_;
  asio::thread_pool thread_{1};  // last: it is joined first
};

}  // namespace holdfast::proxy::mongo

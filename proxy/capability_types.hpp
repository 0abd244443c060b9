// What an upstream can be trusted with when a write is sent to it again, as it was found out. Plain data.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace holdfast::proxy {

struct MemberCapabilities {
  std::string address;
  std::string product, version;  // empty: it does not say
  std::int32_t wire_min = 0, wire_max = 0;
  std::string reason;            // why it is not trusted to execute a repeated write once; empty: it is
};

struct Capabilities {
  std::string kind;              // replica_set, sharded, standalone; empty: no member has answered yet
  bool deduplicates = false;     // a write that is sent again with its (lsid, txnNumber) is executed once
  std::vector<MemberCapabilities> members;  // that bear data, or are mongos
};

}  // namespace holdfast::proxy

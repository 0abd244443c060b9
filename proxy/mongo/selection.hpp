// Which members may serve a read, by its read preference: the specifications "Server Selection" and "Max Staleness". Sans-io.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "protocol/mongo/command.hpp"
#include "protocol/mongo/hello.hpp"
#include "proxy/mongo/topology.hpp"

namespace holdfast::proxy::mongo {

/// A member as far as selecting is concerned. Times in milliseconds.
struct Candidate {
  wire::MemberHello::Type type = wire::MemberHello::Type::other;
  std::vector<std::pair<std::string, std::string>> tags;
  double round_trip = 0;
  std::int64_t last_update = 0;   // when it said what follows, on any clock that all share
  std::int64_t last_write = 0;
};

struct Selection {
  std::vector<std::size_t> suitable;  // indices of candidates
  std::vector<std::size_t> nearest;   // those of them that are as near as the nearest, within 15 ms
  std::string error;                  // the preference contradicts itself
};

/// For a read. `heartbeat`: how often a member says how far it is, milliseconds. `avoided`: indices that are taken only where
/// no other would do, because a try there has just failed.
[[nodiscard]] Selection select_members(TopologyKind kind, const std::vector<Candidate>& candidates,
                                       const wire::ReadPreference& preference, std::int64_t heartbeat,
                                       const std::vector<std::size_t>& avoided = {});
/// For a write.
[[nodiscard]] Selection select_writable(TopologyKind kind, const std::vector<Candidate>& candidates,
                                        const std::vector<std::size_t>& avoided = {});

/// The average of round trips that is kept of a member: the newest counts a fifth.
[[nodiscard]] double averaged(std::optional<double> average, double newest);

}  // namespace holdfast::proxy::mongo

// Staleness, then tags, then distance.
#include "proxy/mongo/selection.hpp"

#include <algorithm>
#include <limits>

namespace holdfast::proxy::mongo {

using Type = wire::MemberHello::Type;
using Indices = std::vector<std::size_t>;

namespace {

constexpr std::int64_t staleness_least_seconds = 90;
/// A primary that has nothing to do writes so often.
constexpr std::int64_t idle_write_period = 10'000;
constexpr double window = 15;

Indices of_type(const std::vector<Candidate>& candidates, std::initializer_list<Type> types) {
  Indices found;
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    if (std::ranges::find(types, candidates[i].type) != types.end()) found.push_back(i);
  }
  return found;
}

/// Drops the secondaries that are too far behind.
void drop_stale(const std::vector<Candidate>& candidates, std::int64_t limit, std::int64_t heartbeat, Indices& indices) {
  const auto primaries = of_type(candidates, {Type::primary});
  std::int64_t newest = std::numeric_limits<std::int64_t>::min();
  for (const auto i : of_type(candidates, {Type::secondary})) newest = std::max(newest, candidates[i].last_write);
  std::erase_if(indices, [&](std::size_t i) {
    const auto& each = candidates[i];
    if (each.type != Type::secondary) return false;
    if (primaries.empty()) return newest - each.last_write + heartbeat > limit;
    const auto& primary = candidates[primaries.front()];
    return (each.last_update - each.last_write) - (primary.last_update - primary.last_write) + heartbeat > limit;
  });
}

/// Those that fit the first set of tags that any fits.
Indices fitting(const std::vector<Candidate>& candidates, const std::vector<wire::TagSet>& sets, Indices indices) {
  if (sets.empty()) return indices;
  for (const auto& set : sets) {
    Indices found;
    for (const auto i : indices) {
      const auto has = [&](const auto& tag) { return std::ranges::find(candidates[i].tags, tag) != candidates[i].tags.end(); };
      if (std::ranges::all_of(set, has)) found.push_back(i);
    }
    if (!found.empty()) return found;
  }
  return {};
}

std::string contradiction(const wire::ReadPreference& preference, std::int64_t heartbeat) {
  if (preference.mode == wire::ReadMode::primary) {
    const bool tagged = std::ranges::any_of(preference.tags, [](const auto& set) { return !set.empty(); });
    if (tagged || preference.max_staleness_seconds) return "mode primary goes with neither tags nor maxStalenessSeconds";
    return {};
  }
  if (!preference.max_staleness_seconds) return {};
  const auto seconds = *preference.max_staleness_seconds;
  // Compared in seconds: a number of a client's may be any.
  if (seconds < staleness_least_seconds || seconds < (heartbeat + idle_write_period + 999) / 1000) {
    return "maxStalenessSeconds must be at least 90, and more than the interval of monitoring by 10";
  }
  return {};
}

Selection concluded(const std::vector<Candidate>& candidates, Indices suitable) {
  Selection selection;
  double least = std::numeric_limits<double>::infinity();
  for (const auto i : suitable) least = std::min(least, candidates[i].round_trip);
  for (const auto i : suitable) {
    if (candidates[i].round_trip <= least + window) selection.nearest.push_back(i);
  }
  selection.suitable = std::move(suitable);
  return selection;
}

/// What a topology that is no replica set has.
Indices of_other_kinds(TopologyKind kind, const std::vector<Candidate>& candidates) {
  if (kind == TopologyKind::sharded) return of_type(candidates, {Type::mongos});
  if (kind != TopologyKind::single) return {};
  return of_type(candidates, {Type::standalone, Type::primary, Type::secondary, Type::arbiter, Type::other, Type::mongos});
}

bool is_set(TopologyKind kind) {
  return kind == TopologyKind::replica_set_no_primary || kind == TopologyKind::replica_set_with_primary;
}

Indices by_preference(const std::vector<Candidate>& candidates, const wire::ReadPreference& preference, std::int64_t heartbeat) {
  const auto chosen = [&](std::initializer_list<Type> types) {
    auto indices = of_type(candidates, types);
    if (preference.max_staleness_seconds) {
      const auto most = std::numeric_limits<std::int64_t>::max() / 1000;
      drop_stale(candidates, std::min(*preference.max_staleness_seconds, most) * 1000, heartbeat, indices);
    }
    return fitting(candidates, preference.tags, std::move(indices));
  };
  auto primary = of_type(candidates, {Type::primary});
  switch (preference.mode) {
    case wire::ReadMode::primary: return primary;
    case wire::ReadMode::primary_preferred: return primary.empty() ? chosen({Type::secondary}) : primary;
    case wire::ReadMode::secondary: return chosen({Type::secondary});
    case wire::ReadMode::secondary_preferred: {
      auto secondaries = chosen({Type::secondary});
      return secondaries.empty() ? primary : secondaries;
    }
    case wire::ReadMode::nearest: return chosen({Type::primary, Type::secondary});
  }
  return {};
}

/// What `choose` takes of the candidates without those that are avoided, else of all.
template <class Choose>
Indices without(const std::vector<Candidate>& candidates, const Indices& avoided, Choose choose) {
  std::vector<Candidate> left;
  Indices indices;
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    if (std::ranges::find(avoided, i) != avoided.end()) continue;
    left.push_back(candidates[i]);
    indices.push_back(i);
  }
  auto found = choose(left);
  if (found.empty()) return left.size() == candidates.size() ? found : choose(candidates);
  for (auto& each : found) each = indices[each];
  return found;
}

}  // namespace

Selection select_members(TopologyKind kind, const std::vector<Candidate>& candidates, const wire::ReadPreference& preference,
                         std::int64_t heartbeat, const std::vector<std::size_t>& avoided) {
  if (is_set(kind)) {
    if (auto error = contradiction(preference, heartbeat); !error.empty()) return {{}, {}, std::move(error)};
  }
  return concluded(candidates, without(candidates, avoided, [&](const std::vector<Candidate>& of) {
                     return is_set(kind) ? by_preference(of, preference, heartbeat) : of_other_kinds(kind, of);
                   }));
}

Selection select_writable(TopologyKind kind, const std::vector<Candidate>& candidates, const std::vector<std::size_t>& avoided) {
  return concluded(candidates, without(candidates, avoided, [&](const std::vector<Candidate>& of) {
                     return is_set(kind) ? of_type(of, {Type::primary}) : of_other_kinds(kind, of);
                   }));
}

double averaged(std::optional<double> average, double newest) {
  constexpr double share = 0.2;
  return average ? share * newest + (1 - share) * *average : newest;
}

}  // namespace holdfast::proxy::mongo

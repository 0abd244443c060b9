// One kind of upstream, one set, one face.
#include "proxy/mongo/members.hpp"

#include <algorithm>
#include <charconv>

#include "proxy/mutation.hpp"

namespace holdfast::proxy::mongo {

using Type = wire::MemberHello::Type;

namespace {

/// More than a set can have (50), with room for those that have left.
constexpr std::size_t members_max = 200;

/// One that says hello and nothing of what it is is not asked more often than this.
constexpr auto between_questions = std::chrono::minutes(1);

Members::Process process_of(const wire::MemberHello& hello) {
  return hello.topology_version ? Members::Process(hello.topology_version->process) : std::nullopt;
}

/// It may say more to a user.
bool is_reserved(const std::optional<wire::Build>& build) { return !build || build->version_only; }

std::chrono::milliseconds session_time_of(const wire::MemberHello& hello) {
  return std::chrono::minutes(hello.session_timeout_minutes.value_or(session_time.count()));
}

}  // namespace

Members::Members(const config::Connection& config, wire::ObjectId process)
    : wanted_(config.face), uri_(config.mongo), process_(process), hosts_(config.mongo.hosts), known_(hosts_.size()),
      topology_(config.mongo) {}

void Members::seed(const config::MongoUri& uri) {
  uri_ = uri;
  hosts_ = uri.hosts;
  known_.assign(hosts_.size(), {});
  topology_ = Topology(uri);
}

bool Members::follows_dns() const {
  return uri_.srv && (topology_.kind() == TopologyKind::unknown || topology_.kind() == TopologyKind::sharded);
}

void Members::follow_dns(const std::vector<config::HostPort>& hosts) {
  topology_.replace(hosts);
  follow_topology();
  judge_repetitions();
  if (face_) refresh_face();
}

std::vector<config::HostPort> Members::present_hosts() const {
  std::vector<config::HostPort> present;
  for (std::size_t i = 0; i < hosts_.size(); ++i) {
    if (!known_[i].retired) present.push_back(hosts_[i]);
  }
  return present;
}

bool Members::is_replaced(std::size_t member) const {
  return sharded_ && known_[member].retired &&
         std::ranges::any_of(known_, [](const auto& each) { return each.counts() && each.reachable; });
}

std::string Members::mismatch(const wire::MemberHello& hello) const {
  if (hello.type == Type::mongos) {
    if (!uri_.replica_set.empty()) return "it is a mongos, and the URI names a replica set";
    return !kind_ || sharded_ ? "" : "it is a mongos, and the upstream was none";
  }
  if (sharded_) return "it is no mongos, and the upstream was one";
  if (hello.type == Type::uninitialised) return "it is a member of a set that was not initiated";
  const bool standalone = hello.type == Type::standalone;
  if (standalone && wanted_ == config::MongoFace::mongos) return "it is a standalone server, and the face is that of a mongos";
  if (standalone && !uri_.replica_set.empty()) return "it is a standalone server, and the URI names a replica set";
  if (standalone && uri_.hosts.size() > 1) return "it is a standalone server, and the URI names several hosts";
  const auto& name = uri_.replica_set.empty() ? set_name_ : uri_.replica_set;
  if (!standalone && !name.empty() && hello.set_name != name) {
    return "it is a member of \"" + hello.set_name + "\" and not of \"" + name + "\"";
  }
  if (!kind_ || (*kind_ == wire::FaceKind::standalone) == standalone) return {};
  return standalone ? "it is a standalone server, and the upstream was a replica set"
                    : "it is a member of a replica set, and the upstream was a standalone server";
}

std::string Members::note(std::size_t member, const wire::MemberHello& hello, Time now) {
  if (auto sentence = mismatch(hello); !sentence.empty()) return sentence;
  kind_ = hello.type == Type::standalone ? wire::FaceKind::standalone : wire::FaceKind::mongos;
  sharded_ = hello.type == Type::mongos;
  if (!hello.set_name.empty()) set_name_ = hello.set_name;
  auto& known = known_[member];
  // What an earlier process was says nothing of this one.
  if (known.told && known.told->process != process_of(hello)) known.told.reset();
  known.hello = hello;
  known.heard = now;
  const bool stale = is_stale_primary(hello);
  known.reachable = !stale;  // until it says something else of itself
  topology_.update(hosts_[member].to_string(), hello);
  follow_topology();
  if (hello.type == Type::primary && !hello.election_id.empty() && !stale) newest_primary_ = member;
  judge_repetitions();
  if (face_) refresh_face();
  return {};
}

Outcome Members::outcome_of(std::size_t member, const wire::MemberHello& hello, Time now) {
  const auto name = hosts_[member].to_string();
  Outcome outcome;
  if (auto sentence = note(member, hello, now); !sentence.empty()) {
    outcome.failure = Failure::unreachable;
    outcome.error = name + ": " + sentence;
    return outcome;
  }
  outcome.identity = hello.set_name;
  if (accepts_writes(hello)) {
    outcome.role = Role::primary;
    return outcome;
  }
  outcome.failure = Failure::unfit;
  if (is_stale_primary(hello)) {
    outcome.role = Role::standby;
    outcome.error = name + " takes itself for the primary, and another was elected after it";
  } else if (hello.type == Type::secondary) {
    outcome.role = Role::standby;
    outcome.error = name + " is a secondary";
  } else {
    outcome.error = name + " is neither a primary nor a secondary";
  }
  return outcome;
}

bool Members::wants_build(std::size_t member, const Process& process, Asker asker, Time now) const {
  const auto& known = known_[member];
  if (known.silent && now < *known.silent + between_questions) return false;
  // One that does not tell its processes apart may be another one on each connection.
  if (!process || !known.told || known.told->process != process) return true;
  return asker == Asker::user && known.told->asker == Asker::anybody && is_reserved(known.told->build);
}

void Members::note_build(std::size_t member, const Process& process, Asker asker, std::optional<wire::Build> build) {
  auto& known = known_[member];
  known.silent.reset();
  // What it has told a user it need not tell anybody.
  const bool told = process && known.told && known.told->process == process && known.told->asker == Asker::user;
  if (told && asker == Asker::anybody) return;
  known.told = Known::Told{process, asker, std::move(build)};
  judge_repetitions();
}

void Members::note_silence(std::size_t member, Time now) { known_[member].silent = now; }

bool Members::executes_once(std::size_t member, const Process& process) const {
  const auto& known = known_[member];
  return broken("standalone") || (known.once && known.told->process == process);
}

/// Empty, or why a write is not to be sent to a member twice.
std::string Members::why_not_twice(const Known& known) {
  auto reason = wire::why_not_deduplicating(*known.hello, known.told ? known.told->build : std::nullopt);
  if (reason.empty() || !wire::why_not_by_hello(*known.hello).empty()) return reason;
  if (!known.told) return "it has not said yet what it is";
  if (known.told->asker == Asker::anybody && is_reserved(known.told->build)) return "it does not say what it is to those who have not logged in";
  return reason;
}

/// One that is known to execute a repetition is enough: it may be the next primary. One that tells only users what it is is asked when
/// one of them is connected to it, and what cannot be reached when it can, before anything is sent.
void Members::judge_repetitions() {
  for (auto& each : known_) each.once = each.told && each.hello && why_not_twice(each).empty();
  const auto counts = [](const auto& each) { return each.counts(); };
  const auto will_be_asked = [](const auto& each) {
    if (!wire::why_not_by_hello(*each.hello).empty()) return false;
    return each.told ? each.told->asker == Asker::anybody && is_reserved(each.told->build) : !each.reachable;
  };
  const auto served = [](const auto& each) { return each.counts() && each.once; };
  deduplicates_ = std::ranges::any_of(known_, served) && std::ranges::all_of(known_, [&](const auto& each) {
    // A mongos that DNS names no more is in use until another one serves.
    if (!counts(each) && (!sharded_ || !each.hello)) return true;
    return each.once || will_be_asked(each);
  });
  if (broken("standalone")) deduplicates_ = true;
  memory_ = session_time / 2;
  for (const auto& each : known_) {
    if (counts(each)) memory_ = std::min<std::chrono::milliseconds>(memory_, session_time_of(*each.hello) / 2);
  }
}

Capabilities Members::capabilities() const {
  Capabilities all;
  if (kind_) all.kind = *kind_ == wire::FaceKind::standalone ? "standalone" : sharded_ ? "sharded" : "replica_set";
  all.deduplicates = deduplicates_;
  for (std::size_t i = 0; i < known_.size(); ++i) {
    const auto& each = known_[i];
    if (!each.counts()) continue;
    MemberCapabilities member;
    member.address = hosts_[i].to_string();
    if (each.told && each.told->build) {
      member.product = each.told->build->product;
      member.version = each.told->build->version;
    }
    member.wire_min = each.hello->wire_min;
    member.wire_max = each.hello->wire_max;
    member.reason = why_not_twice(each);
    all.members.push_back(std::move(member));
  }
  return all;
}

/// The servers that the topology has and the list has not are added to it; those that it has lost are retired, unless none
/// were left.
void Members::follow_topology() {
  if (uri_.direct || kind_ == wire::FaceKind::standalone) return;
  const auto& servers = topology_.servers();
  for (const auto& [address, server] : servers) {
    const bool listed = std::ranges::any_of(hosts_, [&](const auto& each) { return canonical_address(each.to_string()) == address; });
    if (listed) continue;
    const auto colon = address.rfind(':');
    auto host = address.substr(0, colon);
    if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
    unsigned port = 0;
    const auto [end, failed] = std::from_chars(address.data() + colon + 1, address.data() + address.size(), port);
    if (failed != std::errc{} || end != address.data() + address.size() || port == 0 || port > 65'535 || host.empty()) continue;
    if (hosts_.size() >= members_max) continue;
    hosts_.push_back({std::move(host), static_cast<std::uint16_t>(port)});
    known_.emplace_back();
  }
  const auto has = [&](const auto& host) { return servers.contains(canonical_address(host.to_string())); };
  const bool any = std::ranges::any_of(hosts_, has);
  for (std::size_t i = 0; i < hosts_.size(); ++i) known_[i].retired = any && !has(hosts_[i]);
}

void Members::note_round_trip(std::size_t member, std::chrono::microseconds time) {
  known_[member].round_trip = averaged(known_[member].round_trip, static_cast<double>(time.count()) / 1000);
}

void Members::note_unreachable(std::size_t member) {
  auto& known = known_[member];
  known.reachable = false;
  if (known.told && !known.told->process) known.told.reset();  // it may come back as anything
  judge_repetitions();
}

bool Members::reads_elsewhere(const wire::Command& command) const {
  // A mongos finds the member itself.
  return !sharded_ && command.kind == wire::CommandKind::read && !command.in_transaction &&
         command.preference.mode != wire::ReadMode::primary;
}

std::vector<std::size_t> Members::serving() const {
  std::vector<std::size_t> found;
  for (std::size_t i = 0; i < known_.size() && !sharded_; ++i) {
    if (known_[i].counts() && known_[i].reachable) found.push_back(i);
  }
  return found;
}

Selection Members::select(const wire::ReadPreference& preference, const std::vector<std::size_t>& avoided) const {
  std::vector<Candidate> candidates;
  std::vector<std::size_t> indices, to_avoid;
  bool primary = false;
  for (std::size_t i = 0; i < known_.size(); ++i) {
    const auto& each = known_[i];
    if (!each.counts() || !each.reachable) continue;
    if (each.hello->type == Type::primary && is_deposed(i)) continue;  // it has not said so yet
    const auto heard = std::chrono::duration_cast<std::chrono::milliseconds>(each.heard.time_since_epoch()).count();
    candidates.push_back({each.hello->type, each.hello->tags, each.round_trip.value_or(0), heard, each.hello->last_write.value_or(0)});
    if (std::ranges::find(avoided, i) != avoided.end()) to_avoid.push_back(indices.size());
    indices.push_back(i);
    primary = primary || each.hello->type == Type::primary;
  }
  const bool standalone = kind_ == wire::FaceKind::standalone;
  const auto kind = standalone ? TopologyKind::single
                    : primary  ? TopologyKind::replica_set_with_primary
                               : TopologyKind::replica_set_no_primary;
  auto selection = select_members(kind, candidates, preference, heartbeat_interval.count(), to_avoid);
  for (auto* list : {&selection.suitable, &selection.nearest}) {
    for (auto& each : *list) each = indices[each];
  }
  return selection;
}

void Members::all_asked() {
  const bool any = std::ranges::any_of(known_, [](const auto& each) { return each.counts(); });
  if (face_ || !kind_ || !any) return;
  const bool standalone = *kind_ == wire::FaceKind::standalone || wanted_ == config::MongoFace::standalone;
  face_ = face_of_members(standalone ? wire::FaceKind::standalone : wire::FaceKind::mongos);
}

wire::Face Members::face_of_members(wire::FaceKind kind) const {
  wire::Face face;
  face.kind = kind;
  face.version.process = process_;
  bool first = true;
  for (const auto& each : known_) {
    const auto& hello = each.hello;
    if (!each.counts()) continue;
    if (first) {
      face.wire_min = hello->wire_min;
      face.wire_max = hello->wire_max;
      face.limits = hello->limits;
      face.session_timeout_minutes = hello->session_timeout_minutes;
      first = false;
      continue;
    }
    face.wire_min = std::max(face.wire_min, hello->wire_min);
    face.wire_max = std::min(face.wire_max, hello->wire_max);
    face.limits.object_size = std::min(face.limits.object_size, hello->limits.object_size);
    face.limits.message_size = std::min(face.limits.message_size, hello->limits.message_size);
    face.limits.batch_size = std::min(face.limits.batch_size, hello->limits.batch_size);
    if (!hello->session_timeout_minutes || !face.session_timeout_minutes) {
      face.session_timeout_minutes.reset();
    } else {
      face.session_timeout_minutes = std::min(*face.session_timeout_minutes, *hello->session_timeout_minutes);
    }
  }
  return face;
}

void Members::refresh_face() {
  // Where none is left that has said anything, clients are shown what there was.
  if (std::ranges::none_of(known_, [](const auto& each) { return each.counts(); })) return;
  auto next = face_of_members(face_->kind);
  next.version = face_->version;
  const bool same = next.wire_min == face_->wire_min && next.wire_max == face_->wire_max && next.limits == face_->limits &&
                    next.session_timeout_minutes == face_->session_timeout_minutes;
  if (same) return;
  ++next.version.counter;
  face_ = next;
}

bool Members::is_stale_primary(const wire::MemberHello& hello) const {
  return hello.type == Type::primary && topology_.is_stale(hello) && !broken("stale_primary");
}

bool Members::accepts_writes(const wire::MemberHello& hello) const {
  return hello.type == Type::standalone || hello.type == Type::mongos || (hello.type == Type::primary && !is_stale_primary(hello));
}

bool Members::is_outdated(std::string_view election_id) {
  if (election_id.empty() || sharded_) return false;  // each shard has elections of its own
  if (election_id < topology_.newest_election()) return true;
  topology_.note_election(election_id);
  return false;
}

bool Members::is_deposed(std::size_t member) const {
  return newest_primary_ && *newest_primary_ != member && !broken("replaced_receiver");
}

bool Members::has_replaced(std::size_t member, const wire::Command& command, const wire::Reply& reply,
                           std::optional<std::size_t> present) {
  // What a write finds nothing to do for waits for no majority of its own. One with a number may be asked for again.
  const bool numbered = deduplicates_ && wire::is_deduplicated(command);
  const bool everywhere = command.majority && reply.ok && reply.write_concern_code == 0 && !numbered;
  if (!reply.election_id.empty()) {
    const bool outdated = is_outdated(reply.election_id);
    if (!outdated && !sharded_) newest_primary_ = member;
    return outdated && !everywhere && !broken("replaced_writer");
  }
  // One that was elected counts before it can be used.
  const bool elected = newest_primary_ && *newest_primary_ != member;
  // A findAndModify's reply and a failure name no election.
  // An operation is killed at the member that has it, whoever is the primary.
  const bool changes = command.kind == wire::CommandKind::write || (command.kind == wire::CommandKind::other && !command.operation);
  if (changes) return elected && !everywhere && !broken("replaced_writer");
  if (command.kind == wire::CommandKind::commit) return elected && !everywhere && !broken("replaced_committer");
  const bool of_primary = command.kind == wire::CommandKind::read && !command.in_transaction &&
                          command.preference.mode == wire::ReadMode::primary;
  return of_primary && (elected || (present && *present != member)) && !broken("replaced_reader");
}

}  // namespace holdfast::proxy::mongo

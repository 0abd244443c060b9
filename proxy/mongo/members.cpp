// One kind of upstream, one set, one face.
#include "proxy/mongo/members.hpp"

#include <algorithm>

namespace holdfast::proxy::mongo {

using Type = wire::MemberHello::Type;

Members::Members(const config::Connection& config, wire::ObjectId process)
    : wanted_(config.face), uri_(config.mongo), process_(process), hellos_(config.mongo.hosts.size()) {}

std::string Members::mismatch(const wire::MemberHello& hello) const {
  if (hello.type == Type::mongos) return "it is a mongos, and this version serves replica sets and standalone servers only";
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

std::string Members::note(std::size_t member, const wire::MemberHello& hello) {
  if (auto sentence = mismatch(hello); !sentence.empty()) return sentence;
  kind_ = hello.type == Type::standalone ? wire::FaceKind::standalone : wire::FaceKind::mongos;
  if (!hello.set_name.empty()) set_name_ = hello.set_name;
  hellos_[member] = hello;
  if (hello.type == Type::primary && !hello.election_id.empty() && !is_stale_primary(hello)) {
    if (hello.set_version != set_version_) {
      set_version_ = hello.set_version;
      newest_election_ = hello.election_id;
    }
    newest_election_ = std::max(newest_election_, hello.election_id);
  }
  for (const auto& host : hello.hosts) {
    const bool listed = std::ranges::any_of(uri_.hosts, [&](const auto& each) { return each.to_string() == host; });
    if (!listed && std::ranges::find(unlisted_, host) == unlisted_.end()) unlisted_.push_back(host);
  }
  const auto bears = [](const auto& each) { return each && each->bears_data(); };
  deduplicates_ = std::ranges::any_of(hellos_, bears) &&
                  std::ranges::all_of(hellos_, [&](const auto& each) { return !bears(each) || each->deduplicates(); });
  if (face_) refresh_face();
  return {};
}

void Members::all_asked() {
  const bool any = std::ranges::any_of(hellos_, [](const auto& each) { return each && each->bears_data(); });
  if (face_ || !kind_ || !any) return;
  const bool standalone = *kind_ == wire::FaceKind::standalone || wanted_ == config::MongoFace::standalone;
  face_ = face_of_members(standalone ? wire::FaceKind::standalone : wire::FaceKind::mongos);
}

wire::Face Members::face_of_members(wire::FaceKind kind) const {
  wire::Face face;
  face.kind = kind;
  face.version.process = process_;
  bool first = true;
  for (const auto& hello : hellos_) {
    if (!hello || !hello->bears_data()) continue;
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
  auto next = face_of_members(face_->kind);
  next.version = face_->version;
  const bool same = next.wire_min == face_->wire_min && next.wire_max == face_->wire_max && next.limits == face_->limits &&
                    next.session_timeout_minutes == face_->session_timeout_minutes;
  if (same) return;
  ++next.version.counter;
  face_ = next;
}

bool Members::is_stale_primary(const wire::MemberHello& hello) const {
  return hello.type == Type::primary && !hello.election_id.empty() && hello.set_version <= set_version_ &&
         hello.election_id < newest_election_;
}

bool Members::is_outdated(std::string_view election_id) {
  if (election_id.empty()) return false;
  if (election_id < newest_election_) return true;
  newest_election_ = election_id;
  return false;
}

}  // namespace holdfast::proxy::mongo

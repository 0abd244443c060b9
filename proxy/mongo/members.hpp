// What the members of an upstream have said of themselves, and the face that follows from it: frozen before the first client
// is told, but for the wire range, which follows the members. Sans-io.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.hpp"
#include "protocol/mongo/hello.hpp"

namespace holdfast::proxy::mongo {

namespace wire = holdfast::mongo;

class Members {
 public:
  /// `process`: what clients know this process by.
  Members(const config::Connection& config, wire::ObjectId process);

  /// A member has answered hello. Returns a sentence where it is none that may be served; nothing is kept of it then.
  [[nodiscard]] std::string note(std::size_t member, const wire::MemberHello& hello);
  /// Every member has been asked once, whether it answered or not: the face may be shown.
  void all_asked();

  /// None before it is frozen.
  [[nodiscard]] const std::optional<wire::Face>& face() const { return face_; }
  /// A write that is sent again with its (lsid, txnNumber) is executed once.
  [[nodiscard]] bool deduplicates() const { return deduplicates_; }
  /// A reply to a write names the election of the primary that gave it. Is there a newer one?
  [[nodiscard]] bool is_outdated(std::string_view election_id);
  /// Does this member take itself for the primary although a newer election is known? It slept, or was cut off, through that.
  [[nodiscard]] bool is_stale_primary(const wire::MemberHello& hello) const;
  /// Hosts that members name and the configuration does not.
  [[nodiscard]] const std::vector<std::string>& unlisted() const { return unlisted_; }

 private:
  [[nodiscard]] std::string mismatch(const wire::MemberHello& hello) const;
  [[nodiscard]] wire::Face face_of_members(wire::FaceKind kind) const;
  void refresh_face();

  const config::MongoFace wanted_;
  const config::MongoUri uri_;
  const wire::ObjectId process_;
  std::vector<std::optional<wire::MemberHello>> hellos_;
  std::optional<wire::FaceKind> kind_;  // of the upstream, once one has answered
  std::string set_name_;
  std::optional<wire::Face> face_;
  bool deduplicates_ = false;
  std::string newest_election_;
  std::int64_t set_version_ = 0;
  std::vector<std::string> unlisted_;
};

}  // namespace holdfast::proxy::mongo

// Who the members of an upstream are, what they have said of themselves, and the face that follows from it: frozen before the first client
// is told, but for the wire range, which follows the members. Sans-io.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.hpp"
#include "protocol/mongo/capability.hpp"
#include "protocol/mongo/hello.hpp"
#include "protocol/mongo/reply.hpp"
#include "proxy/capability_types.hpp"
#include "proxy/mongo/selection.hpp"
#include "proxy/mongo/topology.hpp"
#include "proxy/upstream_types.hpp"

namespace holdfast::proxy::mongo {

/// How often a member says how far it is, where nothing else is new.
inline constexpr std::chrono::milliseconds heartbeat_interval{10'000};

/// How long servers keep a session that nobody uses, where they do not say.
inline constexpr std::chrono::minutes session_time{30};

class Members {
 public:
  /// `process`: what clients know this process by.
  Members(const config::Connection& config, wire::ObjectId process);

  /// The URI with the hosts that DNS has for it, before anything is known of any.
  void seed(const config::MongoUri& uri);

  /// Does DNS say who belongs to the upstream? Where it consists of mongos, or nobody has said yet of what.
  [[nodiscard]] bool follows_dns() const;
  /// DNS has named these since; hosts that are named no more are retired.
  void follow_dns(const std::vector<config::HostPort>& hosts);

  using Time = std::chrono::steady_clock::time_point;
  /// Empty, or a sentence that says why a server that answers so may not be served as a member: it is of another kind, or of another set.
  [[nodiscard]] std::string mismatch(const wire::MemberHello& hello) const;
  /// A member has answered hello. Returns a sentence where it is none that may be served; nothing is kept of it then.
  [[nodiscard]] std::string note(std::size_t member, const wire::MemberHello& hello, Time now = {});
  /// The same, and what that means for the upstream: a member that answers without being the primary is unfit, one that may
  /// not be served at all counts as unreachable.
  [[nodiscard]] Outcome outcome_of(std::size_t member, const wire::MemberHello& hello, Time now);
  /// How long a hello of its took.
  void note_round_trip(std::size_t member, std::chrono::microseconds time);
  /// For whom a connection is logged in that a member is asked over.
  enum class Asker { anybody, user };
  /// By the hello of a connection; none: processes cannot be told apart.
  using Process = std::optional<wire::ObjectId>;
  /// Is this process to be asked what it is, over a new connection to it? Once, as far as processes can be told apart, and once more by a
  /// user where it does not tell anybody (buildInfoAuthMode).
  [[nodiscard]] bool wants_build(std::size_t member, const Process& process, Asker asker, Time now) const;
  /// It has answered that; none where it refused. Before its hello is noted, so that no new process is believed to be what the one before
  /// was, and none that is what the one before was is doubted meanwhile.
  void note_build(std::size_t member, const Process& process, Asker asker, std::optional<wire::Build> build);
  /// It says hello, and did not answer that. It can be used, and is asked again after a minute.
  void note_silence(std::size_t member, Time now);
  /// A write that is sent twice over connections to this process of a member's is executed once, as far as this one is concerned.
  [[nodiscard]] bool executes_once(std::size_t member, const Process& process) const;
  /// It cannot be reached: no read goes there until it has answered again.
  void note_unreachable(std::size_t member);
  /// Every member has been asked once, whether it answered or not: the face may be shown.
  void all_asked();

  /// None before it is frozen.
  [[nodiscard]] const std::optional<wire::Face>& face() const { return face_; }
  /// A write that is sent again with its (lsid, txnNumber) is executed once, where each connection that it goes over is to a server that
  /// executes_once.
  [[nodiscard]] bool deduplicates() const { return deduplicates_; }
  /// For so long after it was first sent: half of what the most forgetful of them keeps a session.
  [[nodiscard]] std::chrono::milliseconds memory() const { return memory_; }
  /// Why that is so or not, member by member.
  [[nodiscard]] Capabilities capabilities() const;
  /// A reply to a write names the election of the primary that gave it. Is there a newer one?
  [[nodiscard]] bool is_outdated(std::string_view election_id);
  /// Has another primary taken the place of the member that gives this reply as one? `present`: who is the primary now, where
  /// that is known. A primary that was replaced still answers for a while.
  [[nodiscard]] bool has_replaced(std::size_t member, const wire::Command& command, const wire::Reply& reply,
                                  std::optional<std::size_t> present);
  /// Does this member take itself for the primary although a newer election is known? It slept, or was cut off, through that.
  [[nodiscard]] bool is_stale_primary(const wire::MemberHello& hello) const;
  /// The member that was elected last, as far as is known: whoever else takes itself for the primary has been replaced.
  [[nodiscard]] std::optional<std::size_t> newest_primary() const { return newest_primary_; }
  /// It is known to be the primary no more, whether or not it has said so itself.
  [[nodiscard]] bool is_deposed(std::size_t member) const;
  /// A member that says this of itself can be written to.
  [[nodiscard]] bool accepts_writes(const wire::MemberHello& hello) const;
  /// Those of the URI, then those that were found out, by index. None is ever taken out.
  [[nodiscard]] const std::vector<config::HostPort>& hosts() const { return hosts_; }
  /// It belongs to the upstream no more, by the word of the primary.
  [[nodiscard]] bool is_retired(std::size_t member) const { return known_[member].retired; }
  /// Those that belong to the upstream.
  [[nodiscard]] std::vector<config::HostPort> present_hosts() const;
  /// This mongos belongs to the upstream no more, and another one has answered.
  [[nodiscard]] bool is_replaced(std::size_t member) const;
  /// They are mongos: each serves everything, and reads go on from there.
  [[nodiscard]] bool is_sharded() const { return sharded_; }
  /// A member is to be selected for this command by its read preference.
  [[nodiscard]] bool reads_elsewhere(const wire::Command& command) const;
  /// Members of a set that bear data and answer: commands that are meant for all of them go there. None of mongos, which see to that.
  [[nodiscard]] std::vector<std::size_t> serving() const;
  /// Who may serve a read; one of `avoided` only where nobody else does. Indices of members.
  [[nodiscard]] Selection select(const wire::ReadPreference& preference, const std::vector<std::size_t>& avoided = {}) const;

 private:
  [[nodiscard]] wire::Face face_of_members(wire::FaceKind kind) const;
  void refresh_face();
  void follow_topology();
  void judge_repetitions();
  struct Known;
  [[nodiscard]] static std::string why_not_twice(const Known& known);

  const config::MongoFace wanted_;
  config::MongoUri uri_;
  const wire::ObjectId process_;
  struct Known {
    std::optional<wire::MemberHello> hello;  // the last one
    Time heard{};
    bool reachable = false;
    bool retired = false;
    struct Told {
      Process process;
      Asker asker;
      std::optional<wire::Build> build;      // none: it refused
    };
    std::optional<Told> told;                // what it is, by its own word
    std::optional<Time> silent;              // since when it has not answered that
    bool once = false;                       // by all of this it executes what it is sent twice once
    std::optional<double> round_trip;        // milliseconds
    [[nodiscard]] bool counts() const {
      return hello && !retired && (hello->bears_data() || hello->type == wire::MemberHello::Type::mongos);
    }
  };
  std::vector<config::HostPort> hosts_;
  std::vector<Known> known_;
  Topology topology_;
  std::optional<wire::FaceKind> kind_;  // of the upstream, once one has answered
  bool sharded_ = false;
  std::string set_name_;
  std::optional<wire::Face> face_;
  bool deduplicates_ = false;
  std::chrono::milliseconds memory_ = session_time / 2;
  std::optional<std::size_t> newest_primary_;  // was elected last
};

}  // namespace holdfast::proxy::mongo

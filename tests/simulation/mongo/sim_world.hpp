// One run: members that fail, the real upstream machine, members and operation machines, drivers, and what must hold in the end.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "proxy/mongo/members.hpp"
#include "proxy/mongo/numbering.hpp"
#include "proxy/mongo/places.hpp"
#include "tests/simulation/mongo/sim_client.hpp"
#include "tests/simulation/mongo/sim_pool.hpp"
#include "tests/simulation/mongo/sim_servers.hpp"
#include "tests/simulation/mongo/sim_session.hpp"
#include "tests/simulation/sim_upstream.hpp"

namespace holdfast::simulation::mongo {

class SimWorld {
 public:
  explicit SimWorld(std::uint64_t seed);
  ~SimWorld();

  /// Runs everything and checks it; failures are GoogleTest's.
  void run();
  /// What happened, for a seed that fails.
  [[nodiscard]] std::string history() const;

  struct Totals {
    long acknowledged = 0, unknown = 0, never_ran = 0, transactions = 0, reads = 0, losses = 0, repeated = 0, elections = 0,
         rolled_back = 0, answered_by_parts = 0, upgraded = 0, logins = 0, waits = 0, logouts = 0;
  };
  [[nodiscard]] const Totals& totals() const { return totals_; }

  // ---- for sessions ----

  [[nodiscard]] std::uint64_t next_waiter() { return ++last_waiter_; }
  void enter(std::uint64_t waiter, Time deadline);
  void cancel_wait(std::uint64_t waiter);
  [[nodiscard]] std::optional<std::size_t> ready() const { return upstream_.machine().ready(proxy::Wish::primary, clock_.now()); }
  void leave_grant(const proxy::upstream_action::Grant& grant);
  /// A connection, or none and what was wrong.
  using Connected = std::function<void(std::shared_ptr<Link>, const std::string&)>;
  void connect_to(SimPool::Waiter waiter, std::size_t member, const std::string& login, Time deadline, Connected then);
  /// A new connection to the primary, in a place of the pool's.
  void log_in(std::size_t member, const std::string& login, Time deadline, Connected then);
  static constexpr std::string_view refused_login = "Authentication failed.";
  static constexpr std::string_view all_in_use = "all connections to its member are in use";
  /// As a server closes a connection.
  void close_client(const SimSession& session);
  void backend_lost();
  /// Calls `then` once the standing connection was asked, or at `deadline` with false.
  void ask_alive(Time deadline, std::function<void(bool alive)> then);
  /// Does a silent member answer a hello? Where it does not, all its connections end.
  void check_member(std::size_t member, Time deadline, std::function<void()> then);
  /// One command to this member, by `deadline`: the body of its reply, or none where there is none.
  using Heard = std::function<void(std::optional<std::string> body)>;
  void ask_member(std::size_t member, const std::string& login, const std::string& body, Time deadline, Heard then, int tries = 2);
  void abort_transaction(std::size_t member, const std::string& login, const std::string& body);
  void check_killed(std::size_t member, const std::string& session, Time before);
  /// The proxy has heard of a primary of this term.
  void told_of(std::int64_t term, std::size_t member);
  /// What of a reply's age the proxy must have seen.
  void check_forwarded(const wire::Command& command, const wire::Reply& reply, std::size_t member, std::int64_t term) const;

 private:
  struct Pair {
    std::unique_ptr<SimClient> client;
    std::unique_ptr<SimSession> session;
    std::uint64_t connection = 0;  // of the client: how many it has had before
    SessionSettings settings;
  };
  enum class Shape { standalone, set, sharded };
  [[nodiscard]] static Shape pick_shape(Clock& clock);
  static holdfast::config::Connection make_config(Clock& clock, Shape shape, std::size_t members, bool forgetful);
  [[nodiscard]] static proxy::UpstreamSettings make_settings(const holdfast::config::Connection& config);
  [[nodiscard]] SimUpstream::World make_shell();
  [[nodiscard]] SimSession* waiting(std::uint64_t waiter) const;
  [[nodiscard]] static SimPool::Book::Limits limits_of(const holdfast::config::Connection& config);
  using Opened = std::function<void(const std::optional<wire::MemberHello>&, proxy::Outcome)>;
  void open(std::size_t member, const std::string& login, Time deadline, Opened then);
  void use(SimPool::Waiter waiter, std::size_t member, const std::string& login, Time deadline, SimPool::Turn turn, Connected then);
  void look(SimUpstream::Ask ask, std::size_t endpoint, Time deadline, const SimUpstream::Done& done);
  void recognise(std::size_t member, const wire::MemberHello& hello);
  void learn(std::size_t member, const wire::MemberHello& hello);
  void monitor(std::size_t member, std::optional<wire::TopologyVersion> known, Time since);
  void suspect(std::size_t member);
  void follow_members();
  void add_client();
  void connect(std::size_t index);
  void hang_up(std::size_t index);
  void plan_faults();
  void fault();
  void shard_fault();
  void long_outage();
  void tick();
  void check_end();
  [[nodiscard]] bool all_done() const;
  void note(const std::string& what);

  Clock clock_;
  const Shape shape_;
  const std::size_t size_;  // of what the proxy can connect to
  const bool forgetful_;  // the servers keep sessions for a minute only, and there is no primary for longer than that
  const bool imitation_;  // mongos that are not known to know writes again
  const bool impostors_;  // a member of the set has something else in its place once it has died. Not by the dice, so that other seeds stay
  const bool made_anew_;  // the users, once. Nor is that
  const holdfast::config::Connection config_;
  SimServers servers_;
  Ledger ledger_;

 public:
  proxy::mongo::Members members;
  proxy::mongo::Places places;
  proxy::mongo::Numbering numbering;
  std::set<std::string> own_sessions;  // that have a write under way
  bool knows_refusal = false;  // of the collection "c"
  long upgraded = 0;           // writes
  SimPool pool;

 private:
  SimUpstream upstream_;
  SessionSettings session_settings_;
  std::vector<Pair> pairs_;
  std::vector<std::unique_ptr<SimSession>> left_;  // by their clients
  std::uint64_t last_waiter_ = 0, last_question_ = 0;
  std::map<std::uint64_t, std::function<void(bool alive)>> questions_;  // whether the primary lives
  std::int64_t told_term_ = 0;
  std::size_t told_member_ = 0, monitored_ = 0;
  std::string history_;
  Totals totals_;
};

}  // namespace holdfast::simulation::mongo

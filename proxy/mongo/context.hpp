// What all sessions of one connection share, on its home worker: the upstream, the members, the pool, and where cursors and
// transactions are.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "config/config.hpp"
#include "proxy/counters.hpp"
#include "proxy/mongo/leftovers.hpp"
#include "proxy/mongo/members.hpp"
#include "proxy/mongo/numbering.hpp"
#include "proxy/mongo/places.hpp"
#include "proxy/mongo/pool.hpp"
#include "proxy/mongo/users.hpp"
#include "proxy/upstream.hpp"

namespace holdfast::proxy::mongo {

class Session;

/// A member refuses the login that a connection was to have, or there is nothing to log in with.
struct LoginRefused {
  std::string error;
};

/// There is no connection to a member, and why.
struct NoConnection {
  std::string error;
  bool login_refused = false;
  bool all_in_use = false;  // as many as there may be, for as long as was waited
};

class Context {
 public:
  /// `config`, `upstream` and `members` outlive this.
  Context(Executor home, std::shared_ptr<const config::Connection> config, std::shared_ptr<const BackendSettings> settings,
          Upstream& upstream, Members& members, BufferPool& buffers, TlsContext client_tls);

  /// The configuration has changed.
  void use(std::shared_ptr<const config::Connection> next);
  /// DNS has named the hosts of a mongodb+srv:// URI, and what stands with them: maybe whose database its users are in.
  void use_seeds(std::shared_ptr<const config::Connection> found);

  /// Somebody who waits: its number at the gate, and whether its client has gone, which lives as long as the wait.
  struct Waiter {
    WaiterId id;
    const bool* gone;
    Pool::Room room = Pool::Room::within_limit;
  };
  using Found = std::variant<Lease, Refusal, LoginRefused>;
  /// A connection to the primary for this user. With `ask_first` the present one is asked before it is believed.
  enum class AskFirst { no, yes };
  Task<Found> primary(Waiter waiter, std::shared_ptr<Login> login, AskFirst ask, SteadyTime deadline);
  /// Its client has gone, and it says so by now: its waits for connections are refused as soon as they may end. 0: not at the gate.
  void cancel_wait(WaiterId waiter);
  /// A new connection to the primary that is not logged in: for a login that is relayed.
  Task<Found> fresh(Waiter waiter, SteadyTime deadline);
  /// A connection to this member, past the gate: its cursors and transactions are nowhere else.
  Task<std::variant<Lease, NoConnection>> member(Waiter waiter, std::size_t index, std::shared_ptr<Login> login, SteadyTime deadline);
  /// How a user may log in, by the server's word (auth_query). A sentence where it could not be asked.
  Task<std::variant<Verifiers, std::string>> ask_verifiers(Waiter waiter, std::string database, std::string user, SteadyTime deadline);
  /// May a write be sent twice over this connection, as far as its server is concerned?
  [[nodiscard]] bool executes_once(const Lease& lease) const { return members.executes_once(lease.member(), lease->process); }
  /// Looks whether a member from which an answer does not come says hello on another connection. Where it is silent on all, all that is open to
  /// it ends. Nothing, where somebody is looking already.
  Task<> check_member(std::size_t index);
  /// Ends what a client has left behind, or may have. Whether that worked nobody needs to know.
  Task<> end(std::vector<Leftovers::Ending> endings, std::shared_ptr<Login> login);
  /// Returns once the face is known, or at `deadline`.
  Task<> wait_for_face(SteadyTime deadline);
  /// A member has said something.
  void on_learnt();

  void on_tick(SteadyTime now);

  const Executor home;
  std::shared_ptr<const config::Connection> config;  // replaced by a reload
  const std::shared_ptr<const BackendSettings> settings;
  Upstream& upstream;
  Members& members;
  BufferPool& buffers;
  TlsContext client_tls;         // none: clients come in clear; replaced by a reload
  Users users;
  const std::shared_ptr<Login> nobody = std::make_shared<Login>();
  std::shared_ptr<Login> service;  // of auth_query; none without one
  ConnectionCounters counters;
  Pool pool;
  Numbering numbering;
  Places places;
  Condition learnt;
  std::minstd_rand random{std::random_device{}()};  // which of the nearest members
  std::int32_t last_request = 0;  // numbers of messages that the proxy itself begins
  std::function<void(const std::shared_ptr<Session>&)> opened;
  std::function<void(const Session&)> closed;

 private:
  enum class Reuse { no, yes };
  Task<std::optional<Refusal>> outlast_deposed(Waiter waiter, SteadyTime deadline);
  Task<Found> connect(Waiter waiter, std::shared_ptr<Login> login, Reuse reuse, SteadyTime deadline);
  Task<Backend::Opened> open(std::size_t index, std::shared_ptr<Login> login, SteadyTime deadline);
  [[nodiscard]] bool takes_no_more(const Backend::Opened& made, std::size_t index) const;
  Task<Found> log_in(Place place, std::shared_ptr<Login> login, SteadyTime deadline, bool& no_more);

  std::set<std::size_t> checked_;  // members that a hello is under way to
};

}  // namespace holdfast::proxy::mongo

// What all sessions of one connection share, on its home worker: the upstream, the members, the pool, and where cursors and
// transactions are.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <variant>

#include "config/config.hpp"
#include "proxy/counters.hpp"
#include "proxy/mongo/members.hpp"
#include "proxy/mongo/pool.hpp"
#include "proxy/mongo/recent_table.hpp"
#include "proxy/upstream.hpp"

namespace holdfast::proxy::mongo {

class Session;

struct TransactionPlace {
  std::size_t member = 0;
  std::int64_t number = 0;
  bool wrote = false;  // a statement of it may have changed something
};

class Context {
 public:
  /// `config`, `upstream` and `members` outlive this.
  Context(Executor home, std::shared_ptr<const config::Connection> config, std::shared_ptr<const BackendSettings> settings,
          Upstream& upstream, Members& members, BufferPool& buffers);

  /// A connection to the primary. With `ask_first` the present one is asked before it is believed.
  enum class AskFirst { no, yes };
  Task<std::variant<Lease, Refusal>> primary(WaiterId waiter, AskFirst ask, SteadyTime deadline);
  /// A connection to this member, past the gate: its cursors and transactions are nowhere else. A sentence where there is none.
  Task<std::variant<Lease, std::string>> member(std::size_t index, SteadyTime deadline);
  /// Does a member that is silent answer a hello on another connection? Where it does not, all that is open to it ends.
  Task<bool> check_member(std::size_t index);
  /// Ends a transaction where it may still be open. Whether that worked nobody needs to know.
  Task<> abort_transaction(std::size_t index, std::string body);
  /// Returns once the face is known, or at `deadline`.
  Task<> wait_for_face(SteadyTime deadline);
  /// A member has said something.
  void on_learnt();

  void remember_cursor(std::string_view collection, std::int64_t id, std::size_t member);
  void forget_cursor(std::string_view collection, std::int64_t id);
  [[nodiscard]] std::optional<std::size_t> find_cursor(std::string_view collection, std::int64_t id);
  [[nodiscard]] TransactionPlace* find_transaction(std::string_view session, std::int64_t number);
  void remember_transaction(std::string_view session, TransactionPlace place);

  void on_tick(SteadyTime now);

  const Executor home;
  std::shared_ptr<const config::Connection> config;  // replaced by a reload
  const std::shared_ptr<const BackendSettings> settings;
  Upstream& upstream;
  Members& members;
  BufferPool& buffers;
  ConnectionCounters counters;
  Pool pool;
  Condition learnt;
  std::int32_t last_request = 0;  // numbers of messages that the proxy itself begins
  std::function<void(const std::shared_ptr<Session>&)> opened;
  std::function<void(const Session&)> closed;

 private:
  Task<std::optional<Refusal>> log_in(Grant grant, Lease& into, SteadyTime deadline);

  RecentTable<std::size_t> cursors_;
  RecentTable<TransactionPlace> transactions_;
};

}  // namespace holdfast::proxy::mongo

// The programs that the clients of a PostgreSQL workload run, each as an ordinary application would be written: it keeps one
// connection and handles the documented errors. They judge answers, not histories.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "workload/client_threads.hpp"
#include "workload/control.hpp"
#include "workload/history.hpp"
#include "workload/postgres_session.hpp"
#include "workload/statistics.hpp"

namespace holdfast::workload {

/// What one client does. `prepare` runs on each new connection, `step` again and again; both on the client's thread.
class ClientProgram {
 public:
  virtual ~ClientProgram() = default;
  virtual void prepare(PostgresSession& session) = 0;
  virtual void step(PostgresSession& session) = 0;
};

/// What every program works with; the referred objects outlive it.
struct ClientContext {
  ClientRecord& record;
  Control& control;
  History& history;
};

/// Mostly idle: settings, a search path and prepared statements of its own, looked at again and again.
[[nodiscard]] std::unique_ptr<ClientProgram> settled_client(ClientContext context, std::string tenant, std::string time_zone);
/// Waits for notifications on the channel `demo_events`.
[[nodiscard]] std::unique_ptr<ClientProgram> listening_client(ClientContext context);
enum class ReaderProtocol { simple, prepared };
/// Autocommit reads whose answers are known beforehand.
[[nodiscard]] std::unique_ptr<ClientProgram> reading_client(ClientContext context, ReaderProtocol protocol);
enum class WriterManner { simple_transactions, prepared_transactions, autocommit };
/// Writes with unique ids beginning after `first_id`; in autocommit also notifies `demo_events`.
[[nodiscard]] std::unique_ptr<ClientProgram> writing_client(ClientContext context, WriterManner manner, WriteId first_id);

/// The SQL that makes what the clients use, to be run once in an empty database by its owner.
[[nodiscard]] std::string workload_schema();
/// What the writers' table holds, asked on a plain connection. Throws std::runtime_error.
[[nodiscard]] std::vector<StoredPart> stored_writes(const PostgresTarget& target);

/// Runs `statement` until it is answered without a documented error; the session may be lost meanwhile.
Reply until_answered(Control& control, const std::function<Reply()>& statement);

/// The eight clients of the demo, each on a thread and a connection of its own.
class PostgresWorkload : public ClientThreads {
 public:
  /// Starts them. `history` outlives this.
  PostgresWorkload(const PostgresTarget& target, History& history);
  /// Ends them before what they use goes.
  ~PostgresWorkload();

 private:
  void add(const std::string& name, const PostgresTarget& target,
           const std::function<std::unique_ptr<ClientProgram>(ClientContext)>& make);

  History& history_;
};

}  // namespace holdfast::workload

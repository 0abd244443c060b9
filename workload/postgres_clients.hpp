// The programs that the clients of a PostgreSQL workload run, each as an ordinary application would be written: it keeps one
// connection and handles the documented errors. They judge answers, not histories.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

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
class PostgresWorkload {
 public:
  /// Starts them. `history` outlives this.
  PostgresWorkload(const PostgresTarget& target, History& history);
  ~PostgresWorkload();

  /// Whether each client has finished its preparation within `limit`.
  [[nodiscard]] bool wait_until_ready(milliseconds limit) const;
  /// Whether each client has had an answer since `moment` within `limit`.
  [[nodiscard]] bool wait_until_served_since(Clock::time_point moment, milliseconds limit) const;
  /// Lets every write come to a known outcome, then holds the clients; false when some do not get there within `limit`.
  [[nodiscard]] bool pause(milliseconds limit);
  void resume();
  /// Ends the clients. Whatever is still under way after 2 s is given up and counted as unanswered.
  void end();
  [[nodiscard]] std::vector<ClientSnapshot> snapshots() const;

 private:
  struct Client {
    explicit Client(std::string name) : record(std::move(name)) {}
    ClientRecord record;
    std::unique_ptr<ClientProgram> program;
    std::thread thread;
  };
  void add(const std::string& name, const PostgresTarget& target,
           const std::function<std::unique_ptr<ClientProgram>(ClientContext)>& make);

  Control control_;
  History& history_;
  std::atomic<std::size_t> running_ = 0;  // threads
  std::vector<std::unique_ptr<Client>> clients_;
};

}  // namespace holdfast::workload

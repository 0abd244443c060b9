// The shell of one client's connection: does for each command what the operation machine says, as session_operation.cpp does.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "proxy/mongo/kills.hpp"
#include "proxy/mongo/members.hpp"
#include "proxy/mongo/numbering.hpp"
#include "proxy/mongo/operation_machine.hpp"
#include "proxy/upstream_machine.hpp"
#include "tests/simulation/mongo/sim_pool.hpp"

namespace holdfast::simulation::mongo {

namespace proxy = ::holdfast::proxy;

class SimWorld;

/// What the world has for all its sessions.
struct SessionSettings {
  proxy::mongo::OperationSettings operation;
  milliseconds hang_timeout{1000};
  milliseconds connection_timeout{1000};
  bool upgrades = true;       // `upgrade_writes: on`
  bool driver_logs_in = true; // again, when it is asked to
};

class SimSession {
 public:
  SimSession(SimWorld& world, Clock& clock, std::string user, SessionSettings settings, std::function<void(std::string)> to_client);
  ~SimSession();

  void client_sends(std::string frame);
  /// The client goes away without a word.
  void client_leaves();

  /// From now on it logs in upstream so.
  void log_in(bool new_password);

  void on_grant(const proxy::upstream_action::Grant& grant);
  void on_refused(const proxy::upstream_action::Refuse& refusal);
  [[nodiscard]] bool waits_for(std::uint64_t waiter) const { return waiter_ == waiter; }
  /// A few times a second: is the member silent?
  void on_tick();
  [[nodiscard]] bool busy() const { return run_ != nullptr; }
  /// What it is busy with.
  [[nodiscard]] std::string state() const;
  /// How often a request was sent again.
  [[nodiscard]] long repeated() const { return repeated_; }
  /// How many batches were answered by parts.
  [[nodiscard]] long answered_by_parts() const { return answered_by_parts_; }

 private:
  struct Run {
    std::uint64_t number = 0;
    std::string original;                // as the client wrote it
    std::unique_ptr<proxy::mongo::NumberedWrite> numbered;
    bool number_refused = false;         // and so it is sent without one
    std::string frame;
    wire::Message request;
    wire::Command command;
    std::optional<std::size_t> pinned;
    std::unique_ptr<proxy::mongo::OperationMachine> machine;
    std::shared_ptr<Link> link;
    SimPool::Book::Ticket ticket = 0;    // in the wait for a connection
    SimPool::Turn turn;
    bool login_refused = false;          // by the member that was asked last
    bool in_exchange = false;
    bool introduced = false;             // the connection is new: its member has just said hello
    Time quiet_since{};
    std::size_t last_member = 0;
    std::string reply;
    std::int64_t term = 0;               // of whom gave the reply
    std::vector<std::size_t> failed;     // members that this read has been tried at
    std::unique_ptr<proxy::mongo::CursorKills> cursor_kills;
    std::unique_ptr<proxy::mongo::SessionKills> session_kills;
    std::vector<std::size_t> asked;      // members that were to end its sessions
    Time since{};
  };
  void begin(std::string frame);
  void read_request(std::string frame);
  void perform();
  void perform_at(proxy::mongo::Places::Place place);
  void kill_cursors();
  void kill_sessions();
  void check_killed() const;
  void end_numbering(proxy::mongo::Numbering::Fate fate);
  void go_on(proxy::mongo::OperationStep step);
  void on(const proxy::mongo::operation_step::Select& step);
  void on(const proxy::mongo::operation_step::Use& step);
  void on(const proxy::mongo::operation_step::Send& step);
  void on(const proxy::mongo::operation_step::Forward& forward);
  void on(const proxy::mongo::operation_step::Answer& step);
  void select(const proxy::mongo::operation_step::Select& step);
  void outlast_deposed(Time deadline, int shown);
  void select_reader(Time deadline);
  void connect(Time deadline);
  void connect_to(std::size_t member, Time deadline);
  void log_in(std::size_t member, Time deadline);
  void found(std::shared_ptr<Link> link);
  void on_reply(const std::string& frame, std::int64_t term);
  void let_go();
  void on_lost(proxy::mongo::OperationMachine::Written written, const std::string& reason);
  bool tell_of_refused_login();
  void check_receiver(std::size_t member);
  void release();
  void finish();

  SimWorld& world_;
  Clock& clock_;
  const std::string user_;
  std::string login_;
  const SessionSettings settings_;
  std::function<void(std::string)> to_client_;
  std::deque<std::string> waiting_;
  std::unique_ptr<Run> run_;
  std::uint64_t waiter_ = 0, run_number_ = 0;
  Time wait_until_{};
  bool gone_ = false, checking_ = false;
  long repeated_ = 0, answered_by_parts_ = 0;
};

}  // namespace holdfast::simulation::mongo

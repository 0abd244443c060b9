// What each client of a workload did and saw: counted by its own thread, read by the live view and the final table.
// Judges nothing but what the counters say by themselves.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <span>
#include <string>
#include <string_view>

#include "workload/wait.hpp"

namespace holdfast::workload {

enum class ClientPhase {
  starting,  // its thread has not begun
  resting,   // between two statements
  waiting,   // a statement or a login of its own is under way
  parked,    // the workload is paused
};

/// A client at one moment.
struct ClientSnapshot {
  std::string name;
  ClientPhase phase = ClientPhase::starting;
  bool prepared = false;         // its first login and preparation are done
  std::string activity;          // the statement under way, or the last one
  Clock::time_point since{};     // since when it is in this phase
  Clock::time_point last_answer{};
  std::uint64_t statements = 0;  // answered, whether well or with an error
  std::uint64_t connections = 0;
  std::uint64_t disconnections = 0;
  std::uint64_t refused_logins = 0;
  std::uint64_t unanswered = 0;  // given up at the end of the run, after the grace period
  std::uint64_t writes = 0;      // acknowledged
  std::uint64_t notifications = 0;
  std::uint64_t warnings = 0;    // WARNING notices; holdfast tells a listener of a gap by one
  std::uint64_t wrong_answers = 0;
  std::map<std::string, std::uint64_t> errors;  // by SQLSTATE
  milliseconds longest_wait{0};
  std::string first_complaint;   // of a wrong answer, a refused login, a lost connection, an undocumented error
};

/// All clients together.
struct Totals {
  std::uint64_t sessions = 0, statements = 0, connections = 0, disconnections = 0, refused_logins = 0, unanswered = 0;
  std::uint64_t writes = 0, notifications = 0, warnings = 0, wrong_answers = 0, undocumented_errors = 0;
  std::map<std::string, std::uint64_t> errors;
  milliseconds longest_wait{0};
};

[[nodiscard]] Totals add_up(std::span<const ClientSnapshot> clients);

/// One client's counters. The client's thread writes, any thread reads.
class ClientRecord {
 public:
  explicit ClientRecord(std::string name);

  void begin(std::string_view activity);  // a statement or a login leaves
  void answered();                        // its answer is there
  void error(const std::string& code, const std::string& message);  // its answer is an error
  void connected();
  void ready();                           // prepared: the first rest
  void parked();
  void resumed();
  void disconnected(const std::string& reason);
  void noticed_loss(const std::string& reason);  // by the driver, on any thread, whatever its client is at: a disconnection too
  void login_refused(const std::string& reason);
  void unanswered();
  void write_acknowledged();
  void notification();
  void warning();
  void wrong_answer(const std::string& complaint);
  [[nodiscard]] ClientSnapshot snapshot() const;

 private:
  void rest();                               // with the mutex held
  void complain(const std::string& reason);  // likewise; the first one tells the cause, the others follow from it
  mutable std::mutex mutex_;
  ClientSnapshot now_;
};

}  // namespace holdfast::workload

// Counts. Formats and prints nothing.
#include "workload/statistics.hpp"

#include <algorithm>
#include <utility>

#include "workload/documented_errors.hpp"

namespace holdfast::workload {

Totals add_up(std::span<const ClientSnapshot> clients) {
  Totals all;
  for (const auto& client : clients) {
    ++all.sessions;
    all.statements += client.statements;
    all.connections += client.connections;
    all.disconnections += client.disconnections;
    all.refused_logins += client.refused_logins;
    all.unanswered += client.unanswered;
    all.writes += client.writes;
    all.notifications += client.notifications;
    all.warnings += client.warnings;
    all.wrong_answers += client.wrong_answers;
    all.longest_wait = std::max(all.longest_wait, client.longest_wait);
    for (const auto& [code, count] : client.errors) {
      all.errors[code] += count;
      if (reaction_to(code) == Reaction::complain) {
        all.undocumented_errors += count;
      }
    }
  }
  return all;
}

ClientRecord::ClientRecord(std::string name) {
  now_.name = std::move(name);
  now_.since = Clock::now();
}

void ClientRecord::rest() {
  const auto now = Clock::now();
  if (now_.phase == ClientPhase::waiting) {
    now_.longest_wait = std::max(now_.longest_wait, std::chrono::duration_cast<milliseconds>(now - now_.since));
  }
  now_.phase = ClientPhase::resting;
  now_.since = now;
}

void ClientRecord::complain(const std::string& reason) {
  if (now_.first_complaint.empty()) {
    now_.first_complaint = reason;
  }
}

void ClientRecord::begin(std::string_view activity) {
  const std::lock_guard lock(mutex_);
  now_.activity = activity;
  now_.phase = ClientPhase::waiting;
  now_.since = Clock::now();
}

void ClientRecord::answered() {
  const std::lock_guard lock(mutex_);
  ++now_.statements;
  rest();
  now_.last_answer = now_.since;
}

void ClientRecord::error(const std::string& code, const std::string& message) {
  const std::lock_guard lock(mutex_);
  ++now_.statements;
  ++now_.errors[code];
  rest();
  if (reaction_to(code) == Reaction::complain) {
    complain(code + " on " + now_.activity + ": " + message);
  }
}

void ClientRecord::connected() {
  const std::lock_guard lock(mutex_);
  ++now_.connections;
  rest();
}

void ClientRecord::ready() {
  const std::lock_guard lock(mutex_);
  now_.prepared = true;
  rest();
}

void ClientRecord::parked() {
  const std::lock_guard lock(mutex_);
  rest();
  now_.phase = ClientPhase::parked;
}

void ClientRecord::resumed() {
  const std::lock_guard lock(mutex_);
  rest();
}

void ClientRecord::disconnected(const std::string& reason) {
  const std::lock_guard lock(mutex_);
  ++now_.disconnections;
  rest();
  complain("disconnected during " + now_.activity + ": " + reason);
}

void ClientRecord::noticed_loss(const std::string& reason) {
  const std::lock_guard lock(mutex_);
  ++now_.disconnections;
  complain(reason);
}

void ClientRecord::login_refused(const std::string& reason) {
  const std::lock_guard lock(mutex_);
  ++now_.refused_logins;
  rest();
  complain("login refused: " + reason);
}

void ClientRecord::unanswered() {
  const std::lock_guard lock(mutex_);
  ++now_.unanswered;
  rest();
  complain("no answer to " + now_.activity);
}

void ClientRecord::write_acknowledged() {
  const std::lock_guard lock(mutex_);
  ++now_.writes;
}

void ClientRecord::notification() {
  const std::lock_guard lock(mutex_);
  ++now_.notifications;
  now_.last_answer = Clock::now();
}

void ClientRecord::warning() {
  const std::lock_guard lock(mutex_);
  ++now_.warnings;
}

void ClientRecord::wrong_answer(const std::string& complaint) {
  const std::lock_guard lock(mutex_);
  ++now_.wrong_answers;
  complain(complaint);
}

ClientSnapshot ClientRecord::snapshot() const {
  const std::lock_guard lock(mutex_);
  return now_;
}

}  // namespace holdfast::workload

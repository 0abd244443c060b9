// Drives a session machine as its shell does, for the fuzzers: stops the program where the machine breaks its word.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "proxy/postgres/session_machine.hpp"

namespace holdfast::proxy::postgres::fuzz {

inline void require(bool holds) {
  if (!holds) std::abort();
}

inline Parameters server_parameters() {
  return {{"server_version", "15.4"}, {"server_encoding", "UTF8"}, {"integer_datetimes", "on"}};
}

class SessionDriver {
 public:
  enum class Ledger { off, on };
  explicit SessionDriver(Ledger ledger = Ledger::off) : machine(options(ledger)) {
    machine.set_user("app");
    require(machine.on_attached(100, server_parameters(), SessionMachine::Attachment::first));
  }

  void client_sends(std::string_view bytes) {
    client_in_ += bytes;
    client_sent_ += bytes.size();
    pump_client();
  }
  void server_sends(std::string_view bytes) {
    if (machine.state() != SessionState::attached) return;
    server_in_ += bytes;
    server_sent_ += bytes.size();
    const bool replaying = machine.replaying();
    show_server_bytes();
    if (machine.take_answers() || (replaying && !machine.replaying())) pump_client();
  }
  void show_server_bytes() {
    for (;;) {
      std::vector<char> shown(server_in_.begin(), server_in_.end());
      const auto step = machine.on_server_bytes({shown.data(), shown.size()});
      const bool outputs = !machine.client_output.empty() || !machine.server_output.empty();
      check(step, shown.size(), outputs);
      to_client_.append(shown.data(), step.forward);
      server_in_.erase(0, step.consume);
      take_outputs();
      if (step.next == Step::Next::lost) return server_closes(Witness::gone);
      if (step.next != Step::Next::again) return;
    }
  }
  void server_closes(Witness witness) {
    server_in_.clear();
    machine.on_backend_closed("reset");
    const bool closes = machine.resolve_loss(witness).then == LossResult::Then::close;
    take_outputs();
    require(machine.state() != SessionState::attached && machine.state() != SessionState::losing);
    require(closes == (machine.state() == SessionState::closed) || closed_);
    if (closes) closed_ = true;
    pump_client();
  }
  void attach(std::int32_t process_id) {
    if (machine.state() != SessionState::detached) return;
    if (machine.commit_in_question()) {
      using Outcome = SessionMachine::Outcome;
      constexpr Outcome outcomes[] = {Outcome::committed, Outcome::not_committed, Outcome::not_committed, Outcome::unknown};
      machine.on_commit_judged(outcomes[process_id / 16 % 4]);
      take_outputs();
      if (machine.state() != SessionState::detached) {
        closed_ = machine.state() == SessionState::closed;
        return pump_client();
      }
    }
    if (!machine.unproven_reads().empty()) {
      machine.on_reads_judged(process_id % 3 == 0 ? SessionMachine::Reads::not_proven : SessionMachine::Reads::proven);
      take_outputs();
      if (machine.state() != SessionState::detached) return pump_client();
    }
    const bool replaying = machine.replaying();
    if (!machine.on_attached(process_id, server_parameters(), SessionMachine::Attachment::again)) closed_ = true;
    require(!machine.busy() || replaying || machine.state() == SessionState::closed);
    take_outputs();
    pump_client();
  }
  void refuse() {
    if (machine.state() != SessionState::detached || (!held_ && !machine.replaying())) return;
    machine.refuse("57P03", "no upstream");
    require(!machine.replaying());
    take_outputs();
    pump_client();
  }
  void snapshot() {
    if (!machine.snapshot_due()) return;
    machine.begin_snapshot();
    take_outputs();
  }
  void sweep_ledger() {
    if (!machine.at_rest()) return;
    machine.begin_ledger_sweep();
    take_outputs();
  }
  [[nodiscard]] bool closed() const { return closed_; }
  [[nodiscard]] std::string take_to_server() { return std::exchange(to_server_, {}); }
  [[nodiscard]] std::string take_to_client() { return std::exchange(to_client_, {}); }

  /// Nothing comes out that did not go in, but for what the machine itself says, which is bounded by what it was told.
  void require_bounded() const {
    require(to_client_size_ <= server_sent_ + 2048 * (client_sent_ + server_sent_ + 64));
    require(to_server_size_ <= (client_sent_ + 64) * 4096 + server_sent_ * 4096);
  }

  SessionMachine machine;

 private:
  static SessionOptions options(Ledger ledger) {
    SessionOptions options;
    options.connection = "fuzz";
    options.message_buffer = 256;  // small, so that streaming is reached
    options.replay_limit = 2048;
    if (ledger == Ledger::on) options.ledger_session = "5e551011-0000-4000-8000-000000000000";
    return options;
  }
  static void check(const Step& step, std::size_t shown, bool outputs) {
    require(step.forward <= step.consume && step.consume <= shown);
    // `again` must make progress, or it would be asked for without end.
    require(step.next != Step::Next::again || step.consume > 0 || outputs);
  }
  void pump_client() {
    while (!closed_) {
      const std::vector<char> shown(client_in_.begin(), client_in_.end());
      const auto step = machine.on_client_bytes({shown.data(), shown.size()});
      const bool outputs = !machine.client_output.empty() || !machine.server_output.empty();
      check(step, shown.size(), outputs);
      require(step.forward == 0 || machine.state() == SessionState::attached ||
              machine.state() == SessionState::closed);
      to_server_.append(shown.data(), step.forward);
      client_in_.erase(0, step.consume);
      take_outputs();
      held_ = step.next == Step::Next::hold;
      if (step.next == Step::Next::close) closed_ = true;
      if (step.next != Step::Next::again) return;
    }
  }
  void take_outputs() {
    to_client_size_ += machine.client_output.size();
    to_server_size_ += machine.server_output.size();
    to_client_ += std::exchange(machine.client_output, {});
    to_server_ += std::exchange(machine.server_output, {});
  }

  std::string client_in_, server_in_, to_server_, to_client_;
  std::size_t client_sent_ = 0, server_sent_ = 0, to_client_size_ = 0, to_server_size_ = 0;
  bool held_ = false, closed_ = false;
};

}  // namespace holdfast::proxy::postgres::fuzz

// Performs what the session machine says, as the real shell does.
#include "tests/simulation/sim_session.hpp"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "protocol/postgres/session_judge.hpp"
#include "tests/simulation/sim_world.hpp"
#include "tests/unit/proxy/session_script.hpp"

namespace holdfast::simulation {

namespace pg = holdfast::postgres;
using session::SessionMachine;
using session::SessionState;
using session::Step;

SimSession::SimSession(SimWorld& world, Clock& clock, session::SessionOptions options,
                       std::function<void(std::string)> to_client)
    : world_(world), clock_(clock), machine_(std::move(options)), to_client_(std::move(to_client)) {
  machine_.set_user("app");
}

void SimSession::attach_first(std::shared_ptr<Link> link) {
  if (machine_.state() == SessionState::lost_transaction) {
    // What was to be run again was given up meanwhile.
    link->close();
    attaching_ = false;
    write_client({});
    return pump_client();
  }
  const auto process_id = link->backend.process_id;
  take_over(std::move(link));
  ASSERT_TRUE(machine_.on_attached(process_id, session::test::server_parameters(), SessionMachine::Attachment::first));
}

void SimSession::take_over(std::shared_ptr<Link> link) {
  link_ = std::move(link);
  server_ended_ = false;
  server_in_.clear();
  const std::weak_ptr<Link> weak = link_;
  link_->on_bytes = [this, weak](const std::string& bytes) {
    if (link_ != weak.lock() || server_ended_ || closed_) return;
    server_in_ += bytes;
    pump_server();
  };
  link_->on_end = [this, weak](const std::string& reason) {
    if (link_ == weak.lock() && !closed_) on_server_end(reason);
  };
}

void SimSession::client_sends(std::string_view bytes) {
  if (closed_) return;
  client_in_ += bytes;
  pump_client();
}

void SimSession::pump_client() {
  if (pumping_ || closed_) return;
  pumping_ = true;
  for (int rounds = 0; !closed_; ++rounds) {
    ASSERT_LT(rounds, 100'000) << "the machine does not come to an end";
    const std::vector<char> shown(client_in_.begin(), client_in_.end());
    const auto step = machine_.on_client_bytes({shown.data(), shown.size()});
    ASSERT_LE(step.forward, step.consume);
    ASSERT_LE(step.consume, shown.size());
    if (step.forward > 0 || !machine_.server_output.empty()) {
      if (write_server({shown.data(), step.forward}, Sender::client) == Written::unsent) continue;
    }
    client_in_.erase(0, step.consume);
    write_client({});
    held_ = step.next == Step::Next::hold;
    if (step.next == Step::Next::again) continue;
    if (step.next == Step::Next::close) close();
    if (step.next == Step::Next::hold && machine_.state() == SessionState::detached) start_attach();
    break;
  }
  pumping_ = false;
}

SimSession::Written SimSession::write_server(std::string_view forward, Sender sender) {
  const auto bytes = std::string(forward) + std::exchange(machine_.server_output, {});
  const auto written = link_ ? link_->write(bytes) : 0;
  if (written == bytes.size()) return Written::all;
  auto result = Written::failed;
  const bool unresolved = machine_.state() == SessionState::attached || machine_.state() == SessionState::losing;
  if (sender == Sender::client && written == 0 && unresolved) {
    result = Written::unsent;
    machine_.unwind_client_bytes();
  }
  if (machine_.state() == SessionState::attached) machine_.on_backend_closed("broken pipe");
  return result;
}

void SimSession::write_client(std::string_view forward) {
  auto bytes = std::string(forward) + std::exchange(machine_.client_output, {});
  if (!bytes.empty()) to_client_(std::move(bytes));
}

void SimSession::pump_server() {
  for (;;) {
    std::vector<char> shown(server_in_.begin(), server_in_.end());
    const bool replaying = machine_.replaying();
    const auto step = machine_.on_server_bytes({shown.data(), shown.size()});
    ASSERT_LE(step.forward, step.consume);
    ASSERT_LE(step.consume, shown.size());
    write_client({shown.data(), step.forward});
    if (closed_) return;
    server_in_.erase(0, step.consume);
    if (!machine_.server_output.empty()) write_server({}, Sender::holdfast);
    if ((replaying && !machine_.replaying()) || machine_.take_answers()) pump_client();
    if (step.next == Step::Next::lost && machine_.replay_differed()) return on_server_end("another result");
    if (step.next == Step::Next::lost) {
      ADD_FAILURE() << "the machine does not understand its server: " << machine_.loss().message;
      return on_server_end("protocol");
    }
    if (step.next != Step::Next::again) break;
  }
}

void SimSession::on_server_end(std::string reason) {
  if (std::exchange(server_ended_, true)) return;
  machine_.on_backend_closed(reason);
  link_->close();
  world_.backend_lost();
  if (machine_.may_live_on()) {
    // The shell makes sure that the old process is gone, or gives that up.
    clock_.after(clock_.between(1ms, 40ms), [this] {
      old_backend_ = clock_.chance(85) ? session::OldBackend::gone : session::OldBackend::may_live_on;
      if (old_backend_ == session::OldBackend::gone) link_->terminate();
      find_out();
    });
  } else {
    find_out();
  }
}

void SimSession::find_out() {
  if (closed_) return;
  if (!machine_.needs_witness()) return resolve(session::Witness::gone);
  wants_witness_ = true;
  world_.ask_witness();
}

void SimSession::on_witness(bool alive) {
  if (!std::exchange(wants_witness_, false) || closed_) return;
  resolve(alive ? session::Witness::alive : session::Witness::gone);
}

void SimSession::resolve(session::Witness witness) {
  const auto result = machine_.resolve_loss(witness, std::exchange(old_backend_, session::OldBackend::gone));
  link_.reset();
  server_in_.clear();
  write_client({});
  if (closed_) return;
  if (result.then == session::LossResult::Then::close) return close();
  if (result.then == session::LossResult::Then::attach_now) start_attach();
  pump_client();
}

void SimSession::close() {
  if (std::exchange(closed_, true)) return;
  write_client({});
  if (waiter_ != 0) world_.cancel_wait(std::exchange(waiter_, 0));
  if (link_) {
    std::string terminate;
    pg::Writer(terminate, pg::frontend::terminate).finish();
    link_->write(terminate);
    link_->close();
  }
  world_.session_closed(*this);
}

void SimSession::cancel() {
  const bool waits = held_ || machine_.runs_again();
  if (closed_ || !waits || machine_.cancellable() || machine_.state() != SessionState::detached) return;
  machine_.refuse("57014", "canceling statement due to user request");
  if (waiter_ != 0) world_.cancel_wait(waiter_);
  write_client({});
  pump_client();
}

void SimSession::on_tick() {
  if (!closed_ && machine_.wants_backend()) start_attach();
}

void SimSession::maybe_snapshot() {
  if (closed_ || !link_ || !machine_.snapshot_due()) return;
  machine_.begin_snapshot();
  write_server({}, Sender::holdfast);
}

// ---- to a new backend ----

void SimSession::start_attach() {
  if (attaching_ || closed_) return;
  attaching_ = true;
  hold_deadline_ = clock_.now() + world_.settings().reconnect.hold_timeout;
  enter_gate();
}

void SimSession::enter_gate() {
  waiter_ = world_.next_waiter();
  world_.enter(waiter_, hold_deadline_);
}

void SimSession::on_refused(const proxy::upstream_action::Refuse& refusal) {
  waiter_ = 0;
  attaching_ = false;
  if (closed_) return;
  if (refusal.reason != proxy::RefusalReason::cancelled) machine_.refuse("57P03", refusal.message);
  write_client({});
  pump_client();
}

void SimSession::on_grant(const proxy::upstream_action::Grant& grant) {
  waiter_ = 0;
  clock_.after(clock_.between(200us, 20ms), [this, grant] { log_in(grant); });
}

void SimSession::log_in(proxy::upstream_action::Grant grant) {
  auto [outcome, link] = world_.log_in(grant.endpoint);
  world_.login_finished(grant, outcome);
  if (closed_) {
    if (link) link->close();
    return;
  }
  if (link && !restorable()) {
    link->close();
    return close();
  }
  auto commit = SessionMachine::Outcome::unknown;
  if (link && !ask_outcome(link->backend, commit)) link.reset();
  if (link && !restore(link->backend)) link.reset();  // the server went in the middle of it
  if (!link) {
    if (clock_.now() < hold_deadline_) return enter_gate();
    attaching_ = false;
    machine_.refuse("57P03", "no upstream within hold_timeout");
    write_client({});
    return pump_client();
  }
  machine_.on_commit_judged(commit);
  if (machine_.state() == SessionState::closed) return close();
  if (!machine_.unproven_reads().empty()) {
    using Reads = SessionMachine::Reads;
    machine_.on_reads_judged(clock_.chance(90) ? Reads::proven : Reads::not_proven);
  }
  if (machine_.state() == SessionState::lost_transaction) {
    // What was to be run again was given up meanwhile.
    link->close();
    attaching_ = false;
    write_client({});
    return pump_client();
  }
  const auto process_id = link->backend.process_id;
  take_over(std::move(link));
  attaching_ = false;
  ASSERT_TRUE(machine_.on_attached(process_id, session::test::server_parameters(), SessionMachine::Attachment::again));
  write_client({});
  if (!machine_.server_output.empty()) write_server({}, Sender::holdfast);
  pump_client();
}

/// What was done since the last snapshot, by the judge of the real shell; the model has no functions to ask for.
bool SimSession::restorable() {
  if (machine_.session().unconfirmed().empty()) return true;
  pg::SessionJudge judge;
  for (const auto& text : machine_.session().unconfirmed()) judge.add_text(text);
  EXPECT_TRUE(judge.next_names().empty());
  const auto verdict = judge.verdict();
  if (!verdict.restorable) machine_.give_up({verdict.reason, verdict.what});
  return verdict.restorable;
}

/// False where the backend is of no use: it was lost, or the lost transaction still holds the key.
bool SimSession::ask_outcome(ModelBackend& backend, SessionMachine::Outcome& outcome) {
  const auto question = machine_.commit_in_question();
  if (!question) return true;
  if (clock_.chance(2)) return true;  // nothing comes of it: unknown
  std::string bytes, replies;
  pg::write_statement(bytes, "holdfast_query", question->ask.text, question->ask.parameters);
  pg::write_sync(bytes);
  backend.feed(bytes);
  while (backend.has_message()) static_cast<void>(backend.run_message(replies));
  const auto says = [&](std::string_view word) { return replies.find(word) != std::string::npos; };
  if (says("busy") || clock_.chance(2)) return false;
  if (says("unknown")) return true;
  EXPECT_TRUE(says("committed") || says("fenced")) << replies;
  outcome = says("committed") ? SessionMachine::Outcome::committed : SessionMachine::Outcome::not_committed;
  return true;
}

/// Runs the session's items on the new backend; false where it is lost meanwhile.
bool SimSession::restore(ModelBackend& backend) {
  for (const auto& item : machine_.session().restore_items()) {
    if (clock_.chance(2)) return false;
    std::string bytes, replies;
    pg::write_statement(bytes, "holdfast_restore", item.text, item.parameters);
    pg::write_sync(bytes);
    backend.feed(bytes);
    while (backend.has_message()) static_cast<void>(backend.run_message(replies));
    EXPECT_EQ(session::test::brief(replies).find("E:"), std::string::npos) << item.text;
  }
  return true;
}

}  // namespace holdfast::simulation

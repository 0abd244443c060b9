// What a protocol of lines supplies to the upstream, and a proxied session of it: they show that the upstream serves another
// protocol than PostgreSQL. The server is toy_server.hpp.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "proxy/counters.hpp"
#include "proxy/standing_connection.hpp"
#include "proxy/upstream.hpp"
#include "tests/unit/proxy/toy_server.hpp"

namespace holdfast::proxy::toy {

inline Outcome failure(Failure kind, std::string error) {
  Outcome outcome;
  outcome.failure = kind;
  outcome.error = std::move(error);
  return outcome;
}
inline Role role_of(std::string_view name) { return name == "primary" ? Role::primary : Role::standby; }

/// The protocol's login script, for sessions and for the standing connection.
inline Task<Outcome> log_in(std::shared_ptr<LineSocket> socket, config::HostPort address, SteadyTime deadline) {
  const auto executor = co_await asio::this_coro::executor;
  Deadline limit(executor, deadline, [socket] { socket->close(); });
  const bool open = co_await socket->open(address);
  if (!open) co_return failure(Failure::unreachable, address.to_string() + " is not there");
  const bool asked = co_await socket->write("hello");
  if (!asked) co_return failure(Failure::not_ready, "it hung up");
  const auto answer = co_await socket->read();
  if (!answer) co_return failure(Failure::not_ready, "it hung up");
  if (*answer == "denied") co_return failure(Failure::rejected, "denied");
  Outcome outcome;
  outcome.role = role_of(answer->substr(8));
  co_return outcome;
}

/// What the protocol supplies to the upstream.
class LineStanding : public StandingConnection {
 public:
  explicit LineStanding(const Executor& executor) : executor_(executor), state_(std::make_shared<State>(executor)) {}

  Task<Outcome> attempt(config::HostPort endpoint, SteadyTime deadline) override {
    auto socket = std::make_shared<LineSocket>(executor_);
    auto outcome = co_await log_in(socket, endpoint, deadline);
    if (!outcome.ok()) co_return outcome;
    close();
    state_->socket = socket;
    spawn_named(executor_, watch(state_, socket, on_lost), "standing line", state_);
    co_return outcome;
  }
  Task<Outcome> probe(config::HostPort endpoint, SteadyTime deadline) override {
    auto socket = std::make_shared<LineSocket>(executor_);
    Deadline limit(executor_, deadline, [socket] { socket->close(); });
    bool there = co_await socket->open(endpoint);
    if (there) there = co_await socket->write("role");
    if (there) {
      const auto answer = co_await socket->read();
      there = answer.has_value();
    }
    Outcome outcome;
    if (!there) outcome = failure(Failure::unreachable, endpoint.to_string() + " is not there");
    co_return outcome;
  }
  Task<Outcome> check(SteadyTime deadline) override {
    const auto state = state_;
    const auto socket = state->socket;
    if (!socket) co_return failure(Failure::unreachable, "no standing connection");
    state->answer.reset();
    Deadline limit(executor_, deadline, [state] { state->changed.notify(); });
    const bool asked = co_await socket->write("role");
    if (!asked) co_return failure(Failure::unreachable, "it hung up");
    while (!state->answer && state->socket == socket && !limit.expired()) co_await state->changed.wait();
    if (!state->answer) co_return failure(Failure::unreachable, "no answer");
    Outcome outcome;
    outcome.role = role_of(*state->answer);
    co_return outcome;
  }
  void close() override {
    if (const auto socket = std::exchange(state_->socket, nullptr)) socket->close();
    state_->changed.notify();
  }

 private:
  struct State {
    explicit State(const Executor& executor) : changed(executor) {}
    std::shared_ptr<LineSocket> socket;
    std::optional<std::string> answer;
    Condition changed;
  };
  static Task<> watch(std::shared_ptr<State> state, std::shared_ptr<LineSocket> socket,
                      std::function<void(std::string)> lost) {
    for (;;) {
      auto line = co_await socket->read();
      if (!line) break;
      state->answer = std::move(line);
      state->changed.notify();
    }
    if (state->socket != socket) co_return;
    state->socket.reset();
    state->changed.notify();
    lost("the server hung up");
  }

  Executor executor_;
  std::shared_ptr<State> state_;
};

/// A client's session: it outlives its backends. What a failure means is decided from what was sent, never from a text.
class LineSession {
 public:
  enum class ErrorClass { not_sent, not_executed, unknown, permanent };

  LineSession(const Executor& executor, Upstream& upstream, Wish wish, ConnectionCounters& counters)
      : executor_(executor), upstream_(upstream), wish_(wish), counters_(counters) {}

  Task<std::string> ask(std::string line) {
    counters_.statements.add(1);
    const bool repeatable = !line.starts_with("put");
    for (;;) {
      if (backend_ && !backend_->alive()) lose();
      if (!backend_) {
        const auto refused = co_await attach();
        if (refused) co_return "error: " + *refused;
      }
      const bool sent = co_await backend_->write(line);
      std::optional<std::string> answer;
      if (sent) answer = co_await backend_->read();
      if (answer && *answer != "busy") {
        if (line.starts_with("name ")) name_ = line;
        co_return *answer;
      }
      const auto error = !sent                  ? ErrorClass::not_sent
                         : answer || repeatable ? ErrorClass::not_executed
                                                : ErrorClass::unknown;
      if (!answer) lose();
      if (error == ErrorClass::unknown) {
        counters_.commit_outcomes_unknown.add(1);
        co_return "error: the outcome is unknown";
      }
    }
  }
  /// Ends the wait at the gate.
  void cancel() { upstream_.cancel_wait(waiter_); }

  milliseconds hold_timeout{5'000};

 private:
  void lose() {
    backend_->close();
    backend_.reset();
    upstream_.backend_lost(endpoint_, "the server hung up");
  }
  /// What it was refused for, if it was.
  Task<std::optional<std::string>> attach() {
    const auto deadline = now() + hold_timeout;
    for (;;) {
      waiter_ = upstream_.next_waiter();
      auto answer = co_await upstream_.enter(waiter_, wish_, deadline);
      if (auto* refusal = std::get_if<Refusal>(&answer)) co_return std::move(refusal->message);
      auto grant = std::get<Grant>(std::move(answer));
      endpoint_ = grant.endpoint;
      auto socket = std::make_shared<LineSocket>(executor_);
      auto outcome = co_await log_in(socket, grant.address, now() + 1s);
      if (outcome.ok() && !fits(outcome.role, wish_)) outcome.failure = Failure::unfit;
      upstream_.login_finished(std::move(grant), outcome);
      if (outcome.failure == Failure::rejected) co_return outcome.error;
      if (!outcome.ok()) continue;
      if (!name_.empty()) {
        const bool asked = co_await socket->write(name_);
        if (!asked) continue;
        const auto restored = co_await socket->read();
        if (!restored) continue;
      }
      backend_ = std::move(socket);
      if (std::exchange(attached_before_, true)) {
        counters_.sessions_restored.add(1);
        upstream_.session_restored(0);
      }
      co_return std::nullopt;
    }
  }

  Executor executor_;
  Upstream& upstream_;
  Wish wish_;
  ConnectionCounters& counters_;
  std::shared_ptr<LineSocket> backend_;
  std::size_t endpoint_ = 0;
  WaiterId waiter_ = 0;
  std::string name_;  // the line that sets it
  bool attached_before_ = false;
};

}  // namespace holdfast::proxy::toy

// Performs what the upstream machine says.
#include "tests/simulation/sim_upstream.hpp"

namespace holdfast::simulation {

namespace action = holdfast::proxy::upstream_action;
using proxy::Failure;
using proxy::Outcome;

Outcome failed(Failure failure, std::string error) {
  Outcome outcome;
  outcome.failure = failure;
  outcome.error = std::move(error);
  return outcome;
}

SimUpstream::SimUpstream(Clock& clock, proxy::UpstreamSettings settings, World world)
    : clock_(clock), machine_(std::move(settings), [&clock] { return clock.draw(); }), world_(std::move(world)) {}

void SimUpstream::perform() {
  for (auto actions = machine_.take_actions(); !actions.empty(); actions = machine_.take_actions()) {
    for (const auto& each : actions) std::visit([this](const auto& one) { on(one); }, each);
  }
  rearm();
}

void SimUpstream::rearm() {
  const auto number = ++timer_number_;
  if (const auto due = machine_.deadline()) {
    clock_.at(*due, [this, number] {
      if (number != timer_number_) return;
      machine_.on_timer(clock_.now());
      perform();
    });
  }
}

void SimUpstream::on(const action::Attempt& todo) {
  clock_.after(clock_.between(200us, 30ms), [this, todo] {
    world_.look(Ask::attempt, todo.endpoint, todo.deadline, [this, todo](const Outcome& outcome) {
      machine_.on_attempt(todo.number, todo.endpoint, outcome, clock_.now());
      if (machine_.status().current == settings().endpoints[todo.endpoint].to_string() && !standing_) {
        standing_ = todo.endpoint;
        ++standing_number_;
      }
      perform();
    });
  });
}

void SimUpstream::on(const action::Probe& todo) {
  clock_.after(clock_.between(200us, 10ms), [this, todo] {
    world_.look(Ask::probe, todo.endpoint, todo.deadline, [this, todo](const Outcome& outcome) {
      machine_.on_probe(todo.endpoint, outcome, clock_.now());
      perform();
    });
  });
}

void SimUpstream::on(const action::Check& todo) {
  clock_.after(clock_.between(200us, 10ms), [this, todo] {
    const auto done = [this](const Outcome& outcome) {
      machine_.on_check(outcome, clock_.now());
      perform();
      world_.checked(outcome.ok());
    };
    if (!standing_) return done(failed(Failure::unreachable, "no standing connection"));
    world_.look(Ask::check, *standing_, todo.deadline, done);
  });
}

void SimUpstream::on(const action::CloseStanding&) {
  standing_.reset();
  ++standing_number_;
}

void SimUpstream::on(const action::Refuse& todo) {
  clock_.after(0us, [this, todo] { world_.refused(todo); });
}

void SimUpstream::cut_standing(const std::string& reason) {
  standing_.reset();
  const auto number = ++standing_number_;
  clock_.after(clock_.between(0us, 5ms), [this, number, reason] {
    if (number != standing_number_) return;
    machine_.on_standing_lost(reason, clock_.now());
    perform();
  });
}

}  // namespace holdfast::simulation

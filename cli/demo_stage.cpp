// Keeps the demo's events and the server's state.
#include "cli/demo_stage.hpp"

#include <algorithm>
#include <array>
#include <cstdio>

namespace holdfast::cli {

using workload::Clock;

std::string seconds(std::chrono::nanoseconds duration) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.1f s", std::chrono::duration<double>(duration).count());
  return text.data();
}

void DemoStage::begin() {
  const std::lock_guard lock(mutex_);
  now_.began = Clock::now();
  now_.server = ServerState::up;
  now_.since = now_.began;
}

void DemoStage::tell(const std::string& text) { now_.events.push_back(seconds(Clock::now() - now_.began) + "  " + text); }

void DemoStage::event(const std::string& text) {
  const std::lock_guard lock(mutex_);
  tell(text);
}

void DemoStage::struck(Blow blow) {
  const std::lock_guard lock(mutex_);
  now_.server = ServerState::down;
  now_.since = struck_ = Clock::now();
  switch (blow) {
    case Blow::postmaster:
      ++now_.postmaster_kills;
      tell("kill -9 of the whole server");
      break;
    case Blow::backend:
      ++now_.backend_kills;
      tell("kill -9 of one backend: the server ends all others and recovers");
      break;
    case Blow::primary:
      ++now_.primary_kills;
      tell("kill -9 of the primary");
      break;
    case Blow::stepdown:
      ++now_.stepdowns;
      tell("the primary steps down");
      break;
    case Blow::found_dead:
      ++now_.found_dead;
      tell("the server was killed by hand");
      break;
  }
}

void DemoStage::recovering() {
  const std::lock_guard lock(mutex_);
  now_.server = ServerState::recovering;
  now_.since = Clock::now();
}

void DemoStage::up(const std::string& what) {
  const std::lock_guard lock(mutex_);
  now_.server = ServerState::up;
  now_.since = now_.recovered = Clock::now();
  const auto outage = now_.recovered - struck_;
  now_.longest_outage = std::max(now_.longest_outage, std::chrono::duration_cast<std::chrono::milliseconds>(outage));
  tell(what + " after " + seconds(outage));
}

StageSnapshot DemoStage::snapshot() const {
  const std::lock_guard lock(mutex_);
  return now_;
}

}  // namespace holdfast::cli

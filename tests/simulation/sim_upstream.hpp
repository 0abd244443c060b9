// The shell of the real upstream machine under virtual time, whatever the protocol: does what upstream.cpp does.
#pragma once

#include <functional>
#include <optional>
#include <utility>

#include "proxy/upstream_machine.hpp"
#include "tests/simulation/clock.hpp"

namespace holdfast::simulation {

namespace proxy = holdfast::proxy;

/// An Outcome that is a failure.
[[nodiscard]] proxy::Outcome failed(proxy::Failure failure, std::string error);

class SimUpstream {
 public:
  enum class Ask { attempt, probe, check };
  using Done = std::function<void(proxy::Outcome)>;
  /// The servers and the sessions of a world.
  struct World {
    /// What a server says; `done` is called now, or by `deadline`.
    std::function<void(Ask ask, std::size_t endpoint, Time deadline, Done done)> look;
    std::function<void(const proxy::upstream_action::Grant&)> granted;
    std::function<void(const proxy::upstream_action::Refuse&)> refused;
    std::function<void(bool alive)> checked;
  };

  SimUpstream(Clock& clock, proxy::UpstreamSettings settings, World world);

  [[nodiscard]] proxy::UpstreamMachine& machine() { return machine_; }
  [[nodiscard]] const proxy::UpstreamMachine& machine() const { return machine_; }
  [[nodiscard]] const proxy::UpstreamSettings& settings() const { return machine_.settings(); }
  /// After the machine was told something: does what it asks for.
  void perform();
  /// The endpoint of the standing connection.
  [[nodiscard]] std::optional<std::size_t> standing() const { return standing_; }
  /// The standing connection ends; the machine hears of it in a moment.
  void cut_standing(const std::string& reason);

 private:
  void rearm();
  void on(const proxy::upstream_action::Attempt& todo);
  void on(const proxy::upstream_action::Probe& todo);
  void on(const proxy::upstream_action::Check& todo);
  void on(const proxy::upstream_action::CloseStanding&);
  void on(const proxy::upstream_action::Grant& todo) { world_.granted(todo); }
  void on(const proxy::upstream_action::Refuse& todo);
  void on(const proxy::upstream_action::Tell&) {}

  Clock& clock_;
  proxy::UpstreamMachine machine_;
  World world_;
  std::optional<std::size_t> standing_;
  std::uint64_t standing_number_ = 0, timer_number_ = 0;
};

}  // namespace holdfast::simulation

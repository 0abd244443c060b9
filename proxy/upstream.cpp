// Performs what the upstream machine says: attempts, probes, checks, grants, log lines. Decides nothing.
#include "proxy/upstream.hpp"

#include <spdlog/spdlog.h>

#include <map>
#include <random>
#include <utility>

#include "proxy/log_scope.hpp"
#include "proxy/spawn.hpp"
#include "proxy/waiting.hpp"

namespace holdfast::proxy {

namespace action = upstream_action;

namespace {

/// How long the announcement of a reconnection waits for the sessions that were held to be restored.
constexpr auto announcement_wait = std::chrono::seconds(1);

/// The numbers of an event, for a log in JSON.
LogFields log_fields(const Event& event) {
  LogFields about{event.connection, to_string(event.kind), {}};
  if (event.attempt > 0) about.fields.emplace_back("attempt", std::to_string(event.attempt));
  if (event.kind == EventKind::reconnect_scheduled) {
    about.fields.emplace_back("maxRetries", std::to_string(event.max_retries));
    about.fields.emplace_back("delayMs", std::to_string(event.delay.count()));
  }
  if (event.kind == EventKind::reconnected) {
    about.fields.emplace_back("downtimeMs", std::to_string(event.downtime.count()));
    about.fields.emplace_back("sessionsRestored", std::to_string(event.sessions_restored));
  }
  return about;
}

SteadyTime now() { return std::chrono::steady_clock::now(); }

}  // namespace

struct Upstream::Impl : std::enable_shared_from_this<Upstream::Impl> {
  using Answer = std::variant<action::Grant, action::Refuse>;
  struct Waiting {
    explicit Waiting(const Executor& executor) : answered(executor) {}
    Condition answered;
    std::optional<Answer> answer;
  };

  Impl(Executor on, Settings settings, std::unique_ptr<StandingConnection> with, UpstreamObserver& observe,
       std::uint64_t seed)
      : home(on), random(seed), machine(std::move(settings), [this] { return draw(); }), standing(std::move(with)),
        observer(observe), timer(on), announcement_timer(on), checked(on) {}

  Executor home;
  std::mt19937_64 random;
  UpstreamMachine machine;
  std::unique_ptr<StandingConnection> standing;
  UpstreamObserver& observer;
  SteadyTimer timer;
  std::map<WaiterId, Waiting*> waiters;
  std::optional<Event> announcement;  // a reconnection that waits for its sessions
  SteadyTimer announcement_timer;
  std::uint64_t to_restore = 0, restored = 0, replayed = 0;
  Condition checked;
  std::uint64_t checks = 0;
  std::map<std::size_t, std::string> told_failures;  // why the last attempt at each endpoint failed
  bool last_check_ok = false;
  std::optional<SystemTime> last_health_check;
  SystemTime since = std::chrono::system_clock::now();
  State last_state = State::connecting;
  std::atomic<bool> paused{false};

  double draw() { return std::uniform_real_distribution<double>(0, 1)(random); }

  void perform();
  void rearm();
  void tell(Event event);
  void announce();
  enum class Measured { attempt, check };
  void measured(Measured what, const Outcome& outcome);
  Task<> attempt(action::Attempt todo);
  Task<> probe(action::Probe todo);
  Task<> check(action::Check todo);
  Task<std::variant<proxy::Grant, Refusal>> enter(WaiterId id, Wish wish, SteadyTime deadline);
  Task<bool> alive(SteadyTime deadline);
  Task<UpstreamStatus> status();

  /// Runs `work` on the home worker, then what the machine asks for.
  template <class Work>
  void post(Work work) {
    asio::dispatch(home, [self = shared_from_this(), work = std::move(work)]() mutable {
      work(self->machine);
      self->perform();
    });
  }
  /// Runs `task` on the home worker and resumes on the caller's.
  template <class Result>
  Task<Result> at_home(Task<Result> task) {
    const auto here = co_await asio::this_coro::executor;
    if (here == home) co_return co_await std::move(task);
    co_return co_await asio::co_spawn(home, std::move(task), use_task);
  }
};

void Upstream::Impl::perform() {
  for (auto actions = machine.take_actions(); !actions.empty(); actions = machine.take_actions()) {
    for (auto& each : actions) {
      if (auto* wanted = std::get_if<action::Attempt>(&each)) {
        spawn_named(home, attempt(*wanted), "attempt", shared_from_this());
      } else if (auto* look = std::get_if<action::Probe>(&each)) {
        spawn_named(home, probe(*look), "probe", shared_from_this());
      } else if (auto* ask = std::get_if<action::Check>(&each)) {
        spawn_named(home, check(*ask), "health check", shared_from_this());
      } else if (std::holds_alternative<action::CloseStanding>(each)) {
        standing->close();
      } else if (auto* granted = std::get_if<action::Grant>(&each)) {
        if (const auto found = waiters.find(granted->waiter); found != waiters.end()) {
          found->second->answer = *granted;
          found->second->answered.notify();
        }
      } else if (auto* refused = std::get_if<action::Refuse>(&each)) {
        if (const auto found = waiters.find(refused->waiter); found != waiters.end()) {
          found->second->answer = std::move(*refused);
          found->second->answered.notify();
        }
      } else if (auto* told = std::get_if<action::Tell>(&each)) {
        tell(std::move(told->event));
      }
    }
  }
  if (machine.state() != last_state) {
    last_state = machine.state();
    const bool pauses = last_state == State::paused;
    if (paused.exchange(pauses, std::memory_order_relaxed) != pauses) {
      spdlog::info("{} {}", machine.settings().connection, pauses ? "is paused" : "goes on");
    }
    since = std::chrono::system_clock::now();
  }
  rearm();
}

void Upstream::Impl::rearm() {
  const auto deadline = machine.deadline();
  if (!deadline) {
    timer.cancel();
    return;
  }
  timer.expires_at(*deadline);
  timer.async_wait([weak = weak_from_this()](const boost::system::error_code& error) {
    if (error) return;
    if (const auto self = weak.lock()) {
      self->machine.on_timer(now());
      self->perform();
    }
  });
}

void Upstream::Impl::tell(Event event) {
  event.time = std::chrono::system_clock::now();
  const auto& id = event.connection;
  const LogScope scope(log_fields(event));
  switch (event.kind) {
    case EventKind::connected: spdlog::info("connected to {} with auto-reconnection enabled", id); break;
    case EventKind::connection_lost: spdlog::warn("connection lost to {}: {}", id, event.reason); break;
    case EventKind::health_check_failed: spdlog::warn("health check failed for {}: {}", id, event.reason); break;
    case EventKind::reconnect_scheduled:
      spdlog::info("scheduling reconnection attempt {}/{} for {} in {}ms", event.attempt, event.max_retries, id,
                   event.delay.count());
      break;
    case EventKind::reconnecting: spdlog::info("attempting to reconnect {}", id); break;
    case EventKind::reconnect_failed: spdlog::error("all reconnection attempts failed for {}: {}", id, event.reason); break;
    case EventKind::reconnected: {
      to_restore = machine.waiting() + machine.slots_in_use();
      restored = replayed = 0;
      announcement = std::move(event);
      if (to_restore == 0) return announce();
      announcement_timer.expires_after(announcement_wait);
      announcement_timer.async_wait([weak = weak_from_this()](const boost::system::error_code& error) {
        if (const auto self = weak.lock(); self && !error) self->announce();
      });
      return;
    }
    case EventKind::config_changed: break;
  }
  observer.on_event(event);
}

void Upstream::Impl::announce() {
  if (!announcement) return;
  auto event = *std::exchange(announcement, std::nullopt);
  event.sessions_restored = restored;
  event.statements_replayed = replayed;
  const LogScope scope(log_fields(event));
  spdlog::info("reconnected to {} after {}ms, {} sessions restored", event.connection, event.downtime.count(), restored);
  observer.on_event(event);
}

void Upstream::Impl::measured(Measured what, const Outcome& outcome) {
  observer.on_measured({machine.settings().connection, std::chrono::system_clock::now(), what == Measured::check, outcome.ok(),
                        outcome.latency, outcome.error});
}

Task<> Upstream::Impl::attempt(action::Attempt todo) {
  const auto address = machine.settings().endpoints[todo.endpoint];
  const auto outcome = co_await standing->attempt(address, todo.deadline);
  measured(Measured::attempt, outcome);
  auto& told = told_failures[todo.endpoint];
  if (!outcome.ok() && told != outcome.error) spdlog::warn("cannot connect to {}: {}", machine.settings().connection, outcome.error);
  told = outcome.error;
  machine.on_attempt(todo.number, todo.endpoint, outcome, now());
  perform();
}

Task<> Upstream::Impl::probe(action::Probe todo) {
  const auto address = machine.settings().endpoints[todo.endpoint];
  const auto outcome = co_await standing->probe(address, todo.deadline);
  machine.on_probe(todo.endpoint, outcome, now());
  perform();
}

Task<> Upstream::Impl::check(action::Check todo) {
  const auto outcome = co_await standing->check(todo.deadline);
  last_health_check = std::chrono::system_clock::now();
  last_check_ok = outcome.ok();
  ++checks;
  measured(Measured::check, outcome);
  machine.on_check(outcome, now());
  perform();
  checked.notify();
}

Task<std::variant<proxy::Grant, Refusal>> Upstream::Impl::enter(WaiterId id, Wish wish, SteadyTime deadline) {
  const auto self = shared_from_this();
  Waiting waiting(home);
  waiters.emplace(id, &waiting);
  machine.enter(id, wish, deadline, now());
  perform();
  while (!waiting.answer) co_await waiting.answered.wait();
  waiters.erase(id);
  if (auto* refused = std::get_if<action::Refuse>(&*waiting.answer)) {
    co_return Refusal{refused->reason, std::move(refused->message)};
  }
  const auto& granted = std::get<action::Grant>(*waiting.answer);
  proxy::Grant grant;
  grant.slot = granted.slot;
  grant.endpoint = granted.endpoint;
  grant.address = machine.settings().endpoints[granted.endpoint];
  grant.identity = machine.identity(granted.endpoint);
  co_return grant;
}

Task<bool> Upstream::Impl::alive(SteadyTime deadline) {
  const auto self = shared_from_this();
  if (machine.state() != State::connected && machine.state() != State::paused) co_return false;
  const auto before = checks;
  machine.want_check(deadline);
  perform();
  SteadyTimer limit(home, deadline);
  limit.async_wait([this, self](const boost::system::error_code& error) {
    if (!error) checked.notify();
  });
  while (checks == before && now() < deadline) co_await checked.wait();
  co_return checks != before && last_check_ok;
}

Task<UpstreamStatus> Upstream::Impl::status() {
  const auto self = shared_from_this();
  auto status = machine.status();
  status.since = since;
  status.last_health_check = last_health_check;
  if (const auto next = machine.next_attempt_at()) {
    status.next_attempt_at = std::chrono::system_clock::now() +
                             std::chrono::duration_cast<std::chrono::system_clock::duration>(*next - now());
  }
  co_return status;
}

Upstream::Upstream(Executor home, Settings settings, std::unique_ptr<StandingConnection> standing,
                   UpstreamObserver& observer, std::uint64_t random_seed)
    : impl_(std::make_shared<Impl>(home, std::move(settings), std::move(standing), observer, random_seed)) {}

Upstream::~Upstream() = default;

void Upstream::start() {
  impl_->standing->on_lost = [weak = std::weak_ptr(impl_)](const std::string& reason) {
    if (const auto impl = weak.lock()) {
      impl->machine.on_standing_lost(reason, now());
      impl->perform();
    }
  };
  impl_->machine.start(now());
  impl_->perform();
}

void Upstream::stop() {
  impl_->machine.stop();
  impl_->perform();
  impl_->announcement_timer.cancel();
}

Task<std::variant<Grant, Refusal>> Upstream::enter(WaiterId waiter, Wish wish, SteadyTime deadline) {
  const auto impl = impl_;
  co_return co_await impl->at_home(impl->enter(waiter, wish, deadline));
}

std::optional<std::size_t> Upstream::ready_endpoint(Wish wish) const { return impl_->machine.ready(wish, now()); }

void Upstream::cancel_wait(WaiterId waiter) {
  impl_->post([waiter](UpstreamMachine& machine) { machine.cancel_wait(waiter); });
}

void Upstream::login_finished(Grant grant, Outcome outcome) {
  impl_->post([grant = std::move(grant), outcome = std::move(outcome)](UpstreamMachine& machine) {
    machine.on_login_finished(grant.slot, grant.endpoint, outcome, now());
  });
}

void Upstream::grant_unused(Grant grant) {
  impl_->post([slot = grant.slot](UpstreamMachine& machine) { machine.on_grant_unused(slot, now()); });
}

void Upstream::logged_in(std::size_t endpoint, Outcome outcome) {
  impl_->post([endpoint, outcome = std::move(outcome)](UpstreamMachine& machine) { machine.on_login(endpoint, outcome, now()); });
}

void Upstream::backend_lost(std::size_t, std::string) {
  impl_->post([](UpstreamMachine& machine) { machine.on_backend_lost(now()); });
}

void Upstream::server_silent(std::size_t endpoint, std::string reason) {
  impl_->post([endpoint, reason = std::move(reason)](UpstreamMachine& machine) {
    machine.on_server_silent(endpoint, reason, now());
  });
}

void Upstream::add_endpoint(config::HostPort endpoint) {
  impl_->post([endpoint = std::move(endpoint)](UpstreamMachine& machine) { machine.add_endpoint(endpoint, now()); });
}

void Upstream::rename_endpoint(std::size_t endpoint, config::HostPort address) {
  impl_->post([endpoint, address = std::move(address)](UpstreamMachine& machine) { machine.rename_endpoint(endpoint, address); });
}

void Upstream::retire(std::size_t endpoint, bool retired) {
  impl_->post([endpoint, retired](UpstreamMachine& machine) { machine.retire(endpoint, retired); });
}

void Upstream::session_restored(std::uint64_t statements_replayed) {
  asio::dispatch(impl_->home, [impl = impl_, statements_replayed] {
    ++impl->restored;
    impl->replayed += statements_replayed;
    if (impl->announcement && impl->restored >= impl->to_restore) impl->announce();
  });
}

Task<bool> Upstream::alive(SteadyTime deadline) {
  const auto impl = impl_;
  co_return co_await impl->at_home(impl->alive(deadline));
}

bool Upstream::paused() const { return impl_->paused.load(std::memory_order_relaxed); }

void Upstream::force_reconnect() {
  impl_->post([](UpstreamMachine& machine) { machine.force_reconnect(now()); });
}

void Upstream::pause() {
  impl_->post([](UpstreamMachine& machine) { machine.pause(now()); });
}

void Upstream::resume() {
  impl_->post([](UpstreamMachine& machine) { machine.resume(now()); });
}

void Upstream::reconfigure(config::Reconnect reconnect, config::Health health) {
  impl_->post([reconnect, health](UpstreamMachine& machine) { machine.reconfigure(reconnect, health, now()); });
}

Task<UpstreamStatus> Upstream::status() {
  const auto impl = impl_;
  co_return co_await impl->at_home(impl->status());
}

Executor Upstream::home() const { return impl_->home; }

}  // namespace holdfast::proxy

// One coroutine for each member.
#include "proxy/mongo/monitor.hpp"

#include <optional>
#include <utility>

#include "proxy/mongo/recognition.hpp"
#include "proxy/spawn.hpp"

namespace holdfast::proxy::mongo {

namespace {

SteadyTime now() { return std::chrono::steady_clock::now(); }

/// A member that cannot be reached is tried again after this time, and none is asked more often.
constexpr auto pause_time = std::chrono::milliseconds(500);
constexpr auto open_time = std::chrono::seconds(5);

}  // namespace

struct Monitors::Impl : std::enable_shared_from_this<Monitors::Impl> {
  struct Watch {
    explicit Watch(const Executor& executor) : pause(executor) {}
    std::unique_ptr<Backend> backend;
    SteadyTimer pause;
    SteadyTime due;                 // the answer that is waited for; only from then on is its member silent
    std::optional<Deadline> limit;  // while an answer is waited for
  };

  Impl(Executor on, std::shared_ptr<const BackendSettings> with, Members& of, BufferPool& pool, std::function<void()> tell,
       std::function<void(std::size_t)> doubt)
      : home(std::move(on)), settings(std::move(with)), members(of), buffers(pool), learnt(std::move(tell)), suspect(std::move(doubt)) {}

  const Executor home;
  const std::shared_ptr<const BackendSettings> settings;
  Members& members;
  BufferPool& buffers;
  std::function<void()> learnt;
  std::function<void(std::size_t)> suspect;
  milliseconds hang_timeout{5'000};
  bool stopped = false;
  std::map<std::size_t, std::shared_ptr<Watch>> watches;

  [[nodiscard]] bool wanted(std::size_t member) const { return !stopped && !members.is_retired(member); }
  Task<> run(std::size_t member, std::shared_ptr<Watch> watch);
  Task<> observe(std::size_t member, std::shared_ptr<Watch> watch);
  Task<std::optional<wire::MemberHello>> ask(std::shared_ptr<Watch> watch, std::optional<wire::TopologyVersion> known);
  void limit(Watch& watch) {
    auto* backend = watch.backend.get();
    watch.limit.emplace(home, watch.due + hang_timeout, [backend] { backend->close(); });
  }
  bool note(std::size_t member, const wire::MemberHello& hello);
  Task<> wait(std::shared_ptr<Watch> watch, milliseconds time) {
    watch->pause.expires_after(time);
    const auto [error] = co_await watch->pause.async_wait(asio::as_tuple(use_task));
    static_cast<void>(error);
  }
};

/// A plain hello, or with `known` one that waits for news. None where the connection is lost, or silent for too long.
Task<std::optional<wire::MemberHello>> Monitors::Impl::ask(std::shared_ptr<Watch> watch, std::optional<wire::TopologyVersion> known) {
  watch->due = now() + (known ? heartbeat_interval : milliseconds(0));
  limit(*watch);
  auto question = wire::make_next_hello();
  if (known) question = wire::make_awaited_hello(*known, heartbeat_interval);
  const auto body = co_await watch->backend->run(std::move(question));
  watch->limit.reset();
  if (!body) co_return std::nullopt;
  auto hello = wire::read_member_hello(*body);
  if (!hello.ok) co_return std::nullopt;
  co_return hello;
}

bool Monitors::Impl::note(std::size_t member, const wire::MemberHello& hello) {
  if (stopped || !members.note(member, hello, now()).empty()) return false;
  learnt();
  if (!members.accepts_writes(hello)) suspect(member);
  return true;
}

Task<> Monitors::Impl::observe(std::size_t member, std::shared_ptr<Watch> watch) {
  while (wanted(member)) {
    const auto asked = now();
    auto hello = co_await ask(watch, std::nullopt);
    if (!hello || !wanted(member)) co_return;
    const auto round_trip = std::chrono::duration_cast<microseconds>(now() - asked);
    if (members.mismatch(*hello).empty()) co_await recognise(*watch->backend, member, members, settings, buffers, now() + hang_timeout);
    if (!watch->backend->is_sound() || !wanted(member)) co_return;
    members.note_round_trip(member, round_trip);
    if (!note(member, *hello)) co_return;
    if (!hello->topology_version) {
      co_await wait(watch, heartbeat_interval);
      continue;
    }
    const auto waited = now();
    hello = co_await ask(watch, hello->topology_version);
    if (!hello || !wanted(member) || !note(member, *hello)) co_return;
    // One that has something new to say every moment is not asked more often for that.
    if (now() - waited < pause_time / 10) co_await wait(watch, pause_time / 10);
  }
}

Task<> Monitors::Impl::run(std::size_t member, std::shared_ptr<Watch> watch) {
  const auto self = shared_from_this();
  while (wanted(member)) {
    const auto address = members.hosts()[member];  // a copy: the list grows
    auto opened = co_await Backend::open(settings, address, buffers, nullptr, now() + open_time);
    if (stopped) break;
    if (opened.backend) {
      watch->backend = std::move(opened.backend);
      co_await observe(member, watch);
      watch->backend.reset();
      if (stopped) break;
    }
    if (!opened.ours) {
      members.note_unreachable(member);
      suspect(member);
    }
    co_await wait(watch, pause_time);
  }
  watches.erase(member);
}

Monitors::Monitors(Executor home, std::shared_ptr<const BackendSettings> settings, Members& members, BufferPool& buffers,
                   std::function<void()> learnt, std::function<void(std::size_t)> suspect)
    : impl_(std::make_shared<Impl>(std::move(home), std::move(settings), members, buffers, std::move(learnt), std::move(suspect))) {}

Monitors::~Monitors() { stop(); }

void Monitors::follow(milliseconds hang_timeout) {
  if (std::exchange(impl_->hang_timeout, hang_timeout) != hang_timeout) {
    for (const auto& [member, watch] : impl_->watches) {
      if (watch->limit) impl_->limit(*watch);
    }
  }
  for (std::size_t i = 0; i < impl_->members.hosts().size(); ++i) {
    if (!impl_->wanted(i) || impl_->watches.contains(i)) continue;
    auto watch = std::make_shared<Impl::Watch>(impl_->home);
    impl_->watches.emplace(i, watch);
    spawn_named(impl_->home, impl_->run(i, watch), "monitor", impl_);
  }
}

void Monitors::stop() {
  impl_->stopped = true;
  for (const auto& [member, watch] : impl_->watches) {
    if (watch->backend) watch->backend->close();
    watch->pause.cancel();
  }
}

}  // namespace holdfast::proxy::mongo

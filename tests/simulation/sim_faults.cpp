// What goes wrong in a run, when, and what operators do meanwhile; all by chance.
#include "tests/simulation/sim_world.hpp"

namespace holdfast::simulation {

namespace {

constexpr auto faults_end = 4s;

}  // namespace

void SimWorld::plan_faults() {
  for (auto faults = clock_.pick(7); faults > 0; --faults) {
    clock_.after(clock_.between(0us, faults_end), [this] { fault(); });
  }
  for (auto operations = clock_.chance(30) ? clock_.pick(4) : 0; operations > 0; --operations) {
    clock_.after(clock_.between(0us, faults_end), [this] { operate(); });
  }
  clock_.after(faults_end + 10s, [this] {
    for (std::size_t i = 0; i < hosts_.size(); ++i) start_host(i);
  });
}

void SimWorld::fault() {
  const auto dice = clock_.pick(100);
  const auto host = clock_.pick(hosts_.size());
  if (dice < 22) return stop_host(host, Link::Death::crash);
  if (dice < 50) return stop_host(host, Link::Death::fast_shutdown);
  if (dice < 60) return stop_host(host, Link::Death::immediate);
  if (dice < 90) {
    auto& pair = pairs_[clock_.pick(pairs_.size())];
    const auto link = pair.session->link();
    if (!link) return;
    const bool killed = dice < 75;
    note(std::string(killed ? "an administrator ends" : "the network cuts") + " the backend of client " +
         std::to_string(&pair - pairs_.data()));
    return link->die(killed ? Link::Death::fast_shutdown : Link::Death::cut);
  }
  if (!upstream_.standing()) return;
  note("the standing connection is cut");
  upstream_.cut_standing("connection reset by peer");
}

void SimWorld::stop_host(std::size_t host, Link::Death death) {
  if (!hosts_[host].up) return;
  static constexpr const char* names[] = {"crashes", "is cut", "shuts down fast", "shuts down at once"};
  note("db-" + std::to_string(host) + ' ' + names[static_cast<int>(death)]);
  hosts_[host].up = false;
  for (const auto& weak : links_) {
    const auto link = weak.lock();
    if (link && link->host == host) link->die(death);
  }
  if (death == Link::Death::crash || death == Link::Death::immediate) database_.crash();
  if (upstream_.standing() == host) upstream_.cut_standing("the server closed the connection");
  clock_.after(clock_.between(30ms, clock_.chance(15) ? 10s : 2s), [this, host] { start_host(host); });
  if (hosts_.size() < 2 || hosts_[host].role != proxy::Role::primary || clock_.chance(30)) return;
  clock_.after(clock_.between(50ms, 1s), [this, host] {
    const auto other = 1 - host;
    if (hosts_[host].up || !hosts_[other].up || hosts_[host].role != proxy::Role::primary) return;
    note("db-" + std::to_string(other) + " is promoted");
    ++database_.timeline;
    hosts_[host].role = proxy::Role::standby;
    hosts_[other].role = proxy::Role::primary;
  });
}

void SimWorld::start_host(std::size_t host) {
  if (hosts_[host].up) return;
  note("db-" + std::to_string(host) + " starts");
  hosts_[host].up = true;
  hosts_[host].ready_at = clock_.now() + clock_.between(0us, 500ms);
}

void SimWorld::operate() {
  switch (clock_.pick(4)) {
    case 0:
      note("paused");
      upstream_.machine().pause(clock_.now());
      clock_.after(clock_.between(0us, 3s), [this] {
        upstream_.machine().resume(clock_.now());
        upstream_.perform();
      });
      break;
    case 1:
      note("force reconnect");
      upstream_.machine().force_reconnect(clock_.now());
      break;
    default: {
      note("configuration changed");
      auto reconnect = settings().reconnect;
      reconnect.retry_delay = milliseconds(50 + clock_.pick(500));
      reconnect.concurrency = static_cast<std::uint32_t>(1 + clock_.pick(4));
      upstream_.machine().reconfigure(reconnect, settings().health, clock_.now());
    }
  }
  upstream_.perform();
}

}  // namespace holdfast::simulation

// Delivery, loss, and what befalls members.
#include "tests/simulation/mongo/sim_servers.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <utility>

#include "protocol/mongo/error_codes.hpp"
#include "protocol/mongo/frame.hpp"
#include "protocol/mongo/reply.hpp"

namespace holdfast::simulation::mongo {

namespace code = wire::code;

Link::Link(SimServers& servers, std::size_t at, std::string as, const wire::ObjectId& of)
    : member(at), login(std::move(as)), process(of), servers_(servers), process_(servers.at(at).process) {}

void Link::deliver(Time at, std::function<void()> what) {
  servers_.clock.at(at, [self = shared_from_this(), what = std::move(what)] { self->servers_.deliver(self->member, what); });
}

bool Link::write(std::string frame) {
  if (!open_ || write_fails_) return false;
  if (ended_) {
    // The end had come a moment before, unseen: it is read now.
    servers_.clock.after(0us, [self = shared_from_this()] {
      const auto heard = self->on_end;
      if (self->open_ && heard) heard("the server closed the connection");
    });
    return true;
  }
  last_request_ = std::max(last_request_, servers_.clock.now() + servers_.clock.between(0us, 500us));
  deliver(last_request_, [self = shared_from_this(), frame = std::move(frame)] { self->arrive(frame); });
  return true;
}

void Link::arrive(const std::string& frame) {
  if (!alive_ || servers_.at(member).process != process_) return;
  queue_.push_back(frame);
  if (!std::exchange(working_, true)) work();
}

void Link::work() {
  auto& clock = servers_.clock;
  clock.after(clock.between(10us, clock.chance(10) ? 20ms : clock.chance(2) ? 300ms : 300us), [self = shared_from_this()] {
    const auto& of = self->servers_.at(self->member);
    self->working_ = false;
    if (!self->alive_ || of.process != self->process_ || self->queue_.empty()) return;
    if (!of.frozen) {
      const auto frame = std::move(self->queue_.front());
      self->queue_.pop_front();
      self->run(frame);
    }
    if (!std::exchange(self->working_, true)) self->work();
  });
}

void Link::run(const std::string& frame) {
  wire::Message request;
  ASSERT_EQ(wire::parse_message(frame, request), wire::FrameError::none);
  EXPECT_EQ(request.flags & wire::flag::more_to_come, 0U) << "a member is not to be silent: it would close the connection";
  const auto command = wire::read_command(request);
  const auto id = request.header.request_id;
  servers_.check_place(member, login, command);
  if (logged_out_) {
    return reply(id, wire::error_body({code::unauthorized, "command " + std::string(command.name) + " requires authentication"}), 0);
  }
  if (servers_.sharded()) {
    return servers_.mongos[member]->run(frame, [self = shared_from_this(), id](const std::string& body) { self->reply(id, body, 0); });
  }
  auto& of = servers_.set.at(member);
  const auto term = of.role_primary ? of.term : 0;
  const auto interruption = servers_.interruption_of(of, command);
  const auto answer = of.run(request, command, interruption);
  const bool waits = answer.wait_for > of.commit_point && interruption == Interruption::none && of.role_primary;
  if (waits) {
    of.waiting.emplace(answer.wait_for, [self = shared_from_this(), id, body = answer.body, term](bool known) {
      if (known) return self->reply(id, body, term);
      auto& clock = self->servers_.clock;
      const int number = clock.chance(30) ? code::primary_stepped_down : code::interrupted_by_state_change;
      const bool at_root = clock.chance(40);
      self->reply(id, Member::interrupted(body, at_root ? code::interrupted_by_state_change : number, at_root), term);
    });
  }
  servers_.after(interruption, member);
  // It may be dropped and made anew as a collection that takes no number before the write is sent again.
  auto& refuses = servers_.set.rules.takes_no_number;
  const bool of_chosen = command.kind == wire::CommandKind::write && command.collection == "c";
  if (of_chosen && interruption != Interruption::none && servers_.clock.chance(30)) refuses = std::min(refuses, servers_.clock.now());
  if (!waits) reply(id, answer.body, term);
}

void Link::reply(std::int32_t to, const std::string& body, std::int64_t term) {
  servers_.note_place(member, body);
  if (!alive_ || cut_) return;
  auto& clock = servers_.clock;
  // The answer is lost more often than chance would have it: nothing is harder to get right.
  if (clock.pick(1000) < 10) return cut();
  last_reply_ = std::max(last_reply_, clock.now() + clock.between(0us, clock.chance(3) ? 50ms : 500us));
  deliver(last_reply_, [self = shared_from_this(), frame = wire::make_message(1, to, 0, body), term, era = era_] {
    const auto heard = self->on_reply;  // a copy, because what is called replaces it
    if (self->usable() && era == self->era_ && heard) heard(frame, term);
  });
}

void Link::end(const std::string& reason) {
  last_reply_ = std::max(last_reply_, servers_.clock.now() + servers_.clock.between(0us, 5ms));
  deliver(last_reply_, [self = shared_from_this(), reason] {
    if (!self->usable()) return;
    self->ended_ = true;
    const auto heard = self->on_end;
    if (heard) heard(reason);
  });
}

void Link::cut() {
  if (std::exchange(cut_, true)) return;
  ++era_;
  write_fails_ = servers_.clock.chance(50);
  end("connection reset by peer");
}

void Link::die() {
  if (!std::exchange(alive_, false)) return;
  if (servers_.clock.chance(50)) ++era_;
  write_fails_ = servers_.clock.chance(50);
  end("the server closed the connection");
}

// ---- servers ----

SimServers::SimServers(Clock& of, std::size_t members, std::size_t routers, std::function<void(std::string)> tell)
    : clock(of), set(of, members, tell), note(std::move(tell)), cut_off_(std::max(members, routers)),
      logins_hang_(cut_off_.size()), logins_fail_(cut_off_.size()), stuck_(cut_off_.size()),
      interruptions_(clock.chance(50) ? 150 : 0) {
  for (std::size_t i = 0; i < routers; ++i) mongos.push_back(std::make_unique<Mongos>(clock, i, set, interruptions_ > 0));
  for (auto& each : mongos) {
    each->on_end = [this, at = each->index] {
      clock.after(clock.between(1ms, 50ms), [this, at] { kill(at); });
    };
  }
  // In some runs a new primary is soon the next to go: what it has not replicated by then, its forerunner may bring back.
  if (members == 1 || routers > 0 || !clock.chance(25)) return;
  flips_ = true;
  set.slow_down();
  set.on_elected = [this](const Member& member) {
    if (healthy_ || member.term == 1 || !clock.chance(50)) return;
    clock.after(clock.between(1ms, 250ms), [this, at = member.index] {
      if (!healthy_) kill(at);
    });
  };
}

std::string SimServers::name_of(std::size_t member) const {
  return sharded() ? "mongos " + std::to_string(member) : set.addresses()[member];
}

std::vector<std::shared_ptr<Link>> SimServers::links() {
  std::erase_if(links_, [](const auto& each) { return each.expired(); });
  std::vector<std::shared_ptr<Link>> all;
  for (const auto& each : links_) all.push_back(each.lock());
  return all;
}

std::shared_ptr<Link> SimServers::open(std::size_t member, const std::string& login, const wire::ObjectId& process) {
  auto link = std::make_shared<Link>(*this, member, login, process);
  links_.push_back(link);
  return link;
}

void SimServers::deliver(std::size_t member, std::function<void()> what) {
  if (cut_off_[member]) {
    stuck_[member].push_back(std::move(what));
  } else {
    what();
  }
}

void SimServers::hello(std::size_t member, Time deadline, Done done) {
  if (silent(member)) {
    if (clock.now() >= deadline) return done(std::nullopt, "no answer in time");
    const auto next = std::min(deadline, clock.now() + 20ms);
    return clock.at(next, [this, member, deadline, done = std::move(done)] { hello(member, deadline, done); });
  }
  if (!at(member).up) return done(std::nullopt, "connection refused");
  // It may be overtaken by what happens while it is under way.
  clock.after(clock.between(0us, clock.chance(5) ? 100ms : 2ms),
              [done = std::move(done), made = sharded() ? mongos[member]->hello() : set.at(member).hello(set.addresses())] { done(made, {}); });
}

void SimServers::kill(std::size_t member) {
  if (!at(member).up) return;
  note(name_of(member) + " dies");
  sharded() ? mongos[member]->kill() : set.kill(member);
  for (const auto& link : links()) {
    if (link->member == member) link->die();
  }
  clock.after(clock.between(30ms, clock.chance(15) ? 6s : 1s), [this, member] {
    if (at(member).up) return;
    note(name_of(member) + " starts");
    sharded() ? mongos[member]->restart() : set.restart(member);
  });
}

void SimServers::freeze(std::size_t member, bool frozen) {
  if (!at(member).up || at(member).frozen == frozen) return;
  note(name_of(member) + (frozen ? " freezes" : " wakes"));
  at(member).frozen = frozen;
}

void SimServers::cut_off(std::size_t member, bool off) {
  if (cut_off_[member] == off) return;
  note(name_of(member) + (off ? " is cut off from the proxy" : " is heard again"));
  cut_off_[member] = off;
  if (off) return;
  auto time = clock.now();
  for (auto& what : std::exchange(stuck_[member], {})) {
    time += clock.between(0us, 200us);
    clock.at(time, [this, member, what = std::move(what)] { deliver(member, what); });
  }
}

void SimServers::trouble_logins(std::size_t member, bool hang, Time until) {
  note("logins at " + name_of(member) + (hang ? " hang" : " fail"));
  (hang ? logins_hang_ : logins_fail_)[member] = until;
}

void SimServers::cut_one_link() {
  const auto all = links();
  if (!all.empty()) all[clock.pick(all.size())]->cut();
}

void SimServers::heal() {
  healthy_ = true;
  std::ranges::fill(logins_hang_, Time{});
  std::ranges::fill(logins_fail_, Time{});
  for (std::size_t i = 0; i < cut_off_.size(); ++i) {
    if (cut_off_[i]) cut_off(i, false);
  }
  set.heal();
  for (auto& each : mongos) {
    each->heal();
    each->frozen = false;
    each->restart();
  }
}

Interruption SimServers::interruption_of(const Member& member, const wire::Command& command) {
  if (healthy_ || !member.role_primary || set.standalone() || command.kind == wire::CommandKind::abort) return Interruption::none;
  const bool commits = command.kind == wire::CommandKind::commit;
  // A commit that its primary takes along is the hardest to get right where the next one is soon gone, too.
  if (flips_ && commits && clock.chance(10)) return Interruption::shutting_down;
  if (clock.pick(10'000) >= interruptions_ * (commits ? 4 : 1)) return Interruption::none;
  return static_cast<Interruption>(1 + clock.pick(7));
}

void SimServers::after(Interruption interruption, std::size_t member) {
  if (interruption == Interruption::none || interruption == Interruption::network_label) return;
  note(set.addresses()[member] + " steps down in the middle of a command");
  set.step_down(member);
  if (interruption != Interruption::shutting_down) return;
  clock.after(clock.between(1ms, 50ms), [this, member] { kill(member); });
}

}  // namespace holdfast::simulation::mongo

// The shells of upstream, members and pool, as connection.cpp, standing.cpp, monitor.cpp and context.cpp are.
#include "tests/simulation/mongo/sim_world.hpp"

#include <gtest/gtest.h>

#include <algorithm>

namespace holdfast::simulation::mongo {

namespace action = proxy::upstream_action;
using proxy::Failure;
using proxy::Outcome;

config::Connection SimWorld::make_config(Clock& clock, Shape shape, std::size_t members, bool forgetful) {
  config::Connection config;
  config.id = "orders";
  const auto named = shape == Shape::set && clock.chance(20) ? 1 : members;  // the others are found
  for (std::size_t i = 0; i < named; ++i) config.mongo.hosts.push_back({"db-" + std::to_string(i), 27017});
  if (shape == Shape::set) config.mongo.replica_set = "rs";
  auto& reconnect = config.reconnect;
  reconnect.max_retries = static_cast<std::uint32_t>(1 + clock.pick(4));
  reconnect.retry_delay = milliseconds(100 + clock.pick(1000));
  reconnect.probe_interval = milliseconds(20 + clock.pick(180));
  reconnect.connection_timeout = milliseconds(300 + clock.pick(700));
  reconnect.hold_timeout = std::chrono::duration_cast<milliseconds>(clock.between(500ms, 6'500ms));
  if (forgetful) reconnect.hold_timeout = 150s;
  reconnect.hang_timeout = milliseconds(300 + clock.pick(1'000));
  reconnect.concurrency = static_cast<std::uint32_t>(1 + clock.pick(4));
  config.health.interval = milliseconds(500 + clock.pick(4'000));
  config.health.timeout = milliseconds(200 + clock.pick(500));
  config.health.failures = static_cast<std::uint32_t>(1 + clock.pick(3));
  config.replay = clock.chance(85);
  config.pool_max = static_cast<std::uint32_t>(clock.chance(50) ? 1 + clock.pick(4) : 100);
  config.pool_idle_timeout = milliseconds(200 + clock.pick(1'500));
  return config;
}

proxy::UpstreamSettings SimWorld::make_settings(const config::Connection& config) {
  proxy::UpstreamSettings settings;
  settings.connection = config.id;
  settings.endpoints = config.mongo.hosts;
  settings.wish = proxy::Wish::primary;
  settings.unfit = proxy::Unfit::awaited;
  settings.reconnect = config.reconnect;
  settings.health = config.health;
  return settings;
}

SimPool::Book::Limits SimWorld::limits_of(const config::Connection& config) {
  return {config.pool_max, config.reconnect.concurrency, config.pool_idle_timeout};
}

SimWorld::Shape SimWorld::pick_shape(Clock& clock) {
  const auto dice = clock.pick(100);
  return dice < 12 ? Shape::standalone : dice < 75 ? Shape::set : Shape::sharded;
}

SimWorld::SimWorld(std::uint64_t seed)
    : clock_(seed), shape_(pick_shape(clock_)), size_(shape_ == Shape::standalone ? 1 : shape_ == Shape::set ? 3 : 1 + clock_.pick(3)),
      forgetful_(shape_ == Shape::set && clock_.chance(2)), imitation_(shape_ == Shape::sharded && clock_.chance(25)),
      impostors_(shape_ == Shape::set && !forgetful_ && seed % 16 == 8),
      made_anew_(!forgetful_ && seed % 16 == 5), config_(make_config(clock_, shape_, size_, forgetful_)),
      servers_(clock_, shape_ == Shape::standalone ? 1 : 3, shape_ == Shape::sharded ? size_ : 0, [this](const std::string& what) { note(what); }), members(config_, {}),
      numbering([count = 0]() mutable { return Rules::own_session + std::string(8, '-') + std::to_string(1'000'000 + ++count); }),
      pool(clock_, servers_, config_.mongo.hosts.size(), limits_of(config_)), upstream_(clock_, make_settings(config_), make_shell()) {
  auto& operation = session_settings_.operation;
  operation.hold_timeout = config_.reconnect.hold_timeout;
  operation.replays = config_.replay;
  session_settings_.upgrades = clock_.chance(90);
  if (clock_.chance(50)) servers_.set.rules.takes_no_number = clock_.now() + (clock_.chance(50) ? 0us : clock_.between(0us, 4s));
  servers_.set.rules.impostors = impostors_;
  if (forgetful_) servers_.set.rules.session_time = 1min;
  if (!forgetful_ && clock_.chance(25)) servers_.set.rules.new_password = clock_.now() + clock_.between(0us, 4s);
  session_settings_.hang_timeout = config_.reconnect.hang_timeout;
  session_settings_.connection_timeout = config_.reconnect.connection_timeout;
}

SimWorld::~SimWorld() = default;

void SimWorld::note(const std::string& what) {
  const auto at = std::chrono::duration_cast<milliseconds>(clock_.now() - Time{1h});
  history_ += "  " + std::to_string(at.count()) + " ms: " + what + '\n';
  if (what.find("becomes primary") != std::string::npos) ++totals_.elections;
}

std::string SimWorld::history() const {
  auto text = history_;
  for (std::size_t i = 0; i < pairs_.size(); ++i) {
    text += "  client " + std::to_string(i) + ":" + pairs_[i].client->history() + '\n';
  }
  return text;
}

// ---- what members say ----

void SimWorld::told_of(std::int64_t term, std::size_t member) {
  if (term <= told_term_) return;
  told_term_ = term;
  told_member_ = member;
}

/// Before its hello is noted, and whatever connection it came over.
void SimWorld::recognise(std::size_t member, const wire::MemberHello& hello) {
  using Asker = proxy::mongo::Members::Asker;
  const auto process = hello.topology_version->process;
  if (!members.wants_build(member, process, Asker::user, clock_.now())) return;
  const bool impostor = impostors_ && servers_.set.at(member).is_impostor();
  members.note_build(member, process, Asker::user, wire::Build{imitation_ ? "FerretDB" : impostor ? "SecantusDB" : "MongoDB", "7.0.0"});
}

void SimWorld::learn(std::size_t member, const wire::MemberHello& hello) {
  if (hello.type == wire::MemberHello::Type::primary) {
    std::int64_t term = 0;
    for (const char byte : hello.election_id.substr(4)) term = term * 256 + static_cast<unsigned char>(byte);
    told_of(term, member);
  }
  follow_members();
  const auto present = ready(), newest = members.newest_primary();
  if (present && newest && *present != *newest) backend_lost();
}

void SimWorld::follow_members() {
  const auto& hosts = members.hosts();
  for (auto i = upstream_.settings().endpoints.size(); i < hosts.size(); ++i) {
    pool.add_member();
    upstream_.machine().add_endpoint(hosts[i], clock_.now());
    clock_.after(0us, [this] { upstream_.perform(); });
  }
  for (; hosts.size() > 1 && monitored_ < hosts.size(); ++monitored_) monitor(monitored_, {}, clock_.now());
}

/// An awaited hello: it comes as soon as there is news, mostly, and else every ten seconds.
void SimWorld::monitor(std::size_t member, std::optional<wire::TopologyVersion> known, Time since) {
  clock_.after(clock_.between(2ms, clock_.chance(10) ? 400ms : 30ms), [this, member, known, since] {
    servers_.hello(member, clock_.now() + config_.reconnect.hang_timeout, [this, member, known, since](const auto& hello, const std::string&) {
      const bool news = !hello || hello->topology_version != known || clock_.now() > since + proxy::mongo::heartbeat_interval;
      if (!news) return monitor(member, known, since);
      if (hello) recognise(member, *hello);
      if (!hello) {
        members.note_unreachable(member);
        suspect(member);
      } else if (members.note(member, *hello, clock_.now()).empty()) {
        learn(member, *hello);
        if (!members.accepts_writes(*hello)) suspect(member);
      }
      monitor(member, hello ? hello->topology_version : std::nullopt, clock_.now());
    });
  });
}

void SimWorld::suspect(std::size_t member) {
  if (ready() == member) backend_lost();
}

void SimWorld::look(SimUpstream::Ask ask, std::size_t endpoint, Time deadline, const SimUpstream::Done& done) {
  servers_.hello(endpoint, deadline, [this, ask, endpoint, done](const auto& hello, const std::string& error) {
    if (!hello) return done(failed(Failure::unreachable, error));
    recognise(endpoint, *hello);
    auto outcome = members.outcome_of(endpoint, *hello, clock_.now());
    if (outcome.failure != Failure::unreachable) learn(endpoint, *hello);
    if (outcome.failure == Failure::unfit && ask != SimUpstream::Ask::probe) {
      outcome.failure = Failure::none;
      outcome.error.clear();
    }
    done(outcome);
  });
}

SimUpstream::World SimWorld::make_shell() {
  SimUpstream::World shell;
  shell.look = [this](SimUpstream::Ask ask, std::size_t endpoint, Time deadline, const SimUpstream::Done& done) {
    look(ask, endpoint, deadline, done);
  };
  shell.granted = [this](const action::Grant& grant) {
    auto* session = waiting(grant.waiter);
    ASSERT_NE(session, nullptr) << "a grant for nobody";
    session->on_grant(grant);
  };
  shell.refused = [this](const action::Refuse& refusal) {
    if (auto* session = waiting(refusal.waiter)) session->on_refused(refusal);
  };
  shell.checked = [this](bool alive) {
    for (auto& [number, then] : std::exchange(questions_, {})) then(alive);
  };
  return shell;
}

SimSession* SimWorld::waiting(std::uint64_t waiter) const {
  for (const auto& pair : pairs_) {
    if (pair.session->waits_for(waiter)) return pair.session.get();
  }
  const auto found = std::ranges::find_if(left_, [&](const auto& session) { return session->waits_for(waiter); });
  return found == left_.end() ? nullptr : found->get();
}

// ---- for sessions ----

void SimWorld::enter(std::uint64_t waiter, Time deadline) {
  clock_.after(0us, [this, waiter, deadline] {
    upstream_.machine().enter(waiter, proxy::Wish::primary, deadline, clock_.now());
    upstream_.perform();
  });
}

void SimWorld::cancel_wait(std::uint64_t waiter) {
  clock_.after(0us, [this, waiter] {
    upstream_.machine().cancel_wait(waiter);
    upstream_.perform();
  });
}

void SimWorld::leave_grant(const action::Grant& grant) {
  upstream_.machine().on_grant_unused(grant.slot, clock_.now());
  clock_.after(0us, [this] { upstream_.perform(); });
}

/// Connects, says hello and logs in.
void SimWorld::open(std::size_t member, const std::string& login, Time deadline, Opened then) {
  clock_.after(clock_.between(200us, 10ms), [this, member, login, deadline, then = std::move(then)] {
    servers_.hello(member, deadline, [this, member, login, deadline, then](const auto& hello, const std::string& error) {
      if (!hello) return then(std::nullopt, failed(Failure::unreachable, error));
      servers_.log_in(member, login, deadline, [hello, then](SimServers::LoggedIn how) {
        switch (how) {
          case SimServers::LoggedIn::yes: return then(hello, {});
          case SimServers::LoggedIn::refused: return then(std::nullopt, failed(Failure::rejected, std::string(refused_login)));
          case SimServers::LoggedIn::cut: return then(std::nullopt, failed(Failure::unreachable, "connection reset by peer"));
          case SimServers::LoggedIn::late: return then(std::nullopt, failed(Failure::unreachable, "timed out logging in"));
        }
      });
    });
  });
}

void SimWorld::connect_to(SimPool::Waiter waiter, std::size_t member, const std::string& login, Time deadline, Connected then) {
  use(waiter, member, login, deadline, pool.take(waiter, member, login), std::move(then));
}

void SimWorld::use(SimPool::Waiter waiter, std::size_t member, const std::string& login, Time deadline, SimPool::Turn turn,
                   Connected then) {
  if (turn.link) return then(std::move(turn.link), {});
  if (!turn.place) {
    if (clock_.now() >= deadline) return then(nullptr, std::string(all_in_use));
    return pool.wait(waiter, member, login, deadline, [this, waiter, member, login, deadline, then](SimPool::Turn given) {
      // A client that has gone is told nothing; its command ends as one whose member cannot be reached.
      if (!given && clock_.now() < deadline) return then(nullptr, "the client has gone");
      use(waiter, member, login, deadline, given ? std::move(given) : pool.take(waiter, member, login), then);
    });
  }
  const auto limit = std::min(deadline, clock_.now() + config_.reconnect.connection_timeout);
  open(member, login, limit, [this, member, login, then = std::move(then)](const auto& hello, const Outcome& outcome) {
    if (hello) {
      recognise(member, *hello);
      return then(pool.fill(member, login, hello->topology_version->process), {});
    }
    pool.give_up(member);
    then(nullptr, outcome.error);
  });
}

void SimWorld::log_in(std::size_t member, const std::string& login, Time deadline, Connected then) {
  open(member, login, deadline, [this, member, login, then = std::move(then)](const auto& hello, Outcome outcome) {
    if (hello && !members.accepts_writes(*hello)) outcome = failed(Failure::unfit, "it is no primary any more");
    if (outcome.ok()) recognise(member, *hello);
    auto link = outcome.ok() ? pool.fill(member, login, hello->topology_version->process) : nullptr;
    if (!link) pool.give_up(member);
    upstream_.machine().on_login(member, outcome, clock_.now());
    clock_.after(0us, [this] { upstream_.perform(); });
    then(std::move(link), outcome.error);
  });
}

void SimWorld::backend_lost() {
  ++totals_.losses;
  upstream_.machine().on_backend_lost(clock_.now());
  clock_.after(0us, [this] { upstream_.perform(); });
}

void SimWorld::ask_alive(Time deadline, std::function<void(bool alive)> then) {
  const auto state = upstream_.machine().state();
  if (state != proxy::State::connected && state != proxy::State::paused) return then(false);
  const auto number = ++last_question_;
  questions_.emplace(number, std::move(then));
  upstream_.machine().want_check(deadline);
  clock_.after(0us, [this] { upstream_.perform(); });
  clock_.at(deadline, [this, number] {
    auto question = questions_.extract(number);
    if (!question.empty()) question.mapped()(false);
  });
}

void SimWorld::check_member(std::size_t member, Time deadline, std::function<void()> then) {
  servers_.hello(member, deadline, [this, member, then = std::move(then)](const auto& hello, const std::string& error) {
    if (!hello) {
      note("db-" + std::to_string(member) + " is silent");
      upstream_.machine().on_server_silent(member, error, clock_.now());
      upstream_.perform();
      pool.fail(member, "it answers neither a command nor a hello");
    }
    then();
  });
}

void SimWorld::ask_member(std::size_t member, const std::string& login, const std::string& body, Time deadline, Heard then,
                          int tries) {
  connect_to({pool.next_ticket(), false, SimPool::Book::Room::beyond_limit}, member, login, deadline, [=, this](std::shared_ptr<Link> link, const std::string&) {
    if (!link) return then(std::nullopt);
    const auto end = [=, this, held = std::make_shared<std::shared_ptr<Link>>(link)](std::optional<std::string> reply) {
      auto back = std::exchange(*held, nullptr);
      if (!back) return;
      back->on_reply = nullptr;
      back->on_end = nullptr;
      const bool again = reply && pool.is_logged_out(*back, wire::read_reply(*reply)) && tries > 1;
      reply ? pool.give_back(std::move(back)) : pool.lose(std::move(back));
      again ? ask_member(member, login, body, deadline, then, tries - 1) : then(std::move(reply));
    };
    link->on_reply = [end](const std::string& frame, std::int64_t) {
      wire::Message message;
      ASSERT_EQ(wire::parse_message(frame, message), wire::FrameError::none);
      end(std::string(message.body));
    };
    link->on_end = [end](const std::string&) { end(std::nullopt); };
    clock_.at(deadline, [end] { end(std::nullopt); });
    if (!link->write(wire::make_message(1, 0, 0, body))) end(std::nullopt);
  });
}

void SimWorld::abort_transaction(std::size_t member, const std::string& login, const std::string& body) {
  ask_member(member, login, body, clock_.now() + 1s, [](const auto&) {});
}

// ---- clients ----

void SimWorld::add_client() {
  const auto index = pairs_.size();
  pairs_.emplace_back();
  auto& pair = pairs_.back();
  pair.settings = session_settings_;
  pair.settings.operation.backpressure = clock_.chance(30);
  pair.settings.driver_logs_in = clock_.chance(50);
  connect(index);
  SimClient::Options options;
  options.index = index;
  options.operations = static_cast<int>(5 + clock_.pick(30));
  options.numbers = clock_.chance(60);
  options.of_set = shape_ != Shape::standalone && !forgetful_ && !impostors_;
  options.of_mongos = servers_.sharded();
  options.of_imitation = imitation_ || impostors_;
  options.log_in = [this, index] {
    pairs_[index].session->log_in(true);
    return clock_.chance(90);
  };
  options.majority = clock_.chance(50) ? 90 : 40;
  pair.client = std::make_unique<SimClient>(clock_, ledger_, options, [this, index](const std::string& frame) {
    pairs_[index].session->client_sends(frame);
  });
  pair.client->start();
}

void SimWorld::connect(std::size_t index) {
  auto& pair = pairs_[index];
  const auto user = "user-" + std::to_string(index % 2);
  pair.session = std::make_unique<SimSession>(*this, clock_, user, pair.settings, [this, index, connection = pair.connection](const std::string& frame) {
    clock_.after(clock_.between(0us, 200us), [this, index, connection, frame] {
      if (pairs_[index].connection == connection) pairs_[index].client->received(frame);
    });
  });
  pair.session->log_in(!servers_.takes_login("#1"));
}

void SimWorld::hang_up(std::size_t index) {
  auto& pair = pairs_[index];
  ++pair.connection;
  pair.session->client_leaves();
  left_.push_back(std::move(pair.session));
  connect(index);
  pair.client->hang_up();
}

bool SimWorld::all_done() const {
  return std::ranges::all_of(pairs_, [](const Pair& pair) { return pair.client->done(); });
}

}  // namespace holdfast::simulation::mongo

// Performs what the operation machine says, as the real shell does.
#include "tests/simulation/mongo/sim_session.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <utility>
#include <variant>

#include "protocol/mongo/frame.hpp"
#include "tests/simulation/mongo/sim_world.hpp"

namespace holdfast::simulation::mongo {

namespace step = proxy::mongo::operation_step;
namespace action = proxy::upstream_action;
using proxy::mongo::Numbering;
using proxy::mongo::OperationMachine;
using proxy::mongo::OperationStep;

namespace {

constexpr auto between_tries = 50ms;
constexpr auto ask_time = 1s;
constexpr std::uint32_t own_flags = wire::flag::checksum_present | wire::flag::more_to_come | wire::flag::exhaust_allowed;

}  // namespace

SimSession::SimSession(SimWorld& world, Clock& clock, std::string user, SessionSettings settings, std::function<void(std::string)> to_client)
    : world_(world), clock_(clock), user_(std::move(user)), settings_(settings), to_client_(std::move(to_client)) {}

SimSession::~SimSession() = default;

void SimSession::client_sends(std::string frame) {
  if (gone_) return;
  if (run_) return waiting_.push_back(std::move(frame));
  begin(std::move(frame));
}

void SimSession::begin(std::string frame) {
  run_ = std::make_unique<Run>();
  run_->original = frame;
  read_request(std::move(frame));
  if (run_->command.everywhere) {
    run_->number = ++run_number_;
    run_->since = clock_.now();
    run_->asked = world_.members.serving();
    run_->session_kills = std::make_unique<proxy::mongo::SessionKills>(run_->asked);
    return kill_sessions();
  }
  if (settings_.upgrades) {
    const Numbering::Servers servers{world_.members.deduplicates(), world_.members.is_sharded()};
    run_->numbered = world_.numbering.begin(run_->request, run_->command, user_, servers, clock_.now());
  }
  if (run_->numbered) {
    EXPECT_FALSE(run_->command.collection == "c" && world_.knows_refusal) << "a collection that takes no number is asked again";
    EXPECT_TRUE(world_.own_sessions.insert(run_->numbered->own.id).second) << "a session of the proxy's has two writes at once";
    read_request(run_->numbered->frame);
  }
  perform();
}

void SimSession::read_request(std::string frame) {
  run_->frame = std::move(frame);
  run_->request = {};
  ASSERT_EQ(wire::parse_message(run_->frame, run_->request), wire::FrameError::none);
  run_->command = wire::read_command(run_->request);
}

void SimSession::perform() {
  run_->number = ++run_number_;
  run_->login_refused = false;
  const auto place = world_.places.find(run_->command, user_, clock_.now());
  if (place.several) {
    run_->cursor_kills = std::make_unique<proxy::mongo::CursorKills>(run_->request.body, world_.places.cursors_by_member(run_->command, clock_.now()));
    return kill_cursors();
  }
  perform_at(place);
}

void SimSession::perform_at(proxy::mongo::Places::Place place) {
  run_->pinned = place.member;
  auto settings = settings_.operation;
  settings.deduplicates = world_.members.deduplicates();
  settings.sharded = world_.members.is_sharded();
  settings.memory = world_.members.memory();
  run_->machine = std::make_unique<OperationMachine>(run_->command, run_->request, settings, place);
  go_on(run_->machine->start(clock_.now()));
}

void SimSession::go_on(OperationStep next) {
  std::visit([this](const auto& one) { on(one); }, next);
}

void SimSession::release() {
  let_go();
  if (!run_->link) return;
  run_->link->on_reply = nullptr;
  run_->link->on_end = nullptr;
  world_.pool.give_back(std::exchange(run_->link, nullptr));
}

/// Of what it was given while it waited, and has no use for.
void SimSession::let_go() { world_.pool.give_back(std::exchange(run_->turn, {})); }

// ---- finding a connection ----

void SimSession::on(const step::Select& wanted) {
  release();
  run_->ticket = world_.pool.next_ticket();
  if (run_->machine->sends() < 2) return select(wanted);
  clock_.after(between_tries, [this, wanted, number = run_->number] {
    if (run_ && run_->number == number) select(wanted);
  });
}

void SimSession::select(const step::Select& wanted) {
  if (gone_) return go_on(run_->machine->on_refused(proxy::RefusalReason::cancelled, "the client has gone", clock_.now()));
  if (world_.members.reads_elsewhere(run_->command)) return select_reader(wanted.deadline);
  if (!wanted.ask_first) return outlast_deposed(wanted.deadline, 0);
  world_.ask_alive(std::min(wanted.deadline, clock_.now() + ask_time), [this, deadline = wanted.deadline, number = run_->number](bool) {
    if (run_ && run_->number == number) outlast_deposed(deadline, 0);
  });
}

void SimSession::outlast_deposed(Time deadline, int shown) {
  const auto ready = world_.ready();
  if (shown == 2 || !ready || !world_.members.is_deposed(*ready)) return connect(deadline);
  if (clock_.now() >= deadline) {
    let_go();
    return go_on(run_->machine->on_refused(proxy::RefusalReason::hold_timeout, "another primary was elected", clock_.now()));
  }
  world_.ask_alive(std::min(deadline, clock_.now() + ask_time), [this, deadline, shown, number = run_->number](bool alive) {
    if (run_ && run_->number == number) outlast_deposed(deadline, shown + (alive ? 1 : 0));
  });
}

void SimSession::select_reader(Time deadline) {
  if (gone_) return go_on(run_->machine->on_refused(proxy::RefusalReason::hold_timeout, "the client has gone", clock_.now()));
  const auto& preference = run_->command.preference;
  const auto selection = world_.members.select(preference, run_->failed);
  bool wait = selection.nearest.empty();
  if (wait && preference.mode != wire::ReadMode::secondary) return connect(deadline);
  if (!wait) {
    const auto chosen = selection.nearest[clock_.pick(selection.nearest.size())];
    wait = std::ranges::find(run_->failed, chosen) != run_->failed.end();
    if (wait) run_->failed.clear();  // after a moment each is tried again
    if (!wait) {
      run_->failed.push_back(chosen);
      run_->ticket = world_.pool.next_ticket();
      const SimPool::Waiter waiter{run_->ticket, false, run_->machine->room()};
      return world_.connect_to(waiter, chosen, login_, deadline, [this, deadline, number = run_->number](std::shared_ptr<Link> link, const std::string& error) {
        if (!run_ || run_->number != number) return;
        run_->login_refused = !link && (run_->login_refused || error == SimWorld::refused_login);
        link ? found(std::move(link)) : select_reader(deadline);
      });
    }
  }
  if (clock_.now() >= deadline || run_->login_refused) {
    return go_on(run_->machine->on_refused(proxy::RefusalReason::hold_timeout, "no member fits the read preference", clock_.now()));
  }
  clock_.at(std::min(deadline, clock_.now() + between_tries), [this, deadline, number = run_->number] {
    if (run_ && run_->number == number) select_reader(deadline);
  });
}

void SimSession::connect(Time deadline) {
  if (gone_) {
    let_go();
    return go_on(run_->machine->on_refused(proxy::RefusalReason::cancelled, "the client has gone", clock_.now()));
  }
  if (const auto ready = world_.ready()) return connect_to(*ready, deadline);
  let_go();
  waiter_ = world_.next_waiter();
  wait_until_ = deadline;
  world_.enter(waiter_, deadline);
}

void SimSession::on_refused(const action::Refuse& refusal) {
  waiter_ = 0;
  go_on(run_->machine->on_refused(refusal.reason, refusal.message, clock_.now()));
}

void SimSession::on_grant(const action::Grant& grant) {
  waiter_ = 0;
  world_.leave_grant(grant);
  connect_to(grant.endpoint, wait_until_);
}

void SimSession::connect_to(std::size_t member, Time deadline) {
  const auto login = world_.members.is_deposed(member) ? std::string() : login_;
  auto& turn = run_->turn;
  if (!turn.is_at(member) || (turn.link && login.empty())) {
    let_go();
    turn = world_.pool.take({run_->ticket, true, run_->machine->room()}, member, login);
  }
  if (turn.link) return found(std::exchange(turn.link, nullptr));
  if (turn.place) {
    turn.place.reset();
    return log_in(member, deadline);
  }
  if (clock_.now() >= deadline) {
    return go_on(run_->machine->on_refused(proxy::RefusalReason::hold_timeout, "all connections are in use", clock_.now()));
  }
  world_.pool.wait({run_->ticket, true, run_->machine->room()}, member, login, deadline, [this, deadline](SimPool::Turn given) {
    run_->turn = std::move(given);
    const auto ready = world_.ready();
    if (run_->turn && (ready != run_->turn.member() || world_.members.is_deposed(*ready))) let_go();
    outlast_deposed(deadline, 0);
  });
}

void SimSession::log_in(std::size_t member, Time deadline) {
  const auto limit = std::min(deadline, clock_.now() + settings_.connection_timeout);
  world_.log_in(member, login_, limit, [this, deadline, number = run_->number](std::shared_ptr<Link> link, const std::string& error) {
    if (!run_ || run_->number != number) {
      if (link) world_.pool.give_back(std::move(link));
    } else if (link) {
      run_->introduced = true;
      found(std::move(link));
    } else if (error == SimWorld::refused_login) {
      run_->login_refused = true;
      go_on(run_->machine->on_refused(proxy::RefusalReason::cancelled, error, clock_.now()));
    } else if (clock_.now() >= deadline) {
      go_on(run_->machine->on_refused(proxy::RefusalReason::hold_timeout, error, clock_.now()));
    } else {
      outlast_deposed(deadline, 0);
    }
  });
}

void SimSession::on(const step::Use& needed) {
  release();
  run_->ticket = world_.pool.next_ticket();
  const SimPool::Waiter waiter{run_->ticket, false, run_->machine->room()};
  world_.connect_to(waiter, needed.member, login_, needed.deadline, [this, number = run_->number](std::shared_ptr<Link> link, const std::string& error) {
    if (!run_ || run_->number != number) return;
    run_->login_refused = error == SimWorld::refused_login;
    if (link) return found(std::move(link));
    if (error == SimWorld::all_in_use) return go_on(run_->machine->on_refused(proxy::RefusalReason::hold_timeout, error, clock_.now()));
    go_on(run_->machine->on_unreachable(error, clock_.now()));
  });
}

void SimSession::found(std::shared_ptr<Link> link) {
  check_receiver(link->member);
  run_->machine->note_server(world_.members.executes_once(link->member, link->process));
  run_->link = std::move(link);
  go_on(run_->machine->on_member(clock_.now()));
}

// ---- the exchange ----

void SimSession::on(const step::Send& sent) {
  auto bytes = run_->frame;
  if (sent.body || (run_->request.flags & own_flags) != 0) {
    const std::string_view body = sent.body ? std::string_view(*sent.body) : run_->request.body;
    const auto sequences = sent.statements ? std::vector{*sent.statements} : run_->request.sequences;
    bytes = wire::make_message(run_->request.header.request_id, 0, run_->request.flags & ~own_flags, body, sequences);
  }
  auto& link = *run_->link;
  world_.places.note_sent(run_->command, user_, link.member, clock_.now());
  run_->last_member = link.member;
  run_->quiet_since = clock_.now();
  run_->in_exchange = true;
  link.on_reply = [this](const std::string& frame, std::int64_t term) { on_reply(frame, term); };
  link.on_end = [this](const std::string& reason) { on_lost(OperationMachine::Written::yes, reason); };
  if (!link.write(std::move(bytes))) on_lost(OperationMachine::Written::no, "broken pipe");
}

/// What a primary that was replaced answers is not believed: nothing that needs a primary is begun there once that is known.
void SimSession::check_receiver(std::size_t member) {
  const auto& command = run_->command;
  const bool ends = command.kind == wire::CommandKind::commit || command.kind == wire::CommandKind::abort;
  if (std::exchange(run_->introduced, false) || world_.members.reads_elsewhere(command) || (run_->pinned && !ends)) return;
  EXPECT_EQ(world_.members.newest_primary().value_or(member), member) << command.name << " is sent to a primary that is known to be replaced";
}

void SimSession::on_lost(OperationMachine::Written written, const std::string& reason) {
  run_->in_exchange = false;
  run_->link->on_reply = nullptr;
  run_->link->on_end = nullptr;
  world_.pool.lose(std::exchange(run_->link, nullptr));
  if (!gone_) world_.backend_lost();
  go_on(run_->machine->on_lost(written, reason, clock_.now()));
}

void SimSession::on_reply(const std::string& frame, std::int64_t term) {
  run_->in_exchange = false;
  run_->reply = frame;
  run_->term = term;
  wire::Message message;
  ASSERT_EQ(wire::parse_message(run_->reply, message), wire::FrameError::none);
  ASSERT_EQ(message.header.response_to, run_->request.header.request_id);
  const auto reply = wire::read_reply(message.body);
  const bool replaced = world_.members.has_replaced(run_->last_member, run_->command, reply, world_.ready());
  if (!reply.election_id.empty()) world_.told_of(term, run_->last_member);
  const bool logged_out = world_.pool.is_logged_out(*run_->link, reply);
  using Replier = OperationMachine::Replier;
  auto next = run_->machine->on_reply(reply, logged_out ? Replier::logged_out : replaced ? Replier::replaced : Replier::current, clock_.now());
  if (std::holds_alternative<step::Forward>(next)) {
    world_.places.note_reply(run_->command, reply, run_->last_member, clock_.now());
    world_.check_forwarded(run_->command, reply, run_->last_member, term);
  } else if (!std::holds_alternative<step::Send>(next) && !logged_out) {
    world_.backend_lost();
  }
  go_on(std::move(next));
}

/// What perform_numbered() does in the real shell.
void SimSession::end_numbering(Numbering::Fate fate) {
  if (run_->numbered) {
    world_.own_sessions.erase(std::string(run_->numbered->command.session));
    world_.numbering.end(*run_->numbered, fate, clock_.now());
    ++world_.upgraded;
  } else if (run_->number_refused) {
    world_.numbering.end_without(run_->command, fate, clock_.now());
    world_.knows_refusal = world_.knows_refusal || fate == Numbering::Fate::answered;
  }
}

void SimSession::on(const step::Forward& forward) {
  if (run_->machine->sends() > 1) ++repeated_;
  if (forward.body && run_->command.statements > 1) ++answered_by_parts_;
  wire::Message message;
  ASSERT_EQ(wire::parse_message(run_->reply, message), wire::FrameError::none);
  const auto fate = Numbering::fate_of(wire::read_reply(message.body));
  end_numbering(fate);
  if (std::exchange(run_->numbered, nullptr) && fate == Numbering::Fate::refused) {
    release();
    run_->number_refused = true;
    read_request(run_->original);
    return perform();
  }
  check_killed();
  if ((run_->request.flags & wire::flag::more_to_come) == 0 && !gone_) {
    to_client_(forward.body ? wire::make_answer(1, run_->request, *forward.body) : run_->reply);
  }
  finish();
}

void SimSession::on(const step::Answer& ours) {
  end_numbering(Numbering::Fate::unknown);
  if (tell_of_refused_login()) return finish();
  if (ours.abort && (run_->pinned || run_->machine->sends() > 0)) {
    world_.abort_transaction(run_->pinned.value_or(run_->last_member), login_, wire::body_of_abort(run_->request.body));
  }
  if ((run_->request.flags & wire::flag::more_to_come) == 0 && !gone_) to_client_(wire::make_answer(1, run_->request, ours.body));
  finish();
}

void SimSession::finish() {
  release();
  // What is under way here goes on to use the run: it ends in an event of its own.
  clock_.after(0us, [this, number = run_->number] {
    if (!run_ || run_->number != number) return;
    run_.reset();
    if (waiting_.empty() || gone_) return;
    auto next = std::move(waiting_.front());
    waiting_.pop_front();
    begin(std::move(next));
  });
}

std::string SimSession::state() const {
  if (!run_) return "idle";
  auto text = std::string(run_->command.name);
  if (run_->machine) text += ", sent " + std::to_string(run_->machine->sends()) + " times";
  if (run_->in_exchange) text += ", not answered by db-" + std::to_string(run_->last_member);
  if (waiter_ != 0) text += ", at the gate";
  return text;
}

void SimSession::client_leaves() {
  gone_ = true;
  if (!run_) return;
  if (waiter_ != 0) world_.cancel_wait(waiter_);
  world_.pool.cancel(run_->ticket);
  if (!run_->in_exchange || !run_->machine || !run_->machine->may_be_cut()) return;
  on_lost(OperationMachine::Written::yes, "the client has gone");
}

void SimSession::on_tick() {
  if (!run_ || gone_ || !run_->in_exchange || checking_ || clock_.now() < run_->quiet_since + settings_.hang_timeout) return;
  checking_ = true;
  world_.check_member(run_->last_member, clock_.now() + std::max(settings_.hang_timeout / 2, milliseconds(100)), [this] {
    checking_ = false;
    if (run_) run_->quiet_since = clock_.now();
  });
}

}  // namespace holdfast::simulation::mongo

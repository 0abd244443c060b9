// Performs what the operation machine says for one command: finds a connection, sends, reads, forwards.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "proxy/mongo/session.hpp"
#include "proxy/spawn.hpp"

namespace holdfast::proxy::mongo {

using namespace operation_step;
using wire::CommandKind;

namespace {

SteadyTime now() { return std::chrono::steady_clock::now(); }

/// A member that says again and again that it cannot is not asked more often than this.
constexpr auto between_tries = std::chrono::milliseconds(50);

/// The flags that concern one hop only, or that would make a member answer in a way that cannot be repeated.
constexpr std::uint32_t own_flags = wire::flag::checksum_present | wire::flag::more_to_come | wire::flag::exhaust_allowed;

}  // namespace

/// One command under way.
struct Session::Run {
  const wire::Message& request;
  std::string_view frame;  // as the client wrote it
  const wire::Command& command;
  std::string user;  // of a transaction, which is found by its session and whose that is
  OperationMachine machine;
  Lease lease;
  std::string rewritten;     // what is sent instead of the frame
  bool login_refused = false, unreachable = false;  // some member
  std::vector<std::size_t> failed;  // members that this read has been tried at
  Numbering::Fate fate = Numbering::Fate::unknown;  // by its reply, where that is believed
};

/// A write that may have a number of ours has one, unless the server refuses it with one.
Task<bool> Session::perform_numbered(const wire::Message& request, std::string_view frame, const wire::Command& command) {
  auto& context = *context_;
  Trial plain, numbered{true};
  const Numbering::Servers servers{context.members.deduplicates(), context.members.is_sharded()};
  const auto write = context.numbering.begin(request, command, login_->name(), servers, now());
  if (!write) co_return co_await perform(request, frame, command, plain);
  bool goes_on = co_await perform(write->message, write->frame, write->command, numbered);
  context.numbering.end(*write, numbered.fate, now());
  if (numbered.fate != Numbering::Fate::refused) co_return goes_on;
  goes_on = co_await perform(request, frame, command, plain);
  context.numbering.end_without(command, plain.fate, now());
  co_return goes_on;
}

Task<bool> Session::perform(const wire::Message& request, std::string_view frame, const wire::Command& command, Trial& trial) {
  auto& context = *context_;
  const auto begun = now();
  auto user = command.in_transaction ? login_->name() : std::string();
  const auto place = context.places.find(command, user, begun);
  const auto pinned = place.member;
  if (place.several) co_return co_await kill_cursors(request, command);
  if (!pinned && context.members.reads_elsewhere(command)) {
    const auto contradiction = context.members.select(command.preference).error;
    const int code = command.preference.max_staleness_seconds ? wire::code::max_staleness_out_of_range : wire::code::bad_value;
    if (!contradiction.empty()) co_return co_await refuse(request, code, contradiction);
  }
  OperationSettings settings;
  settings.hold_timeout = context.config->reconnect.hold_timeout;
  settings.replays = context.config->replay;
  settings.deduplicates = context.members.deduplicates();
  settings.sharded = context.members.is_sharded();
  settings.paused = context.upstream.paused();
  settings.backpressure = backpressure_;
  settings.memory = context.members.memory();
  Run run{request, frame, command, std::move(user), OperationMachine(command, request, settings, place), {}, {}, {}, false, {}, {}};
  auto step = run.machine.start(begun);
  for (;;) {
    if (auto* wanted = std::get_if<Select>(&step)) {
      run.lease.release();
      if (!context.members.reads_elsewhere(command)) run.lease = take_primary(*wanted);
      if (run.lease) {
        step = connected(run);
      } else {
        step = co_await select(run, *wanted);
      }
    } else if (auto* needed = std::get_if<Use>(&step)) {
      step = co_await use(run, *needed);
    } else if (auto* sent = std::get_if<Send>(&step); sent && gone_ && sent->statements) {
      // The parts of a batch tell what has happened: nobody is there to be told.
      step = run.machine.on_refused(RefusalReason::cancelled, "the client has gone", now());
    } else if (sent) {
      step = co_await send(run, std::move(*sent));
    } else {
      break;
    }
  }
  auto& counters = context.counters;
  auto* forward = std::get_if<Forward>(&step);
  const bool forwarded = forward != nullptr;
  if (run.machine.sends() > 1) {
    (forwarded ? counters.statements_replayed_succeeded : counters.statements_replayed_failed).add(1);
    if (forwarded) ++reconnections_;
  }
  if (forwarded) {
    trial.fate = run.fate;
    const bool refused = trial.numbered && trial.fate == Numbering::Fate::refused;
    const bool answers = !refused && (request.flags & wire::flag::more_to_come) == 0;
    const auto reply = run.lease->take_reply();
    // A client may take its time to read, or never do so: others have the connection meanwhile.
    context.pool.is_shared() ? run.lease.release() : keep(std::move(run.lease));
    bool goes_on = true;
    if (answers && forward->body) {
      goes_on = co_await answer(request, std::move(*forward->body));
    } else if (answers) {
      goes_on = co_await write(reply.frame());
    }
    co_return goes_on;
  }
  // A connection could not be had because its login was refused. Nothing was sent, or it can be sent again: a driver that can logs in again
  // and repeats by itself, any other loses its connection. Never 18 for an operation.
  if (run.login_refused && run.machine.may_begin_anew()) {
    if (!logs_in_again_) {
      end_reason_ = "login";
      co_return false;
    }
    co_return co_await refuse(request, wire::code::reauthentication_required, "holdfast: the server asks for the login again");
  }
  auto& ours = std::get<Answer>(step);
  if (ours.unknown) counters.commit_outcomes_unknown.add(1);
  if (ours.abort && (pinned || run.machine.sends() > 0)) {
    std::vector<Leftovers::Ending> endings{{pinned.value_or(member_), wire::body_of_abort(request.body)}};
    spawn_named(context.home, context.end(std::move(endings), login_), "abort", context_);
  }
  run.lease.release();
  co_return co_await answer(request, std::move(ours.body));
}

/// One of the client's own to this member, for as long as it is in use.
Lease Session::take_own(std::size_t member) {
  const auto found = std::ranges::find_if(own_, [&](const Lease& each) { return each.member() == member; });
  if (found == own_.end()) return {};
  auto lease = std::move(*found);
  own_.erase(found);
  if (lease->is_sound() && lease->is_quiet() && lease->login == login_) return lease;
  return {};
}

void Session::keep(Lease lease) {
  std::erase_if(own_, [&](const Lease& each) { return each.member() == lease.member(); });
  if (!lease->is_sound()) return;
  lease->rest();
  own_.push_back(std::move(lease));
}

Task<std::variant<Lease, NoConnection>> Session::connect_to(std::size_t member, Pool::Room room, SteadyTime deadline) {
  if (auto lease = take_own(member)) co_return std::move(lease);
  co_return co_await context_->member({0, &gone_, room}, member, login_, deadline);
}

/// What most commands find: a connection to the primary that nothing has to be waited for. Each coroutine that is called on the way to
/// one costs as much as the look at the pool, so there is none on this way.
Lease Session::take_primary(const Select& step) {
  if (gone_ || step.ask_first) return {};
  const auto ready = context_->upstream.ready_endpoint(Wish::primary);
  if (!ready || context_->members.is_deposed(*ready)) return {};
  if (auto own = take_own(*ready)) return own;
  return context_->pool.take_idle(*ready, login_.get());
}

Task<OperationStep> Session::select(Run& run, Select step) {
  if (run.machine.sends() > 1) {
    pause_.expires_after(between_tries);
    const auto [error] = co_await pause_.async_wait(asio::as_tuple(use_task));
    static_cast<void>(error);
  }
  if (gone_) co_return run.machine.on_refused(RefusalReason::cancelled, "the client has gone", now());
  if (context_->members.reads_elsewhere(run.command)) co_return co_await select_reader(run, step);
  co_return co_await select_primary(run, step);
}

OperationStep Session::connected(Run& run) {
  run.machine.note_server(context_->executes_once(run.lease));
  return run.machine.on_member(now());
}

/// A member that the read preference allows, one of the nearest. While there is none, and the preference allows the primary,
/// the gate is where one waits.
Task<OperationStep> Session::select_reader(Run& run, Select step) {
  const auto& preference = run.command.preference;
  const bool only_secondaries = preference.mode == wire::ReadMode::secondary;
  // A login that is not known here can be relayed to the primary only.
  if (!login_->can_log_in() && !only_secondaries) co_return co_await select_primary(run, step);
  while (!gone_ && login_->can_log_in()) {
    const auto selection = context_->members.select(preference, run.failed);
    bool wait = selection.nearest.empty() || context_->upstream.paused();
    if (wait && !only_secondaries && preference.tags.empty()) co_return co_await select_primary(run, step);
    if (!wait) {
      const auto chosen = selection.nearest[context_->random() % selection.nearest.size()];
      wait = std::ranges::find(run.failed, chosen) != run.failed.end();
      if (!wait) run.failed.push_back(chosen);  // until it has answered
      auto found = co_await connect_to(chosen, run.machine.room(), step.deadline);
      if (auto* lease = std::get_if<Lease>(&found)) {
        run.login_refused = false;
        run.lease = std::move(*lease);
        co_return connected(run);
      }
      (is_refused_login(std::get<NoConnection>(found)) ? run.login_refused : run.unreachable) = true;
    }
    if (!wait) continue;
    // Another member may know the user better; where none does, and none is only away, time is no help.
    if (now() >= step.deadline || (run.login_refused && !run.unreachable)) break;
    pause_.expires_at(std::min(step.deadline, now() + between_tries));
    const auto [error] = co_await pause_.async_wait(asio::as_tuple(use_task));
    static_cast<void>(error);
  }
  co_return run.machine.on_refused(RefusalReason::hold_timeout, context_->config->id + ": no member fits the read preference", now());
}

Task<OperationStep> Session::select_primary(Run& run, Select step) {
  const auto since = now();
  waiter_ = context_->upstream.next_waiter();
  const auto ask = step.ask_first ? Context::AskFirst::yes : Context::AskFirst::no;
  auto found = Context::Found(take_primary(step));
  if (!std::get<Lease>(found)) found = co_await context_->primary({waiter_, &gone_, run.machine.room()}, login_, ask, step.deadline);
  waiter_ = 0;
  const auto held = std::chrono::duration<double>(now() - since).count();
  if (step.ask_first || held > 0.001) context_->counters.hold_seconds.observe(held);
  if (auto* refused = std::get_if<Refusal>(&found)) co_return run.machine.on_refused(refused->reason, refused->message, now());
  if (auto* refused = std::get_if<LoginRefused>(&found)) {
    spdlog::warn("{}: no connection for {}: {}", context_->config->id, login_->name(), refused->error);
    run.login_refused = login_ != context_->settings->own;
    co_return run.machine.on_refused(RefusalReason::cancelled, refused->error, now());
  }
  run.lease = std::move(std::get<Lease>(found));
  if (step.ask_first) context_->upstream.session_restored(0);
  co_return connected(run);
}

/// The login of the proxy's own is no client's business.
bool Session::is_refused_login(const NoConnection& found) const { return found.login_refused && login_ != context_->settings->own; }

Task<OperationStep> Session::use(Run& run, Use step) {
  run.lease.release();
  auto found = co_await connect_to(step.member, run.machine.room(), step.deadline);
  if (auto* none = std::get_if<NoConnection>(&found)) {
    run.login_refused = is_refused_login(*none);
    if (none->all_in_use) co_return run.machine.on_refused(RefusalReason::hold_timeout, none->error, now());
    co_return run.machine.on_unreachable(none->error, now());
  }
  run.lease = std::move(std::get<Lease>(found));
  co_return connected(run);
}

/// From here on the ticks look whether the member hangs. Ends with `backend_` none.
void Session::begin_exchange(Lease& lease, bool may_be_cut) {
  backend_ = &*lease;
  member_ = lease.member();
  may_be_cut_ = may_be_cut;
  quiet_since_ = now();
}

Task<OperationStep> Session::send(Run& run, Send step) {
  const bool edited = step.body || (run.request.flags & own_flags) != 0;
  if (edited) {
    const std::string_view body = step.body ? std::string_view(*step.body) : run.request.body;
    const auto sequences = step.statements ? std::vector{*step.statements} : run.request.sequences;
    run.rewritten = wire::make_message(run.request.header.request_id, 0, run.request.flags & ~own_flags, body, sequences);
  }
  const auto bytes = edited ? std::string_view(run.rewritten) : run.frame;
  begin_exchange(run.lease, run.machine.may_be_cut());
  context_->places.note_sent(run.command, run.user, member_, quiet_since_);
  if (load_balanced_) leftovers_.note_sent(run.command, run.request.body, member_);
  const auto done = co_await backend_->exchange(bytes);
  backend_ = nullptr;
  auto& counters = context_->counters;
  if (done.written) counters.bytes_to_server.add(bytes.size());
  const auto lost = [&](const std::string& reason) {
    run.lease.release();
    if (!gone_) context_->upstream.backend_lost(member_, reason);
    const auto written = done.written ? OperationMachine::Written::yes : OperationMachine::Written::no;
    return run.machine.on_lost(written, reason, now());
  };
  if (!done.error.empty()) co_return lost(done.error);
  counters.bytes_from_server.add(done.frame.size());
  wire::Message message;
  const auto error = wire::parse_message(done.frame, message);
  if (error != wire::FrameError::none || (message.flags & wire::flag::more_to_come) != 0) {
    run.lease->close();
    co_return lost(error == wire::FrameError::none ? "the server streams what nobody asked for" : wire::sentence_of(error));
  }
  const auto answered = run.lease->last_answer;
  const auto reply = wire::read_reply(message.body);
  run.fate = Numbering::fate_of(reply);
  const auto present = context_->upstream.ready_endpoint(Wish::primary);
  const bool replaced = context_->members.has_replaced(member_, run.command, reply, present);
  const bool logged_out = run.lease->is_logged_out(reply);
  if (logged_out) spdlog::info("{}: {} has been logged out by a server", context_->config->id, login_->name());
  using Replier = OperationMachine::Replier;
  auto next = run.machine.on_reply(reply, logged_out ? Replier::logged_out : replaced ? Replier::replaced : Replier::current, answered);
  if (std::holds_alternative<Forward>(next)) {
    context_->places.note_reply(run.command, reply, member_, answered);
    if (load_balanced_) leftovers_.note_reply(run.command, reply, member_);
  } else if (!std::holds_alternative<Send>(next) && !logged_out) {
    context_->upstream.backend_lost(member_, "a command was refused or interrupted");
  }
  co_return next;
}

}  // namespace holdfast::proxy::mongo

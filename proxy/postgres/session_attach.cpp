// How a session comes to a backend, and what it brings there. How it loses one is session_loss.cpp.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "protocol/postgres/read_proof.hpp"
#include "protocol/postgres/session_judge.hpp"
#include "proxy/postgres/session.hpp"
#include "proxy/spawn.hpp"

namespace holdfast::proxy::postgres {

namespace {

constexpr auto snapshot_pause = std::chrono::seconds(1);

SteadyTime now() { return std::chrono::steady_clock::now(); }

Wish wish_of(config::TargetSessionAttrs attributes) {
  switch (attributes) {
    case config::TargetSessionAttrs::any: return Wish::any;
    case config::TargetSessionAttrs::read_write: return Wish::read_write;
    case config::TargetSessionAttrs::read_only: return Wish::read_only;
    case config::TargetSessionAttrs::primary: return Wish::primary;
    case config::TargetSessionAttrs::standby: return Wish::standby;
    case config::TargetSessionAttrs::prefer_standby: return Wish::prefer_standby;
  }
  return Wish::any;
}

/// What the server said of itself while it logged the session in contradicts the wish (PostgreSQL 14 and later say it).
bool unfit(Wish wish, const Parameters& parameters) {
  const auto is_on = [&](std::string_view name) { return value_of(parameters, name) == "on"; };
  const auto known = parameters.contains("in_hot_standby");
  if (!known) return false;
  switch (wish) {
    case Wish::primary: return is_on("in_hot_standby");
    case Wish::read_write: return is_on("in_hot_standby") || is_on("default_transaction_read_only");
    case Wish::standby: return !is_on("in_hot_standby");
    case Wish::read_only: return !is_on("in_hot_standby") && !is_on("default_transaction_read_only");
    default: return false;
  }
}

}  // namespace

void Session::start_attach() {
  if (attaching_ || closing_) return;
  attaching_ = true;
  spawn_named(executor_, attach(), "attach", shared_from_this());
}

/// Waits at the gate under a name by which the wait can be cancelled.
Task<std::variant<Grant, Refusal>> Session::enter_gate(Wish wish, SteadyTime deadline) {
  waiter_ = context_->upstream.next_waiter();
  auto answer = co_await context_->upstream.enter(waiter_, wish, deadline);
  waiter_ = 0;
  co_return answer;
}

void Session::start_pause() {
  if (pausing_ || closing_) return;
  pausing_ = true;
  spawn_named(executor_, wait_for_resume(), "pause", shared_from_this());
}

/// The gate knows when a pause ends; its leave to log in is given back.
Task<> Session::wait_for_resume() {
  auto answer = co_await enter_gate(Wish::any, now() + context_->config->reconnect.hold_timeout);
  if (auto* grant = std::get_if<Grant>(&answer)) context_->upstream.login_finished(std::move(*grant), {});
  pausing_ = false;
  wake_client();
}

Task<> Session::attach() {
  const auto deadline = now() + context_->config->reconnect.hold_timeout;
  const bool replaying = machine_.replaying();
  const auto attached = co_await attach_once(SessionMachine::Attachment::again, deadline);
  attaching_ = false;
  if (closing_) co_return;
  if (replaying && attached == Attached::refused) note_not_replayed();
  if (attached == Attached::closed) {
    if (end_reason_.empty()) end_reason_ = "not_restorable";
    co_await flush_and_close();
  } else if (!machine_.client_output.empty()) {
    co_await write_client({});  // what was to be run again has been refused
  }
  wake_client();
}

Task<Session::Attached> Session::attach_once(SessionMachine::Attachment attachment, SteadyTime deadline) {
  const auto& config = *context_->config;
  const auto wish = wish_of(config.postgres.target_session_attrs);
  for (;;) {
    const bool paused = context_->upstream.paused();
    auto answer = co_await enter_gate(wish, deadline);
    // A pause does not count: the gate knows that for one wait, this for all of them.
    if (paused) deadline = now() + config.reconnect.hold_timeout;
    if (auto* refusal = std::get_if<Refusal>(&answer)) {
      // A statement that came while this waited has a hold_timeout of its own.
      const auto held_until = held_since_.value_or(now() - config.reconnect.hold_timeout) + config.reconnect.hold_timeout;
      if (refusal->reason == Refusal::Reason::hold_timeout && held_until > now()) {
        deadline = held_until;
        continue;
      }
      // A listener that says nothing has nothing that could be refused.
      const bool asked = attachment == SessionMachine::Attachment::first || held_since_ || machine_.replaying();
      if (asked && refusal->reason != Refusal::Reason::cancelled) machine_.refuse("57P03", std::move(refusal->message));
      co_return Attached::refused;
    }
    auto& grant = std::get<Grant>(answer);
    const auto address = grant.address;
    const auto endpoint = grant.endpoint;
    const auto identity = grant.identity;
    const auto started = now();
    auto result = co_await log_in_server(address, server_in_, started + config.reconnect.connection_timeout);
    if (result.backend && unfit(wish, result.backend->parameters)) {
      result.backend.reset();
      result.outcome.failure = Failure::unfit;
      result.outcome.error = address.to_string() + " has not the role that target_session_attrs asks for";
    }
    if (!result.backend) server_in_.consume(server_in_.data().size());
    if (result.password == LoginResult::Password::wanted && config.auth == config::AuthMode::passthrough &&
        attachment == SessionMachine::Attachment::first && credentials_.password.empty()) {
      // A server that asks is a server that lives. Its question is not kept waiting: the client may take its time.
      context_->upstream.login_finished(std::move(grant), {});
      if (!co_await ask_password()) co_return Attached::closed;
      continue;
    }
    context_->upstream.login_finished(std::move(grant), result.outcome);
    if (closing_) co_return Attached::closed;
    if (result.outcome.failure == Failure::rejected) {
      // The server's own words, at once and never again: a wrong password stays wrong.
      result.error_message.empty() ? machine_.terminate(result.outcome.code, result.outcome.error)
                                   : machine_.end_with(result.error_message);
      end_reason_ = "authentication";
      co_return Attached::closed;
    }
    if (!result.backend) {
      if (now() < deadline) continue;
      machine_.refuse("57P03", config.id + ": no upstream within hold_timeout (" + result.outcome.error + ")");
      co_return Attached::refused;
    }
    keep_credentials(result);
    context_->counters.upstream_login_seconds.observe(std::chrono::duration<double>(now() - started).count());
    if (attachment == SessionMachine::Attachment::again) {
      const bool same_as_seen = identity.empty() || identity_.empty() || identity == identity_;
      if (!co_await is_same_cluster(*result.backend, same_as_seen)) {
        machine_.terminate("57P01", "terminating connection: " + address.to_string() + " belongs to another cluster");
        co_return Attached::closed;
      }
      const auto limit = now() + config.reconnect.connection_timeout;
      const auto outcome = co_await ask_outcome(*result.backend, deadline);
      auto restored = outcome == OutcomeAnswer::lost ? Restored::lost : co_await restore_session(*result.backend, limit);
      if (restored == Restored::yes && !co_await tell_outcome(*result.backend, outcome, limit)) restored = Restored::lost;
      if (restored == Restored::yes && !co_await judge_reads(*result.backend, limit)) restored = Restored::lost;
      if (closing_) {  // end() knew nothing of this backend
        part_from(*result.backend);
        co_return Attached::closed;
      }
      if (machine_.state() == SessionState::closed) co_return Attached::closed;
      switch (restored) {
        case Restored::yes: break;
        case Restored::given_up: co_return Attached::closed;
        case Restored::lost:
          server_in_.consume(server_in_.data().size());
          if (now() < deadline) continue;
          machine_.refuse("57P03", config.id + ": the server was lost again while the session was restored");
          co_return Attached::refused;
      }
      // What was to be run again was given up meanwhile: nothing of a lost transaction needs a backend.
      if (machine_.state() == SessionState::lost_transaction) {
        server_in_.consume(server_in_.data().size());
        co_return Attached::refused;
      }
    } else {
      identity_ = identity;
      if (!co_await has_ledger(*result.backend)) co_return Attached::closed;
    }
    backend_ = std::move(result.backend);
    backend_endpoint_ = endpoint;
    attached_at_ = quiet_since_ = now();
    reads_at_tick_ = server_reads_;
    hung_ = false;
    replay_since_ = machine_.replaying() ? std::optional(now()) : std::nullopt;
    const bool fits = machine_.on_attached(backend_->process_id, backend_->parameters, attachment);
    if (!fits) co_return Attached::closed;
    if (attachment == SessionMachine::Attachment::again) {
      ++reconnections_;
      context_->counters.sessions_restored.add(1);
      context_->upstream.session_restored(replay_since_ ? 1 : 0);
      count_statistics();
      if (replay_since_ && !machine_.replaying()) on_replayed();  // nothing of it had to be compared
      if (!machine_.client_output.empty() && !co_await write_client({})) co_return Attached::closed;
      spdlog::debug("{}: session {} restored on {}", config.id, id_, address.to_string());
      spawn_named(executor_, server_pump(), "server pump", shared_from_this());
      if (!machine_.server_output.empty() && !write_server_now({})) co_await write_server({}, Sender::holdfast);
    }
    co_return Attached::yes;
  }
}

LoginRequest Session::login_request(config::HostPort address) const {
  const auto& config = *context_->config;
  LoginRequest request;
  request.address = std::move(address);
  request.uri = &config.postgres;
  request.tls = context_->server_tls;
  request.version = version_;
  request.parameters = parameters_;
  request.credentials = &credentials_;
  request.keep_alive_interval = config.reconnect.keep_alive_interval;
  request.deadline = now() + config.reconnect.connection_timeout;
  return request;
}

Task<LoginResult> Session::log_in_server(config::HostPort address, ReadBuffer& buffer, SteadyTime deadline) {
  const auto keep_config = context_->config;  // a reload may replace it while the login is under way
  auto request = login_request(std::move(address));
  request.deadline = deadline;
  co_return co_await log_in(std::move(request), buffer);
}

/// The backend is one of the cluster that the session began on. What the standing connection saw may be a moment old:
/// the backend is asked itself, and `otherwise` holds where it will not say.
Task<bool> Session::is_same_cluster(Backend& backend, bool otherwise) {
  const auto known = identity_.substr(0, identity_.find('/'));
  if (known.empty()) co_return otherwise;
  const auto rows =
      co_await query(backend, "SELECT system_identifier::pg_catalog.text FROM pg_catalog.pg_control_system()", {},
                     server_in_, now() + context_->config->reconnect.connection_timeout);
  if (!rows || rows->empty() || rows->front().empty()) co_return otherwise;
  co_return rows->front().front() == known;
}

/// Brings the session's state to a new backend, or tells the client what cannot be brought.
Task<Session::Restored> Session::restore_session(Backend& backend, SteadyTime deadline) {
  const auto& state = machine_.session();
  if (!state.unconfirmed().empty()) {
    pg::SessionJudge judge(context_->config->read_only_functions);
    for (const auto& text : state.unconfirmed()) judge.add_text(text);
    bool unread = false;
    for (auto names = judge.next_names(); !names.empty(); names = judge.next_names()) {
      std::vector<std::string> parameters{pg::SessionJudge::array_literal(names)};
      const auto rows = co_await query(backend, std::string(pg::SessionJudge::catalog_query()), std::move(parameters),
                                       server_in_, deadline);
      if (!rows && !backend.stream->is_open()) co_return Restored::lost;
      if (!rows) {
        unread = true;
        break;
      }
      for (const auto& row : *rows) {
        if (row.size() != 5) co_return Restored::lost;
        const auto column = [&row](std::size_t index) { return row[index].value_or(std::string()); };
        judge.on_function({column(0), column(1), column(2).starts_with("t"), column(3), column(4)});
      }
    }
    auto verdict = judge.verdict();
    if (unread) verdict = {false, "unconfirmed_state", "what it called, for the catalog of the new server cannot be read,"};
    if (!verdict.restorable && !can_do_without({verdict.reason, verdict.what})) co_return Restored::given_up;
  }
  auto result = co_await restore(backend, state.restore_items(), server_in_, deadline);
  switch (result.kind) {
    case RestoreResult::Kind::done: co_return Restored::yes;
    case RestoreResult::Kind::lost: co_return Restored::lost;
    case RestoreResult::Kind::failed_item: break;
  }
  const pg::Pin refused{"refused_setting", result.item.name + " (the new server refused it: " + result.error + ")"};
  co_return can_do_without(refused) ? Restored::yes : Restored::given_up;
}

/// Reads that are to be run again: whether they are no more than that, by the new backend's catalog. False: it was lost.
/// A catalog that cannot be read bears nothing out.
Task<bool> Session::judge_reads(Backend& backend, SteadyTime deadline) {
  if (machine_.unproven_reads().empty()) co_return true;
  const auto rows = co_await query(backend, std::string(pg::read_proof_query()),
                                   pg::read_proof_parameters(machine_.unproven_reads(), context_->config->read_only_functions),
                                   server_in_, deadline);
  if (!rows && !backend.stream->is_open()) co_return false;
  const bool proven = rows && rows->empty();
  const auto what = !rows ? std::string("the catalog cannot be read") : proven ? std::string() : rows->front().at(0).value_or("");
  machine_.on_reads_judged(proven ? SessionMachine::Reads::proven : SessionMachine::Reads::not_proven);
  if (!proven) {
    spdlog::info("{}: session {}: a read is not run again: {} may do more", context_->config->id, id_, what);
    count_statistics();
  }
  co_return true;
}

/// What the new backend cannot have: whether the session goes on without it.
bool Session::can_do_without(const pg::Pin& lost) {
  if (machine_.cannot_restore(lost).then != LossResult::Then::close) return true;
  end_reason_ = lost.reason;
  return false;
}

void Session::on_tick(SteadyTime at) {
  if (closing_ || replication_) return;
  if (machine_.wants_backend()) return start_attach();
  if (!backend_) return;
  give_up_replay_after(at);
  if (machine_.snapshot_due() && at - last_snapshot_ >= snapshot_pause) {
    last_snapshot_ = at;
    spawn_named(executor_, take_snapshot(), "snapshot", shared_from_this());
  }
  tidy_ledger_at(at);
  if (server_reads_ != reads_at_tick_ || !machine_.awaits_backend()) {
    reads_at_tick_ = server_reads_;
    quiet_since_ = at;
    return;
  }
  if (!checking_hang_ && at - quiet_since_ >= context_->config->reconnect.hang_timeout) {
    checking_hang_ = true;
    spawn_named(executor_, check_hang(), "hang check", shared_from_this());
  }
}

Task<> Session::take_snapshot() {
  if (!machine_.snapshot_due() || server_write_.held()) co_return;
  machine_.begin_snapshot();
  if (!write_server_now({})) co_await write_server({}, Sender::holdfast);
}

}  // namespace holdfast::proxy::postgres

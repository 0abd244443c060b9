// How a session loses its backend: what that means is found out, the client is told, and a server that has fallen silent
// is told from one that is slow. What the client gets is the machine's to say.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "proxy/postgres/session.hpp"
#include "proxy/spawn.hpp"

namespace holdfast::proxy::postgres {

namespace {

constexpr auto witness_time = std::chrono::seconds(1);
/// A server that shuts down has told all its backends within this time.
constexpr auto shutdown_spread = std::chrono::milliseconds(100);
/// A terminated backend may have a transaction to undo first.
constexpr auto old_backend_time = std::chrono::seconds(5);
constexpr auto old_backend_pause = std::chrono::milliseconds(20);
constexpr int lost_logins_max = 20;
/// A server's clock may have been set meanwhile, by this much.
constexpr auto clock_slack = std::chrono::seconds(1);

SteadyTime now() { return std::chrono::steady_clock::now(); }

}  // namespace

/// The backend is gone: finds out what that means, tells the client, and lets it go on.
Task<> Session::on_server_lost(std::string reason) {
  machine_.on_backend_closed(reason);
  backend_->stream->close();
  // A backend that gave another result was left by us.
  if (!machine_.replay_differed()) context_->upstream.backend_lost(backend_endpoint_, reason);
  auto old_backend = OldBackend::gone;
  if (machine_.may_live_on()) old_backend = co_await end_old_backend();
  auto witness = Witness::gone;
  if (machine_.needs_witness() && co_await server_goes_on()) witness = Witness::alive;
  {
    // A write of the client's pump may still have to end, and to take back what it never sent.
    const auto guard = co_await server_write_.take();
    if (closing_) co_return;
    const auto result = machine_.resolve_loss(witness, old_backend);
    note_not_replayed();
    spdlog::debug("{}: session {} lost its backend ({}): {}", context_->config->id, id_, machine_.loss().message,
                  to_string(machine_.state()));
    backend_.reset();
    server_in_.consume(server_in_.data().size());
    count_statistics();
    if (!machine_.client_output.empty() && !co_await write_client({})) co_return end("client");
    if (result.then == LossResult::Then::close) {
      end_reason_ = result.reason;
      co_await flush_and_close();
      co_return;
    }
    if (result.then == LossResult::Then::attach_now) start_attach();
  }
  wake_client();
}

/// The server ended this backend and serves others. One that shuts down ends all of them, though not in the same moment:
/// it is asked twice.
Task<bool> Session::server_goes_on() {
  if (!co_await context_->upstream.alive(now() + witness_time)) co_return false;
  SteadyTimer pause(executor_, shutdown_spread);
  co_await pause.async_wait(asio::as_tuple(use_task));
  co_return co_await context_->upstream.alive(now() + witness_time);
}

/// The host answers, and nobody listens there. Says nothing to a server that does.
Task<bool> Session::is_refused(config::HostPort address) {
  const auto knocked =
      co_await connect(std::move(address), context_->config->reconnect.keep_alive_interval, now() + witness_time);
  co_return knocked.refused;
}

/// Before the client hears that its work is lost, the backend that did it is made sure to be gone: behind a cut network
/// it keeps its locks, and a statement of it may still commit. Where nobody listens any more the server has ended, and
/// its backends with it; where it cannot be reached the client is told no later than after hold_timeout.
Task<OldBackend> Session::end_old_backend() {
  const auto& config = *context_->config;
  const auto deadline = now() + config.reconnect.hold_timeout;
  const auto address = backend_->address;
  // The process id may have been given out again: then it has not lived as long as ours, which is told anew each time. And
  // where another server has this address by now, it may be another's, who has lived for longer.
  const auto who = [pid = std::to_string(backend_->process_id), since = attached_at_, asked = backend_->asked_at - clock_slack] {
    const auto ago = [](SteadyTime at) { return std::to_string(std::chrono::duration<double>(now() - at).count()); };
    return std::vector<std::string>{pid, ago(since), ago(asked)};
  };
  static const std::string process = " FROM pg_catalog.pg_stat_activity WHERE pid OPERATOR(pg_catalog.=) $1::pg_catalog.int4 AND ";
  static const std::string same = "(backend_start OPERATOR(pg_catalog.<) (pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-)"
                                  " pg_catalog.make_interval(secs => $2::pg_catalog.float8))"
                                  " AND backend_start OPERATOR(pg_catalog.>) (pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-)"
                                  " pg_catalog.make_interval(secs => $3::pg_catalog.float8)))";
  // The login may begin with a role that does not see the user's own backends (ALTER ROLE … SET role): RESET would bring it back.
  static const std::string as_the_user = "SET ROLE NONE";
  // A commit that waits for its standby would become visible without it if its backend were ended.
  static const std::string terminate =
      "SELECT pg_catalog.pg_terminate_backend(pid)" + process + same + " AND wait_event IS DISTINCT FROM 'SyncRep'";
  // Of this user's backend that it may not look at nobody knows that it is not the old one. Others' have only the number of that.
  static const std::string look = "SELECT backend_start" + process + "(" + same +
                                  " OR (backend_start IS NULL AND usename OPERATOR(pg_catalog.=) session_user))";
  int lost_logins = 0;
  while (now() < deadline && !closing_) {
    if (co_await is_refused(address) || closing_) co_return OldBackend::gone;
    auto answer = co_await enter_gate(Wish::any, std::min(deadline, now() + witness_time));
    if (closing_) co_return OldBackend::may_live_on;
    if (const auto* refusal = std::get_if<Refusal>(&answer)) {
      if (refusal->reason != Refusal::Reason::hold_timeout) co_return OldBackend::may_live_on;
      continue;  // it may have come to its end meanwhile
    }
    auto& grant = std::get<Grant>(answer);
    const bool same_server = grant.address == address;
    ReadBuffer buffer(context_->pool);
    // Where the upstream has moved on, the old server is most likely dead: it is not waited for as long.
    const auto limit = now() + (same_server ? config.reconnect.connection_timeout : witness_time);
    auto login = co_await log_in_server(address, buffer, limit);
    const auto failure = login.outcome.failure;
    context_->upstream.login_finished(std::move(grant), same_server ? std::move(login.outcome) : Outcome{});
    if (login.backend) {
      auto gone = co_await query(*login.backend, as_the_user, {}, buffer, now() + witness_time);
      if (gone) gone = co_await query(*login.backend, terminate, who(), buffer, now() + witness_time);
      const auto end = now() + old_backend_time;
      SteadyTimer pause(executor_);
      while (gone && now() < end && !closing_) {
        gone = co_await query(*login.backend, look, who(), buffer, now() + witness_time);
        if (gone && gone->empty()) co_return OldBackend::gone;
        if (gone && (gone->front().empty() || !gone->front().front())) break;  // hidden
        pause.expires_after(old_backend_pause);
        co_await pause.async_wait(asio::as_tuple(use_task));
      }
      if (!gone && ++lost_logins <= lost_logins_max) {
        // The server was lost under this login too: as one that crashes ends all its backends, one after the other.
        pause.expires_after(old_backend_pause * lost_logins);
        co_await pause.async_wait(asio::as_tuple(use_task));
        continue;
      }
      spdlog::warn("{}: process {} of {} could not be ended", config.id, who().front(), address.to_string());
      co_return OldBackend::may_live_on;
    } else if (!same_server || failure == Failure::rejected) {
      co_return OldBackend::may_live_on;
    }
  }
  co_return OldBackend::may_live_on;
}

/// What was lost has been run again, and the client goes on.
void Session::on_replayed() {
  const auto took = std::chrono::duration_cast<milliseconds>(now() - replay_since_.value_or(now()));
  replay_since_.reset();
  spdlog::info("{}: session {} runs on where its server was lost, {}ms after it had a new one", context_->config->id, id_,
               took.count());
  count_statistics();
  wake_client();
}

void Session::note_not_replayed() {
  replay_since_.reset();
  if (machine_.replaying() || machine_.replay_obstacle().empty()) return;
  spdlog::info("{}: session {}: what it had under way is not run again: {}", context_->config->id, id_,
               machine_.replay_obstacle());
}

/// A second run that takes longer than replay_time_limit is given up: its backend is left, the client told of its loss.
void Session::give_up_replay_after(SteadyTime at) {
  if (!replay_since_ || at - *replay_since_ < context_->config->replay_time_limit) return;
  replay_since_.reset();
  spdlog::info("{}: session {}: what was run again took longer than replay_time_limit", context_->config->id, id_);
  ErrorCode ignored;
  backend_->stream->socket().cancel(ignored);
}

/// Any answer to a new login shows life; only silence does not. One that could not be made for want of a descriptor shows nothing.
Task<> Session::knock_at_server(std::shared_ptr<Knock> knock, SteadyTime limit) {
  if (backend_) {
    ReadBuffer buffer(context_->pool);
    const auto result = co_await log_in_server(backend_->address, buffer, limit);
    knock->alive = result.backend.has_value() || !result.error_message.empty() || result.ours ||
                   result.password == LoginResult::Password::wanted;
  }
  knock->done = true;
  changed_.notify();
}

/// A statement has waited for hang_timeout without a byte: is its server slow, or gone? Only when the standing
/// connection and a fresh login both stay silent for as long again is it lost.
Task<> Session::check_hang() {
  // What is read while a session is restored does not count: another backend may be as quiet as this one was.
  const auto reads = server_reads_;
  const auto backend = reconnections_;
  const auto limit = now() + context_->config->reconnect.hang_timeout;
  // Both are asked at the same time, and both have until then.
  const auto knock = std::make_shared<Knock>();
  spawn_named(executor_, knock_at_server(knock, limit), "hang check login", shared_from_this());
  const bool checked = co_await context_->upstream.alive(limit);
  while (!checked && !knock->done && !closing_) co_await changed_.wait();
  checking_hang_ = false;
  quiet_since_ = now();
  if (checked || knock->alive || closing_ || !backend_ || server_reads_ != reads || reconnections_ != backend) co_return;
  spdlog::warn("{}: {} does not answer, session {} leaves it", context_->config->id, backend_->address.to_string(), id_);
  context_->upstream.server_silent(backend_endpoint_, "the server does not answer");
  hung_ = true;
  ErrorCode ignored;
  backend_->stream->socket().cancel(ignored);
}

}  // namespace holdfast::proxy::postgres

// The two pumps of a session, and its end.
#include "proxy/postgres/session.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <boost/uuid/random_generator.hpp>
#include <boost/uuid/uuid_io.hpp>
#include <exception>
#include <utility>

#include "proxy/spawn.hpp"

namespace holdfast::proxy::postgres {

namespace {

SessionOptions machine_options(const config::Connection& config) {
  SessionOptions options;
  options.connection = config.id;
  options.message_buffer = config.message_buffer;
  options.unknown_outcome_code = config.unknown_outcome_code;
  options.replay_limit = config.replay ? config.replay_limit : 0;
  if (config.exactly_once == config::ExactlyOnce::on) options.ledger_session = to_string(boost::uuids::random_generator()());
  options.lost_state = config.lost_state == config::LostState::error ? SessionOptions::LostState::error
                                                                     : SessionOptions::LostState::disconnect;
  return options;
}

const char* name_of(Session::Activity activity) {
  switch (activity) {
    case Session::Activity::active: return "active";
    case Session::Activity::idle: return "idle";
    case Session::Activity::waiting: return "waiting";
  }
  return "";
}

constexpr auto linger_time = std::chrono::milliseconds(500);

}  // namespace

Session::Session(Socket client, Origin origin, std::shared_ptr<SessionContext> context, std::uint64_t id)
    : id_(id), origin_(origin), context_(std::move(context)), executor_(client.get_executor()),
      client_(std::move(client)), client_in_(context_->pool), server_in_(context_->pool),
      machine_(machine_options(*context_->config)), client_write_(executor_), server_write_(executor_),
      changed_(executor_) {}

Session::~Session() = default;

Task<> Session::run() {
  context_->opened(shared_from_this());
  bool client_left = false;
  if (co_await log_in_client()) {
    if (replication_) {
      co_await raw_relay();
    } else {
      co_await client_pump();
      client_left = end_reason_ == "client";
    }
  }
  end(end_reason_.empty() ? "client" : end_reason_);
  if (!client_left && client_.is_open()) {
    // Closing with bytes unread would reset the connection, and the client would not see the last error.
    client_.shutdown_send();
    Deadline limit(executor_, std::chrono::steady_clock::now() + linger_time, [this] { client_.close(); });
    for (;;) {
      char ignored[1024];
      const auto [error, size] = co_await client_.async_read_some(asio::buffer(ignored), asio::as_tuple(use_task));
      static_cast<void>(size);
      if (error) break;
    }
  }
  client_.close();
  context_->closed(*this);
}

// ---- client to server ----

Task<> Session::client_pump() {
  for (;;) {
    switch (co_await drain_client()) {
      case Drained::read: break;
      case Drained::hold:
        if (!co_await wait_for_backend()) co_return;
        continue;
      case Drained::close: co_return;
    }
    const auto [error, size] = co_await client_.read(client_in_, client_want_);
    if (closing_) co_return;
    if (error) {
      end_reason_ = "client";
      co_return;
    }
    context_->counters.bytes_from_client.add(size);
  }
}

Task<Session::Drained> Session::drain_client() {
  for (;;) {
    if (context_->upstream.paused() && !client_in_.empty() && machine_.at_rest()) co_return Drained::hold;
    const auto step = machine_.on_client_bytes(client_in_.data());
    if (step.forward > 0 || !machine_.server_output.empty()) {
      const auto forward = client_in_.data().substr(0, step.forward);
      if (!write_server_now(forward) && !co_await write_server(forward, Sender::client)) {
        // Whether the bytes count as sent was settled by write_server; the loss itself is the server pump's to tell.
        if (unsent_) continue;
      }
    }
    client_in_.consume(step.consume);
    client_want_ = step.want;
    if (!machine_.client_output.empty() && !co_await write_client({})) co_return Drained::close;
    if (step.next != Step::Next::again) {
      count_statistics();
      note_statement();
    }
    switch (step.next) {
      case Step::Next::again: continue;
      case Step::Next::read:
        note_served();
        co_return Drained::read;
      case Step::Next::hold: co_return Drained::hold;
      case Step::Next::close:
      case Step::Next::lost:
        if (end_reason_.empty()) end_reason_ = machine_.terminated() ? "protocol_error" : "client";
        co_return Drained::close;
    }
  }
}

/// The whole write at once, without a coroutine, where the socket takes it.
bool Session::write_server_now(std::string_view forward) {
  if (!backend_ || backend_->stream->is_tls() || server_write_.held()) return false;
  const auto total = forward.size() + machine_.server_output.size();
  ErrorCode error;
  const auto done = backend_->stream->write_now({forward, machine_.server_output}, error);
  if (error || done < total) {
    server_written_ = done;
    return false;
  }
  machine_.server_output.clear();
  context_->counters.bytes_to_server.add(total);
  return true;
}

/// Writes what write_server_now left. On failure `unsent_` tells whether not a byte of the client's had gone out; the
/// machine then has it back. What is ours counts as sent, and is lost with the rest.
Task<bool> Session::write_server(std::string_view forward, Sender sender) {
  unsent_ = false;
  const auto guard = co_await server_write_.take();
  const auto done = std::exchange(server_written_, 0);
  std::string rest(forward);
  rest += std::exchange(machine_.server_output, {});
  std::size_t size = 0;
  ErrorCode error = asio::error::not_connected;
  if (backend_) {
    std::tie(size, error) = co_await backend_->stream->write(std::string_view(rest).substr(done));
  }
  context_->counters.bytes_to_server.add(done + size);
  if (!error) co_return true;
  const bool unresolved = machine_.state() == SessionState::attached || machine_.state() == SessionState::losing;
  if (sender == Sender::client && done + size == 0 && unresolved) {
    unsent_ = true;
    machine_.unwind_client_bytes();
  }
  // The server pump reads what the server may have said before, and then the end.
  if (machine_.state() == SessionState::attached) machine_.on_backend_closed(error.message());
  co_return false;
}

/// Waits for a backend while the client may go on sending, or leave. False when it left.
Task<bool> Session::wait_for_backend() {
  if (!held_since_ && !machine_.waits_for_answers()) held_since_ = std::chrono::steady_clock::now();
  if (machine_.state() == SessionState::detached) start_attach();
  if (machine_.at_rest()) start_pause();
  if (std::exchange(woken_, false)) co_return !closing_;
  waiting_for_backend_ = true;
  if (client_in_.data().size() >= BufferPool::block_size) {
    co_await changed_.wait();
  } else {
    const auto space = client_in_.lingering_space(0);
    const auto [error, size] = co_await client_.async_read_some(
        asio::buffer(space.data(), space.size()),
        asio::bind_cancellation_slot(wake_.slot(), asio::as_tuple(use_task)));
    if (!error) {
      client_in_.commit(size);
      context_->counters.bytes_from_client.add(size);
    } else if (error != asio::error::operation_aborted || closing_) {
      end_reason_ = closing_ ? end_reason_ : "client";
      waiting_for_backend_ = false;
      co_return false;
    }
  }
  waiting_for_backend_ = false;
  woken_ = false;
  co_return !closing_;
}

void Session::wake_client() {
  woken_ = true;
  if (!waiting_for_backend_) return;
  wake_.emit(asio::cancellation_type::all);
  changed_.notify();
}

/// What was held has been passed on or answered.
void Session::note_served() {
  if (!held_since_ || waiting_for_backend_) return;
  const auto held = std::chrono::steady_clock::now() - *std::exchange(held_since_, std::nullopt);
  context_->counters.hold_seconds.observe(std::chrono::duration<double>(held).count());
}

// ---- server to client ----

Task<> Session::server_pump() {
  std::string reason;
  for (;;) {
    if (!co_await drain_server()) break;
    const auto [error, size] = co_await backend_->stream->read(server_in_, server_want_);
    if (closing_) co_return;
    if (error) {
      reason = hung_ ? "the server did not answer" : error == asio::error::eof ? "the server closed the connection"
                                                                               : error.message();
      break;
    }
    ++server_reads_;
    context_->counters.bytes_from_server.add(size);
  }
  if (!closing_) co_await on_server_lost(std::move(reason));
}

/// False when the backend is lost or the client is gone.
Task<bool> Session::drain_server() {
  for (;;) {
    const auto bytes = server_in_.mutable_data();
    const bool replaying = machine_.replaying();
    const auto step = machine_.on_server_bytes(bytes);
    if (replaying && !machine_.replaying()) on_replayed();
    if (machine_.take_answers()) wake_client();
    if (step.forward > 0 || !machine_.client_output.empty()) {
      const std::string_view forward(bytes.data(), step.forward);
      if (!write_client_now(forward) && !co_await write_client(forward)) {
        end_reason_ = "client";
        closing_ = true;
        client_.close();
        wake_client();
        co_return false;
      }
    }
    server_in_.consume(step.consume);
    server_want_ = step.want;
    if (step.next != Step::Next::again) note_statement();
    if (!machine_.server_output.empty() && !write_server_now({})) co_await write_server({}, Sender::holdfast);
    switch (step.next) {
      case Step::Next::again: continue;
      case Step::Next::lost: co_return false;
      default: co_return true;
    }
  }
}

bool Session::write_client_now(std::string_view forward) {
  if (client_.is_tls() || client_write_.held()) return false;
  const auto total = forward.size() + machine_.client_output.size();
  ErrorCode error;
  const auto done = client_.write_now({forward, machine_.client_output}, error);
  if (error || done < total) {
    client_written_ = done;
    return false;
  }
  machine_.client_output.clear();
  context_->counters.bytes_to_client.add(total);
  return true;
}

Task<bool> Session::write_client(std::string_view forward) {
  const auto done = std::exchange(client_written_, 0);
  std::string rest(forward);
  rest += std::exchange(machine_.client_output, {});
  const auto guard = co_await client_write_.take();
  const auto [size, error] = co_await client_.write(std::string_view(rest).substr(done));
  context_->counters.bytes_to_client.add(done + size);
  co_return !error;
}

// ---- the end ----

void Session::end(std::string reason) {
  if (ended_) return;
  ended_ = closing_ = true;
  count_statistics();
  if (waiter_ != 0) context_->upstream.cancel_wait(waiter_);
  if (!virtual_secret_key_.empty()) context_->cancels.remove(virtual_process_id_, virtual_secret_key_);
  if (backend_) {
    server_write_.held() ? backend_->stream->close() : part_from(*backend_);
  }
  context_->counters.disconnected(reason);
  spdlog::debug("{}: session {} ended: {}", context_->config->id, id_, reason);
  changed_.notify();
}

void Session::stop(std::string_view code, std::string_view message) {
  if (closing_) return;
  // What a replication client got may end in the middle of a message, which a FATAL would complete.
  if (!replication_ || !backend_) machine_.terminate(code, message);
  end_reason_ = "drained";
  spawn_named(executor_, flush_and_close(), "session end", shared_from_this());
}

/// Writes what is left for the client, then makes the client pump end.
Task<> Session::flush_and_close() {
  if (!machine_.client_output.empty()) co_await write_client({});
  closing_ = true;
  // The pump is in a read, or waits for a backend: both end now, and run() does the rest.
  client_.shutdown_send();
  ErrorCode ignored;
  client_.socket().cancel(ignored);
  wake_client();
}

void Session::cancel() {
  if (closing_) return;
  if (machine_.cancellable() && backend_) {
    const auto deadline = std::chrono::steady_clock::now() + context_->config->reconnect.connection_timeout;
    spawn_named(executor_, send_cancel(backend_->address, backend_->process_id, backend_->secret_key, deadline),
                "cancel request", shared_from_this());
  } else if (pausing_ || ((waiting_for_backend_ || machine_.runs_again()) && machine_.state() == SessionState::detached)) {
    machine_.refuse("57014", "canceling statement due to user request");
    // Ends attach(), which writes what there is to say.
    if (waiter_ != 0) context_->upstream.cancel_wait(waiter_);
    wake_client();
  } else if (machine_.state() == SessionState::losing && waiter_ != 0) {
    // Nobody wants to wait until the old backend is known to be gone: what is known now is told.
    context_->upstream.cancel_wait(waiter_);
  }
}

/// A replication connection: forwarded as it comes, never taken to another backend.
Task<> Session::raw_relay() {
  spawn_named(executor_, raw_server_pump(), "replication relay", shared_from_this());
  std::array<char, 16 * 1024> bytes;
  for (;;) {
    const auto pending = client_in_.data();
    if (!pending.empty()) {
      const auto [size, error] = co_await backend_->stream->write(pending);
      client_in_.consume(size);
      if (error) co_return;
    }
    const auto [error, size] = co_await client_.async_read_some(asio::buffer(bytes), asio::as_tuple(use_task));
    if (error) co_return;
    const auto [written, failed] = co_await backend_->stream->write({bytes.data(), size});
    static_cast<void>(written);
    if (failed) co_return;
  }
}

Task<> Session::raw_server_pump() {
  std::array<char, 16 * 1024> bytes;
  const auto pending = server_in_.data();
  if (!pending.empty()) co_await client_.write(pending);
  for (;;) {
    const auto [error, size] =
        co_await backend_->stream->async_read_some(asio::buffer(bytes), asio::as_tuple(use_task));
    if (error) break;
    const auto [written, failed] = co_await client_.write({bytes.data(), size});
    static_cast<void>(written);
    if (failed) break;
  }
  client_.close();
}

// ---- what the admin API and the metrics see ----

Session::Activity Session::activity() const {
  if (waiting_for_backend_ || (attaching_ && !backend_)) return Activity::waiting;
  return machine_.busy() || machine_.in_transaction() ? Activity::active : Activity::idle;
}

SessionEntry Session::info() const {
  SessionEntry info;
  info.connection = context_->config->id;
  info.id = id_;
  info.client = client_address_;
  info.user = user_;
  info.database = database_;
  info.application = application_;
  // The words of the counts: whether there is a backend is told by its name.
  info.state = name_of(activity());
  if (backend_) info.backend = backend_->address.to_string();
  info.reconnections = reconnections_;
  if (statement_since_) {
    const auto ago = std::chrono::steady_clock::now() - *statement_since_;
    info.statement_start = std::chrono::system_clock::now() - std::chrono::duration_cast<std::chrono::system_clock::duration>(ago);
  }
  const auto pin = machine_.session().pin();
  const auto lost = machine_.not_replayable();
  info.protection = pin ? "not_restorable" : lost.empty() ? "replayable" : "restorable";
  info.reason = pin ? pin->reason : std::string(lost);
  return info;
}

/// A statement begins when the client waits for something, and ends when it waits for nothing.
void Session::note_statement() {
  if (machine_.busy() == statement_since_.has_value()) return;
  statement_since_ = statement_since_ ? std::nullopt : std::optional(std::chrono::steady_clock::now());
}

void Session::count_statistics() {
  const auto& now = machine_.statistics();
  auto& counters = context_->counters;
  counters.statements.add(now.statements - counted_.statements);
  counters.notification_gaps.add(now.notification_gaps - counted_.notification_gaps);
  counters.commit_outcomes_committed.add(now.outcomes_committed - counted_.outcomes_committed);
  counters.commit_outcomes_not_committed.add(now.outcomes_not_committed - counted_.outcomes_not_committed);
  counters.commit_outcomes_unknown.add(now.outcomes_unknown - counted_.outcomes_unknown);
  counters.statements_replayed_succeeded.add(now.statements_replayed - counted_.statements_replayed);
  counters.statements_replayed_failed.add(now.statements_not_replayed - counted_.statements_not_replayed);
  counters.transactions_replayed_succeeded.add(now.transactions_replayed - counted_.transactions_replayed);
  counters.transactions_replayed_failed.add(now.transactions_not_replayed - counted_.transactions_not_replayed);
  counted_ = now;
}

}  // namespace holdfast::proxy::postgres

// Reading, writing, ending.
#include "proxy/mongo/session.hpp"

#include <spdlog/spdlog.h>
#include <poll.h>
#include <sys/socket.h>

#include <tuple>
#include <utility>

#include "proxy/spawn.hpp"
#include "proxy/waiting.hpp"

namespace holdfast::proxy::mongo {

namespace {

constexpr auto handshake_time = std::chrono::seconds(10);
/// A login that was begun at a member and not gone on with is dropped: drivers take a moment, and it has a connection that others could use.
constexpr auto relay_time = std::chrono::seconds(5);

std::string describe(Socket& socket) {
  ErrorCode error;
  const auto endpoint = socket.remote_endpoint(error);
  if (error) return "?";
  const auto family = endpoint.protocol().family();
  if (family != AF_INET && family != AF_INET6) return "unix";
  asio::ip::tcp::endpoint address;
  std::memcpy(address.data(), endpoint.data(), endpoint.size());
  return config::HostPort{address.address().to_string(), address.port()}.to_string();
}

}  // namespace

Session::Session(Socket client, std::shared_ptr<Context> context, std::uint64_t id)
    : id_(id), context_(std::move(context)), client_(std::move(client)), in_(context_->buffers), pause_(context_->home) {
  address_ = describe(client_.socket());
  login_ = login_of_a_stranger();
}

Session::~Session() = default;

Task<> Session::run() {
  const auto self = shared_from_this();
  tune(client_.socket(), context_->config->reconnect.keep_alive_interval);
  context_->opened(self);
  if (context_->client_tls && !co_await start_tls()) gone_ = true;
  while (!gone_) {
    const auto message = wire::arrival_of(in_.data());
    if (message.error != wire::FrameError::none) {
      spdlog::info("{}: {} from {}", context_->config->id, wire::sentence_of(message.error), address_);
      end_reason_ = "protocol_error";
      break;
    }
    if (!message.whole) {
      const auto [error, size] = co_await client_.read(in_, message.wanted);
      if (error) break;
      continue;
    }
    context_->counters.bytes_from_client.add(message.wanted);
    busy_ = true;
    const bool goes_on = co_await serve(in_.data().substr(0, message.wanted));
    busy_ = false;
    in_.consume(message.wanted);
    if (!goes_on) break;
  }
  end(end_reason_);
}

Task<bool> Session::start_tls() {
  Deadline limit(context_->home, std::chrono::steady_clock::now() + handshake_time, [this] { client_.close(); });
  const auto tls = context_->client_tls;  // a copy: a reload may replace it meanwhile
  const auto error = co_await client_.start_tls_server(*tls);
  if (!error) co_return true;
  spdlog::info("{}: TLS with {} failed: {}", context_->config->id, address_, error.message());
  end_reason_ = "tls";
  co_return false;
}

Task<bool> Session::serve(std::string_view frame) {
  wire::Message request;
  const auto error = wire::parse_request(frame, request);
  if (wire::closes(error)) {
    spdlog::info("{}: {} from {}", context_->config->id, wire::sentence_of(error), address_);
    end_reason_ = "protocol_error";
    co_return false;
  }
  if (error != wire::FrameError::none) {
    co_return co_await refuse(request, wire::code_of(error), wire::sentence_of(error));
  }
  is_waited_for_ = (request.flags & wire::flag::more_to_come) == 0;
  const auto command = wire::read_command(request);
  using Kind = wire::CommandKind;
  if (command.cut && (command.kind == Kind::hello || command.kind == Kind::authentication)) {
    co_return co_await refuse(request, wire::code::bad_value, "holdfast: the command has too many fields");
  }
  if (command.kind == Kind::hello) co_return co_await serve_hello(request);
  if (command.kind == Kind::authentication) co_return co_await serve_authentication(request, command);
  if (request.header.opcode == wire::opcode::query) {
    co_return co_await refuse(request, wire::code::unsupported_op_query,
                              "Unsupported OP_QUERY command: " + std::string(command.name) +
                                  ". The client driver may require an upgrade.");
  }
  switch (command.kind) {
    case Kind::own: {
      wire::Writer writer;
      auto body = writer.text("you", address_).real("ok", 1).finish();
      co_return co_await answer(request, std::move(body));
    }
    case Kind::refused:
      co_return co_await refuse(request, wire::code::command_not_found, "no such command: '" + std::string(command.name) + "'");
    default: break;
  }
  if (!login_) co_return co_await serve_stranger(request, command);
  context_->counters.statements.add(1);
  if (command.everywhere) co_return co_await kill_sessions(request, frame, command);
  const bool may_be_numbered = command.kind == Kind::write && context_->config->upgrade_writes;
  if (may_be_numbered) co_return co_await perform_numbered(request, frame, command);
  Trial plain;
  co_return co_await perform(request, frame, command, plain);
}

Task<bool> Session::answer(const wire::Message& request, std::string body) {
  if ((request.flags & wire::flag::more_to_come) != 0) co_return true;
  const auto bytes = wire::make_answer(++next_message_, request, body);
  co_return co_await write(bytes);
}

Task<bool> Session::refuse(const wire::Message& request, int code, std::string message) {
  wire::Error error;
  error.code = code;
  error.message = std::move(message);
  auto body = wire::error_body(error);
  co_return co_await answer(request, std::move(body));
}

Task<bool> Session::write(std::string_view bytes) {
  if (gone_) co_return false;
  ErrorCode error;
  auto size = client_.write_now({bytes, {}}, error);
  if (!error && size < bytes.size()) std::tie(size, error) = co_await client_.write(bytes, size);
  context_->counters.bytes_to_client.add(size);
  co_return !error;
}

void Session::end(std::string_view reason) {
  if (std::exchange(ended_, true)) return;
  gone_ = true;
  client_.close();
  drop_relay();
  own_.clear();
  if (auto left = leftovers_.take(); login_ && !left.empty()) spawn_named(context_->home, context_->end(std::move(left), login_), "leftovers", context_);
  context_->counters.disconnected(reason);
  context_->closed(*this);
}

/// Ends what is done for the client, as far as that is safe: a write goes on to its end.
void Session::abandon() {
  gone_ = true;
  pause_.cancel();
  context_->cancel_wait(waiter_);
  if (backend_ != nullptr && may_be_cut_) backend_->close();
}

void Session::stop() {
  end_reason_ = "drained";
  abandon();
  client_.close();
}

void Session::on_face() { pause_.cancel(); }

void Session::on_tick(SteadyTime now) {
  if (!busy_ && relay_ && relay_->since + relay_time < now) drop_relay();
  if (!busy_) return;
  // Whoever does not wait for an answer may leave: a server does what it was sent before the end of the connection.
  if (!gone_ && is_waited_for_ && client_has_left()) return abandon();
  // Also a write that goes on for nobody: it has a connection that others could use.
  if (backend_ == nullptr || checking_hang_ || now < quiet_since_ + context_->config->reconnect.hang_timeout) return;
  checking_hang_ = true;
  spawn_named(context_->home, check_hang(member_), "hang check", shared_from_this());
}

bool Session::client_has_left() {
  if (client_.is_tls()) {
    // An end is announced before it comes, by bytes like others.
    pollfd seen{client_.socket().native_handle(), POLLRDHUP, 0};
    return ::poll(&seen, 1, 0) > 0;
  }
  char byte = 0;
  const auto found = ::recv(client_.socket().native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return found == 0 || (found < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
}

Task<> Session::check_hang(std::size_t member) {
  const auto self = shared_from_this();
  co_await context_->check_member(member);  // where it is silent, the exchange has ended
  quiet_since_ = std::chrono::steady_clock::now();
  checking_hang_ = false;
}

Session::Activity Session::activity() const {
  if (waiter_ != 0) return Activity::waiting;
  return busy_ && backend_ != nullptr ? Activity::active : Activity::idle;
}

SessionEntry Session::info() const {
  SessionEntry entry;
  entry.connection = context_->config->id;
  entry.id = id_;
  entry.client = address_;
  entry.application = application_;
  if (login_) entry.user = login_->user;
  switch (activity()) {
    case Activity::active: entry.state = "active"; break;
    case Activity::idle: entry.state = "idle"; break;
    case Activity::waiting: entry.state = "waiting"; break;
  }
  if (backend_ != nullptr) entry.backend = context_->members.hosts()[member_].to_string();
  entry.reconnections = reconnections_;
  entry.protection = "restorable";
  return entry;
}

}  // namespace holdfast::proxy::mongo

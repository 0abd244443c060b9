// The beginning of a session: encryption, startup packet, the first backend, the greeting.
// Who the client is, session_authentication.cpp finds out.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "crypto/random.hpp"
#include "proxy/postgres/session.hpp"
#include "proxy/spawn.hpp"

namespace holdfast::proxy::postgres {

namespace back = pg::backend;

namespace {

/// First byte of direct TLS; no startup packet that is short enough begins with it.
constexpr char tls_record_handshake = 0x16;
constexpr std::size_t long_key_size = 32;
constexpr std::size_t short_key_size = 4;

std::string peer_address(Socket& socket) {
  ErrorCode error;
  const auto remote = socket.remote_endpoint(error);
  if (error) return {};
  if (remote.protocol().family() != AF_INET && remote.protocol().family() != AF_INET6) return "unix";
  asio::ip::tcp::endpoint peer;
  if (remote.size() > peer.capacity()) return {};
  std::memcpy(peer.data(), remote.data(), remote.size());
  return peer.address().to_string() + ":" + std::to_string(peer.port());
}

}  // namespace

Task<bool> Session::log_in_client() {
  const auto& config = *context_->config;
  tune(client_.socket(), config.reconnect.keep_alive_interval);
  client_address_ = peer_address(client_.socket());
  std::optional<pg::Startup> startup;
  {
    Deadline limit(executor_, client_deadline(), [this] { client_.close(); });
    startup = co_await read_startup();
  }
  if (!startup) co_return false;
  if (startup->kind == pg::Startup::Kind::cancel) {
    context_->cancels.cancel(startup->process_id, startup->secret_key);
    end_reason_ = "cancel_request";
    co_return false;
  }
  if (context_->clients > config.max_clients) {
    co_await refuse_login("53300", "sorry, too many clients already");
    co_return false;
  }
  if (!co_await accept_startup(*startup) || !co_await prove_client()) co_return false;
  const auto deadline = std::chrono::steady_clock::now() + config.reconnect.hold_timeout;
  attaching_ = true;
  const auto attached = co_await attach_once(SessionMachine::Attachment::first, deadline);
  attaching_ = false;
  if (attached == Attached::closed || closing_) {
    if (!machine_.client_output.empty()) co_await write_client({});
    co_return false;
  }
  if (attached == Attached::refused) {
    co_await refuse_login("57P03", machine_.refusal_message());
    co_return false;
  }
  co_return co_await greet();
}

/// Answers requests for encryption until the startup packet comes. None when the client left or was refused.
Task<std::optional<pg::Startup>> Session::read_startup() {
  for (;;) {
    if (context_->client_tls && !client_.is_tls() && client_in_.data().starts_with(tls_record_handshake)) {
      if (!co_await start_tls(client_in_.data())) co_return std::nullopt;
      client_in_.consume(client_in_.data().size());
    }
    pg::Startup startup;
    std::size_t used = 0;
    const auto result = pg::parse_startup(client_in_.data(), startup, used);
    switch (result) {
      case pg::StartupResult::need_more: {
        const auto space = client_in_.lingering_space(0);
        const auto [error, size] =
            co_await client_.async_read_some(asio::buffer(space.data(), space.size()), asio::as_tuple(use_task));
        if (error) {
          end_reason_ = "client";
          co_return std::nullopt;
        }
        client_in_.commit(size);
        continue;
      }
      case pg::StartupResult::bad_length:
      case pg::StartupResult::bad_packet:
        co_await refuse_login("08P01", "invalid startup packet");
        co_return std::nullopt;
      case pg::StartupResult::unsupported_version:
        co_await refuse_login("0A000", "unsupported frontend protocol: holdfast speaks 3.0 to 3.2");
        co_return std::nullopt;
      case pg::StartupResult::complete: break;
    }
    client_in_.consume(used);
    if (startup.kind == pg::Startup::Kind::startup || startup.kind == pg::Startup::Kind::cancel) co_return startup;
    if (!co_await answer_encryption(startup.kind)) co_return std::nullopt;
  }
}

Task<bool> Session::answer_encryption(pg::Startup::Kind kind) {
  const bool offer = kind == pg::Startup::Kind::ssl_request && context_->client_tls && !client_.is_tls();
  // Bytes that were sent in clear behind the request would be taken for encrypted ones (CVE-2021-23222).
  if (offer && !client_in_.empty()) {
    co_await refuse_login("08P01", "received unencrypted data after the request for encryption");
    co_return false;
  }
  const auto [size, error] = co_await client_.write(offer ? "S" : "N");
  static_cast<void>(size);
  if (error) co_return false;
  if (!offer) co_return true;
  co_return co_await start_tls({});
}

Task<bool> Session::start_tls(std::string_view received) {
  if (const auto failed = co_await client_.start_tls_server(*context_->client_tls, received)) {
    spdlog::info("{}: TLS with {} failed: {}", context_->config->id, client_address_, failed.message());
    end_reason_ = "tls";
    co_return false;
  }
  co_return true;
}

/// The client is told that it is logged in only once a backend is there for it.
Task<bool> Session::greet() {
  std::string greeting;
  pg::write_authentication(greeting, pg::authentication::ok);
  for (const auto& [name, value] : machine_.parameters()) pg::write_parameter_status(greeting, name, value);
  // The key is ours and stays; the process id is the first backend's and stays too.
  virtual_process_id_ = machine_.virtual_process_id();
  virtual_secret_key_.resize(version_ >= pg::protocol_3_2 ? long_key_size : short_key_size);
  crypto::random_bytes(std::span(virtual_secret_key_.data(), virtual_secret_key_.size()));
  pg::write_backend_key_data(greeting, virtual_process_id_, virtual_secret_key_);
  pg::write_ready_for_query(greeting, 'I');
  context_->cancels.add(virtual_process_id_, virtual_secret_key_,
                        [weak = weak_from_this(), executor = executor_] {
                          asio::post(executor, [weak] {
                            if (const auto session = weak.lock()) session->cancel();
                          });
                        });
  machine_.client_output = std::move(greeting);
  if (!co_await write_client({})) {
    end_reason_ = "client";
    co_return false;
  }
  if (!replication_) spawn_named(executor_, server_pump(), "server pump", shared_from_this());
  co_return true;
}

Task<> Session::refuse_login(std::string code, std::string message) {
  machine_.terminate(code, message);
  end_reason_ = "login";
  co_await write_client({});
}

}  // namespace holdfast::proxy::postgres

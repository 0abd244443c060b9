// One authenticated connection to a PostgreSQL server: logging in, restoring a session, sending a cancel request.
// Straight sequences over the codec; what they mean is for the session to decide.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "config/config.hpp"
#include "protocol/postgres/session_state.hpp"
#include "protocol/read_buffer.hpp"
#include "proxy/postgres/credentials.hpp"
#include "proxy/postgres/session_machine.hpp"
#include "proxy/stream.hpp"
#include "proxy/tls.hpp"
#include "proxy/upstream_types.hpp"

namespace holdfast::proxy::postgres {

struct LoginRequest {
  config::HostPort address;
  const config::PostgresUri* uri = nullptr;  // TLS settings
  TlsContext tls;                            // none: sslmode=disable
  std::int32_t version = 0;                  // protocol version to ask for
  std::vector<std::pair<std::string, std::string>> parameters;  // of the startup packet
  const Credentials* credentials = nullptr;
  milliseconds keep_alive_interval{};
  SteadyTime deadline{};
};

struct Backend {
  std::unique_ptr<Stream> stream;
  config::HostPort address;
  std::int32_t process_id = 0;
  std::string secret_key;
  SteadyTime asked_at{};  // its process did not exist before
  Parameters parameters;  // ParameterStatus up to now
};

struct LoginResult {
  std::optional<Backend> backend;  // none on failure
  Outcome outcome;
  std::string error_message;       // the server's own ErrorResponse (a whole message), where there is one
  Credentials derived;             // after a login: what the next one can be made with instead of the password
  bool ours = false;               // the server was not asked: this host has no descriptor, memory or port left
  enum class Password { not_asked, asked, wanted } password = Password::not_asked;  // wanted: asked, and none known
};

/// Connects and logs in. Bytes behind ReadyForQuery stay in `buffer`.
Task<LoginResult> log_in(LoginRequest request, ReadBuffer& buffer);

struct RestoreResult {
  enum class Kind { done, failed_item, lost } kind = Kind::done;
  pg::RestoreItem item;  // failed_item: the one that the server refused
  std::string error;     // its message, or how the connection was lost
};
/// Runs every item in a segment of its own, all in one round trip; what is refused once more in the end, where a role was set
/// among them. An item whose failure shows at its use (a prepared statement) does not count as failed. One that fails by the
/// moment counts as a loss: all of it is to be begun anew.
Task<RestoreResult> restore(Backend& backend, std::vector<pg::RestoreItem> items, ReadBuffer& buffer,
                            SteadyTime deadline);

/// Rows of one query of ours on a backend that nobody else uses yet; none on any error, and the stream is closed where that
/// was the end of the connection.
using Rows = std::vector<std::vector<std::optional<std::string>>>;
Task<std::optional<Rows>> query(Backend& backend, std::string text, std::vector<std::string> parameters,
                                ReadBuffer& buffer, SteadyTime deadline);

/// Closes the connection of a backend that nobody writes to; it is told, where that takes no waiting.
void part_from(Backend& backend);

/// Asks the server at `address` to cancel what `process_id` does, and waits until it has taken note.
Task<> send_cancel(config::HostPort address, std::int32_t process_id, std::string secret_key, SteadyTime deadline);

}  // namespace holdfast::proxy::postgres

// The client's connection over libpq's asynchronous calls, so that a wait without end can still be given up at the end.
#include "workload/postgres_session.hpp"

#include <libpq-fe.h>
#include <poll.h>

#include <array>
#include <utility>

namespace holdfast::workload {

namespace {

// Longer than the proxy's own hold timeout of 60 s: its error is what the client is to see.
constexpr milliseconds login_limit{75'000};
constexpr milliseconds look_interval{100};  // how often a waiting client looks whether the workload was abandoned

std::string first_line(const char* text) {
  std::string line = text == nullptr ? "" : text;
  line.resize(std::min(line.find('\n'), line.size()));
  return line;
}

std::vector<const char*> pointers_to(const std::vector<std::string>& strings) {
  std::vector<const char*> pointers;
  for (const auto& string : strings) {
    pointers.push_back(string.c_str());
  }
  return pointers;
}

void count_warning(void* record, const PGresult* notice) {
  const char* severity = PQresultErrorField(notice, PG_DIAG_SEVERITY_NONLOCALIZED);
  if (severity != nullptr && std::string_view(severity) == "WARNING") {
    static_cast<ClientRecord*>(record)->warning();
  }
}

std::vector<std::vector<std::string>> rows_of(const PGresult* result) {
  std::vector<std::vector<std::string>> rows;
  for (int row = 0; row < PQntuples(result); ++row) {
    auto& columns = rows.emplace_back();
    for (int column = 0; column < PQnfields(result); ++column) {
      columns.emplace_back(PQgetvalue(result, row, column));
    }
  }
  return rows;
}

/// Takes one result into the reply; the first error stays.
void take(Reply& reply, PGresult* result) {
  const auto status = PQresultStatus(result);
  if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK) {
    reply.tag = PQcmdStatus(result);
    reply.rows = rows_of(result);
    return;
  }
  if (reply.kind == ReplyKind::ok) {
    reply.kind = ReplyKind::error;
    const char* code = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    reply.code = code == nullptr ? "" : code;
    reply.message = first_line(PQresultErrorMessage(result));
  }
}

PGconn* start_connecting(const PostgresTarget& target) {
  const std::string port = std::to_string(target.port);
  const std::array<const char*, 10> names{"host", "port", "user", "password", "dbname", "sslmode", "gssencmode",
                                          "application_name", "client_encoding", nullptr};
  const std::array<const char*, 10> values{"127.0.0.1", port.c_str(), target.user.c_str(), target.password.c_str(),
                                           target.database.c_str(), "disable", "disable", "holdfast demo", "UTF8", nullptr};
  return PQconnectStartParams(names.data(), values.data(), 0);
}

}  // namespace

void LibpqDelete::operator()(pg_conn* connection) const { PQfinish(connection); }
void LibpqDelete::operator()(pg_result* result) const { PQclear(result); }

std::string_view Reply::value() const {
  return rows.empty() || rows.front().empty() ? std::string_view() : std::string_view(rows.front().front());
}

PostgresSession::PostgresSession(PostgresTarget target, ClientRecord& record, Control& control,
                                 std::function<void(PostgresSession&)> on_open)
    : target_(std::move(target)), record_(record), control_(control), on_open_(std::move(on_open)) {}

bool PostgresSession::ensure_open() {
  while (connection_ == nullptr && !control_.stopping()) {
    record_.begin("login");
    if (!open()) {
      const auto reason = connection_ == nullptr ? "out of memory" : first_line(PQerrorMessage(connection_.get()));
      connection_.reset();
      if (control_.abandoned()) {
        record_.unanswered();
        return false;
      }
      record_.login_refused(reason);
      control_.rest(milliseconds(100));
      continue;
    }
    record_.connected();
    on_open_(*this);
  }
  return connection_ != nullptr;
}

bool PostgresSession::open() {
  connection_.reset(start_connecting(target_));
  const auto deadline = Clock::now() + login_limit;
  // Before the first PQconnectPoll the socket is to be waited for as if that had said "writing" (libpq documentation).
  auto wish = PGRES_POLLING_WRITING;
  while (connection_ != nullptr && PQstatus(connection_.get()) != CONNECTION_BAD) {
    if (!wait_for(wish == PGRES_POLLING_READING ? POLLIN : POLLOUT, deadline)) {
      return false;
    }
    wish = PQconnectPoll(connection_.get());
    if (wish == PGRES_POLLING_OK) {
      PQsetNoticeReceiver(connection_.get(), count_warning, &record_);
      return true;
    }
    if (wish == PGRES_POLLING_FAILED) {
      return false;
    }
  }
  return false;
}

bool PostgresSession::wait_for(short events, Clock::time_point deadline) {
  while (!control_.abandoned() && Clock::now() < deadline) {
    pollfd socket{.fd = PQsocket(connection_.get()), .events = events, .revents = 0};
    if (poll(&socket, 1, static_cast<int>(look_interval.count())) > 0) {
      return true;
    }
  }
  return false;
}

Reply PostgresSession::query(std::string_view activity, const std::string& sql, const std::vector<std::string>& parameters) {
  return exchange(activity, [&](PGconn* connection) {
    if (parameters.empty()) {
      return PQsendQuery(connection, sql.c_str());
    }
    const auto values = pointers_to(parameters);
    return PQsendQueryParams(connection, sql.c_str(), static_cast<int>(values.size()), nullptr, values.data(), nullptr, nullptr, 0);
  });
}

Reply PostgresSession::prepare(const std::string& name, const std::string& sql) {
  return exchange("prepare " + name,
                  [&](PGconn* connection) { return PQsendPrepare(connection, name.c_str(), sql.c_str(), 0, nullptr); });
}

Reply PostgresSession::execute(std::string_view activity, const std::string& name, const std::vector<std::string>& parameters) {
  return exchange(activity, [&](PGconn* connection) {
    const auto values = pointers_to(parameters);
    return PQsendQueryPrepared(connection, name.c_str(), static_cast<int>(values.size()), values.data(), nullptr, nullptr, 0);
  });
}

Reply PostgresSession::exchange(std::string_view activity, const std::function<int(pg_conn*)>& send) {
  if (connection_ == nullptr) {
    return {.kind = ReplyKind::disconnected};  // Lost by an earlier statement, which counted it.
  }
  if (control_.abandoned()) {
    return {.kind = ReplyKind::abandoned};  // Not begun, so not unanswered.
  }
  record_.begin(activity);
  Reply reply;
  if (send(connection_.get()) != 1) {
    reply = {.kind = ReplyKind::error, .message = first_line(PQerrorMessage(connection_.get()))};
  } else {
    reply = collect();
  }
  if (reply.kind == ReplyKind::abandoned) {
    record_.unanswered();
    connection_.reset();
  } else if (PQstatus(connection_.get()) == CONNECTION_BAD) {
    reply.kind = ReplyKind::disconnected;
    lose(reply.code.empty() ? reply.message : reply.code + " " + reply.message);
  } else if (reply.ok()) {
    record_.answered();
  } else {
    record_.error(reply.code, reply.message);
  }
  return reply;
}

Reply PostgresSession::collect() {
  Reply reply;
  for (;;) {
    // A statement has no deadline of its own: how long it was held is what the workload measures.
    while (PQisBusy(connection_.get()) == 1 && PQsocket(connection_.get()) >= 0) {
      if (!wait_for(POLLIN, Clock::time_point::max())) {
        return {.kind = ReplyKind::abandoned};
      }
      if (PQconsumeInput(connection_.get()) != 1) {
        break;  // PQgetResult tells of the loss.
      }
    }
    const std::unique_ptr<PGresult, LibpqDelete> result(PQgetResult(connection_.get()));
    if (result == nullptr) {
      return reply;
    }
    take(reply, result.get());
  }
}

std::vector<std::string> PostgresSession::notifications(milliseconds limit) {
  std::vector<std::string> payloads;
  if (connection_ == nullptr) {
    return payloads;
  }
  pollfd socket{.fd = PQsocket(connection_.get()), .events = POLLIN, .revents = 0};
  // Nothing may have come by socket while a notification that came with an earlier answer still waits in libpq.
  if (poll(&socket, 1, static_cast<int>(limit.count())) > 0 && PQconsumeInput(connection_.get()) != 1) {
    lose(first_line(PQerrorMessage(connection_.get())));
    return payloads;
  }
  while (PGnotify* notification = PQnotifies(connection_.get())) {
    payloads.emplace_back(notification->extra);
    PQfreemem(notification);
  }
  return payloads;
}

bool PostgresSession::in_transaction() const {
  return connection_ != nullptr && PQtransactionStatus(connection_.get()) != PQTRANS_IDLE;
}

void PostgresSession::lose(const std::string& reason) {
  record_.disconnected(reason);
  connection_.reset();
}

}  // namespace holdfast::workload

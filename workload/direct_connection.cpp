// The plain connection for set-up and checks.
#include <libpq-fe.h>
#include <poll.h>

#include "workload/postgres_session.hpp"

namespace holdfast::workload {

namespace {

using Result = std::unique_ptr<PGresult, LibpqDelete>;

void require_ok(PGconn* connection, const Result& result) {
  const auto status = PQresultStatus(result.get());
  if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
    throw std::runtime_error(std::string("the check's own statement failed: ") + PQerrorMessage(connection));
  }
}

}  // namespace

DirectConnection::DirectConnection(const PostgresTarget& target) {
  const std::string port = std::to_string(target.port);
  const char* const names[] = {"host", "port", "user", "password", "dbname", "sslmode", "gssencmode", "connect_timeout", nullptr};
  const char* const values[] = {"127.0.0.1", port.c_str(), target.user.c_str(), target.password.c_str(), target.database.c_str(),
                                "disable", "disable", "10", nullptr};
  connection_.reset(PQconnectdbParams(names, values, 0));
  if (PQstatus(connection_.get()) != CONNECTION_OK) {
    throw std::runtime_error(std::string("cannot log in to the server: ") + PQerrorMessage(connection_.get()));
  }
}

void DirectConnection::run(const std::string& sql) {
  require_ok(connection_.get(), Result(PQexec(connection_.get(), sql.c_str())));
}

std::vector<std::vector<std::string>> DirectConnection::rows(const std::string& sql, const std::vector<std::string>& parameters) {
  std::vector<const char*> values;
  for (const auto& parameter : parameters) {
    values.push_back(parameter.c_str());
  }
  const Result result(PQexecParams(connection_.get(), sql.c_str(), static_cast<int>(values.size()), nullptr, values.data(),
                                   nullptr, nullptr, 0));
  require_ok(connection_.get(), result);
  std::vector<std::vector<std::string>> rows;
  for (int row = 0; row < PQntuples(result.get()); ++row) {
    auto& columns = rows.emplace_back();
    for (int column = 0; column < PQnfields(result.get()); ++column) {
      columns.emplace_back(PQgetvalue(result.get(), row, column));
    }
  }
  return rows;
}

void DirectConnection::create_login(const std::string& name, const std::string& password) {
  const std::unique_ptr<char, void (*)(void*)> verifier(
      PQencryptPasswordConn(connection_.get(), password.c_str(), name.c_str(), "scram-sha-256"), PQfreemem);
  if (verifier == nullptr) {
    throw std::runtime_error(PQerrorMessage(connection_.get()));
  }
  const std::unique_ptr<char, void (*)(void*)> role(PQescapeIdentifier(connection_.get(), name.data(), name.size()), PQfreemem);
  // A SCRAM verifier is base64, digits, ':' and '$': it needs no escape in a literal.
  run(std::string("CREATE ROLE ") + role.get() + " LOGIN PASSWORD '" + verifier.get() + "'");
}

bool DirectConnection::wait_until_lost(milliseconds limit) {
  return wait_until(limit, [&] {
    pollfd socket{.fd = PQsocket(connection_.get()), .events = POLLIN, .revents = 0};
    return poll(&socket, 1, 0) > 0 && (PQconsumeInput(connection_.get()) != 1 || PQstatus(connection_.get()) == CONNECTION_BAD);
  });
}

}  // namespace holdfast::workload

// The one reader of the connection: whatever arrives, answers and last words, passes through it.
#include "health/postgres_session.hpp"

#include <fcntl.h>
#include <libpq-fe.h>
#include <spdlog/spdlog.h>

#include <string_view>
#include <utility>

namespace holdfast::health {
namespace {

struct ClearResult {
  void operator()(PGresult* result) const { PQclear(result); }
};
using ResultPointer = std::unique_ptr<PGresult, ClearResult>;

std::string field(const PGresult* result, int code) {
  const char* value = PQresultErrorField(result, code);
  return value == nullptr ? std::string() : std::string(value);
}

std::string first_line(std::string_view text) { return std::string(text.substr(0, text.find('\n'))); }

}  // namespace

PostgresSession::PostgresSession(const Executor& executor, ConnectionPointer connection)
    : executor_(executor), connection_(std::move(connection)), watched_(executor),
      answered_(executor, proxy::SteadyTime::max()) {
  const int copy = ::fcntl(PQsocket(connection_.get()), F_DUPFD_CLOEXEC, 0);
  if (copy < 0) throw boost::system::system_error(errno, boost::system::system_category(), "cannot watch a connection");
  watched_.assign(copy);
}

void PostgresSession::start() {
  PQsetNoticeReceiver(connection_.get(), &PostgresSession::receive_notice, this);
  asio::co_spawn(executor_, read(), [self = shared_from_this()](const std::exception_ptr& thrown) {
    if (!thrown) return;
    try {
      std::rethrow_exception(thrown);
    } catch (const std::exception& error) {
      spdlog::error("standing connection: {}", error.what());
    }
    self->lose();
  });
}

Task<> PostgresSession::read() {
  while (is_open()) {
    const auto [error] = co_await watched_.async_wait(asio::posix::descriptor_base::wait_read, asio::as_tuple(use_task));
    static_cast<void>(error);  // an error of the descriptor shows in what libpq reads
    if (!is_open()) co_return;
    const bool alive = PQconsumeInput(connection_.get()) == 1;
    take_results();
    if (!alive || PQstatus(connection_.get()) == CONNECTION_BAD) co_return lose();
  }
}

void PostgresSession::take_results() {
  // PQisBusy also hands out what the server says unasked, through the notice receiver.
  while (PQisBusy(connection_.get()) == 0 && open_question_) {
    const ResultPointer result(PQgetResult(connection_.get()));
    if (!result) {
      open_question_ = false;
      answered_.cancel();
      break;
    }
    if (PQresultStatus(result.get()) == PGRES_TUPLES_OK && PQntuples(result.get()) > 0) {
      answer_ = {Answer::Kind::row, {}, {}, {}};
      for (int column = 0; column < PQnfields(result.get()); ++column) {
        answer_.row.emplace_back(PQgetvalue(result.get(), 0, column));
      }
    } else {
      remember_last_words(result.get());
      answer_ = {Answer::Kind::refused, {}, field(result.get(), PG_DIAG_SQLSTATE),
                 first_line(PQresultErrorMessage(result.get()))};
      if (const auto message = field(result.get(), PG_DIAG_MESSAGE_PRIMARY); !message.empty()) answer_.message = message;
    }
  }
  while (PGnotify* notification = PQnotifies(connection_.get())) PQfreemem(notification);
}

Task<Answer> PostgresSession::ask(Operation& operation, std::string question) {
  const auto self = shared_from_this();  // close() may come while this waits
  if (!is_open()) co_return answer_;
  if (!open_question_) {
    answer_ = {Answer::Kind::lost, {}, {}, "the server closed the connection"};
    if (PQsendQuery(connection_.get(), question.c_str()) != 1) {
      lose();
      co_return answer_;
    }
    open_question_ = true;
    // A question is far shorter than an empty send buffer, and only one is ever open, so nothing stays unsent.
    PQflush(connection_.get());
  }
  Operation::Wait wait(operation, [this] { answered_.cancel(); });
  while (is_open() && open_question_ && !operation.ended()) {
    const auto [woken] = co_await answered_.async_wait(asio::as_tuple(use_task));
    static_cast<void>(woken);  // always operation_aborted: that is how an answer arrives
  }
  if (is_open() && open_question_) co_return Answer{Answer::Kind::ended, {}, {}, operation.reason()};
  co_return answer_;
}

void PostgresSession::receive_notice(void* self, const pg_result* notice) {
  static_cast<PostgresSession*>(self)->remember_last_words(notice);
}

void PostgresSession::remember_last_words(const pg_result* result) {
  const auto severity = field(result, PG_DIAG_SEVERITY_NONLOCALIZED);
  const auto code = field(result, PG_DIAG_SQLSTATE);
  // An immediate shutdown announces itself by a WARNING of class 57P, everything else by a FATAL.
  if (severity != "FATAL" && severity != "PANIC" && !code.starts_with("57P")) return;
  last_words_ = field(result, PG_DIAG_MESSAGE_PRIMARY);
}

void PostgresSession::lose() {
  if (!is_open()) return;
  auto reason = !last_words_.empty() ? last_words_ : first_line(PQerrorMessage(connection_.get()));
  if (reason.empty()) reason = "the server closed the connection unexpectedly";
  const auto on_lost = std::move(on_lost_);
  close();
  answer_.kind = Answer::Kind::lost;
  answer_.message = reason;
  if (on_lost) on_lost(std::move(reason));
}

void PostgresSession::close() {
  if (!is_open()) return;
  on_lost_ = nullptr;
  open_question_ = false;
  answer_ = {Answer::Kind::lost, {}, {}, "closed"};
  boost::system::error_code ignored;
  watched_.close(ignored);
  connection_.reset();
  answered_.cancel();
}

}  // namespace holdfast::health

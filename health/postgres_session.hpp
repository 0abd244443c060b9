// A logged-in connection of libpq's: asks questions on it, and notices when the server ends it.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "health/operation.hpp"
#include "health/postgres_login.hpp"

struct pg_result;  // libpq's PGresult

namespace holdfast::health {

/// What became of a question.
struct Answer {
  enum class Kind {
    row,      // `row` has the values of the first one
    refused,  // by an error of the server's: `code`, `message`
    lost,     // the connection is gone: `code` may be empty
    ended,    // the operation ended first; the question stays open
  };
  Kind kind = Kind::lost;
  std::vector<std::string> row;  // NULL is empty
  std::string code, message;
};

/// On the health thread only. Its reader keeps it alive until it is closed or lost.
class PostgresSession : public std::enable_shared_from_this<PostgresSession> {
 public:
  using Lost = std::function<void(std::string reason)>;

  PostgresSession(const Executor& executor, ConnectionPointer connection);

  /// Begins to read.
  void start();
  /// From now on `on_lost` is told of a loss: once, with the server's words where it had any, and not after close().
  void watch(Lost on_lost) { on_lost_ = std::move(on_lost); }
  /// Sends `question` (one SELECT) and waits for its answer. While an earlier question is still open it is waited for
  /// instead, and its answer is the answer: all questions after the login are the same.
  Task<Answer> ask(Operation& operation, std::string question);
  void close();
  [[nodiscard]] bool is_open() const { return connection_ != nullptr; }

 private:
  static void receive_notice(void* self, const pg_result* notice);
  Task<> read();
  void take_results();
  void lose();
  void remember_last_words(const pg_result* result);

  const Executor executor_;
  ConnectionPointer connection_;
  asio::posix::basic_stream_descriptor<Executor> watched_;  // a copy of libpq's descriptor
  SteadyTimer answered_;  // cancelled when an answer has come or cannot come any more
  bool open_question_ = false;
  Answer answer_;
  std::string last_words_;
  Lost on_lost_;
};

}  // namespace holdfast::health

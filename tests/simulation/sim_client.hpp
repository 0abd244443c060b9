// A client with a random program, and what it may believe after each answer: which rows are there, which are not, what its
// settings are. Knows nothing of the proxy.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "tests/simulation/clock.hpp"
#include "tests/unit/proxy/session_script.hpp"

namespace holdfast::simulation {

/// What a client was told of a row that it asked for.
enum class Belief { never_ran, committed, unknown };

/// What a client knows of a prepared transaction.
enum class Prepared { gone, there, unknown };

/// All rows of a run.
struct Ledger {
  int last_row = 0;
  std::map<int, Belief> rows;  // those never mentioned were never sent
  std::map<std::string, Prepared> prepared;  // by global id
  std::set<std::string> may_be_prepared;     // once more than the client knows of
  std::map<int, std::string> reads;  // what the client was shown in the transaction that wrote a row
};

class SimClient {
 public:
  using Send = std::function<void(std::string)>;

  SimClient(Clock& clock, Ledger& ledger, int segments, Send send);

  void start() { think(); }
  void received(std::string_view bytes);
  /// The connection ended under the client.
  void disconnected();

  [[nodiscard]] bool done() const { return done_; }
  /// Something is owed since then.
  [[nodiscard]] std::optional<Time> waiting_since() const { return waiting_since_; }
  /// It did what only a snapshot can settle (SET in a transaction, UNLISTEN): a loss before that ends the session.
  [[nodiscard]] bool may_lose_session() const { return snapshot_needed_; }
  [[nodiscard]] const std::string& fatal() const { return fatal_; }
  /// What must be so on the backend that works for it; none when it cannot know.
  [[nodiscard]] std::optional<std::string> setting() const { return status_ == 'I' ? setting_ : std::nullopt; }
  [[nodiscard]] std::optional<bool> listens() const { return listens_; }
  [[nodiscard]] const std::string& history() const { return history_; }

 private:
  enum class Kind { insert, copy, select, count, failing, begin, commit, chain, rollback, save, lock, back, set, show, listen, unlisten,
                    prepare, commit_prepared, rollback_prepared };
  struct Operation {
    Kind kind{};
    std::vector<int> rows;
    std::string value;
  };
  struct Segment {
    std::vector<Operation> operations;
    bool simple = true;
    std::string bytes;
    std::vector<std::string> tags, values;  // CommandComplete, first column of a row for each
    std::string error;
    int errors_before = 0;
  };

  void think();
  void act();
  void send_bytes(const std::string& bytes);
  void send_copy_data();
  Segment make_segment(char status);
  Segment make_query(char status);
  Segment make_extended(char status);
  Operation operation(Kind kind);
  Kind pick_kind(char status);
  [[nodiscard]] std::string text_of(const Operation& operation) const;
  void on_message(const std::string& message);
  void on_segment(const Segment& segment, char status);
  void on_completed(const Operation& operation, const std::string& tag, const std::string& value);
  void on_error(const Segment& segment, std::size_t at, char status);
  void end_transaction(Belief belief);
  void go_back();
  [[nodiscard]] static bool is_two_phase(Kind kind) { return kind >= Kind::prepare; }
  [[nodiscard]] std::optional<Kind> pick_two_phase(char status);
  void on_two_phase_completed(Kind kind, const std::string& tag);
  void on_two_phase_error(Kind kind, const std::string& code);
  void end_prepared(Belief belief);
  void believe(int row, Belief belief);

  Clock& clock_;
  Ledger& ledger_;
  Send send_;
  int segments_left_;
  int errors_ = 0;
  std::deque<Segment> owed_;
  std::string in_, collected_value_;
  holdfast::proxy::postgres::test::ClientChecker checker_;
  char status_ = 'I';
  bool copying_ = false, done_ = false, snapshot_needed_ = false;
  std::vector<int> open_rows_;                      // of the open transaction
  std::string open_reads_;                          // what it was shown
  struct Savepoint {
    std::size_t rows = 0;
    std::optional<std::string> setting;
  };
  std::optional<Savepoint> savepoint_;
  std::optional<std::string> setting_ = "0", setting_now_ = "0";
  std::optional<bool> listens_ = false;
  const std::string global_id_;                     // of its prepared transactions
  const bool prefers_two_phase_;
  bool two_phase_sent_ = false;                     // and not answered, or nothing more is sent
  std::vector<int> prepared_rows_;
  std::string prepared_reads_;
  std::map<std::string, bool> prepared_;            // named statements: known to exist
  std::optional<Time> waiting_since_;
  std::string fatal_, history_;
};

}  // namespace holdfast::simulation

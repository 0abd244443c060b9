// A PostgreSQL server in miniature whose table outlives its processes: transactions, settings, channels, COPY, prepared
// statements, both protocols. Knows its few statements by how their texts begin. What is committed is durable.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::simulation {

/// What a crash leaves: how often each row is there.
struct ModelDatabase {
  std::map<int, int> rows;
  std::map<int, std::string> read_by;  // what the transaction that wrote a row had read, one value after the other
  std::int32_t last_process_id = 1000;
  unsigned locks = 0;  // asked for; every second one is another's
  // The ledger: its committed rows, which are fences or not, and the keys that transactions under way hold.
  std::map<std::string, bool> ledger;
  std::map<std::string, std::int32_t> recording;
  // Transaction ids. Those that nothing durable has are given out again after a crash.
  std::uint64_t last_transaction = 700, last_durable_transaction = 700;
  std::map<std::uint64_t, bool> ended;  // true: committed
  struct Prepared {
    std::uint64_t transaction = 0;
    std::vector<int> rows;
    std::string reads;
  };
  std::map<std::string, Prepared> prepared;  // by global id
  int timeline = 1;

  void crash() { last_transaction = last_durable_transaction; }
  void add(const std::vector<int>& written, const std::string& read);
  void end(std::uint64_t transaction, bool committed);
};

/// One server process. Reads messages one at a time, so that it can die between any two of them.
class ModelBackend {
 public:
  explicit ModelBackend(ModelDatabase& database) : database_(database), process_id(++database.last_process_id) {}

  void feed(std::string_view bytes) { in_ += bytes; }
  [[nodiscard]] bool has_message() const;
  /// It prepares a transaction, or ends one that is.
  [[nodiscard]] bool next_is_two_phase() const { return in_.find("PREPARE") != std::string::npos; }
  /// Runs the next message; its replies are added to `out`.
  enum class Did { something, commit };
  Did run_message(std::string& out);
  /// Its next message, if it commits something, is carried out although nobody will hear of it; true where it was.
  [[nodiscard]] bool commits_unheard();
  /// Says goodbye with `code`, as a server that shuts down does. What was not committed is gone.
  void die(std::string_view severity, std::string_view code, std::string& out);

  [[nodiscard]] const std::string& setting() const { return setting_; }
  [[nodiscard]] const std::set<std::string>& channels() const { return channels_; }

 private:
  ModelDatabase& database_;

 public:
  const std::int32_t process_id;

 private:
  void on_message(char type, std::string_view body, std::string& out);
  void on_copy_message(char type, std::string_view body, std::string& out);
  void on_parse(std::string_view body, std::string& out);
  void on_bind(std::string_view body, std::string& out);
  void query(std::string_view text, std::string& out);
  bool run(std::string_view text, bool simple, std::string& out);
  bool record(std::string& out);
  std::string fence();
  bool end_transaction(std::string_view text, std::string& out);
  // model_two_phase.cpp
  std::uint64_t transaction();
  bool prepare_transaction(const std::string& global_id, std::string& out);
  bool end_prepared(const std::string& global_id, bool commits, std::string& out);
  std::vector<std::string> look_for_prepared();
  [[nodiscard]] bool still_prepared() const;
  [[nodiscard]] std::string status_of(const std::string& transaction) const;
  [[nodiscard]] std::string was_prepared() const;
  [[nodiscard]] std::string was_ended() const;
  bool save_or_go_back(bool back, std::string& out);
  void snapshot(std::string& out);
  void commit();
  void roll_back();
  void fail(std::string_view code, std::string& out);

  struct Prepared {
    std::string text;
  };
  struct Portal {
    std::string text;
    std::vector<std::string> parameters;
  };

  std::string in_;
  std::string unflushed_;                // replies that wait for a Flush, a Sync or an error, as a real server's do
  std::map<std::string, Prepared> prepared_;
  std::map<std::string, Portal> portals_;
  std::vector<std::string> parameters_;  // of the portal that runs
  char status_ = 'I';
  bool skip_ = false, copying_ = false, simple_copy_ = false;
  std::vector<int> pending_;             // rows of the open transaction
  std::vector<int> copied_;
  std::string reads_;                    // of the open transaction
  std::uint64_t transaction_ = 0;        // its id, once it has one
  std::vector<std::string> recorded_;    // in the ledger, by the open transaction
  std::string setting_ = "0", committed_setting_ = "0";
  struct Savepoint {
    std::size_t pending = 0;
    std::string setting;
  };
  std::optional<Savepoint> savepoint_;   // all are of one name, and nobody goes back twice as far
  std::set<std::string> channels_;
};

}  // namespace holdfast::simulation

// A driver with a random program, and what it may believe after each answer: which marks are there, how often, and what a read may
// show. Knows nothing of the proxy.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "protocol/mongo/document.hpp"
#include "protocol/mongo/frame.hpp"
#include "protocol/mongo/reply.hpp"
#include "tests/simulation/mongo/model_member.hpp"
#include "tests/simulation/clock.hpp"

namespace holdfast::simulation::mongo {

namespace wire = ::holdfast::mongo;

/// What a client was told of a mark.
enum class Belief {
  unknown,
  never_ran,
  one,       // acknowledged with w: 1: gone only where the servers rolled it back
  majority,  // there once, for good
};

/// All marks of a run.
struct Ledger {
  int last_mark = 0;
  std::map<int, Belief> marks;
  std::vector<std::vector<int>> transactions;  // marks that are there together, or not at all
};

class SimClient {
 public:
  struct Options {
    std::size_t index = 0;
    int operations = 10;
    bool numbers = true;        // writes have a txnNumber
    bool of_set = true;         // the face is that of a set: it repeats writes by itself (retryWrites), and has transactions
    bool of_mongos = false;     // the upstream is one
    bool of_imitation = false;  // of which the proxy does not believe that it knows writes again
    unsigned majority = 70;     // of a hundred writes
    std::function<bool()> log_in;  // again; false where that fails
  };
  using Send = std::function<void(std::string)>;
  SimClient(Clock& clock, Ledger& ledger, Options options, Send send);

  void start() { think(); }
  void received(const std::string& frame);
  /// It ends without waiting for what it is owed.
  void leave();
  /// It loses its patience, and goes on over another connection as after an error of the network.
  void hang_up();
  [[nodiscard]] bool done() const { return done_; }
  [[nodiscard]] std::optional<Time> waiting_since() const { return waiting_since_; }
  [[nodiscard]] const std::string& history() const { return history_; }
  struct Totals {
    long acknowledged = 0, unknown = 0, never_ran = 0, transactions = 0, reads = 0, logins = 0;
  };
  [[nodiscard]] const Totals& totals() const { return totals_; }

 private:
  struct Reply {
    wire::Reply fields;
    std::string_view body;
    bool unknown_commit = false;
    [[nodiscard]] bool never_ran() const;
  };
  using Then = std::function<void(const Reply&)>;
  struct Write {
    std::string body, documents;  // the latter as a sequence of its own
    std::string_view sequence;    // its name; empty: the statements are in the body
    std::vector<std::vector<int>> statements;
    bool ordered = true, inserts = false, multiple = false, numbered = false, majority = false, projects = false;
    int tries = 0;
  };
  struct Transaction {
    std::vector<int> marks;     // of its statements; 0: a read
    bool majority = false, begun = false, token = false;
    int runs = 0, commits = 0;
  };

  void think();
  void act();
  void log_in_again();
  void ask(std::string body, Then then, const std::vector<wire::Sequence>& sequences = {});
  void tell(std::string body);
  [[nodiscard]] int new_mark();
  [[nodiscard]] wire::Writer command(std::string_view name, std::string_view collection = "t");
  void add_session(wire::Writer& writer, bool number) const;
  static void add_concern(wire::Writer& writer, bool majority);
  void check_reply(const Reply& reply) const;

  void write();
  void add_statements(Write& write, wire::Writer& writer);
  void write_many();
  void write_and_tell();
  void send_write(Write write);
  void on_written(const Write& write, const Reply& reply);
  void read();
  void read_in_batches();
  void get_more(std::int64_t cursor, int expected, int left);
  void build_index();
  void kill_many(std::vector<std::int64_t> cursors, std::uint64_t left);
  void kill_session();
  [[nodiscard]] std::string session_id() const { return std::string(15, 's') + static_cast<char>('a' + options_.index); }
  void run_transaction(Transaction transaction);
  void run_statement(Transaction transaction, std::size_t at);
  void end_transaction(Transaction transaction);
  void commit(Transaction transaction);
  void give_up(const Transaction& transaction, Belief belief);
  void believe(int mark, Belief belief);

  Clock& clock_;
  Ledger& ledger_;
  const Options options_;
  Send send_;
  int left_;
  std::int32_t last_request_ = 0;
  std::int64_t last_number_ = 0;
  Then then_;
  std::string asked_;            // and not answered
  std::vector<int> mine_;        // acknowledged by the majority
  bool done_ = false;
  std::optional<Time> waiting_since_;
  std::string history_;
  Totals totals_;
};

}  // namespace holdfast::simulation::mongo

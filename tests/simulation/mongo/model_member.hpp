// A MongoDB server in miniature: a member of the model set, or a standalone. It counts how often each mark was written, and knows
// writes again by (lsid, txnNumber). Its oplog outlives its process; what else it knows follows from that.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "protocol/mongo/command.hpp"
#include "protocol/mongo/hello.hpp"
#include "tests/simulation/clock.hpp"

namespace holdfast::simulation::mongo {

namespace wire = ::holdfast::mongo;

/// What all members of a run have in common.
struct Rules {
  std::chrono::minutes session_time{30};  // a server forgets what nobody has used for so long
  Time takes_no_number{Time::max()};      // from then on the collection "c" takes none
  Time new_password{Time::max()};         // from then on the users' first is refused
  bool impostors = false;                 // once a member has died another product takes its place, which knows no write again
  /// Sessions of the proxy's own begin so.
  static constexpr char own_session = 'o';
};

/// Of a document that no collection could take.
inline constexpr int unfit_mark = -2;

/// One entry of an oplog. Two members that have it share it.
struct Entry {
  std::int64_t term = 0;
  std::vector<int> marks;       // what it writes; none: the begin of a term
  std::string session;          // with a txnNumber only
  std::int64_t number = 0;
  std::size_t statement = 0;
  Time at{};
  bool transaction = false;
  bool committed = false;       // known by the majority: never rolled back
};

/// How a command is interrupted, for a member that steps down in the middle of one.
enum class Interruption {
  none,
  refused,        // NotWritablePrimary, before anything was done
  before,         // PrimarySteppedDown at the root, nothing was done
  in_the_middle,  // some statements were executed, the next one failed in writeErrors
  hidden,         // executed, and writeErrors says that it was not
  at_the_root,    // executed as a whole, and the root says 11602
  shutting_down,  // executed or not, and the root says 91 or 11600
  network_label,  // executed or not, and the root says 9001, with the label of a retryable write where that is one
};

/// What a connection leads to.
struct Process {
  bool up = true, frozen = false;
  std::int64_t process = 1;
  [[nodiscard]] bool works() const { return up && !frozen; }
};

class Member : public Process {
 public:
  /// `old`: as before 5.0, where answers from history have flaws.
  Member(Clock& clock, const Rules& rules, std::size_t at, bool alone, bool old)
      : index(at), clock_(clock), rules_(rules), standalone_(alone), old_(old) {}

  struct Answer {
    std::string body;
    std::size_t wait_for = 0;  // so many entries must be known by the majority first; 0: at once
  };
  Answer run(const wire::Message& request, const wire::Command& command, Interruption interruption);
  /// A commit that comes with a recoveryToken, from a mongos that knows nothing of the transaction: what is open is aborted.
  Answer recover(const wire::Command& command);
  /// An answer that waits for the majority, and what it becomes where the member steps down meanwhile.
  static std::string interrupted(const std::string& body, int code, bool at_root);
  [[nodiscard]] bool is_impostor() const { return rules_.impostors && process > 1; }

  /// Has this session something here that it opened before that?
  [[nodiscard]] bool has_of(const std::string& session, Time before) const;

  [[nodiscard]] wire::MemberHello hello(const std::vector<std::string>& addresses) const;
  [[nodiscard]] std::string election_id(std::int64_t of) const;

  // ---- for the set ----

  void append(std::shared_ptr<Entry> entry);
  /// Forgets all entries from this one on; their marks are added to `lost`.
  void truncate(std::size_t size, std::set<int>& lost);
  void step_down();
  void kill();
  void restart();
  [[nodiscard]] std::pair<std::int64_t, std::size_t> position() const { return {log.empty() ? 0 : log.back()->term, log.size()}; }

  const std::size_t index;
  bool role_primary = false;              // or it takes itself for that
  std::int64_t changes = 0;               // of topologyVersion
  std::int64_t term = 0;
  std::vector<std::shared_ptr<Entry>> log;
  std::size_t commit_point = 0;           // as a primary: so many entries are known by the majority
  std::map<std::size_t, std::size_t> match;
  Time majority_seen{};                   // as a primary
  std::map<int, int> rows;
  /// Answers that wait: called with true once the majority knows so many entries, with false on a stepdown.
  std::multimap<std::size_t, std::function<void(bool)>> waiting;

 private:
  struct Record {
    std::int64_t number = -1;
    std::set<std::size_t> statements;
    bool transaction = false;
    Time used{};
  };
  struct Open {
    std::int64_t number = 0;
    std::vector<int> marks;
    Time since{};
  };
  struct Cursor {
    int next = 1, left = 0;
    std::string session;
    Time since{};
  };
  Answer write(const wire::Message& request, const wire::Command& command, Interruption interruption);
  [[nodiscard]] Answer refuse_number() const;
  /// What each statement came to, in the order in which it says so: how many documents, or why none.
  struct Result {
    int n = 0, code = 0;
  };
  std::vector<Result> execute(const wire::Message& request, const wire::Command& command, std::size_t end, const Record& known);
  [[nodiscard]] Result execute_one(const std::vector<int>& marks, const wire::Command& command, std::size_t number);
  Answer other(const wire::Message& request, Interruption interruption);
  Answer find(const wire::Message& request, const wire::Command& command);
  Answer get_more(const wire::Command& command);
  Answer kill_cursors(const wire::Command& command);
  Answer kill_sessions(const wire::Message& request);
  Answer in_transaction(const wire::Message& request, const wire::Command& command);
  Answer commit(const wire::Command& command, Interruption interruption);
  Answer abort(const wire::Command& command);
  void apply(const Entry& entry);
  [[nodiscard]] const Record& record_of(std::string_view session);
  [[nodiscard]] bool takes_no_number(const wire::Command& command) const;
  void forget_older(const wire::Command& command);
  void write_entry(const std::vector<int>& marks, const wire::Command* command, std::size_t statement, bool transaction);
  [[nodiscard]] std::size_t wait_of(const wire::Command& command) const { return command.majority && !standalone_ ? log.size() : 0; }

  Clock& clock_;
  const Rules& rules_;
  const bool standalone_, old_;
  std::map<std::string, Record, std::less<>> sessions_;
  std::map<std::string, Open, std::less<>> open_;
  std::map<std::int64_t, Cursor> cursors_;
  std::int64_t last_cursor_ = 0;
};

}  // namespace holdfast::simulation::mongo

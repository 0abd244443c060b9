// A PostgreSQL session between its client and whatever backend works for it now: which bytes go across, which are
// held, what is answered here, and what the client is told when the backend is lost.
// Sans-io: bytes and facts in, bytes and verdicts out. Session (session.hpp) performs them.
//
//                   ┌───────────── on_attached ─────────────┐
//                   ▼                                       │
//    ┌──────────────────┐  backend closed   ┌───────────┐   │   ┌──────────┐
//    │ attached         │ ────────────────► │ losing    │ ──┴── │ detached │ ◄── ROLLBACK, COMMIT ──┐
//    │ relay and track  │                   │ witness?  │ resolve_loss     │                        │
//    └──────────────────┘                   └───────────┘ ────► lost_transaction: answered here ─────┘
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "protocol/postgres/journal.hpp"
#include "protocol/postgres/ledger.hpp"
#include "protocol/postgres/messages.hpp"
#include "protocol/postgres/reply_digest.hpp"
#include "protocol/postgres/reply_tracker.hpp"
#include "protocol/postgres/session_state.hpp"
#include "protocol/postgres/statement_judge.hpp"
#include "protocol/postgres/statement_store.hpp"
#include "protocol/postgres/two_phase.hpp"
#include "proxy/postgres/session_types.hpp"

namespace holdfast::proxy::postgres {

namespace pg = holdfast::postgres;

struct SegmentEffects;  // what the texts of a segment could have done (segment_effects.hpp)

class SessionMachine {
 public:
  explicit SessionMachine(SessionOptions options);

  // ---- the two directions. Outputs stand behind the forwarded bytes and before the rest. ----

  Step on_client_bytes(std::string_view bytes);
  Step on_server_bytes(std::span<char> bytes);
  /// What on_client_bytes said last could not be written at all: the bytes were never sent and are shown again.
  void unwind_client_bytes();
  /// Bytes of our own; the shell writes them and empties the string.
  std::string client_output;
  std::string server_output;

  // ---- the backend ----

  /// A backend was logged in and restored. `process_id` is its own. False: it cannot carry this session on
  /// (another major version, another encoding); client_output then holds the FATAL.
  enum class Attachment { first, again };
  [[nodiscard]] bool on_attached(std::int32_t process_id, Parameters parameters, Attachment attachment);
  /// The connection to the backend ended. Client bytes are held until resolve_loss.
  void on_backend_closed(std::string reason);
  /// Its connection broke without a word of the server: the backend may live on, with its locks, in the middle of things
  /// that the client is about to be told are lost.
  [[nodiscard]] bool may_live_on() const {
    return state_ == SessionState::losing && loss_.code.empty() && (busy() || status_ != 'I') && !replay_differed();
  }
  /// Only a witness can tell whether an administrator ended this backend or the server is gone.
  [[nodiscard]] bool needs_witness() const { return state_ == SessionState::losing && loss_.code == "57P01"; }
  LossResult resolve_loss(Witness witness, OldBackend old_backend = OldBackend::gone);
  /// The session cannot be had again: FATAL 57P01 that names `what`, or an error where `lost_state` says so.
  LossResult give_up(const pg::Pin& pin);
  /// The new backend cannot be given what the session had: as give_up, or an error for its next statement where
  /// `lost_state` says so; the restoration then goes on.
  LossResult cannot_restore(const pg::Pin& pin);
  /// What waits for a backend gets this error instead (hold time-out, open breaker, cancel): at once where it was sent
  /// before and is to be run again, else when the shell shows it next.
  void refuse(std::string_view code, std::string message);

  // ---- what became of a commit (session_machine_ledger.cpp, session_machine_two_phase.cpp) ----

  /// What a commit whose answer was lost has come to, to be asked of the new backend before it is attached; none where
  /// nobody needs to know. `ask` answers 'committed', 'fenced', 'unknown' or, where this server cannot tell, 'read_only';
  /// `barrier` is a commit of our own.
  struct OutcomeQuestion {
    pg::Inquiry ask, barrier;
  };
  [[nodiscard]] std::optional<OutcomeQuestion> commit_in_question() const;
  /// What the server says of it. `committed` only once the barrier has shown it to be durable.
  enum class Outcome { committed, not_committed, unknown };
  void on_commit_judged(Outcome outcome);

  // ---- the ledger (session_machine_ledger.cpp) ----

  /// Rows of the ledger that are of no more use, when there are enough of them and the session is at rest.
  [[nodiscard]] bool ledger_forget_due() const;
  /// Writes the statement that removes them to server_output.
  void begin_ledger_forget();
  /// The same for rows of anybody's that are a day old; at rest only.
  void begin_ledger_sweep();
  /// What holds the client's bytes may have changed: the shell shows them again. True once for each time.
  [[nodiscard]] bool take_answers() { return std::exchange(answers_came_, false); }
  /// They are held for answers of the server's, not for a server.
  [[nodiscard]] bool waits_for_answers() const { return state_ == SessionState::attached && waits_for_answers_; }

  // ---- a second run of what was lost (session_machine_replay.cpp) ----

  /// What was lost is to be run again, or is being run again: the client is held until that has come as far as it was.
  [[nodiscard]] bool replaying() const { return replay_.has_value(); }
  /// The client waits for something of it.
  [[nodiscard]] bool runs_again() const { return replay_ && (!replay_->pending.empty() || replay_->open); }
  /// Reads outside a transaction that are to be run again provided that the new backend's catalog bears them out.
  [[nodiscard]] const std::vector<pg::StatementJudgement>& unproven_reads() const;
  /// What the catalog says of them. Where it does not bear them out the client is told of their loss.
  enum class Reads { proven, not_proven };
  void on_reads_judged(Reads reads);
  /// The second run gave something else than the first: the machine has left its backend for that.
  [[nodiscard]] bool replay_differed() const { return replay_ && !replay_->difference.empty(); }
  /// Why what was lost last was not, or not to its end, run again; empty where it was, or where nothing was lost.
  [[nodiscard]] const std::string& replay_obstacle() const { return replay_obstacle_; }
  /// What an outage now would mean for the open transaction; empty: it would be run again.
  [[nodiscard]] std::string_view not_replayable() const;
  /// The message of a refusal that has not been passed on; empty when there is none.
  [[nodiscard]] std::string refusal_message() const { return refusal_ ? refusal_->message : std::string(); }
  /// The user that the client logs in as; before the first attachment.
  void set_user(const std::string& user) { session_ = pg::SessionState(user); }
  /// The login cannot be made again, whatever the client does.
  void pin_for_life(pg::Pin pin) { session_.pin_for_life(std::move(pin)); }
  /// A FATAL of our own, then the session is closed.
  void terminate(std::string_view code, std::string_view message);
  /// The same with a FATAL of the server's.
  void end_with(std::string_view fatal);

  // ---- state ----

  [[nodiscard]] SessionState state() const { return state_; }
  /// The client waits for something.
  [[nodiscard]] bool busy() const {
    return !tracker_.empty() || tracker_.segment_open() || held_ready_ || runs_again() || wrap_ != Wrap::none;
  }
  /// Attached, and between two statements outside a transaction: what the client sends next may be held.
  [[nodiscard]] bool at_rest() const {
    return state_ == SessionState::attached && status_ == 'I' && !busy() && client_stream_left_ == 0 &&
           !skip_to_sync_ && !refusal_ && !replay_;
  }
  /// The session was closed with a FATAL of ours, not by its client.
  [[nodiscard]] bool terminated() const { return terminated_; }
  [[nodiscard]] bool in_transaction() const { return status_ != 'I'; }
  /// A client's own request is under way at the backend (a CancelRequest has something to cancel).
  [[nodiscard]] bool cancellable() const;
  /// The client waits for this backend, be it for an answer to a statement of ours in front of its own.
  [[nodiscard]] bool awaits_backend() const;
  /// Something was recorded that only a snapshot can settle, and now is a moment for one.
  [[nodiscard]] bool snapshot_due() const;
  /// Writes the snapshot's statements to server_output.
  void begin_snapshot();
  /// The client listens: it is attached again at once after a loss.
  [[nodiscard]] bool listening() const { return session_.listening(); }
  /// It listens and hears nothing: a backend is wanted though the client asks for none.
  [[nodiscard]] bool wants_backend() const { return state_ == SessionState::detached && session_.listening(); }
  [[nodiscard]] const pg::SessionState& session() const { return session_; }
  [[nodiscard]] const Parameters& parameters() const { return told_; }
  [[nodiscard]] std::int32_t virtual_process_id() const { return virtual_process_id_; }
  [[nodiscard]] const SessionStatistics& statistics() const { return statistics_; }
  [[nodiscard]] const LossReport& loss() const { return loss_; }

 private:
  enum class Pass { forward, drop, inject, hold, close };
  struct Segment;   // lost_segment.hpp
  struct Progress;

  // client's side (session_machine_client.cpp)
  Pass on_client_message(const pg::Header& header, std::string_view message, std::string_view beginning);
  Pass relay_client_message(const pg::Header& header, std::string_view message);
  Pass stream_client_message(const pg::Header& header, std::string_view beginning);
  Pass on_query(std::string_view message, std::string_view body);
  Pass on_parse(std::string_view message, std::string_view body);
  Pass on_bind(std::string_view body);
  Pass on_bind_of_sql(const pg::BindMessage& bind);
  void push_bind(std::string_view portal, pg::StatementId id);
  Pass on_function_call(std::string_view body);
  Pass on_describe(std::string_view body);
  Pass on_execute(std::string_view body);
  Pass on_close(std::string_view body);
  [[nodiscard]] pg::StatementId statement_of_portal(std::string_view portal) const;
  Pass refuse_client_message(const pg::Header& header);
  Pass protocol_violation(std::string_view what);
  bool ensure_parsed(std::string_view name);
  [[nodiscard]] bool is_to_be_parsed(const pg::Statement& statement) const;
  bool inject_parse(pg::StatementId id);
  bool parse_for_text(std::string_view text);
  void push(pg::RequestKind kind, pg::StatementId statement = pg::no_statement,
            pg::StatementId previous = pg::no_statement);

  // server's side (session_machine_server.cpp)
  Pass on_server_message(const pg::Header& header, std::span<char> message);
  [[nodiscard]] bool answers_client() const;
  Pass on_server_error(std::string_view body);
  Pass on_server_notice(std::string_view message, std::string_view body);
  Pass on_notification(std::span<char> message);
  Pass on_parameter_status(std::string_view message, std::string_view body);
  void set_parameter(std::string_view name, std::string_view value);
  Pass pass_aside(std::string_view message);
  Pass on_ready(const pg::Request& request, char status);
  Pass on_own_reply(char type, std::string_view body);
  void on_completed(const pg::Request& request, std::string_view tag);
  void finish_request(const pg::Request& request);
  void drop_skipped();
  void take_back(const pg::Request& request);
  void forget_segment();
  bool is_recorded(std::string_view tag);
  void record(pg::StatementId id, std::string_view tag);
  pg::StateEffect record_executed(std::string_view text, std::string_view tag, pg::SessionState::Where where);
  void record_segment();
  void end_snapshot();
  struct OwnStatement {
    bool name_left;  // by one before it that failed
    bool sync;
  };
  void run_own(std::string_view name, std::string_view text, const std::vector<std::string>& parameters, pg::Owner owner,
               OwnStatement how);

  // the ledger (session_machine_ledger.cpp)
  [[nodiscard]] bool ledger_on() const { return !options_.ledger_session.empty(); }
  std::optional<Pass> prepare_commit(const pg::Header& header, std::string_view message);
  std::optional<Pass> before_query(std::string_view text);
  std::optional<Pass> before_execute(std::string_view body);
  std::optional<Pass> before_sync();
  void note_commit_sent(char type);
  [[nodiscard]] pg::LedgerEntry ledger_entry(std::string_view text, const pg::TextScan& scan);
  Pass hold_for_answers(bool flush);
  [[nodiscard]] bool answered_so_far() const;
  [[nodiscard]] bool awaits_ready() const;
  void inject(std::string_view name, std::string_view text);
  void inject_record(bool with_sync);
  Pass on_wrapped_ready(char status);
  void send_wrap_end();
  Pass on_own_ready(char status);
  void on_own_completed(std::string_view tag);
  std::optional<Pass> on_completed_for_ledger(const pg::Request& request, std::string_view message);
  void note_ready_for_ledger(std::uint64_t request, char status);
  void on_recorded(std::string_view body);
  void end_wrap();
  void forget_commit();
  void drop_unsent_commit();
  [[nodiscard]] bool commit_sent() const { return commit_ && commit_->sent; }
  /// The new backend can tell what became of what is under way at the loss, or nobody needs to ask it.
  [[nodiscard]] bool outcome_known() const { return asks_ledger() || asks_two_phase_ || certainly_not_committed(); }
  [[nodiscard]] bool asks_ledger() const { return commit_sent() && commit_->recorded; }
  /// By what the server says, or because COMMIT was not sent: what is under way at the loss certainly left nothing behind.
  [[nodiscard]] bool certainly_not_committed() const;
  void answer_committed();

  // two-phase commit (session_machine_two_phase.cpp)
  std::optional<Pass> before_two_phase(char type, pg::StatementId id);
  Pass fail_two_phase(char type);
  void note_two_phase_sent(pg::StatementId id);
  void note_two_phase_sent_again(std::uint64_t request);
  void on_two_phase_row(std::string_view body);
  [[nodiscard]] bool asks_two_phase(const std::vector<Segment>& segments, OldBackend old_backend) const;

  // what a second run would need (session_machine_journal.cpp)
  /// Of the segment that is being answered.
  struct SegmentNotes {
    bool gave = false;           // more than its errors and the form of its results
    bool of_the_moment = false;  // it failed, before it gave anything, as it would not fail again
    bool chained = false;        // COMMIT or ROLLBACK that may have begun the next transaction
  };
  void note_answered(std::uint64_t request, char status);
  void note_error(std::string_view code);
  void cut_journal(std::uint64_t request, char status, SegmentNotes notes);
  void cut_chained(std::uint64_t request);
  void cut_out(pg::Journal::Extent extent);
  void each_text(const std::function<void(std::size_t, const pg::JournalEntry&, std::optional<std::string_view>)>& visit) const;
  void forget_journal();

  // a second run (session_machine_replay.cpp)
  bool plan_replay(const std::vector<Segment>& segments, Witness witness, OldBackend old_backend, bool partial);
  [[nodiscard]] std::string_view obstacle_in_transaction(const std::vector<Segment>& segments, Witness witness,
                                                         std::vector<pg::StatementJudgement>& reads) const;
  /// What was judged of the journal before the request under way.
  struct JournalJudgement {
    std::string_view obstacle;
    bool savepoint = false;
    bool only_reads = true;  // provided that the catalog bears `reads` out
    std::vector<pg::StatementJudgement> reads;
  };
  [[nodiscard]] JournalJudgement judge_journal(std::uint64_t under_way) const;
  std::string_view obstacle_outside(const std::vector<Segment>& segments, Witness witness,
                                    std::vector<pg::StatementJudgement>& reads) const;
  [[nodiscard]] bool is_lone_begin(const std::vector<Segment>& segments) const;
  [[nodiscard]] bool certainly_undone(const Segment& segment, const SegmentEffects& effects, Witness witness) const;
  [[nodiscard]] bool catching_up() const { return replay_ && replay_->running && !replay_->caught_up; }
  void begin_replay();
  void feed_replay();
  [[nodiscard]] bool is_begun(const pg::JournalEntry& entry) const;
  void send_again(const pg::JournalEntry& entry, std::string_view message);
  void prepare_again(char type, std::string_view message, pg::StatementId previous);
  void forget_closed(std::string_view name);
  Pass on_given(std::string_view message);
  void digest_given(std::string_view message);
  std::size_t skip_given(std::string_view bytes);
  Pass on_given_segment(std::uint64_t request, char status);
  [[nodiscard]] bool is_given_error(std::string_view code);
  Pass differs(std::string what);
  void advance_replay();
  void finish_replay();
  void abandon_replay(std::optional<pg::ErrorText> first);
  /// The client holds a part of a message: nothing else can be said to it before the rest.
  [[nodiscard]] bool client_in_the_middle() const;

  // after a loss (session_machine_loss.cpp)
  LossResult close_silently(std::string reason);
  void tell_what_is_lost(const pg::Pin& pin);
  std::vector<Segment> take_segments();
  LossResult resolve_segments(const std::vector<Segment>& segments, Witness witness,
                              const std::optional<pg::ErrorText>& first = {});
  void answer_segment(const Segment& segment, Witness witness, Progress& progress);
  void fail_block(const Segment& segment, Progress& progress);
  void answer_in_failed_block(const Segment& segment, const SegmentEffects& effects, Progress& progress);
  void answer_in_block(const Segment& segment, const SegmentEffects& effects, Progress& progress);
  void answer_outside_block(const Segment& segment, const SegmentEffects& effects, Witness witness,
                            Progress& progress);
  void answer_rollback(const Segment& segment, Progress& progress);
  void answer_end(const pg::Request& request, std::string_view tag);
  void fail_segment(const Segment& segment, pg::ErrorText error, char after, Progress& progress);
  void fail_undone(const Segment& segment, Witness witness, Progress& progress);
  void fail_unknown(const Segment& segment, char after, Progress& progress);
  [[nodiscard]] pg::ErrorText lost_transaction_error() const;
  [[nodiscard]] pg::ErrorText lost_statement_error(Witness witness) const;
  /// idle_in_transaction_session_timeout or transaction_timeout.
  [[nodiscard]] bool ended_by_rule() const { return loss_.code == "25P03" || loss_.code == "25P04"; }
  /// An administrator ended the backend: the server goes on serving others.
  [[nodiscard]] bool is_killed(Witness witness) const { return witness == Witness::alive && loss_.code == "57P01"; }
  void enter_lost_transaction(bool error_pending);
  void detach();

  // a transaction that was lost (lost_transaction.cpp)
  Pass answer_in_lost_transaction(const pg::Header& header, std::string_view message);
  Pass lost_query(std::string_view text);
  Pass lost_parse(std::string_view message, std::string_view body);
  Pass lost_execute(std::string_view body);
  void lost_error();
  void leave_lost_transaction();

  SessionOptions options_;
  SessionState state_ = SessionState::detached;
  bool terminated_ = false;
  char status_ = 'I';  // as the client knows it from its last ReadyForQuery
  pg::BackendNumber backend_ = 0;
  std::int32_t backend_process_id_ = 0;
  std::int32_t virtual_process_id_ = 0;
  Parameters told_;     // ParameterStatus as the client knows them
  pg::ReplyTracker tracker_;
  pg::StatementStore statements_;
  pg::SessionState session_;
  SessionStatistics statistics_;
  pg::Journal journal_;
  pg::ReplyDigest digest_;  // of what the client was given of the segment that is answered now

  // client's side
  std::size_t batch_stream_left_ = 0;  // client_stream_left_ before the bytes shown last
  std::size_t client_stream_left_ = 0;  // bytes of a long message that still go across
  enum class Stream { forward, drop };
  Stream client_stream_ = Stream::forward;
  pg::ReplyTracker::Mark batch_;        // before the bytes shown last
  pg::Journal::Mark batch_journal_;
  std::unordered_map<std::string, pg::StatementId> portals_;  // named portals: what they run
  pg::StatementId unnamed_portal_ = pg::no_statement;
  bool skip_to_sync_ = false;           // a segment was answered with an error here: its rest is dropped up to Sync
  char status_after_skip_ = 'I';
  bool local_segment_ = false;          // its messages so far were answered here
  struct Refusal {
    std::string code, message;
    bool stays = false;  // it is the next statement's even where a backend is there by then
  };
  std::optional<Refusal> refusal_;      // for what waits at the front
  std::vector<pg::Request> scratch_;    // requests that leave the queue together

  // server's side
  std::size_t server_stream_left_ = 0;
  std::string held_notice_;             // WARNING 57P01 or 57P02: passed on with the next message, if one comes
  bool held_ready_ = false;             // a ReadyForQuery waits for a snapshot
  bool snapshot_now_ = false;
  bool unknown_change_ = false;         // what asked for it is no text that the judge could read in place of it
  bool snapshot_overdue_ = false;       // the transaction that asked for it has ended: what is recorded is not what is
  enum class Snapshot { none, running, failed } snapshot_ = Snapshot::none;
  bool snapshot_left_ = false;          // one failed behind its Parse: its statement may still have the name
  std::vector<std::optional<std::string_view>> columns_;
  std::vector<pg::StatementId> executed_;  // by Execute since the last ReadyForQuery: not committed before the next one
  bool segment_changed_state_ = false;  // recorded as done, and undone if the segment fails
  bool segment_controls_transaction_ = false;  // a BEGIN, COMMIT, … was completed in it
  std::size_t deallocated_ = 0;                // by DEALLOCATE in the text that is answered now
  // What that text has been recorded for already: it says the same at each of its statements, of which it may hold thousands.
  struct RecordedText {
    bool looked_for_chain = false;
    bool controls_transaction = false;
    std::vector<std::string> tags;  // without their counts
  } recorded_text_;
  std::vector<pg::StatementId> set_by_execute_;  // SET and LISTEN of a segment that may still be undone
  bool fatal_forwarded_ = false;        // the server ended the session with an error that is the client's
  bool commit_warned_ = false;          // WARNING 57P01 or 57P02 since the last ReadyForQuery: FATAL 57P01 is no proof then
  LossReport loss_;

  // what a second run would need
  SegmentNotes segment_notes_;
  std::optional<std::uint64_t> failed_at_;  // the segment that failed as it would not fail again, in a transaction that may go back

  // a second run
  struct Replay {
    bool transaction = false;  // else statements outside one
    bool partial = false;      // the client holds a part of a message
    // How the segment under way stood at the loss; counts until the second run has come as far.
    bool failed = false, copying = false, open = false;
    pg::ReplyMark given;                         // what the client had of it
    std::deque<pg::Request> pending;             // of the client's, without an answer, not sent again yet
    std::vector<pg::StatementJudgement> reads;   // to be borne out by the catalog
    std::size_t answered = 0;                    // segments that the client has whole and that are not compared yet
    std::size_t entry = 0, byte = 0;             // of the journal, to be sent next
    std::size_t compared = 0;                    // entries of the journal before it are compared
    bool running = false, caught_up = false;
    std::string difference;
    bool asks_outcome = false;                   // before anything is run again
    std::string obstacle;                        // why it is not run again, whatever the server says
  };
  std::optional<Replay> replay_;
  bool replayed_ = false;           // once only: until the client is at rest outside a transaction
  bool reads_proven_ = false;       // what is run again only reads: lost again, or different, it left nothing behind
  std::string replay_obstacle_;
  std::string deferred_output_;     // waits for the end of the message that the client holds a part of

  // the ledger
  std::optional<RecordedCommit> commit_;
  enum class Wrap {
    none,
    open,    // BEGIN of ours, and the client's Query
    ending,  // its answer is in; record and COMMIT, or ROLLBACK, of ours
    done,    // committed, and the client told; only ReadyForQuery is missing
  };
  Wrap wrap_ = Wrap::none;
  pg::Request wrapped_;             // the client's Query; it holds a reference to its statement
  bool wrapped_failed_ = false;     // its error has reached the client
  bool wrap_end_due_ = false;       // what ends it waits for the rest of a message of the client's
  int wrap_readies_ = 0;            // ReadyForQuery of ours until the wrap has ended
  std::string held_completion_;     // CommandComplete of the wrapped Query: true once its COMMIT is
  std::string own_error_;        // ErrorResponse to a statement of ours that the client's depended on
  std::uint64_t sequence_ = 0, sequence_forgotten_ = 0;
  bool writes_ = false;             // something since the last commit may be left behind by the next
  bool unjoinable_ = false;         // in the open segment: what can not be recorded with it
  std::optional<bool> in_block_;    // what the open segment has made of the transaction block by itself
  std::uint64_t portal_described_ = 0, statement_described_ = 0;  // requests: the last of the unnamed portal, of a statement
  std::optional<std::uint64_t> flushed_;  // the last request when the server was asked for what it has
  bool waits_for_answers_ = false, answers_came_ = false;
  std::unordered_map<std::uint64_t, pg::LedgerEntry> ledger_entries_;  // by the shape of the text

  // two-phase commit
  std::optional<TwoPhase> two_phase_;  // until the client's ReadyForQuery
  bool asks_two_phase_ = false;        // at the loss: the new backend is to tell what became of it

  // lost transaction
  bool lost_error_pending_ = false;
  std::string lost_code_, lost_message_;
};

}  // namespace holdfast::proxy::postgres

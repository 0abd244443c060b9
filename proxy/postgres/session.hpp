// The I/O shell of a PostgreSQL session: reads, writes, connects and waits as the session machine says.
//
//   client ──► client_pump ──► machine ──► backend        one coroutine each way, on the session's own worker;
//   client ◄── server_pump ◄── machine ◄── backend        attach() runs while there is no backend
//
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "config/config.hpp"
#include "protocol/postgres/startup.hpp"
#include "protocol/read_buffer.hpp"
#include "proxy/counters.hpp"
#include "proxy/waiting.hpp"
#include "proxy/postgres/backend.hpp"
#include "proxy/postgres/cancel_registry.hpp"
#include "proxy/postgres/session_machine.hpp"
#include "proxy/session_types.hpp"
#include "proxy/stream.hpp"
#include "proxy/tls.hpp"
#include "proxy/upstream.hpp"

namespace holdfast::proxy::postgres {

class MessageChannel;
class Session;

/// What the sessions of one connection share on one worker. Outlives them.
struct SessionContext {
  std::shared_ptr<const config::Connection> config;  // replaced as a whole by a reload
  Upstream& upstream;
  BufferPool& pool;
  CancelRegistry& cancels;
  ConnectionCounters& counters;
  std::atomic<std::size_t>& clients;  // sessions of the connection on all workers
  std::string process_secret;  // seeds the verifiers of users that do not exist
  TlsContext client_tls;       // none: TLS is not offered to clients
  TlsContext server_tls;       // none: sslmode=disable
  std::function<void(const std::shared_ptr<Session>&)> opened;
  std::function<void(const Session&)> closed;
  std::optional<SteadyTime> ledger_swept = {};  // when a session of this worker last did
};

class Session : public std::enable_shared_from_this<Session> {
 public:
  /// Where the client's end of the socket is: what may be sent over it in clear depends on it.
  enum class Origin { local, remote };
  Session(Socket client, Origin origin, std::shared_ptr<SessionContext> context, std::uint64_t id);
  ~Session();

  /// The session from its first byte to its last. On its worker.
  Task<> run();
  /// A moment passed; called a few times a second. Looks for snapshots that are due and servers that hang.
  void on_tick(SteadyTime now);
  /// FATAL with this code (a replication client gets none), then the end; for the end of a drain.
  void stop(std::string_view code, std::string_view message);
  /// A CancelRequest with this session's key came.
  void cancel();

  enum class Activity { active, idle, waiting };
  [[nodiscard]] Activity activity() const;
  [[nodiscard]] SessionEntry info() const;
  [[nodiscard]] std::uint64_t id() const { return id_; }

 private:
  // login (session_login.cpp)
  Task<bool> log_in_client();
  Task<std::optional<pg::Startup>> read_startup();
  Task<bool> start_tls(std::string_view received);
  Task<bool> answer_encryption(pg::Startup::Kind kind);
  Task<bool> greet();
  Task<> refuse_login(std::string code, std::string message);

  // who the client is (session_authentication.cpp)
  Task<bool> accept_startup(const pg::Startup& startup);
  Task<bool> prove_client();
  Task<std::optional<std::string>> ask_auth_query();
  Task<bool> ask_password();
  Task<> login_broken(const MessageChannel& channel);
  void keep_credentials(const LoginResult& login);
  [[nodiscard]] bool knows_database(std::string_view database) const;
  [[nodiscard]] SteadyTime client_deadline() const;

  // relay (session.cpp)
  enum class Drained { read, hold, close };
  Task<> client_pump();
  Task<Drained> drain_client();
  Task<bool> wait_for_backend();
  Task<> server_pump();
  Task<bool> drain_server();
  void on_replayed();
  bool write_server_now(std::string_view forward);
  enum class Sender { client, holdfast };
  Task<bool> write_server(std::string_view forward, Sender sender);
  bool write_client_now(std::string_view forward);
  Task<bool> write_client(std::string_view forward);
  Task<> flush_and_close();
  Task<> raw_relay();
  Task<> raw_server_pump();
  void wake_client();
  void note_served();
  void end(std::string reason);
  void count_statistics();
  void note_statement();

  // backends (session_attach.cpp)
  Task<std::variant<Grant, Refusal>> enter_gate(Wish wish, SteadyTime deadline);
  void start_attach();
  void start_pause();
  Task<> wait_for_resume();
  Task<> attach();
  enum class Attached { yes, refused, closed };
  Task<Attached> attach_once(SessionMachine::Attachment attachment, SteadyTime deadline);
  [[nodiscard]] LoginRequest login_request(config::HostPort address) const;
  Task<LoginResult> log_in_server(config::HostPort address, ReadBuffer& buffer, SteadyTime deadline);
  Task<bool> is_same_cluster(Backend& backend, bool otherwise);
  enum class Restored { yes, lost, given_up };
  Task<Restored> restore_session(Backend& backend, SteadyTime deadline);
  Task<bool> judge_reads(Backend& backend, SteadyTime deadline);
  Task<> on_server_lost(std::string reason);
  Task<bool> server_goes_on();
  Task<bool> is_refused(config::HostPort address);
  Task<OldBackend> end_old_backend();
  void give_up_replay_after(SteadyTime now);
  void note_not_replayed();
  [[nodiscard]] bool can_do_without(const pg::Pin& lost);
  Task<> check_hang();
  struct Knock {
    bool done = false, alive = false;
  };
  Task<> knock_at_server(std::shared_ptr<Knock> knock, SteadyTime limit);
  Task<> take_snapshot();

  // what became of a commit, and the ledger (session_ledger.cpp)
  enum class OutcomeAnswer { not_asked, committed, not_committed, unknown, lost };
  Task<OutcomeAnswer> ask_outcome(Backend& backend, SteadyTime deadline);
  Task<OutcomeAnswer> ask_outcome_of(Backend& backend, const SessionMachine::OutcomeQuestion& question, SteadyTime deadline);
  Task<bool> tell_outcome(Backend& backend, OutcomeAnswer answer, SteadyTime deadline);
  Task<bool> has_ledger(Backend& backend);
  void tidy_ledger_at(SteadyTime now);
  Task<> tidy_ledger(bool sweep);

  const std::uint64_t id_;
  const Origin origin_;
  std::shared_ptr<SessionContext> context_;
  Executor executor_;
  Stream client_;
  ReadBuffer client_in_;
  ReadBuffer server_in_;
  SessionMachine machine_;
  std::optional<Backend> backend_;
  std::size_t backend_endpoint_ = 0;
  SteadyTime attached_at_{};        // of the backend
  std::string identity_;            // of the cluster that the session began on
  Credentials credentials_;
  std::int32_t version_ = 0;
  std::vector<std::pair<std::string, std::string>> parameters_;  // of the startup packet, for every backend
  std::string user_, database_, application_, client_address_;
  std::int32_t virtual_process_id_ = 0;
  std::string virtual_secret_key_;

  std::size_t client_want_ = 0, server_want_ = 0;  // bytes of the message that stands at the front
  CoroutineLock client_write_, server_write_;
  std::size_t client_written_ = 0, server_written_ = 0;  // of a write that the socket did not take whole
  bool unsent_ = false;            // a write to the server failed before its first byte
  asio::cancellation_signal wake_;  // ends the client pump's wait for a backend
  Condition changed_;
  bool replication_ = false;
  bool woken_ = false;
  bool waiting_for_backend_ = false;
  bool attaching_ = false;
  bool pausing_ = false;  // an operator holds the next statement
  bool closing_ = false;  // the pumps end
  bool ended_ = false;    // end() ran
  std::string end_reason_;
  WaiterId waiter_ = 0;   // at the gate; 0: not there
  std::optional<SteadyTime> held_since_;
  std::optional<SteadyTime> statement_since_;  // the client waits for something

  // hang detection and snapshots, by the tick
  std::uint64_t server_reads_ = 0, reads_at_tick_ = 0;
  SteadyTime quiet_since_{};
  bool checking_hang_ = false;
  bool hung_ = false;
  std::optional<SteadyTime> replay_since_;  // what was lost is being run again
  SteadyTime last_snapshot_{};
  std::uint64_t reconnections_ = 0;
  SessionStatistics counted_;
};

}  // namespace holdfast::proxy::postgres

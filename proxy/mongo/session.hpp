// One client of a connection of type mongodb: reads its messages one by one, answers what the proxy answers itself, and lets
// the operation machine decide about the rest. This is the I/O shell.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "protocol/mongo/command.hpp"
#include "protocol/mongo/frame.hpp"
#include "protocol/read_buffer.hpp"
#include "proxy/mongo/client_login.hpp"
#include "proxy/mongo/context.hpp"
#include "proxy/mongo/operation_machine.hpp"
#include "proxy/session_types.hpp"
#include "proxy/stream.hpp"

namespace holdfast::proxy::mongo {

class Session : public std::enable_shared_from_this<Session> {
 public:
  Session(Socket client, std::shared_ptr<Context> context, std::uint64_t id);
  ~Session();

  /// From the first byte to the last.
  Task<> run();
  /// A few times a second: has the client gone, is the member silent?
  void on_tick(SteadyTime now);
  /// Closes the client's connection, as a server that ends does.
  void stop();
  /// The face has changed: a hello that waits for that is answered.
  void on_face();

  enum class Activity { active, idle, waiting };
  [[nodiscard]] Activity activity() const;
  [[nodiscard]] SessionEntry info() const;
  [[nodiscard]] std::uint64_t id() const { return id_; }

 private:
  // session.cpp
  Task<bool> start_tls();
  Task<bool> serve(std::string_view frame);
  Task<bool> answer(const wire::Message& request, std::string body);
  Task<bool> refuse(const wire::Message& request, int code, std::string message);
  Task<bool> write(std::string_view bytes);
  void end(std::string_view reason);
  void abandon();
  [[nodiscard]] bool client_has_left();
  Task<> check_hang(std::size_t member);

  // what the proxy answers itself (session_own.cpp)
  Task<bool> serve_hello(const wire::Message& request);
  Task<bool> wait_for_change(const wire::HelloRequest& hello);
  Task<bool> stream_hello(const wire::Message& request, wire::HelloRequest hello, std::string first);
  [[nodiscard]] std::string hello_body(const wire::HelloRequest& hello, wire::HelloExtras extras) const;

  // who the client is (session_login.cpp)
  [[nodiscard]] std::shared_ptr<Login> login_of_a_stranger() const;
  Task<bool> serve_authentication(const wire::Message& request, const wire::Command& command);
  Task<bool> serve_stranger(const wire::Message& request, const wire::Command& command);
  Task<std::string> start_login(std::string_view body, std::string database, ClientLogin::Ok ok);
  Task<std::string> continue_login(std::string_view body);
  Task<std::variant<Verifiers, std::string>> find_verifiers(std::string database, std::string user);
  [[nodiscard]] std::string cannot_check(const std::string& user, const std::string& why) const;
  Task<std::variant<wire::HelloExtras, std::string>> answer_login_hello(const wire::HelloRequest& hello);
  Task<std::string> open_relay(SteadyTime deadline);
  Task<std::optional<std::string>> ask_relay(std::string body, SteadyTime deadline, std::string& error);
  Task<std::variant<wire::HelloExtras, std::string>> relay_hello(const wire::HelloRequest& hello);
  Task<std::string> start_relay(std::string_view body, SaslStart start);
  Task<std::string> continue_relay(std::string_view body);
  [[nodiscard]] std::string refuse_relay(const std::string& why);
  [[nodiscard]] std::string lose_relay();
  Task<std::string> finish_relay();
  void drop_relay();

  // what goes upstream (session_operation.cpp)
  struct Run;
  /// A command that may have a number of ours, and what became of it. What is refused with a number is not told to the client.
  struct Trial {
    bool numbered = false;
    Numbering::Fate fate = Numbering::Fate::unknown;
  };
  Task<bool> perform_numbered(const wire::Message& request, std::string_view frame, const wire::Command& command);
  Task<bool> perform(const wire::Message& request, std::string_view frame, const wire::Command& command, Trial& trial);
  [[nodiscard]] Lease take_own(std::size_t member);
  void keep(Lease lease);
  [[nodiscard]] Lease take_primary(const operation_step::Select& step);
  Task<std::variant<Lease, NoConnection>> connect_to(std::size_t member, Pool::Room room, SteadyTime deadline);
  Task<OperationStep> select(Run& run, operation_step::Select step);
  [[nodiscard]] OperationStep connected(Run& run);
  Task<OperationStep> select_primary(Run& run, operation_step::Select step);
  Task<OperationStep> select_reader(Run& run, operation_step::Select step);
  [[nodiscard]] bool is_refused_login(const NoConnection& found) const;
  Task<OperationStep> use(Run& run, operation_step::Use step);
  Task<OperationStep> send(Run& run, operation_step::Send step);
  void begin_exchange(Lease& lease, bool may_be_cut);

  // what concerns several members (session_several.cpp)
  struct Ran {
    std::optional<std::string> reply;  // none: the member cannot be reached, or was lost twice
    bool all_in_use = false;           // there was no connection to be had
  };
  Task<Ran> run_at(std::size_t member, std::string body);
  Task<bool> kill_cursors(const wire::Message& request, const wire::Command& command);
  Task<bool> kill_sessions(const wire::Message& request, std::string_view frame, const wire::Command& command);
  Task<std::optional<std::string>> kill_sessions_elsewhere(std::string_view body);

  const std::uint64_t id_;
  std::shared_ptr<Context> context_;
  Stream client_;
  ReadBuffer in_;
  std::string address_, application_;
  std::int32_t next_message_ = 0;  // requestID of what the proxy writes itself
  bool has_metadata_ = false, backpressure_ = false;
  bool logs_in_again_ = false;     // its driver does so by itself, where it is answered 391
  bool load_balanced_ = false;     // its driver uses what it begins here nowhere else
  Leftovers leftovers_;            // of such a one
  bool gone_ = false;              // the client is not there any more, or the session was stopped
  bool ended_ = false;
  std::string end_reason_ = "client";
  std::shared_ptr<Login> login_;   // for whom its commands are run; none: it must log in first
  std::optional<ClientLogin> client_login_;  // under way
  /// A login that is relayed to the primary.
  struct Relay {
    Lease lease;
    SaslStart start;
    std::string server_first, client_final;
    SteadyTime since{};
  };
  std::optional<Relay> relay_;
  /// Connections that no other client has: with `pool: session`, and one that the client's relayed login has logged in, where
  /// nothing of that can be kept.
  std::vector<Lease> own_;
  SteadyTimer pause_;              // a hello that waits, a moment between two tries

  // the command under way
  bool busy_ = false;
  bool is_waited_for_ = true;               // by the client, for its answer
  WaiterId waiter_ = 0;                     // at the gate; 0: not there
  Backend* backend_ = nullptr;              // in an exchange
  std::size_t member_ = 0;
  bool may_be_cut_ = false;
  SteadyTime quiet_since_{};
  bool checking_hang_ = false;
  std::uint64_t reconnections_ = 0;
};

}  // namespace holdfast::proxy::mongo

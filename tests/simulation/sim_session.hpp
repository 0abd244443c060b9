// A connection to a simulated server that loses bytes where it is cut, and the shell of a session around the real session
// machine: does what session.cpp and session_attach.cpp do, under virtual time.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "proxy/postgres/session_machine.hpp"
#include "proxy/upstream_machine.hpp"
#include "tests/simulation/clock.hpp"
#include "tests/simulation/model_database.hpp"

namespace holdfast::simulation {

namespace proxy = holdfast::proxy;
namespace session = holdfast::proxy::postgres;

/// Between the proxy and one server process.
class Link : public std::enable_shared_from_this<Link> {
 public:
  Link(Clock& clock, ModelDatabase& database, std::size_t at) : host(at), backend(database), clock_(clock) {}

  /// Bytes that the proxy writes; how many were taken. Less than all: the write failed.
  std::size_t write(std::string_view bytes);
  /// Ended through another connection, as pg_terminate_backend does.
  void terminate();
  /// The proxy lets go of it: the server reads what is under way, then finds its client gone.
  void close();

  enum class Death {
    crash,          // kill -9: nothing more is read, some of what was written is lost
    cut,            // the network: the server goes on with what has reached it
    fast_shutdown,  // FATAL 57P01, then the end
    immediate,      // WARNING 57P02, then the end
  };
  void die(Death death);

  std::function<void(std::string)> on_bytes;
  std::function<void(std::string)> on_end;

  const std::size_t host;
  ModelBackend backend;
  [[nodiscard]] bool alive() const { return alive_; }

 private:
  void arrive(const std::string& bytes);
  void work();
  void reply(std::string bytes);
  void end(std::string reason);

  Clock& clock_;
  bool alive_ = true;         // the server process
  bool open_ = true;          // as the proxy sees it
  bool write_fails_ = false;  // a reset has come that the reader has not seen
  bool cut_ = false;          // what is replied from now on goes nowhere
  bool working_ = false;
  Time last_request_{}, last_reply_{};
  std::string outbound_;      // replies that have not arrived
};

class SimWorld;

class SimSession {
 public:
  SimSession(SimWorld& world, Clock& clock, session::SessionOptions options, std::function<void(std::string)> to_client);

  /// The first login, which takes no time.
  void attach_first(std::shared_ptr<Link> link);
  void client_sends(std::string_view bytes);
  /// The client goes away without a word.
  void client_leaves() { close(); }
  /// The client asks to cancel what is under way.
  void cancel();

  void on_grant(const proxy::upstream_action::Grant& grant);
  void on_refused(const proxy::upstream_action::Refuse& refusal);
  void on_witness(bool alive);

  [[nodiscard]] bool closed() const { return closed_; }
  [[nodiscard]] bool waits_for(std::uint64_t waiter) const { return waiter_ == waiter; }
  [[nodiscard]] bool wants_witness() const { return wants_witness_; }
  [[nodiscard]] const std::shared_ptr<Link>& link() const { return link_; }
  [[nodiscard]] const session::SessionMachine& machine() const { return machine_; }
  void on_tick();
  void maybe_snapshot();

 private:
  enum class Written { all, unsent, failed };
  void take_over(std::shared_ptr<Link> link);
  void pump_client();
  void pump_server();
  enum class Sender { client, holdfast };
  Written write_server(std::string_view forward, Sender sender);
  void write_client(std::string_view forward);
  void on_server_end(std::string reason);
  void find_out();
  void resolve(session::Witness witness);
  void start_attach();
  void enter_gate();
  void log_in(proxy::upstream_action::Grant grant);
  bool restorable();
  bool ask_outcome(ModelBackend& backend, session::SessionMachine::Outcome& outcome);
  bool restore(ModelBackend& backend);
  void refuse(std::string message);
  void close();

  SimWorld& world_;
  Clock& clock_;
  session::SessionMachine machine_;
  std::function<void(std::string)> to_client_;
  std::shared_ptr<Link> link_;
  std::string client_in_, server_in_;
  std::uint64_t waiter_ = 0;
  Time hold_deadline_{};
  session::OldBackend old_backend_ = session::OldBackend::gone;
  bool attaching_ = false, closed_ = false, wants_witness_ = false, server_ended_ = false, pumping_ = false,
       held_ = false;
};

}  // namespace holdfast::simulation

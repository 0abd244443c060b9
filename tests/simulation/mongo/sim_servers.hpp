// The members behind their network, as the proxy meets them: connections that lose what is under way, hellos that come late or
// never, members that die, freeze and are cut off.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/simulation/mongo/model_mongos.hpp"
#include "tests/simulation/mongo/model_set.hpp"

namespace holdfast::simulation::mongo {

class SimServers;

/// One connection to one member's process: whole messages there and back.
class Link : public std::enable_shared_from_this<Link> {
 public:
  Link(SimServers& servers, std::size_t member, std::string login, const wire::ObjectId& process);

  /// False: a reset had come, and nothing was sent.
  bool write(std::string frame);
  /// The proxy lets go of it. What is under way arrives all the same, and is executed.
  void close() { open_ = false; }
  /// The network ends it; the member goes on with what has reached it.
  void cut();
  /// Its process is gone.
  void die();
  /// Its user was dropped and made anew.
  void log_out() { logged_out_ = true; }
  /// The proxy has not let go of it, nor seen its end.
  [[nodiscard]] bool usable() const { return open_ && !ended_; }

  /// A reply, and the term of whom gave it; 0 where that was no primary.
  std::function<void(const std::string&, std::int64_t)> on_reply;
  std::function<void(const std::string&)> on_end;
  const std::size_t member;
  const std::string login;
  const wire::ObjectId process;  // by its hello
  std::uint64_t logouts = 0;     // of its login, when that was made

 private:
  void arrive(const std::string& frame);
  void work();
  void run(const std::string& frame);
  void reply(std::int32_t to, const std::string& body, std::int64_t term);
  void end(const std::string& reason);
  void deliver(Time at, std::function<void()> what);

  SimServers& servers_;
  const std::int64_t process_;
  bool open_ = true;          // as the proxy sees it
  bool alive_ = true;         // the process, and the way to it
  bool ended_ = false;        // the proxy has seen the end
  bool cut_ = false, write_fails_ = false, working_ = false, logged_out_ = false;
  std::uint64_t era_ = 0;     // replies of an older one are lost
  Time last_request_{}, last_reply_{};
  std::deque<std::string> queue_;
};

class SimServers {
 public:
  /// With `routers` the members are a shard behind so many mongos, and no connection leads to them.
  SimServers(Clock& clock, std::size_t members, std::size_t routers, std::function<void(std::string)> note);

  [[nodiscard]] bool sharded() const { return !mongos.empty(); }
  /// What the proxy can connect to, by its index.
  [[nodiscard]] Process& at(std::size_t member) { return sharded() ? static_cast<Process&>(*mongos[member]) : set.at(member); }

  [[nodiscard]] std::shared_ptr<Link> open(std::size_t member, const std::string& login, const wire::ObjectId& process);
  /// A login, an attempt, a probe, a check, a hang check: one hello. `done` gets it, or what was wrong.
  using Done = std::function<void(const std::optional<wire::MemberHello>&, const std::string&)>;
  void hello(std::size_t member, Time deadline, Done done);
  /// Is it at hand for a new connection at this moment?
  [[nodiscard]] bool answers(std::size_t member) { return at(member).works() && !cut_off_[member]; }
  enum class LoggedIn { yes, refused, cut, late };
  /// A login, on a connection whose hello was answered. Now and then one is cut off midway.
  void log_in(std::size_t member, const std::string& login, Time deadline, std::function<void(LoggedIn)> done);
  [[nodiscard]] bool silent(std::size_t member) { return at(member).frozen || (cut_off_[member] && at(member).up); }

  [[nodiscard]] bool takes_login(std::string_view login) const;

  // ---- what goes wrong ----

  void kill(std::size_t member);
  void freeze(std::size_t member, bool frozen);
  /// The proxy and the member do not hear each other; what is under way arrives late.
  void cut_off(std::size_t member, bool off);
  void cut_one_link();
  /// Hellos are answered there, and logins are not, or only with the end of their connection.
  void trouble_logins(std::size_t member, bool hang, Time until);
  /// All users are dropped and made anew: what is logged in is so no longer.
  void log_out_all();
  /// From now on all is well.
  void heal();
  [[nodiscard]] bool healthy() const { return healthy_; }
  [[nodiscard]] Interruption interruption_of(const Member& member, const wire::Command& command);
  void after(Interruption interruption, std::size_t member);
  void deliver(std::size_t member, std::function<void()> what);
  /// A command arrives, a reply leaves.
  void check_place(std::size_t member, const std::string& login, const wire::Command& command);
  void note_place(std::size_t member, const std::string& body);

  Clock& clock;
  ModelSet set;
  std::vector<std::unique_ptr<Mongos>> mongos;
  std::function<void(std::string)> note;

 private:
  [[nodiscard]] std::vector<std::shared_ptr<Link>> links();
  [[nodiscard]] std::string name_of(std::size_t member) const;

  std::vector<bool> cut_off_;
  std::vector<Time> logins_hang_, logins_fail_;  // until then
  std::vector<std::vector<std::function<void()>>> stuck_;
  std::vector<std::weak_ptr<Link>> links_;
  std::map<std::int64_t, std::size_t> cursor_places_;
  std::map<std::string, std::string> users_of_sessions_;
  std::map<std::string, std::pair<std::int64_t, std::size_t>> transaction_places_;  // by session: number and member
  bool healthy_ = false;
  const std::uint64_t interruptions_;  // of ten thousand commands
  bool flips_ = false;                 // a new primary is soon the next to go
};

}  // namespace holdfast::simulation::mongo

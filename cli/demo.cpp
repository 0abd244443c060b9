// Composes the demo: server, proxy, clients, kills, view and table. The parts stand in workload/ and the other demo files.
#include "cli/demo.hpp"

#include <pthread.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <exception>
#include <memory>
#include <optional>

#include "cli/demo_proxy.hpp"
#include "cli/demo_report.hpp"
#include "cli/demo_stage.hpp"
#include "cli/demo_subject.hpp"
#include "cli/demo_view.hpp"
#include "workload/scratch.hpp"

namespace holdfast::cli {

using workload::Clock;
using std::chrono::milliseconds;

namespace {

constexpr milliseconds settle_limit{20'000};  // for the clients to be served, and to finish, after the last outage

/// Takes SIGINT, SIGTERM and SIGHUP from the default handlers for its lifetime, so that the demo can clean up.
class SignalWatch {
 public:
  SignalWatch() {
    sigemptyset(&watched_);
    for (const int number : {SIGINT, SIGTERM, SIGHUP}) {
      sigaddset(&watched_, number);
    }
    pthread_sigmask(SIG_BLOCK, &watched_, &before_);
    pipe_before_ = std::signal(SIGPIPE, SIG_IGN);  // A closed stdout must not end the demo before its children.
  }
  ~SignalWatch() {
    std::signal(SIGPIPE, pipe_before_);
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  SignalWatch(const SignalWatch&) = delete;
  SignalWatch& operator=(const SignalWatch&) = delete;

  /// Whether one of the signals came, now or earlier; waits for it up to `limit`.
  [[nodiscard]] bool wait(Clock::duration limit) {
    const auto whole = std::chrono::duration_cast<std::chrono::seconds>(limit);
    const timespec rest{.tv_sec = whole.count(),
                        .tv_nsec = std::chrono::duration_cast<std::chrono::nanoseconds>(limit - whole).count()};
    came_ = came_ || (limit >= Clock::duration::zero() && sigtimedwait(&watched_, nullptr, &rest) > 0);
    return came_;
  }
  [[nodiscard]] bool came() const { return came_; }

 private:
  sigset_t watched_{}, before_{};
  void (*pipe_before_)(int) = nullptr;
  bool came_ = false;
};

class Demo {
 public:
  Demo(const DemoOptions& options, std::unique_ptr<DemoSubject> subject) : options_(options), subject_(std::move(subject)) {}

  int run() {
    try {
      set_up();
      return perform();
    } catch (...) {
      scratch_.leave(workload::Leftovers::logs);
      throw;
    }
  }

 private:
  void set_up();
  int perform();
  void kill_again_and_again(Clock::time_point end);
  void linger();
  [[nodiscard]] bool pass_time(Clock::time_point until);
  [[nodiscard]] DemoResult check();
  int report(const DemoResult& result);
  [[nodiscard]] std::optional<std::uint16_t> entrance() const;
  [[nodiscard]] std::unique_ptr<LiveView> view();

  // In the order in which they are built; the reverse is the order in which they end.
  DemoOptions options_;
  SignalWatch signals_;
  workload::ScratchDirectory scratch_{"holdfast-demo"};
  DemoStage stage_;
  workload::History history_;
  std::unique_ptr<DemoProxy> proxy_;
  std::unique_ptr<DemoSubject> subject_;  // its clients end while the proxy still serves them
  std::string name_;
};

void Demo::set_up() {
  std::printf("starting %s in %s\n", subject_->origin().c_str(), scratch_.path().c_str());
  std::fflush(stdout);
  name_ = subject_->start(scratch_.path());
  if (options_.route == DemoRoute::through_holdfast) {
    proxy_ = std::make_unique<DemoProxy>(options_.program, scratch_.path(), subject_->upstream());
  }
  subject_->start_clients(entrance(), history_);
  if (!subject_->clients().wait_until_ready(settle_limit)) {
    const auto clients = subject_->clients().snapshots();
    const auto late = std::find_if(clients.begin(), clients.end(), [](const auto& client) { return !client.prepared; });
    throw std::runtime_error("the clients do not get to work" +
                             (late == clients.end() ? "" : "; " + late->name + " is at " + late->activity + " " + late->first_complaint));
  }
  std::printf("%s, %s, eight clients. While it runs, connect by hand with\n  %s\n", name_.c_str(),
              proxy_ ? "holdfast in front of it" : "nothing in front of it", subject_->by_hand(entrance()).c_str());
  if (proxy_) std::printf("and watch it in a browser at http://127.0.0.1:%u/\n", static_cast<unsigned>(proxy_->admin_port()));
  std::printf("\n");
  std::fflush(stdout);
}

std::optional<std::uint16_t> Demo::entrance() const { return proxy_ ? std::optional(proxy_->port()) : std::nullopt; }

int Demo::perform() {
  stage_.begin();
  {
    const auto shown = view();
    kill_again_and_again(Clock::now() + options_.duration);
    stage_.event("no more kills: the clients finish what they are at, and the tables are checked");
  }
  int code = report(check());
  if (options_.end == DemoEnd::stay && !signals_.came()) {
    linger();
    code = report(check());
  }
  return code;
}

void Demo::kill_again_and_again(Clock::time_point end) {
  // The last second belongs to the clients, so that the view does not end in the midst of an outage.
  auto next = Clock::now() + workload::between(2'000, 3'000);
  while (next < end - std::chrono::seconds(1)) {
    if (!pass_time(next)) {
      return;
    }
    const auto struck = Clock::now();
    subject_->strike(stage_, [this](milliseconds time) { return pass_time(Clock::now() + time); });
    next = std::max(struck + workload::between(3'000, 5'000), Clock::now() + std::chrono::seconds(1));
  }
  [[maybe_unused]] const bool undisturbed = pass_time(end);
}

/// False when a signal came first.
bool Demo::pass_time(Clock::time_point until) {
  do {
    if (proxy_) {
      proxy_->require_running();
    }
    const auto left = std::max(Clock::duration::zero(), until - Clock::now());
    if (signals_.wait(std::min<Clock::duration>(left, milliseconds(200)))) {
      return false;
    }
  } while (Clock::now() < until);
  return true;
}

void Demo::linger() {
  subject_->clients().resume();
  std::printf("\nIt keeps running until Ctrl-C. Connect with\n  %s\nKill the server whenever you like; it is started again:\n"
              "  %s\n\n",
              subject_->by_hand(entrance()).c_str(), subject_->kill_by_hand().c_str());
  std::fflush(stdout);
  const auto shown = view();
  while (pass_time(Clock::now() + milliseconds(100))) {
    if (!subject_->is_whole()) {
      stage_.struck(Blow::found_dead);
      // Long enough to be seen in the view.
      if (!pass_time(Clock::now() + std::chrono::seconds(1))) {
        break;
      }
      stage_.recovering();
      subject_->revive();
      stage_.up("the database is whole again");
    }
  }
  if (!subject_->is_whole()) {
    subject_->revive();
    stage_.up("the database is whole again");
  }
}

DemoResult Demo::check() {
  DemoResult result{.database = name_, .heard = subject_->heard(), .stage = stage_.snapshot(), .clients = {}, .history = {}, .unserved = {}};
  if (!subject_->clients().wait_until_served_since(result.stage.recovered, settle_limit)) {
    for (const auto& client : subject_->clients().snapshots()) {
      if (client.last_answer <= result.stage.recovered) {
        result.unserved.push_back(client.name);
      }
    }
  }
  if (!subject_->clients().pause(settle_limit)) {
    subject_->clients().end();  // What still waits counts as unanswered.
    options_.end = DemoEnd::finish;
  }
  result.history = workload::check_history(history_.snapshot(), subject_->stored_writes());
  result.clients = subject_->clients().snapshots();
  return result;
}

int Demo::report(const DemoResult& result) {
  std::printf("\n%s\n", demo_table(result).c_str());
  const auto faults = demo_faults(result);
  for (const auto& fault : faults) {
    std::printf("FAILED: %s\n", fault.c_str());
  }
  for (const auto& complaint : demo_complaints(result)) {
    std::printf("  first complaint of %s\n", complaint.c_str());
  }
  if (faults.empty()) {
    std::printf("No session was lost, no write lost, no write doubled.\n");
  } else {
    scratch_.leave(workload::Leftovers::logs);
    std::printf("The logs stay in %s.\n", scratch_.path().c_str());
  }
  if (options_.end == DemoEnd::finish) {
    std::printf("To connect by hand while it runs (--stay leaves it running):\n  %s\n", subject_->by_hand(entrance()).c_str());
  }
  std::fflush(stdout);
  return faults.empty() ? 0 : 1;
}

std::unique_ptr<LiveView> Demo::view() {
  return std::make_unique<LiveView>([this] { return ViewInput{.stage = stage_.snapshot(), .clients = subject_->clients().snapshots()}; });
}

}  // namespace

int run_demo(const DemoOptions& options, const std::function<std::unique_ptr<DemoSubject>()>& make_subject) {
  try {
    return Demo(options, make_subject()).run();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "holdfast demo: %s\n", error.what());
    return 1;
  }
}

}  // namespace holdfast::cli

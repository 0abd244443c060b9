// Composes the demo: server, proxy, clients, kills, view and table. The parts stand in workload/ and the other demo files.
#include "cli/demo.hpp"

#include <pthread.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <exception>
#include <memory>
#include <optional>
#include <random>

#include "cli/demo_proxy.hpp"
#include "cli/demo_report.hpp"
#include "cli/demo_stage.hpp"
#include "cli/demo_view.hpp"
#include "workload/postgres_binaries.hpp"
#include "workload/postgres_clients.hpp"
#include "workload/postgres_server.hpp"
#include "workload/scratch.hpp"

namespace holdfast::cli {

using workload::Clock;
using std::chrono::milliseconds;

namespace {

constexpr const char* app_user = "demo";
constexpr const char* app_database = "demo";
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
  explicit Demo(const DemoOptions& options) : options_(options) {}

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
  void strike();
  void linger();
  [[nodiscard]] bool pass_time(Clock::time_point until);
  [[nodiscard]] DemoResult check();
  int report(const DemoResult& result);
  [[nodiscard]] std::string psql() const;
  [[nodiscard]] std::unique_ptr<LiveView> view();
  [[nodiscard]] milliseconds between(int shortest, int longest) {
    return milliseconds(std::uniform_int_distribution(shortest, longest)(generator_));
  }

  // In the order in which they are built; the reverse is the order in which they end.
  DemoOptions options_;
  SignalWatch signals_;
  workload::ScratchDirectory scratch_{"holdfast-demo"};
  DemoStage stage_;
  workload::History history_;
  std::unique_ptr<workload::PostgresServer> server_;
  std::unique_ptr<DemoProxy> proxy_;
  std::unique_ptr<workload::PostgresWorkload> workload_;
  std::string version_;
  std::minstd_rand generator_{std::random_device{}()};
};

void Demo::set_up() {
  const auto binaries = workload::find_postgres(workload::postgres_search());
  std::printf("starting a throw-away PostgreSQL from %s in %s\n", binaries.c_str(), scratch_.path().c_str());
  std::fflush(stdout);
  server_ = std::make_unique<workload::PostgresServer>(binaries, scratch_.path(), workload::free_port());
  server_->start();
  const workload::PostgresTarget app{
      .port = server_->port(), .user = app_user, .password = workload::random_password(), .database = app_database};
  {
    workload::DirectConnection direct(server_->superuser("postgres"));
    direct.create_login(app_user, app.password);
    direct.run(std::string("CREATE DATABASE ") + app_database + " OWNER " + app_user);
    version_ = direct.rows("SHOW server_version").at(0).at(0);
    workload::DirectConnection owner(server_->superuser(app_database));
    owner.run("ALTER SCHEMA public OWNER TO " + std::string(app_user));
    workload::DirectConnection(app).run(workload::workload_schema());
  }
  workload::write_private_file(scratch_.path() / "pgpass", "127.0.0.1:*:*:" + std::string(app_user) + ":" + app.password + "\n");
  auto entrance = app;
  if (options_.route == DemoRoute::through_holdfast) {
    proxy_ = std::make_unique<DemoProxy>(options_.program, scratch_.path(), app);
    entrance.port = proxy_->port();
  }
  workload_ = std::make_unique<workload::PostgresWorkload>(entrance, history_);
  if (!workload_->wait_until_ready(settle_limit)) {
    const auto clients = workload_->snapshots();
    const auto late = std::find_if(clients.begin(), clients.end(), [](const auto& client) { return !client.prepared; });
    throw std::runtime_error("the clients do not get to work" +
                             (late == clients.end() ? "" : "; " + late->name + " is at " + late->activity + " " + late->first_complaint));
  }
  std::printf("PostgreSQL %s, %s, eight clients. While it runs, connect by hand with\n  %s\n", version_.c_str(),
              proxy_ ? "holdfast in front of it" : "nothing in front of it", psql().c_str());
  if (proxy_) std::printf("and watch it in a browser at http://127.0.0.1:%u/\n", static_cast<unsigned>(proxy_->admin_port()));
  std::printf("\n");
  std::fflush(stdout);
}

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
  auto next = Clock::now() + between(2'000, 3'000);
  while (next < end - std::chrono::seconds(1)) {
    if (!pass_time(next)) {
      return;
    }
    const auto struck = Clock::now();
    strike();
    next = std::max(struck + between(3'000, 5'000), Clock::now() + std::chrono::seconds(1));
  }
  [[maybe_unused]] const bool undisturbed = pass_time(end);
}

void Demo::strike() {
  const auto before = stage_.snapshot();
  // One in four is a crash of a single backend, which PostgreSQL answers by starting anew by itself.
  if (before.outages() % 4 == 3 && server_->kill_backend(app_user, [&] { stage_.struck(Blow::backend); })) {
    stage_.up();
    return;
  }
  stage_.struck(Blow::postmaster);
  server_->kill_postmaster();
  [[maybe_unused]] const bool undisturbed = pass_time(Clock::now() + between(200, 1'500));
  stage_.recovering();
  server_->start();
  stage_.up();
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
  workload_->resume();
  std::printf("\nIt keeps running until Ctrl-C. Connect with\n  %s\nKill the server whenever you like; it is started again:\n"
              "  kill -9 $(head -1 %s)\n\n",
              psql().c_str(), (scratch_.path() / "server/data/postmaster.pid").c_str());
  std::fflush(stdout);
  const auto shown = view();
  while (pass_time(Clock::now() + milliseconds(100))) {
    if (!server_->running()) {
      stage_.struck(Blow::found_dead);
      // Long enough to be seen in the view.
      if (!pass_time(Clock::now() + std::chrono::seconds(1))) {
        break;
      }
      stage_.recovering();
      server_->start();
      stage_.up();
    }
  }
  if (!server_->running()) {
    server_->start();
    stage_.up();
  }
}

DemoResult Demo::check() {
  DemoResult result{.server_version = version_, .stage = stage_.snapshot(), .clients = {}, .history = {}, .unserved = {}};
  if (!workload_->wait_until_served_since(result.stage.recovered, settle_limit)) {
    for (const auto& client : workload_->snapshots()) {
      if (client.last_answer <= result.stage.recovered) {
        result.unserved.push_back(client.name);
      }
    }
  }
  if (!workload_->pause(settle_limit)) {
    workload_->end();  // What still waits counts as unanswered.
    options_.end = DemoEnd::finish;
  }
  result.history = workload::check_history(history_.snapshot(), workload::stored_writes(server_->superuser(app_database)));
  result.clients = workload_->snapshots();
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
    std::printf("To connect by hand while it runs (--stay leaves it running):\n  %s\n", psql().c_str());
  }
  std::fflush(stdout);
  return faults.empty() ? 0 : 1;
}

std::string Demo::psql() const {
  const auto port = proxy_ ? proxy_->port() : server_->port();
  return "PGPASSFILE=" + (scratch_.path() / "pgpass").string() + " psql \"host=127.0.0.1 port=" + std::to_string(port) +
         " user=" + app_user + " dbname=" + app_database + "\"";
}

std::unique_ptr<LiveView> Demo::view() {
  return std::make_unique<LiveView>([this] { return ViewInput{.stage = stage_.snapshot(), .clients = workload_->snapshots()}; });
}

}  // namespace

int run_demo(const DemoOptions& options) {
  if (options.database == DemoDatabase::mongodb) {
    std::fprintf(stderr, "holdfast demo: the demo for mongodb is not there yet; `holdfast demo postgres` is\n");
    return 1;
  }
  try {
    return Demo(options).run();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "holdfast demo: %s\n", error.what());
    return 1;
  }
}

}  // namespace holdfast::cli

// Runs initdb and postgres as children. Whoever holds the object decides when the server lives.
#include "workload/postgres_server.hpp"

#include <libpq-fe.h>
#include <signal.h>
#include <unistd.h>

#include <charconv>
#include <stdexcept>
#include <system_error>

#include "workload/scratch.hpp"

namespace holdfast::workload {

namespace {

constexpr milliseconds start_limit{60'000};

std::vector<std::string> server_environment() { return environment_without({"PG", "HOLDFAST_", "LC_", "LANG"}); }

}  // namespace

PostgresServer::PostgresServer(std::filesystem::path binaries, std::filesystem::path directory, std::uint16_t port)
    : binaries_(std::move(binaries)),
      directory_(std::move(directory)),
      data_(directory_ / "server" / "data"),
      log_(directory_ / "postgres.log"),
      port_(port),
      password_(random_password()),
      identity_(unprivileged_identity()) {
  initialise();
}

PostgresServer::~PostgresServer() { stop(); }

void PostgresServer::initialise() {
  const auto home = directory_ / "server";
  const auto password_file = home / "password";
  std::filesystem::create_directory(home);
  std::filesystem::permissions(home, std::filesystem::perms::owner_all);
  write_private_file(password_file, password_ + "\n");
  if (identity_ && (chown(home.c_str(), identity_->user, identity_->group) != 0 ||
                    chown(password_file.c_str(), identity_->user, identity_->group) != 0)) {
    throw std::system_error(errno, std::generic_category(), "cannot give " + home.string() + " to " + identity_->name);
  }
  // --no-sync concerns only initdb itself: no crash of the machine is played here, and the server keeps its fsync.
  ChildProcess initdb({.arguments = {binaries_ / "initdb", "-D", data_, "-U", "postgres", "--auth=scram-sha-256",
                                     "--pwfile=" + password_file.string(), "--encoding=UTF8", "--locale=C", "--no-sync"},
                       .environment = server_environment(),
                       .output_file = log_,
                       .working_directory = home,
                       .identity = identity_});
  if (!initdb.wait(start_limit) || !initdb.succeeded()) {
    throw std::runtime_error("initdb failed:\n" + tail_of(log_, 10));
  }
  std::filesystem::remove(password_file);
}

void PostgresServer::start() {
  // The backends of a killed postmaster end by themselves, but until the last one has, its shared memory is in use and a
  // new postmaster refuses to start. One that hangs beyond that belongs to nobody any more.
  if (!wait_until(milliseconds(10'000), [&] { return processes().empty(); })) {
    for (const pid_t left : processes()) {
      ::kill(left, SIGKILL);
    }
  }
  const auto deadline = Clock::now() + start_limit;
  while (Clock::now() < deadline) {
    postmaster_ = std::make_unique<ChildProcess>(ChildOptions{
        .arguments = {binaries_ / "postgres", "-D", data_, "-p", std::to_string(port_), "-c", "listen_addresses=127.0.0.1",
                      "-c", "unix_socket_directories=", "-c", "fsync=on", "-c", "shared_buffers=16MB", "-c",
                      "max_connections=60", "-c", "log_line_prefix=%m [%p] "},
        .environment = server_environment(),
        .output_file = log_,
        .working_directory = data_.parent_path(),
        .identity = identity_,
        .parent_death_signal = SIGQUIT});
    // A postmaster that ends at once has met a last trace of its predecessor: try again.
    const bool settled = wait_until(start_limit, [&] { return !postmaster_->running() || accepts_logins(); });
    if (settled && postmaster_->running()) {
      return;
    }
  }
  throw std::runtime_error("the PostgreSQL server does not start:\n" + tail_of(log_, 10));
}

void PostgresServer::kill_postmaster() {
  if (postmaster_ != nullptr) {
    postmaster_->signal(SIGKILL);
    [[maybe_unused]] const bool gone = postmaster_->wait(milliseconds(5'000));
  }
}

bool PostgresServer::kill_backend(const std::string& user, const std::function<void()>& on_kill) {
  DirectConnection direct(superuser("postgres"));
  const auto rows = direct.rows("SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND usename = $1 "
                                "ORDER BY random() LIMIT 1", {user});
  pid_t victim = 0;
  if (!rows.empty()) {
    const auto& text = rows.front().front();
    std::from_chars(text.data(), text.data() + text.size(), victim);
  }
  if (victim <= 1 || ::kill(victim, SIGKILL) != 0) {
    return false;
  }
  on_kill();
  // Our own connection is ended too; before that the server might still seem to be well.
  if (!direct.wait_until_lost(milliseconds(10'000)) || !wait_until(start_limit, [&] { return !running() || accepts_logins(); })) {
    throw std::runtime_error("the PostgreSQL server does not recover:\n" + tail_of(log_, 10));
  }
  return true;
}

void PostgresServer::stop() {
  if (!running()) {
    return;
  }
  postmaster_->signal(SIGINT);
  if (!postmaster_->wait(milliseconds(10'000))) {
    postmaster_->signal(SIGQUIT);
    [[maybe_unused]] const bool gone = postmaster_->wait(milliseconds(10'000));
  }
}

bool PostgresServer::running() { return postmaster_ != nullptr && postmaster_->running(); }

bool PostgresServer::accepts_logins() const {
  const auto conninfo = "host=127.0.0.1 port=" + std::to_string(port_) +
                        " user=postgres dbname=postgres connect_timeout=2 sslmode=disable gssencmode=disable";
  return PQping(conninfo.c_str()) == PQPING_OK;
}

pid_t PostgresServer::pid() const { return postmaster_ == nullptr ? -1 : postmaster_->pid(); }

PostgresTarget PostgresServer::superuser(const std::string& database) const {
  return {.port = port_, .user = "postgres", .password = password_, .database = database};
}

std::vector<pid_t> PostgresServer::processes() const {
  // Each process of a cluster works in its data directory, and no other does.
  std::vector<pid_t> found;
  std::error_code error;
  const auto data = std::filesystem::canonical(data_, error);
  for (const auto& entry : std::filesystem::directory_iterator("/proc", error)) {
    const std::string name = entry.path().filename();
    pid_t pid = 0;
    if (std::from_chars(name.data(), name.data() + name.size(), pid).ec != std::errc{}) {
      continue;
    }
    std::error_code gone;
    if (std::filesystem::read_symlink(entry.path() / "cwd", gone) == data && !gone) {
      found.push_back(pid);
    }
  }
  return found;
}

}  // namespace holdfast::workload

// Starts children by fork and exec. Between the two only calls that are safe after a fork of a threaded process.
#include "workload/child_process.hpp"

#include <fcntl.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <stdexcept>
#include <system_error>

namespace holdfast::workload {

namespace {

std::vector<char*> pointers_to(const std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (const auto& string : strings) {
    pointers.push_back(const_cast<char*>(string.c_str()));
  }
  pointers.push_back(nullptr);
  return pointers;
}

/// The child's side up to exec: returns only on failure, with errno set.
void become(const ChildOptions& options, char* const* arguments, char* const* environment, int output, pid_t parent) {
  for (const int number : {SIGPIPE, SIGINT, SIGTERM, SIGHUP, SIGQUIT}) {
    std::signal(number, SIG_DFL);
  }
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  setsid();  // Ctrl-C on the terminal is for the parent, which ends its children in order.
  if (dup2(output, STDOUT_FILENO) < 0 || dup2(output, STDERR_FILENO) < 0 || chdir(options.working_directory.c_str()) != 0) {
    return;
  }
  if (options.identity) {
    // The bare system calls: glibc's wrappers signal the other threads, which do not exist after a fork.
    if (syscall(SYS_setgroups, 0, nullptr) != 0 || syscall(SYS_setgid, options.identity->group) != 0 ||
        syscall(SYS_setuid, options.identity->user) != 0) {
      return;
    }
  }
  // Only now: a change of user clears it (prctl(2)). A parent that died before it was set is noticed by its pid.
  if (prctl(PR_SET_PDEATHSIG, options.parent_death_signal) != 0) {
    return;
  }
  if (getppid() != parent) {
    _exit(127);
  }
  execve(arguments[0], arguments, environment);
}

}  // namespace

std::optional<Identity> unprivileged_identity() {
  if (geteuid() != 0) {
    return std::nullopt;
  }
  for (const char* name : {"postgres", "nobody"}) {
    if (const passwd* entry = getpwnam(name); entry != nullptr && entry->pw_uid != 0) {
      return Identity{.user = entry->pw_uid, .group = entry->pw_gid, .name = name};
    }
  }
  throw std::runtime_error("a database server must not run as root, and there is neither a user postgres nor nobody");
}

std::vector<std::string> environment_without(const std::vector<std::string_view>& prefixes) {
  std::vector<std::string> kept;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view variable = *entry;
    if (std::none_of(prefixes.begin(), prefixes.end(), [&](auto prefix) { return variable.starts_with(prefix); })) {
      kept.emplace_back(variable);
    }
  }
  return kept;
}

ChildProcess::ChildProcess(const ChildOptions& options) {
  const auto arguments = pointers_to(options.arguments);
  const auto environment = pointers_to(options.environment);
  const int output = open(options.output_file.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  std::array<int, 2> failure{};
  if (output < 0 || pipe2(failure.data(), O_CLOEXEC) != 0) {
    throw std::system_error(errno, std::generic_category(), options.output_file);
  }
  const pid_t parent = getpid();
  pid_ = fork();
  if (pid_ == 0) {
    become(options, arguments.data(), environment.data(), output, parent);
    const int reason = errno;
    [[maybe_unused]] const auto written = write(failure[1], &reason, sizeof reason);
    _exit(127);
  }
  const int fork_error = errno;
  close(output);
  close(failure[1]);
  // A successful exec closes the pipe; a failed one says why first.
  int reason = 0;
  ssize_t got = 0;
  do {
    got = read(failure[0], &reason, sizeof reason);
  } while (got < 0 && errno == EINTR);
  close(failure[0]);
  if (pid_ < 0 || got == sizeof reason) {
    if (pid_ > 0) {
      waitpid(pid_, nullptr, 0);
    }
    throw std::runtime_error("cannot start " + options.arguments.front() + ": " + std::strerror(pid_ < 0 ? fork_error : reason));
  }
}

ChildProcess::~ChildProcess() {
  if (running()) {
    signal(SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
}

bool ChildProcess::running() {
  if (!reaped_ && waitpid(pid_, &status_, WNOHANG) != 0) {
    reaped_ = true;
  }
  return !reaped_;
}

bool ChildProcess::wait(milliseconds limit) {
  return wait_until(limit, [&] { return !running(); });
}

void ChildProcess::signal(int number) {
  if (running()) {
    kill(pid_, number);
  }
}

}  // namespace holdfast::workload

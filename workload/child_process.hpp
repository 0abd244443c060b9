// Child processes that die with this one, and the identity they run under. Reads none of their output.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "workload/wait.hpp"

namespace holdfast::workload {

struct Identity {
  uid_t user = 0;
  gid_t group = 0;
  std::string name;
};

/// For root: the unprivileged user that a server must run as (`postgres`, else `nobody`); nothing for anybody else.
/// Throws std::runtime_error where root finds neither.
[[nodiscard]] std::optional<Identity> unprivileged_identity();

/// The environment of this process but for the variables whose names begin with one of `prefixes`, as NAME=VALUE.
[[nodiscard]] std::vector<std::string> environment_without(const std::vector<std::string_view>& prefixes);

struct ChildOptions {
  std::vector<std::string> arguments;  // the first is the program's path; never a secret: anyone can read them
  std::vector<std::string> environment;
  std::string output_file;             // stdout and stderr are appended to it
  std::string working_directory = "/";
  std::optional<Identity> identity{};  // to drop to
  int parent_death_signal = 9;         // sent to the child when the thread that started it ends
};

/// One child; destroying the object kills and reaps it. One thread uses it, and must outlive the child's use.
class ChildProcess {
 public:
  /// Throws std::runtime_error with the reason when the program cannot be started.
  explicit ChildProcess(const ChildOptions& options);
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  [[nodiscard]] pid_t pid() const { return pid_; }
  /// Reaps the child when it has ended.
  [[nodiscard]] bool running();
  /// False when it still runs after `limit`.
  [[nodiscard]] bool wait(milliseconds limit);
  void signal(int number);
  /// Of a child that has ended: ended by itself with status 0.
  [[nodiscard]] bool succeeded() const { return status_ == 0; }

 private:
  pid_t pid_ = -1;
  bool reaped_ = false;
  int status_ = -1;  // as of waitpid
};

}  // namespace holdfast::workload

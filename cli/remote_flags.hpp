// The part of the command line that names the commands of remote.hpp.
#pragma once

#include <optional>

#include "cli/remote.hpp"

namespace CLI {
class App;
}

namespace holdfast::cli {

/// Of the address, where no flag names one. It belongs to the commands only: `run` does not take it for a setting.
constexpr const char* admin_variable = "HOLDFAST_ADMIN";

class RemoteCommands {
 public:
  /// The parsing writes into this object: it stays where it is.
  explicit RemoteCommands(CLI::App& app);
  RemoteCommands(const RemoteCommands&) = delete;
  RemoteCommands& operator=(const RemoteCommands&) = delete;
  /// Runs the command that was given; none where it is not one of these.
  [[nodiscard]] std::optional<int> run();

 private:
  RemoteOptions options_;
  CLI::App* status_;
  CLI::App* reconnect_;
  CLI::App* pause_;
  CLI::App* resume_;
  CLI::App* events_;
  CLI::App* config_;
  CLI::App* health_;
};

}  // namespace holdfast::cli

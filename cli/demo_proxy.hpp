// The demo's holdfast: this very program, started again as `run`. Knows nothing of the workload.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "cli/demo_subject.hpp"
#include "workload/child_process.hpp"

namespace holdfast::cli {

/// A running `holdfast run`; dies with the object and with the thread that made it.
class DemoProxy {
 public:
  /// Starts `program` with `upstream` behind it and waits until /readyz says 200. The password travels in a file of mode 0600
  /// in `directory`, where holdfast.log is too. Throws std::runtime_error with the end of that log.
  DemoProxy(const std::string& program, const std::filesystem::path& directory, const DemoUpstream& upstream);

  [[nodiscard]] std::uint16_t port() const { return port_; }
  [[nodiscard]] std::uint16_t admin_port() const { return admin_port_; }
  /// Throws std::runtime_error with the end of the log when the process has ended.
  void require_running();

 private:
  std::filesystem::path log_;
  std::uint16_t port_, admin_port_;
  std::unique_ptr<workload::ChildProcess> process_;
};

}  // namespace holdfast::cli

// `holdfast demo`: a throw-away database that is killed again and again under a workload that goes through holdfast.
// Reads no command line; the workload itself stands in workload/.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

namespace holdfast::cli {

class DemoSubject;

/// What happens once the table is printed.
enum class DemoEnd {
  finish,
  stay,  // keep database, proxy and clients running without kills until Ctrl-C, then check again
};

/// Between the clients and the database.
enum class DemoRoute {
  through_holdfast,
  direct,  // nothing: what the same clients see without holdfast, which is many disconnections
};

struct DemoOptions {
  std::chrono::milliseconds duration{30'000};
  DemoEnd end = DemoEnd::finish;
  DemoRoute route = DemoRoute::through_holdfast;
  std::string program = "/proc/self/exe";  // the holdfast program, started as `PROGRAM run …`
};

/// Runs the demo in the foreground: the live view and the table go to stdout, failures to stderr. Call it before any other
/// thread is started: it takes SIGINT, SIGTERM and SIGHUP for itself while it runs.
/// Returns the exit code: 0 where no client was disconnected, no write lost or doubled and no answer wrong; else 1.
[[nodiscard]] int run_demo(const DemoOptions& options, const std::function<std::unique_ptr<DemoSubject>()>& make_subject);

}  // namespace holdfast::cli

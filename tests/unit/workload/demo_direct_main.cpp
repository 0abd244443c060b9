// The demo with nothing between the clients and the database: they are disconnected at every kill, and the demo must say so.
// Usage: demo_direct [SECONDS [stay]]. No test by itself: it is for a look at what holdfast spares its clients.
#include <cstdlib>
#include <string_view>

#include "cli/demo.hpp"
#include "cli/demo_postgres.hpp"

int main(int count, char** arguments) {
  holdfast::cli::DemoOptions options;
  options.route = holdfast::cli::DemoRoute::direct;
  if (count > 1) {
    options.duration = std::chrono::seconds(std::strtol(arguments[1], nullptr, 10));
  }
  if (count > 2 && std::string_view(arguments[2]) == "stay") {
    options.end = holdfast::cli::DemoEnd::stay;
  }
  return holdfast::cli::run_demo(options, holdfast::cli::postgres_demo);
}

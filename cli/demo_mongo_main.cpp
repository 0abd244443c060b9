// The program of the MongoDB demo: what `holdfast demo mongodb` becomes, because holdfast itself is linked without libmongoc.
// Usage: holdfast-demo-mongodb HOLDFAST MILLISECONDS finish|stay MODEL [direct]; MODEL may be empty. `direct` leaves holdfast out:
// what the same clients see alone.
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "cli/demo.hpp"
#include "cli/demo_mongo.hpp"

int main(int count, char** arguments) {
  using namespace holdfast::cli;
  if (count < 5) {
    std::fprintf(stderr, "holdfast-demo-mongodb: start it by `holdfast demo mongodb`\n");
    return 1;
  }
  DemoOptions options;
  options.program = arguments[1];
  options.duration = std::chrono::milliseconds(std::strtoll(arguments[2], nullptr, 10));
  if (std::string_view(arguments[3]) == "stay") options.end = DemoEnd::stay;
  if (count > 5 && std::string_view(arguments[5]) == "direct") options.route = DemoRoute::direct;
  const std::string model = arguments[4];
  return run_demo(options, [&] { return mongo_demo(model); });
}

// Reads the command line of a simulation and runs its test.
#include "tests/simulation/seeds.hpp"

#include <cstdlib>
#include <iostream>
#include <string_view>

namespace holdfast::simulation {

namespace {

Seeds asked_for;

void take_environment(const char* name, std::uint64_t& into) {
  if (const char* value = std::getenv(name)) into = std::strtoull(value, nullptr, 10);
}

}  // namespace

const Seeds& seeds() { return asked_for; }

}  // namespace holdfast::simulation

int main(int count, char** arguments) {
  using namespace holdfast::simulation;
  testing::InitGoogleTest(&count, arguments);
  const std::string_view path = arguments[0];
  asked_for.program = path.substr(path.rfind('/') + 1);
  take_environment("HOLDFAST_SEEDS", asked_for.count);
  take_environment("HOLDFAST_FIRST_SEED", asked_for.first);
  for (int i = 1; i + 1 < count; i += 2) {
    const std::string_view name = arguments[i];
    const auto value = std::strtoull(arguments[i + 1], nullptr, 10);
    if (name == "--seeds") {
      asked_for.count = value;
    } else if (name == "--first") {
      asked_for.first = value;
    } else {
      std::cerr << "usage: " << asked_for.program << " [--seeds N] [--first S]\n";
      return 2;
    }
  }
  return RUN_ALL_TESTS();
}

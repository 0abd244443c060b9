// Hands over to `holdfast-demo-mongodb`, the demo's program that is linked with libmongoc. It stands beside holdfast itself.
#pragma once

#include <string>

#include "cli/demo.hpp"

namespace holdfast::cli {

/// Becomes that program; returns 1, with a word to stderr, where it cannot be started.
[[nodiscard]] int run_mongo_demo_program(const DemoOptions& options, const std::string& model);

}  // namespace holdfast::cli

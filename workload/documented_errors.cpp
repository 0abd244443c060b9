// The table of the documented errors. Nothing else.
#include "workload/documented_errors.hpp"

#include <algorithm>
#include <array>

namespace holdfast::workload {

namespace {

constexpr std::array documented{
    // MongoDB
    DocumentedError{"133", Reaction::wait_then_run_again, "no primary within the hold timeout: run it again later"},
    DocumentedError{"251", Reaction::run_again, "transaction lost before its commit: run it again"},
    DocumentedError{"43", Reaction::run_again, "cursor lost with its server: open it again"},
    DocumentedError{"462", Reaction::wait_then_run_again, "no primary within the hold timeout: run it again later"},
    DocumentedError{"6", Reaction::look_then_run_again, "outcome unknown: look, and run it again if it is not there"},
    // PostgreSQL
    DocumentedError{"08007", Reaction::look_then_run_again, "outcome unknown: look, and run it again if it is not there"},
    DocumentedError{"40001", Reaction::run_again, "transaction lost before its commit: run it again"},
    DocumentedError{"57014", Reaction::run_again, "statement ended by an administrator: run it again"},
    DocumentedError{"57P03", Reaction::wait_then_run_again, "no server within the hold timeout: run it again later"},
};

const DocumentedError* find(std::string_view code) {
  const auto found = std::find_if(documented.begin(), documented.end(), [&](const auto& error) { return error.code == code; });
  return found == documented.end() ? nullptr : &*found;
}

}  // namespace

std::span<const DocumentedError> documented_errors() { return documented; }

Reaction reaction_to(std::string_view code) {
  const auto* error = find(code);
  return error == nullptr ? Reaction::complain : error->reaction;
}

std::string_view meaning_of(std::string_view code) {
  const auto* error = find(code);
  return error == nullptr ? "not documented" : error->meaning;
}

}  // namespace holdfast::workload

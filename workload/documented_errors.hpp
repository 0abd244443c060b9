// The errors that a client of holdfast must expect, of PostgreSQL and of MongoDB, and what it does about each. Talks to nobody.
#pragma once

#include <span>
#include <string_view>

namespace holdfast::workload {

/// What a client does after an error.
enum class Reaction {
  run_again,            // it was not executed: ROLLBACK where a transaction is open, and the same again
  look_then_run_again,  // it may have been executed: look whether it was, and only if not the same again
  wait_then_run_again,  // there is no server at present: the same again a little later
  complain,             // no documented error: the workload counts it as a fault
};

struct DocumentedError {
  std::string_view code;  // SQLSTATE, or MongoDB's number
  Reaction reaction;
  std::string_view meaning;
};

/// All of them.
[[nodiscard]] std::span<const DocumentedError> documented_errors();
/// `complain` for a code that is not among them.
[[nodiscard]] Reaction reaction_to(std::string_view code);
/// A sentence's worth for a table; `not documented` for a code that is not among them.
[[nodiscard]] std::string_view meaning_of(std::string_view code);

}  // namespace holdfast::workload

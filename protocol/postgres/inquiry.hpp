// A statement of ours: its text, and its parameters in text form.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace holdfast::postgres {

struct Inquiry {
  std::string_view text;  // of static storage
  std::vector<std::string> parameters;
};

/// A commit of our own without a table, in a READ ONLY transaction too: once it is acknowledged, every commit that was visible
/// before is as durable as the session asks for.
[[nodiscard]] inline Inquiry commit_barrier() {
  return {"SELECT pg_catalog.pg_logical_emit_message(true, 'holdfast'::pg_catalog.text, ''::pg_catalog.text)", {}};
}

}  // namespace holdfast::postgres

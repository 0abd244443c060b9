// A list of what a second run would do twice, or could not do as the first one did.
#include "proxy/postgres/replay_judge.hpp"

#include <algorithm>

#include "protocol/postgres/builtin_functions.hpp"

namespace holdfast::proxy::postgres {

namespace {

std::string_view obstacle_of(pg::BuiltinEffect effect, std::string_view name) {
  switch (effect) {
    // Exclusion was broken between the two runs.
    case pg::BuiltinEffect::advisory_lock: case pg::BuiltinEffect::transaction_lock: return "advisory_lock";
    case pg::BuiltinEffect::large_object: return "large_object";
    case pg::BuiltinEffect::replication: case pg::BuiltinEffect::connection: case pg::BuiltinEffect::backup:
    case pg::BuiltinEffect::dynamic: return "extension_state";
    case pg::BuiltinEffect::writes:
      // Notifications go out with the commit; a transaction id differs, and that is seen.
      return name == "pg_notify" || name == "txid_current" || name == "pg_current_xact_id" ? "" : "outside_effect";
    case pg::BuiltinEffect::none: case pg::BuiltinEffect::setting: case pg::BuiltinEffect::random_seed:
    case pg::BuiltinEffect::sequence: case pg::BuiltinEffect::sequence_read: return "";
  }
  return "outside_effect";
}

std::string_view obstacle_of(const pg::StatementJudgement& statement, bool& savepoint) {
  switch (statement.control) {
    case pg::TransactionControl::none: case pg::TransactionControl::begin: break;
    case pg::TransactionControl::savepoint: case pg::TransactionControl::release:
    case pg::TransactionControl::rollback_to: savepoint = true; break;
    default: return "transaction_control";
  }
  if (statement.effect == pg::StatementEffect::procedure) return "procedure";
  if (statement.outside) return "outside_effect";
  if (statement.prepares) return "prepared_statement";
  for (const auto& function : statement.functions) {
    if (const auto obstacle = obstacle_of(pg::builtin_effect(function.name), function.name); !obstacle.empty()) return obstacle;
  }
  return "";
}

}  // namespace

std::string_view obstacle_in(const pg::TextJudgement& text, bool& savepoint) {
  if (!text.parsed) return "unparsed";
  for (const auto& statement : text.statements) {
    if (const auto obstacle = obstacle_of(statement, savepoint); !obstacle.empty()) return obstacle;
  }
  return "";
}

bool only_sets_up(const pg::StatementJudgement& statement) {
  return statement.effect == pg::StatementEffect::session && statement.functions.empty();
}

bool only_sets_up(const pg::TextJudgement& text) {
  return text.parsed && text.statements.size() == 1 && only_sets_up(text.statements[0]);
}

}  // namespace holdfast::proxy::postgres

// What stands in the way of running statements again, by their parse trees. Judged at a loss, never on the hot path.
#pragma once

#include <string_view>

#include "protocol/postgres/statement_judge.hpp"

namespace holdfast::proxy::postgres {

namespace pg = holdfast::postgres;

/// Why statements of a transaction that was not committed cannot be run again in another one: a reason for the log, the
/// metrics and the protection report; empty where nothing is known against it. `savepoint` is set where one was made.
[[nodiscard]] std::string_view obstacle_in(const pg::TextJudgement& text, bool& savepoint);

/// Statements that change nothing but the session that was lost with its backend: SET, LISTEN, PREPARE and the like.
[[nodiscard]] bool only_sets_up(const pg::StatementJudgement& statement);
[[nodiscard]] bool only_sets_up(const pg::TextJudgement& text);

}  // namespace holdfast::proxy::postgres

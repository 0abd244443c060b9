// Whether statements that only read by their parse trees only read by a server's catalog too: what their functions,
// operators, relations and types are there. One query; the answer is a reason, or nothing.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "protocol/postgres/statement_judge.hpp"

namespace holdfast::postgres {

/// The query. Its only row holds the first thing found that is more than a read, or may be; it has no row where all is well.
/// Functions must be of pg_catalog, all of their name, and immutable or stable or on a short list of harmless volatile ones,
/// or among `read_only_functions`; views are followed through their stored rules to what they use; foreign tables, row
/// security, operators and domains of users are not believed.
[[nodiscard]] std::string_view read_proof_query();

/// Its parameters: array literals of schemas and names of functions, operators, relations, types, and of the user functions that are believed.
[[nodiscard]] std::vector<std::string> read_proof_parameters(const std::vector<StatementJudgement>& reads,
                                                             const std::vector<std::string>& read_only_functions);

}  // namespace holdfast::postgres

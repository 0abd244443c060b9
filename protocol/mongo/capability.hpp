// Does a server execute a write once that is sent twice with its (lsid, txnNumber)? Believed only where something shows it: imitations
// of MongoDB take the number, look at nothing and execute again.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "protocol/mongo/hello.hpp"

namespace holdfast::mongo {

/// What a server says in buildInfo.
struct Build {
  std::string product;  // MongoDB, FerretDB; empty: it does not say
  std::string version;
  bool operator==(const Build&) const = default;
};

/// None where the body is no answer to buildInfo, or a refusal.
[[nodiscard]] std::optional<Build> read_build(std::string_view body);

/// Empty: it deduplicates. Else a sentence why that is not believed of it. `build`: none where it was not told.
[[nodiscard]] std::string why_not_deduplicating(const MemberHello& hello, const std::optional<Build>& build);

}  // namespace holdfast::mongo

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
  std::string product;  // what it names, or MongoDB where it has all that every MongoDB has; empty: neither
  std::string version;
  bool version_only = false;  // nothing but that: it may say more to those who have logged in
  bool operator==(const Build&) const = default;
};

/// None where the body is no answer to buildInfo, or a refusal. A MongoDB is known by the fields that one has whatever it was built from,
/// since 3.4 and as a mongos, too: imitations say what clients look for, its version and limits, and little of how it was built.
[[nodiscard]] std::optional<Build> read_build(std::string_view body);

/// Empty: nothing in its hello speaks against that, which imitations say, too. Else why it does not, whatever it is.
[[nodiscard]] std::string why_not_by_hello(const MemberHello& hello);
/// Empty: it deduplicates. Else a sentence why that is not believed of it. `build`: none where it was not told.
[[nodiscard]] std::string why_not_deduplicating(const MemberHello& hello, const std::optional<Build>& build);

}  // namespace holdfast::mongo

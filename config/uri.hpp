// What connection URIs of both kinds of database have in common: how they begin, and what shows that a login was not encoded.
// Private to this folder.
#pragma once

#include <algorithm>
#include <optional>
#include <string_view>

#include "config/config.hpp"

namespace holdfast::config {

inline constexpr const char* unknown_scheme = "an upstream begins with postgres://, postgresql://, mongodb:// or mongodb+srv://";
inline constexpr const char* unencoded_login =
    "the user or password holds a character that must be percent-encoded (/ is %2F, ? is %3F, @ is %40, : is %3A)";

[[nodiscard]] inline std::optional<ConnectionType> type_of_uri(std::string_view uri) {
  if (uri.starts_with("postgres://") || uri.starts_with("postgresql://")) return ConnectionType::postgres;
  if (uri.starts_with("mongodb://") || uri.starts_with("mongodb+srv://")) return ConnectionType::mongodb;
  return std::nullopt;
}

/// Whether an '@' stands in `text`, which comes behind the end of the login, other than in the value of an option. Then a part of the
/// password was taken for a host, for a database or for an option, and must not come into a message. `are_good` tells options from that.
template <class AreGood>
[[nodiscard]] bool login_goes_on(std::string_view text, AreGood are_good) {
  const auto query = std::min(text.find('?'), text.size());
  const auto first = text.find('@'), last = text.rfind('@');
  if (first == std::string_view::npos) return false;
  if (first < query) return true;
  const auto end = std::min(text.find_first_of("&;", last), text.size());
  return !are_good(text.substr(query + 1, end - query - 1));
}

/// libpq takes an '@' behind the end of the login for a part of a host's or database's name, and so do we; it is hardly meant.
/// Of a URI that parse_postgres_uri takes.
[[nodiscard]] bool has_late_at_sign(std::string_view postgres_uri);

}  // namespace holdfast::config

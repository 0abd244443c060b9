// Names in which A and a are the same: hosts, and the options of connection strings.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>

namespace holdfast::config {

/// In lower case, as far as ASCII has one; whatever the locale.
[[nodiscard]] inline std::string lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), [](unsigned char c) { return static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c); });
  return out;
}

}  // namespace holdfast::config

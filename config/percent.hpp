// Percent-encoding in connection URIs (RFC 3986, "Percent-Encoding"), the same for every kind of database.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace holdfast::config {

/// None where a '%' is not followed by two hexadecimal digits, or stands for the byte 0.
[[nodiscard]] std::optional<std::string> percent_decode(std::string_view text);

}  // namespace holdfast::config

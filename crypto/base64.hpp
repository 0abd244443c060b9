// Base64 (RFC 4648, section 4), strict.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace holdfast::crypto {

[[nodiscard]] std::string base64_encode(std::string_view data);
/// None where the text is not canonical base64 with its padding.
[[nodiscard]] std::optional<std::string> base64_decode(std::string_view text);

}  // namespace holdfast::crypto

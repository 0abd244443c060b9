// How answers look: the headers that all have, and those of files that the program carries. Not for other folders.
#pragma once

#include <string>
#include <string_view>

#include "admin/embedded.hpp"
#include "admin/http.hpp"

namespace holdfast::admin {

inline constexpr const char* json_type = "application/json";

[[nodiscard]] inline std::string_view view_of(beast::string_view text) { return {text.data(), text.size()}; }

[[nodiscard]] Response answer(http::status status, const char* content_type, std::string body);

/// A file that the program carries. May be kept, but is asked for again each time: a new version has a new ETag.
[[nodiscard]] Response file_answer(const Request& request, const Embedded& embedded, const char* content_type);
/// The status page with its policy.
[[nodiscard]] Response page_answer(const Request& request);

}  // namespace holdfast::admin

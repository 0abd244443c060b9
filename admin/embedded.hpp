// Files that the program carries in itself; their bytes are put in by cmake/embed.cmake.
#pragma once

#include <string_view>

namespace holdfast::admin {

struct Embedded {
  std::string_view content;
  std::string_view etag;  // in quotes, as the header ETag wants it
};

/// admin/page/built/index.html: the status page, with script and style in it.
[[nodiscard]] Embedded status_page();
/// admin/page/built/policy.txt: its Content-Security-Policy.
[[nodiscard]] Embedded status_page_policy();
/// admin/openapi.json: what the API takes and answers.
[[nodiscard]] Embedded openapi_document();

}  // namespace holdfast::admin

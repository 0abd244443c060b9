// One table in one document; everything that comes from elsewhere is escaped.
#include "admin/status_page.hpp"

#include <initializer_list>
#include <string_view>

#include "admin/state_json.hpp"

namespace holdfast::admin {
namespace {

std::string escaped(std::string_view text) {
  std::string result;
  for (const char c : valid_utf8(text)) {
    switch (c) {
      case '<': result += "&lt;"; break;
      case '>': result += "&gt;"; break;
      case '&': result += "&amp;"; break;
      case '"': result += "&quot;"; break;
      default: result.push_back(c);
    }
  }
  return result;
}

}  // namespace

std::string status_page(const std::vector<ConnectionView>& views) {
  std::string page =
      "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>holdfast</title>"
      "<style>body{font:1rem system-ui,sans-serif;margin:2rem}td,th{padding:.3rem 1rem;text-align:left}</style>"
      "<h1>holdfast</h1><table><tr><th>connection<th>state<th>breaker<th>upstream<th>since<th>sessions<th>last error";
  for (const auto& view : views) {
    const auto& status = view.status;
    const auto& sessions = view.sessions;
    const auto counts = std::to_string(sessions.active) + " active, " + std::to_string(sessions.idle) + " idle, " +
                        std::to_string(sessions.waiting) + " waiting";
    page += "<tr>";
    for (const auto& cell : std::initializer_list<std::string>{
             status.connection, proxy::to_string(status.state), proxy::to_string(status.breaker), status.current,
             iso_time(status.since), counts, status.last_error}) {
      page += "<td>" + escaped(cell);
    }
  }
  return page + "</table></html>\n";
}

}  // namespace holdfast::admin

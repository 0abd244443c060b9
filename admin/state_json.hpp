// The JSON of the API: state objects and errors. One shape of each everywhere.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "admin/source.hpp"

namespace holdfast::admin {

/// ISO 8601 in UTC with milliseconds: `2026-01-31T12:00:00.000Z`.
[[nodiscard]] std::string iso_time(proxy::SystemTime time);
/// `text` with what is not UTF-8 replaced: a server that speaks before login does so in whatever encoding it likes.
[[nodiscard]] std::string valid_utf8(std::string_view text);

/// A state object.
[[nodiscard]] std::string state_json(const ConnectionView& view);
/// An array of them, in the order given.
[[nodiscard]] std::string states_json(const std::vector<ConnectionView>& views);
/// An object of them by id.
[[nodiscard]] std::string states_by_id_json(const std::vector<ConnectionView>& views);
/// What a connection went through in the last hour.
[[nodiscard]] std::string history_json(const std::string& id, const History::View& view);
/// An array of sessions, in the order given.
[[nodiscard]] std::string sessions_json(const std::vector<proxy::SessionEntry>& sessions);
/// `{"error": {"code": …, "message": …}}`
[[nodiscard]] std::string error_json(std::string_view code, std::string_view message);

/// A body of POST /api/connection/status.
struct StatusRequest {
  enum class Action { status, reconnect };
  std::string connection;
  Action action = Action::status;
};
/// None where the body is not what it must be; `error` gets a sentence.
[[nodiscard]] std::optional<StatusRequest> parse_status_request(std::string_view body, std::string& error);
/// Is the body empty or a JSON object?
[[nodiscard]] bool is_empty_or_object(std::string_view body);
/// The name of a field of a body that is one of these; none where it has no field.
[[nodiscard]] std::optional<std::string> any_field(std::string_view body);

}  // namespace holdfast::admin

// Text of the remote commands: tables, colours, indented JSON. It knows nothing of sockets.
#pragma once

#include <boost/json.hpp>

#include <string>
#include <string_view>
#include <vector>

#include "cli/demo_view.hpp"

namespace holdfast::cli {

/// Without control characters: what a server or a file brought in must not steer the terminal.
[[nodiscard]] std::string printable(std::string_view text);

/// A member for people: strings as they are, `-` for what is null or not there, JSON otherwise.
[[nodiscard]] std::string text_of(const boost::json::object& object, std::string_view key);

/// Two spaces for each level, members in the order they came in.
[[nodiscard]] std::string indented(const boost::json::value& value);

/// The state objects as a table, a line each below the heading.
[[nodiscard]] std::vector<std::string> state_table(const boost::json::array& states, Colour colour);

/// `TIME CONNECTION NAME FIELD=VALUE…` of an event's data.
[[nodiscard]] std::string event_line(std::string_view name, const boost::json::object& data, Colour colour);

}  // namespace holdfast::cli

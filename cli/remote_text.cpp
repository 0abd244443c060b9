// Pure functions from JSON to lines.
#include "cli/remote_text.hpp"

#include <algorithm>
#include <array>

namespace holdfast::cli {
namespace {

namespace json = boost::json;

constexpr std::string_view plain = "\x1b[0m", red = "\x1b[31m", green = "\x1b[32m", yellow = "\x1b[33m", cyan = "\x1b[36m";
constexpr std::size_t columns = 7, state_column = 2;

std::string_view paint_of_state(std::string_view state) {
  if (state == "connected") return green;
  if (state == "failed") return red;
  return state == "paused" ? cyan : yellow;
}

std::string_view paint_of_event(std::string_view name) {
  if (name == "database-connected" || name == "database-reconnected") return green;
  if (name == "database-connection-lost" || name == "database-reconnect-failed") return red;
  return name == "config-changed" ? cyan : yellow;
}

std::string painted(const std::string& text, std::string_view paint, Colour colour) {
  return colour == Colour::on ? std::string(paint) + text + std::string(plain) : text;
}

/// Characters, not bytes: those that continue one in UTF-8 take no room.
std::size_t width_of(std::string_view text) {
  return static_cast<std::size_t>(
      std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xc0U) != 0x80U; }));
}

std::string sessions_of(const json::object& state) {
  const auto* sessions = state.if_contains("sessions");
  if (sessions == nullptr || !sessions->is_object()) return "-";
  const auto& counts = sessions->get_object();
  return text_of(counts, "active") + "/" + text_of(counts, "idle") + "/" + text_of(counts, "waiting");
}

void write(const json::value& value, const std::string& indent, std::string& into) {
  const auto inner = indent + "  ";
  if (value.is_object() && !value.get_object().empty()) {
    std::string_view lead = "{\n";
    for (const auto& member : value.get_object()) {
      into.append(lead).append(inner).append(json::serialize(member.key())).append(": ");
      write(member.value(), inner, into);
      lead = ",\n";
    }
    into.append("\n").append(indent).append("}");
  } else if (value.is_array() && !value.get_array().empty()) {
    std::string_view lead = "[\n";
    for (const auto& element : value.get_array()) {
      into.append(lead).append(inner);
      write(element, inner, into);
      lead = ",\n";
    }
    into.append("\n").append(indent).append("]");
  } else {
    into.append(json::serialize(value));
  }
}

}  // namespace

std::string printable(std::string_view text) {
  std::string shown;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const auto next = i + 1 < text.size() ? static_cast<unsigned char>(text[i + 1]) : 0U;
    if (byte == 0xc2 && next >= 0x80 && next < 0xa0) {
      // The control characters of ISO 8859, as UTF-8.
      shown += ' ';
      ++i;
    } else {
      shown += byte < 0x20 || byte == 0x7f ? ' ' : text[i];
    }
  }
  return shown;
}

std::string text_of(const json::object& object, std::string_view key) {
  const auto* value = object.if_contains(json::string_view(key.data(), key.size()));
  if (value == nullptr || value->is_null()) return "-";
  if (!value->is_string()) return printable(json::serialize(*value));
  const auto& text = value->get_string();
  return text.empty() ? "-" : printable({text.data(), text.size()});
}

std::string indented(const json::value& value) {
  std::string text;
  write(value, "", text);
  return text;
}

std::vector<std::string> state_table(const json::array& states, Colour colour) {
  std::vector<std::array<std::string, columns>> rows{
      {"ID", "TYPE", "STATE", "BREAKER", "ACTIVE/IDLE/WAITING", "UPSTREAM", "LAST ERROR"}};
  for (const auto& entry : states) {
    const auto& state = entry.as_object();
    rows.push_back({text_of(state, "connectionId"), text_of(state, "type"), text_of(state, "state"),
                    text_of(state, "breaker"), sessions_of(state), text_of(state, "upstream"), text_of(state, "lastError")});
  }
  std::array<std::size_t, columns> widths{};
  for (const auto& row : rows) {
    for (std::size_t i = 0; i < columns; ++i) widths[i] = std::max(widths[i], width_of(row[i]));
  }
  std::vector<std::string> lines;
  for (std::size_t r = 0; r < rows.size(); ++r) {
    auto& line = lines.emplace_back();
    for (std::size_t i = 0; i < columns; ++i) {
      const auto& cell = rows[r][i];
      line += r > 0 && i == state_column ? painted(cell, paint_of_state(cell), colour) : cell;
      if (i + 1 < columns) line.append(widths[i] - width_of(cell) + 2, ' ');
    }
  }
  return lines;
}

std::string event_line(std::string_view name, const json::object& data, Colour colour) {
  const auto shown = printable(name);
  std::string line = text_of(data, "time") + "  " + text_of(data, "connectionId") + "  " +
                     painted(shown, paint_of_event(name), colour);
  for (const auto& [key, value] : data) {
    if (key == "time" || key == "connectionId" || key == "id") continue;
    if ((key == "event" || key == "name" || key == "type") && value.is_string() && value.get_string() == shown) continue;
    line += "  " + printable({key.data(), key.size()}) + "=" + printable(json::serialize(value));
  }
  return line;
}

}  // namespace holdfast::cli

// A change of settings, read field by field with the bounds that the file has.
#include <boost/json.hpp>

#include <algorithm>
#include <cmath>
#include <optional>
#include <sstream>
#include <utility>

#include "admin/settings_json.hpp"
#include "config/fields.hpp"
#include "config/load.hpp"

namespace holdfast::admin {
namespace {

namespace json = boost::json;
using config::Fields;
using config::milliseconds;
using Bad = std::vector<BadField>;

std::string view_of(json::string_view text) { return {text.data(), text.size()}; }

std::optional<double> number(const json::value& value) {
  boost::system::error_code failed;
  const auto result = value.to_number<double>(failed);
  return failed ? std::nullopt : std::optional(result);
}

bool is_whole(double value) { return std::floor(value) == value; }

std::string range(const char* what, double least, double most) {
  std::ostringstream sentence;
  sentence.precision(15);
  sentence << "must be " << what << " from " << least << " to " << most;
  return sentence.str();
}

/// Each takes a value or returns a sentence.
std::string take(const json::value& value, double least, double most, milliseconds& into) {
  std::optional<milliseconds> parsed;
  if (value.is_string()) parsed = config::parse_duration(view_of(value.get_string()));
  const auto given = number(value);
  if (given && is_whole(*given) && *given >= 0 && *given <= most) parsed = milliseconds(std::llround(*given));
  if (!parsed) return "must be a duration: \"250ms\", \"5s\", \"1m\", \"2h\", or a whole number of milliseconds";
  if (static_cast<double>(parsed->count()) < least) return "must be at least " + std::to_string(std::llround(least)) + "ms";
  into = *parsed;
  return {};
}

std::string take(const json::value& value, double least, double most, std::uint32_t& into) {
  const auto given = number(value);
  if (!given || !is_whole(*given) || *given < least || *given > most) return range("a whole number", least, most);
  into = static_cast<std::uint32_t>(*given);
  return {};
}

std::string take(const json::value& value, double least, double most, double& into) {
  const auto given = number(value);
  if (!given || !(*given >= least && *given <= most)) return range("a number", least, most);
  into = *given;
  return {};
}

template <class Section>
void change_section(const json::value& change, const std::string& path, Section& into, Bad& bad) {
  if (!change.is_object()) return bad.push_back({path, "must be an object"});
  for (const auto& [key, value] : change.get_object()) {
    const auto name = view_of(key);
    const auto& fields = Fields<Section>::all;
    const auto found = std::ranges::find_if(fields, [&](const auto& field) { return field.name == name; });
    const auto& given = value;
    const auto refusal =
        found == fields.end()
            ? std::string("there is no such setting")
            : std::visit([&](auto member) { return take(given, found->least, found->most, into.*member); }, found->member);
    if (!refusal.empty()) bad.push_back({path + "." + name, refusal});
  }
}

/// Calls `reconnect` or `health`, or finds that the key is neither.
void change_either(std::string_view key, const json::value& change, const std::string& path, config::Reconnect& reconnect,
                   config::Health& health, Bad& bad) {
  if (key == "reconnect") return change_section(change, path, reconnect, bad);
  if (key == "health") return change_section(change, path, health, bad);
  bad.push_back({path, "only reconnect, health and log.level can be changed while the proxy runs"});
}

void change_log(const json::value& change, config::Log& log, Bad& bad) {
  if (!change.is_object()) return bad.push_back({"log", "must be an object"});
  for (const auto& [key, value] : change.get_object()) {
    const auto path = "log." + view_of(key);
    if (key != "level") {
      bad.push_back({path, "only log.level can be changed while the proxy runs"});
      continue;
    }
    const auto found = std::ranges::find_if(log_levels, [&](const auto& level) { return value == level.first; });
    if (found == log_levels.end()) {
      bad.push_back({path, "must be one of debug, info, warn, error"});
    } else {
      log.level = found->second;
    }
  }
}

void change_connections(const json::value& change, config::Config& config, Bad& bad) {
  if (!change.is_object()) return bad.push_back({"connections", "must be an object of connections by id"});
  for (const auto& [key, part] : change.get_object()) {
    const auto path = "connections." + view_of(key);
    const auto connection = std::ranges::find(config.connections, view_of(key), &config::Connection::id);
    if (connection == config.connections.end()) {
      bad.push_back({path, "there is no connection with this id"});
    } else if (!part.is_object()) {
      bad.push_back({path, "must be an object"});
    } else {
      for (const auto& [section, fields] : part.get_object()) {
        change_either(view_of(section), fields, path + "." + view_of(section), connection->reconnect, connection->health,
                      bad);
      }
    }
  }
}

}  // namespace

std::vector<BadField> change_settings(std::string_view body, config::Config& config) {
  Bad bad;
  if (body.empty()) return bad;
  boost::system::error_code failed;
  const auto parsed = json::parse(json::string_view(body.data(), body.size()), failed);
  if (failed || !parsed.is_object()) return {{"", "the body must be a JSON object"}};
  const auto& change = parsed.get_object();
  for (const auto& [key, value] : change) {
    const auto name = view_of(key);
    if (name == "connections") continue;
    if (name == "log") {
      change_log(value, config.log, bad);
      continue;
    }
    change_either(name, value, name, config.reconnect, config.health, bad);
    if (!bad.empty()) continue;
    for (auto& connection : config.connections) {
      change_either(name, value, name, connection.reconnect, connection.health, bad);
    }
  }
  // After what concerns all, whatever the order in the body: the one that is more precise wins.
  if (const auto* connections = change.if_contains("connections")) change_connections(*connections, config, bad);
  return bad;
}

}  // namespace holdfast::admin

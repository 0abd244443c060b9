// What is shown is named here one by one: a setting that is new to the configuration is not shown by itself.
#include "admin/settings_json.hpp"

#include <boost/json.hpp>

#include <algorithm>
#include <cstdint>
#include <utility>

#include "admin/state_json.hpp"
#include "config/fields.hpp"

namespace holdfast::admin {
namespace {

namespace json = boost::json;
using config::Field;
using config::Fields;
using config::for_each_difference;
using config::milliseconds;

std::string duration(milliseconds value) {
  const auto count = value.count();
  if (count != 0 && count % 3'600'000 == 0) return std::to_string(count / 3'600'000) + "h";
  if (count != 0 && count % 60'000 == 0) return std::to_string(count / 60'000) + "m";
  if (count % 1000 == 0) return std::to_string(count / 1000) + "s";
  return std::to_string(count) + "ms";
}

json::value shown(milliseconds value) { return json::value(duration(value)); }
json::value shown(std::uint32_t value) { return json::value(value); }
json::value shown(double value) {
  // 2, not 2E0.
  const auto whole = static_cast<std::int64_t>(value);
  return static_cast<double>(whole) == value ? json::value(whole) : json::value(value);
}

template <class Section>
json::value shown(const Section& section, const Field<Section>& field) {
  return std::visit([&](auto member) { return shown(section.*member); }, field.member);
}

template <class Section>
json::object section_object(const Section& section) {
  json::object object;
  for (const auto& field : Fields<Section>::all) object[field.name] = shown(section, field);
  return object;
}

/// What the file says where it says something else.
template <class Section>
void add_differences(const Section& running, const Section& file, json::object& into) {
  json::object fields;
  for_each_difference(running, file, [&](const auto& field) { fields[field.name] = shown(file, field); });
  if (!fields.empty()) into[Fields<Section>::name] = std::move(fields);
}

template <class Settings>
json::object differences(const Settings& running, const Settings& file) {
  json::object object;
  add_differences(running.reconnect, file.reconnect, object);
  add_differences(running.health, file.health, object);
  return object;
}

/// Where each value comes from: of the connection itself, of the defaults of all, or nowhere.
template <class Section>
json::object sources(const Section& running, const Section& file, const std::map<std::string, std::string>& origins,
                     const std::string& prefix) {
  json::object all;
  const std::string name = Fields<Section>::name;
  for (const auto& field : Fields<Section>::all) {
    const auto path = name + "." + field.name;
    const auto own = origins.find(prefix + path), common = origins.find(path);
    const auto found = own != origins.end() ? own : common;
    all[field.name] = found == origins.end() ? json::value("default") : json::value(valid_utf8(found->second));
  }
  for_each_difference(running, file, [&](const auto& field) { all[field.name] = "changed at run time"; });
  return all;
}

json::array texts(const std::vector<std::string>& all) {
  json::array array;
  for (const auto& each : all) array.emplace_back(valid_utf8(each));
  return array;
}

const char* name_of(config::AuthMode mode) {
  switch (mode) {
    case config::AuthMode::passthrough: return "passthrough";
    case config::AuthMode::scram: return "scram";
    case config::AuthMode::trust: return "trust";
  }
  return "";
}

const char* name_of(config::LogLevel level) {
  for (const auto& [name, meaning] : log_levels) {
    if (meaning == level) return name;
  }
  return "";
}

void add_postgres(const config::Connection& connection, json::object& into) {
  into["databases"] = texts(connection.databases);
  into["keep_passwords"] = connection.keep_passwords;
  into["replay_limit"] = connection.replay_limit;
  into["replay_time_limit"] = duration(connection.replay_time_limit);
  into["exactly_once"] = connection.exactly_once == config::ExactlyOnce::on;
  into["lost_state"] = connection.lost_state == config::LostState::disconnect ? "disconnect" : "error";
  into["unknown_outcome_code"] = connection.unknown_outcome_code;
  into["read_only_functions"] = texts(connection.read_only_functions);
  into["message_buffer"] = connection.message_buffer;
  into["ignore_startup_parameters"] = texts(connection.ignore_startup_parameters);
  into["server_lifetime"] = duration(connection.server_lifetime);
}

const char* name_of(config::MongoFace face) {
  switch (face) {
    case config::MongoFace::automatic: return "auto";
    case config::MongoFace::mongos: return "mongos";
    case config::MongoFace::standalone: return "standalone";
  }
  return "";
}

void add_mongodb(const config::Connection& connection, json::object& into) {
  into["face"] = name_of(connection.face);
  into["pool"] = connection.pool == config::MongoPool::shared ? "shared" : "session";
  into["pool_max"] = connection.pool_max;
  into["pool_idle_timeout"] = duration(connection.pool_idle_timeout);
  into["upgrade_writes"] = connection.upgrade_writes;
}

/// Of the keys that one type only has, those of the other are not in the file either.
json::object connection_object(const config::Connection& connection) {
  const bool postgres = connection.type == config::ConnectionType::postgres;
  json::array listen;
  for (const auto& address : connection.listen) listen.emplace_back(address.to_string());
  json::array users;
  for (const auto& user : connection.users) users.emplace_back(valid_utf8(user.name));
  json::object object{
      {"type", postgres ? "postgres" : "mongodb"},
      {"listen", std::move(listen)},
      {"upstream", valid_utf8(connection.upstream)},
      {"auth", name_of(connection.auth)},
      {"users", std::move(users)},
      {"tls", connection.tls.has_value()},
      {"auth_query", connection.auth_query.has_value()},
      {"max_clients", connection.max_clients},
      {"replay", connection.replay},
      {"pause_timeout", duration(connection.pause_timeout)},
  };
  postgres ? add_postgres(connection, object) : add_mongodb(connection, object);
  object["reconnect"] = section_object(connection.reconnect);
  object["health"] = section_object(connection.health);
  return object;
}

}  // namespace

std::string settings_json(const Settings& settings) {
  const auto& running = settings.running;
  json::object connections;
  for (const auto& connection : running.connections) {
    auto object = connection_object(connection);
    const auto file = std::ranges::find(settings.file.connections, connection.id, &config::Connection::id);
    const auto& other = file == settings.file.connections.end() ? connection : *file;
    object["differs_from_file"] = differences(connection, other);
    const auto prefix = "connections." + connection.id + ".";
    object["sources"] = json::object{
        {"reconnect", sources(connection.reconnect, other.reconnect, running.origins, prefix)},
        {"health", sources(connection.health, other.health, running.origins, prefix)}};
    connections[connection.id] = std::move(object);
  }
  auto differs = differences(running, settings.file);
  if (running.log.level != settings.file.log.level) {
    differs["log"] = json::object{{"level", name_of(settings.file.log.level)}};
  }
  const auto& listen = running.admin.listen;
  return json::serialize(json::object{
      {"admin", json::object{{"listen", listen ? json::value(listen->to_string()) : json::value(nullptr)},
                             {"token", !running.admin.token.empty()}}},
      {"log", json::object{{"level", name_of(running.log.level)},
                           {"format", running.log.format == config::LogFormat::json ? "json" : "text"}}},
      {"workers", running.workers},
      {"drain_timeout", duration(running.drain_timeout)},
      {"watch_files", running.watch_files},
      {"reconnect", section_object(running.reconnect)},
      {"health", section_object(running.health)},
      {"differs_from_file", std::move(differs)},
      {"connections", std::move(connections)},
  });
}

std::string bad_fields_json(const std::vector<BadField>& fields) {
  json::array all;
  std::string names;
  for (const auto& [field, message] : fields) {
    all.push_back(json::object{{"field", valid_utf8(field)}, {"message", valid_utf8(message)}});
    names += (names.empty() ? "" : ", ") + field;
  }
  return json::serialize(json::object{
      {"error", json::object{{"code", "invalid_settings"},
                             {"message", valid_utf8("nothing was changed, because of " + names)},
                             {"fields", std::move(all)}}}});
}

std::string changed_settings(const config::Connection& before, const config::Connection& after) {
  std::string names;
  const auto add = [&names](const char* section) {
    return [&names, section](const auto& field) {
      names += (names.empty() ? "" : " ") + std::string(section) + "." + field.name;
    };
  };
  for_each_difference(before.reconnect, after.reconnect, add("reconnect"));
  for_each_difference(before.health, after.health, add("health"));
  return names;
}

}  // namespace holdfast::admin

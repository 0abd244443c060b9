// The file, or what a single connection's flags and variables amount to, with the settings of environment and flags laid over it.
#include "config/tree.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "config/fields.hpp"
#include "config/uri.hpp"

namespace holdfast::config {
namespace {

constexpr std::array other_keys{"admin.listen", "admin.token_file", "admin.tls.cert_file", "admin.tls.key_file",
                                "admin.tls.client_ca_file", "log.level", "log.format", "workers", "drain_timeout", "watch_files"};

std::string variable_of(std::string path) {
  for (char& c : path) c = c == '.' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return "HOLDFAST_" + path;
}

std::vector<std::string> scalar_paths() {
  std::vector<std::string> paths(other_keys.begin(), other_keys.end());
  const auto add = [&paths]<class Settings>(const Fields<Settings>& fields) {
    for (const auto& field : fields.all) paths.push_back(std::string(fields.name) + "." + field.name);
  };
  add(Fields<Reconnect>{});
  add(Fields<Health>{});
  return paths;
}

/// Sets the scalar at a dotted path, as if it stood in the file. False where the path leads nowhere.
bool overlay(YAML::Node root, std::string_view path, const std::string& value) {
  const auto dot = path.find('.');
  const std::string key(path.substr(0, dot));
  if (root.IsDefined() && !root.IsNull() && !root.IsMap()) return false;
  if (dot == std::string_view::npos) {
    root[key] = value;
    return true;
  }
  const auto rest = path.substr(dot + 1);
  if (key != "connections") {
    return overlay(root[key], rest, value);
  }
  for (auto connection : root["connections"]) {
    if (!connection.IsMap() || !connection["id"] || !connection["id"].IsScalar()) continue;
    const auto prefix = connection["id"].Scalar() + ".";
    if (rest.starts_with(prefix)) return overlay(connection, rest.substr(prefix.size()), value);
  }
  return false;
}

YAML::Node single_connection(const Sources& sources, const std::string& uri) {
  YAML::Node connection;
  const bool mongodb = type_of_uri(uri) == ConnectionType::mongodb;
  const auto variable = [&](std::string_view name) {
    return sources.environment ? sources.environment(name) : std::nullopt;
  };
  connection["id"] = "default";
  connection["type"] = mongodb ? "mongodb" : "postgres";
  connection["upstream"] = uri;
  const std::string usual = mongodb ? "127.0.0.1:27018" : "127.0.0.1:6432";
  connection["listen"] = sources.listen.value_or(variable("HOLDFAST_LISTEN").value_or(usual));
  if (const auto auth = variable("HOLDFAST_AUTH")) connection["auth"] = *auth;
  if (const auto file = variable("HOLDFAST_PASSWORD_FILE")) connection["password_file"] = *file;
  YAML::Node root;
  root["connections"].push_back(connection);
  return root;
}

void apply_overlays(const Sources& sources, YAML::Node root, LoadState& state) {
  const auto variable = [&](const std::string& name) {
    return sources.environment ? sources.environment(name) : std::nullopt;
  };
  const std::pair<const char*, const char*> short_names[] = {{"DB_CONNECTION_TIMEOUT", "reconnect.connection_timeout"},
                                                             {"DB_HEALTH_CHECK_INTERVAL", "health.interval"},
                                                             {"DB_RETRY_DELAY", "reconnect.retry_delay"},
                                                             {"DB_MAX_RETRIES", "reconnect.max_retries"}};
  const auto set = [&](const std::string& path, const std::string& value, const std::string& origin) {
    state.overlays[path] = origin;
    if (!overlay(root, path, value)) state.mistakes.push_back({origin, 0, 0, "there is no key " + path});
  };
  for (const auto& [name, path] : short_names) {
    const auto value = variable(name);
    if (value) set(path, *value + (std::string_view(name) == "DB_MAX_RETRIES" ? "" : "ms"), std::string("environment ") + name);
  }
  std::set<std::string> known{"HOLDFAST_CONFIG", "HOLDFAST_UPSTREAM", "HOLDFAST_LISTEN", "HOLDFAST_AUTH",
                              "HOLDFAST_PASSWORD_FILE", "HOLDFAST_CACHE"};
  for (const auto& path : scalar_paths()) {
    const auto name = variable_of(path);
    known.insert(name);
    if (const auto value = variable(name)) set(path, *value, "environment " + name);
  }
  for (const auto& name : sources.environment_names) {
    if (name.starts_with("HOLDFAST_") && !known.contains(name)) {
      state.warnings.push_back({"environment " + name, 0, 0, "no setting has this name"});
    }
  }
  if (sources.admin) set("admin.listen", *sources.admin, "--admin");
  for (const auto& entry : sources.set) {
    const auto equals = entry.find('=');
    if (equals == std::string::npos) {
      state.mistakes.push_back({"--set " + entry, 0, 0, "needs the form KEY=VALUE"});
    } else {
      set(entry.substr(0, equals), entry.substr(equals + 1), "--set " + entry.substr(0, equals));
    }
  }
}

bool is_between_braces(const std::string& text, const YAML::Exception& error) {
  if (error.msg.find("flow") != std::string::npos) return true;
  std::istringstream lines(text);
  std::string line;
  for (int i = 0; i <= error.mark.line; ++i) std::getline(lines, line);
  return line.find_first_of("{[") < static_cast<std::size_t>(std::max(error.mark.column, 0));
}

/// None where there is nothing to read.
std::optional<YAML::Node> read_base(const Sources& sources, LoadState& state) {
  if (sources.file) {
    state.file = *sources.file;
    std::ifstream in(*sources.file);
    std::error_code unknown;
    if (!in || std::filesystem::is_directory(*sources.file, unknown)) {
      state.mistakes.push_back({*sources.file, 0, 0, "cannot read the file"});
      return std::nullopt;
    }
    std::ostringstream content;
    content << in.rdbuf();
    try {
      auto root = YAML::Load(content.str());
      if (!root.IsNull()) return root;
      return YAML::Node(YAML::NodeType::Map);
    } catch (const YAML::Exception& error) {
      state.mistakes.push_back({*sources.file, error.mark.line + 1, error.mark.column + 1,
                                error.msg + (is_between_braces(content.str(), error) ? quotes_hint : "")});
      return std::nullopt;
    }
  }
  const auto upstream =
      sources.upstream ? sources.upstream : sources.environment ? sources.environment("HOLDFAST_UPSTREAM") : std::nullopt;
  if (upstream && !type_of_uri(*upstream)) {
    state.mistakes.push_back({sources.upstream ? "--upstream" : "environment HOLDFAST_UPSTREAM", 0, 0, unknown_scheme});
    return std::nullopt;
  }
  if (upstream) return single_connection(sources, *upstream);
  state.mistakes.push_back({"configuration", 0, 0, "there is neither a file (-c, HOLDFAST_CONFIG, "
                            "/etc/holdfast/holdfast.yaml) nor an upstream (--upstream, HOLDFAST_UPSTREAM)"});
  return std::nullopt;
}

}  // namespace

std::optional<YAML::Node> read_tree(const Sources& sources, LoadState& state) {
  auto tree = read_base(sources, state);
  if (tree) apply_overlays(sources, *tree, state);
  return tree;
}

}  // namespace holdfast::config

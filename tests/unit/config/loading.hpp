// Loads a configuration from text, with files in a folder of the test's own and an environment that is only a map.
#pragma once

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "config/load.hpp"

namespace holdfast::config {

/// A folder that goes away with the test.
class Folder {
 public:
  Folder() {
    auto name = (std::filesystem::temp_directory_path() / "holdfast-config-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
    path_ = name;
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  [[nodiscard]] std::string at(const std::string& name) const { return path_ + "/" + name; }
  std::string write(const std::string& name, const std::string& content, mode_t mode = 0600) const {
    std::ofstream(at(name), std::ios::binary) << content;
    ::chmod(at(name).c_str(), mode);
    return at(name);
  }

 private:
  std::string path_;
};

using Environment = std::map<std::string, std::string, std::less<>>;

inline std::function<std::optional<std::string>(std::string_view)> reader_of(Environment environment) {
  return [environment = std::move(environment)](std::string_view name) -> std::optional<std::string> {
    const auto found = environment.find(name);
    return found == environment.end() ? std::nullopt : std::optional(found->second);
  };
}

inline Sources sources_of(const Environment& environment) {
  Sources sources;
  sources.environment = reader_of(environment);
  for (const auto& [name, value] : environment) sources.environment_names.push_back(name);
  return sources;
}

inline Loaded load_text(const Folder& folder, const std::string& text, const Environment& environment = {},
                        const std::vector<std::string>& set = {}) {
  auto sources = sources_of(environment);
  sources.file = folder.write("holdfast.yaml", text);
  sources.set = set;
  return load(sources);
}

inline std::string all_lines(const Loaded& loaded) {
  std::string text;
  for (const auto& mistake : loaded.mistakes) text += mistake.to_string() + "\n";
  return text;
}

/// One connection, good as it stands; `more` are further lines of its mapping, each indented by four.
inline std::string one_connection(const std::string& more = {}, const std::string& upstream = "postgres://app@db:5432/orders") {
  return "connections:\n  - id: orders\n    type: postgres\n    listen: 127.0.0.1:6432\n    upstream: " + upstream + "\n" + more;
}

/// The configuration, which must be without a mistake.
inline Config good(const std::string& text, const Environment& environment = {}, const std::vector<std::string>& set = {}) {
  const Folder folder;
  auto loaded = load_text(folder, text, environment, set);
  EXPECT_TRUE(loaded.ok()) << text << all_lines(loaded);
  if (loaded.config.connections.empty()) loaded.config.connections.resize(1);
  return loaded.config;
}

inline Connection good_connection(const std::string& more, const std::string& upstream = "postgres://app@db:5432/orders") {
  return good(one_connection(more, upstream)).connections.front();
}

/// Each mistake as `LINE:COL: message`, without the file's name.
inline std::vector<std::string> mistakes(const std::string& text, const Environment& environment = {},
                                         const std::vector<std::string>& set = {}) {
  const Folder folder;
  const auto prefix = folder.at("holdfast.yaml") + ":";
  std::vector<std::string> found;
  for (const auto& mistake : load_text(folder, text, environment, set).mistakes) {
    auto line = mistake.to_string();
    found.push_back(line.starts_with(prefix) ? line.substr(prefix.size()) : line);
  }
  return found;
}

}  // namespace holdfast::config

// Reads one mapping of the configuration's tree key by key, and notes every mistake with its place.
// Private to this folder, as tree.hpp is: they show yaml-cpp.
#pragma once

#include <yaml-cpp/yaml.h>

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "config/load.hpp"

namespace holdfast::config {

/// YAML ends a text between braces at some of what a URI may hold.
inline constexpr const char* quotes_hint = " (text with ? , or # between braces needs quotes)";

/// What all sections of one load share.
struct LoadState {
  std::string file;
  std::map<std::string, std::string> overlays;  // dotted path of a value that is not the file's: where it came from
  std::vector<Mistake> mistakes, warnings;
  std::map<std::string, std::string> origins;   // the same of every single value that was read
  bool hold_timeout_set = false;  // the defaults of every connection name one, and mongodb's own gives way
  std::function<std::optional<std::string>(std::string_view)> environment;

  [[nodiscard]] Mistake at(const YAML::Node& node, const std::string& path, std::string message) const;
};

class Section {
 public:
  /// `path` is dotted, for messages; empty at the top.
  Section(LoadState& state, YAML::Node node, std::string path);
  Section(const Section&) = delete;
  Section& operator=(const Section&) = delete;

  /// The node of a key, which thereby counts as known; undefined where the key is not there.
  [[nodiscard]] YAML::Node take(std::string_view key);
  [[nodiscard]] bool has(std::string_view key) const;

  void text(std::string_view key, std::string& into);
  void duration(std::string_view key, milliseconds& into, milliseconds least = milliseconds(0));
  void size(std::string_view key, std::size_t& into);
  void number(std::string_view key, std::uint32_t& into, std::uint32_t least, std::uint32_t most);
  void real(std::string_view key, double& into, double least, double most);
  void on_off(std::string_view key, bool& into);
  void texts(std::string_view key, std::vector<std::string>& into);
  template <class Enum>
  void word(std::string_view key, Enum& into, const std::vector<std::pair<std::string_view, Enum>>& words) {
    const auto node = take(key);
    if (!node) return;
    std::string value;
    if (!scalar(node, key, value)) return;
    std::string known;
    for (const auto& [name, meaning] : words) {
      if (name == value) {
        into = meaning;
        return;
      }
      known += (known.empty() ? "" : ", ") + std::string(name);
    }
    mistake(node, key, "must be one of " + known);
  }
  /// A secret from `<prefix>_file` or `<prefix>_env`; where it came from is kept for a reload.
  void secret(std::string_view prefix, Secret& into, std::string& file, std::string& variable);

  /// `KEY: MESSAGE` at the node's place.
  void mistake(const YAML::Node& node, std::string_view key, const std::string& message);
  void warning(const YAML::Node& node, std::string_view key, const std::string& message);
  void mistake_here(const std::string& message);
  /// Every key that nobody took is a mistake. Called last.
  void finish();
  [[nodiscard]] std::string path_of(std::string_view key) const;
  [[nodiscard]] LoadState& state() { return state_; }
  [[nodiscard]] const YAML::Node& node() const { return node_; }

 private:
  bool scalar(const YAML::Node& node, std::string_view key, std::string& value);

  LoadState& state_;
  YAML::Node node_;
  std::string path_;
  std::vector<std::string> known_;
  bool malformed_ = false;
};

}  // namespace holdfast::config

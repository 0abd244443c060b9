// Keys, values and their mistakes.
#include "config/section.hpp"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>
#include <set>
#include <sstream>

namespace holdfast::config {
namespace {

std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    auto diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const auto above = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row[b.size()];
}

}  // namespace

Mistake LoadState::at(const YAML::Node& node, const std::string& path, std::string message) const {
  Mistake mistake;
  mistake.message = std::move(message);
  const auto overlay = overlays.find(path);
  const auto mark = node.IsDefined() ? node.Mark() : YAML::Mark::null_mark();
  if (overlay != overlays.end()) {
    mistake.origin = overlay->second;
  } else if (mark.is_null() || file.empty()) {
    mistake.origin = file.empty() ? "configuration" : file;
  } else {
    mistake.origin = file;
    mistake.line = mark.line + 1;
    mistake.column = mark.column + 1;
  }
  return mistake;
}

Section::Section(LoadState& state, YAML::Node node, std::string path)
    : state_(state), node_(std::move(node)), path_(std::move(path)) {
  if (!node_ || node_.IsNull() || node_.IsMap()) return;
  mistake_here("must be a mapping of keys to values");
  malformed_ = true;
  node_.reset();
}

std::string Section::path_of(std::string_view key) const {
  return path_.empty() ? std::string(key) : path_ + "." + std::string(key);
}

bool Section::has(std::string_view key) const {
  return node_ && node_.IsMap() && static_cast<bool>(node_[std::string(key)]);
}

YAML::Node Section::take(std::string_view key) {
  known_.emplace_back(key);
  if (!has(key)) return YAML::Node(YAML::NodeType::Undefined);
  const YAML::Node& node = node_;  // looking up in a const node adds nothing to it
  const auto found = node[std::string(key)];
  if (found.IsScalar()) {
    const auto place = state_.at(found, path_of(key), {});
    state_.origins[path_of(key)] = place.line == 0 ? place.origin : "file:" + std::to_string(place.line);
  }
  return found;
}

void Section::mistake(const YAML::Node& node, std::string_view key, const std::string& message) {
  state_.mistakes.push_back(state_.at(node, path_of(key), path_of(key) + ": " + message));
}

void Section::warning(const YAML::Node& node, std::string_view key, const std::string& message) {
  state_.warnings.push_back(state_.at(node, path_of(key), path_of(key) + ": " + message));
}

void Section::mistake_here(const std::string& message) {
  if (malformed_) return;  // that nothing could be read was told: what is therefore missing was not left out
  state_.mistakes.push_back(state_.at(node_, path_, (path_.empty() ? "the file" : path_) + ": " + message));
}

bool Section::scalar(const YAML::Node& node, std::string_view key, std::string& value) {
  if (!node.IsScalar()) {
    mistake(node, key, "must be a single value");
    return false;
  }
  value = node.Scalar();
  return true;
}

void Section::text(std::string_view key, std::string& into) {
  const auto node = take(key);
  std::string value;
  if (!node || !scalar(node, key, value)) return;
  if (value.empty()) return mistake(node, key, "must not be empty");
  into = std::move(value);
}

void Section::duration(std::string_view key, milliseconds& into, milliseconds least) {
  const auto node = take(key);
  std::string value;
  if (!node || !scalar(node, key, value)) return;
  const auto parsed = parse_duration(value);
  if (!parsed) return mistake(node, key, "\"" + value + "\" is not a duration: write 250ms, 5s, 1m or 2h");
  if (*parsed < least) return mistake(node, key, "must be at least " + std::to_string(least.count()) + "ms");
  into = *parsed;
}

void Section::size(std::string_view key, std::size_t& into) {
  const auto node = take(key);
  std::string value;
  if (!node || !scalar(node, key, value)) return;
  const auto parsed = parse_size(value);
  if (!parsed) return mistake(node, key, "\"" + value + "\" is not a size: write 4096, 64KiB or 1MiB");
  into = *parsed;
}

void Section::number(std::string_view key, std::uint32_t& into, std::uint32_t least, std::uint32_t most) {
  const auto node = take(key);
  std::string value;
  if (!node || !scalar(node, key, value)) return;
  std::uint32_t parsed = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), parsed);
  if (error != std::errc{} || end != value.data() + value.size() || parsed < least || parsed > most) {
    return mistake(node, key, "must be a whole number from " + std::to_string(least) + " to " + std::to_string(most));
  }
  into = parsed;
}

void Section::real(std::string_view key, double& into, double least, double most) {
  const auto node = take(key);
  std::string value;
  if (!node || !scalar(node, key, value)) return;
  double parsed = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), parsed);
  if (error != std::errc{} || end != value.data() + value.size() || !(parsed >= least && parsed <= most)) {
    std::ostringstream range;
    range << "must be a number from " << least << " to " << most;
    return mistake(node, key, range.str());
  }
  into = parsed;
}

void Section::on_off(std::string_view key, bool& into) {
  const auto node = take(key);
  std::string value;
  if (!node || !scalar(node, key, value)) return;
  if (value == "on" || value == "true" || value == "yes") {
    into = true;
  } else if (value == "off" || value == "false" || value == "no") {
    into = false;
  } else {
    mistake(node, key, "must be one of on, off");
  }
}

void Section::texts(std::string_view key, std::vector<std::string>& into) {
  const auto node = take(key);
  if (!node) return;
  if (!node.IsSequence()) return mistake(node, key, "must be a list, as in [a, b]");
  into.clear();
  for (const auto& entry : node) {
    std::string value;
    if (scalar(entry, key, value)) into.push_back(std::move(value));
  }
}

void Section::secret(std::string_view prefix, Secret& into, std::string& file, std::string& variable) {
  const auto file_key = std::string(prefix) + "_file";
  const auto variable_key = std::string(prefix) + "_env";
  text(file_key, file);
  text(variable_key, variable);
  if (!file.empty()) {
    std::string error;
    auto value = read_secret_file(file, error);
    if (!value) return mistake(take(file_key), file_key, error);
    if (value->empty()) return mistake(take(file_key), file_key, file + " is empty");
    into = Secret(std::move(*value));
  } else if (!variable.empty()) {
    auto value = state_.environment ? state_.environment(variable) : std::nullopt;
    if (!value) return mistake(take(variable_key), variable_key, "the environment has no variable " + variable);
    into = Secret(std::move(*value));
  }
}

void Section::finish() {
  if (!node_ || !node_.IsMap()) return;
  std::set<std::string> seen;
  for (const auto& entry : node_) {
    const auto key = entry.first.IsScalar() ? entry.first.Scalar() : std::string("?");
    if (!seen.insert(key).second) {
      state_.mistakes.push_back(state_.at(entry.first, path_of(key), "the key \"" + path_of(key) + "\" stands here twice"));
      continue;
    }
    if (std::ranges::find(known_, key) != known_.end()) continue;
    if (key.find_first_of("/?:@") != std::string::npos) {  // a piece of a URI, and maybe of a password
      state_.mistakes.push_back(state_.at(entry.first, path_of(key), "no key of " + (path_.empty() ? "the file" : path_) + quotes_hint));
      continue;
    }
    std::string message = "unknown key \"" + path_of(key) + "\"";
    const auto nearest = std::ranges::min_element(known_, {}, [&](const auto& name) { return distance(name, key); });
    if (nearest != known_.end() && distance(*nearest, key) <= 2) message += "; did you mean \"" + *nearest + "\"?";
    state_.mistakes.push_back(state_.at(entry.first, path_of(key), message));
  }
}

std::optional<std::string> read_secret_file(const std::string& path, std::string& error) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream content;
  if (!in || !(content << in.rdbuf())) {
    // An empty file sets failbit on the output too; whether it could be opened is what counts.
    if (in.is_open() && in.peek() == std::ifstream::traits_type::eof()) return std::string();
    error = "cannot read " + path + ": " + std::strerror(errno);
    return std::nullopt;
  }
  auto text = content.str();
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
  return text;
}

}  // namespace holdfast::config

// Decides which log lines are left out because too many like them came: an outage would repeat a line for each session.
// Two lines are alike where they differ in digits only. No clock and no log in here.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace holdfast::cli {

class LogRate {
 public:
  using Time = std::chrono::steady_clock::time_point;
  static constexpr std::size_t lines_max = 20;             // alike, in one window
  static constexpr std::chrono::seconds window{10};
  static constexpr std::size_t shapes_max = 256, shape_length_max = 120;  // bytes

  /// Is this line to be written?
  [[nodiscard]] bool admit(std::string_view line, Time now) {
    auto key = shape(line);
    if (shapes_.size() >= shapes_max && !shapes_.contains(key)) return true;
    auto& of = shapes_[std::move(key)];
    if (of.lines == 0) of.begun = now;
    if (++of.lines <= lines_max) return true;
    ++of.left_out;
    return false;
  }

  /// What windows that are over have left out: how many lines, and their shape with # for digits. Forgets them.
  [[nodiscard]] std::vector<std::pair<std::uint64_t, std::string>> ended(Time now) {
    std::vector<std::pair<std::uint64_t, std::string>> told;
    for (auto each = shapes_.begin(); each != shapes_.end();) {
      if (now - each->second.begun < window) {
        ++each;
        continue;
      }
      if (each->second.left_out > 0) told.emplace_back(each->second.left_out, each->first);
      each = shapes_.erase(each);
    }
    return told;
  }

 private:
  struct Shape {
    Time begun{};
    std::uint64_t lines = 0, left_out = 0;
  };
  static std::string shape(std::string_view line) {
    std::string result;
    for (const char c : line.substr(0, shape_length_max)) {
      const bool digit = c >= '0' && c <= '9';
      if (!digit) result.push_back(c);
      if (digit && !result.ends_with('#')) result.push_back('#');
    }
    return result;
  }

  std::map<std::string, Shape> shapes_;
};

}  // namespace holdfast::cli

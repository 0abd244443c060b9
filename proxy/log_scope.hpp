// What the log lines of a scope are about, beside their text: for logs in JSON. Writes no line itself.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace holdfast::proxy {

struct LogFields {
  std::string connection;
  std::string_view event;  // a name of the admin API's; empty: none
  std::vector<std::pair<std::string_view, std::string>> fields;
};

/// From here to the end of the scope the lines of this thread have these fields. Lines are formatted by the thread that
/// writes them, so nothing must be awaited meanwhile.
class LogScope {
 public:
  explicit LogScope(LogFields fields) : fields_(std::move(fields)), outer_(std::exchange(current_, &fields_)) {}
  ~LogScope() { current_ = outer_; }
  LogScope(const LogScope&) = delete;
  LogScope& operator=(const LogScope&) = delete;

  /// None outside every scope.
  [[nodiscard]] static const LogFields* current() { return current_; }

 private:
  LogFields fields_;
  const LogFields* outer_;
  static inline thread_local const LogFields* current_ = nullptr;
};

}  // namespace holdfast::proxy

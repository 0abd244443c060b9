// When a mongodb+srv:// name is looked up again: the specification "Polling SRV Records for mongos Discovery". Sans-io.
#pragma once

#include <algorithm>
#include <chrono>
#include <optional>

namespace holdfast::proxy::mongo {

class SeedPolling {
 public:
  using Time = std::chrono::steady_clock::time_point;
  using seconds = std::chrono::seconds;

  /// However short the records hold, they are not asked for more often than this.
  static constexpr seconds interval_min{60};
  /// After a look-up that brought nothing.
  static constexpr seconds interval_failed{10};

  /// A look-up has ended at `now`. `holds`: for how long by DNS; none where it brought no host.
  void on_answer(Time now, std::optional<seconds> holds) {
    next_ = now + (holds ? std::max(*holds, interval_min) : interval_failed);
  }
  /// Is the name to be looked up now? Then the answer is awaited, and the next one not before that. Not before the first answer.
  [[nodiscard]] bool begin(Time now) {
    if (!next_ || now < *next_) return false;
    next_.reset();
    return true;
  }

 private:
  std::optional<Time> next_;  // none: a look-up is under way
};

}  // namespace holdfast::proxy::mongo

// The demo's live view: one block redrawn on a terminal, plain lines elsewhere. Reads the run, changes nothing in it.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "cli/demo_stage.hpp"
#include "workload/statistics.hpp"

namespace holdfast::cli {

/// What the view shows at one moment.
struct ViewInput {
  StageSnapshot stage;
  std::vector<workload::ClientSnapshot> clients;
};

enum class Colour { on, off };

/// The block as lines, each cut to `columns`. `rate` is in statements a second. Pure.
[[nodiscard]] std::vector<std::string> view_block(const ViewInput& input, workload::Clock::time_point now, double rate,
                                                  std::size_t columns, Colour colour);
/// The one line that stands for the block where there is no terminal. Pure.
[[nodiscard]] std::string view_line(const ViewInput& input, workload::Clock::time_point now, double rate);
/// Of stdout: a terminal, and NO_COLOR is not set.
[[nodiscard]] Colour stdout_colour();

/// Draws from a thread of its own until it is destroyed. `look` is called on that thread.
class LiveView {
 public:
  explicit LiveView(std::function<ViewInput()> look);
  ~LiveView();
  LiveView(const LiveView&) = delete;
  LiveView& operator=(const LiveView&) = delete;

 private:
  void run();
  void draw(const ViewInput& input);
  void print(const ViewInput& input);
  [[nodiscard]] double rate(const ViewInput& input);

  std::function<ViewInput()> look_;
  bool terminal_;
  Colour colour_;
  std::size_t drawn_ = 0;           // lines of the block on the screen
  std::size_t told_ = 0;            // events printed
  std::uint64_t last_statements_ = 0;
  double rate_ = 0;
  workload::Clock::time_point last_rate_, last_line_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool ending_ = false;
  std::thread thread_;
};

}  // namespace holdfast::cli

// Draws the demo's live view.
#include "cli/demo_view.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace holdfast::cli {

using workload::ClientPhase;
using workload::ClientSnapshot;
using workload::Clock;

namespace {

constexpr std::chrono::milliseconds frame{100};
constexpr std::size_t events_shown = 3;
constexpr const char* red = "\x1b[31m";
constexpr const char* green = "\x1b[32m";
constexpr const char* yellow = "\x1b[33m";
constexpr const char* plain = "\x1b[0m";

std::string padded(std::string text, std::size_t width) {
  text.resize(std::max(width, text.size() + 1), ' ');
  return text;
}

/// Cuts to the terminal's width first: the colour's bytes take no room on the screen.
std::string line(std::string text, std::size_t columns, Colour colour, const char* paint) {
  text.resize(std::min(text.size(), columns));
  return colour == Colour::on && *paint != '\0' ? paint + text + plain : text;
}

std::string server_state(const StageSnapshot& stage, Clock::time_point now) {
  const auto since = seconds(now - stage.since);
  switch (stage.server) {
    case ServerState::starting: return "starting";
    case ServerState::up: return "up for " + since;
    case ServerState::down: return "DOWN for " + since;
    case ServerState::recovering: return "starting, for " + since;
  }
  return {};
}

std::string client_state(const ClientSnapshot& client, Clock::time_point now) {
  switch (client.phase) {
    case ClientPhase::starting: return "starting";
    case ClientPhase::resting: return "-";
    case ClientPhase::parked: return "finished";
    case ClientPhase::waiting: return client.activity + ", waiting " + seconds(now - client.since);
  }
  return {};
}

std::string errors_of(const std::map<std::string, std::uint64_t>& errors) {
  std::string text;
  for (const auto& [code, count] : errors) {
    text += (text.empty() ? "" : " ") + (code.empty() ? "(none)" : code) + "x" + std::to_string(count);
  }
  return text.empty() ? "none" : text;
}

const char* paint_of(const ClientSnapshot& client, Clock::time_point now) {
  if (client.disconnections + client.wrong_answers + client.refused_logins > 0) {
    return red;
  }
  const bool held = client.phase == ClientPhase::waiting && now - client.since > std::chrono::milliseconds(200);
  return held ? yellow : "";
}

}  // namespace

std::vector<std::string> view_block(const ViewInput& input, Clock::time_point now, double rate, std::size_t columns, Colour colour) {
  const auto& stage = input.stage;
  const auto all = workload::add_up(input.clients);
  std::vector<std::string> lines;
  const auto add = [&](const std::string& text, const char* paint) { lines.push_back(line(text, columns, colour, paint)); };
  add(padded(seconds(now - stage.began), 10) + padded("server " + server_state(stage, now), 28) +
          padded("outages " + std::to_string(stage.outages()), 14) + std::to_string(static_cast<long>(rate)) + " statements/s",
      stage.server == ServerState::up ? green : red);
  add(padded("client", 13) + padded("now", 40) + padded("answers", 10) + padded("lost conn.", 12) + "errors", "");
  for (const auto& client : input.clients) {
    add(padded(client.name, 13) + padded(client_state(client, now), 40) + padded(std::to_string(client.statements + client.notifications), 10) +
            padded(std::to_string(client.disconnections), 12) + errors_of(client.errors),
        paint_of(client, now));
  }
  add("all: " + std::to_string(all.statements) + " answers, " + std::to_string(all.writes) + " writes acknowledged, " +
          std::to_string(all.disconnections) + " disconnections, longest hold " + seconds(all.longest_wait), "");
  const std::size_t first = stage.events.size() - std::min(stage.events.size(), events_shown);
  for (std::size_t shown = 0; shown < events_shown; ++shown) {
    add(first + shown < stage.events.size() ? "  " + stage.events[first + shown] : "", "");
  }
  return lines;
}

std::string view_line(const ViewInput& input, Clock::time_point now, double rate) {
  const auto all = workload::add_up(input.clients);
  const auto waiting = std::count_if(input.clients.begin(), input.clients.end(), [&](const auto& client) {
    return client.phase == ClientPhase::waiting && now - client.since > std::chrono::milliseconds(200);
  });
  return seconds(now - input.stage.began) + "  server " + server_state(input.stage, now) + ", " +
         std::to_string(static_cast<long>(rate)) + " statements/s, " + std::to_string(waiting) + " clients held, " +
         std::to_string(all.writes) + " writes, " + std::to_string(all.disconnections) + " disconnections, errors: " +
         errors_of(all.errors);
}

Colour stdout_colour() {
  const char* wish = std::getenv("NO_COLOR");
  return isatty(STDOUT_FILENO) == 1 && (wish == nullptr || *wish == '\0') ? Colour::on : Colour::off;
}

LiveView::LiveView(std::function<ViewInput()> look)
    : look_(std::move(look)),
      terminal_(isatty(STDOUT_FILENO) == 1),
      colour_(stdout_colour()),
      last_rate_(Clock::now()),
      last_line_(Clock::now()),
      thread_([this] { run(); }) {}

LiveView::~LiveView() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void LiveView::run() {
  // What happened before this view is not its to tell.
  const auto before = look_();
  told_ = before.stage.events.size();
  last_statements_ = workload::add_up(before.clients).statements;
  for (bool last = false; !last;) {
    {
      std::unique_lock lock(mutex_);
      last = changed_.wait_for(lock, frame, [&] { return ending_; });
    }
    const auto input = look_();
    if (terminal_) {
      draw(input);
    } else {
      print(input);
    }
  }
}

double LiveView::rate(const ViewInput& input) {
  const auto now = Clock::now();
  const double passed = std::chrono::duration<double>(now - last_rate_).count();
  if (passed >= 1) {
    const auto statements = workload::add_up(input.clients).statements;
    rate_ = static_cast<double>(statements - last_statements_) / passed;
    last_statements_ = statements;
    last_rate_ = now;
  }
  return rate_;
}

void LiveView::draw(const ViewInput& input) {
  winsize size{};
  const bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  const auto lines = view_block(input, Clock::now(), rate(input), known ? size.ws_col : 80U, colour_);
  if (known && size.ws_row > 0 && lines.size() >= size.ws_row) {
    print(input);  // A block higher than the screen cannot be redrawn in place.
    return;
  }
  std::string text = drawn_ == 0 ? "" : "\x1b[" + std::to_string(drawn_) + "A";
  for (const auto& content : lines) {
    text += "\r\x1b[2K" + content + "\n";
  }
  drawn_ = lines.size();
  std::fputs(text.c_str(), stdout);
  std::fflush(stdout);
}

void LiveView::print(const ViewInput& input) {
  for (; told_ < input.stage.events.size(); ++told_) {
    std::printf("%s\n", input.stage.events[told_].c_str());
  }
  const auto now = Clock::now();
  const double current = rate(input);
  if (now - last_line_ >= std::chrono::seconds(1)) {
    last_line_ = now;
    std::printf("%s\n", view_line(input, now, current).c_str());
  }
  std::fflush(stdout);
}

}  // namespace holdfast::cli

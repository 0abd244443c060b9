// Formats of log lines.
#include "cli/logging.hpp"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <charconv>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "admin/state_json.hpp"
#include "cli/log_rate.hpp"
#include "proxy/log_scope.hpp"

namespace holdfast::cli {
namespace {

/// As `log.level` names it.
std::string_view name_of(spdlog::level::level_enum level) {
  switch (level) {
    case spdlog::level::warn: return "warn";
    case spdlog::level::err:
    case spdlog::level::critical: return "error";
    case spdlog::level::info: return "info";
    default: return "debug";
  }
}

/// The level in a text line.
class LevelFlag final : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm&, spdlog::memory_buf_t& out) override {
    const auto name = name_of(message.level);
    out.append(name.data(), name.data() + name.size());
  }
  [[nodiscard]] std::unique_ptr<custom_flag_formatter> clone() const override { return std::make_unique<LevelFlag>(); }
};

/// `{"time": …, "level": …, "message": …}`, with the message escaped as JSON wants it, and what is known beside it:
/// `connection`, `session`, `event` and the event's numbers.
class JsonFormatter final : public spdlog::formatter {
 public:
  explicit JsonFormatter(std::vector<std::string> connections)
      : connections_(std::move(connections)), time_("%Y-%m-%dT%H:%M:%S.%eZ", spdlog::pattern_time_type::utc, "") {}

  void format(const spdlog::details::log_msg& message, spdlog::memory_buf_t& out) override {
    append(out, "{\"time\":\"");
    time_.format(message, out);
    append(out, "\",\"level\":\"");
    append(out, name_of(message.level));
    append(out, "\",\"message\":\"");
    escape({message.payload.data(), message.payload.size()}, out);
    append(out, "\"");
    if (const auto* about = proxy::LogScope::current()) {
      member("connection", about->connection, out);
      if (!about->event.empty()) member("event", about->event, out);
      for (const auto& [name, value] : about->fields) number(name, value, out);
    } else {
      from_text({message.payload.data(), message.payload.size()}, out);
    }
    append(out, "}\n");
  }
  [[nodiscard]] std::unique_ptr<formatter> clone() const override { return std::make_unique<JsonFormatter>(connections_); }

 private:
  /// Lines of a session begin with `ID: session N `, others of a connection with `ID: ` or `ID listens`.
  void from_text(std::string_view text, spdlog::memory_buf_t& out) const {
    const auto of = std::ranges::find_if(connections_, [&](const auto& id) {
      return text.starts_with(id) && (text.substr(id.size()).starts_with(": ") || text.substr(id.size()).starts_with(" listens on "));
    });
    if (of == connections_.end()) return;
    member("connection", *of, out);
    // Nowhere else, where a client's words could stand.
    const auto at = text.find(session_word);
    if (at == std::string_view::npos || (at != of->size() + 1 && !text.ends_with(" leaves it"))) return;
    const auto rest = text.substr(at + session_word.size());
    number("session", rest.substr(0, rest.find_first_not_of("0123456789")), out);
  }
  static void member(std::string_view name, std::string_view value, spdlog::memory_buf_t& out) {
    append(out, ",\"");
    append(out, name);
    append(out, "\":\"");
    escape(value, out);
    append(out, "\"");
  }
  static void number(std::string_view name, std::string_view digits, spdlog::memory_buf_t& out) {
    if (digits.empty()) return;
    append(out, ",\"");
    append(out, name);
    append(out, "\":");
    append(out, digits);
  }
  static void append(spdlog::memory_buf_t& out, std::string_view text) { out.append(text.data(), text.data() + text.size()); }
  static void escape(std::string_view text, spdlog::memory_buf_t& out) {
    static constexpr char digits[] = "0123456789abcdef";
    for (const char c : admin::valid_utf8(text)) {
      const auto byte = static_cast<unsigned char>(c);
      if (c == '"' || c == '\\') {
        const char escaped[] = {'\\', c};
        append(out, {escaped, 2});
      } else if (byte < 0x20) {
        const char escaped[] = {'\\', 'u', '0', '0', digits[byte >> 4], digits[byte & 15]};
        append(out, {escaped, 6});
      } else {
        out.push_back(c);
      }
    }
  }
  static constexpr std::string_view session_word = " session ";
  std::vector<std::string> connections_;
  spdlog::pattern_formatter time_;
};

/// Leaves out lines of which too many came that are alike. Those of a connection as a whole, which stand in a scope, and
/// those of level debug always pass.
class LimitedSink final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  explicit LimitedSink(std::shared_ptr<spdlog::sinks::sink> to) : to_(std::move(to)) {}

 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    const auto now = std::chrono::steady_clock::now();
    for (const auto& [count, shape] : rate_.ended(now)) {
      const auto text = fmt::format("left out {} lines like: {}", count, shape);
      to_->log(spdlog::details::log_msg(message.logger_name, spdlog::level::warn, text));
    }
    const bool exempt = message.level <= spdlog::level::debug || proxy::LogScope::current() != nullptr;
    if (exempt || rate_.admit({message.payload.data(), message.payload.size()}, now)) to_->log(message);
  }
  void flush_() override { to_->flush(); }
  void set_pattern_(const std::string& pattern) override { to_->set_pattern(pattern); }
  void set_formatter_(std::unique_ptr<spdlog::formatter> formatter) override { to_->set_formatter(std::move(formatter)); }

 private:
  std::shared_ptr<spdlog::sinks::sink> to_;
  LogRate rate_;
};

spdlog::level::level_enum level_of(config::LogLevel level) {
  switch (level) {
    case config::LogLevel::debug: return spdlog::level::debug;
    case config::LogLevel::info: return spdlog::level::info;
    case config::LogLevel::warn: return spdlog::level::warn;
    case config::LogLevel::error: return spdlog::level::err;
  }
  return spdlog::level::info;
}

}  // namespace

void set_up_logging(const config::Log& log, std::vector<std::string> connections) {
  auto logger = std::make_shared<spdlog::logger>(
      "holdfast", std::make_shared<LimitedSink>(std::make_shared<spdlog::sinks::stderr_sink_mt>()));
  if (log.format == config::LogFormat::json) {
    logger->set_formatter(std::make_unique<JsonFormatter>(std::move(connections)));
  } else {
    auto text = std::make_unique<spdlog::pattern_formatter>(spdlog::pattern_time_type::utc);
    text->add_flag<LevelFlag>('*').set_pattern("%Y-%m-%dT%H:%M:%S.%eZ %* %v");
    logger->set_formatter(std::move(text));
  }
  logger->flush_on(spdlog::level::info);
  spdlog::set_default_logger(std::move(logger));
  set_log_level(log.level);
}

void set_log_level(config::LogLevel level) { spdlog::set_level(level_of(level)); }

}  // namespace holdfast::cli

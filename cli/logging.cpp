// Formats of log lines.
#include "cli/logging.hpp"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <memory>

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

/// `{"time": …, "level": …, "message": …}`, with the message escaped as JSON wants it.
class JsonFormatter final : public spdlog::formatter {
 public:
  JsonFormatter() : time_("%Y-%m-%dT%H:%M:%S.%eZ", spdlog::pattern_time_type::utc, "") {}

  void format(const spdlog::details::log_msg& message, spdlog::memory_buf_t& out) override {
    append(out, "{\"time\":\"");
    time_.format(message, out);
    append(out, "\",\"level\":\"");
    append(out, name_of(message.level));
    append(out, "\",\"message\":\"");
    escape({message.payload.data(), message.payload.size()}, out);
    append(out, "\"}\n");
  }
  [[nodiscard]] std::unique_ptr<formatter> clone() const override { return std::make_unique<JsonFormatter>(); }

 private:
  static void append(spdlog::memory_buf_t& out, std::string_view text) { out.append(text.data(), text.data() + text.size()); }
  static void escape(std::string_view text, spdlog::memory_buf_t& out) {
    static constexpr char digits[] = "0123456789abcdef";
    for (const char c : text) {
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
  spdlog::pattern_formatter time_;
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

void set_up_logging(const config::Log& log) {
  auto logger = spdlog::stderr_logger_mt("holdfast");
  if (log.format == config::LogFormat::json) {
    logger->set_formatter(std::make_unique<JsonFormatter>());
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

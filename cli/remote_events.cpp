// Reads server-sent events as the HTML standard has them, without reconnection, and prints a line for each.
#include <boost/json.hpp>

#include <chrono>
#include <exception>
#include <functional>
#include <iostream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include "cli/admin_client.hpp"
#include "cli/remote.hpp"
#include "cli/remote_text.hpp"

namespace holdfast::cli {
namespace {

namespace json = boost::json;

constexpr std::chrono::milliseconds quiet_after{500};

/// Puts events together from pieces of any size. Comments, which only keep the stream alive, are dropped.
class EventReader {
 public:
  using Print = std::function<void(const std::string& name, const std::string& data)>;
  explicit EventReader(Print print) : print_(std::move(print)) {}

  /// Whether the piece completed an event.
  bool feed(std::string_view piece) {
    pending_.append(piece);
    bool complete = false;
    std::size_t begin = 0;
    for (auto end = pending_.find('\n'); end != std::string::npos; end = pending_.find('\n', begin)) {
      auto line = std::string_view(pending_).substr(begin, end - begin);
      if (line.ends_with('\r')) line.remove_suffix(1);
      complete = take(line) || complete;
      begin = end + 1;
    }
    pending_.erase(0, begin);
    return complete;
  }

 private:
  bool take(std::string_view line) {
    if (line.empty()) {
      const bool complete = !data_.empty();
      if (complete) print_(name_, data_);
      name_.clear();
      data_.clear();
      return complete;
    }
    const auto colon = line.find(':');
    const auto field = line.substr(0, colon);
    auto value = colon == std::string_view::npos ? std::string_view() : line.substr(colon + 1);
    if (value.starts_with(' ')) value.remove_prefix(1);
    if (field == "event") name_ = value;
    if (field == "data") (data_.empty() ? data_ : data_ += '\n').append(value);
    return false;
  }

  Print print_;
  std::string pending_, name_, data_;
};

void print_event(const std::string& name, const std::string& data, bool as_it_is, Colour colour) {
  boost::system::error_code malformed;
  const auto value = as_it_is ? json::value() : json::parse(data, malformed);
  if (as_it_is || malformed || !value.is_object()) {
    std::cout << (as_it_is ? data : printable(data)) << std::endl;
    return;
  }
  // Flushed each time: whoever reads a pipe wants to see an event when it happens.
  std::cout << event_line(name.empty() ? "message" : name, value.get_object(), colour) << std::endl;
}

}  // namespace

int show_events(const RemoteOptions& options) try {
  const auto colour = stdout_colour();
  const AdminClient client(options.admin, options.token_file, {options.ca_file, options.cert_file, options.key_file});
  EventReader reader([&](const auto& name, const auto& data) { print_event(name, data, options.json, colour); });
  std::string target = "/api/v1/events";
  if (options.since || !options.follow) target += "?since=" + std::to_string(options.since.value_or(0));
  const auto quiet = options.follow ? std::nullopt : std::optional(quiet_after);
  const bool silent = client.stream(target, quiet, [&](std::string_view piece) { return reader.feed(piece); });
  if (options.follow) {
    throw std::runtime_error("the proxy at " + options.admin +
                             (silent ? " gives no sign of life" : " has ended the stream of events"));
  }
  return 0;
} catch (const std::exception& error) {
  std::cerr << "holdfast: " << printable(error.what()) << '\n';
  return 1;
}

}  // namespace holdfast::cli

// What each connection went through in the last hour: latency of its health checks, outages, errors. Bounded, for any
// thread to write to and for the admin thread to read; draws and sends nothing.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "proxy/upstream_types.hpp"

namespace holdfast::admin {

class History {
 public:
  static constexpr std::chrono::hours span{1};
  static constexpr std::chrono::seconds slot{10};  // measurements closer together than this become one
  static constexpr std::size_t outages_max = 100, errors_max = 20, error_length_max = 1024;  // bytes

  /// The measurements of one slot.
  struct Sample {
    proxy::SystemTime time{};                      // of the slot's beginning
    std::optional<proxy::microseconds> latency;    // the longest; none where no check was answered
    std::uint32_t failed = 0;                      // checks and attempts
    bool operator==(const Sample&) const = default;
  };
  struct Outage {
    proxy::SystemTime from{};
    std::optional<proxy::SystemTime> to;  // none: it goes on
    std::string reason;
  };
  struct Error {
    proxy::SystemTime time{};  // when it was seen last
    std::string message;
  };
  struct View {
    std::vector<Sample> samples;
    std::vector<Outage> outages;
    std::vector<Error> errors;  // each message once in a row
  };

  History() = default;
  History(const History&) = delete;
  History& operator=(const History&) = delete;

  void on_measured(const proxy::Measurement& measurement);
  void on_event(const proxy::Event& event);
  /// What is not older than `span` at `now`; an outage counts by its end. Empty where nothing is known of the connection.
  [[nodiscard]] View read(const std::string& connection, proxy::SystemTime now) const;

 private:
  struct Past {
    std::deque<Sample> samples;
    std::deque<Outage> outages;
    std::deque<Error> errors;
  };
  static void note_error(Past& past, proxy::SystemTime time, const std::string& message);

  mutable std::mutex mutex_;  // measurements and events are rare
  std::map<std::string, Past> past_;
};

}  // namespace holdfast::admin

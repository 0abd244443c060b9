// Whole messages, one after the other, over a stream: for the straight sequences of logins and restores.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "protocol/postgres/frame.hpp"
#include "protocol/read_buffer.hpp"
#include "proxy/stream.hpp"

namespace holdfast::proxy::postgres {

namespace pg = holdfast::postgres;

struct Message {
  char type = 0;
  std::string_view whole;  // valid until the next read
  [[nodiscard]] std::string_view body() const { return whole.substr(pg::header_size); }
};

class MessageChannel {
 public:
  /// Longest message of such a sequence, in bytes.
  static constexpr std::size_t message_size_max = 64 * 1024;

  MessageChannel(Stream& stream, ReadBuffer& buffer) : stream_(stream), buffer_(buffer) {}
  MessageChannel(const MessageChannel&) = delete;
  MessageChannel& operator=(const MessageChannel&) = delete;
  ~MessageChannel() { buffer_.consume(taken_); }

  /// The next message; none when the stream ended or broke, see error().
  Task<std::optional<Message>> read();
  /// False when the stream broke, see error().
  Task<bool> write(std::string_view bytes);
  [[nodiscard]] const std::string& error() const { return error_; }
  /// What came was no message: the other side does not speak the protocol.
  [[nodiscard]] bool malformed() const { return malformed_; }

 private:
  Stream& stream_;
  ReadBuffer& buffer_;
  std::size_t taken_ = 0;  // size of the message shown last, consumed with the next read
  std::string error_;
  bool malformed_ = false;
};

}  // namespace holdfast::proxy::postgres

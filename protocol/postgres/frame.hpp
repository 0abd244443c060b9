// Frames of the PostgreSQL protocol: finds a message's type and length, reads its fields, builds messages.
// Knows no message by name but through messages.hpp. PostgreSQL documentation, "Frontend/Backend Protocol", "Message Formats".
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace holdfast::postgres {

/// Longest message that a server accepts (PQ_LARGE_MESSAGE_LIMIT): longer lengths are garbage.
inline constexpr std::uint32_t message_length_max = 0x3fffffff;
/// Type byte and length field.
inline constexpr std::size_t header_size = 5;

struct Header {
  char type = 0;
  std::size_t size = 0;  // of the whole message in bytes, header included
};

enum class HeaderResult {
  complete,
  need_more,   // fewer than header_size bytes
  bad_length,  // shorter than its own length field, or past message_length_max
};

[[nodiscard]] inline std::uint32_t load_u32(const char* at) {
  const auto* bytes = reinterpret_cast<const unsigned char*>(at);
  return static_cast<std::uint32_t>(bytes[0]) << 24 | static_cast<std::uint32_t>(bytes[1]) << 16 |
         static_cast<std::uint32_t>(bytes[2]) << 8 | static_cast<std::uint32_t>(bytes[3]);
}

inline void store_u32(char* at, std::uint32_t value) {
  at[0] = static_cast<char>(value >> 24);
  at[1] = static_cast<char>(value >> 16);
  at[2] = static_cast<char>(value >> 8);
  at[3] = static_cast<char>(value);
}

/// The header at the front of `bytes`. The length is compared with its bounds before any arithmetic on it.
[[nodiscard]] inline HeaderResult read_header(std::string_view bytes, Header& header) {
  if (bytes.size() < header_size) return HeaderResult::need_more;
  const std::uint32_t length = load_u32(bytes.data() + 1);
  if (length < 4 || length > message_length_max) return HeaderResult::bad_length;
  header.type = bytes[0];
  header.size = std::size_t{length} + 1;
  return HeaderResult::complete;
}

/// Reads fields one after the other. The first error sticks: later reads give zeroes and empty views.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : rest_(bytes) {}

  [[nodiscard]] std::uint8_t u8() {
    const auto field = take(1);
    return field.empty() ? std::uint8_t{0} : static_cast<std::uint8_t>(field[0]);
  }
  [[nodiscard]] std::int16_t i16() {
    const auto field = take(2);
    if (field.empty()) return 0;
    return static_cast<std::int16_t>(static_cast<unsigned char>(field[0]) << 8 | static_cast<unsigned char>(field[1]));
  }
  [[nodiscard]] std::int32_t i32() {
    const auto field = take(4);
    return field.empty() ? 0 : static_cast<std::int32_t>(load_u32(field.data()));
  }
  /// A string that ends with a zero byte; the byte is taken but not part of the result.
  [[nodiscard]] std::string_view cstring();
  [[nodiscard]] std::string_view take(std::size_t size);
  [[nodiscard]] std::string_view rest() const { return rest_; }
  [[nodiscard]] bool failed() const { return failed_; }
  /// True when every read succeeded and nothing is left over.
  [[nodiscard]] bool check() const { return !failed_ && rest_.empty(); }

 private:
  std::string_view rest_;
  bool failed_ = false;
};

/// Appends one message to a string: type and length first, fields after, the length filled in by finish().
class Writer {
 public:
  /// `type` 0 builds a message without a type byte (startup, cancel, SSL request).
  Writer(std::string& out, char type);
  Writer& u8(std::uint8_t value);
  Writer& i16(std::int16_t value);
  Writer& i32(std::int32_t value);
  Writer& cstring(std::string_view value);  // must hold no zero byte
  Writer& bytes(std::string_view value);
  void finish();

 private:
  std::string& out_;
  std::size_t length_at_;
};

}  // namespace holdfast::postgres

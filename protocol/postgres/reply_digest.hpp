// A running digest (XXH3) of what a client was given of one segment, so that a second run can be compared with the first.
// What may differ between two runs of the same statements is left out: notices, ParameterStatus, the words of an error.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

namespace holdfast::postgres {

/// How much was given, and its digest; equal where the same was given.
struct ReplyMark {
  std::uint64_t bytes = 0;
  std::uint64_t hash = 0;
  bool failed = false;  // an error was among it
  auto operator<=>(const ReplyMark&) const = default;
};

class ReplyDigest {
 public:
  ReplyDigest();
  ~ReplyDigest();

  /// Bytes of a reply, as the server sent them.
  void add(std::string_view bytes);
  /// A whole RowDescription. Of the tables that its columns come from only the system's own count by their OID: a table that
  /// the transaction itself makes has another one the second time. Names, column numbers, types and formats count.
  void add_row_description(std::string_view message);
  /// An ErrorResponse counts by its SQLSTATE alone.
  void add_error(std::string_view code);
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }
  [[nodiscard]] ReplyMark mark() const;
  void reset() {
    bytes_ = 0;
    failed_ = false;
  }

 private:
  struct State;
  std::unique_ptr<State> state_;  // made for the first byte
  std::uint64_t bytes_ = 0;
  bool failed_ = false;
};

}  // namespace holdfast::postgres

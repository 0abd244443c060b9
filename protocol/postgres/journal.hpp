// What a client has sent since its transaction began, or since its session was last at rest, so that it can be sent again;
// and for each segment of it the digest of what the client was given. Keeps, bounds and cuts; what may run again is for
// others to judge.
//
//   [ Query BEGIN ✓ | Parse Bind Execute Sync ✓ | Query … ]      ✓ ReadyForQuery came: the entry holds the mark of its segment
//   └ first_number()                             └ under way
//
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/postgres/reply_digest.hpp"

namespace holdfast::postgres {

struct JournalEntry {
  static constexpr std::uint64_t no_request = std::numeric_limits<std::uint64_t>::max();

  char type = 0;
  bool answered = false;                // a segment's last message: its ReadyForQuery has reached the client
  std::size_t size = 0;                 // bytes of it that were sent, header included
  std::uint64_t request = no_request;   // number that the reply tracker gave it; none: it asks for no reply of its own
  ReplyMark given;                      // answered: what the client was given of the segment
};

class Journal {
 public:
  /// `limit`: bytes that are kept at most; 0 keeps nothing.
  explicit Journal(std::size_t limit) : limit_(limit) {}

  [[nodiscard]] bool enabled() const { return limit_ > 0; }
  /// A message went to the server, or the beginning of a long one.
  void append(char type, std::string_view bytes, std::uint64_t request);
  /// More of the message that was appended last.
  void append_more(std::string_view bytes);
  /// The segment that ends with `request` was answered; it stays, for its transaction goes on.
  void on_answered(std::uint64_t request, ReplyMark given);
  /// The same, outside a transaction: what stands up to there needs never to be sent again.
  void drop_through(std::uint64_t request);
  /// Takes out the entries from `first` up to before `end`, all of answered segments: the server is where it would be had
  /// they never been sent.
  void cut(std::size_t first, std::size_t end);
  void clear();

  struct Mark {
    std::size_t entries = 0, bytes = 0, last_size = 0;
  };
  [[nodiscard]] Mark mark() const;
  /// Takes back what was appended since.
  void unwind(const Mark& mark);

  /// It grew past its limit, and what was in it is gone until `clear`.
  [[nodiscard]] bool overflowed() const { return overflowed_; }
  [[nodiscard]] bool empty() const { return first_ == entries_.size(); }
  /// The number of the first request in it; messages of before are not here.
  [[nodiscard]] std::uint64_t first_request() const;

  // Reading: entries are counted from 0, the first one that is still kept.
  [[nodiscard]] std::size_t size() const { return entries_.size() - first_; }
  [[nodiscard]] const JournalEntry& operator[](std::size_t index) const { return entries_[first_ + index]; }
  /// The entries of one answered segment: from `begin` up to before `end`. The data of a simple COPY stand behind its end.
  struct Extent {
    std::size_t begin = 0, end = 0;
  };
  /// Of the segment that ends with `request`; empty where there is none.
  [[nodiscard]] Extent segment(std::uint64_t request) const;
  /// Calls `visit(index, entry, message)` for each.
  template <class Visit>
  void each(Visit visit) const {
    std::size_t at = first_byte_;
    for (std::size_t i = first_; i < entries_.size(); ++i) {
      visit(i - first_, entries_[i], std::string_view(bytes_).substr(at, entries_[i].size));
      at += entries_[i].size;
    }
  }
  /// The message of the entry that stands at byte `at`, counted from the first kept one.
  [[nodiscard]] std::string_view message(std::size_t at, std::size_t size) const {
    return std::string_view(bytes_).substr(first_byte_ + at, size);
  }

 private:
  void overflow();
  void compact();

  std::size_t limit_;
  std::string bytes_;
  std::vector<JournalEntry> entries_;
  std::size_t first_ = 0, first_byte_ = 0;  // what stands before was dropped
  std::size_t gone_entries_ = 0, gone_bytes_ = 0;  // taken out at the front, ever: marks count from the beginning of all
  std::size_t next_ready_ = 0;              // entries before it are answered, or end no segment
  bool overflowed_ = false;
};

}  // namespace holdfast::postgres

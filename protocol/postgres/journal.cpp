// One block of bytes and one of entries, used again and again: a message costs a copy, no allocation in the steady state.
#include "protocol/postgres/journal.hpp"

#include <algorithm>
#include <cassert>
#include <numeric>

#include "protocol/postgres/messages.hpp"

namespace holdfast::postgres {
namespace {

/// Memory that an idle session may keep for the next transaction.
constexpr std::size_t kept_bytes = 1024, kept_entries = 32;
/// Dropped entries that are worth moving the rest for.
constexpr std::size_t dropped_max = 256;

}  // namespace

void Journal::append(char type, std::string_view bytes, std::uint64_t request) {
  if (!enabled() || overflowed_) return;
  if (bytes_.size() - first_byte_ + bytes.size() > limit_) return overflow();
  bytes_.append(bytes);
  JournalEntry entry;
  entry.type = type;
  entry.size = bytes.size();
  entry.request = request;
  entries_.push_back(entry);
}

void Journal::append_more(std::string_view bytes) {
  if (!enabled() || overflowed_ || empty()) return;
  if (bytes_.size() - first_byte_ + bytes.size() > limit_) return overflow();
  bytes_.append(bytes);
  entries_.back().size += bytes.size();
}

void Journal::on_answered(std::uint64_t request, ReplyMark given) {
  for (; next_ready_ < entries_.size(); ++next_ready_) {
    auto& entry = entries_[next_ready_];
    if (entry.request == JournalEntry::no_request || entry.request < request) continue;
    if (entry.request > request) return;
    entry.answered = true;
    entry.given = given;
    ++next_ready_;
    return;
  }
}

void Journal::drop_through(std::uint64_t request) {
  while (first_ < entries_.size()) {
    const auto& entry = entries_[first_];
    if (entry.request != JournalEntry::no_request && entry.request > request) break;
    first_byte_ += entry.size;
    ++first_;
    if (entry.request == request) break;
  }
  next_ready_ = std::max(next_ready_, first_);
  if (first_ > dropped_max && first_ > entries_.size() / 2) compact();
}

Journal::Extent Journal::segment(std::uint64_t request) const {
  std::size_t begin = 0;
  for (std::size_t i = 0; i < size(); ++i) {
    const auto& entry = (*this)[i];
    if (!entry.answered) continue;
    if (entry.request == request) return {begin, i + 1};
    begin = i + 1;
    while (begin < size() && frontend::is_copy_message((*this)[begin].type)) ++begin;  // the data of a COPY stand behind its Query
  }
  return {};
}

void Journal::cut(std::size_t first, std::size_t end) {
  assert(first <= end && first_ + end <= next_ready_ && "only what is answered can be cut out");
  const auto at = [&](std::size_t index) { return entries_.begin() + static_cast<std::ptrdiff_t>(first_ + index); };
  const auto add = [](std::size_t sum, const JournalEntry& entry) { return sum + entry.size; };
  const auto before = std::accumulate(at(0), at(first), first_byte_, add);
  const auto size = std::accumulate(at(first), at(end), std::size_t{0}, add);
  bytes_.erase(before, size);
  entries_.erase(at(first), at(end));
  gone_bytes_ += size;
  gone_entries_ += end - first;
  next_ready_ -= end - first;
}

void Journal::compact() {
  gone_entries_ += first_;
  gone_bytes_ += first_byte_;
  bytes_.erase(0, first_byte_);
  entries_.erase(entries_.begin(), entries_.begin() + static_cast<std::ptrdiff_t>(first_));
  next_ready_ -= first_;
  first_ = first_byte_ = 0;
}

void Journal::clear() {
  gone_entries_ += entries_.size();
  gone_bytes_ += bytes_.size();
  bytes_.clear();
  entries_.clear();
  if (bytes_.capacity() > kept_bytes) bytes_.shrink_to_fit();
  if (entries_.capacity() > kept_entries) entries_.shrink_to_fit();
  first_ = first_byte_ = next_ready_ = 0;
  overflowed_ = false;
}

void Journal::overflow() {
  clear();
  overflowed_ = true;
}

Journal::Mark Journal::mark() const {
  return {gone_entries_ + entries_.size(), gone_bytes_ + bytes_.size(), entries_.empty() ? 0 : entries_.back().size};
}

void Journal::unwind(const Mark& mark) {
  if (overflowed_ || gone_entries_ + entries_.size() < mark.entries) return;
  // What was there at the mark may have been dropped since.
  entries_.resize(mark.entries > gone_entries_ ? mark.entries - gone_entries_ : 0);
  bytes_.resize(mark.bytes > gone_bytes_ ? mark.bytes - gone_bytes_ : 0);
  if (!entries_.empty()) entries_.back().size = mark.last_size;
  next_ready_ = std::min(next_ready_, entries_.size());
  first_ = std::min(first_, entries_.size());
}

std::uint64_t Journal::first_request() const {
  for (std::size_t i = first_; i < entries_.size(); ++i) {
    if (entries_[i].request != JournalEntry::no_request) return entries_[i].request;
  }
  return JournalEntry::no_request;
}

}  // namespace holdfast::postgres

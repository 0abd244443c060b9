// The bytes that came in on one side of a session and are not done with yet. Its memory is a block that the sessions of
// a worker lend each other; an idle session has none. Standard library only; one thread.
//
//    block ├──consumed──┤ data() ├── space() ──┤
//
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace holdfast {

/// Larger blocks that the sessions of one worker lend each other.
class BufferPool {
 public:
  using Block = std::unique_ptr<char[]>;
  static constexpr std::size_t block_size = 64 * 1024;
  static constexpr std::size_t kept_max = 64;  // blocks that are kept when nobody uses them

  [[nodiscard]] Block take() {
    if (kept_.empty()) return Block(new char[block_size]);
    auto block = std::move(kept_.back());
    kept_.pop_back();
    return block;
  }
  void give_back(Block block) {
    if (kept_.size() < kept_max) kept_.push_back(std::move(block));
  }

 private:
  std::vector<Block> kept_;
};

class ReadBuffer {
 public:
  /// Of the block that is kept while a read is pending for a long time (see lingering_space()), in bytes.
  static constexpr std::size_t small_size = 4 * 1024;

  explicit ReadBuffer(BufferPool& pool) : pool_(pool) {}
  ~ReadBuffer() { release(); }
  ReadBuffer(const ReadBuffer&) = delete;
  ReadBuffer& operator=(const ReadBuffer&) = delete;

  [[nodiscard]] std::string_view data() const { return {block_.get() + begin_, end_ - begin_}; }
  [[nodiscard]] std::span<char> mutable_data() { return {block_.get() + begin_, end_ - begin_}; }
  [[nodiscard]] bool empty() const { return begin_ == end_; }

  /// Room for more bytes behind data(); at least so much that `want` bytes fit in all. Moves what data() shows.
  [[nodiscard]] std::span<char> space(std::size_t want = 0) {
    if (capacity_ == 0 || want > capacity_ || eager_) grow(std::max(want, BufferPool::block_size));
    if (begin_ > 0 && (begin_ == end_ || capacity_ - begin_ < want || capacity_ - end_ < capacity_ / 2)) {
      std::memmove(block_.get(), block_.get() + begin_, end_ - begin_);
      end_ -= begin_;
      begin_ = 0;
    }
    return {block_.get() + end_, capacity_ - end_};
  }

  /// The same for a read that may be pending for long and needs its memory all the time: a small block while nothing is
  /// there and the last read did not fill it.
  [[nodiscard]] std::span<char> lingering_space(std::size_t want) {
    if (capacity_ == 0 && want <= small_size && !eager_) {
      block_.reset(new char[small_size]);
      capacity_ = small_size;
    }
    return space(want);
  }

  /// `size` bytes were written into the space.
  void commit(std::size_t size) {
    eager_ = capacity_ == small_size && end_ + size == capacity_;
    end_ += size;
  }

  void consume(std::size_t size) {
    begin_ += size;
    if (begin_ != end_) return;
    begin_ = end_ = 0;
    if (capacity_ > small_size) release();
  }
  /// Nothing is expected soon: lets go of the memory where no bytes are there.
  void rest() {
    if (begin_ == end_) release();
  }

 private:
  void grow(std::size_t size) {
    eager_ = false;
    auto larger = size == BufferPool::block_size ? pool_.take() : BufferPool::Block(new char[size]);
    if (end_ > begin_) std::memcpy(larger.get(), block_.get() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
    release();
    block_ = std::move(larger);
    capacity_ = size;
  }
  void release() {
    if (capacity_ == BufferPool::block_size) pool_.give_back(std::move(block_));
    block_.reset();
    capacity_ = 0;
  }

  BufferPool& pool_;
  BufferPool::Block block_;
  std::size_t capacity_ = 0;
  std::size_t begin_ = 0, end_ = 0;
  bool eager_ = false;
};

}  // namespace holdfast

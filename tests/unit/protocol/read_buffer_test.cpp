// The buffer of one side of a session: what goes in comes out in order, through growing, moving and shrinking.
#include "protocol/read_buffer.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>

namespace holdfast {
namespace {

void put(ReadBuffer& buffer, std::string_view bytes, std::size_t want = 0) {
  const auto space = buffer.space(want);
  ASSERT_GE(space.size(), bytes.size());
  std::copy(bytes.begin(), bytes.end(), space.begin());
  buffer.commit(bytes.size());
}

TEST(read_buffer, shows_what_was_put_in_until_it_is_consumed) {
  BufferPool pool;
  ReadBuffer buffer(pool);
  EXPECT_TRUE(buffer.empty());
  put(buffer, "abc");
  put(buffer, "def");
  EXPECT_EQ(buffer.data(), "abcdef");
  buffer.consume(2);
  EXPECT_EQ(buffer.data(), "cdef");
  buffer.mutable_data()[0] = 'x';
  EXPECT_EQ(buffer.data(), "xdef");
  buffer.consume(4);
  EXPECT_TRUE(buffer.empty());
}

TEST(read_buffer, has_room_for_as_much_as_is_wanted_in_all) {
  for (const std::size_t want : {std::size_t{1}, ReadBuffer::small_size, ReadBuffer::small_size + 1,
                                 BufferPool::block_size, BufferPool::block_size + 1, std::size_t{1} << 20}) {
    BufferPool pool;
    ReadBuffer buffer(pool);
    put(buffer, "abcdefgh");
    buffer.consume(3);
    const auto space = buffer.space(want);
    EXPECT_GE(buffer.data().size() + space.size(), want);
    EXPECT_EQ(buffer.data(), "defgh");
  }
}

TEST(read_buffer, never_offers_an_empty_space_where_a_message_is_not_whole) {
  BufferPool pool;
  ReadBuffer buffer(pool);
  std::string expected;
  const std::size_t want = 10'000;
  while (expected.size() < want) {
    const auto space = buffer.space(want);
    ASSERT_FALSE(space.empty());
    const auto size = std::min<std::size_t>(space.size(), 997);
    const std::string bytes(size, static_cast<char>('a' + expected.size() % 26));
    std::copy(bytes.begin(), bytes.end(), space.begin());
    buffer.commit(size);
    expected += bytes;
  }
  EXPECT_EQ(buffer.data(), expected);
}

TEST(read_buffer, has_no_memory_while_it_is_empty) {
  BufferPool pool;
  ReadBuffer buffer(pool);
  put(buffer, "abc");
  const auto* block = buffer.data().data();
  buffer.consume(3);
  const auto lent = pool.take();
  EXPECT_EQ(lent.get(), block) << "the pool has the block that the buffer had";
}

TEST(read_buffer, lingers_with_a_small_block_and_takes_a_larger_one_after_a_read_that_filled_it) {
  BufferPool pool;
  ReadBuffer buffer(pool);
  auto space = buffer.lingering_space(0);
  ASSERT_EQ(space.size(), ReadBuffer::small_size);
  std::fill(space.begin(), space.end(), 'a');
  buffer.commit(space.size());
  EXPECT_GE(buffer.lingering_space(0).size(), BufferPool::block_size - ReadBuffer::small_size);
  EXPECT_EQ(buffer.data(), std::string(ReadBuffer::small_size, 'a'));
  buffer.consume(ReadBuffer::small_size);
  EXPECT_EQ(buffer.lingering_space(0).size(), ReadBuffer::small_size);
}

TEST(read_buffer, keeps_what_is_there_when_it_rests) {
  BufferPool pool;
  ReadBuffer buffer(pool);
  put(buffer, "abc");
  buffer.rest();
  EXPECT_EQ(buffer.data(), "abc");
  buffer.consume(3);
  buffer.rest();
  EXPECT_TRUE(buffer.data().empty());
}

TEST(read_buffer, keeps_bytes_in_order_through_any_sequence_of_calls) {
  std::mt19937 random(7);
  for (int round = 0; round < 200; ++round) {
    BufferPool pool;
    ReadBuffer buffer(pool);
    std::string expected;
    char next = 0;
    for (int step = 0; step < 200; ++step) {
      const auto space = buffer.space(random() % 8 == 0 ? random() % 100'000 : 0);
      const auto size = std::min<std::size_t>(space.size(), random() % 2 == 0 ? random() % 64 : random() % 70'000);
      for (std::size_t i = 0; i < size; ++i) expected.push_back(space[i] = next++);
      buffer.commit(size);
      ASSERT_EQ(buffer.data(), expected);
      const auto done = random() % 3 == 0 ? expected.size() : expected.size() == 0 ? 0 : random() % expected.size();
      buffer.consume(done);
      expected.erase(0, done);
      ASSERT_EQ(buffer.data(), expected);
    }
  }
}

}  // namespace
}  // namespace holdfast

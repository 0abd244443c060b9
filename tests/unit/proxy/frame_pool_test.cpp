// Blocks come back to who asks for their size, whatever thread gave them, and none is left at a thread's end (the sanitizers look).
#include <gtest/gtest.h>

#include <cstring>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "proxy/frame_pool.hpp"

namespace holdfast {
namespace {

TEST(FramePool, lends_a_block_again_to_who_wants_no_more_than_it_has) {
  std::thread([] {
    void* const first = FramePool::take(FramePool::step + 1);
    FramePool::give_back(first, FramePool::step + 1);
    void* const other = FramePool::take(FramePool::step);
    EXPECT_NE(other, first);
    EXPECT_EQ(FramePool::take(2 * FramePool::step), first);
    FramePool::give_back(first, 2 * FramePool::step);
    FramePool::give_back(other, FramePool::step);
  }).join();
}

TEST(FramePool, has_each_block_as_large_as_was_asked_for_and_lends_none_twice) {
  std::set<void*> lent;
  std::vector<std::pair<void*, std::size_t>> all;
  for (int round = 0; round < 2; ++round) {
    for (std::size_t size = 1; size <= FramePool::step * (FramePool::places + 2); size += 61) {
      void* const memory = FramePool::take(size);
      std::memset(memory, 0xAB, size);
      EXPECT_TRUE(lent.insert(memory).second) << size;
      all.emplace_back(memory, size);
    }
    for (const auto& [memory, size] : all) FramePool::give_back(memory, size);
    lent.clear();
    all.clear();
  }
}

TEST(FramePool, keeps_so_many_of_a_size_and_takes_what_another_thread_has_lent) {
  std::vector<void*> lent(FramePool::kept_max + 10);
  for (auto& each : lent) each = FramePool::take(100);
  std::thread([&] {
    for (auto* const each : lent) FramePool::give_back(each, 100);
    EXPECT_EQ(FramePool::take(100), lent[FramePool::kept_max - 1]);
    FramePool::give_back(lent[FramePool::kept_max - 1], 100);
  }).join();
}

/// Ends behind the pool of its thread, for it began before.
struct Late {
  ~Late() {
    if (memory != nullptr) FramePool::give_back(memory, 100);
  }
  void* memory = nullptr;
};

TEST(FramePool, takes_what_ends_later_than_its_thread) {
  std::thread([] {
    static thread_local Late late;
    late.memory = FramePool::take(100);
    FramePool::give_back(FramePool::take(100), 100);
  }).join();
}

}  // namespace
}  // namespace holdfast

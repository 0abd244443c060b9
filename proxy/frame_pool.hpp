// Memory of coroutine frames that have ended, kept by the thread for those to come. Asio keeps two blocks a thread, none of more than 1,020
// bytes, and lets go of one whenever none fits: a command takes nine frames, and some are larger. Standard library only.
#pragma once

#include <array>
#include <cstddef>
#include <new>

namespace holdfast {

class FramePool {
 public:
  static void* take(std::size_t size) {
    const auto place = place_of(size);
    if (place >= places) return ::operator new(size);
    auto& kept = own_.kept[place];
    if (kept.first == nullptr) return ::operator new((place + 1) * step);
    auto* const block = kept.first;
    kept.first = block->next;
    --kept.count;
    return block;
  }

  /// `size` is what it was taken with, by whatever thread.
  static void give_back(void* memory, std::size_t size) noexcept {
    const auto place = place_of(size);
    if (place >= places || own_.ended || own_.kept[place].count == kept_max) return ::operator delete(memory);
    if (!own_.begun) begin();
    auto& kept = own_.kept[place];
    kept.first = ::new (memory) Block{kept.first};
    ++kept.count;
  }

  static constexpr std::size_t step = 128;     // bytes: the sizes of blocks are its multiples
  static constexpr std::size_t places = 32;    // so many sizes; larger ones are not kept
  static constexpr std::size_t kept_max = 64;  // of each size

 private:
  struct Block {
    Block* next;
  };
  struct Kept {
    Block* first;
    std::size_t count;
  };
  struct Own {
    std::array<Kept, places> kept;
    bool begun, ended;
  };
  /// Frames that end later than this are given to the system.
  struct End {
    End() = default;
    End(const End&) = delete;
    End& operator=(const End&) = delete;
    ~End() {
      own_.ended = true;
      for (auto& [first, count] : own_.kept) {
        while (auto* const block = first) {
          first = block->next;
          ::operator delete(block);
        }
      }
    }
  };

  static constexpr std::size_t place_of(std::size_t size) { return (size - 1) / step; }
  static void begin() noexcept {
    thread_local End end;
    own_.begun = true;
  }

  // No constructor and no destructor of its own: it is there before and behind all others of the thread.
  static inline thread_local constinit Own own_{};
};

}  // namespace holdfast

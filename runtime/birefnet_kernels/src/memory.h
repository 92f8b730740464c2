// Aligned memory, and a store of buffers that threads borrow.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <new>
#include <vector>

namespace deform {

constexpr std::align_val_t ALIGNMENT{64};  // a line of the cache

struct FreeAligned {
  void operator()(void* memory) const { ::operator delete(memory, ALIGNMENT); }
};

// Uninitialized memory; null where there is none.
using Memory = std::unique_ptr<void, FreeAligned>;

inline Memory allocate(size_t bytes) {
  return Memory(::operator new(bytes, ALIGNMENT, std::nothrow));
}

// Buffers that threads borrow while they compute, kept for the next node: as many as threads ever
// computed at once, each as large as the largest node took.
class Buffers {
 public:
  struct Buffer {
    Memory memory;  // null where there was none
    size_t bytes = 0;
    char* get() const { return static_cast<char*>(memory.get()); }
  };

  static Buffers& shared() {
    static Buffers all;
    return all;
  }

  Buffer take(size_t bytes) {
    {
      const std::lock_guard<std::mutex> guard(lock_);
      if (!free_.empty()) {
        Buffer last = std::move(free_.back());
        free_.pop_back();
        if (last.bytes >= bytes) return last;
      }
    }
    return {allocate(bytes), bytes};
  }

  void give_back(Buffer buffer) noexcept {
    const std::lock_guard<std::mutex> guard(lock_);
    try {
      free_.push_back(std::move(buffer));
    } catch (const std::bad_alloc&) {  // then it is freed
    }
  }

 private:
  std::mutex lock_;
  std::vector<Buffer> free_;
};

}  // namespace deform

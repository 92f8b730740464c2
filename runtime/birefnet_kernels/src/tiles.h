// What both kinds of convolution do alike: a channels-last copy of the map, then tiles of pixels.
#pragma once

#include <algorithm>
#include <atomic>

#include "convolution.h"

namespace deform {

constexpr size_t COPIED_AT_ONCE = 256;  // pixels of the map
constexpr size_t TILES_AT_ONCE = 4;

// Calls body(first, last) for parts of `count` of at most `part`.
template <class Body>
bool in_parts(ThreadPool& pool, size_t count, size_t part, const Body& body) {
  struct Call {
    const Body& body;
    size_t count, part;
  } call{body, count, part};
  return pool.run(
      (count + part - 1) / part,
      [](void* data, size_t index) {
        const Call& c = *static_cast<Call*>(data);
        c.body(index * c.part, std::min(c.count, (index + 1) * c.part));
      },
      &call);
}

// The same, with a buffer of `bytes` for each call; `no_memory` is set where there is none.
template <class Body>
bool in_parts(ThreadPool& pool, size_t count, size_t part, size_t bytes,
              std::atomic<bool>& no_memory, const Body& body) {
  return in_parts(pool, count, part, [&](size_t first, size_t last) {
    Buffers::Buffer buffer = Buffers::shared().take(bytes);
    if (!buffer.memory) {
      no_memory = true;
      return;
    }
    body(first, last, buffer.get());
    Buffers::shared().give_back(std::move(buffer));
  });
}

inline size_t tiles_of(const Sizes& sizes) { return (sizes.out_pixels() + TILE - 1) / TILE; }

// The window of a tap.
inline Window window_of(const Attributes& a, const Sizes& sizes, int64_t tap) {
  const auto narrow = [](int64_t value) { return static_cast<int32_t>(value); };
  return {narrow(sizes.height),
          narrow(sizes.width),
          narrow(sizes.out_width),
          narrow(a.stride_y),
          narrow(a.stride_x),
          narrow(tap / a.kernel_width * a.dilation_y - a.top),
          narrow(tap % a.kernel_width * a.dilation_x - a.left)};
}

// Finds the corners of a tap for `count` pixels from `first` on.
inline void locate_tap(Locate locate, const Attributes& a, const Image& image, int64_t tap,
                       size_t first, int count, Corners& corners) {
  const size_t pixels = image.sizes.out_pixels(), t = static_cast<size_t>(tap);
  const float* dy = image.offsets + 2 * t * pixels + first;
  const float* mask = image.mask ? image.mask + t * pixels + first : nullptr;
  locate(window_of(a, image.sizes, tap), dy, dy + pixels, mask, static_cast<int64_t>(first), count,
         corners);
}

// Whether a result is too large for a second level of the cache to keep it for its reader.
inline bool past_cache(const Attributes& a, const Sizes& sizes) {
  return static_cast<size_t>(a.outputs) * sizes.out_pixels() * sizeof(float) > size_t{1} << 20;
}

inline int pixels_in_tile(const Sizes& sizes, size_t tile) {
  return static_cast<int>(std::min<size_t>(TILE, sizes.out_pixels() - tile * TILE));
}

}  // namespace deform

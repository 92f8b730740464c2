// What the code for one kind of processor offers: a table of functions on plain arrays.
//
// Files in paths/ are compiled for instructions that the running processor may lack. They therefore
// include nothing that defines inline functions with external linkage (a linker keeps one copy of
// such a function, possibly the one that only newer processors can run): only <stdint.h>,
// <stddef.h>, intrinsics and our own headers whose templates have internal linkage.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace deform {

// Output pixels that are computed together: they share one pass over the weights.
constexpr int TILE = 48;
// Pixels that one call of a product's innermost loop holds in registers; divides TILE.
constexpr int GROUP = 6;
// Sums of a tile have rows of the outputs, rounded up, and so many more: rows of a power of two
// bytes would all fall into the same lines of the cache when they are read by column.
constexpr int ROW_PADDING = 16;
// Weights of the four corners in int8 are multiples of 1 / 2**14.
constexpr int FIXED_BITS = 14;

// Where one tap of the kernel reads, for the pixels of a tile.
struct Corners {
  // Pixels of the map, row by row. What lies outside reads the pixel behind the last one, which is
  // zero, with weight zero.
  int32_t pixel[4][TILE];
  // Bilinear weights times the modulation ("mask").
  float weight[4][TILE];
  // Whether all modulations are within 0 and 1, so that a sample is a mean of the map and zero.
  bool is_mean;
};

// What `locate` needs to know; all sizes fit into 24 bits, so that floats hold them exactly.
struct Window {
  int32_t height, width, out_width;
  int32_t stride_y, stride_x;
  int32_t row, column;  // of the tap, from the pixel at (0, 0): its distance less the pad
};

// Corners of `count` pixels from `first` on. `dy`, `dx` and `mask` (or null) point at the first
// one's. NaN and infinite offsets read outside.
using Locate = void (*)(const Window&, const float* dy, const float* dx, const float* mask,
                        int64_t first, int count, Corners&);

struct FloatPath {
  const char* name;
  int products;  // multiplications of one instruction of the innermost loop
  int lanes;    // channels are padded to a multiple
  int outputs;  // output channels of a block of packed weights
  Locate locate;
  // (rows, columns) -> (columns, stride): columns `first` to `last`, the rest of each row zero.
  void (*channels_last)(const float* x, size_t rows, size_t columns, size_t first, size_t last,
                        size_t stride, float* out);
  // `channels` values for each of `count` pixels, a pixel every `stride` floats.
  void (*sample)(const Corners&, int count, const float* map, size_t channels, float* out,
                 size_t stride);
  // GROUP rows of `outputs` sums += GROUP rows of `depth` samples @ a block of packed weights.
  void (*multiply)(const float* samples, size_t depth, const float* weights, float* sums,
                   size_t stride);
  // (count, stride) -> (outputs, columns): the transpose of `sums`, into columns from `out` on.
  // `past_cache` says that the result is larger than what a cache would keep for its reader.
  void (*store)(const float* sums, size_t stride, int count, size_t outputs, size_t columns,
                bool past_cache, float* out);
};

// Least and greatest value of an array, zero among them, and whether all are finite.
struct Range {
  float low, high;
  bool finite;
};

// The map is uint8, with a zero point; weights are int8, symmetric. Sums are exact int32: every path
// has the same ones.
struct Int8Path {
  const char* name;
  int products;  // multiplications of one instruction of the innermost loop; half of two's
  int lanes;    // channels are padded to a multiple
  int outputs;  // output channels of a block of packed weights
  int group;    // neighboring samples that one instruction sums; weights are packed in such groups
  int sample_bytes, weight_bytes;
  int offset;   // what is taken from a sample when it is stored: 128 where it has a sign
  Locate locate;
  Range (*range)(const float* x, size_t count);
  // As above, and round(x * inverse) + zero as uint8, the rest of each row zero. `row` has place
  // for 16 * (rows rounded up to 16) floats.
  void (*channels_last)(const float* x, size_t rows, size_t columns, size_t first, size_t last,
                        size_t stride, float inverse, int zero, float* row, uint8_t* out);
  void (*sample)(const Corners&, int count, int zero, const uint8_t* map, size_t channels,
                 void* out, size_t stride);
  void (*multiply)(const void* samples, size_t depth, const void* weights, int32_t* sums,
                   size_t stride);
  // sums * scale + bias as float, in place.
  void (*to_float)(int32_t* sums, size_t count, const float* scale, const float* bias);
  void (*store)(const float* sums, size_t stride, int count, size_t outputs, size_t columns,
                bool past_cache, float* out);
};

extern const FloatPath scalar_float;
extern const Int8Path scalar_int8;
#if defined(__x86_64__) || defined(_M_X64)
extern const FloatPath avx512_float, avx2_float;
extern const Int8Path avx512_vnni_int8, avx_vnni_int8, avx2_int8;
#elif defined(__aarch64__) || defined(_M_ARM64)
extern const FloatPath neon_float;
extern const Int8Path neon_dot_int8;
#endif

}  // namespace deform

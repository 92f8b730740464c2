// The float path for any vector type V: registers of `lanes` floats and what can be done with them.
// V is of an unnamed namespace in each path, so that these templates have internal linkage.
#pragma once

#include "../sampling.h"

#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#elif defined(__GNUC__)
#define UNROLL _Pragma("GCC unroll 16")
#else
#define UNROLL
#endif

namespace deform {
namespace {

constexpr int LINE = 16;  // floats of a line of the cache

// out[column][row] = x[row][column] for a block of at most lanes x lanes.
template <class V>
void transpose_block(const float* x, size_t x_stride, int rows, int columns, float* out,
                     size_t out_stride) {
  if (rows == V::lanes && columns == V::lanes) {
    V::transpose(x, x_stride, out, out_stride);
    return;
  }
  for (int column = 0; column < columns; ++column)
    for (int row = 0; row < rows; ++row)
      out[column * out_stride + row] = x[row * x_stride + column];
}

inline int at_most(size_t value, int limit) {
  return value < static_cast<size_t>(limit) ? static_cast<int>(value) : limit;
}

template <class V>
void channels_last(const float* x, size_t rows, size_t columns, size_t first, size_t last,
                   size_t stride, float* out) {
  for (size_t column = first; column < last; column += V::lanes) {
    const int wide = at_most(last - column, V::lanes);
    for (size_t row = 0; row < rows; row += V::lanes)
      transpose_block<V>(x + row * columns + column, columns, at_most(rows - row, V::lanes), wide,
                         out + column * stride + row, stride);
    for (int p = 0; p < wide; ++p)
      for (size_t row = rows; row < stride; ++row) out[(column + p) * stride + row] = 0.0f;
  }
}

// With `past_cache`, whole lines are written without being read first.
template <class V>
void store(const float* sums, size_t stride, int count, size_t outputs, size_t columns,
           bool past_cache, float* out) {
  const bool lines = past_cache && count % LINE == 0 && columns % LINE == 0 &&
                     outputs % V::lanes == 0 && reinterpret_cast<uintptr_t>(out) % 64 == 0;
  for (size_t output = 0; output < outputs; output += V::lanes)
    for (int p = 0; p < count; p += lines ? LINE : V::lanes) {
      const float* from = sums + p * stride + output;
      float* to = out + output * columns + p;
      if (lines)
        V::stream_transposed(from, stride, to, columns);
      else
        transpose_block<V>(from, stride, at_most(count - p, V::lanes),
                           at_most(outputs - output, V::lanes), to, columns);
    }
  if (lines) V::fence();
}

template <class V>
void sample(const Corners& corners, int count, const float* map, size_t channels, float* out,
            size_t stride) {
  for (int p = 0; p < count; ++p, out += stride) {
    const float* a = map + static_cast<size_t>(corners.pixel[0][p]) * channels;
    const float* b = map + static_cast<size_t>(corners.pixel[1][p]) * channels;
    const float* c = map + static_cast<size_t>(corners.pixel[2][p]) * channels;
    const float* d = map + static_cast<size_t>(corners.pixel[3][p]) * channels;
    const auto wa = V::all(corners.weight[0][p]), wb = V::all(corners.weight[1][p]);
    const auto wc = V::all(corners.weight[2][p]), wd = V::all(corners.weight[3][p]);
    for (size_t i = 0; i < channels; i += V::lanes) {
      auto sum = V::multiply(V::load(a + i), wa);
      sum = V::add_product(sum, V::load(b + i), wb);
      sum = V::add_product(sum, V::load(c + i), wc);
      V::store(out + i, V::add_product(sum, V::load(d + i), wd));
    }
  }
}

// GROUP x (registers * lanes) sums stay in registers while all samples of the tile's group and a
// block of weights pass by.
template <class V, int registers>
void multiply(const float* samples, size_t depth, const float* weights, float* sums,
              size_t stride) {
  typename V::Register sum[GROUP][registers];
  UNROLL for (int p = 0; p < GROUP; ++p)
    UNROLL for (int r = 0; r < registers; ++r) sum[p][r] = V::load(sums + p * stride + r * V::lanes);
  for (size_t i = 0; i < depth; ++i, weights += registers * V::lanes) {
    typename V::Register weight[registers];
    UNROLL for (int r = 0; r < registers; ++r) weight[r] = V::load(weights + r * V::lanes);
    UNROLL for (int p = 0; p < GROUP; ++p) {
      const auto value = V::all(samples[p * depth + i]);
      UNROLL for (int r = 0; r < registers; ++r)
        sum[p][r] = V::add_product(sum[p][r], weight[r], value);
    }
  }
  UNROLL for (int p = 0; p < GROUP; ++p)
    UNROLL for (int r = 0; r < registers; ++r) V::store(sums + p * stride + r * V::lanes, sum[p][r]);
}

template <class V, int registers>
constexpr FloatPath float_path(const char* name) {
  return {name,
          V::lanes,
          V::lanes,
          registers * V::lanes,
          locate,
          channels_last<V>,
          sample<V>,
          multiply<V, registers>,
          store<V>};
}

}  // namespace
}  // namespace deform

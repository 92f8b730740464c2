// The int8 path for any set Q of integer operations and vector type V of floats beside it.
#pragma once

#include "float_path.h"

namespace deform {
namespace {

template <class V, class Q>
void channels_last_u8(const float* x, size_t rows, size_t columns, size_t first, size_t last,
                      size_t stride, float inverse, int zero, float* row, uint8_t* out) {
  const size_t row_stride = (rows + 15) / 16 * 16;
  for (size_t column = first; column < last; column += V::lanes) {
    const int wide = at_most(last - column, V::lanes);
    channels_last<V>(x + column, rows, columns, 0, static_cast<size_t>(wide), row_stride, row);
    for (int p = 0; p < wide; ++p) {
      uint8_t* pixel = out + (column + p) * stride;
      Q::quantize(row + p * row_stride, row_stride, inverse, zero, pixel);
      for (size_t i = row_stride; i < stride; ++i) pixel[i] = 0;
    }
  }
}

template <class Q>
void multiply_int8(const void* samples, size_t depth, const void* weights, int32_t* sums,
                   size_t stride) {
  const auto* sample = static_cast<const typename Q::Sample*>(samples);
  const auto* packed = static_cast<const typename Q::Weight*>(weights);
  typename Q::Register sum[GROUP][Q::registers];
  UNROLL for (int p = 0; p < GROUP; ++p)
    UNROLL for (int r = 0; r < Q::registers; ++r) sum[p][r] = Q::load(sums + p * stride + r * Q::sums);
  for (size_t i = 0; i < depth; i += Q::group) {
    typename Q::Register weight[Q::registers];
    UNROLL for (int r = 0; r < Q::registers; ++r) weight[r] = Q::load(packed + r * Q::sums * Q::group);
    packed += Q::registers * Q::sums * Q::group;
    UNROLL for (int p = 0; p < GROUP; ++p) {
      const auto value = Q::all(sample + p * depth + i);
      UNROLL for (int r = 0; r < Q::registers; ++r) sum[p][r] = Q::dot(sum[p][r], value, weight[r]);
    }
  }
  UNROLL for (int p = 0; p < GROUP; ++p)
    UNROLL for (int r = 0; r < Q::registers; ++r) Q::store(sums + p * stride + r * Q::sums, sum[p][r]);
}

template <class V, class Q>
constexpr Int8Path int8_path(const char* name) {
  return {name,
          Q::products,
          Q::lanes,
          Q::registers * Q::sums,
          Q::group,
          sizeof(typename Q::Sample),
          sizeof(typename Q::Weight),
          Q::offset,
          locate,
          Q::range,
          channels_last_u8<V, Q>,
          Q::sample,
          multiply_int8<Q>,
          Q::to_float,
          store<V>};
}

}  // namespace
}  // namespace deform

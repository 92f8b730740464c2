// Registers of 8 floats: AVX2 and FMA, as of Haswell and Zen.
#pragma once

#include <immintrin.h>
#include <stddef.h>

namespace deform {
namespace {

struct Avx2 {
  using Register = __m256;
  static constexpr int lanes = 8;
  static Register load(const float* x) { return _mm256_loadu_ps(x); }
  static void store(float* x, Register v) { _mm256_storeu_ps(x, v); }
  static Register all(float x) { return _mm256_set1_ps(x); }
  static Register multiply(Register a, Register b) { return _mm256_mul_ps(a, b); }
  static Register add_product(Register sum, Register a, Register b) {
    return _mm256_fmadd_ps(a, b, sum);
  }

  // 8 x 8: pairs of rows, pairs of pairs, then halves of registers change places.
  static void transpose(const float* x, size_t x_stride, float* out, size_t out_stride) {
    __m256 r[8], t[8];
    for (int i = 0; i < 8; ++i) r[i] = load(x + i * x_stride);
    for (int i = 0; i < 4; ++i) {
      t[2 * i] = _mm256_unpacklo_ps(r[2 * i], r[2 * i + 1]);
      t[2 * i + 1] = _mm256_unpackhi_ps(r[2 * i], r[2 * i + 1]);
    }
    for (int i = 0; i < 2; ++i) {
      r[4 * i] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0x44);
      r[4 * i + 1] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0xee);
      r[4 * i + 2] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0x44);
      r[4 * i + 3] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0xee);
    }
    for (int i = 0; i < 4; ++i) {
      store(out + i * out_stride, _mm256_permute2f128_ps(r[i], r[i + 4], 0x20));
      store(out + (i + 4) * out_stride, _mm256_permute2f128_ps(r[i], r[i + 4], 0x31));
    }
  }

  // 16 rows to 8 columns: whole lines of the cache, both halves one after the other.
  static void stream_transposed(const float* x, size_t x_stride, float* out, size_t out_stride) {
    alignas(64) float lines[8][16];
    transpose(x, x_stride, lines[0], 16);
    transpose(x + 8 * x_stride, x_stride, lines[0] + 8, 16);
    for (int i = 0; i < 8; ++i) {
      _mm256_stream_ps(out + i * out_stride, load(lines[i]));
      _mm256_stream_ps(out + i * out_stride + 8, load(lines[i] + 8));
    }
  }
  static void fence() { _mm_sfence(); }
};

}  // namespace
}  // namespace deform

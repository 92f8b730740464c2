// Registers of 16 floats: AVX-512 (F, BW, DQ, VL), as of Skylake-X and Zen 4.
#pragma once

#include <immintrin.h>
#include <stddef.h>

namespace deform {
namespace {

struct Avx512 {
  using Register = __m512;
  static constexpr int lanes = 16;
  static Register load(const float* x) { return _mm512_loadu_ps(x); }
  static void store(float* x, Register v) { _mm512_storeu_ps(x, v); }
  static Register all(float x) { return _mm512_set1_ps(x); }
  static Register multiply(Register a, Register b) { return _mm512_mul_ps(a, b); }
  static Register add_product(Register sum, Register a, Register b) {
    return _mm512_fmadd_ps(a, b, sum);
  }

  // 16 x 16: pairs of rows, pairs of pairs, then quarters of registers change places.
  template <void (*put)(float*, Register) = store>
  static void transpose(const float* x, size_t x_stride, float* out, size_t out_stride) {
    __m512 r[16], t[16];
    for (int i = 0; i < 16; ++i) r[i] = load(x + i * x_stride);
    for (int i = 0; i < 8; ++i) {
      t[2 * i] = _mm512_unpacklo_ps(r[2 * i], r[2 * i + 1]);
      t[2 * i + 1] = _mm512_unpackhi_ps(r[2 * i], r[2 * i + 1]);
    }
    for (int i = 0; i < 4; ++i) {
      r[4 * i] = low_pairs(t[4 * i], t[4 * i + 2]);
      r[4 * i + 1] = high_pairs(t[4 * i], t[4 * i + 2]);
      r[4 * i + 2] = low_pairs(t[4 * i + 1], t[4 * i + 3]);
      r[4 * i + 3] = high_pairs(t[4 * i + 1], t[4 * i + 3]);
    }
    for (int i = 0; i < 4; ++i) {
      t[i] = _mm512_shuffle_f32x4(r[i], r[i + 4], 0x88);
      t[i + 4] = _mm512_shuffle_f32x4(r[i], r[i + 4], 0xdd);
      t[i + 8] = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0x88);
      t[i + 12] = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0xdd);
    }
    for (int i = 0; i < 8; ++i) {
      put(out + i * out_stride, _mm512_shuffle_f32x4(t[i], t[i + 8], 0x88));
      put(out + (i + 8) * out_stride, _mm512_shuffle_f32x4(t[i], t[i + 8], 0xdd));
    }
  }

  // 16 rows to 16 columns: whole lines of the cache.
  static void stream_transposed(const float* x, size_t x_stride, float* out, size_t out_stride) {
    transpose<stream>(x, x_stride, out, out_stride);
  }
  static void fence() { _mm_sfence(); }

 private:
  static void stream(float* x, Register v) { _mm512_stream_ps(x, v); }
  static __m512 low_pairs(__m512 a, __m512 b) {
    return _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)));
  }
  static __m512 high_pairs(__m512 a, __m512 b) {
    return _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)));
  }
};

}  // namespace
}  // namespace deform

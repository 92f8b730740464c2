// What both int8 paths on registers of 32 bytes have in common: everything but the product.
#pragma once

#include "avx2.h"
#include "int8_path.h"

namespace deform {
namespace {

struct Avx2Integers {
  using Register = __m256i;
  static constexpr int lanes = 32, registers = 2, sums = 8, offset = 0;
  static Register load(const void* x) {
    return _mm256_loadu_si256(static_cast<const __m256i*>(x));
  }
  static void store(void* x, Register v) { _mm256_storeu_si256(static_cast<__m256i*>(x), v); }
  static Register all(const void* bits32) {
    return _mm256_castps_si256(_mm256_broadcast_ss(static_cast<const float*>(bits32)));
  }

  static Range range(const float* x, size_t count) {
    const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
    __m256 low = _mm256_setzero_ps(), high = low;
    __m256i largest = _mm256_setzero_si256();  // of the bits: infinity and NaN are above all others
    size_t i = 0;
    for (; i + 8 <= count; i += 8) {
      const __m256 value = _mm256_loadu_ps(x + i);
      low = _mm256_min_ps(value, low);
      high = _mm256_max_ps(value, high);
      const __m256i bits = _mm256_and_si256(_mm256_castps_si256(value), magnitude);
      largest = _mm256_max_epi32(largest, bits);
    }
    float lows[8], highs[8];
    int32_t bits[8];
    _mm256_storeu_ps(lows, low);
    _mm256_storeu_ps(highs, high);
    store(bits, largest);
    Range found{0.0f, 0.0f, true};
    for (int k = 0; k < 8; ++k) add(found, lows[k], highs[k], bits[k] < 0x7f800000);
    for (; i < count; ++i) add(found, x[i], x[i], x[i] - x[i] == 0.0f);
    return found;
  }

  static void quantize(const float* x, size_t count, float inverse, int zero, uint8_t* out) {
    const __m256 factor = _mm256_set1_ps(inverse);
    const __m256i middle = _mm256_set1_epi32(zero);
    for (size_t i = 0; i < count; i += 16) {
      const __m256i a = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + i), factor));
      const __m256i b = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + i + 8), factor));
      // Packing saturates, and leaves quarters in the order a b a b.
      const __m256i both = _mm256_permute4x64_epi64(
          _mm256_packs_epi32(_mm256_add_epi32(a, middle), _mm256_add_epi32(b, middle)), 0xd8);
      _mm_storeu_si128(reinterpret_cast<__m128i*>(out + i),
                       _mm_packus_epi16(_mm256_castsi256_si128(both),
                                        _mm256_extracti128_si256(both, 1)));
    }
  }

  // 32 channels of two corners become pairs of 16 bits, which one instruction weighs and adds.
  // `keep` gets samples 0-7 and 16-23, and 8-15 and 24-31, as 16 bits each.
  template <class Keep>
  static void sample_all(const Corners& corners, int count, int zero, const uint8_t* map,
                         size_t channels, const Keep& keep) {
    FixedWeights fixed;
    fixed_weights(corners, count, zero, fixed);
    const __m256i none = _mm256_setzero_si256();
    for (int p = 0; p < count; ++p) {
      const uint8_t* a = map + static_cast<size_t>(corners.pixel[0][p]) * channels;
      const uint8_t* b = map + static_cast<size_t>(corners.pixel[1][p]) * channels;
      const uint8_t* c = map + static_cast<size_t>(corners.pixel[2][p]) * channels;
      const uint8_t* d = map + static_cast<size_t>(corners.pixel[3][p]) * channels;
      const __m256i upper = _mm256_set1_epi32(fixed.upper[p]);
      const __m256i lower = _mm256_set1_epi32(fixed.lower[p]);
      const __m256i rest = _mm256_set1_epi32(fixed.rest[p]);
      const auto weighed = [&](__m256i ab, __m256i cd) {
        const __m256i sum =
            _mm256_add_epi32(_mm256_madd_epi16(ab, upper), _mm256_madd_epi16(cd, lower));
        return _mm256_srli_epi32(_mm256_add_epi32(sum, rest), FIXED_BITS);
      };
      for (size_t i = 0; i < channels; i += lanes) {
        const __m256i va = load(a + i), vb = load(b + i), vc = load(c + i), vd = load(d + i);
        const __m256i ab = _mm256_unpacklo_epi8(va, vb), ab2 = _mm256_unpackhi_epi8(va, vb);
        const __m256i cd = _mm256_unpacklo_epi8(vc, vd), cd2 = _mm256_unpackhi_epi8(vc, vd);
        keep(p, i,
             _mm256_packus_epi32(
                 weighed(_mm256_unpacklo_epi8(ab, none), _mm256_unpacklo_epi8(cd, none)),
                 weighed(_mm256_unpackhi_epi8(ab, none), _mm256_unpackhi_epi8(cd, none))),
             _mm256_packus_epi32(
                 weighed(_mm256_unpacklo_epi8(ab2, none), _mm256_unpacklo_epi8(cd2, none)),
                 weighed(_mm256_unpackhi_epi8(ab2, none), _mm256_unpackhi_epi8(cd2, none))));
      }
    }
  }

  static void to_float(int32_t* sums, size_t count, const float* scale, const float* bias) {
    for (size_t i = 0; i < count; i += 8) {
      const __m256 value = _mm256_cvtepi32_ps(load(sums + i));
      const __m256 real =
          _mm256_fmadd_ps(value, _mm256_loadu_ps(scale + i), _mm256_loadu_ps(bias + i));
      store(sums + i, _mm256_castps_si256(real));
    }
  }

 private:
  static void add(Range& found, float low, float high, bool finite) {
    found.low = low < found.low ? low : found.low;
    found.high = high > found.high ? high : found.high;
    found.finite &= finite;
  }
};

}  // namespace
}  // namespace deform

// int8 with AVX-512 VNNI (Cascade Lake, Ice Lake, Zen 4 and later): 6 pixels by 64 output channels.
#include <string.h>

#include "avx512.h"
#include "int8_path.h"

namespace deform {
namespace {

struct Avx512Vnni {
  using Sample = uint8_t;
  using Weight = int8_t;
  using Register = __m512i;
  static constexpr int lanes = 64, registers = 4, sums = 16, group = 4, offset = 0;
  static constexpr int products = 64;
  static Register load(const void* x) { return _mm512_loadu_si512(x); }
  static void store(int32_t* x, Register v) { _mm512_storeu_si512(x, v); }
  static Register all(const uint8_t* four) {
    int32_t bits;
    memcpy(&bits, four, sizeof bits);
    return _mm512_set1_epi32(bits);
  }
  static Register dot(Register sum, Register samples, Register weights) {
    return _mm512_dpbusd_epi32(sum, samples, weights);
  }

  static Range range(const float* x, size_t count) {
    const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
    __m512 low = _mm512_setzero_ps(), high = low;
    __m512i largest = _mm512_setzero_si512();  // of the bits: infinity and NaN are above all others
    for (size_t i = 0; i < count; i += 16) {
      const __mmask16 there = count - i < 16 ? (1u << (count - i)) - 1 : 0xffff;
      const __m512 value = _mm512_maskz_loadu_ps(there, x + i);
      low = _mm512_min_ps(value, low);
      high = _mm512_max_ps(value, high);
      const __m512i bits = _mm512_and_si512(_mm512_castps_si512(value), magnitude);
      largest = _mm512_max_epi32(largest, bits);
    }
    return {_mm512_reduce_min_ps(low), _mm512_reduce_max_ps(high),
            _mm512_reduce_max_epi32(largest) < 0x7f800000};
  }

  static void quantize(const float* x, size_t count, float inverse, int zero, uint8_t* out) {
    const __m512 factor = _mm512_set1_ps(inverse);
    const __m512i middle = _mm512_set1_epi32(zero), none = _mm512_setzero_si512();
    for (size_t i = 0; i < count; i += 16) {
      const __m512i whole = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(x + i), factor));
      const __m512i q = _mm512_max_epi32(_mm512_add_epi32(whole, middle), none);
      _mm_storeu_si128(reinterpret_cast<__m128i*>(out + i), _mm512_cvtusepi32_epi8(q));
    }
  }

  // 64 channels of two corners become pairs of 16 bits, which one instruction weighs and adds. The
  // order that unpacking within 128 bits leaves is undone by packing within 128 bits.
  static void sample(const Corners& corners, int count, int zero, const uint8_t* map,
                     size_t channels, void* out, size_t stride) {
    FixedWeights fixed;
    fixed_weights(corners, count, zero, fixed);
    auto* to = static_cast<uint8_t*>(out);
    const __m512i none = _mm512_setzero_si512();
    for (int p = 0; p < count; ++p, to += stride) {
      const uint8_t* a = map + static_cast<size_t>(corners.pixel[0][p]) * channels;
      const uint8_t* b = map + static_cast<size_t>(corners.pixel[1][p]) * channels;
      const uint8_t* c = map + static_cast<size_t>(corners.pixel[2][p]) * channels;
      const uint8_t* d = map + static_cast<size_t>(corners.pixel[3][p]) * channels;
      const __m512i upper = _mm512_set1_epi32(fixed.upper[p]);
      const __m512i lower = _mm512_set1_epi32(fixed.lower[p]);
      const __m512i rest = _mm512_set1_epi32(fixed.rest[p]);
      const auto weighed = [&](__m512i ab, __m512i cd) {
        const __m512i sum = _mm512_dpwssd_epi32(_mm512_dpwssd_epi32(rest, ab, upper), cd, lower);
        return _mm512_srli_epi32(sum, FIXED_BITS);
      };
      for (size_t i = 0; i < channels; i += lanes) {
        const __m512i va = load(a + i), vb = load(b + i), vc = load(c + i), vd = load(d + i);
        const __m512i ab = _mm512_unpacklo_epi8(va, vb), ab2 = _mm512_unpackhi_epi8(va, vb);
        const __m512i cd = _mm512_unpacklo_epi8(vc, vd), cd2 = _mm512_unpackhi_epi8(vc, vd);
        const __m512i first = _mm512_packus_epi32(
            weighed(_mm512_unpacklo_epi8(ab, none), _mm512_unpacklo_epi8(cd, none)),
            weighed(_mm512_unpackhi_epi8(ab, none), _mm512_unpackhi_epi8(cd, none)));
        const __m512i second = _mm512_packus_epi32(
            weighed(_mm512_unpacklo_epi8(ab2, none), _mm512_unpacklo_epi8(cd2, none)),
            weighed(_mm512_unpackhi_epi8(ab2, none), _mm512_unpackhi_epi8(cd2, none)));
        _mm512_storeu_si512(to + i, _mm512_packus_epi16(first, second));
      }
    }
  }

  static void to_float(int32_t* sums, size_t count, const float* scale, const float* bias) {
    for (size_t i = 0; i < count; i += 16) {
      const __m512 value = _mm512_cvtepi32_ps(load(sums + i));
      const __m512 real =
          _mm512_fmadd_ps(value, _mm512_loadu_ps(scale + i), _mm512_loadu_ps(bias + i));
      store(sums + i, _mm512_castps_si512(real));
    }
  }
};

}  // namespace

const Int8Path avx512_vnni_int8 = int8_path<Avx512, Avx512Vnni>("avx512-vnni");

}  // namespace deform

// int8 with NEON's dot products (Armv8.2 and later: Graviton 2, Apple M1, Cortex-A76): 6 pixels by
// 16 output channels. Its product of bytes takes two signed ones, so samples are stored less 128.
#include <string.h>

#include "int8_path.h"
#include "neon.h"

namespace deform {
namespace {

struct NeonDot {
  using Sample = int8_t;
  using Weight = int8_t;
  using Register = int32x4_t;
  static constexpr int lanes = 16, registers = 4, sums = 4, group = 4, offset = 128;
  static constexpr int products = 16;
  static Register load(const int32_t* x) { return vld1q_s32(x); }
  static Register load(const int8_t* x) { return vreinterpretq_s32_s8(vld1q_s8(x)); }
  static void store(int32_t* x, Register v) { vst1q_s32(x, v); }
  static Register all(const int8_t* four) {
    int32_t bits;
    memcpy(&bits, four, sizeof bits);
    return vdupq_n_s32(bits);
  }
  static Register dot(Register sum, Register samples, Register weights) {
    return vdotq_s32(sum, vreinterpretq_s8_s32(samples), vreinterpretq_s8_s32(weights));
  }

  static Range range(const float* x, size_t count) {
    float32x4_t low = vdupq_n_f32(0.0f), high = low;
    uint32x4_t largest = vdupq_n_u32(0);  // of the bits: infinity and NaN are above all others
    const uint32x4_t magnitude = vdupq_n_u32(0x7fffffff);
    size_t i = 0;
    for (; i + 4 <= count; i += 4) {
      const float32x4_t value = vld1q_f32(x + i);
      low = vminq_f32(low, value);
      high = vmaxq_f32(high, value);
      largest = vmaxq_u32(largest, vandq_u32(vreinterpretq_u32_f32(value), magnitude));
    }
    Range found{vminvq_f32(low), vmaxvq_f32(high), vmaxvq_u32(largest) < 0x7f800000};
    for (; i < count; ++i) {
      found.low = x[i] < found.low ? x[i] : found.low;
      found.high = x[i] > found.high ? x[i] : found.high;
      found.finite &= x[i] - x[i] == 0.0f;
    }
    return found;
  }

  static void quantize(const float* x, size_t count, float inverse, int zero, uint8_t* out) {
    const float32x4_t factor = vdupq_n_f32(inverse);
    const int32x4_t middle = vdupq_n_s32(zero);
    for (size_t i = 0; i < count; i += 8) {
      const int32x4_t a = vcvtnq_s32_f32(vmulq_f32(vld1q_f32(x + i), factor));
      const int32x4_t b = vcvtnq_s32_f32(vmulq_f32(vld1q_f32(x + i + 4), factor));
      const int16x8_t both = vcombine_s16(vqmovn_s32(vaddq_s32(a, middle)),
                                          vqmovn_s32(vaddq_s32(b, middle)));
      vst1_u8(out + i, vqmovun_s16(both));
    }
  }

  static void sample(const Corners& corners, int count, int zero, const uint8_t* map,
                     size_t channels, void* out, size_t stride) {
    FixedWeights fixed;
    fixed_weights(corners, count, zero, fixed);
    auto* to = static_cast<int8_t*>(out);
    const uint8x16_t sign = vdupq_n_u8(offset);
    for (int p = 0; p < count; ++p, to += stride) {
      const uint8_t* corner[4];
      for (int k = 0; k < 4; ++k)
        corner[k] = map + static_cast<size_t>(corners.pixel[k][p]) * channels;
      const uint32_t upper = static_cast<uint32_t>(fixed.upper[p]);
      const uint32_t lower = static_cast<uint32_t>(fixed.lower[p]);
      const uint16_t weight[4] = {static_cast<uint16_t>(upper), static_cast<uint16_t>(upper >> 16),
                                  static_cast<uint16_t>(lower), static_cast<uint16_t>(lower >> 16)};
      const uint32x4_t rest = vdupq_n_u32(static_cast<uint32_t>(fixed.rest[p]));
      for (size_t i = 0; i < channels; i += lanes) {
        uint32x4_t sum[4] = {rest, rest, rest, rest};
        for (int k = 0; k < 4; ++k) {
          const uint8x16_t bytes = vld1q_u8(corner[k] + i);
          const uint16x8_t low = vmovl_u8(vget_low_u8(bytes)), high = vmovl_u8(vget_high_u8(bytes));
          sum[0] = vmlal_n_u16(sum[0], vget_low_u16(low), weight[k]);
          sum[1] = vmlal_n_u16(sum[1], vget_high_u16(low), weight[k]);
          sum[2] = vmlal_n_u16(sum[2], vget_low_u16(high), weight[k]);
          sum[3] = vmlal_n_u16(sum[3], vget_high_u16(high), weight[k]);
        }
        const uint16x8_t low =
            vcombine_u16(vshrn_n_u32(sum[0], FIXED_BITS), vshrn_n_u32(sum[1], FIXED_BITS));
        const uint16x8_t high =
            vcombine_u16(vshrn_n_u32(sum[2], FIXED_BITS), vshrn_n_u32(sum[3], FIXED_BITS));
        const uint8x16_t bytes = vcombine_u8(vqmovn_u16(low), vqmovn_u16(high));
        vst1q_s8(to + i, vreinterpretq_s8_u8(veorq_u8(bytes, sign)));
      }
    }
  }

  static void to_float(int32_t* sums, size_t count, const float* scale, const float* bias) {
    for (size_t i = 0; i < count; i += 4) {
      const float32x4_t value = vcvtq_f32_s32(vld1q_s32(sums + i));
      const float32x4_t real = vfmaq_f32(vld1q_f32(bias + i), value, vld1q_f32(scale + i));
      vst1q_s32(sums + i, vreinterpretq_s32_f32(real));
    }
  }
};

}  // namespace

const Int8Path neon_dot_int8 = int8_path<Neon, NeonDot>("neon-dotprod");

}  // namespace deform

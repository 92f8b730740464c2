// Registers of 4 floats: every Arm64 processor.
#pragma once

#include <arm_neon.h>
#include <stddef.h>

namespace deform {
namespace {

struct Neon {
  using Register = float32x4_t;
  static constexpr int lanes = 4;
  static Register load(const float* x) { return vld1q_f32(x); }
  static void store(float* x, Register v) { vst1q_f32(x, v); }
  static Register all(float x) { return vdupq_n_f32(x); }
  static Register multiply(Register a, Register b) { return vmulq_f32(a, b); }
  static Register add_product(Register sum, Register a, Register b) {
    return vfmaq_f32(sum, a, b);
  }

  static void transpose(const float* x, size_t x_stride, float* out, size_t out_stride) {
    const float32x4_t a = load(x), b = load(x + x_stride);
    const float32x4_t c = load(x + 2 * x_stride), d = load(x + 3 * x_stride);
    const float32x4x2_t ab = vtrnq_f32(a, b), cd = vtrnq_f32(c, d);
    store(out, vcombine_f32(vget_low_f32(ab.val[0]), vget_low_f32(cd.val[0])));
    store(out + out_stride, vcombine_f32(vget_low_f32(ab.val[1]), vget_low_f32(cd.val[1])));
    store(out + 2 * out_stride, vcombine_f32(vget_high_f32(ab.val[0]), vget_high_f32(cd.val[0])));
    store(out + 3 * out_stride, vcombine_f32(vget_high_f32(ab.val[1]), vget_high_f32(cd.val[1])));
  }

  // 16 rows to 4 columns; Arm's caches see for themselves that whole lines are written.
  static void stream_transposed(const float* x, size_t x_stride, float* out, size_t out_stride) {
    for (int i = 0; i < 16; i += 4) transpose(x + i * x_stride, x_stride, out + i, out_stride);
  }
  static void fence() {}
};

}  // namespace
}  // namespace deform

// Where the taps of a deformable convolution read. Included by each path, which compiles it for its
// own instructions; without contraction to fused multiply-adds, so that all paths agree bit by bit.
#pragma once

#include "path.h"

namespace deform {
namespace {

inline float floor_of(float value) {  // within int32
  const float whole = static_cast<float>(static_cast<int32_t>(value));
  return whole > value ? whole - 1.0f : whole;
}

inline void locate(const Window& w, const float* dy, const float* dx, const float* mask,
                   int64_t first, int count, Corners& out) {
  float base_y[TILE], base_x[TILE];
  int32_t row = static_cast<int32_t>(first / w.out_width);
  int32_t column = static_cast<int32_t>(first % w.out_width);
  for (int p = 0; p < count; ++p) {
    base_y[p] = static_cast<float>(row * w.stride_y + w.row);
    base_x[p] = static_cast<float>(column * w.stride_x + w.column);
    if (++column == w.out_width) column = 0, ++row;
  }
  const float height = static_cast<float>(w.height), width = static_cast<float>(w.width);
  const int32_t outside = w.height * w.width;
  int32_t odd = 0;  // not a branch: the loop is vectorized
  for (int p = 0; p < count; ++p) {
    float y = base_y[p] + dy[p], x = base_x[p] + dx[p];
    const float m = mask ? mask[p] : 1.0f;
    odd |= !(m >= 0.0f) | !(m <= 1.0f);
    const bool inside = (y > -1.0f) & (x > -1.0f) & (y < height) & (x < width);  // false for NaN
    y = inside ? y : 0.0f;
    x = inside ? x : 0.0f;
    const float top = floor_of(y), left = floor_of(x);
    const int32_t y0 = static_cast<int32_t>(top), x0 = static_cast<int32_t>(left);
    const float below = y - top, right = x - left;
    const bool has_top = inside & (y0 >= 0), has_bottom = inside & (y0 + 1 < w.height);
    const bool has_left = x0 >= 0, has_right = x0 + 1 < w.width;
    const float upper = (1.0f - below) * m, lower = below * m;
    const int32_t corner = y0 * w.width + x0;
    const bool a = has_top & has_left, b = has_top & has_right;
    const bool c = has_bottom & has_left, d = has_bottom & has_right;
    out.pixel[0][p] = a ? corner : outside;
    out.pixel[1][p] = b ? corner + 1 : outside;
    out.pixel[2][p] = c ? corner + w.width : outside;
    out.pixel[3][p] = d ? corner + w.width + 1 : outside;
    out.weight[0][p] = a ? upper * (1.0f - right) : 0.0f;
    out.weight[1][p] = b ? upper * right : 0.0f;
    out.weight[2][p] = c ? lower * (1.0f - right) : 0.0f;
    out.weight[3][p] = d ? lower * right : 0.0f;
  }
  out.is_mean = !odd;
}

// The four weights of each pixel as integers, two in a register's 32 bits, and what rounding and
// the zero point add: `sum of w * q + rest`, shifted by FIXED_BITS, is the sample. Where corners are
// missing or the modulation is less than one, the zero point (which stands for zero) takes their
// share.
struct FixedWeights {
  int32_t upper[TILE], lower[TILE], rest[TILE];
};

inline void fixed_weights(const Corners& corners, int count, int zero, FixedWeights& out) {
  const float one = static_cast<float>(1 << FIXED_BITS);
  for (int p = 0; p < count; ++p) {
    const int32_t a = static_cast<int32_t>(corners.weight[0][p] * one + 0.5f);
    const int32_t b = static_cast<int32_t>(corners.weight[1][p] * one + 0.5f);
    const int32_t c = static_cast<int32_t>(corners.weight[2][p] * one + 0.5f);
    const int32_t d = static_cast<int32_t>(corners.weight[3][p] * one + 0.5f);
    out.upper[p] = a | b << 16;
    out.lower[p] = c | d << 16;
    out.rest[p] = (1 << (FIXED_BITS - 1)) + zero * ((1 << FIXED_BITS) - (a + b + c + d));
  }
}

}  // namespace
}  // namespace deform

// Both paths without vector instructions: what the others are compared with, and never chosen.
#include <math.h>
#include <string.h>

#include "int8_path.h"

namespace deform {
namespace {

struct Scalar {
  using Register = float;
  static constexpr int lanes = 1;
  static float load(const float* x) { return *x; }
  static void store(float* x, float v) { *x = v; }
  static float all(float x) { return x; }
  static float multiply(float a, float b) { return a * b; }
  static float add_product(float sum, float a, float b) { return fmaf(a, b, sum); }
  static void transpose(const float* x, size_t, float* out, size_t) { *out = *x; }
  static void stream_transposed(const float* x, size_t x_stride, float* out, size_t) {
    for (int i = 0; i < 16; ++i) out[i] = x[i * x_stride];
  }
  static void fence() {}
};

struct ScalarInt8 {
  using Sample = uint8_t;
  using Weight = int8_t;
  using Register = int32_t;
  static constexpr int lanes = 16, registers = 4, sums = 1, group = 4, offset = 0;
  static constexpr int products = 1;
  // A register holds four weights, or one sum, or four samples.
  static int32_t load(const int32_t* x) { return *x; }
  static int32_t load(const int8_t* x) { return joined(x); }
  static int32_t all(const uint8_t* x) { return joined(x); }
  static void store(int32_t* x, int32_t v) { *x = v; }
  static int32_t dot(int32_t sum, int32_t samples, int32_t weights) {
    uint32_t total = static_cast<uint32_t>(sum);
    for (int i = 0; i < group; ++i) {
      const int32_t sample = (static_cast<uint32_t>(samples) >> (8 * i)) & 255;
      const int32_t weight = ((static_cast<uint32_t>(weights) >> (8 * i) & 255) ^ 128) - 128;
      total += static_cast<uint32_t>(sample * weight);
    }
    return static_cast<int32_t>(total);
  }
  template <class T>
  static int32_t joined(const T* x) {
    uint32_t value = 0;
    for (int i = 0; i < group; ++i)
      value |= static_cast<uint32_t>(static_cast<uint8_t>(x[i])) << (8 * i);
    return static_cast<int32_t>(value);
  }

  static Range range(const float* x, size_t count) {
    Range found{0.0f, 0.0f, true};
    for (size_t i = 0; i < count; ++i) {
      found.finite &= x[i] - x[i] == 0.0f;
      found.low = x[i] < found.low ? x[i] : found.low;
      found.high = x[i] > found.high ? x[i] : found.high;
    }
    return found;
  }

  static void quantize(const float* x, size_t count, float inverse, int zero, uint8_t* out) {
    for (size_t i = 0; i < count; ++i) {
      const float magic = 12582912.0f;  // 1.5 * 2**23: adding it rounds to the nearest even integer
      const float value = x[i] * inverse;
      const float held = value < -512.0f ? -512.0f : value > 512.0f ? 512.0f : value;
      const int32_t q = static_cast<int32_t>((held + magic) - magic) + zero;
      out[i] = static_cast<uint8_t>(q < 0 ? 0 : q > 255 ? 255 : q);
    }
  }

  static void sample(const Corners& corners, int count, int zero, const uint8_t* map,
                     size_t channels, void* out, size_t stride) {
    FixedWeights fixed;
    fixed_weights(corners, count, zero, fixed);
    auto* to = static_cast<uint8_t*>(out);
    for (int p = 0; p < count; ++p, to += stride)
      for (size_t i = 0; i < channels; ++i) {
        const auto q = [&](int k) {
          return static_cast<int32_t>(map[static_cast<size_t>(corners.pixel[k][p]) * channels + i]);
        };
        const int32_t low = 0xffff;
        const int32_t sum = fixed.rest[p] + (fixed.upper[p] & low) * q(0) +
                            (fixed.upper[p] >> 16) * q(1) + (fixed.lower[p] & low) * q(2) +
                            (fixed.lower[p] >> 16) * q(3);
        to[i] = static_cast<uint8_t>(sum >> FIXED_BITS);
      }
  }

  static void to_float(int32_t* sums, size_t count, const float* scale, const float* bias) {
    for (size_t i = 0; i < count; ++i) {
      const float value = fmaf(static_cast<float>(sums[i]), scale[i], bias[i]);
      memcpy(sums + i, &value, sizeof value);
    }
  }
};

}  // namespace

const FloatPath scalar_float = float_path<Scalar, 4>("scalar");
const Int8Path scalar_int8 = int8_path<Scalar, ScalarInt8>("scalar");

}  // namespace deform

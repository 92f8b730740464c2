#include "convolution.h"

#include <algorithm>

namespace deform {
namespace {

constexpr int64_t LARGEST_SIDE = 1 << 22;  // of anything: positions are exact in float32
constexpr int64_t MOST_PIXELS = 1 << 30;   // an index of a pixel is int32
constexpr int64_t MOST_CHANNELS = 1 << 16;
constexpr int64_t MOST_TAPS = 1 << 12;

}  // namespace

Sizes sizes_of(const Attributes& a, int64_t height, int64_t width) {
  const int64_t tall = height + a.top + a.bottom - a.dilation_y * (a.kernel_height - 1) - 1;
  const int64_t wide = width + a.left + a.right - a.dilation_x * (a.kernel_width - 1) - 1;
  return {height, width, tall < 0 ? 0 : tall / a.stride_y + 1, wide < 0 ? 0 : wide / a.stride_x + 1};
}

std::string refusal(const Attributes& a) {
  const auto within = [](int64_t value, int64_t least, int64_t most) {
    return value >= least && value <= most;
  };
  if (!within(a.channels, 1, MOST_CHANNELS) || !within(a.outputs, 1, MOST_CHANNELS))
    return "the weight has no channels, or too many";
  if (!within(a.kernel_height, 1, MOST_TAPS) || !within(a.kernel_width, 1, MOST_TAPS) ||
      a.taps() > MOST_TAPS)
    return "the kernel has no taps, or too many";
  for (const int64_t value : {a.stride_y, a.stride_x, a.dilation_y, a.dilation_x})
    if (!within(value, 1, 1 << 10)) return "a stride or dilation is out of range";
  for (const int64_t value : {a.top, a.left, a.bottom, a.right})
    if (!within(value, 0, 1 << 20)) return "a pad is out of range";
  if (a.channels * a.taps() > 1 << 24 || a.channels * a.taps() * a.outputs > MOST_PIXELS)
    return "the weight is too large";
  return {};
}

std::string refusal(const Attributes& a, const Sizes& sizes) {
  for (const int64_t side : {sizes.height, sizes.width, sizes.out_height, sizes.out_width})
    if (side < 1 || side > LARGEST_SIDE) return "a side of the map is out of range";
  if (sizes.height * sizes.width > MOST_PIXELS || sizes.out_height * sizes.out_width > MOST_PIXELS)
    return "the map has too many pixels";
  if (sizes.out_height * a.stride_y > 2 * LARGEST_SIDE ||
      sizes.out_width * a.stride_x > 2 * LARGEST_SIDE)
    return "the map is too large for its strides";
  return {};
}

}  // namespace deform

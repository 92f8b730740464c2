// What a deformable convolution computes: its attributes, and the sizes of one image.
#pragma once

#include <cstddef>
#include <cstdint>

namespace deform {

// Attributes and weight of a node, as ONNX calls them. One group, one offset group.
struct Attributes {
  int64_t channels, outputs;                // of the weight (outputs, channels, height, width)
  int64_t kernel_height, kernel_width;
  int64_t stride_y = 1, stride_x = 1;
  int64_t dilation_y = 1, dilation_x = 1;
  int64_t top = 0, left = 0, bottom = 0, right = 0;  // pads

  int64_t taps() const { return kernel_height * kernel_width; }
};

// Heights and widths of one image's map and of its result.
struct Sizes {
  int64_t height, width;
  int64_t out_height, out_width;

  size_t pixels() const { return static_cast<size_t>(height * width); }
  size_t out_pixels() const { return static_cast<size_t>(out_height * out_width); }
};

inline size_t round_up(size_t value, size_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

}  // namespace deform

// A modulated deformable convolution with constant weights, for any path and any thread pool.
//
//   y[o, p] = bias[o] + sum over taps k and channels c of
//             weight[o, c, k] * mask[k, p] * x[c, position of p and k + offset[k, p]]
//
// x between pixels is the bilinear mean of four, and zero outside: ONNX's DeformConv.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "geometry.h"
#include "memory.h"
#include "path.h"

namespace deform {

// Runs body(data, 0) to body(data, count - 1) in any order, on any threads; false where it can't.
class ThreadPool {
 public:
  virtual bool run(size_t count, void (*body)(void* data, size_t index), void* data) = 0;

 protected:
  ~ThreadPool() = default;
};

// Arrays of one image, contiguous float32.
struct Image {
  Sizes sizes;
  const float* x;        // (channels, height, width)
  const float* offsets;  // (2 * taps, out_height, out_width): y and x of each tap
  const float* mask;     // (taps, out_height, out_width), or null for ones
  const float* bias;     // (outputs,), or null for zeros
  float* y;              // (outputs, out_height, out_width)
};

enum class Outcome { done, no_memory, not_run };

// Why a convolution or an image of these sizes can't be computed here; empty where it can.
std::string refusal(const Attributes& attributes);
std::string refusal(const Attributes& attributes, const Sizes& sizes);

// Heights and widths of an image's result by its attributes; not positive where there is none.
Sizes sizes_of(const Attributes& attributes, int64_t height, int64_t width);

class Convolution {
 public:
  virtual ~Convolution() = default;

  // Bytes of `workspace` that an image takes.
  virtual size_t workspace_bytes(const Sizes& sizes) const = 0;

  // Computes one image. Several threads may do so at once, each with a workspace of its own.
  virtual Outcome run(const Image& image, void* workspace, ThreadPool& pool) const = 0;

  virtual size_t weight_bytes() const = 0;
};

// In float32. `weight` is (outputs, channels, kernel_height, kernel_width) and not kept. Null where
// there is no memory.
std::unique_ptr<Convolution> make_float(const Attributes& attributes, const float* weight,
                                        const FloatPath& path);

// In int8, with a scale for each output channel and one for the whole map, which is the map's own.
// Where a mask leaves [0, 1], the image is computed by `fallback` from the rounded weights. Weights
// that are not finite are computed by `fallback` always.
std::unique_ptr<Convolution> make_int8(const Attributes& attributes, const float* weight,
                                       const Int8Path& path, const FloatPath& fallback);

// Products that an int8 convolution may sum without leaving int32.
constexpr int64_t MOST_INT8_DEPTH = 65536;

}  // namespace deform

// The convolution in float32.
#include <cstring>

#include "tiles.h"

namespace deform {
namespace {

// Values of a pixel's samples that are multiplied in one go: those of a tile stay in the second
// level of the cache, beside the weights they meet.
constexpr size_t DEPTH_AT_ONCE = 512;

class FloatConvolution final : public Convolution {
 public:
  FloatConvolution(const Attributes& attributes, const FloatPath& path)
      : a_(attributes),
        path_(path),
        channels_(round_up(static_cast<size_t>(a_.channels), path.lanes)),
        outputs_(round_up(static_cast<size_t>(a_.outputs), path.outputs)),
        taps_at_once_(std::max<size_t>(1, DEPTH_AT_ONCE / channels_)),
        row_(outputs_ + ROW_PADDING) {}

  bool pack(const float* weight);
  size_t weight_bytes() const override { return depth() * outputs_ * sizeof(float); }
  size_t workspace_bytes(const Sizes& sizes) const override {
    return (sizes.pixels() + 1) * channels_ * sizeof(float);
  }
  Outcome run(const Image& image, void* workspace, ThreadPool& pool) const override;

 private:
  size_t depth() const { return static_cast<size_t>(a_.taps()) * channels_; }
  size_t sample_bytes() const {
    return TILE * std::min(static_cast<size_t>(a_.taps()), taps_at_once_) * channels_ *
           sizeof(float);
  }
  void compute_tile(const Image& image, const float* map, size_t tile, char* buffer) const;

  const Attributes a_;
  const FloatPath& path_;
  const size_t channels_, outputs_, taps_at_once_, row_;
  Memory weights_;  // (blocks of outputs, taps, channels, outputs of a block)
};

bool FloatConvolution::pack(const float* weight) {
  weights_ = allocate(weight_bytes());
  if (!weights_) return false;
  float* packed = static_cast<float*>(weights_.get());
  const size_t taps = static_cast<size_t>(a_.taps()), block = path_.outputs;
  const size_t channels = static_cast<size_t>(a_.channels), outputs = static_cast<size_t>(a_.outputs);
  for (size_t first = 0; first < outputs_; first += block)
    for (size_t tap = 0; tap < taps; ++tap)
      for (size_t channel = 0; channel < channels_; ++channel)
        for (size_t output = first; output < first + block; ++output)
          *packed++ = output < outputs && channel < channels
                          ? weight[(output * channels + channel) * taps + tap]
                          : 0.0f;
  return true;
}

Outcome FloatConvolution::run(const Image& image, void* workspace, ThreadPool& pool) const {
  float* map = static_cast<float*>(workspace);
  const size_t pixels = image.sizes.pixels();
  std::fill_n(map + pixels * channels_, channels_, 0.0f);  // what lies outside
  if (!in_parts(pool, pixels, COPIED_AT_ONCE, [&](size_t first, size_t last) {
        path_.channels_last(image.x, static_cast<size_t>(a_.channels), pixels, first, last,
                            channels_, map);
      }))
    return Outcome::not_run;
  std::atomic<bool> no_memory{false};
  const size_t bytes = sample_bytes() + TILE * row_ * sizeof(float);
  if (!in_parts(pool, tiles_of(image.sizes), TILES_AT_ONCE, bytes, no_memory,
                [&](size_t first, size_t last, char* buffer) {
                  for (size_t tile = first; tile < last; ++tile)
                    compute_tile(image, map, tile, buffer);
                }))
    return Outcome::not_run;
  return no_memory ? Outcome::no_memory : Outcome::done;
}

void FloatConvolution::compute_tile(const Image& image, const float* map, size_t tile,
                                    char* buffer) const {
  float* samples = reinterpret_cast<float*>(buffer);
  float* sums = reinterpret_cast<float*>(buffer + sample_bytes());
  const int count = pixels_in_tile(image.sizes, tile);
  const int whole = static_cast<int>(round_up(static_cast<size_t>(count), GROUP));
  const size_t outputs = static_cast<size_t>(a_.outputs), taps = static_cast<size_t>(a_.taps());
  for (int p = 0; p < whole; ++p) {
    float* row = sums + static_cast<size_t>(p) * row_;
    std::fill_n(row, outputs_, 0.0f);
    if (image.bias) std::copy_n(image.bias, outputs, row);
  }
  for (size_t from = 0; from < taps; from += taps_at_once_) {
    const size_t to = std::min(taps, from + taps_at_once_), width = (to - from) * channels_;
    for (size_t tap = from; tap < to; ++tap) {
      Corners corners;
      locate_tap(path_.locate, a_, image, static_cast<int64_t>(tap), tile * TILE, count, corners);
      path_.sample(corners, count, map, channels_, samples + (tap - from) * channels_, width);
    }
    std::fill_n(samples + static_cast<size_t>(count) * width,
                static_cast<size_t>(whole - count) * width, 0.0f);
    const float* weights = static_cast<const float*>(weights_.get()) + from * channels_ * path_.outputs;
    for (size_t block = 0; block < outputs_; block += path_.outputs, weights += depth() * path_.outputs)
      for (int p = 0; p < whole; p += GROUP)
        path_.multiply(samples + static_cast<size_t>(p) * width, width, weights,
                       sums + static_cast<size_t>(p) * row_ + block, row_);
  }
  const size_t columns = image.sizes.out_pixels();
  path_.store(sums, row_, count, outputs, columns, past_cache(a_, image.sizes),
              image.y + tile * TILE);
}

}  // namespace

std::unique_ptr<Convolution> make_float(const Attributes& attributes, const float* weight,
                                        const FloatPath& path) {
  auto made = std::make_unique<FloatConvolution>(attributes, path);
  if (!made->pack(weight)) return nullptr;
  return made;
}

}  // namespace deform

// The convolution in int8: exact sums of uint8 samples by int8 weights.
#include <cmath>
#include <cstring>
#include <limits>
#include <new>

#include "tiles.h"

namespace deform {
namespace {

constexpr size_t DEPTH_AT_ONCE = 1024;  // as in float_convolution.cpp, of smaller values
constexpr size_t RANGE_PARTS = 64;

// How the map is stored: value = scale * (stored - zero).
struct Scale {
  float scale, inverse;
  int zero;
};

Scale scale_of(const Range& range) {
  const double width = static_cast<double>(range.high) - range.low;
  if (width < 1e-30) return {0.0f, 0.0f, 0};  // nothing but zeros, as far as one can tell
  return {static_cast<float>(width / 255), static_cast<float>(255 / width),
          static_cast<int>(std::lrint(-static_cast<double>(range.low) * 255 / width))};
}

class Int8Convolution final : public Convolution {
 public:
  Int8Convolution(const Attributes& attributes, const Int8Path& path, const FloatPath& fallback)
      : a_(attributes),
        path_(path),
        fallback_path_(fallback),
        channels_(round_up(static_cast<size_t>(a_.channels), path.lanes)),
        outputs_(round_up(static_cast<size_t>(a_.outputs), path.outputs)),
        taps_at_once_(std::max<size_t>(1, DEPTH_AT_ONCE / channels_)),
        row_(outputs_ + ROW_PADDING) {}

  bool pack(const float* weight);
  size_t weight_bytes() const override { return depth() * outputs_ * path_.weight_bytes; }
  size_t workspace_bytes(const Sizes& sizes) const override {
    return (sizes.pixels() + 1) * channels_;
  }
  Outcome run(const Image& image, void* workspace, ThreadPool& pool) const override;

 private:
  // What an image's tiles share: the stored map, and how its sums become floats.
  struct Pass {
    const uint8_t* map;
    int zero;
    Memory constants;  // of outputs_ each: scale, bias, first sums
    const float *scale, *bias;
    const int32_t* first;
  };

  size_t depth() const { return static_cast<size_t>(a_.taps()) * channels_; }
  size_t sample_bytes() const {
    const size_t taps = std::min(static_cast<size_t>(a_.taps()), taps_at_once_);
    return round_up(TILE * taps * channels_ * path_.sample_bytes, 64);
  }
  size_t copy_bytes() const {
    return 16 * round_up(static_cast<size_t>(a_.channels), 16) * sizeof(float);
  }
  size_t packed_index(size_t output, size_t tap, size_t channel) const;
  int weight_at(size_t index) const;
  Range range_of(const Image& image, ThreadPool& pool, bool& run) const;
  bool prepare(const Image& image, const Scale& scale, Pass& pass) const;
  bool compute_tile(const Image& image, const Pass& pass, size_t tile, char* buffer) const;
  Outcome run_fallback(const Image& image, ThreadPool& pool) const;

  const Attributes a_;
  const Int8Path& path_;
  const FloatPath& fallback_path_;
  const size_t channels_, outputs_, taps_at_once_, row_;
  Memory weights_;  // (blocks of outputs, taps, channels / group, outputs of a block, group)
  std::vector<float> weight_scale_;
  std::vector<int32_t> weight_sum_;
  mutable std::once_flag fallback_made_;
  mutable std::unique_ptr<Convolution> fallback_;
};

size_t Int8Convolution::packed_index(size_t output, size_t tap, size_t channel) const {
  const size_t block = path_.outputs, group = path_.group;
  const size_t row = (output / block * static_cast<size_t>(a_.taps()) + tap) * channels_ + channel;
  return (row / group * block + output % block) * group + channel % group;
}

int Int8Convolution::weight_at(size_t index) const {
  return path_.weight_bytes == 1 ? static_cast<const int8_t*>(weights_.get())[index]
                                 : static_cast<const int16_t*>(weights_.get())[index];
}

bool Int8Convolution::pack(const float* weight) {
  weights_ = allocate(weight_bytes());
  if (!weights_) return false;
  std::memset(weights_.get(), 0, weight_bytes());
  weight_scale_.assign(outputs_, 0.0f);
  weight_sum_.assign(outputs_, 0);
  const size_t taps = static_cast<size_t>(a_.taps()), channels = static_cast<size_t>(a_.channels);
  for (size_t output = 0; output < static_cast<size_t>(a_.outputs); ++output) {
    const float* row = weight + output * channels * taps;
    float largest = 0.0f;
    for (size_t i = 0; i < channels * taps; ++i) largest = std::max(largest, std::fabs(row[i]));
    if (!(largest > 1e-30f)) continue;
    weight_scale_[output] = largest / 127.0f;
    for (size_t i = 0; i < channels * taps; ++i) {
      const auto q = static_cast<int32_t>(std::lrint(static_cast<double>(row[i]) * 127.0 / largest));
      weight_sum_[output] += q;
      const size_t index = packed_index(output, i % taps, i / taps);
      if (path_.weight_bytes == 1)
        static_cast<int8_t*>(weights_.get())[index] = static_cast<int8_t>(q);
      else
        static_cast<int16_t*>(weights_.get())[index] = static_cast<int16_t>(q);
    }
  }
  return true;
}

Outcome Int8Convolution::run(const Image& image, void* workspace, ThreadPool& pool) const {
  const size_t pixels = image.sizes.pixels(), channels = static_cast<size_t>(a_.channels);
  bool ran = true;
  const Range range = range_of(image, pool, ran);
  if (!ran) return Outcome::not_run;
  if (!range.finite) {  // of infinity and NaN nothing can be told by integers
    std::fill_n(image.y, static_cast<size_t>(a_.outputs) * image.sizes.out_pixels(),
                std::numeric_limits<float>::quiet_NaN());
    return Outcome::done;
  }
  const Scale scale = scale_of(range);
  Pass pass{};
  if (!prepare(image, scale, pass)) return Outcome::no_memory;
  auto* map = static_cast<uint8_t*>(workspace);
  pass.map = map;
  std::memset(map + pixels * channels_, 0, channels_);  // what lies outside
  std::atomic<bool> no_memory{false}, unfit{false};
  ran = in_parts(pool, pixels, COPIED_AT_ONCE, copy_bytes(), no_memory,
                 [&](size_t first, size_t last, char* buffer) {
                   path_.channels_last(image.x, channels, pixels, first, last, channels_,
                                       scale.inverse, scale.zero,
                                       reinterpret_cast<float*>(buffer), map);
                 });
  const size_t bytes = sample_bytes() + TILE * row_ * sizeof(int32_t);
  ran = ran && in_parts(pool, tiles_of(image.sizes), TILES_AT_ONCE, bytes, no_memory,
                        [&](size_t first, size_t last, char* buffer) {
                          for (size_t tile = first; tile < last && !unfit; ++tile)
                            if (!compute_tile(image, pass, tile, buffer)) unfit = true;
                        });
  if (!ran) return Outcome::not_run;
  if (no_memory) return Outcome::no_memory;
  return unfit ? run_fallback(image, pool) : Outcome::done;
}

Range Int8Convolution::range_of(const Image& image, ThreadPool& pool, bool& ran) const {
  const size_t count = image.sizes.pixels() * static_cast<size_t>(a_.channels);
  const size_t part = (count + RANGE_PARTS - 1) / RANGE_PARTS;
  Range parts[RANGE_PARTS];
  std::fill_n(parts, RANGE_PARTS, Range{0.0f, 0.0f, true});
  ran = in_parts(pool, count, part, [&](size_t first, size_t last) {
    parts[first / part] = path_.range(image.x + first, last - first);
  });
  Range all{0.0f, 0.0f, true};
  for (const Range& each : parts) {
    all.low = std::min(all.low, each.low);
    all.high = std::max(all.high, each.high);
    all.finite = all.finite && each.finite;
  }
  return all;
}

bool Int8Convolution::prepare(const Image& image, const Scale& scale, Pass& pass) const {
  pass.constants = allocate(3 * outputs_ * sizeof(float));
  if (!pass.constants) return false;
  auto* factors = static_cast<float*>(pass.constants.get());
  float* bias = factors + outputs_;
  auto* first = reinterpret_cast<int32_t*>(bias + outputs_);
  for (size_t output = 0; output < outputs_; ++output) {
    const bool real = output < static_cast<size_t>(a_.outputs);
    factors[output] = scale.scale * weight_scale_[output];
    bias[output] = image.bias && real ? image.bias[output] : 0.0f;
    // In unsigned numbers, as the vector instructions wrap: the last sum is in range again.
    first[output] = static_cast<int32_t>(0u - static_cast<uint32_t>(weight_sum_[output]) *
                                                  static_cast<uint32_t>(scale.zero - path_.offset));
  }
  pass.zero = scale.zero;
  pass.scale = factors;
  pass.bias = bias;
  pass.first = first;
  return true;
}

// False where a mask isn't within 0 and 1.
bool Int8Convolution::compute_tile(const Image& image, const Pass& pass, size_t tile,
                                   char* buffer) const {
  char* samples = buffer;
  auto* sums = reinterpret_cast<int32_t*>(buffer + sample_bytes());
  const int count = pixels_in_tile(image.sizes, tile);
  const int whole = static_cast<int>(round_up(static_cast<size_t>(count), GROUP));
  const size_t taps = static_cast<size_t>(a_.taps());
  for (int p = 0; p < whole; ++p)
    std::copy_n(pass.first, outputs_, sums + static_cast<size_t>(p) * row_);
  for (size_t from = 0; from < taps; from += taps_at_once_) {
    const size_t to = std::min(taps, from + taps_at_once_), width = (to - from) * channels_;
    for (size_t tap = from; tap < to; ++tap) {
      Corners corners;
      locate_tap(path_.locate, a_, image, static_cast<int64_t>(tap), tile * TILE, count, corners);
      if (!corners.is_mean) return false;
      path_.sample(corners, count, pass.zero, pass.map, channels_,
                   samples + (tap - from) * channels_ * path_.sample_bytes, width);
    }
    const size_t row_bytes = width * path_.sample_bytes;
    std::memset(samples + static_cast<size_t>(count) * row_bytes, 0,
                static_cast<size_t>(whole - count) * row_bytes);
    const char* weights = static_cast<const char*>(weights_.get()) +
                          from * channels_ * path_.outputs * path_.weight_bytes;
    for (size_t block = 0; block < outputs_; block += path_.outputs) {
      for (int p = 0; p < whole; p += GROUP)
        path_.multiply(samples + static_cast<size_t>(p) * row_bytes, width, weights,
                       sums + static_cast<size_t>(p) * row_ + block, row_);
      weights += depth() * path_.outputs * path_.weight_bytes;
    }
  }
  for (int p = 0; p < count; ++p)
    path_.to_float(sums + static_cast<size_t>(p) * row_, outputs_, pass.scale, pass.bias);
  path_.store(reinterpret_cast<const float*>(sums), row_, count, static_cast<size_t>(a_.outputs),
              image.sizes.out_pixels(), past_cache(a_, image.sizes), image.y + tile * TILE);
  return true;
}

Outcome Int8Convolution::run_fallback(const Image& image, ThreadPool& pool) const {
  const size_t taps = static_cast<size_t>(a_.taps()), channels = static_cast<size_t>(a_.channels);
  std::call_once(fallback_made_, [&] {
    const size_t outputs = static_cast<size_t>(a_.outputs);
    const Memory weight = allocate(outputs * channels * taps * sizeof(float));
    if (!weight) return;
    auto* values = static_cast<float*>(weight.get());
    for (size_t output = 0; output < outputs; ++output)
      for (size_t i = 0; i < channels * taps; ++i)
        *values++ = weight_scale_[output] *
                    static_cast<float>(weight_at(packed_index(output, i % taps, i / taps)));
    fallback_ = make_float(a_, static_cast<const float*>(weight.get()), fallback_path_);
  });
  if (!fallback_) return Outcome::no_memory;
  const Memory workspace = allocate(fallback_->workspace_bytes(image.sizes));
  return workspace ? fallback_->run(image, workspace.get(), pool) : Outcome::no_memory;
}

}  // namespace

std::unique_ptr<Convolution> make_int8(const Attributes& attributes, const float* weight,
                                       const Int8Path& path, const FloatPath& fallback) {
  const size_t values = static_cast<size_t>(attributes.outputs * attributes.channels * attributes.taps());
  if (!std::all_of(weight, weight + values, [](float value) { return std::isfinite(value); }))
    return make_float(attributes, weight, fallback);
  auto made = std::make_unique<Int8Convolution>(attributes, path, fallback);
  if (!made->pack(weight)) return nullptr;
  return made;
}

}  // namespace deform

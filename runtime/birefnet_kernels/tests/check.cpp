// Every path of this processor against a plain computation in double, at sizes and attributes drawn
// at random, with offsets and masks that a network would never predict among them. Int8 paths must
// agree with the scalar one bit by bit. Needs no ONNX Runtime; run under AddressSanitizer and UBSan,
// and under qemu for other processors.
//
//   check [FIRST_SEED] [COUNT] [LARGEST_SIDE]
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <random>
#include <thread>
#include <vector>

#include "../src/convolution.h"
#include "../src/processor.h"

using namespace deform;

namespace {

struct Case {
  Attributes a;
  Sizes sizes;
  std::vector<float> x, offsets, mask, bias, weight;
  bool has_mask, has_bias, mean_mask, finite;

  Image image(float* y) const {
    return {sizes, x.data(), offsets.data(), has_mask ? mask.data() : nullptr,
            has_bias ? bias.data() : nullptr, y};
  }
  size_t outputs() const { return static_cast<size_t>(a.outputs) * sizes.out_pixels(); }
};

class Threads final : public ThreadPool {
 public:
  bool run(size_t count, void (*body)(void*, size_t), void* data) override {
    std::vector<std::thread> threads;
    const size_t workers = count > 8 ? 2 : 1;
    for (size_t worker = 1; worker < workers; ++worker)
      threads.emplace_back([=] {
        for (size_t i = worker; i < count; i += workers) body(data, i);
      });
    for (size_t i = 0; i < count; i += workers) body(data, i);
    for (auto& thread : threads) thread.join();
    return true;
  }
};

using Random = std::mt19937;

int64_t pick(Random& random, std::initializer_list<int64_t> values) {
  return values.begin()[random() % values.size()];
}

Case draw(unsigned seed, int64_t largest_side) {
  Random random(seed);
  std::normal_distribution<float> normal;
  std::uniform_real_distribution<float> uniform;
  Case c{};
  c.a.kernel_height = pick(random, {1, 1, 2, 3, 3, 5, 7});
  c.a.kernel_width = pick(random, {1, 2, 3, 3, 4, 7, 7});
  c.a.stride_y = pick(random, {1, 1, 1, 2, 3});
  c.a.stride_x = pick(random, {1, 1, 1, 2, 3});
  c.a.dilation_y = pick(random, {1, 1, 1, 2});
  c.a.dilation_x = pick(random, {1, 1, 1, 2});
  c.a.top = random() % 4, c.a.left = random() % 4, c.a.bottom = random() % 4, c.a.right = random() % 4;
  // The work of a case is bounded: large maps have few channels.
  do {
    c.a.channels = pick(random, {1, 2, 3, 12, 15, 16, 17, 31, 33, 64, 65, 100, 130});
    c.a.outputs = pick(random, {1, 2, 5, 12, 15, 16, 17, 63, 64, 65, 129, 256});
    const int64_t height = 1 + static_cast<int64_t>(random() % static_cast<unsigned>(largest_side));
    const int64_t width = 1 + static_cast<int64_t>(random() % static_cast<unsigned>(largest_side));
    c.sizes = sizes_of(c.a, height, width);
  } while (c.sizes.out_height < 1 || c.sizes.out_width < 1 ||
           static_cast<double>(c.sizes.out_pixels()) * c.a.outputs * c.a.channels * c.a.taps() > 2e7);
  const size_t taps = static_cast<size_t>(c.a.taps()), pixels = c.sizes.out_pixels();
  const auto fill = [&](std::vector<float>& to, size_t count, auto next) {
    to.resize(count);
    for (float& value : to) value = next();
  };
  const float low = seed % 3 ? 0.0f : -1.0f;  // behind a ReLU, or with a sign
  const float size = seed % 11 ? 1.0f : 1e-3f * static_cast<float>(1 + random() % 1000000);
  fill(c.x, static_cast<size_t>(c.a.channels) * c.sizes.pixels(),
       [&] { return size * std::max(low * 10, normal(random)); });
  fill(c.weight, static_cast<size_t>(c.a.outputs * c.a.channels) * taps,
       [&] { return normal(random) * 0.1f; });
  fill(c.bias, static_cast<size_t>(c.a.outputs), [&] { return normal(random); });
  const float infinity = std::numeric_limits<float>::infinity();
  const float reach = static_cast<float>(pick(random, {0, 1, 3, 400}));
  const bool wild = seed % 4 == 0;
  fill(c.offsets, 2 * taps * pixels, [&] {
    if (wild && random() % 16 == 0) {
      const float odd[] = {infinity, -infinity, std::nanf(""), 1e30f, -1e30f, 3e9f, -1.0f, 0.5f};
      return odd[random() % 8];
    }
    return reach * normal(random);
  });
  c.mean_mask = seed % 5 != 0;
  fill(c.mask, taps * pixels, [&] {
    return c.mean_mask ? std::min(1.0f, uniform(random) * 1.01f) : 3 * normal(random);
  });
  c.has_mask = seed % 7 != 0, c.has_bias = seed % 2 != 0;
  c.finite = seed % 13 != 0;
  if (!c.finite) c.x[random() % c.x.size()] = random() % 2 ? infinity : std::nanf("");
  return c;
}

double at(const Case& c, int64_t channel, int64_t y, int64_t x) {
  if (y < 0 || x < 0 || y >= c.sizes.height || x >= c.sizes.width) return 0;
  return c.x[static_cast<size_t>((channel * c.sizes.height + y) * c.sizes.width + x)];
}

// One output pixel's sample of each channel and tap, in double but for the position, which every
// implementation has in float.
std::vector<double> reference(const Case& c) {
  const int64_t taps = c.a.taps(), pixels = static_cast<int64_t>(c.sizes.out_pixels());
  std::vector<double> y(c.outputs());
  std::vector<double> samples(static_cast<size_t>(c.a.channels * taps));
  for (int64_t p = 0; p < pixels; ++p) {
    for (int64_t k = 0; k < taps; ++k) {
      const int64_t row = p / c.sizes.out_width * c.a.stride_y - c.a.top + k / c.a.kernel_width * c.a.dilation_y;
      const int64_t column = p % c.sizes.out_width * c.a.stride_x - c.a.left + k % c.a.kernel_width * c.a.dilation_x;
      const float fy = static_cast<float>(row) + c.offsets[static_cast<size_t>(2 * k * pixels + p)];
      const float fx = static_cast<float>(column) + c.offsets[static_cast<size_t>((2 * k + 1) * pixels + p)];
      const double m = c.has_mask ? c.mask[static_cast<size_t>(k * pixels + p)] : 1;
      const bool inside = fy > -1 && fx > -1 && fy < static_cast<float>(c.sizes.height) && fx < static_cast<float>(c.sizes.width);
      const double top = inside ? std::floor(fy) : 0, left = inside ? std::floor(fx) : 0;
      const double ly = fy - top, lx = fx - left;
      const auto y0 = static_cast<int64_t>(top), x0 = static_cast<int64_t>(left);
      for (int64_t channel = 0; channel < c.a.channels; ++channel)
        samples[static_cast<size_t>(channel * taps + k)] =
            inside ? m * ((1 - ly) * ((1 - lx) * at(c, channel, y0, x0) + lx * at(c, channel, y0, x0 + 1)) +
                          ly * ((1 - lx) * at(c, channel, y0 + 1, x0) + lx * at(c, channel, y0 + 1, x0 + 1)))
                   : 0;
    }
    for (int64_t o = 0; o < c.a.outputs; ++o) {
      double sum = c.has_bias ? c.bias[static_cast<size_t>(o)] : 0;
      for (size_t i = 0; i < samples.size(); ++i)
        sum += samples[i] * c.weight[static_cast<size_t>(o) * samples.size() + i];
      y[static_cast<size_t>(o * pixels + p)] = sum;
    }
  }
  return y;
}

std::vector<float> computed(const Case& c, const Convolution& convolution) {
  std::vector<float> y(c.outputs(), -12345.0f);
  std::vector<char> workspace(convolution.workspace_bytes(c.sizes));  // exactly: overruns are seen
  Threads threads;
  if (convolution.run(c.image(y.data()), workspace.data(), threads) != Outcome::done) {
    std::printf("not computed\n");
    std::exit(1);
  }
  return y;
}

struct Errors {
  double largest = 0, deviation = 0;  // of the difference; of the reference
  size_t unlike = 0;                  // finite here and not there
};

Errors compare(const std::vector<float>& y, const std::vector<double>& wanted) {
  Errors found;
  double sum = 0, squares = 0;
  for (size_t i = 0; i < y.size(); ++i) {
    if (std::isfinite(y[i]) != std::isfinite(wanted[i])) ++found.unlike;
    if (!std::isfinite(y[i]) || !std::isfinite(wanted[i])) continue;
    found.largest = std::max(found.largest, std::fabs(y[i] - wanted[i]));
    sum += wanted[i], squares += wanted[i] * wanted[i];
  }
  const double n = static_cast<double>(y.size());
  found.deviation = std::sqrt(std::max(0.0, squares / n - sum / n * sum / n));
  return found;
}

// What rounding may do: values and weights of a sum, each off by half a step, and the sum's own size.
double largest_sum(const Case& c) {
  double x = 0, m = 1, w = 0;
  for (const float value : c.x)
    if (std::isfinite(value)) x = std::max<double>(x, std::fabs(value));
  if (c.has_mask)
    for (const float value : c.mask) m = std::max<double>(m, std::fabs(value));
  const size_t row = static_cast<size_t>(c.a.channels * c.a.taps());
  for (size_t o = 0; o < c.weight.size(); o += row) {
    double total = 0;
    for (size_t i = 0; i < row; ++i) total += std::fabs(c.weight[o + i]);
    w = std::max(w, total);
  }
  return x * m * w + 10;
}

bool fails(const char* kind, const char* path, unsigned seed, const Errors& e, double bound,
           bool same_finiteness) {
  const bool bad = !(e.largest <= bound) || (same_finiteness && e.unlike);
  if (bad)
    std::printf("FAILED seed %u %s %s: %g off (bound %g), %zu unlike\n", seed, kind, path, e.largest,
                bound, e.unlike);
  return bad;
}

int check(unsigned seed, int64_t largest_side) {
  const Case c = draw(seed, largest_side);
  if (!refusal(c.a).empty() || !refusal(c.a, c.sizes).empty()) {
    std::printf("FAILED seed %u: refused\n", seed);
    return 1;
  }
  const std::vector<double> wanted = reference(c);
  const double size = largest_sum(c);
  int failed = 0;
  for (const FloatPath* path : float_paths()) {
    const auto convolution = make_float(c.a, c.weight.data(), *path);
    const Errors e = compare(computed(c, *convolution), wanted);
    failed += fails("fp32", path->name, seed, e, 2e-6 * size, c.finite);
  }
  std::vector<float> exact;
  for (size_t i = int8_paths().size(); i-- > 0;) {
    const Int8Path& path = *int8_paths()[i];
    const auto convolution = make_int8(c.a, c.weight.data(), path, *float_paths().front());
    const std::vector<float> y = computed(c, *convolution);
    if (c.finite)
      failed += fails("int8", path.name, seed, compare(y, wanted), 0.012 * size, true);
    if (exact.empty()) exact = y;
    if (std::memcmp(exact.data(), y.data(), y.size() * sizeof(float)) != 0) {
      std::printf("FAILED seed %u int8 %s: not the bits of the scalar path\n", seed, path.name);
      ++failed;
    }
  }
  return failed;
}

}  // namespace

int main(int count, char** arguments) {
  const auto argument = [&](int i, long other) { return i < count ? std::atol(arguments[i]) : other; };
  const long first = argument(1, 1), number = argument(2, 200), side = argument(3, 300);
  std::printf("fp32:");
  for (const FloatPath* path : float_paths()) std::printf(" %s", path->name);
  std::printf("; int8:");
  for (const Int8Path* path : int8_paths()) std::printf(" %s", path->name);
  std::printf("\n");
  int failed = 0;
  for (long seed = first; seed < first + number; ++seed)
    failed += check(static_cast<unsigned>(seed), side);
  std::printf("%ld cases, %d failures\n", number, failed);
  return failed ? 1 : 0;
}

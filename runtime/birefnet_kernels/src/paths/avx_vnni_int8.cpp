// int8 with AVX-VNNI (Alder Lake, Zen 5 and later): 6 pixels by 16 output channels.
#include "avx2_integers.h"

namespace deform {
namespace {

struct AvxVnni : Avx2Integers {
  using Sample = uint8_t;
  using Weight = int8_t;
  static constexpr int group = 4, products = 32;
  static Register dot(Register sum, Register samples, Register weights) {
    return _mm256_dpbusd_avx_epi32(sum, samples, weights);
  }

  static void sample(const Corners& corners, int count, int zero, const uint8_t* map,
                     size_t channels, void* out, size_t stride) {
    auto* to = static_cast<uint8_t*>(out);
    sample_all(corners, count, zero, map, channels,
               [=](int p, size_t i, __m256i first, __m256i second) {
                 store(to + p * stride + i, _mm256_packus_epi16(first, second));
               });
  }
};

}  // namespace

const Int8Path avx_vnni_int8 = int8_path<Avx2, AvxVnni>("avx-vnni");

}  // namespace deform

// int8 with AVX2: 6 pixels by 16 output channels.
//
// The instruction for bytes (`vpmaddubsw`) adds two products in 16 bits, where 2 * 255 * 127
// saturates. Samples and weights are therefore kept as 16 bits, and `vpmaddwd` adds two products in
// 32: exact, in two thirds of the instructions that float32 takes, where bytes would take half.
#include "avx2_integers.h"

namespace deform {
namespace {

struct Avx2Int8 : Avx2Integers {
  using Sample = int16_t;
  using Weight = int16_t;
  static constexpr int group = 2, products = 8;
  static Register dot(Register sum, Register samples, Register weights) {
    return _mm256_add_epi32(sum, _mm256_madd_epi16(samples, weights));
  }

  static void sample(const Corners& corners, int count, int zero, const uint8_t* map,
                     size_t channels, void* out, size_t stride) {
    auto* to = static_cast<int16_t*>(out);
    sample_all(corners, count, zero, map, channels,
               [=](int p, size_t i, __m256i first, __m256i second) {
                 int16_t* sample = to + p * stride + i;
                 store(sample, _mm256_permute2x128_si256(first, second, 0x20));
                 store(sample + 16, _mm256_permute2x128_si256(first, second, 0x31));
               });
  }
};

}  // namespace

const Int8Path avx2_int8 = int8_path<Avx2, Avx2Int8>("avx2");

}  // namespace deform

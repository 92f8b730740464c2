#include "processor.h"

#include <cstring>

#include "geometry.h"

#if defined(__x86_64__) || defined(_M_X64)
#if defined(_MSC_VER)
#include <intrin.h>
#else
#include <cpuid.h>
#endif
#elif defined(__linux__)
#include <sys/auxv.h>
#elif defined(__APPLE__)
#include <sys/sysctl.h>
#elif defined(_WIN32)
#include <windows.h>
#endif

namespace deform {
namespace {

#if defined(__x86_64__) || defined(_M_X64)

struct Registers {
  uint32_t a, b, c, d;
};

Registers cpuid(uint32_t leaf, uint32_t subleaf) {
  Registers r{};
#if defined(_MSC_VER)
  int out[4];
  __cpuidex(out, static_cast<int>(leaf), static_cast<int>(subleaf));
  std::memcpy(&r, out, sizeof r);
#else
  __cpuid_count(leaf, subleaf, r.a, r.b, r.c, r.d);
#endif
  return r;
}

// Registers that the operating system saves when it changes threads.
uint64_t saved_registers() {
#if defined(_MSC_VER)
  return _xgetbv(0);
#else
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return static_cast<uint64_t>(high) << 32 | low;
#endif
}

struct Features {
  bool avx2 = false, avx_vnni = false, avx512 = false, avx512_vnni = false;
};

// Bits as in Intel's Software Developer's Manual, volume 2, CPUID.
Features read_features() {
  const auto has = [](uint32_t word, int bit) { return (word >> bit & 1) != 0; };
  Features found;
  const uint32_t leaves = cpuid(0, 0).a;
  const Registers basic = cpuid(1, 0);
  if (leaves < 7 || !has(basic.c, 27) /* OSXSAVE */) return found;
  const uint64_t saved = saved_registers();
  const bool ymm = (saved & 0x6) == 0x6, zmm = (saved & 0xe6) == 0xe6;
  const Registers extended = cpuid(7, 0);
  const Registers more = extended.a >= 1 ? cpuid(7, 1) : Registers{};
  const bool fma = has(basic.c, 12);
  found.avx2 = ymm && fma && has(basic.c, 28) && has(extended.b, 5);
  found.avx_vnni = found.avx2 && has(more.a, 4);
  found.avx512 = found.avx2 && zmm && has(extended.b, 16) /* F */ && has(extended.b, 17) /* DQ */ &&
                 has(extended.b, 30) /* BW */ && has(extended.b, 31) /* VL */;
  found.avx512_vnni = found.avx512 && has(extended.c, 11);
  return found;
}

#elif defined(__aarch64__) || defined(_M_ARM64)

bool has_dot_product() {
#if defined(__linux__)
  return (getauxval(AT_HWCAP) >> 20 & 1) != 0;  // HWCAP_ASIMDDP
#elif defined(__APPLE__)
  int value = 0;
  size_t size = sizeof value;
  return sysctlbyname("hw.optional.arm.FEAT_DotProd", &value, &size, nullptr, 0) == 0 && value != 0;
#elif defined(_WIN32)
  return IsProcessorFeaturePresent(43) != 0;  // PF_ARM_V82_DP_INSTRUCTIONS_AVAILABLE
#else
  return false;
#endif
}

#endif

struct Paths {
  std::vector<const FloatPath*> floats;
  std::vector<const Int8Path*> int8;
};

const Paths& paths() {
  static const Paths found = [] {
    Paths list;
#if defined(__x86_64__) || defined(_M_X64)
    const Features has = read_features();
    if (has.avx512) list.floats.push_back(&avx512_float);
    if (has.avx2) list.floats.push_back(&avx2_float);
    if (has.avx512_vnni) list.int8.push_back(&avx512_vnni_int8);
    if (has.avx_vnni) list.int8.push_back(&avx_vnni_int8);
    if (has.avx2) list.int8.push_back(&avx2_int8);
#elif defined(__aarch64__) || defined(_M_ARM64)
    list.floats.push_back(&neon_float);
    if (has_dot_product()) list.int8.push_back(&neon_dot_int8);
#endif
    list.floats.push_back(&scalar_float);
    list.int8.push_back(&scalar_int8);
    return list;
  }();
  return found;
}

template <class Path>
const Path* path_of(const std::vector<const Path*>& list, const std::string& name,
                    int64_t outputs) {
  const Path* best = nullptr;
  double least = 0;
  for (const Path* path : list) {
    if (name == path->name) return path;
    if (name != "auto" || path == list.back()) continue;  // the last is the scalar one
    const auto computed = round_up(static_cast<size_t>(outputs), static_cast<size_t>(path->outputs));
    const double time = static_cast<double>(computed) / path->products;
    if (!best || time < least) best = path, least = time;
  }
  return best;
}

}  // namespace

const std::vector<const FloatPath*>& float_paths() { return paths().floats; }
const std::vector<const Int8Path*>& int8_paths() { return paths().int8; }
const FloatPath* float_path_of(const std::string& name, int64_t outputs) {
  return path_of(float_paths(), name, outputs);
}
const Int8Path* int8_path_of(const std::string& name, int64_t outputs) {
  return path_of(int8_paths(), name, outputs);
}

}  // namespace deform

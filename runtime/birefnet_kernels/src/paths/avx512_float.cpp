// fp32 with AVX-512: 6 pixels by 64 output channels in 24 of 32 registers.
#include "avx512.h"
#include "float_path.h"

namespace deform {

const FloatPath avx512_float = float_path<Avx512, 4>("avx512");

}  // namespace deform

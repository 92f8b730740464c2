// fp32 with AVX2: 6 pixels by 16 output channels in 12 of 16 registers.
#include "avx2.h"
#include "float_path.h"

namespace deform {

const FloatPath avx2_float = float_path<Avx2, 2>("avx2");

}  // namespace deform

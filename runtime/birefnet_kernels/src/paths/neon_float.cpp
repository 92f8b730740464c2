// fp32 with NEON: 6 pixels by 16 output channels in 24 of 32 registers.
#include "neon.h"
#include "float_path.h"

namespace deform {

const FloatPath neon_float = float_path<Neon, 4>("neon");

}  // namespace deform

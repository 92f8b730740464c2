// Which paths the running processor has, the fastest first.
#pragma once

#include <string>
#include <vector>

#include "path.h"

namespace deform {

// Paths by name, the preferred first; the scalar ones last.
const std::vector<const FloatPath*>& float_paths();
const std::vector<const Int8Path*>& int8_paths();

// The path of this name, or the preferred one for "auto"; null where the processor has none. Only by
// its name is "scalar" found.
const FloatPath* float_path_of(const std::string& name);
const Int8Path* int8_path_of(const std::string& name);

}  // namespace deform

// Which paths the running processor has, the fastest first.
#pragma once

#include <string>
#include <vector>

#include "path.h"

namespace deform {

// Paths by name, the preferred first; the scalar ones last.
const std::vector<const FloatPath*>& float_paths();
const std::vector<const Int8Path*>& int8_paths();

// The path of this name; null where the processor has none. For "auto" the fastest for a node of so
// many output channels: a block of 64 for 12 of them would take longer than one of 16.
const FloatPath* float_path_of(const std::string& name, int64_t outputs);
const Int8Path* int8_path_of(const std::string& name, int64_t outputs);

// Whether int8 is faster than float32 for a node of these channels.
inline bool int8_pays(int64_t channels, int64_t outputs) { return channels * outputs >= 1024; }

}  // namespace deform

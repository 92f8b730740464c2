// A node that was claimed: made by `create_kernel`, whose state is a Choice.
#pragma once

#include "ort.h"
#include "path.h"

namespace deform {

// What the nodes of a session compute with.
struct Choice {
  const FloatPath* float_path = nullptr;
  const Int8Path* int8_path = nullptr;  // null where int8 isn't wanted
};

// The attributes of a node with a weight of this shape; false where ours can't compute it.
bool read_attributes(const AttributeReader& reader, const Shape& weight, Attributes& attributes);

OrtStatus* ORT_API_CALL create_kernel(void* choice, const OrtKernelInfo* info,
                                      OrtKernelImpl** made) noexcept;

}  // namespace deform

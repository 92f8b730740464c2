// A node that was claimed: made by `create_kernel`, whose state is a Choice.
#pragma once

#include "ort.h"
#include "processor.h"

namespace deform {

// What the nodes of a session compute with.
struct Choice {
  std::string path = "auto";
  bool int8 = false;

  const FloatPath* float_path(const Attributes& attributes) const;
  const Int8Path* int8_path(const Attributes& attributes) const;  // null where float32 is better
};

// The attributes of a node with a weight of this shape; false where ours can't compute it.
bool read_attributes(const AttributeReader& reader, const Shape& weight, Attributes& attributes);

OrtStatus* ORT_API_CALL create_kernel(void* choice, const OrtKernelInfo* info,
                                      OrtKernelImpl** made) noexcept;

}  // namespace deform

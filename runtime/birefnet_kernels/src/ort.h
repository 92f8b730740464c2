// ONNX Runtime's C interface, made safe to use: errors, what has to be freed, shapes, attributes.
#pragma once

#include <onnxruntime_c_api.h>

#include <exception>
#include <new>
#include <string>
#include <vector>

#include "convolution.h"

#define RETURN_IF_ERROR(call)                       \
  do {                                              \
    if (OrtStatus* status_ = (call)) return status_; \
  } while (false)

namespace deform {

constexpr uint32_t API_VERSION = 24;  // the first with kernels of plugins; later ones have it, too

extern const OrtApi* ort;  // set by CreateEpFactories, before anything else is called
extern const OrtEpApi* ep_api;

inline OrtStatus* failed(OrtErrorCode code, const std::string& text) {
  return ort->CreateStatus(code, ("DeformConv: " + text).c_str());
}

inline OrtStatus* invalid(const std::string& text) { return failed(ORT_INVALID_ARGUMENT, text); }

// What no exception may cross: ONNX Runtime calls C functions.
template <class Body>
inline OrtStatus* without_exceptions(const Body& body) noexcept {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    return ort->CreateStatus(ORT_FAIL, "DeformConv: not enough memory");
  } catch (const std::exception& error) {
    return ort->CreateStatus(ORT_FAIL, error.what());
  }
}

// Frees what ONNX Runtime made.
template <class T>
struct Owned {
  T* pointer = nullptr;
  void(ORT_API_CALL* release)(T*);
  explicit Owned(void(ORT_API_CALL* function)(T*)) : release(function) {}
  Owned(const Owned&) = delete;
  Owned& operator=(const Owned&) = delete;
  ~Owned() {
    if (pointer) release(pointer);
  }
};

// The functions that read an attribute report one that is absent as an error: not one of ours.
inline bool found(OrtStatus* status) {
  if (status) ort->ReleaseStatus(status);
  return status == nullptr;
}

struct Shape {
  ONNXTensorElementDataType type = ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
  std::vector<int64_t> sides;  // -1 where a side isn't known

  bool is_float(size_t rank) const {
    return type == ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT && sides.size() == rank;
  }
  std::string text() const {
    std::string joined;
    for (const int64_t side : sides) joined += (joined.empty() ? "" : "x") + std::to_string(side);
    return joined.empty() ? "a scalar" : joined;
  }
};

inline OrtStatus* read_shape(const OrtTensorTypeAndShapeInfo* info, Shape& shape) {
  size_t rank = 0;
  RETURN_IF_ERROR(ort->GetTensorElementType(info, &shape.type));
  RETURN_IF_ERROR(ort->GetDimensionsCount(info, &rank));
  shape.sides.resize(rank);
  return ort->GetDimensions(info, shape.sides.data(), rank);
}

inline OrtStatus* shape_of(const OrtValue* value, Shape& shape) {
  Owned<OrtTensorTypeAndShapeInfo> info(ort->ReleaseTensorTypeAndShapeInfo);
  RETURN_IF_ERROR(ort->GetTensorTypeAndShape(value, &info.pointer));
  return read_shape(info.pointer, shape);
}

inline OrtStatus* shape_of(const OrtTypeInfo* type, Shape& shape) {
  const OrtTensorTypeAndShapeInfo* info = nullptr;  // belongs to `type`; null for other than tensors
  RETURN_IF_ERROR(ort->CastTypeInfoToTensorInfo(type, &info));
  return info ? read_shape(info, shape) : nullptr;
}

// Reads integers of an attribute, from a node or from the information that a kernel is made with;
// false where there is none.
struct AttributeReader {
  const OrtNode* node = nullptr;
  const OrtKernelInfo* info = nullptr;

  bool integers(const char* name, std::vector<int64_t>& values) const {
    size_t count = 0;
    if (info) {
      if (!found(ort->KernelInfoGetAttributeArray_int64(info, name, nullptr, &count))) return false;
      values.resize(count);
      return found(ort->KernelInfoGetAttributeArray_int64(info, name, values.data(), &count));
    }
    const OrtOpAttr* attribute = nullptr;
    if (!found(ort->Node_GetAttributeByName(node, name, &attribute)) || !attribute) return false;
    size_t bytes = 0;
    // Asked with no place to write to, it says how much it wants, as an error.
    if (OrtStatus* status = ort->ReadOpAttr(attribute, ORT_OP_ATTR_INTS, nullptr, 0, &bytes))
      ort->ReleaseStatus(status);
    values.resize(bytes / sizeof(int64_t));
    return found(ort->ReadOpAttr(attribute, ORT_OP_ATTR_INTS, values.data(), bytes, &bytes));
  }

  int64_t integer(const char* name, int64_t otherwise) const {
    int64_t value = otherwise;
    if (info) return found(ort->KernelInfoGetAttribute_int64(info, name, &value)) ? value : otherwise;
    const OrtOpAttr* attribute = nullptr;
    size_t bytes = 0;
    const bool there =
        found(ort->Node_GetAttributeByName(node, name, &attribute)) && attribute &&
        found(ort->ReadOpAttr(attribute, ORT_OP_ATTR_INT, &value, sizeof value, &bytes));
    return there ? value : otherwise;
  }
};

}  // namespace deform

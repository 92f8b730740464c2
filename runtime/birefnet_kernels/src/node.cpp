#include "node.h"

#include <array>
#include <atomic>
#include <mutex>
#include <utility>

namespace deform {
namespace {

struct Kernel : OrtKernelImpl {
  Attributes attributes{};
  const FloatPath* float_path = nullptr;
  const Int8Path* int8_path = nullptr;
  OrtAllocator* allocator = nullptr;
  std::once_flag packing;
  std::atomic<bool> packed{false};
  std::unique_ptr<Convolution> convolution;

  ~Kernel() {
    if (allocator) ort->ReleaseAllocator(allocator);
  }
  void pack(const float* weight) {
    convolution = int8_path ? make_int8(attributes, weight, *int8_path, *float_path)
                            : make_float(attributes, weight, *float_path);
  }
  std::vector<int64_t> weight_sides() const {
    return {attributes.outputs, attributes.channels, attributes.kernel_height,
            attributes.kernel_width};
  }
};

OrtStatus* data_of(const OrtValue* value, const float*& data) {
  const void* memory = nullptr;
  RETURN_IF_ERROR(ort->GetTensorData(value, &memory));
  data = static_cast<const float*>(memory);
  return nullptr;
}

OrtStatus* pack_weight(Kernel& kernel, const OrtValue* value) {
  Shape shape;
  RETURN_IF_ERROR(shape_of(value, shape));
  if (!shape.is_float(4) || shape.sides != kernel.weight_sides())
    return invalid("the weight is " + shape.text() + ", which isn't what the graph said");
  const float* weight = nullptr;
  RETURN_IF_ERROR(data_of(value, weight));
  std::call_once(kernel.packing, [&] { kernel.pack(weight); });
  kernel.packed = true;
  return kernel.convolution ? nullptr : failed(ORT_FAIL, "not enough memory for the weight");
}

OrtStatus* ORT_API_CALL prepack(OrtKernelImpl* self, const OrtValue* value, int index,
                                OrtAllocator*, OrtSharedPrePackedWeightCache*,
                                bool* packed) noexcept {
  return without_exceptions([&]() -> OrtStatus* {
    *packed = false;
    if (index != 1) return nullptr;
    RETURN_IF_ERROR(pack_weight(*static_cast<Kernel*>(self), value));
    *packed = true;
    return nullptr;
  });
}

class SessionThreads final : public ThreadPool {
 public:
  explicit SessionThreads(const OrtKernelContext* context) : context_(context) {}
  ~SessionThreads() {
    if (status_) ort->ReleaseStatus(status_);
  }
  bool run(size_t count, void (*body)(void*, size_t), void* data) override {
    status_ = ort->KernelContext_ParallelFor(context_, body, count, count, data);
    return status_ == nullptr;
  }
  OrtStatus* status() { return std::exchange(status_, nullptr); }

 private:
  const OrtKernelContext* context_;
  OrtStatus* status_ = nullptr;
};

// The operands of one run, their shapes checked.
struct Operands {
  std::array<const OrtValue*, 5> values{};  // x, weight, offset, bias, mask; the last two may be null
  int64_t batch = 0;
  Sizes sizes{};

  OrtStatus* read(const OrtKernelContext* context, const Attributes& a);
  OrtStatus* expect(size_t index, const char* name, const std::vector<int64_t>& sides) const;
};

OrtStatus* Operands::expect(size_t index, const char* name,
                            const std::vector<int64_t>& sides) const {
  Shape shape, wanted;
  RETURN_IF_ERROR(shape_of(values[index], shape));
  if (shape.is_float(sides.size()) && shape.sides == sides) return nullptr;
  wanted.sides = sides;
  return invalid(std::string("the ") + name + " is " + shape.text() + " and has to be float32 " +
                 wanted.text());
}

OrtStatus* Operands::read(const OrtKernelContext* context, const Attributes& a) {
  size_t count = 0;
  RETURN_IF_ERROR(ort->KernelContext_GetInputCount(context, &count));
  if (count < 3 || count > values.size()) return invalid("it takes three to five operands");
  for (size_t i = 0; i < count; ++i)
    RETURN_IF_ERROR(ort->KernelContext_GetInput(context, i, &values[i]));
  if (!values[0] || !values[1] || !values[2]) return invalid("an operand is missing");
  Shape x;
  RETURN_IF_ERROR(shape_of(values[0], x));
  if (!x.is_float(4) || x.sides[1] != a.channels)
    return invalid("the map is " + x.text() + " and has to be float32 of " +
                   std::to_string(a.channels) + " channels");
  batch = x.sides[0];
  sizes = sizes_of(a, x.sides[2], x.sides[3]);
  const std::string refused = refusal(a, sizes);
  if (!refused.empty()) return invalid(refused + ": " + x.text());
  const int64_t tall = sizes.out_height, wide = sizes.out_width;
  RETURN_IF_ERROR(expect(2, "offset", {batch, 2 * a.taps(), tall, wide}));
  if (values[3]) RETURN_IF_ERROR(expect(3, "bias", {a.outputs}));
  if (values[4]) RETURN_IF_ERROR(expect(4, "mask", {batch, a.taps(), tall, wide}));
  return nullptr;
}

OrtStatus* compute_images(const Kernel& kernel, OrtKernelContext* context,
                          const Operands& operands) {
  const Attributes& a = kernel.attributes;
  const Sizes& sizes = operands.sizes;
  const std::array<int64_t, 4> sides{operands.batch, a.outputs, sizes.out_height, sizes.out_width};
  OrtValue* result = nullptr;
  void* y = nullptr;
  RETURN_IF_ERROR(ort->KernelContext_GetOutput(context, 0, sides.data(), sides.size(), &result));
  RETURN_IF_ERROR(ort->GetTensorMutableData(result, &y));
  if (operands.batch == 0) return nullptr;
  Image image{sizes, nullptr, nullptr, nullptr, nullptr, static_cast<float*>(y)};
  RETURN_IF_ERROR(data_of(operands.values[0], image.x));
  RETURN_IF_ERROR(data_of(operands.values[2], image.offsets));
  if (operands.values[3]) RETURN_IF_ERROR(data_of(operands.values[3], image.bias));
  if (operands.values[4]) RETURN_IF_ERROR(data_of(operands.values[4], image.mask));

  // From the session's arena, which other nodes use before and after.
  OrtAllocator* allocator = kernel.allocator;
  void* workspace = allocator->Alloc(allocator, kernel.convolution->workspace_bytes(sizes));
  if (!workspace) return failed(ORT_FAIL, "not enough memory for " + Shape{{}, {sides.begin(), sides.end()}}.text());
  SessionThreads threads(context);
  Outcome outcome = Outcome::done;
  const size_t taps = static_cast<size_t>(a.taps());
  for (int64_t i = 0; i < operands.batch && outcome == Outcome::done; ++i) {
    outcome = kernel.convolution->run(image, workspace, threads);
    image.x += static_cast<size_t>(a.channels) * sizes.pixels();
    image.offsets += 2 * taps * sizes.out_pixels();
    if (image.mask) image.mask += taps * sizes.out_pixels();
    image.y += static_cast<size_t>(a.outputs) * sizes.out_pixels();
  }
  allocator->Free(allocator, workspace);
  if (outcome == Outcome::no_memory) return failed(ORT_FAIL, "not enough memory");
  return outcome == Outcome::not_run ? threads.status() : nullptr;
}

OrtStatus* ORT_API_CALL compute(OrtKernelImpl* self, OrtKernelContext* context) noexcept {
  return without_exceptions([&]() -> OrtStatus* {
    auto& kernel = *static_cast<Kernel*>(self);
    Operands operands;
    RETURN_IF_ERROR(operands.read(context, kernel.attributes));
    // A weight that was packed is freed: its operand holds nothing. Sessions that don't want
    // weights packed in advance have it done here, once.
    if (!kernel.packed) RETURN_IF_ERROR(pack_weight(kernel, operands.values[1]));
    if (!kernel.convolution) return failed(ORT_FAIL, "not enough memory for the weight");
    return compute_images(kernel, context, operands);
  });
}

}  // namespace

// A path of one kind by name leaves the other kind its own choice.
const FloatPath* Choice::float_path(const Attributes& a) const {
  const FloatPath* named = float_path_of(path, a.outputs);
  return named ? named : float_path_of("auto", a.outputs);
}

const Int8Path* Choice::int8_path(const Attributes& a) const {
  if (!int8 || a.taps() * a.channels > MOST_INT8_DEPTH || !int8_pays(a.channels, a.outputs))
    return nullptr;
  const Int8Path* named = int8_path_of(path, a.outputs);
  return named ? named : int8_path_of("auto", a.outputs);
}

bool read_attributes(const AttributeReader& reader, const Shape& weight, Attributes& a) {
  if (!weight.is_float(4)) return false;
  a.outputs = weight.sides[0], a.channels = weight.sides[1];
  a.kernel_height = weight.sides[2], a.kernel_width = weight.sides[3];
  std::vector<int64_t> values;
  if (reader.integers("kernel_shape", values) &&
      values != std::vector<int64_t>{a.kernel_height, a.kernel_width})
    return false;
  if (reader.integers("strides", values)) {
    if (values.size() != 2) return false;
    a.stride_y = values[0], a.stride_x = values[1];
  }
  if (reader.integers("dilations", values)) {
    if (values.size() != 2) return false;
    a.dilation_y = values[0], a.dilation_x = values[1];
  }
  if (reader.integers("pads", values)) {
    if (values.size() != 4) return false;
    a.top = values[0], a.left = values[1], a.bottom = values[2], a.right = values[3];
  }
  return reader.integer("group", 1) == 1 && reader.integer("offset_group", 1) == 1 &&
         refusal(a).empty();
}

OrtStatus* ORT_API_CALL create_kernel(void* state, const OrtKernelInfo* info,
                                      OrtKernelImpl** made) noexcept {
  return without_exceptions([&]() -> OrtStatus* {
    const auto& choice = *static_cast<const Choice*>(state);
    auto kernel = std::make_unique<Kernel>();
    static_cast<OrtKernelImpl&>(*kernel) = OrtKernelImpl{};
    kernel->ort_version_supported = API_VERSION;
    kernel->Compute = compute;
    kernel->PrePackWeight = prepack;
    kernel->Release = [](OrtKernelImpl* self) noexcept { delete static_cast<Kernel*>(self); };
    Owned<OrtTypeInfo> type(ort->ReleaseTypeInfo);
    Shape weight;
    RETURN_IF_ERROR(ort->KernelInfo_GetInputTypeInfo(info, 1, &type.pointer));
    RETURN_IF_ERROR(shape_of(type.pointer, weight));
    if (!read_attributes({nullptr, info}, weight, kernel->attributes))
      return invalid("a node was given that was not claimed");
    kernel->float_path = choice.float_path(kernel->attributes);
    kernel->int8_path = choice.int8_path(kernel->attributes);
    if (!kernel->float_path) return invalid("this processor has no path");
    RETURN_IF_ERROR(ort->KernelInfoGetAllocator(info, OrtMemTypeDefault, &kernel->allocator));
    *made = kernel.release();
    return nullptr;
  });
}

}  // namespace deform

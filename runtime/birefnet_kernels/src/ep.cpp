// A plugin execution provider of ONNX Runtime (1.24 and later) that computes DeformConv nodes of
// float32 on the CPU. A node whose attributes, sizes or types it doesn't know, it leaves to ONNX
// Runtime.
//
// Options (`ep.birefnetexecutionprovider.NAME` among a session's entries):
//   int8  auto: where the file's metadata says that its precision is int8; 1: always; 0: never
//   path  auto: the fastest that this processor has; or a path's name (see processor.h)
#include <array>
#include <cstring>
#include <memory>

#include "node.h"
#include "ort.h"
#include "processor.h"

#ifndef KERNELS_VERSION
#define KERNELS_VERSION "0.1.0"
#endif

#if defined(_WIN32)
#define EXPORTED extern "C" __declspec(dllexport)
#else
#define EXPORTED extern "C" __attribute__((visibility("default")))
#endif

namespace deform {

const OrtApi* ort = nullptr;
const OrtEpApi* ep_api = nullptr;

namespace {

constexpr const char* NAME = "BiRefNetExecutionProvider";
constexpr const char* OPTIONS = "ep.birefnetexecutionprovider.";
constexpr const char* PRECISION_KEY = "birefnet.precision";  // of the file's metadata

// The provider of a session.
struct Provider : OrtEp {
  OrtKernelRegistry* registry = nullptr;
  const OrtLogger* logger = nullptr;
  Choice choice;
  bool int8_by_file = false;  // int8 is wanted only for files that say so

  ~Provider() {
    if (registry) ep_api->ReleaseKernelRegistry(registry);
  }
};

OrtStatus* is_ours(const OrtNode* node, bool& ours) {
  ours = false;
  const char *type = nullptr, *domain = nullptr;
  RETURN_IF_ERROR(ort->Node_GetOperatorType(node, &type));
  RETURN_IF_ERROR(ort->Node_GetDomain(node, &domain));
  if (std::strcmp(type, "DeformConv") != 0 || (domain && *domain)) return nullptr;
  size_t count = 0;
  RETURN_IF_ERROR(ort->Node_GetNumInputs(node, &count));
  if (count < 3 || count > 5) return nullptr;
  std::array<const OrtValueInfo*, 5> inputs{};
  RETURN_IF_ERROR(ort->Node_GetInputs(node, inputs.data(), count));
  if (!inputs[1]) return nullptr;
  bool constant = false;
  RETURN_IF_ERROR(ort->ValueInfo_IsConstantInitializer(inputs[1], &constant));
  const OrtTypeInfo* weight_type = nullptr;  // belongs to the graph
  RETURN_IF_ERROR(ort->GetValueInfoTypeInfo(inputs[1], &weight_type));
  Shape weight;
  RETURN_IF_ERROR(shape_of(weight_type, weight));
  Attributes attributes{};
  ours = constant && read_attributes({node, nullptr}, weight, attributes);
  return nullptr;
}

// Whether the file says that it computes in int8.
OrtStatus* says_int8(const OrtGraph* graph, bool& int8) {
  Owned<OrtModelMetadata> metadata(ort->ReleaseModelMetadata);
  RETURN_IF_ERROR(ort->Graph_GetModelMetadata(graph, &metadata.pointer));
  OrtAllocator* allocator = nullptr;  // belongs to ONNX Runtime
  RETURN_IF_ERROR(ort->GetAllocatorWithDefaultOptions(&allocator));
  char* value = nullptr;
  RETURN_IF_ERROR(ort->ModelMetadataLookupCustomMetadataMap(metadata.pointer, allocator,
                                                            PRECISION_KEY, &value));
  int8 = value && std::strcmp(value, "int8") == 0;
  if (value) allocator->Free(allocator, value);
  return nullptr;
}

OrtStatus* ORT_API_CALL claim(OrtEp* self, const OrtGraph* graph,
                              OrtEpGraphSupportInfo* support) noexcept {
  return without_exceptions([&]() -> OrtStatus* {
    auto& provider = *static_cast<Provider*>(self);
    if (!float_path_of("auto", 1)) return nullptr;  // a processor that has no path
    if (provider.int8_by_file) RETURN_IF_ERROR(says_int8(graph, provider.choice.int8));
    size_t count = 0, claimed = 0;
    RETURN_IF_ERROR(ort->Graph_GetNumNodes(graph, &count));
    std::vector<const OrtNode*> nodes(count);
    RETURN_IF_ERROR(ort->Graph_GetNodes(graph, nodes.data(), count));
    for (const OrtNode* node : nodes) {
      bool ours = false;
      RETURN_IF_ERROR(is_ours(node, ours));
      if (!ours) continue;
      const OrtKernelDef* definition = nullptr;  // null for a type or version that isn't registered
      RETURN_IF_ERROR(ep_api->EpGraphSupportInfo_LookUpKernel(support, node, &definition));
      if (!definition) continue;
      RETURN_IF_ERROR(ep_api->EpGraphSupportInfo_AddSingleNode(support, node));
      ++claimed;
    }
    const std::string text = std::to_string(claimed) + " DeformConv nodes in " +
                             (provider.choice.int8 ? "int8" : "float32");
    return ort->Logger_LogMessage(provider.logger, ORT_LOGGING_LEVEL_INFO, text.c_str(),
                                  ORT_FILE, __LINE__, "claim");
  });
}

OrtStatus* register_kernel(Provider& provider, int from, int to) {
  Owned<OrtKernelDefBuilder> builder(ep_api->ReleaseKernelDefBuilder);
  Owned<OrtKernelDef> definition(ep_api->ReleaseKernelDef);
  const OrtDataType* real = nullptr;
  RETURN_IF_ERROR(ep_api->CreateKernelDefBuilder(&builder.pointer));
  RETURN_IF_ERROR(ep_api->GetTensorDataType(ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, &real));
  RETURN_IF_ERROR(ep_api->KernelDefBuilder_SetOperatorType(builder.pointer, "DeformConv"));
  RETURN_IF_ERROR(ep_api->KernelDefBuilder_SetDomain(builder.pointer, ""));
  RETURN_IF_ERROR(ep_api->KernelDefBuilder_SetSinceVersion(builder.pointer, from, to));
  RETURN_IF_ERROR(ep_api->KernelDefBuilder_SetExecutionProvider(builder.pointer, NAME));
  RETURN_IF_ERROR(ep_api->KernelDefBuilder_AddTypeConstraint(builder.pointer, "T", &real, 1));
  RETURN_IF_ERROR(ep_api->KernelDefBuilder_Build(builder.pointer, &definition.pointer));
  return ep_api->KernelRegistry_AddKernel(provider.registry, definition.pointer, create_kernel,
                                          &provider.choice);
}

OrtStatus* option(const OrtSessionOptions* options, const char* name, std::string& value) {
  const std::string key = std::string(OPTIONS) + name;
  int there = 0;
  size_t size = 0;
  RETURN_IF_ERROR(ort->HasSessionConfigEntry(options, key.c_str(), &there));
  if (!there) return nullptr;
  RETURN_IF_ERROR(ort->GetSessionConfigEntry(options, key.c_str(), nullptr, &size));
  value.resize(size);
  RETURN_IF_ERROR(ort->GetSessionConfigEntry(options, key.c_str(), value.data(), &size));
  value.resize(size ? size - 1 : 0);  // less the zero at its end
  return nullptr;
}

OrtStatus* read_options(const OrtSessionOptions* options, Provider& provider) {
  std::string int8 = "auto", &path = provider.choice.path;
  RETURN_IF_ERROR(option(options, "int8", int8));
  RETURN_IF_ERROR(option(options, "path", path));
  if (path != "auto" && !float_path_of(path, 1) && !int8_path_of(path, 1))
    return invalid("this processor has no path " + path);
  if (int8 != "0" && int8 != "1" && int8 != "auto")
    return invalid("the option int8 is " + int8 + " and has to be auto, 0 or 1");
  provider.choice.int8 = int8 == "1";
  provider.int8_by_file = int8 == "auto";
  return nullptr;
}

OrtStatus* ORT_API_CALL create_provider(OrtEpFactory*, const OrtHardwareDevice* const*,
                                        const OrtKeyValuePairs* const*, size_t,
                                        const OrtSessionOptions* options, const OrtLogger* logger,
                                        OrtEp** made) noexcept {
  return without_exceptions([&]() -> OrtStatus* {
    auto provider = std::make_unique<Provider>();
    static_cast<OrtEp&>(*provider) = OrtEp{};
    provider->ort_version_supported = API_VERSION;
    provider->logger = logger;
    RETURN_IF_ERROR(read_options(options, *provider));
    RETURN_IF_ERROR(ep_api->CreateKernelRegistry(&provider->registry));
    RETURN_IF_ERROR(register_kernel(*provider, 19, 21));
    RETURN_IF_ERROR(register_kernel(*provider, 22, 22));
    provider->GetName = [](const OrtEp*) noexcept { return NAME; };
    provider->GetCapability = claim;
    provider->GetKernelRegistry = [](OrtEp* self, const OrtKernelRegistry** registry) noexcept {
      *registry = static_cast<Provider*>(self)->registry;
      return static_cast<OrtStatus*>(nullptr);
    };
    provider->IsConcurrentRunSupported = [](OrtEp*, bool* supported) noexcept {
      *supported = true;
      return static_cast<OrtStatus*>(nullptr);
    };
    *made = provider.release();
    return nullptr;
  });
}

OrtStatus* ORT_API_CALL supported_devices(OrtEpFactory* self, const OrtHardwareDevice* const* there,
                                          size_t count, OrtEpDevice** devices, size_t most,
                                          size_t* number) noexcept {
  *number = 0;
  for (size_t i = 0; i < count && *number < most; ++i) {
    if (ort->HardwareDevice_Type(there[i]) != OrtHardwareDeviceType_CPU) continue;
    RETURN_IF_ERROR(ep_api->CreateEpDevice(self, there[i], nullptr, nullptr, &devices[*number]));
    ++*number;
    break;
  }
  return nullptr;
}

OrtEpFactory factory_of_functions() {
  OrtEpFactory f{};
  f.ort_version_supported = API_VERSION;
  f.GetName = [](const OrtEpFactory*) noexcept { return NAME; };
  f.GetVendor = [](const OrtEpFactory*) noexcept { return "birefnet-ort"; };
  f.GetVendorId = [](const OrtEpFactory*) noexcept { return uint32_t{0}; };
  f.GetVersion = [](const OrtEpFactory*) noexcept { return KERNELS_VERSION; };
  f.GetSupportedDevices = supported_devices;
  f.CreateEp = create_provider;
  f.ReleaseEp = [](OrtEpFactory*, OrtEp* self) noexcept { delete static_cast<Provider*>(self); };
  f.CreateAllocator = [](OrtEpFactory*, const OrtMemoryInfo*, const OrtKeyValuePairs*,
                         OrtAllocator** allocator) noexcept {
    *allocator = nullptr;  // ONNX Runtime's own
    return static_cast<OrtStatus*>(nullptr);
  };
  f.ReleaseAllocator = [](OrtEpFactory*, OrtAllocator*) noexcept {};
  f.CreateDataTransfer = [](OrtEpFactory*, OrtDataTransferImpl** transfer) noexcept {
    *transfer = nullptr;
    return static_cast<OrtStatus*>(nullptr);
  };
  f.IsStreamAware = [](const OrtEpFactory*) noexcept { return false; };
  f.CreateSyncStreamForDevice = [](OrtEpFactory*, const OrtMemoryDevice*, const OrtKeyValuePairs*,
                                   OrtSyncStreamImpl** stream) noexcept {
    *stream = nullptr;
    return static_cast<OrtStatus*>(nullptr);
  };
  return f;
}

}  // namespace
}  // namespace deform

EXPORTED OrtStatus* CreateEpFactories(const char*, const OrtApiBase* base, const OrtLogger*,
                                      OrtEpFactory** factories, size_t most, size_t* number) {
  const OrtApi* api = base->GetApi(deform::API_VERSION);
  if (!api)
    return base->GetApi(1)->CreateStatus(
        ORT_FAIL, "birefnet-ort-kernels needs ONNX Runtime 1.24 or later");
  deform::ort = api;
  deform::ep_api = api->GetEpApi();
  if (most < 1) return api->CreateStatus(ORT_INVALID_ARGUMENT, "no place for a factory");
  auto* factory = new (std::nothrow) OrtEpFactory(deform::factory_of_functions());
  if (!factory) return api->CreateStatus(ORT_FAIL, "not enough memory");
  factories[0] = factory;
  *number = 1;
  return nullptr;
}

EXPORTED OrtStatus* ReleaseEpFactory(OrtEpFactory* factory) {
  delete factory;
  return nullptr;
}

// Names of what this processor has, the preferred first: `fp32=avx512,avx2 int8=avx512-vnni,avx2`.
EXPORTED const char* birefnet_kernels_paths() {
  static const std::string text = [] {
    std::string joined = "fp32=";
    const auto append = [&](const auto& paths) {
      for (size_t i = 0; i + 1 < paths.size(); ++i)  // the last is the scalar one
        joined += (i ? "," : "") + std::string(paths[i]->name);
    };
    append(deform::float_paths());
    joined += " int8=";
    append(deform::int8_paths());
    return joined;
  }();
  return text.c_str();
}

// See shim.h. Compiled once per TensorRT version, by `cargo xtask shims` or on the car itself.
#include "shim.h"
#include "messages.h"

#include <NvInfer.h>
#include <NvOnnxParser.h>

#include <atomic>
#include <cstring>
#include <memory>
#include <new>

#define EXPORT extern "C" __attribute__((visibility("default")))

// Only the headers of TensorRT-RTX define TRT_MAJOR_RTX without TRT_MAJOR_ENTERPRISE.
#if defined(TRT_MAJOR_RTX) && !defined(TRT_MAJOR_ENTERPRISE)
#define SHIM_RTX 1
#else
#define SHIM_RTX 0
#endif

// Where a layer's precision comes from. TensorRT 10.0 added networks that are strongly typed, 10.12
// deprecated the flags, 11 removed them, and RTX never had them.
#if SHIM_RTX || NV_TENSORRT_MAJOR > 10
#define SHIM_TYPING TENSORRT_RS_BY_MODEL
#define SHIM_FLAGS 0
#elif NV_TENSORRT_MAJOR == 10
#define SHIM_TYPING TENSORRT_RS_EITHER
#define SHIM_FLAGS 1
#else
#define SHIM_TYPING TENSORRT_RS_BY_FLAGS
#define SHIM_FLAGS 1
#endif

#if SHIM_RTX || NV_TENSORRT_MAJOR >= 10
#define SHIM_PROGRESS 1  // IProgressMonitor: not in the available headers of 8.5 and 8.6
#define SHIM_NODE_NAMES 1
#else
#define SHIM_PROGRESS 0
#define SHIM_NODE_NAMES 0
#endif

namespace {

using namespace nvinfer1;

const tensorrt_rs_shim kShim = {TENSORRT_RS_SHIM_ABI, SHIM_RTX ? TENSORRT_RS_RTX : TENSORRT_RS_TENSORRT,
    static_cast<int32_t>(NV_TENSORRT_VERSION), static_cast<int32_t>(NV_ONNX_PARSER_VERSION), SHIM_TYPING};

#if SHIM_PROGRESS
class Progress final : public IProgressMonitor
{
public:
    Progress(tensorrt_rs_progress progress, void* user)
        : mProgress(progress)
        , mUser(user)
    {
    }

    void phaseStart(char const* phase, char const* parent, int32_t steps) noexcept override
    {
        tell(phase, parent, 0, steps);
    }

    bool stepComplete(char const* phase, int32_t step) noexcept override
    {
        // The number of a phase's steps is reported at its start; the receiver remembers it.
        tell(phase, nullptr, step + 1, -1);
        return !mCancelled;
    }

    void phaseFinish(char const* phase) noexcept override
    {
        tell(phase, nullptr, 0, 0);
    }

    bool cancelled() const noexcept
    {
        return mCancelled;
    }

private:
    void tell(char const* phase, char const* parent, int32_t step, int32_t steps) noexcept
    {
        char const* const none = "";
        if (mProgress(mUser, phase == nullptr ? none : phase, parent == nullptr ? none : parent, step, steps) == 0)
        {
            mCancelled = true;
        }
    }

    tensorrt_rs_progress mProgress;
    void* mUser;
    std::atomic<bool> mCancelled{false};
};
#endif

using CreateBuilder = void* (*)(void*, int32_t);
using CreateRuntime = void* (*)(void*, int32_t);
using CreateParser = void* (*)(void*, void*, int);

template <typename Function>
Function as(void* symbol)
{
    return reinterpret_cast<Function>(symbol);
}

// Converts the result of one of TensorRT's factory functions. On failure they should return null,
// but 11.4 returns 0x228 on a machine without a driver: a null pointer cast to a base class. No
// object lies in the first page, so such pointers count as null.
template <typename Interface>
Interface* made(void* it)
{
    return reinterpret_cast<uintptr_t>(it) < 4096 ? nullptr : static_cast<Interface*>(it);
}

int32_t parser_failure(nvonnxparser::IParser const& parser, Call& call, tensorrt_rs_error* error)
{
    if (parser.getNbErrors() == 0)
    {
        return call.fail(error, "the ONNX parser refused the model and gave no reason", TENSORRT_RS_PARSE);
    }
    nvonnxparser::IParserError const* const first = parser.getError(0);
    copy(error->message, sizeof error->message, first->desc());
    error->node = first->node();
#if SHIM_NODE_NAMES
    copy(error->name, sizeof error->name, first->nodeName());
    copy(error->operator_name, sizeof error->operator_name, first->nodeOperator());
#endif
    return TENSORRT_RS_PARSE;
}

NetworkDefinitionCreationFlags network_flags(tensorrt_rs_build const& build)
{
#if SHIM_RTX || NV_TENSORRT_MAJOR > 10
    static_cast<void>(build);
    return 0;
#elif NV_TENSORRT_MAJOR == 10
    bool const typed = (build.flags & TENSORRT_RS_STRONGLY_TYPED) != 0;
    return typed ? 1U << static_cast<uint32_t>(NetworkDefinitionCreationFlag::kSTRONGLY_TYPED) : 0U;
#else
    static_cast<void>(build);
    return 1U << static_cast<uint32_t>(NetworkDefinitionCreationFlag::kEXPLICIT_BATCH);
#endif
}

// Inputs and outputs hold their elements row by row. By default a builder may choose any format, such
// as vectors of channels for an INT8 picture.
void use_linear_formats(INetworkDefinition const& network)
{
    constexpr auto linear = 1U << static_cast<uint32_t>(TensorFormat::kLINEAR);
    for (int32_t index = 0; index < network.getNbInputs(); ++index)
    {
        network.getInput(index)->setAllowedFormats(linear);
    }
    for (int32_t index = 0; index < network.getNbOutputs(); ++index)
    {
        network.getOutput(index)->setAllowedFormats(linear);
    }
}

// Applies the options of `build` to the builder's configuration. Returns TENSORRT_RS_OK or the status
// of the failure.
int32_t configure(IBuilder& builder, IBuilderConfig& config, tensorrt_rs_build const& build, tensorrt_rs_error* error)
{
    // Compute float32 layers in float32: TF32 has a mantissa of 10 bits.
    config.clearFlag(BuilderFlag::kTF32);
#if NV_TENSORRT_MAJOR > 8 || NV_TENSORRT_MINOR >= 6
    // All of an inference's work is on the caller's stream, with its priority.
    config.setMaxAuxStreams(0);
#endif
    if (build.workspace != 0)
    {
        config.setMemoryPoolLimit(MemoryPoolType::kWORKSPACE, build.workspace);
    }
    if ((build.flags & TENSORRT_RS_DETAILED) != 0)
    {
        config.setProfilingVerbosity(ProfilingVerbosity::kDETAILED);
    }
    bool const typed = (build.flags & TENSORRT_RS_STRONGLY_TYPED) != 0;
    if (typed && SHIM_TYPING == TENSORRT_RS_BY_FLAGS)
    {
        return refuse(error, TENSORRT_RS_UNSUPPORTED, "TensorRT before 10 has no strongly typed networks");
    }
    uint32_t const precisions = SHIM_TYPING == TENSORRT_RS_BY_MODEL ? TENSORRT_RS_FP16 | TENSORRT_RS_INT8
        : typed                                                      ? TENSORRT_RS_FP16
                                                                     : 0;
    if ((build.flags & precisions) != 0)
    {
        return refuse(error, TENSORRT_RS_UNSUPPORTED,
            "this TensorRT takes the precision from the model: give it an FP16 or a quantized ONNX model");
    }
#if SHIM_FLAGS
    if ((build.flags & TENSORRT_RS_INT8) != 0)
    {
        if (!builder.platformHasFastInt8())
        {
            return refuse(error, TENSORRT_RS_NO_FAST_INT8, "this device has no fast INT8");
        }
        if (!typed)
        {
            config.setFlag(BuilderFlag::kINT8);
        }
    }
    if ((build.flags & TENSORRT_RS_FP16) != 0)
    {
        config.setFlag(BuilderFlag::kFP16);
    }
#endif
    if (build.dla_core >= 0)
    {
        if (build.dla_core >= builder.getNbDLACores())
        {
            return refuse(error, TENSORRT_RS_UNSUPPORTED, "this device has no DLA core of that number");
        }
        config.setDefaultDeviceType(DeviceType::kDLA);
        config.setDLACore(build.dla_core);
        config.setFlag(BuilderFlag::kGPU_FALLBACK);
    }
    if (build.compute_capability_count > 0)
    {
#if SHIM_RTX
        if (!config.setNbComputeCapabilities(build.compute_capability_count))
        {
            return refuse(error, TENSORRT_RS_UNSUPPORTED, "too many compute capabilities");
        }
        for (int32_t index = 0; index < build.compute_capability_count; ++index)
        {
            // The values of ComputeCapability are the capability, for example 86 for 8.6.
            auto const capability = static_cast<ComputeCapability>(build.compute_capabilities[index]);
            if (!config.setComputeCapability(capability, index))
            {
                return refuse(error, TENSORRT_RS_UNSUPPORTED, "TensorRT-RTX does not know that compute capability");
            }
        }
#else
        return refuse(error, TENSORRT_RS_UNSUPPORTED, "only TensorRT-RTX builds for devices that are not there");
#endif
    }
    return TENSORRT_RS_OK;
}

} // namespace

// A copy of TensorRT's memory, which would have to be freed before the builder.
struct tensorrt_rs_bytes
{
    std::unique_ptr<uint8_t[]> data;
    size_t size;
};

namespace {

tensorrt_rs_bytes* copied(IHostMemory const& memory)
{
    std::unique_ptr<uint8_t[]> data(new (std::nothrow) uint8_t[memory.size()]);
    if (!data)
    {
        return nullptr;
    }
    std::memcpy(data.get(), memory.data(), memory.size());
    return new (std::nothrow) tensorrt_rs_bytes{std::move(data), memory.size()};
}

} // namespace

struct tensorrt_rs_runtime
{
    std::unique_ptr<IRuntime> runtime;
};

struct tensorrt_rs_engine
{
    std::unique_ptr<ICudaEngine> engine;
};

struct tensorrt_rs_context
{
    std::unique_ptr<IExecutionContext> context;
};

EXPORT tensorrt_rs_shim const* tensorrt_rs_shim_describe(void)
{
    return &kShim;
}

EXPORT int32_t tensorrt_rs_build_plan(tensorrt_rs_library const* library, tensorrt_rs_build const* build, tensorrt_rs_bytes** plan,
    tensorrt_rs_bytes** timing_cache, tensorrt_rs_error* error)
{
    clear(error);
    *plan = nullptr;
    *timing_cache = nullptr;
    if (library->create_builder == nullptr || library->create_parser == nullptr)
    {
        return refuse(error, TENSORRT_RS_UNSUPPORTED, "this TensorRT can only run plans: its builder or parser is missing");
    }
    Call call(library);
    Building const building(call);
    Logger* const log = logger(*library);
    if (log == nullptr)
    {
        return refuse(error, TENSORRT_RS_FAILED, "out of memory");
    }
    // The builder and the configuration use these objects, which must outlive them.
#if !SHIM_RTX  // RTX has no timing cache: its kernels are compiled later, on the device.
    std::unique_ptr<ITimingCache> cache;
#endif
#if SHIM_PROGRESS
    Progress progress(build->progress, build->progress_user);
#endif
    std::unique_ptr<IBuilder> const builder(made<IBuilder>(
        as<CreateBuilder>(library->create_builder)(log, static_cast<int32_t>(NV_TENSORRT_VERSION))));
    if (!builder)
    {
        return call.fail(error, "TensorRT made no builder");
    }
    std::unique_ptr<INetworkDefinition> const network(builder->createNetworkV2(network_flags(*build)));
    std::unique_ptr<IBuilderConfig> const config(builder->createBuilderConfig());
    if (!network || !config)
    {
        return call.fail(error, "TensorRT made no network definition");
    }
    std::unique_ptr<nvonnxparser::IParser> const parser(
        made<nvonnxparser::IParser>(as<CreateParser>(library->create_parser)(
            network.get(), log, static_cast<int>(NV_ONNX_PARSER_VERSION))));
    if (!parser)
    {
        return call.fail(error, "TensorRT made no ONNX parser");
    }
    if (!parser->parse(build->model, build->model_size))
    {
        return parser_failure(*parser, call, error);
    }
    if (network->getNbOutputs() == 0)
    {
        // The parser accepts an empty file.
        return refuse(error, TENSORRT_RS_PARSE, "it is empty");
    }
    use_linear_formats(*network);
    int32_t const configured = configure(*builder, *config, *build, error);
    if (configured != TENSORRT_RS_OK)
    {
        return configured;
    }

#if !SHIM_RTX
    cache.reset(config->createTimingCache(build->timing_cache, build->timing_cache_size));
    if (!cache || !config->setTimingCache(*cache, false))
    {
        // The cache is of another device or version, or damaged: start with an empty one.
        cache.reset(config->createTimingCache(nullptr, 0));
        if (cache)
        {
            config->setTimingCache(*cache, false);
        }
    }
#endif
#if SHIM_PROGRESS
    if (build->progress != nullptr)
    {
        config->setProgressMonitor(&progress);
    }
#endif

    // Earlier messages, for example about the timing cache, are not the reason if the build fails.
    call.forget();
    std::unique_ptr<IHostMemory> const memory(builder->buildSerializedNetwork(*network, *config));
#if SHIM_PROGRESS
    if (build->progress != nullptr && progress.cancelled())
    {
        return refuse(error, TENSORRT_RS_CANCELLED, "the build was cancelled");
    }
#endif
    if (!memory || memory->size() == 0)
    {
        return call.fail(error, "TensorRT built nothing and gave no reason");
    }
#if !SHIM_RTX
    if (config->getTimingCache() != nullptr)
    {
        std::unique_ptr<IHostMemory> const times(config->getTimingCache()->serialize());
        if (times)
        {
            *timing_cache = copied(*times);
        }
    }
#endif
    *plan = copied(*memory);
    if (*plan == nullptr)
    {
        delete *timing_cache;
        *timing_cache = nullptr;
        return refuse(error, TENSORRT_RS_FAILED, "out of memory");
    }
    return TENSORRT_RS_OK;
}

EXPORT void const* tensorrt_rs_bytes_data(tensorrt_rs_bytes const* bytes, size_t* size)
{
    *size = bytes->size;
    return bytes->data.get();
}

EXPORT void tensorrt_rs_bytes_free(tensorrt_rs_bytes* bytes)
{
    delete bytes;
}

EXPORT int32_t tensorrt_rs_runtime_new(
    tensorrt_rs_library const* library, int32_t dla_core, tensorrt_rs_runtime** runtime, tensorrt_rs_error* error)
{
    clear(error);
    *runtime = nullptr;
    Call call(library);
    Logger* const log = logger(*library);
    std::unique_ptr<tensorrt_rs_runtime> own(new (std::nothrow) tensorrt_rs_runtime{nullptr});
    if (log == nullptr || !own)
    {
        return refuse(error, TENSORRT_RS_FAILED, "out of memory");
    }
    own->runtime.reset(made<IRuntime>(
        as<CreateRuntime>(library->create_runtime)(log, static_cast<int32_t>(NV_TENSORRT_VERSION))));
    if (!own->runtime)
    {
        return call.fail(error, "TensorRT made no runtime");
    }
    if (dla_core >= 0)
    {
        own->runtime->setDLACore(dla_core);
    }
    *runtime = own.release();
    return TENSORRT_RS_OK;
}

EXPORT void tensorrt_rs_runtime_free(tensorrt_rs_runtime* runtime)
{
    delete runtime;
}

EXPORT int32_t tensorrt_rs_engine_new(
    tensorrt_rs_runtime* runtime, void const* plan, size_t size, tensorrt_rs_engine** engine, tensorrt_rs_error* error)
{
    clear(error);
    *engine = nullptr;
    Call call;
    std::unique_ptr<ICudaEngine> made(runtime->runtime->deserializeCudaEngine(plan, size));
    if (!made)
    {
        return call.fail(error, "TensorRT refused the plan and gave no reason");
    }
    *engine = new (std::nothrow) tensorrt_rs_engine{std::move(made)};
    return *engine == nullptr ? refuse(error, TENSORRT_RS_FAILED, "out of memory") : TENSORRT_RS_OK;
}

EXPORT void tensorrt_rs_engine_free(tensorrt_rs_engine* engine)
{
    delete engine;
}

EXPORT int32_t tensorrt_rs_engine_tensors(tensorrt_rs_engine const* engine)
{
    return engine->engine->getNbIOTensors();
}

EXPORT int32_t tensorrt_rs_engine_tensor(tensorrt_rs_engine const* engine, int32_t index, tensorrt_rs_tensor* tensor)
{
    ICudaEngine const& it = *engine->engine;
    char const* const name = it.getIOTensorName(index);
    if (name == nullptr)
    {
        return TENSORRT_RS_FAILED;
    }
    Dims const shape = it.getTensorShape(name);
    if (shape.nbDims < 0 || shape.nbDims > 8)
    {
        return TENSORRT_RS_FAILED;
    }
    tensor->name = name;
    tensor->is_input = it.getTensorIOMode(name) == TensorIOMode::kINPUT ? 1 : 0;
    tensor->type = static_cast<int32_t>(it.getTensorDataType(name));
    tensor->format = static_cast<int32_t>(it.getTensorFormat(name));
    tensor->rank = shape.nbDims;
    for (int32_t axis = 0; axis < 8; ++axis)
    {
        tensor->dims[axis] = axis < shape.nbDims ? shape.d[axis] : 0;
    }
    return TENSORRT_RS_OK;
}

EXPORT int32_t tensorrt_rs_engine_report(
    tensorrt_rs_engine const* engine, void (*sink)(void*, char const*), void* user, tensorrt_rs_error* error)
{
    clear(error);
    Call call;
    std::unique_ptr<IEngineInspector> const inspector(engine->engine->createEngineInspector());
    char const* const text
        = inspector ? inspector->getEngineInformation(LayerInformationFormat::kJSON) : nullptr;
    if (text == nullptr)
    {
        return call.fail(error, "TensorRT gave no layer report");
    }
    sink(user, text);
    return TENSORRT_RS_OK;
}

EXPORT int32_t tensorrt_rs_context_new(tensorrt_rs_engine* engine, tensorrt_rs_context** context, tensorrt_rs_error* error)
{
    clear(error);
    *context = nullptr;
    Call call;
    std::unique_ptr<IExecutionContext> made(engine->engine->createExecutionContext());
    if (!made)
    {
        return call.fail(error, "TensorRT made no execution context");
    }
    *context = new (std::nothrow) tensorrt_rs_context{std::move(made)};
    return *context == nullptr ? refuse(error, TENSORRT_RS_FAILED, "out of memory") : TENSORRT_RS_OK;
}

EXPORT void tensorrt_rs_context_free(tensorrt_rs_context* context)
{
    delete context;
}

EXPORT int32_t tensorrt_rs_context_bind(
    tensorrt_rs_context* context, char const* tensor, void* address, tensorrt_rs_error* error)
{
    clear(error);
    Call call;
    return context->context->setTensorAddress(tensor, address)
        ? static_cast<int32_t>(TENSORRT_RS_OK)
        : call.fail(error, "TensorRT refused the tensor's address");
}

EXPORT int32_t tensorrt_rs_context_enqueue(tensorrt_rs_context* context, void* stream, tensorrt_rs_error* error)
{
    clear(error);
    Call call;
    return context->context->enqueueV3(static_cast<cudaStream_t>(stream))
        ? static_cast<int32_t>(TENSORRT_RS_OK)
        : call.fail(error, "TensorRT could not enqueue the inference");
}

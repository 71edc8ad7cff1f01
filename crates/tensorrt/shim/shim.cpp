// See shim.h. Compiled once per TensorRT version, by `cargo xtask shims` or on the car itself. All of
// it is one translation unit: most of the time goes into reading TensorRT's headers.
#include "shim.h"

#include "configuration.h"
#include "messages.h"
#include "product.h"
#include "progress.h"
#include "tensors.h"

#include <NvInfer.h>
#include <NvOnnxParser.h>

#include <cstring>
#include <memory>
#include <new>
#include <utility>

#define EXPORT extern "C" __attribute__((visibility("default")))

namespace {

using namespace nvinfer1;

const tensorrt_rs_shim kShim = {TENSORRT_RS_SHIM_ABI, SHIM_RTX ? TENSORRT_RS_RTX : TENSORRT_RS_TENSORRT,
    static_cast<int32_t>(NV_TENSORRT_VERSION), static_cast<int32_t>(NV_ONNX_PARSER_VERSION), SHIM_TYPING};

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

// Makes the parser, which must outlive the build, and reads the model into `network`.
int32_t parse(tensorrt_rs_library const& library, tensorrt_rs_build const& build, INetworkDefinition& network,
    ILogger* log, std::unique_ptr<nvonnxparser::IParser>& parser, Call& call, tensorrt_rs_error* error)
{
    parser.reset(made<nvonnxparser::IParser>(
        as<CreateParser>(library.create_parser)(&network, log, static_cast<int>(NV_ONNX_PARSER_VERSION))));
    if (!parser)
    {
        return call.fail(error, "TensorRT made no ONNX parser");
    }
    if (!parser->parse(build.model, build.model_size))
    {
        return parser_failure(*parser, call, error);
    }
    if (network.getNbOutputs() == 0)
    {
        // The parser accepts an empty file.
        return refuse(error, TENSORRT_RS_PARSE, "it is empty");
    }
    return TENSORRT_RS_OK;
}

#if SHIM_TIMING_CACHE
// Sets the timing cache of an earlier build, which must outlive the build.
void use_timing_cache(IBuilderConfig& config, tensorrt_rs_build const& build, std::unique_ptr<ITimingCache>& cache)
{
    cache.reset(config.createTimingCache(build.timing_cache, build.timing_cache_size));
    if (!cache || !config.setTimingCache(*cache, false))
    {
        // The cache is of another device or version, or damaged: start with an empty one.
        cache.reset(config.createTimingCache(nullptr, 0));
        if (cache)
        {
            config.setTimingCache(*cache, false);
        }
    }
}
#endif

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
    explicit tensorrt_rs_context(ICudaEngine& engine)
        : execution(engine)
    {
    }
    Execution execution;
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
#if SHIM_TIMING_CACHE
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
    std::unique_ptr<nvonnxparser::IParser> parser;
    int32_t const parsed = parse(*library, *build, *network, log, parser, call, error);
    if (parsed != TENSORRT_RS_OK)
    {
        return parsed;
    }
    use_linear_formats(*network);
    int32_t const configured = configure(*builder, *config, *build, error);
    if (configured != TENSORRT_RS_OK)
    {
        return configured;
    }

#if SHIM_TIMING_CACHE
    use_timing_cache(*config, *build, cache);
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
#if SHIM_TIMING_CACHE
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
    return *engine == nullptr ? refuse(error, TENSORRT_RS_FAILED, "out of memory")
                              : static_cast<int32_t>(TENSORRT_RS_OK);
}

EXPORT void tensorrt_rs_engine_free(tensorrt_rs_engine* engine)
{
    delete engine;
}

EXPORT int32_t tensorrt_rs_engine_tensors(tensorrt_rs_engine const* engine)
{
    return count_tensors(*engine->engine);
}

EXPORT int32_t tensorrt_rs_engine_tensor(tensorrt_rs_engine const* engine, int32_t index, tensorrt_rs_tensor* tensor)
{
    return describe_tensor(*engine->engine, index, tensor) ? TENSORRT_RS_OK : TENSORRT_RS_FAILED;
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
    std::unique_ptr<tensorrt_rs_context> made(new (std::nothrow) tensorrt_rs_context(*engine->engine));
    if (!made)
    {
        return refuse(error, TENSORRT_RS_FAILED, "out of memory");
    }
    if (!made->execution.made())
    {
        return call.fail(error, "TensorRT made no execution context");
    }
    *context = made.release();
    return TENSORRT_RS_OK;
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
    return context->execution.bind(tensor, address)
        ? static_cast<int32_t>(TENSORRT_RS_OK)
        : call.fail(error, "TensorRT refused the tensor's address");
}

EXPORT int32_t tensorrt_rs_context_enqueue(tensorrt_rs_context* context, void* stream, tensorrt_rs_error* error)
{
    clear(error);
    Call call;
    return context->execution.enqueue(static_cast<cudaStream_t>(stream))
        ? static_cast<int32_t>(TENSORRT_RS_OK)
        : call.fail(error, "TensorRT could not enqueue the inference");
}

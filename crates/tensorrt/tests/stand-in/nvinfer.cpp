// A stand-in for TensorRT behind the real shim. It has the interfaces of NVIDIA's headers, so the
// shim calls it through the virtual tables that it was compiled for. It builds a plan from any
// model, and a file defines its answers (answers.h). Its timings say nothing about a GPU.
//
// It is stricter than TensorRT: it ends the process when an object is used or destroyed in an order
// that NVIDIA's headers do not allow, or when a function is called that it does not implement.
//
//   STAND_IN_FAIL..       see faults.h; a call that fails reports it to the logger
#include <NvInfer.h>
#include <NvOnnxParser.h>

#include <algorithm>
#include <cstring>
#include <set>
#include <string>
#include <thread>

#include "answers.h"
#include "table.h"

using namespace nvinfer1;

namespace {

// The first logger serves all later objects, as in TensorRT. It must never be destroyed.
ILogger* gLogger = nullptr;

void use_logger(void* logger)
{
    demand(logger != nullptr, "there is no logger");
    demand(gLogger == nullptr || gLogger == logger, "the logger is another than that of before");
    gLogger = static_cast<ILogger*>(logger);
}

void say(ILogger::Severity severity, std::string const& message)
{
    gLogger->log(severity, message.c_str());
}

bool fails(char const* name)
{
    if (!stand_in_fails(name))
    {
        return false;
    }
    say(ILogger::Severity::kERROR, std::string(name) + " was set to fail");
    return true;
}

// The live runtimes and engines.
std::set<void const*> gAlive;
int gBuilders = 0, gOfBuilder = 0, gRuntimes = 0, gEngines = 0, gContexts = 0;

struct Left
{
    ~Left()
    {
        stand_in_left("builders", gBuilders);
        stand_in_left("runtimes", gRuntimes);
        stand_in_left("engines", gEngines);
        stand_in_left("execution contexts", gContexts);
    }
} const gLeft;

class Memory final : public IHostMemory
{
public:
    explicit Memory(std::string content)
        : mContent(std::move(content))
    {
        mTable.with(&apiv::VHostMemory::data, +[](void* self) { return of(self).data(); });
        mTable.with(&apiv::VHostMemory::size, +[](void* self) { return of(self).mContent.size(); });
        mImpl = mTable.object();
        ++gOfBuilder;
    }
    ~Memory() noexcept override
    {
        demand(gBuilders == 1, "memory of the builder's outlived it");
        --gOfBuilder;
        // Overwrite the content, so that a later read is noticed.
        std::fill(mContent.begin(), mContent.end(), '\xdd');
        say(ILogger::Severity::kVERBOSE, "memory given back");
    }

private:
    static Memory& of(void* self)
    {
        return *static_cast<Named*>(self)->owner;
    }
    void* data()
    {
        return &mContent[0];
    }
    struct Named : Table<apiv::VHostMemory>
    {
        explicit Named(Memory* it)
            : owner(it)
        {
        }
        Memory* owner;
    };
    std::string mContent;
    Named mTable{this};
};

// A timing cache. The content `times N` means that N builds have added to it.
class Times final : public ITimingCache
{
public:
    explicit Times(std::string blob)
        : mBlob(std::move(blob))
    {
        mTable.with(&apiv::VTimingCache::serialize, +[](void* self) -> IHostMemory* {
            return new Memory(static_cast<Named*>(self)->owner->mBlob);
        });
        mImpl = mTable.object();
    }
    ~Times() noexcept override;
    std::string mBlob;

private:
    struct Named : Table<apiv::VTimingCache>
    {
        explicit Named(Times* it)
            : owner(it)
        {
        }
        Times* owner;
    };
    Named mTable{this};
};

Times const* gTimes = nullptr;
IProgressMonitor* gProgress = nullptr;
std::string gModel;

Times::~Times() noexcept
{
    demand(gTimes != this || gBuilders == 0, "the times went before the builder that uses them");
}

// An object of the builder, which must be destroyed before the builder.
template <typename Base>
class OfBuilder : public Base
{
public:
    OfBuilder()
    {
        ++gOfBuilder;
    }
    ~OfBuilder() noexcept override
    {
        demand(gBuilders == 1, "the builder went before what it had made");
        --gOfBuilder;
    }
};

class Config final : public OfBuilder<IBuilderConfig>
{
public:
    Config()
    {
        using V = apiv::VBuilderConfig;
        mTable.with(&V::clearFlag, +[](void*, BuilderFlag) {})
            .with(&V::setFlag, +[](void*, BuilderFlag) {})
            .with(&V::setMemoryPoolLimit, +[](void*, MemoryPoolType, std::size_t) {})
            .with(&V::setProfilingVerbosity, +[](void*, ProfilingVerbosity) {})
            .with(&V::setDefaultDeviceType, +[](void*, DeviceType) {})
            .with(&V::setDLACore, +[](void*, int32_t) {})
            .with(&V::setMaxAuxStreams, +[](void*, int32_t) { return true; })
            .with(&V::setProgressMonitor, +[](void*, IProgressMonitor* monitor) { gProgress = monitor; });
        mTable.with(&V::createTimingCache, +[](void*, void const* blob, std::size_t size) -> ITimingCache* {
            std::string const text(static_cast<char const*>(blob == nullptr ? "" : blob), size);
            if (size != 0 && text.compare(0, 6, "times ") != 0)
            {
                say(ILogger::Severity::kERROR, "the times are damaged");
                return nullptr;
            }
            return new Times(size == 0 ? "times 0" : text);
        });
        mTable.with(&V::setTimingCache, +[](void*, ITimingCache const& cache, bool ignores) {
            auto const& times = static_cast<Times const&>(cache);
            demand(!ignores, "times of another device would be used");
            if (times.mBlob == "times of another device")
            {
                say(ILogger::Severity::kERROR, "the times are of another device");
                return false;
            }
            gTimes = &times;
            return true;
        });
        mTable.with(&V::getTimingCache, +[](void*) -> ITimingCache const* { return gTimes; });
        mImpl = mTable.object();
    }

private:
    Table<apiv::VBuilderConfig> mTable;
};

// An input or output of the network.
class IoTensor final : public ITensor
{
public:
    IoTensor()
    {
        mTable.with(&apiv::VTensor::setAllowedFormats, +[](void* self, TensorFormats formats) {
            static_cast<Named*>(self)->formats = formats;
        });
        mImpl = mTable.object();
    }
    TensorFormats formats() const
    {
        return mTable.formats;
    }

private:
    struct Named : Table<apiv::VTensor>
    {
        // A builder may use all formats, unless setAllowedFormats restricts them.
        TensorFormats formats = ~TensorFormats{0};
    };
    Named mTable;
};

class Network final : public OfBuilder<INetworkDefinition>
{
public:
    Network()
    {
        using V = apiv::VNetworkDefinition;
        mTable.with(&V::getNbInputs, +[](void*) { return int32_t{1}; })
            .with(&V::getNbOutputs, +[](void*) { return int32_t{1}; })
            .with(&V::getInput, +[](void* self, int32_t) -> ITensor* { return &static_cast<Named*>(self)->input; })
            .with(&V::getOutput, +[](void* self, int32_t) -> ITensor* { return &static_cast<Named*>(self)->output; });
        mImpl = mTable.object();
    }
    void check() const
    {
        constexpr auto linear = 1U << static_cast<uint32_t>(TensorFormat::kLINEAR);
        demand(mTable.input.formats() == linear, "the input may have another format than the linear one");
        demand(mTable.output.formats() == linear, "the output may have another format than the linear one");
    }

private:
    struct Named : Table<apiv::VNetworkDefinition>
    {
        IoTensor input, output;
    };
    Named mTable;
};

IHostMemory* build(void*, INetworkDefinition& network, IBuilderConfig&)
{
    static_cast<Network&>(network).check();
    // TensorRT logs from its own threads too.
    bool failed = false;
    std::thread([&failed] {
        failed = fails("buildSerializedNetwork");
        say(ILogger::Severity::kVERBOSE, "Layers:\nName: only, LayerType: stand-in");
    }).join();
    if (failed)
    {
        return nullptr;
    }
    if (gProgress != nullptr)
    {
        gProgress->phaseStart("Building", nullptr, 2);
        bool const goes_on = gProgress->stepComplete("Building", 0);
        gProgress->phaseFinish("Building");
        if (!goes_on)
        {
            return nullptr;
        }
    }
    if (gTimes != nullptr)
    {
        std::string& blob = const_cast<Times*>(gTimes)->mBlob;
        blob = "times " + std::to_string(std::stoi(blob.substr(6)) + 1);
    }
    return new Memory(std::string(stand_in_plan, sizeof stand_in_plan) + gModel);
}

class Builder final : public IBuilder
{
public:
    Builder()
    {
        using V = apiv::VBuilder;
        mTable.with(&V::createNetworkV2, +[](void*, NetworkDefinitionCreationFlags) -> INetworkDefinition* {
            return fails("createNetworkV2") ? nullptr : new Network;
        });
        mTable.with(&V::createBuilderConfig, +[](void*) -> IBuilderConfig* {
            return fails("createBuilderConfig") ? nullptr : new Config;
        });
        mTable.with(&V::getNbDLACores, +[](void*) { return int32_t{1}; });
        mTable.with(&V::buildSerializedNetwork, &build);
        mImpl = mTable.object();
        ++gBuilders;
    }
    ~Builder() noexcept override
    {
        demand(gOfBuilder == 0, "the builder went before what it had made");
        // The destructor may still report progress and access the timing cache.
        if (gProgress != nullptr)
        {
            gProgress->phaseFinish("Building");
        }
        if (gTimes != nullptr)
        {
            demand(gTimes->mBlob.compare(0, 6, "times ") == 0, "the times are gone");
        }
        say(ILogger::Severity::kVERBOSE, "the builder is done");
        --gBuilders;
        gProgress = nullptr;
        gTimes = nullptr;
    }

private:
    Table<apiv::VBuilder> mTable;
};

struct Inspector final : IEngineInspector
{
    Inspector()
    {
        mTable.with(&apiv::VEngineInspector::getEngineInformation, +[](void*, LayerInformationFormat) -> char const* {
            return "{\"Layers\": [\"only\"]}";
        });
        mImpl = mTable.object();
    }
    Table<apiv::VEngineInspector> mTable;
};

class Context final : public IExecutionContext
{
public:
    explicit Context(void const* engine)
        : mEngine(engine)
    {
        using V = apiv::VExecutionContext;
        stand_in_describe(&mTable.model);
        mTable.with(&V::setTensorAddress, +[](void* self, char const* name, void* address) {
            stand_in_model& model = static_cast<Named*>(self)->model;
            for (int index = 0; index < 2; ++index)
            {
                if (std::strcmp(model.tensors[index].name, name) == 0 && !fails("setTensorAddress"))
                {
                    demand(reinterpret_cast<uintptr_t>(address) % 256 == 0, "an address is not aligned");
                    model.bound[index] = address;
                    return true;
                }
            }
            return false;
        });
        mTable.with(&V::enqueueV3, +[](void* self, cudaStream_t stream) {
            stand_in_model& model = static_cast<Named*>(self)->model;
            demand(stream != nullptr, "there is no stream");
            demand(model.bound[0] != nullptr && model.bound[1] != nullptr, "a tensor is not bound");
            return !fails("enqueueV3") && stand_in_enqueue(&model, stream) == 0;
        });
        mImpl = mTable.object();
        ++gContexts;
    }
    ~Context() noexcept override
    {
        demand(gAlive.count(mEngine) == 1, "the engine went before its context");
        --gContexts;
    }

private:
    struct Named : Table<apiv::VExecutionContext>
    {
        stand_in_model model;
    };
    Named mTable;
    void const* mEngine;
};

class Engine final : public ICudaEngine
{
public:
    explicit Engine(void const* runtime)
        : mRuntime(runtime)
    {
        using V = apiv::VCudaEngine;
        stand_in_describe(&mTable.model);
        mTable.with(&V::getNbIOTensors, +[](void*) { return int32_t{fails("getNbIOTensors") ? 0 : 2}; });
        mTable.with(&V::getIOTensorName, +[](void* self, int32_t index) -> char const* {
            if (fails("getIOTensorName"))
            {
                return nullptr;
            }
            return static_cast<Named*>(self)->model.tensors[index].name;
        });
        mTable.with(&V::getTensorShape, +[](void* self, char const* name) {
            stand_in_tensor const& tensor = find(self, name);
            Dims dims{};
            dims.nbDims = fails("getTensorShape") ? -1 : tensor.rank;
            std::copy(tensor.dims, tensor.dims + tensor.rank, dims.d);
            return dims;
        });
        mTable.with(&V::getTensorDataType, +[](void* self, char const* name) {
            // A failed call returns a type that no input or output may have.
            return fails("getTensorDataType") ? DataType::kBOOL : static_cast<DataType>(find(self, name).type);
        });
        mTable.with(&V::getTensorIOMode, +[](void* self, char const* name) {
            bool const first = &find(self, name) == &static_cast<Named*>(self)->model.tensors[0];
            return fails("getTensorIOMode") ? TensorIOMode::kNONE
                : first                      ? TensorIOMode::kINPUT
                                             : TensorIOMode::kOUTPUT;
        });
        mTable.with(&V::getTensorFormat, +[](void*, char const*) {
            return fails("getTensorFormat") ? TensorFormat::kCHW2 : TensorFormat::kLINEAR;
        });
        mTable.with(&V::createExecutionContext, +[](void* self, ExecutionContextAllocationStrategy) -> IExecutionContext* {
            return fails("createExecutionContext") ? nullptr : new Context(self);
        });
        mTable.with(&V::createEngineInspector, +[](void*) -> IEngineInspector* {
            return fails("createEngineInspector") ? nullptr : new Inspector;
        });
        mImpl = mTable.object();
        gAlive.insert(mImpl);
        ++gEngines;
    }
    ~Engine() noexcept override
    {
        demand(gAlive.count(mRuntime) == 1, "the runtime went before its engine");
        gAlive.erase(mImpl);
        --gEngines;
    }

private:
    struct Named : Table<apiv::VCudaEngine>
    {
        stand_in_model model;
    };
    static stand_in_tensor const& find(void* self, char const* name)
    {
        for (stand_in_tensor const& tensor : static_cast<Named*>(self)->model.tensors)
        {
            if (std::strcmp(tensor.name, name) == 0)
            {
                return tensor;
            }
        }
        never("a tensor that it does not have was asked for");
    }
    Named mTable;
    void const* mRuntime;
};

class Runtime final : public IRuntime
{
public:
    Runtime()
    {
        using V = apiv::VRuntime;
        mTable.with(&V::setDLACore, +[](void*, int32_t) {});
        mTable.with(&V::deserializeCudaEngine, +[](void* self, void const* blob, std::size_t size) -> ICudaEngine* {
            if (fails("deserializeCudaEngine"))
            {
                return nullptr;
            }
            if (size < sizeof stand_in_plan || std::memcmp(blob, stand_in_plan, sizeof stand_in_plan) != 0)
            {
                say(ILogger::Severity::kERROR, "this is no plan");
                return nullptr;
            }
            return new Engine(self);
        });
        mImpl = mTable.object();
        gAlive.insert(mImpl);
        ++gRuntimes;
    }
    ~Runtime() noexcept override
    {
        gAlive.erase(mImpl);
        --gRuntimes;
        say(ILogger::Severity::kVERBOSE, "the runtime is done");
    }

private:
    Table<apiv::VRuntime> mTable;
};

class Parser final : public OfBuilder<nvonnxparser::IParser>
{
public:
    bool parse(void const* model, size_t size, char const*) noexcept override
    {
        gModel.assign(static_cast<char const*>(model), size);
        return !fails("parse");
    }
    int getNbErrors() const noexcept override
    {
        return 0;
    }
    bool parseFromFile(char const*, int) noexcept override { unknown(); }
    bool supportsOperator(char const*) const noexcept override { unknown(); }
    nvonnxparser::IParserError const* getError(int) const noexcept override { unknown(); }
    void clearErrors() noexcept override { unknown(); }
    char const* const* getUsedVCPluginLibraries(int64_t&) const noexcept override { unknown(); }
    void setFlags(nvonnxparser::OnnxParserFlags) noexcept override { unknown(); }
    nvonnxparser::OnnxParserFlags getFlags() const noexcept override { unknown(); }
    void clearFlag(nvonnxparser::OnnxParserFlag) noexcept override { unknown(); }
    void setFlag(nvonnxparser::OnnxParserFlag) noexcept override { unknown(); }
    bool getFlag(nvonnxparser::OnnxParserFlag) const noexcept override { unknown(); }
    ITensor const* getLayerOutputTensor(char const*, int64_t) noexcept override { unknown(); }
    bool supportsModelV2(void const*, size_t, char const*) noexcept override { unknown(); }
    int64_t getNbSubgraphs() noexcept override { unknown(); }
    bool isSubgraphSupported(int64_t const) noexcept override { unknown(); }
    int64_t* getSubgraphNodes(int64_t const, int64_t&) noexcept override { unknown(); }
    bool loadModelProto(void const*, size_t, char const*) noexcept override { unknown(); }
    bool loadInitializer(char const*, void const*, size_t) noexcept override { unknown(); }
    bool parseModelProto() noexcept override { unknown(); }
    bool setBuilderConfig(IBuilderConfig const* const) noexcept override { unknown(); }
    void setRefitObserver(nvonnxparser::IRefitterObserver*) noexcept override { unknown(); }
};

} // namespace

extern "C" int32_t getInferLibVersion() noexcept
{
    // There is no logger yet, so a failure is not logged.
    return stand_in_fails("getInferLibVersion") ? 1 : NV_TENSORRT_VERSION;
}

extern "C" int32_t getNvOnnxParserVersion() noexcept
{
    return stand_in_fails("getNvOnnxParserVersion") ? 1 : NV_ONNX_PARSER_VERSION;
}

extern "C" void* createInferBuilder_INTERNAL(void* logger, int32_t version) noexcept
{
    demand(version == NV_TENSORRT_VERSION, "the builder is asked for in another version");
    use_logger(logger);
    return fails("createInferBuilder") ? nullptr : static_cast<IBuilder*>(new Builder);
}

extern "C" void* createInferRuntime_INTERNAL(void* logger, int32_t version) noexcept
{
    demand(version == NV_TENSORRT_VERSION, "the runtime is asked for in another version");
    use_logger(logger);
    return fails("createInferRuntime") ? nullptr : static_cast<IRuntime*>(new Runtime);
}

extern "C" void* createNvOnnxParser_INTERNAL(void*, void* logger, int version) noexcept
{
    demand(version == NV_ONNX_PARSER_VERSION, "the parser is asked for in another version");
    demand(logger == gLogger, "the parser's logger is another than the builder's");
    return fails("createNvOnnxParser") ? nullptr : static_cast<nvonnxparser::IParser*>(new Parser);
}

// A builder with its network, configuration, timing cache and ONNX parser. It builds a plan from any
// model. It demands what NVIDIA's headers, or TensorRT's own messages, demand of a build in the version
// it is compiled as.
//
//   STAND_IN_FLAGS=FILE   appends a line for each build: the precisions that are allowed, `typed`, and `sparse`
#ifndef STAND_IN_BUILDING_H
#define STAND_IN_BUILDING_H

#include <NvInfer.h>
#include <NvOnnxParser.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <thread>
#include <utility>

#include "answers.h"
#include "objects.h"

namespace {

class Memory final : public IHostMemory
{
public:
    explicit Memory(std::string content)
        : mContent(std::move(content))
    {
        mTable.with(&apiv::VHostMemory::data, +[](void* self) { return of(self).data(); });
        mTable.with(&apiv::VHostMemory::size, +[](void* self) { return of(self).mContent.size(); });
        mImpl = mTable.object();
    }
    ~Memory() noexcept override
    {
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
    PartOfBuilder mPart;
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
std::string gModel;

#if STAND_IN_SINCE(10, 0)
IProgressMonitor* gProgress = nullptr;

// Returns false if the caller cancels the build.
bool report_progress()
{
    if (gProgress == nullptr)
    {
        return true;
    }
    gProgress->phaseStart("Building", nullptr, 2);
    bool const goes_on = gProgress->stepComplete("Building", 0);
    gProgress->phaseFinish("Building");
    return goes_on;
}
#endif

Times::~Times() noexcept
{
    demand(gTimes != this || gBuilders == 0, "the times went before the builder that uses them");
}

class Config final : public IBuilderConfig
{
public:
    Config()
    {
        using V = apiv::VBuilderConfig;
        mTable.with(&V::clearFlag, +[](void* self, BuilderFlag flag) { of(self).flags &= ~bit(flag); })
            .with(&V::setFlag, +[](void* self, BuilderFlag flag) { of(self).flags |= bit(flag); })
            .with(&V::setProfilingVerbosity, +[](void*, ProfilingVerbosity) {})
            .with(&V::setDefaultDeviceType, +[](void*, DeviceType) {})
            .with(&V::setDLACore, +[](void*, int32_t) {});
#if STAND_IN_SINCE(8, 4)
        mTable.with(&V::setMemoryPoolLimit, +[](void*, MemoryPoolType, std::size_t) {});
#else
        mTable.with(&V::setMaxWorkspaceSize, +[](void* self, std::size_t size) { of(self).workspace = size; });
#endif
#if STAND_IN_SINCE(8, 6)
        mTable.with(&V::setMaxAuxStreams, &set_auxiliary);
#endif
#if STAND_IN_SINCE(10, 0)
        mTable.with(&V::setProgressMonitor, +[](void*, IProgressMonitor* monitor) { gProgress = monitor; });
#endif
        mTable.with(&V::createTimingCache, &create_timing_cache)
            .with(&V::setTimingCache, &set_timing_cache)
            .with(&V::getTimingCache, +[](void*) -> ITimingCache const* { return gTimes; });
        mImpl = mTable.object();
    }

    // The configuration must be complete for a network of `model`.
    void check(bool typed, std::string const& model) const
    {
        demand(!has(BuilderFlag::kTF32), "float32 layers may be computed in TF32");
#if !STAND_IN_SINCE(8, 4)
        demand(mTable.workspace > 0, "there is no workspace");
#endif
#if STAND_IN_SINCE(8, 6)
        demand(mTable.auxiliary == 0, "an inference may use other streams than the caller's");
#endif
        std::string words;
#if STAND_IN_SINCE(11, 0)
        static_cast<void>(typed);
        static_cast<void>(model);
#else
        bool const fp16 = has(BuilderFlag::kFP16), int8 = has(BuilderFlag::kINT8);
        bool const quantized = model.find("QuantizeLinear") != std::string::npos;
        demand(!typed || (!fp16 && !int8), "a strongly typed network takes no precision flags");
        demand(typed || int8 == quantized, "INT8 must be allowed for a quantized model, and for no other");
        words = std::string(typed ? "typed " : "") + (fp16 ? "fp16 " : "") + (int8 ? "int8 " : "");
#endif
        words += has(BuilderFlag::kSPARSE_WEIGHTS) ? "sparse " : "";
        stand_in_append("STAND_IN_FLAGS", words.c_str());
    }

private:
    struct Named : Table<apiv::VBuilderConfig>
    {
        // TF32 is allowed by default.
        uint32_t flags = 1U << static_cast<uint32_t>(BuilderFlag::kTF32);
        int32_t auxiliary = -1;
        std::size_t workspace = 0;
    };
    static Named& of(void* self)
    {
        return *static_cast<Named*>(self);
    }
    static uint32_t bit(BuilderFlag flag)
    {
        return 1U << static_cast<uint32_t>(flag);
    }
    bool has(BuilderFlag flag) const
    {
        return (mTable.flags & bit(flag)) != 0;
    }
    // Returns nothing before TensorRT 11, and then a bool.
    template <typename Result>
    static Result set_auxiliary(void* self, int32_t count)
    {
        of(self).auxiliary = count;
        return Result(true);
    }
    static ITimingCache* create_timing_cache(void*, void const* blob, std::size_t size)
    {
        std::string const text(static_cast<char const*>(blob == nullptr ? "" : blob), size);
        if (size != 0 && text.compare(0, 6, "times ") != 0)
        {
            say(ILogger::Severity::kERROR, "the times are damaged");
            return nullptr;
        }
        return new Times(size == 0 ? "times 0" : text);
    }
    static bool set_timing_cache(void*, ITimingCache const& cache, bool ignores)
    {
        auto const& times = static_cast<Times const&>(cache);
        demand(!ignores, "times of another device would be used");
        if (times.mBlob == "times of another device")
        {
            say(ILogger::Severity::kERROR, "the times are of another device");
            return false;
        }
        gTimes = &times;
        return true;
    }

    PartOfBuilder mPart;
    Named mTable;
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

class Network final : public INetworkDefinition
{
public:
    explicit Network(NetworkDefinitionCreationFlags flags)
    {
#if STAND_IN_SINCE(11, 0)
        demand(flags == 0, "there are no flags of a network");
#elif STAND_IN_SINCE(10, 0)
        mTyped = flags == 1U << static_cast<uint32_t>(NetworkDefinitionCreationFlag::kSTRONGLY_TYPED);
        demand(mTyped || flags == 0, "the network has unknown flags");
#else
        demand(flags == 1U << static_cast<uint32_t>(NetworkDefinitionCreationFlag::kEXPLICIT_BATCH),
            "the ONNX parser reads networks with an explicit batch only");
#endif
        using V = apiv::VNetworkDefinition;
        stand_in_describe(&mTable.model);
        mTable.with(&V::getNbInputs, +[](void* self) { return int32_t{of(self).model.inputs}; })
            .with(&V::getNbOutputs, +[](void* self) { return int32_t{of(self).model.count - of(self).model.inputs}; })
            .with(&V::getInput, +[](void* self, int32_t index) -> ITensor* { return &of(self).tensors[index]; })
            .with(&V::getOutput, +[](void* self, int32_t index) -> ITensor* {
                return &of(self).tensors[of(self).model.inputs + index];
            });
        mImpl = mTable.object();
    }
    bool typed() const
    {
        return mTyped;
    }
    void check() const
    {
        constexpr auto linear = 1U << static_cast<uint32_t>(TensorFormat::kLINEAR);
        for (int index = 0; index < mTable.model.count; ++index)
        {
            demand(mTable.tensors[index].formats() == linear, "a tensor may have another format than the linear one");
        }
    }

private:
    struct Named : Table<apiv::VNetworkDefinition>
    {
        stand_in_model model;
        IoTensor tensors[MOST_TENSORS];
    };
    static Named& of(void* self)
    {
        return *static_cast<Named*>(self);
    }
    PartOfBuilder mPart;
    Named mTable;
    bool mTyped = false;
};

// Failed calls of the parser report this error, as from a node of the model.
struct ParserError final : Table<nvonnxparser::IParserError>
{
    ParserError()
    {
        using V = nvonnxparser::IParserError;
        with(&V::desc, +[](void*) -> char const* { return "parse was set to fail"; });
        with(&V::node, +[](void*) { return 7; });
#if STAND_IN_SINCE(10, 0)
        with(&V::nodeName, +[](void*) -> char const* { return "a node"; });
        with(&V::nodeOperator, +[](void*) -> char const* { return "Conv"; });
#endif
    }
};

struct Parser final : Table<nvonnxparser::IParser>
{
    Parser()
    {
        using V = nvonnxparser::IParser;
        with(&V::parse, +[](void* self, void const* model, size_t size, char const*) {
            gModel.assign(static_cast<char const*>(model), size);
            Parser& parser = *static_cast<Parser*>(self);
            stand_in_user();
            stand_in_crash(model, size);
            parser.failed = fails("parse");
            return !parser.failed;
        });
        with(&V::getNbErrors, +[](void* self) { return static_cast<Parser*>(self)->failed ? 1 : 0; });
        with(&V::getError, +[](void* self, int) -> nvonnxparser::IParserError const* {
            return static_cast<Parser*>(self)->error.object();
        });
        with_destructor_after(&V::clearErrors, +[](void* self) { delete static_cast<Parser*>(self); });
    }
    PartOfBuilder part;
    ParserError error;
    bool failed = false;
};

IHostMemory* build(void*, INetworkDefinition& definition, IBuilderConfig& config)
{
    auto const& network = static_cast<Network const&>(definition);
    network.check();
    static_cast<Config&>(config).check(network.typed(), gModel);
    // TensorRT logs from its own threads too.
    bool failed = false;
    std::thread([&failed] {
        failed = fails("buildSerializedNetwork");
        char const* const title = STAND_IN_SINCE(10, 0) ? "Layers:" : "Engine Layer Information:";
        say(ILogger::Severity::kVERBOSE, std::string(title) + "\nName: only, LayerType: stand-in");
    }).join();
    if (failed)
    {
        return nullptr;
    }
#if STAND_IN_SINCE(10, 0)
    if (!report_progress())
    {
        return nullptr;
    }
#endif
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
        mTable.with(&V::createNetworkV2, +[](void*, NetworkDefinitionCreationFlags flags) -> INetworkDefinition* {
            return fails("createNetworkV2") ? nullptr : new Network(flags);
        });
        mTable.with(&V::createBuilderConfig, +[](void*) -> IBuilderConfig* {
            return fails("createBuilderConfig") ? nullptr : new Config;
        });
#if !STAND_IN_SINCE(11, 0)
        // A failed query means that INT8 is slow.
        mTable.with(&V::platformHasFastInt8, +[](void*) { return !fails("platformHasFastInt8"); });
#endif
        mTable.with(&V::getNbDLACores, +[](void*) { return int32_t{1}; });
        mTable.with(&V::buildSerializedNetwork, &build);
        mImpl = mTable.object();
        ++gBuilders;
    }
    ~Builder() noexcept override
    {
        demand(gOfBuilder == 0, "the builder went before what it had made");
        // The destructor may still report progress and access the timing cache.
#if STAND_IN_SINCE(10, 0)
        if (gProgress != nullptr)
        {
            gProgress->phaseFinish("Building");
        }
        gProgress = nullptr;
#endif
        if (gTimes != nullptr)
        {
            demand(gTimes->mBlob.compare(0, 6, "times ") == 0, "the times are gone");
        }
        say(ILogger::Severity::kVERBOSE, "the builder is done");
        --gBuilders;
        gTimes = nullptr;
    }

private:
    Table<apiv::VBuilder> mTable;
};

} // namespace

#endif

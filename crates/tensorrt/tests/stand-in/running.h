// A runtime, its engines and their execution contexts, which run on the stand-in for CUDA.
#ifndef STAND_IN_RUNNING_H
#define STAND_IN_RUNNING_H

#include <NvInfer.h>

#include <algorithm>
#include <cstring>

#include "answers.h"
#include "objects.h"

namespace {

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
#if STAND_IN_SINCE(8, 5)
        mTable.with(&V::setTensorAddress, +[](void* self, char const* name, void* address) {
            stand_in_model& model = of(self);
            for (int index = 0; index < model.count; ++index)
            {
                if (std::strcmp(model.tensors[index].name, name) == 0 && !fails("setTensorAddress"))
                {
                    model.bound[index] = address;
                    return true;
                }
            }
            return false;
        });
        mTable.with(&V::enqueueV3,
            +[](void* self, cudaStream_t stream) { return !fails("enqueueV3") && enqueue(of(self), stream); });
#else
        mTable.with(&V::enqueueV2, +[](void* self, void* const* bindings, cudaStream_t stream, cudaEvent_t* consumed) {
            demand(bindings != nullptr && consumed == nullptr, "there are no bindings, or an event");
            std::copy(bindings, bindings + of(self).count, of(self).bound);
            return !fails("enqueueV2") && enqueue(of(self), stream);
        });
#endif
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
    static stand_in_model& of(void* self)
    {
        return static_cast<Named*>(self)->model;
    }
    static bool enqueue(stand_in_model& model, cudaStream_t stream)
    {
        demand(stream != nullptr, "there is no stream");
        for (int index = 0; index < model.count; ++index)
        {
            void* const address = model.bound[index];
            demand(address != nullptr, "a tensor is not bound");
            demand(reinterpret_cast<uintptr_t>(address) % 256 == 0, "an address is not aligned");
        }
        return stand_in_enqueue(&model, stream) == 0;
    }
    Named mTable;
    void const* mEngine;
};

// The engine's table, with what describes its tensors. A failed call returns what an engine of this
// project cannot have: no tensor, no name, no rank, no input, a type or format that is not supported.
struct EngineTable : Table<apiv::VCudaEngine>
{
    using V = apiv::VCudaEngine;

    EngineTable()
    {
        stand_in_describe(&model);
#if STAND_IN_SINCE(8, 5)
        with(&V::getNbIOTensors, +[](void* self) { return int32_t{fails("getNbIOTensors") ? 0 : of(self).count}; });
        with(&V::getIOTensorName, +[](void* self, int32_t index) -> char const* {
            return fails("getIOTensorName") ? nullptr : tensor(self, index).name;
        });
        with(&V::getTensorShape,
            +[](void* self, char const* name) { return shape(find(self, name), fails("getTensorShape")); });
        with(&V::getTensorDataType, +[](void* self, char const* name) {
            return fails("getTensorDataType") ? DataType::kBOOL : static_cast<DataType>(find(self, name).type);
        });
        with(&V::getTensorIOMode, +[](void* self, char const* name) {
            bool const input = &find(self, name) - of(self).tensors < of(self).inputs;
            return fails("getTensorIOMode") ? TensorIOMode::kNONE
                : input                      ? TensorIOMode::kINPUT
                                             : TensorIOMode::kOUTPUT;
        });
        with(&V::getTensorFormat, +[](void*, char const*) {
            return fails("getTensorFormat") ? TensorFormat::kCHW2 : TensorFormat::kLINEAR;
        });
#else
        with(&V::getNbBindings, +[](void* self) { return int32_t{fails("getNbBindings") ? 0 : of(self).count}; });
        with(&V::getBindingName, +[](void* self, int32_t index) -> char const* {
            return fails("getBindingName") ? nullptr : tensor(self, index).name;
        });
        with(&V::getBindingIndex, +[](void* self, char const* name) {
            auto const index = static_cast<int32_t>(&find(self, name) - &tensor(self, 0));
            return fails("getBindingIndex") ? -1 : index;
        });
        with(&V::getBindingDimensions, +[](void* self, int32_t index) {
            return shape(tensor(self, index), fails("getBindingDimensions"));
        });
        with(&V::getBindingDataType, +[](void* self, int32_t index) {
            return fails("getBindingDataType") ? DataType::kBOOL : static_cast<DataType>(tensor(self, index).type);
        });
        with(&V::bindingIsInput, +[](void* self, int32_t index) { return !fails("bindingIsInput") && index < of(self).inputs; });
        with(&V::getBindingFormat, +[](void*, int32_t) {
            return fails("getBindingFormat") ? TensorFormat::kCHW2 : TensorFormat::kLINEAR;
        });
#endif
    }

    static stand_in_model& of(void* self)
    {
        return static_cast<EngineTable*>(self)->model;
    }

    static stand_in_tensor& tensor(void* self, int32_t index)
    {
        demand(index >= 0 && index < of(self).count, "there is no tensor of that number");
        return of(self).tensors[index];
    }

    static stand_in_tensor& find(void* self, char const* name)
    {
        for (int32_t index = 0; index < of(self).count; ++index)
        {
            if (std::strcmp(tensor(self, index).name, name) == 0)
            {
                return tensor(self, index);
            }
        }
        never("a tensor that it does not have was asked for");
    }

    static Dims shape(stand_in_tensor const& tensor, bool failed)
    {
        Dims dims{};
        dims.nbDims = failed ? -1 : tensor.rank;
        std::copy(tensor.dims, tensor.dims + tensor.rank, dims.d);
        return dims;
    }

    stand_in_model model;
};

class Engine final : public ICudaEngine
{
public:
    explicit Engine(void const* runtime)
        : mRuntime(runtime)
    {
        using V = apiv::VCudaEngine;
#if STAND_IN_SINCE(10, 0)
        mTable.with(&V::createExecutionContext,
            +[](void* self, ExecutionContextAllocationStrategy) { return context(self); });
#else
        mTable.with(&V::createExecutionContext, &context);
#endif
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
    static IExecutionContext* context(void* self)
    {
        return fails("createExecutionContext") ? nullptr : new Context(self);
    }
    EngineTable mTable;
    void const* mRuntime;
};

class Runtime final : public IRuntime
{
public:
    Runtime()
    {
        using V = apiv::VRuntime;
        mTable.with(&V::setDLACore, +[](void*, int32_t) {});
#if STAND_IN_SINCE(10, 0)
        // There are others of this name.
        ICudaEngine* (V::*const deserialize)(void const*, std::size_t) = &V::deserializeCudaEngine;
        mTable.with(deserialize,
            +[](void* self, void const* blob, std::size_t size) { return load(self, blob, size); });
#else
        mTable.with(&V::deserializeCudaEngine, +[](void* self, void const* blob, std::size_t size, IPluginFactory*) {
            return load(self, blob, size);
        });
#endif
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
    static ICudaEngine* load(void* self, void const* blob, std::size_t size)
    {
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
    }
    Table<apiv::VRuntime> mTable;
};

} // namespace

#endif

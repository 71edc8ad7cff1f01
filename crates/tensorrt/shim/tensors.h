// The inputs and outputs of an engine, and their addresses.
#ifndef TENSORRT_RS_TENSORS_H
#define TENSORRT_RS_TENSORS_H

#include "product.h"

#include <NvInfer.h>

#include <memory>
#include <new>

namespace {

using namespace nvinfer1;

// Fills all of `tensor` but its type, format and direction.
bool describe_shape(char const* name, Dims const& shape, tensorrt_rs_tensor* tensor)
{
    if (name == nullptr || shape.nbDims < 0 || shape.nbDims > 8)
    {
        return false;
    }
    tensor->name = name;
    tensor->rank = shape.nbDims;
    for (int32_t axis = 0; axis < 8; ++axis)
    {
        tensor->dims[axis] = axis < shape.nbDims ? shape.d[axis] : 0;
    }
    return true;
}

#if SHIM_TENSOR_NAMES

int32_t count_tensors(ICudaEngine const& engine)
{
    return engine.getNbIOTensors();
}

bool describe_tensor(ICudaEngine const& engine, int32_t index, tensorrt_rs_tensor* tensor)
{
    char const* const name = engine.getIOTensorName(index);
    if (name == nullptr || !describe_shape(name, engine.getTensorShape(name), tensor))
    {
        return false;
    }
    tensor->is_input = engine.getTensorIOMode(name) == TensorIOMode::kINPUT ? 1 : 0;
    tensor->type = static_cast<int32_t>(engine.getTensorDataType(name));
    tensor->format = static_cast<int32_t>(engine.getTensorFormat(name));
    return true;
}

// An execution context, which keeps the addresses itself.
class Execution final
{
public:
    explicit Execution(ICudaEngine& engine)
        : mContext(engine.createExecutionContext())
    {
    }

    bool made() const
    {
        return mContext != nullptr;
    }

    bool bind(char const* tensor, void* address)
    {
        return mContext->setTensorAddress(tensor, address);
    }

    bool enqueue(cudaStream_t stream)
    {
        return mContext->enqueueV3(stream);
    }

private:
    std::unique_ptr<IExecutionContext> mContext;
};

#else

// The engines here have one optimisation profile, so each tensor has one binding.
int32_t count_tensors(ICudaEngine const& engine)
{
    return engine.getNbBindings();
}

bool describe_tensor(ICudaEngine const& engine, int32_t index, tensorrt_rs_tensor* tensor)
{
    if (!describe_shape(engine.getBindingName(index), engine.getBindingDimensions(index), tensor))
    {
        return false;
    }
    tensor->is_input = engine.bindingIsInput(index) ? 1 : 0;
    tensor->type = static_cast<int32_t>(engine.getBindingDataType(index));
    tensor->format = static_cast<int32_t>(engine.getBindingFormat(index));
    return true;
}

// An execution context with the addresses of all bindings, which it receives with each inference.
class Execution final
{
public:
    explicit Execution(ICudaEngine& engine)
        : mEngine(&engine)
        , mCount(engine.getNbBindings())
        , mAddresses(mCount < 0 ? nullptr : new (std::nothrow) void*[static_cast<size_t>(mCount)]())
        , mContext(mAddresses ? engine.createExecutionContext() : nullptr)
    {
    }

    bool made() const
    {
        return mContext != nullptr;
    }

    bool bind(char const* tensor, void* address)
    {
        int32_t const index = mEngine->getBindingIndex(tensor);
        if (index < 0 || index >= mCount)
        {
            return false;
        }
        mAddresses[static_cast<size_t>(index)] = address;
        return true;
    }

    bool enqueue(cudaStream_t stream)
    {
        return mContext->enqueueV2(mAddresses.get(), stream, nullptr);
    }

private:
    ICudaEngine* mEngine;
    int32_t mCount;
    std::unique_ptr<void*[]> mAddresses;
    std::unique_ptr<IExecutionContext> mContext;
};

#endif

} // namespace

#endif

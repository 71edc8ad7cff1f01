// The options of a build, for TensorRT's network and builder.
#ifndef TENSORRT_RS_CONFIGURATION_H
#define TENSORRT_RS_CONFIGURATION_H

#include "messages.h"
#include "product.h"

#include <NvInfer.h>

namespace {

using namespace nvinfer1;

#if !SHIM_MEMORY_POOLS
// The limit of the workspace where the caller sets none: the Jetson with the least memory has 2 GiB,
// which the processor uses too.
constexpr size_t kWorkspace = size_t{256} << 20;
#endif

NetworkDefinitionCreationFlags network_flags(tensorrt_rs_build const& build)
{
#if SHIM_SINCE(11, 0)
    static_cast<void>(build);
    return 0;
#elif SHIM_SINCE(10, 0)
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

// The precisions of the layers. Returns TENSORRT_RS_OK or the status of the failure.
int32_t set_precision(
    IBuilder& builder, IBuilderConfig& config, tensorrt_rs_build const& build, tensorrt_rs_error* error)
{
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
#else
    static_cast<void>(builder);
    static_cast<void>(config);
#endif
    return TENSORRT_RS_OK;
}

// Where the layers run. Returns TENSORRT_RS_OK or the status of the failure.
int32_t set_device(IBuilder& builder, IBuilderConfig& config, tensorrt_rs_build const& build, tensorrt_rs_error* error)
{
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

// Applies the options of `build` to the builder's configuration. Returns TENSORRT_RS_OK or the status
// of the failure.
int32_t configure(IBuilder& builder, IBuilderConfig& config, tensorrt_rs_build const& build, tensorrt_rs_error* error)
{
    // Compute float32 layers in float32: TF32 has a mantissa of 10 bits.
    config.clearFlag(BuilderFlag::kTF32);
#if SHIM_AUXILIARY_STREAMS
    // All of an inference's work is on the caller's stream, with its priority.
    config.setMaxAuxStreams(0);
#endif
#if SHIM_MEMORY_POOLS
    if (build.workspace != 0)
    {
        config.setMemoryPoolLimit(MemoryPoolType::kWORKSPACE, build.workspace);
    }
#else
    // The default is 0: kernels that need a workspace would be left out.
    config.setMaxWorkspaceSize(build.workspace == 0 ? kWorkspace : build.workspace);
#endif
    if ((build.flags & TENSORRT_RS_DETAILED) != 0)
    {
        config.setProfilingVerbosity(ProfilingVerbosity::kDETAILED);
    }
    if ((build.flags & TENSORRT_RS_SPARSE_WEIGHTS) != 0)
    {
        // All versions have this flag; its number has changed in TensorRT 10.
        config.setFlag(BuilderFlag::kSPARSE_WEIGHTS);
    }
    int32_t const status = set_precision(builder, config, build, error);
    return status == TENSORRT_RS_OK ? set_device(builder, config, build, error) : status;
}

} // namespace

#endif

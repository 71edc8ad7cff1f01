// A stand-in for TensorRT behind the real shim, of the version of the headers that it is compiled with
// (8.2 to 11). It has the interfaces of NVIDIA's headers, so the shim calls it through the virtual tables
// that it was compiled for. It builds a plan from any model, and a file defines its answers (answers.h).
// Its timings say nothing about a GPU.
//
// It is stricter than TensorRT: it ends the process when an object is used or destroyed in an order
// that NVIDIA's headers do not allow, or when a function is called that it does not implement.
//
//   STAND_IN_FAIL..       see faults.h; a call that fails reports it to the logger
//   STAND_IN_USER=FILE    the parser and the runtime append their user, group and further groups
//   STAND_IN_CRASH_ON=X   the parser ends the process if the model contains X
#include <NvInfer.h>
#include <NvOnnxParser.h>

#include "process.h"

#include "building.h"
#include "objects.h"
#include "running.h"

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
    stand_in_user();
    return fails("createInferRuntime") ? nullptr : static_cast<IRuntime*>(new Runtime);
}

extern "C" void* createNvOnnxParser_INTERNAL(void*, void* logger, int version) noexcept
{
    demand(version == NV_ONNX_PARSER_VERSION, "the parser is asked for in another version");
    demand(logger == gLogger, "the parser's logger is another than the builder's");
    return fails("createNvOnnxParser") ? nullptr : (new Parser)->object();
}

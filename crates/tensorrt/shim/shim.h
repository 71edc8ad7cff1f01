// The C interface of the shim: what stands between Pilotage (Rust) and TensorRT (C++).
//
// TensorRT's interfaces are C++ virtual tables that change with every version. One shim is
// compiled per version, against that version's own headers; this interface stays the same.
// Nothing here links TensorRT or CUDA: the entry points are looked up by the caller and passed in.
// No exception and no C++ object of this side's making crosses the border.
#ifndef PILOTAGE_TENSORRT_SHIM_H
#define PILOTAGE_TENSORRT_SHIM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// Raised whenever anything below changes its meaning or layout.
#define PILOTAGE_SHIM_ABI 1

enum pilotage_product { PILOTAGE_TENSORRT = 0, PILOTAGE_TENSORRT_RTX = 1 };

// What a shim was compiled against.
struct pilotage_shim {
    uint32_t abi;
    int32_t product;          // pilotage_product
    int32_t version;          // as getInferLibVersion gives it
    int32_t parser_version;   // as getNvOnnxParserVersion gives it
    int32_t strongly_typed;   // the precision comes from the model, not from flags
};

enum pilotage_status {
    PILOTAGE_OK = 0,
    PILOTAGE_FAILED = 1,        // TensorRT said no: see pilotage_error
    PILOTAGE_PARSE = 2,         // the ONNX parser said no: node, name and operator are set
    PILOTAGE_NO_FAST_INT8 = 3,  // the device would be slower in INT8 than in FP16
    PILOTAGE_CANCELLED = 4,     // the progress callback asked for it
    PILOTAGE_UNSUPPORTED = 5,   // this version of TensorRT lacks what was asked for
};

// The first error of a call, as text.
struct pilotage_error {
    char message[2048];
    int32_t node;  // index of the ONNX node, -1 where unknown
    char name[256];
    char operator_name[64];
};

// severity: TensorRT's own, 0 internal error, 1 error, 2 warning, 3 info, 4 verbose.
// Called from any thread, several at a time.
typedef void (*pilotage_log)(void* user, int32_t severity, const char* message);

// step of steps in `phase`; steps is 0 when a phase ends. 0 cancels the build.
typedef int32_t (*pilotage_progress)(
    void* user, const char* phase, const char* parent, int32_t step, int32_t steps);

// TensorRT's entry points, as found in its libraries.
struct pilotage_library {
    void* create_builder;  // createInferBuilder_INTERNAL; null with a runtime-only library
    void* create_runtime;  // createInferRuntime_INTERNAL
    void* create_parser;   // createNvOnnxParser_INTERNAL; null where there is no parser
    pilotage_log log;
    void* user;
};

enum pilotage_flags {
    PILOTAGE_FP16 = 1,      // layers may run in FP16 (not where strongly typed)
    PILOTAGE_INT8 = 2,      // layers may run in INT8 (not where strongly typed)
    PILOTAGE_DETAILED = 4,  // the engine keeps the details of its layers for the report
};

struct pilotage_build {
    const void* model;  // ONNX
    size_t model_size;
    uint32_t flags;              // pilotage_flags
    int32_t dla_core;            // -1: none; layers it cannot run fall back to the GPU
    size_t workspace;            // bytes; 0: the library's own choice
    const void* timing_cache;    // of an earlier build, or null
    size_t timing_cache_size;
    const int32_t* compute_capabilities;  // RTX: 75, 86, 120, ...; empty: this machine's
    int32_t compute_capability_count;
    pilotage_progress progress;  // or null
    void* progress_user;
};

// Bytes owned by the library.
struct pilotage_bytes;
struct pilotage_runtime;
struct pilotage_engine;
struct pilotage_context;

struct pilotage_tensor {
    const char* name;    // lives as long as the engine
    int32_t is_input;
    int32_t type;        // nvinfer1::DataType: 0 float, 1 half, 2 int8, 3 int32, 4 bool, 5 uint8
    int32_t format;      // nvinfer1::TensorFormat: 0 is linear
    int32_t rank;
    int64_t dims[8];
};

const struct pilotage_shim* pilotage_shim_describe(void);

// ONNX to a serialized plan. `plan` and `timing_cache` are set only on PILOTAGE_OK;
// `timing_cache` may be null then.
int32_t pilotage_build_plan(const struct pilotage_library* library, const struct pilotage_build* build,
    struct pilotage_bytes** plan, struct pilotage_bytes** timing_cache, struct pilotage_error* error);

const void* pilotage_bytes_data(const struct pilotage_bytes* bytes, size_t* size);
void pilotage_bytes_free(struct pilotage_bytes* bytes);

int32_t pilotage_runtime_new(const struct pilotage_library* library, int32_t dla_core,
    struct pilotage_runtime** runtime, struct pilotage_error* error);
void pilotage_runtime_free(struct pilotage_runtime* runtime);

// The runtime must outlive its engines, an engine its contexts.
int32_t pilotage_engine_new(struct pilotage_runtime* runtime, const void* plan, size_t size,
    struct pilotage_engine** engine, struct pilotage_error* error);
void pilotage_engine_free(struct pilotage_engine* engine);
int32_t pilotage_engine_tensors(const struct pilotage_engine* engine);
int32_t pilotage_engine_tensor(
    const struct pilotage_engine* engine, int32_t index, struct pilotage_tensor* tensor);
// The layers as JSON, through `sink` (once, on success).
int32_t pilotage_engine_report(const struct pilotage_engine* engine,
    void (*sink)(void* user, const char* text), void* user, struct pilotage_error* error);

int32_t pilotage_context_new(
    struct pilotage_engine* engine, struct pilotage_context** context, struct pilotage_error* error);
void pilotage_context_free(struct pilotage_context* context);
// `address` is device memory, aligned to 256 bytes; it must stay until the work is done.
int32_t pilotage_context_bind(struct pilotage_context* context, const char* tensor, void* address,
    struct pilotage_error* error);
// Puts one inference into `stream` (a CUstream) and returns without waiting for it.
int32_t pilotage_context_enqueue(
    struct pilotage_context* context, void* stream, struct pilotage_error* error);

#ifdef __cplusplus
}
#endif
#endif

// The C interface of the shim between Pilotage (Rust) and TensorRT (C++).
//
// TensorRT's interfaces are C++ virtual tables that change with every version. One shim is
// compiled per version, against the headers of that version; this interface stays the same.
// The shim links neither TensorRT nor CUDA: the caller looks up the entry points and passes them.
// No exception crosses the interface, and C++ objects only as pointers to opaque structures.
#ifndef PILOTAGE_TENSORRT_SHIM_H
#define PILOTAGE_TENSORRT_SHIM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// Incremented with every change of meaning or layout below.
#define PILOTAGE_SHIM_ABI 1

enum pilotage_product { PILOTAGE_TENSORRT = 0, PILOTAGE_TENSORRT_RTX = 1 };

// The interface of a shim, and the versions of the headers that it was compiled against.
struct pilotage_shim {
    uint32_t abi;
    int32_t product;          // pilotage_product
    int32_t version;          // as returned by getInferLibVersion
    int32_t parser_version;   // as returned by getNvOnnxParserVersion
    int32_t strongly_typed;   // the precision comes from the model, not from flags
};

enum pilotage_status {
    PILOTAGE_OK = 0,
    PILOTAGE_FAILED = 1,        // a call of TensorRT failed: see pilotage_error
    PILOTAGE_PARSE = 2,         // the ONNX parser failed: node, name and operator are set
    PILOTAGE_NO_FAST_INT8 = 3,  // the device runs INT8 more slowly than FP16
    PILOTAGE_CANCELLED = 4,     // the progress callback cancelled the build
    PILOTAGE_UNSUPPORTED = 5,   // this version of TensorRT or this device lacks the feature
};

// The first error of a call, as text.
struct pilotage_error {
    char message[2048];
    int32_t node;  // index of the ONNX node, -1 if unknown
    char name[256];
    char operator_name[64];
};

// severity is TensorRT's: 0 internal error, 1 error, 2 warning, 3 info, 4 verbose.
// Called from any thread, and from several threads at the same time.
typedef void (*pilotage_log)(void* user, int32_t severity, const char* message);

// Reports that `step` steps of `phase` are done, of `steps`. `steps` is the number of steps at the
// start of a phase, -1 for a step within it, and 0 at its end. The result 0 cancels the build.
typedef int32_t (*pilotage_progress)(
    void* user, const char* phase, const char* parent, int32_t step, int32_t steps);

// TensorRT's entry points, as found in its libraries.
struct pilotage_library {
    void* create_builder;  // createInferBuilder_INTERNAL; null in a runtime-only library
    void* create_runtime;  // createInferRuntime_INTERNAL
    void* create_parser;   // createNvOnnxParser_INTERNAL; null without a parser library
    pilotage_log log;
    void* user;
};

enum pilotage_flags {
    PILOTAGE_FP16 = 1,      // layers may run in FP16 (only if not strongly typed)
    PILOTAGE_INT8 = 2,      // layers may run in INT8 (only if not strongly typed)
    PILOTAGE_DETAILED = 4,  // the engine keeps the details of its layers for the report
};

struct pilotage_build {
    const void* model;  // ONNX
    size_t model_size;
    uint32_t flags;              // pilotage_flags
    int32_t dla_core;            // -1: none; unsupported layers fall back to the GPU
    size_t workspace;            // bytes; 0: the library's default
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

// Builds a serialized plan from ONNX. `plan` and `timing_cache` are set only on PILOTAGE_OK;
// `timing_cache` may be null then.
int32_t pilotage_build_plan(const struct pilotage_library* library, const struct pilotage_build* build,
    struct pilotage_bytes** plan, struct pilotage_bytes** timing_cache, struct pilotage_error* error);

const void* pilotage_bytes_data(const struct pilotage_bytes* bytes, size_t* size);
void pilotage_bytes_free(struct pilotage_bytes* bytes);

int32_t pilotage_runtime_new(const struct pilotage_library* library, int32_t dla_core,
    struct pilotage_runtime** runtime, struct pilotage_error* error);
void pilotage_runtime_free(struct pilotage_runtime* runtime);

// A runtime must outlive its engines, and an engine its contexts.
int32_t pilotage_engine_new(struct pilotage_runtime* runtime, const void* plan, size_t size,
    struct pilotage_engine** engine, struct pilotage_error* error);
void pilotage_engine_free(struct pilotage_engine* engine);
int32_t pilotage_engine_tensors(const struct pilotage_engine* engine);
int32_t pilotage_engine_tensor(
    const struct pilotage_engine* engine, int32_t index, struct pilotage_tensor* tensor);
// Passes the layers as JSON to `sink`, which is called once on success.
int32_t pilotage_engine_report(const struct pilotage_engine* engine,
    void (*sink)(void* user, const char* text), void* user, struct pilotage_error* error);

int32_t pilotage_context_new(
    struct pilotage_engine* engine, struct pilotage_context** context, struct pilotage_error* error);
void pilotage_context_free(struct pilotage_context* context);
// `address` is device memory, aligned to 256 bytes. It must stay valid until the work is done.
int32_t pilotage_context_bind(struct pilotage_context* context, const char* tensor, void* address,
    struct pilotage_error* error);
// Enqueues one inference on `stream` (a CUstream) and returns without waiting for it.
int32_t pilotage_context_enqueue(
    struct pilotage_context* context, void* stream, struct pilotage_error* error);

#ifdef __cplusplus
}
#endif
#endif

// The C interface of the shim between tensorrt-rs (Rust) and TensorRT (C++).
//
// TensorRT's interfaces are C++ virtual tables that change with every version. One shim is
// compiled per version, against the headers of that version; this interface stays the same.
// The shim links neither TensorRT nor CUDA: the caller looks up the entry points and passes them.
// No exception crosses the interface, and C++ objects only as pointers to opaque structures.
#ifndef TENSORRT_RS_SHIM_H
#define TENSORRT_RS_SHIM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// Incremented with every change of meaning or layout below.
#define TENSORRT_RS_SHIM_ABI 3

enum tensorrt_rs_product { TENSORRT_RS_TENSORRT = 0, TENSORRT_RS_RTX = 1 };

// Where a layer's precision comes from.
enum tensorrt_rs_typing {
    TENSORRT_RS_BY_FLAGS = 0,  // the build's flags: TensorRT before 10
    TENSORRT_RS_EITHER = 1,    // as TENSORRT_RS_STRONGLY_TYPED says: TensorRT 10
    TENSORRT_RS_BY_MODEL = 2,  // the model's types: TensorRT 11 and later, and TensorRT-RTX
};

// The interface of a shim, and the versions of the headers that it was compiled against.
struct tensorrt_rs_shim {
    uint32_t abi;
    int32_t product;          // tensorrt_rs_product
    int32_t version;          // as returned by getInferLibVersion
    int32_t parser_version;   // as returned by getNvOnnxParserVersion
    int32_t typing;           // tensorrt_rs_typing
};

enum tensorrt_rs_status {
    TENSORRT_RS_OK = 0,
    TENSORRT_RS_FAILED = 1,        // a call of TensorRT failed: see tensorrt_rs_error
    TENSORRT_RS_PARSE = 2,         // the ONNX parser failed: node, name and operator are set
    TENSORRT_RS_NO_FAST_INT8 = 3,  // the device runs INT8 more slowly than FP16
    TENSORRT_RS_CANCELLED = 4,     // the progress callback cancelled the build
    TENSORRT_RS_UNSUPPORTED = 5,   // this version of TensorRT or this device lacks the feature
};

// The first error of a call, as text.
struct tensorrt_rs_error {
    char message[2048];
    int32_t node;  // index of the ONNX node, -1 if unknown
    char name[256];
    char operator_name[64];
};

// severity is TensorRT's: 0 internal error, 1 error, 2 warning, 3 info, 4 verbose.
// Called from any thread, and from several threads at the same time.
typedef void (*tensorrt_rs_log)(void* user, int32_t severity, const char* message);

// Reports that `step` steps of `phase` are done, of `steps`. `steps` is the number of steps at the
// start of a phase, -1 for a step within it, and 0 at its end. The result 0 cancels the build.
typedef int32_t (*tensorrt_rs_progress)(
    void* user, const char* phase, const char* parent, int32_t step, int32_t steps);

// TensorRT's entry points, as found in its libraries.
struct tensorrt_rs_library {
    void* create_builder;  // createInferBuilder_INTERNAL; null in a runtime-only library
    void* create_runtime;  // createInferRuntime_INTERNAL
    void* create_parser;   // createNvOnnxParser_INTERNAL; null without a parser library
    tensorrt_rs_log log;
    void* user;
};

enum tensorrt_rs_flags {
    TENSORRT_RS_FP16 = 1,            // layers may run in FP16 (only if not strongly typed)
    TENSORRT_RS_INT8 = 2,            // the model is quantized; devices without fast INT8 are refused
    TENSORRT_RS_DETAILED = 4,        // the engine keeps the details of its layers for the report
    TENSORRT_RS_STRONGLY_TYPED = 8,  // each layer runs in the model's types (TENSORRT_RS_EITHER only)
    TENSORRT_RS_SPARSE_WEIGHTS = 16,  // layers may skip zeros if 2 of 4 weights along the inputs are 0
};

struct tensorrt_rs_build {
    const void* model;  // ONNX
    size_t model_size;
    uint32_t flags;              // tensorrt_rs_flags
    int32_t dla_core;            // -1: none; unsupported layers fall back to the GPU
    size_t workspace;            // bytes; 0: the library's default
    const void* timing_cache;    // of an earlier build, or null
    size_t timing_cache_size;
    const int32_t* compute_capabilities;  // RTX: 75, 86, 120, ...; empty: this machine's
    int32_t compute_capability_count;
    tensorrt_rs_progress progress;  // or null
    void* progress_user;
};

// Bytes owned by the library.
struct tensorrt_rs_bytes;
struct tensorrt_rs_runtime;
struct tensorrt_rs_engine;
struct tensorrt_rs_context;

struct tensorrt_rs_tensor {
    const char* name;    // lives as long as the engine
    int32_t is_input;
    int32_t type;        // nvinfer1::DataType: 0 float, 1 half, 2 int8, 3 int32, 4 bool, 5 uint8
    int32_t format;      // nvinfer1::TensorFormat: 0 is linear
    int32_t rank;
    int64_t dims[8];
};

const struct tensorrt_rs_shim* tensorrt_rs_shim_describe(void);

// Builds a serialized plan from ONNX. `plan` and `timing_cache` are set only on TENSORRT_RS_OK;
// `timing_cache` may be null then.
int32_t tensorrt_rs_build_plan(const struct tensorrt_rs_library* library, const struct tensorrt_rs_build* build,
    struct tensorrt_rs_bytes** plan, struct tensorrt_rs_bytes** timing_cache, struct tensorrt_rs_error* error);

const void* tensorrt_rs_bytes_data(const struct tensorrt_rs_bytes* bytes, size_t* size);
void tensorrt_rs_bytes_free(struct tensorrt_rs_bytes* bytes);

int32_t tensorrt_rs_runtime_new(const struct tensorrt_rs_library* library, int32_t dla_core,
    struct tensorrt_rs_runtime** runtime, struct tensorrt_rs_error* error);
void tensorrt_rs_runtime_free(struct tensorrt_rs_runtime* runtime);

// A runtime must outlive its engines, and an engine its contexts.
int32_t tensorrt_rs_engine_new(struct tensorrt_rs_runtime* runtime, const void* plan, size_t size,
    struct tensorrt_rs_engine** engine, struct tensorrt_rs_error* error);
void tensorrt_rs_engine_free(struct tensorrt_rs_engine* engine);
int32_t tensorrt_rs_engine_tensors(const struct tensorrt_rs_engine* engine);
int32_t tensorrt_rs_engine_tensor(
    const struct tensorrt_rs_engine* engine, int32_t index, struct tensorrt_rs_tensor* tensor);
// Passes the layers as JSON to `sink`, which is called once on success.
int32_t tensorrt_rs_engine_report(const struct tensorrt_rs_engine* engine,
    void (*sink)(void* user, const char* text), void* user, struct tensorrt_rs_error* error);

int32_t tensorrt_rs_context_new(
    struct tensorrt_rs_engine* engine, struct tensorrt_rs_context** context, struct tensorrt_rs_error* error);
void tensorrt_rs_context_free(struct tensorrt_rs_context* context);
// `address` is device memory, aligned to 256 bytes. It must stay valid until the work is done.
int32_t tensorrt_rs_context_bind(struct tensorrt_rs_context* context, const char* tensor, void* address,
    struct tensorrt_rs_error* error);
// Enqueues one inference on `stream` (a CUstream) and returns without waiting for it.
int32_t tensorrt_rs_context_enqueue(
    struct tensorrt_rs_context* context, void* stream, struct tensorrt_rs_error* error);

#ifdef __cplusplus
}
#endif
#endif

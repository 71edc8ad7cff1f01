/* A stand-in for TensorRT and its shim, for tests on machines without a GPU: it builds a plan from
   any model, and a file defines its answers. Its timings say nothing about a GPU.

   VERSION (when compiled)  the version that the library reports
   SHIM_VERSION             the version that the shim is for, 10.3.0 without it
   STAND_IN_DRIVER          inferences run on a real CUDA driver (driver.h)
   STAND_IN_SLOW_INT8=1     the device has no fast INT8
   STAND_IN_FLAGS=FILE      appends the flags of each build
   and the variables of answers.h */
#include "answers.h"
#include "shim.h"

#ifndef SHIM_VERSION
#define SHIM_VERSION 100300
#endif

int getInferLibVersion(void) { return VERSION; }
int getNvOnnxParserVersion(void) { return 1000; }
void *createInferBuilder_INTERNAL(void *logger, int version) { (void)logger, (void)version; abort(); }
void *createInferRuntime_INTERNAL(void *logger, int version) { (void)logger, (void)version; abort(); }
void *createNvOnnxParser_INTERNAL(void *network, void *logger, int version) { (void)network, (void)logger, (void)version; abort(); }

static const struct tensorrt_rs_shim about = {TENSORRT_RS_SHIM_ABI, TENSORRT_RS_TENSORRT, SHIM_VERSION, 1000,
    SHIM_VERSION < 100000 ? TENSORRT_RS_BY_FLAGS : TENSORRT_RS_EITHER};

struct tensorrt_rs_bytes { size_t size; char data[]; };
struct tensorrt_rs_runtime { char empty; };
struct tensorrt_rs_engine { struct stand_in_model model; };
struct tensorrt_rs_context { struct stand_in_model model; };

const struct tensorrt_rs_shim *tensorrt_rs_shim_describe(void) { return &about; }

static int fail(struct tensorrt_rs_error *error, const char *name)
{
    memset(error, 0, sizeof *error);
    error->node = -1;
    if (!stand_in_fails(name)) return TENSORRT_RS_OK;
    snprintf(error->message, sizeof error->message, "%s was set to fail", name);
    return TENSORRT_RS_FAILED;
}

int32_t tensorrt_rs_build_plan(const struct tensorrt_rs_library *library, const struct tensorrt_rs_build *build,
    struct tensorrt_rs_bytes **plan, struct tensorrt_rs_bytes **times, struct tensorrt_rs_error *error)
{
    *plan = *times = NULL;
    if (fail(error, "build_plan")) return TENSORRT_RS_FAILED;
    if ((build->flags & TENSORRT_RS_STRONGLY_TYPED) != 0 && (build->flags & TENSORRT_RS_FP16) != 0)
        return TENSORRT_RS_UNSUPPORTED;
    const char* const flags = getenv("STAND_IN_FLAGS");
    if (flags != NULL) {
        FILE* const file = fopen(flags, "a");
        if (file != NULL) {
            fprintf(file, "%u\n", build->flags);
            fclose(file);
        }
    }
    if ((build->flags & TENSORRT_RS_INT8) != 0 && getenv("STAND_IN_SLOW_INT8") != NULL) return TENSORRT_RS_NO_FAST_INT8;
    if (build->progress != NULL) {
        build->progress(build->progress_user, "Building", NULL, 0, 2);
        build->progress(build->progress_user, "Building", NULL, 1, -1);
        build->progress(build->progress_user, "Building", NULL, 0, 0);
    }
    if (library->log != NULL) library->log(library->user, 4, "Layers:\nName: only, LayerType: stand-in");
    *plan = malloc(sizeof **plan + sizeof stand_in_plan + build->model_size);
    (*plan)->size = sizeof stand_in_plan + build->model_size;
    memcpy((*plan)->data, stand_in_plan, sizeof stand_in_plan);
    memcpy((*plan)->data + sizeof stand_in_plan, build->model, build->model_size);
    /* The size shows a test whether the timing cache of an earlier build was passed. */
    *times = calloc(1, sizeof **times + build->timing_cache_size + 1);
    (*times)->size = build->timing_cache_size + 1;
    return TENSORRT_RS_OK;
}

const void *tensorrt_rs_bytes_data(const struct tensorrt_rs_bytes *bytes, size_t *size) { *size = bytes->size; return bytes->data; }
void tensorrt_rs_bytes_free(struct tensorrt_rs_bytes *bytes) { free(bytes); }

int32_t tensorrt_rs_runtime_new(const struct tensorrt_rs_library *library, int32_t dla_core,
    struct tensorrt_rs_runtime **runtime, struct tensorrt_rs_error *error)
{
    (void)library, (void)dla_core;
    if (fail(error, "runtime_new")) return TENSORRT_RS_FAILED;
    *runtime = malloc(sizeof **runtime);
    return TENSORRT_RS_OK;
}
void tensorrt_rs_runtime_free(struct tensorrt_rs_runtime *runtime) { free(runtime); }

int32_t tensorrt_rs_engine_new(struct tensorrt_rs_runtime *runtime, const void *plan, size_t size,
    struct tensorrt_rs_engine **engine, struct tensorrt_rs_error *error)
{
    (void)runtime;
    if (fail(error, "engine_new")) return TENSORRT_RS_FAILED;
    if (size < sizeof stand_in_plan || memcmp(plan, stand_in_plan, sizeof stand_in_plan) != 0) {
        snprintf(error->message, sizeof error->message, "this is no plan");
        return TENSORRT_RS_FAILED;
    }
    *engine = calloc(1, sizeof **engine);
    stand_in_describe(&(*engine)->model);
    return TENSORRT_RS_OK;
}
void tensorrt_rs_engine_free(struct tensorrt_rs_engine *engine) { free(engine); }
int32_t tensorrt_rs_engine_tensors(const struct tensorrt_rs_engine *engine) { return engine->model.count; }
int32_t tensorrt_rs_engine_tensor(const struct tensorrt_rs_engine *engine, int32_t index, struct tensorrt_rs_tensor *tensor)
{
    const struct stand_in_tensor *known = &engine->model.tensors[index];
    *tensor = (struct tensorrt_rs_tensor){.name = known->name, .is_input = index < engine->model.inputs, .type = known->type, .rank = known->rank};
    for (int axis = 0; axis < known->rank; axis++) tensor->dims[axis] = known->dims[axis];
    return TENSORRT_RS_OK;
}
int32_t tensorrt_rs_engine_report(const struct tensorrt_rs_engine *engine, void (*sink)(void *, const char *),
    void *user, struct tensorrt_rs_error *error)
{
    (void)engine;
    if (fail(error, "engine_report")) return TENSORRT_RS_FAILED;
    sink(user, "{}");
    return TENSORRT_RS_OK;
}

int32_t tensorrt_rs_context_new(struct tensorrt_rs_engine *engine, struct tensorrt_rs_context **context, struct tensorrt_rs_error *error)
{
    if (fail(error, "context_new")) return TENSORRT_RS_FAILED;
    *context = calloc(1, sizeof **context);
    (*context)->model = engine->model;
    return TENSORRT_RS_OK;
}
void tensorrt_rs_context_free(struct tensorrt_rs_context *context) { free(context); }
int32_t tensorrt_rs_context_bind(struct tensorrt_rs_context *context, const char *name, void *address, struct tensorrt_rs_error *error)
{
    if (fail(error, "context_bind")) return TENSORRT_RS_FAILED;
    for (int i = 0; i < context->model.count; i++) {
        if (strcmp(name, context->model.tensors[i].name) == 0) {
            context->model.bound[i] = address;
            return TENSORRT_RS_OK;
        }
    }
    return TENSORRT_RS_FAILED;
}

int32_t tensorrt_rs_context_enqueue(struct tensorrt_rs_context *context, void *stream, struct tensorrt_rs_error *error)
{
    if (fail(error, "context_enqueue")) return TENSORRT_RS_FAILED;
    return stand_in_enqueue(&context->model, stream) == 0 ? TENSORRT_RS_OK : TENSORRT_RS_FAILED;
}

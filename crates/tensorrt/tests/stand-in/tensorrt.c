/* A stand-in for TensorRT and its shim, for tests on machines without a GPU: it builds a plan from
   any model, and a file defines its answers. Its timings say nothing about a GPU.

   VERSION (when compiled)  the version that the library reports; the shim is for 10.3.0
   STAND_IN_SLOW_INT8=1     the device has no fast INT8
   and the variables of answers.h */
#include "answers.h"
#include "shim.h"

int getInferLibVersion(void) { return VERSION; }
int getNvOnnxParserVersion(void) { return 1000; }
void *createInferBuilder_INTERNAL(void *logger, int version) { (void)logger, (void)version; abort(); }
void *createInferRuntime_INTERNAL(void *logger, int version) { (void)logger, (void)version; abort(); }
void *createNvOnnxParser_INTERNAL(void *network, void *logger, int version) { (void)network, (void)logger, (void)version; abort(); }

static const struct pilotage_shim about = {PILOTAGE_SHIM_ABI, PILOTAGE_TENSORRT, 100300, 1000, 0};

struct pilotage_bytes { size_t size; char data[]; };
struct pilotage_runtime { char empty; };
struct pilotage_engine { struct stand_in_model model; };
struct pilotage_context { struct stand_in_model model; };

const struct pilotage_shim *pilotage_shim_describe(void) { return &about; }

static int fail(struct pilotage_error *error, const char *name)
{
    memset(error, 0, sizeof *error);
    error->node = -1;
    if (!stand_in_fails(name)) return PILOTAGE_OK;
    snprintf(error->message, sizeof error->message, "%s was set to fail", name);
    return PILOTAGE_FAILED;
}

int32_t pilotage_build_plan(const struct pilotage_library *library, const struct pilotage_build *build,
    struct pilotage_bytes **plan, struct pilotage_bytes **times, struct pilotage_error *error)
{
    *plan = *times = NULL;
    if (fail(error, "build_plan")) return PILOTAGE_FAILED;
    if ((build->flags & PILOTAGE_INT8) != 0 && getenv("STAND_IN_SLOW_INT8") != NULL) return PILOTAGE_NO_FAST_INT8;
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
    return PILOTAGE_OK;
}

const void *pilotage_bytes_data(const struct pilotage_bytes *bytes, size_t *size) { *size = bytes->size; return bytes->data; }
void pilotage_bytes_free(struct pilotage_bytes *bytes) { free(bytes); }

int32_t pilotage_runtime_new(const struct pilotage_library *library, int32_t dla_core,
    struct pilotage_runtime **runtime, struct pilotage_error *error)
{
    (void)library, (void)dla_core;
    if (fail(error, "runtime_new")) return PILOTAGE_FAILED;
    *runtime = malloc(sizeof **runtime);
    return PILOTAGE_OK;
}
void pilotage_runtime_free(struct pilotage_runtime *runtime) { free(runtime); }

int32_t pilotage_engine_new(struct pilotage_runtime *runtime, const void *plan, size_t size,
    struct pilotage_engine **engine, struct pilotage_error *error)
{
    (void)runtime;
    if (fail(error, "engine_new")) return PILOTAGE_FAILED;
    if (size < sizeof stand_in_plan || memcmp(plan, stand_in_plan, sizeof stand_in_plan) != 0) {
        snprintf(error->message, sizeof error->message, "this is no plan");
        return PILOTAGE_FAILED;
    }
    *engine = calloc(1, sizeof **engine);
    stand_in_describe(&(*engine)->model);
    return PILOTAGE_OK;
}
void pilotage_engine_free(struct pilotage_engine *engine) { free(engine); }
int32_t pilotage_engine_tensors(const struct pilotage_engine *engine) { (void)engine; return 2; }
int32_t pilotage_engine_tensor(const struct pilotage_engine *engine, int32_t index, struct pilotage_tensor *tensor)
{
    const struct stand_in_tensor *known = &engine->model.tensors[index];
    *tensor = (struct pilotage_tensor){.name = known->name, .is_input = index == 0, .type = known->type, .rank = known->rank};
    for (int axis = 0; axis < known->rank; axis++) tensor->dims[axis] = known->dims[axis];
    return PILOTAGE_OK;
}
int32_t pilotage_engine_report(const struct pilotage_engine *engine, void (*sink)(void *, const char *),
    void *user, struct pilotage_error *error)
{
    (void)engine;
    if (fail(error, "engine_report")) return PILOTAGE_FAILED;
    sink(user, "{}");
    return PILOTAGE_OK;
}

int32_t pilotage_context_new(struct pilotage_engine *engine, struct pilotage_context **context, struct pilotage_error *error)
{
    if (fail(error, "context_new")) return PILOTAGE_FAILED;
    *context = calloc(1, sizeof **context);
    (*context)->model = engine->model;
    return PILOTAGE_OK;
}
void pilotage_context_free(struct pilotage_context *context) { free(context); }
int32_t pilotage_context_bind(struct pilotage_context *context, const char *name, void *address, struct pilotage_error *error)
{
    if (fail(error, "context_bind")) return PILOTAGE_FAILED;
    context->model.bound[strcmp(name, context->model.tensors[0].name) != 0] = address;
    return PILOTAGE_OK;
}

int32_t pilotage_context_enqueue(struct pilotage_context *context, void *stream, struct pilotage_error *error)
{
    if (fail(error, "context_enqueue")) return PILOTAGE_FAILED;
    return stand_in_enqueue(&context->model, stream) == 0 ? PILOTAGE_OK : PILOTAGE_FAILED;
}

/* A stand-in for libcuda.so.1, for tests on machines without a GPU: a driver with one device. The
   device's memory is the processor's, and its work runs as soon as it is enqueued. The stand-in
   computes nothing itself. Its timings say nothing about a GPU.

   CUDA_10_2 (when compiled)   it is the driver of CUDA 10.2, whose functions have older names
   STAND_IN_INTEGRATED=0   the device does not share the processor's memory
   STAND_IN_CODE=N         the code of a failed call; there are texts for 2 and 999 only
   STAND_IN_LOG=FILE       the file that lists freed memory, contexts and created streams
   STAND_IN_NO_DEVICE=1    there is a driver, and no device
   STAND_IN_LATE_MS=N      work is finished N ms after it was enqueued
   and the variables of faults.h; while their file names `late`, no work finishes */
#include "faults.h"

#ifdef CUDA_10_2
#define DRIVER_VERSION 10020
#else
#define DRIVER_VERSION 12060
#endif

enum { SUCCESS = 0, OUT_OF_MEMORY = 2, NO_DEVICE = 100, NOT_READY = 600, UNKNOWN = 999 };

static int code(void)
{
    const char *wanted = getenv("STAND_IN_CODE");
    return wanted == NULL ? UNKNOWN : atoi(wanted);
}

/* The error that every call returns after a kernel has run: the only kernel is driver.h's. */
enum { LAUNCH_FAILED = 719 };
static int sticky;

#define CALL(name) do { if (stand_in_fails(#name)) return code(); if (sticky != SUCCESS) return sticky; } while (0)

/* Logs a call that frees something. A call that fails frees nothing and is not logged. */
#define BACK(name) do { CALL(name); stand_in_append("STAND_IN_LOG", #name); } while (0)

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e3 + t.tv_nsec * 1e-6;
}

/* Work runs when it is enqueued on a stream, or is recorded while the stream is captured. */
struct step { void (*run)(void *); void *with; void *to; const void *from; size_t size; };
struct graph { int count; struct step steps[16]; };
struct stream { int priority; struct graph *capturing; };
struct event { double at; };

/* The number of live objects of each kind. */
static int contexts, pinned, memory, streams, events, graphs, recorded;
#define MORE(count) __atomic_add_fetch(&count, 1, __ATOMIC_RELAXED)
#define LESS(count) __atomic_sub_fetch(&count, 1, __ATOMIC_RELAXED)

__attribute__((destructor)) static void left(void)
{
    stand_in_left("contexts", contexts);
    stand_in_left("pinned", pinned);
    stand_in_left("memory", memory);
    stand_in_left("streams", streams);
    stand_in_left("events", events);
    stand_in_left("graphs", graphs);
    stand_in_left("recorded", recorded);
}

static void work(const struct step *step)
{
    if (step->run != NULL) step->run(step->with);
    else memcpy(step->to, step->from, step->size);
}
static int put(struct stream *stream, struct step step)
{
    struct graph *graph = stream->capturing;
    if (graph == NULL) work(&step);
    else if (graph->count == 16) return OUT_OF_MEMORY;
    else graph->steps[graph->count++] = step;
    return SUCCESS;
}
/* For the stand-in for TensorRT. */
int stand_in_launch(void (*run)(void *), void *with, void *stream) { return put(stream, (struct step){.run = run, .with = with}); }

static char primary, module, kernel;

int cuLaunchHostFunc(void *stream, void (*run)(void *), void *with)
{
    CALL(cuLaunchHostFunc);
    return put(stream, (struct step){.run = run, .with = with});
}
int cuModuleLoadData(void **to, const void *image) { (void)image; CALL(cuModuleLoadData); *to = &module; return SUCCESS; }
int cuModuleGetFunction(void **to, void *of, const char *name)
{
    (void)name;
    CALL(cuModuleGetFunction);
    if (of != &module) abort();
    *to = &kernel;
    return SUCCESS;
}
int cuLaunchKernel(void *function, unsigned x, unsigned y, unsigned z, unsigned threads_x, unsigned threads_y,
    unsigned threads_z, unsigned shared, void *stream, void **parameters, void **extra)
{
    (void)x, (void)y, (void)z, (void)threads_x, (void)threads_y, (void)threads_z, (void)shared, (void)stream;
    CALL(cuLaunchKernel);
    if (function != &kernel || parameters != NULL || extra != NULL) abort();
    sticky = LAUNCH_FAILED;
    return SUCCESS;
}
int cuCtxGetDevice(int *device) { CALL(cuCtxGetDevice); *device = 0; return SUCCESS; }

int cuInit(unsigned flags)
{
    (void)flags;
    CALL(cuInit);
    /* The real driver returns this when there is no device. */
    return getenv("STAND_IN_NO_DEVICE") == NULL ? SUCCESS : NO_DEVICE;
}
int cuDriverGetVersion(int *version) { CALL(cuDriverGetVersion); *version = DRIVER_VERSION; return SUCCESS; }
int cuDeviceGetCount(int *count) { *count = stand_in_fails("cuDeviceGetCount") ? 0 : 1; return SUCCESS; }
int cuDeviceGet(int *device, int ordinal) { CALL(cuDeviceGet); *device = ordinal; return SUCCESS; }
int cuDeviceGetName(char *name, int size, int device)
{
    (void)device;
    CALL(cuDeviceGetName);
    strncpy(name, "stand-in", size);
    return SUCCESS;
}
int cuDeviceGetAttribute(int *value, int attribute, int device)
{
    (void)device;
    CALL(cuDeviceGetAttribute);
    const char *integrated = getenv("STAND_IN_INTEGRATED");
    switch (attribute) {
    case 75: *value = 8; break;  /* compute capability, major */
    case 76: *value = 7; break;  /* minor */
    case 16: *value = 8; break;        /* multiprocessors */
    case 38: *value = 2 << 20; break;  /* bytes of L2 cache */
    case 18: *value = integrated == NULL || *integrated != '0'; break;
    default: *value = 0;
    }
    return SUCCESS;
}
int cuDevicePrimaryCtxRetain(void **context, int device)
{
    (void)device;
    CALL(cuDevicePrimaryCtxRetain);
    *context = &primary;
    MORE(contexts);
    return SUCCESS;
}
#ifdef CUDA_10_2
int cuDevicePrimaryCtxRelease(int device)
{
    (void)device;
    BACK(cuDevicePrimaryCtxRelease);
    LESS(contexts);
    return SUCCESS;
}
#else
int cuDevicePrimaryCtxRelease_v2(int device)
{
    (void)device;
    BACK(cuDevicePrimaryCtxRelease_v2);
    LESS(contexts);
    return SUCCESS;
}
#endif
int cuCtxSetCurrent(void *context) { (void)context; CALL(cuCtxSetCurrent); return SUCCESS; }

/* Aligned to 256 bytes, as by the real driver. */
static int take(void **to, size_t size, int *count)
{
    *to = aligned_alloc(256, (size + 255) / 256 * 256);
    if (*to == NULL) return OUT_OF_MEMORY;
    MORE(*count);
    return SUCCESS;
}
int cuMemHostAlloc(void **to, size_t size, unsigned flags)
{
    (void)flags;
    if (stand_in_fails("cuMemHostAlloc")) return OUT_OF_MEMORY;
    return take(to, size, &pinned);
}
int cuMemFreeHost(void *it) { BACK(cuMemFreeHost); LESS(pinned); free(it); return SUCCESS; }
int cuMemHostGetDevicePointer_v2(void **device, void *host, unsigned flags)
{
    (void)flags;
    CALL(cuMemHostGetDevicePointer_v2);
    *device = host;
    return SUCCESS;
}
int cuMemAlloc_v2(void **to, size_t size)
{
    if (stand_in_fails("cuMemAlloc_v2")) return OUT_OF_MEMORY;
    return take(to, size, &memory);
}
int cuMemFree_v2(void *it) { BACK(cuMemFree_v2); LESS(memory); free(it); return SUCCESS; }
int cuMemcpyHtoDAsync_v2(void *to, const void *from, size_t size, void *stream)
{
    CALL(cuMemcpyHtoDAsync_v2);
    return put(stream, (struct step){.to = to, .from = from, .size = size});
}
int cuMemcpyDtoHAsync_v2(void *to, const void *from, size_t size, void *stream)
{
    CALL(cuMemcpyDtoHAsync_v2);
    return put(stream, (struct step){.to = to, .from = from, .size = size});
}

int cuCtxGetStreamPriorityRange(int *least, int *greatest)
{
    CALL(cuCtxGetStreamPriorityRange);
    *least = 0;
    *greatest = -5;
    return SUCCESS;
}
int cuStreamCreateWithPriority(void **stream, unsigned flags, int priority)
{
    char line[64];
    (void)flags;
    CALL(cuStreamCreateWithPriority);
    struct stream *made = calloc(1, sizeof *made);
    made->priority = priority;
    *stream = made;
    MORE(streams);
    snprintf(line, sizeof line, "a stream of priority %d", priority);
    stand_in_append("STAND_IN_LOG", line);
    return SUCCESS;
}
int cuStreamDestroy_v2(void *stream) { CALL(cuStreamDestroy_v2); LESS(streams); free(stream); return SUCCESS; }

int cuStreamBeginCapture_v2(void *to, int mode)
{
    struct stream *stream = to;
    (void)mode;
    CALL(cuStreamBeginCapture_v2);
    stream->capturing = calloc(1, sizeof(struct graph));
    MORE(graphs);
    return SUCCESS;
}
int cuStreamEndCapture(void *of, void **graph)
{
    struct stream *stream = of;
    *graph = stream->capturing;
    stream->capturing = NULL;
    CALL(cuStreamEndCapture);
    return SUCCESS;
}
static int instantiate(void **exec, const void *graph)
{
    *exec = malloc(sizeof(struct graph));
    memcpy(*exec, graph, sizeof(struct graph));
    MORE(recorded);
    return SUCCESS;
}
#ifdef CUDA_10_2
int cuGraphInstantiate(void **exec, void *graph, void **node, char *text, size_t size)
{
    CALL(cuGraphInstantiate);
    /* The caller asks for neither the node of an error nor a text of it. */
    if (node != NULL || text != NULL || size != 0) abort();
    return instantiate(exec, graph);
}
#else
int cuGraphInstantiateWithFlags(void **exec, void *graph, unsigned long long flags)
{
    (void)flags;
    CALL(cuGraphInstantiateWithFlags);
    return instantiate(exec, graph);
}
#endif
int cuGraphDestroy(void *graph) { CALL(cuGraphDestroy); LESS(graphs); free(graph); return SUCCESS; }
int cuGraphExecDestroy(void *exec) { CALL(cuGraphExecDestroy); LESS(recorded); free(exec); return SUCCESS; }
int cuGraphLaunch(void *exec, void *stream)
{
    (void)stream;
    CALL(cuGraphLaunch);
    const struct graph *graph = exec;
    for (int i = 0; i < graph->count; i++) work(&graph->steps[i]);
    return SUCCESS;
}

int cuEventCreate(void **event, unsigned flags)
{
    (void)flags;
    CALL(cuEventCreate);
    *event = calloc(1, sizeof(struct event));
    MORE(events);
    return SUCCESS;
}
int cuEventDestroy_v2(void *event) { CALL(cuEventDestroy_v2); LESS(events); free(event); return SUCCESS; }
int cuEventRecord(void *event, void *stream)
{
    (void)stream;
    CALL(cuEventRecord);
    const char *late = getenv("STAND_IN_LATE_MS");
    ((struct event *)event)->at = now() + (late == NULL ? 0 : atof(late));
    return SUCCESS;
}
int cuEventQuery(void *event)
{
    CALL(cuEventQuery);
    return stand_in_fails("late") || now() < ((struct event *)event)->at ? NOT_READY : SUCCESS;
}
int cuEventElapsedTime(float *milliseconds, void *from, void *to)
{
    CALL(cuEventElapsedTime);
    *milliseconds = (float)(((struct event *)to)->at - ((struct event *)from)->at);
    return SUCCESS;
}

/* For an unknown code the driver returns INVALID_VALUE and no text. */
int cuGetErrorName(int error, const char **name)
{
    *name = error == OUT_OF_MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY" : error == UNKNOWN ? "CUDA_ERROR_UNKNOWN" : NULL;
    return *name == NULL ? 1 : SUCCESS;
}
int cuGetErrorString(int error, const char **text)
{
    *text = error == OUT_OF_MEMORY ? "out of memory" : error == UNKNOWN ? "unknown error" : NULL;
    return *text == NULL ? 1 : SUCCESS;
}

/* A stand-in for libcuda.so, for tests on machines without a GPU: a driver of one device whose
   memory is the processor's own and whose work is done when it is asked for. It computes nothing
   itself. No figure of it is ever a GPU's.

   STAND_IN_INTEGRATED=0   the device does not share the processor's memory
   STAND_IN_FAIL=NAME      the call of that name fails; of NAME:N the Nth alone
   STAND_IN_FAIL_FILE=FILE so does the one that FILE names at that moment; `late`: no work is ever done
   STAND_IN_CODE=N         what it says then; the driver has words for 2 and 999 only
   STAND_IN_LOG=FILE       each thing given back is written there
   STAND_IN_NO_DEVICE=1    there is a driver, and no device
   STAND_IN_LATE_MS=N      work is done N ms after it was begun */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SUCCESS = 0, OUT_OF_MEMORY = 2, NO_DEVICE = 100, NOT_READY = 600, UNKNOWN = 999 };

static int fails(const char *name)
{
    static int calls;
    const char *wanted = getenv("STAND_IN_FAIL");
    const char *path = getenv("STAND_IN_FAIL_FILE");
    size_t length = strlen(name);
    char named[64] = "";
    FILE *file = path == NULL ? NULL : fopen(path, "r");
    if (file != NULL) {
        if (fgets(named, sizeof named, file) == NULL) named[0] = 0;
        fclose(file);
    }
    if (strcmp(named, name) == 0) return 1;
    if (wanted == NULL || strncmp(wanted, name, length) != 0) return 0;
    if (wanted[length] == ':') return ++calls == atoi(wanted + length + 1);
    return wanted[length] == 0;
}

static int code(void)
{
    const char *wanted = getenv("STAND_IN_CODE");
    return wanted == NULL ? UNKNOWN : atoi(wanted);
}

#define CALL(name) if (fails(#name)) return code()

static void note(const char *name)
{
    const char *path = getenv("STAND_IN_LOG");
    FILE *file = path == NULL ? NULL : fopen(path, "a");
    if (file == NULL) return;
    fprintf(file, "%s\n", name);
    fclose(file);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e3 + t.tv_nsec * 1e-6;
}

/* Work is done when it is put into a stream, or recorded where that is being captured. */
struct step { void (*run)(void *); void *with; void *to; const void *from; size_t size; };
struct graph { int count; struct step steps[16]; };
static struct graph *capturing;

static void work(const struct step *step)
{
    if (step->run != NULL) step->run(step->with);
    else memcpy(step->to, step->from, step->size);
}
static int put(struct step step)
{
    if (capturing == NULL) work(&step);
    else if (capturing->count == 16) return OUT_OF_MEMORY;
    else capturing->steps[capturing->count++] = step;
    return SUCCESS;
}
/* For the stand-in of TensorRT. */
int stand_in_launch(void (*run)(void *), void *with) { return put((struct step){.run = run, .with = with}); }

static char primary;

int cuInit(unsigned flags)
{
    (void)flags;
    CALL(cuInit);
    /* What the real one says where there is a driver and no device. */
    return getenv("STAND_IN_NO_DEVICE") == NULL ? SUCCESS : NO_DEVICE;
}
int cuDriverGetVersion(int *version) { CALL(cuDriverGetVersion); *version = 12060; return SUCCESS; }
int cuDeviceGetCount(int *count) { *count = fails("cuDeviceGetCount") ? 0 : 1; return SUCCESS; }
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
    return SUCCESS;
}
int cuDevicePrimaryCtxRelease_v2(int device) { (void)device; note(__func__); return SUCCESS; }
int cuCtxSetCurrent(void *context) { (void)context; CALL(cuCtxSetCurrent); return SUCCESS; }

/* Lines of 256 bytes, as the real one gives them. */
static int take(void **memory, size_t size)
{
    *memory = aligned_alloc(256, (size + 255) / 256 * 256);
    return *memory == NULL ? OUT_OF_MEMORY : SUCCESS;
}
int cuMemHostAlloc(void **memory, size_t size, unsigned flags)
{
    (void)flags;
    if (fails("cuMemHostAlloc")) return OUT_OF_MEMORY;
    return take(memory, size);
}
int cuMemFreeHost(void *memory) { note(__func__); free(memory); return SUCCESS; }
int cuMemHostGetDevicePointer_v2(void **device, void *host, unsigned flags)
{
    (void)flags;
    CALL(cuMemHostGetDevicePointer_v2);
    *device = host;
    return SUCCESS;
}
int cuMemAlloc_v2(void **memory, size_t size)
{
    if (fails("cuMemAlloc_v2")) return OUT_OF_MEMORY;
    return take(memory, size);
}
int cuMemFree_v2(void *memory) { note(__func__); free(memory); return SUCCESS; }
int cuMemcpyHtoDAsync_v2(void *to, const void *from, size_t size, void *stream)
{
    (void)stream;
    CALL(cuMemcpyHtoDAsync_v2);
    return put((struct step){.to = to, .from = from, .size = size});
}
int cuMemcpyDtoHAsync_v2(void *to, const void *from, size_t size, void *stream)
{
    (void)stream;
    CALL(cuMemcpyDtoHAsync_v2);
    return put((struct step){.to = to, .from = from, .size = size});
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
    (void)flags, (void)priority;
    CALL(cuStreamCreateWithPriority);
    *stream = malloc(1);
    return SUCCESS;
}
int cuStreamDestroy_v2(void *stream) { free(stream); return SUCCESS; }

int cuStreamBeginCapture_v2(void *stream, int mode)
{
    (void)stream, (void)mode;
    CALL(cuStreamBeginCapture_v2);
    capturing = calloc(1, sizeof *capturing);
    return SUCCESS;
}
int cuStreamEndCapture(void *stream, void **graph)
{
    (void)stream;
    *graph = capturing;
    capturing = NULL;
    CALL(cuStreamEndCapture);
    return SUCCESS;
}
int cuGraphInstantiateWithFlags(void **exec, void *graph, unsigned long long flags)
{
    (void)flags;
    CALL(cuGraphInstantiateWithFlags);
    *exec = malloc(sizeof(struct graph));
    memcpy(*exec, graph, sizeof(struct graph));
    return SUCCESS;
}
int cuGraphDestroy(void *graph) { free(graph); return SUCCESS; }
int cuGraphExecDestroy(void *exec) { free(exec); return SUCCESS; }
int cuGraphLaunch(void *exec, void *stream)
{
    (void)stream;
    CALL(cuGraphLaunch);
    const struct graph *graph = exec;
    for (int i = 0; i < graph->count; i++) work(&graph->steps[i]);
    return SUCCESS;
}

int cuEventCreate(void **event, unsigned flags) { (void)flags; CALL(cuEventCreate); *event = calloc(1, sizeof(double)); return SUCCESS; }
int cuEventDestroy_v2(void *event) { free(event); return SUCCESS; }
int cuEventRecord(void *event, void *stream)
{
    (void)stream;
    CALL(cuEventRecord);
    const char *late = getenv("STAND_IN_LATE_MS");
    *(double *)event = now() + (late == NULL ? 0 : atof(late));
    return SUCCESS;
}
int cuEventQuery(void *event)
{
    CALL(cuEventQuery);
    return fails("late") || now() < *(double *)event ? NOT_READY : SUCCESS;
}
int cuEventElapsedTime(float *milliseconds, void *from, void *to)
{
    CALL(cuEventElapsedTime);
    *milliseconds = (float)(*(double *)to - *(double *)from);
    return SUCCESS;
}

/* A driver has no words for what it does not know: INVALID_VALUE, and no text. */
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

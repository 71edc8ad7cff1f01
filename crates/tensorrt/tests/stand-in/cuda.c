/* A stand-in for libcuda.so, for tests on machines without a GPU: a driver of one device whose
   memory is the processor's own and whose work is done when it is asked for. It computes nothing
   itself. No figure of it is ever a GPU's.

   STAND_IN_INTEGRATED=0   the device does not share the processor's memory
   STAND_IN_FAIL=NAME      the call of that name fails
   STAND_IN_LATE_MS=N      work is done N ms after it was begun */
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SUCCESS = 0, OUT_OF_MEMORY = 2, NO_DEVICE = 100, NOT_READY = 600, UNKNOWN = 999 };

static int fails(const char *name)
{
    const char *wanted = getenv("STAND_IN_FAIL");
    return wanted != NULL && strcmp(wanted, name) == 0;
}

#define CALL(name) if (fails(#name)) return UNKNOWN

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e3 + t.tv_nsec * 1e-6;
}

static double ready;

int cuInit(unsigned flags) { (void)flags; CALL(cuInit); return SUCCESS; }
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
    *context = &ready;
    return SUCCESS;
}
int cuDevicePrimaryCtxRelease_v2(int device) { (void)device; return SUCCESS; }
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
int cuMemFreeHost(void *memory) { free(memory); return SUCCESS; }
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
int cuMemFree_v2(void *memory) { free(memory); return SUCCESS; }
int cuMemcpyHtoDAsync_v2(void *to, const void *from, size_t size, void *stream)
{
    (void)stream;
    CALL(cuMemcpyHtoDAsync_v2);
    memcpy(to, from, size);
    return SUCCESS;
}
int cuMemcpyDtoHAsync_v2(void *to, const void *from, size_t size, void *stream)
{
    (void)stream;
    CALL(cuMemcpyDtoHAsync_v2);
    memcpy(to, from, size);
    return SUCCESS;
}

int cuStreamCreate(void **stream, unsigned flags) { (void)flags; CALL(cuStreamCreate); *stream = malloc(1); return SUCCESS; }
int cuStreamDestroy_v2(void *stream) { free(stream); return SUCCESS; }
int cuEventCreate(void **event, unsigned flags) { (void)flags; CALL(cuEventCreate); *event = malloc(1); return SUCCESS; }
int cuEventDestroy_v2(void *event) { free(event); return SUCCESS; }
int cuEventRecord(void *event, void *stream)
{
    (void)event, (void)stream;
    CALL(cuEventRecord);
    const char *late = getenv("STAND_IN_LATE_MS");
    ready = now() + (late == NULL ? 0 : atof(late));
    return SUCCESS;
}
int cuEventQuery(void *event)
{
    (void)event;
    CALL(cuEventQuery);
    return now() < ready ? NOT_READY : SUCCESS;
}

int cuGetErrorName(int error, const char **name)
{
    *name = error == OUT_OF_MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY" : "CUDA_ERROR_UNKNOWN";
    return SUCCESS;
}
int cuGetErrorString(int error, const char **text)
{
    *text = error == OUT_OF_MEMORY ? "out of memory" : "unknown error";
    return SUCCESS;
}

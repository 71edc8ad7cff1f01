/* The inference of the stand-in for TensorRT on a CUDA driver, as work on its stream: the input is copied
   to pinned memory, a host function computes the answer, and that is copied back. The answer is the sum
   of the input's elements, then how often an inference was enqueued, which a graph's replay does not do.
   An input that begins with 127 takes SLOW_MS.

   STAND_IN_TRAP=N   with the Nth inference a kernel runs that ends in a trap */
#ifndef STAND_IN_DRIVER_H
#define STAND_IN_DRIVER_H

enum { SLOW_MS = 300, COMPUTE_CAPABILITY_MAJOR = 75, COMPUTE_CAPABILITY_MINOR = 76 };

typedef unsigned long long device_address;

/* A function of the driver, which is loaded before. */
static void *stand_in_driver(const char *name)
{
    void *function = dlsym(dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD), name);
    if (function == NULL) {
        fprintf(stderr, "the driver has no %s\n", name);
        abort();
    }
    return function;
}
#define DRIVER(name, ...) ((int (*)(__VA_ARGS__))stand_in_driver(#name))

/* PTX, which the driver compiles. Newer drivers accept no old devices in it, and old ones no new devices. */
static const char *stand_in_ptx(void)
{
    int device = 0, major = 0, minor = 0;
    DRIVER(cuCtxGetDevice, int *)(&device);
    DRIVER(cuDeviceGetAttribute, int *, int, int)(&major, COMPUTE_CAPABILITY_MAJOR, device);
    DRIVER(cuDeviceGetAttribute, int *, int, int)(&minor, COMPUTE_CAPABILITY_MINOR, device);
    return major * 10 + minor >= 75
        ? ".version 6.3\n.target sm_75\n.address_size 64\n.visible .entry stop() { trap; }\n"
        : ".version 6.3\n.target sm_50\n.address_size 64\n.visible .entry stop() { trap; }\n";
}

static int stand_in_trap(void *stream)
{
    void *module, *kernel;
    int status = DRIVER(cuModuleLoadData, void **, const void *)(&module, stand_in_ptx());
    if (status == 0) status = DRIVER(cuModuleGetFunction, void **, void *, const char *)(&kernel, module, "stop");
    if (status == 0)
        status = DRIVER(cuLaunchKernel, void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,
            unsigned, void *, void **, void **)(kernel, 1, 1, 1, 1, 1, 1, 0, stream, NULL, NULL);
    return status;
}

static void stand_in_sum(void *with)
{
    const struct stand_in_model *model = with;
    const signed char *in = model->pinned[0];
    float *out = model->pinned[1];
    out[0] = 0;
    for (size_t i = 0; i < stand_in_elements(&model->tensors[0]); i++) out[0] += in[i];
    out[1] = (float)model->enqueued;
    if (in[0] == 127) stand_in_pause(SLOW_MS);
}

/* Aside from the first, which takes the pinned memory, it may run while the stream is captured. */
static int stand_in_enqueue(struct stand_in_model *model, void *stream)
{
    const char *trap = getenv("STAND_IN_TRAP");
    size_t in = stand_in_elements(&model->tensors[0]), out = 2 * sizeof(float);
    device_address from = (device_address)(uintptr_t)model->bound[0], to = (device_address)(uintptr_t)model->bound[model->inputs];
    int status = 0;
    if (model->pinned[0] == NULL) {
        status = DRIVER(cuMemHostAlloc, void **, size_t, unsigned)(&model->pinned[0], in, 0);
        if (status == 0) status = DRIVER(cuMemHostAlloc, void **, size_t, unsigned)(&model->pinned[1], out, 0);
    }
    model->enqueued++;
    if (status == 0 && trap != NULL && model->enqueued == atoi(trap)) status = stand_in_trap(stream);
    if (status == 0)
        status = DRIVER(cuMemcpyDtoHAsync_v2, void *, device_address, size_t, void *)(model->pinned[0], from, in, stream);
    if (status == 0)
        status = DRIVER(cuLaunchHostFunc, void *, void (*)(void *), void *)(stream, stand_in_sum, model);
    if (status == 0)
        status = DRIVER(cuMemcpyHtoDAsync_v2, device_address, const void *, size_t, void *)(to, model->pinned[1], out, stream);
    if (status != 0) fprintf(stderr, "the driver's status for inference %d is %d\n", model->enqueued, status);
    return status;
}
#endif

/* The answers of the stand-ins for TensorRT, which a file defines.

   STAND_IN_ANSWERS=FILE    text: `INPUT TYPE RANK SIZES.. OUTPUT TYPE RANK SIZES..`, then for each
                            input `HASH NUMBERS..` (FNV-1a, 64 bits, hexadecimal)
   STAND_IN_ASK=SOCKET      the answers come from this socket instead: the stand-in sends the
                            input's bytes and receives the numbers
   and the variables of faults.h */
#ifndef STAND_IN_ANSWERS_H
#define STAND_IN_ANSWERS_H

#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "faults.h"

struct stand_in_tensor { char name[64]; int type; int rank; long dims[8]; };
/* `pinned` and `enqueued` are those of driver.h. */
struct stand_in_model { struct stand_in_tensor tensors[2]; void *bound[2]; void *pinned[2]; int enqueued; };

static const char stand_in_plan[] = "stand-in plan";

/* An input, then an output. */
static void stand_in_describe(struct stand_in_model *model)
{
    FILE *answers = fopen(getenv("STAND_IN_ANSWERS"), "r");
    memset(model, 0, sizeof *model);
    for (int i = 0; i < 2; i++) {
        struct stand_in_tensor *tensor = &model->tensors[i];
        if (fscanf(answers, "%63s %d %d", tensor->name, &tensor->type, &tensor->rank) != 3) abort();
        for (int axis = 0; axis < tensor->rank; axis++) if (fscanf(answers, "%ld", &tensor->dims[axis]) != 1) abort();
    }
    fclose(answers);
}

static size_t stand_in_elements(const struct stand_in_tensor *tensor)
{
    size_t count = 1;
    for (int axis = 0; axis < tensor->rank; axis++) count *= (size_t)tensor->dims[axis];
    return count;
}

/* Sends the input to the server at STAND_IN_ASK, and receives the output. */
static void stand_in_ask(const void *input, size_t in, void *output, size_t out)
{
    static int line = -1;
    if (line < 0) {
        struct sockaddr_un address;
        memset(&address, 0, sizeof address);
        address.sun_family = AF_UNIX;
        strncpy(address.sun_path, getenv("STAND_IN_ASK"), sizeof address.sun_path - 1);
        line = socket(AF_UNIX, SOCK_STREAM, 0);
        if (connect(line, (struct sockaddr *)&address, sizeof address) != 0) abort();
    }
    for (size_t done = 0; done < in;) {
        ssize_t count = write(line, (const char *)input + done, in - done);
        if (count <= 0) abort();
        done += (size_t)count;
    }
    for (size_t done = 0; done < out;) {
        ssize_t count = read(line, (char *)output + done, out - done);
        if (count <= 0) abort();
        done += (size_t)count;
    }
}

static void stand_in_answer(void *with)
{
    struct stand_in_model *model = (struct stand_in_model *)with;
    size_t bytes = stand_in_elements(&model->tensors[0]) * (model->tensors[0].type == 2 ? 1 : 4);
    size_t numbers = stand_in_elements(&model->tensors[1]);
    const unsigned char *in = (const unsigned char *)model->bound[0];
    float *out = (float *)model->bound[1];
    if (getenv("STAND_IN_ASK") != NULL) {
        stand_in_ask(in, bytes, out, numbers * sizeof(float));
        return;
    }
    unsigned long long hash = 0xcbf29ce484222325ULL, known = 0;
    for (size_t i = 0; i < bytes; i++) hash = (hash ^ in[i]) * 0x100000001b3ULL;
    FILE *answers = fopen(getenv("STAND_IN_ANSWERS"), "r");
    if (fscanf(answers, "%*[^\n]") < 0) abort();
    while (fscanf(answers, "%llx", &known) == 1) {
        for (size_t i = 0; i < numbers; i++) if (fscanf(answers, "%f", &out[i]) != 1) abort();
        if (known == hash) break;
    }
    fclose(answers);
    /* The answer to an unknown input is far from any right one. */
    if (known != hash) for (size_t i = 0; i < numbers; i++) out[i] = 1e9f;
}

#ifdef STAND_IN_DRIVER
#include "driver.h"
#else
/* Enqueues the inference on the stand-in for CUDA, which runs it, or records it during a capture. */
static int stand_in_enqueue(struct stand_in_model *model, void *stream)
{
    int (*launch)(void (*)(void *), void *, void *);
    void *cuda = dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);
    *(void **)&launch = dlsym(cuda, "stand_in_launch");
    return launch(stand_in_answer, model, stream);
}
#endif
#endif

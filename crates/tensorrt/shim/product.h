// Which product and version these headers are of, and what follows from it.
#ifndef TENSORRT_RS_PRODUCT_H
#define TENSORRT_RS_PRODUCT_H

#include "shim.h"

#include <NvInferVersion.h>

// Only the headers of TensorRT-RTX define TRT_MAJOR_RTX without TRT_MAJOR_ENTERPRISE.
#if defined(TRT_MAJOR_RTX) && !defined(TRT_MAJOR_ENTERPRISE)
#define SHIM_RTX 1
#else
#define SHIM_RTX 0
#endif

// TensorRT of this version or a later one. The first version of RTX followed TensorRT 10.
#define SHIM_SINCE(major, minor)                                                                                       \
    (SHIM_RTX || NV_TENSORRT_MAJOR > (major) || (NV_TENSORRT_MAJOR == (major) && NV_TENSORRT_MINOR >= (minor)))

#if !SHIM_SINCE(8, 2)
#error "TensorRT 8.2 (JetPack 4.6.1) is the first version that can be used"
#endif

// Where a layer's precision comes from. TensorRT 10.0 added networks that are strongly typed, 10.12
// deprecated the flags, 11 removed them, and RTX never had them.
#if SHIM_SINCE(11, 0)
#define SHIM_TYPING TENSORRT_RS_BY_MODEL
#define SHIM_FLAGS 0
#elif SHIM_SINCE(10, 0)
#define SHIM_TYPING TENSORRT_RS_EITHER
#define SHIM_FLAGS 1
#else
#define SHIM_TYPING TENSORRT_RS_BY_FLAGS
#define SHIM_FLAGS 1
#endif

// Inputs and outputs have names. Before, they have numbers, and are bound all at once.
#define SHIM_TENSOR_NAMES SHIM_SINCE(8, 5)
// Limits of memory for each purpose. Before, there is one of the workspace, and it is 0.
#define SHIM_MEMORY_POOLS SHIM_SINCE(8, 4)
#define SHIM_AUXILIARY_STREAMS SHIM_SINCE(8, 6)
#define SHIM_PROGRESS SHIM_SINCE(10, 0)  // IProgressMonitor: not in the available headers of 8.5 and 8.6
#define SHIM_NODE_NAMES SHIM_SINCE(10, 0)
#define SHIM_TIMING_CACHE !SHIM_RTX  // RTX compiles its kernels later, on the device.

#endif

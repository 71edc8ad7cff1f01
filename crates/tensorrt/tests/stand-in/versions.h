// The version of TensorRT that the stand-in is compiled as, by its headers. It is decided here anew, and
// not as the shim decides it.
#ifndef STAND_IN_VERSIONS_H
#define STAND_IN_VERSIONS_H

#include <NvInferVersion.h>

#define STAND_IN_SINCE(major, minor)                                                                                   \
    (NV_TENSORRT_MAJOR * 100 + NV_TENSORRT_MINOR >= (major) * 100 + (minor))

#endif

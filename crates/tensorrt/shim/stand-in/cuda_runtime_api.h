// A stand-in for CUDA's header of this name: TensorRT's headers use only these two names of it.
// The shim can so be compiled without a CUDA toolkit. The header of an installed toolkit takes
// precedence.
#ifndef TENSORRT_RS_CUDA_STAND_IN
#define TENSORRT_RS_CUDA_STAND_IN
typedef struct CUstream_st* cudaStream_t;
typedef struct CUevent_st* cudaEvent_t;
#endif

// A stand-in for CUDA's header of that name: TensorRT's headers want only these two names of it.
// It lets the shim be compiled where no CUDA toolkit is. Where there is one, its header is used.
#ifndef PILOTAGE_CUDA_STAND_IN
#define PILOTAGE_CUDA_STAND_IN
typedef struct CUstream_st* cudaStream_t;
typedef struct CUevent_st* cudaEvent_t;
#endif

// Types of the driver's memory mapping without its header; tests/cuda/abi.c compares them. Included through cuda/cuda.h.
#ifndef TS_CUDA_DRIVER_ABI_H
#define TS_CUDA_DRIVER_ABI_H

typedef unsigned long long CUmemHandle;  // CUmemGenericAllocationHandle
typedef struct CUmemProp_st {            // CUmemAllocationProp
  int type, handles, place, device;
  void *meta;
  unsigned char flags[8];
} CUmemProp;
typedef struct CUmemAccess_st {  // CUmemAccessDesc
  int place, device, flags;
} CUmemAccess;
enum { TS_CU_MEM_PINNED = 1, TS_CU_MEM_ON_DEVICE = 1, TS_CU_MEM_READ_WRITE = 3, TS_CU_MEM_LEAST = 0 };

#endif

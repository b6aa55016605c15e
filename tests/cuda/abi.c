// The layouts and numbers that src/cuda uses of NVIDIA's interfaces without their headers, against the headers of a toolkit. ORDER: activity.c,
// blas.c
#include <cublasLt.h>
#include <cuda.h>
#include <cupti.h>
#include <cupti_range_profiler.h>
#include <cupti_target.h>
#include <stddef.h>

#include "cuda/cupti_abi.h"
#include "cuda/driver_abi.h"

#define SAME(a, b) _Static_assert((a) == (b), #a)
SAME(offsetof(CUpti_ActivityKernel9, kind), 0);
SAME(offsetof(CUpti_ActivityKernel9, start), 16);
SAME(offsetof(CUpti_ActivityKernel9, end), 24);
SAME(offsetof(CUpti_ActivityKernel9, name), 104);
SAME(CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL, 10);
SAME(CUPTI_ACTIVITY_FLAG_FLUSH_FORCED, 1);
#if CUPTI_API_VERSION >= 130000
SAME(offsetof(CUpti_ActivityKernel10, start), 16);
SAME(offsetof(CUpti_ActivityKernel10, end), 24);
SAME(offsetof(CUpti_ActivityKernel10, name), 104);
#endif
SAME(sizeof(cublasLtMatmulHeuristicResult_t), 96);
SAME(offsetof(cublasLtMatmulHeuristicResult_t, workspaceSize), 64);
SAME(offsetof(cublasLtMatmulHeuristicResult_t, state), 72);
SAME(CUBLAS_COMPUTE_32F, 68);
SAME(CUDA_R_32F, 0);
SAME(CUDA_R_16F, 2);
SAME(CUDA_R_16BF, 14);
SAME(CUBLASLT_MATMUL_DESC_TRANSA, 3);
SAME(CUBLAS_OP_T, 1);
SAME(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, 1);
SAME(sizeof(CUmemProp), sizeof(CUmemAllocationProp));
SAME(offsetof(CUmemProp, place), offsetof(CUmemAllocationProp, location.type));
SAME(offsetof(CUmemProp, device), offsetof(CUmemAllocationProp, location.id));
SAME(offsetof(CUmemProp, meta), offsetof(CUmemAllocationProp, win32HandleMetaData));
SAME(offsetof(CUmemProp, flags), offsetof(CUmemAllocationProp, allocFlags));
SAME(sizeof(CUmemAccess), sizeof(CUmemAccessDesc));
SAME(offsetof(CUmemAccess, flags), offsetof(CUmemAccessDesc, flags));
SAME(sizeof(CUmemHandle), sizeof(CUmemGenericAllocationHandle));
SAME((int)TS_CU_MEM_PINNED, (int)CU_MEM_ALLOCATION_TYPE_PINNED);
SAME((int)TS_CU_MEM_ON_DEVICE, (int)CU_MEM_LOCATION_TYPE_DEVICE);
SAME((int)TS_CU_MEM_READ_WRITE, (int)CU_MEM_ACCESS_FLAGS_PROT_READWRITE);
SAME((int)TS_CU_MEM_LEAST, (int)CU_MEM_ALLOC_GRANULARITY_MINIMUM);
// Sizes as the macros count them, to the end of the last field.
SAME(sizeof(profiler_initialize), CUpti_Profiler_Initialize_Params_STRUCT_SIZE);
SAME(sizeof(chip_name), CUpti_Device_GetChipName_Params_STRUCT_SIZE);
SAME(sizeof(counter_availability), CUpti_Profiler_GetCounterAvailability_Params_STRUCT_SIZE);
SAME(sizeof(range_enable), CUpti_RangeProfiler_Enable_Params_STRUCT_SIZE);
SAME(offsetof(range_enable, range), offsetof(CUpti_RangeProfiler_Enable_Params, pRangeProfilerObject));
SAME(sizeof(range_object), CUpti_RangeProfiler_Start_Params_STRUCT_SIZE);
SAME(offsetof(range_config, target_level) + 2, CUpti_RangeProfiler_SetConfig_Params_STRUCT_SIZE);
SAME(offsetof(range_config, mode), offsetof(CUpti_RangeProfiler_SetConfig_Params, range));
SAME(offsetof(range_config, levels), offsetof(CUpti_RangeProfiler_SetConfig_Params, numNestingLevels));
SAME(offsetof(range_stop, all) + 1, CUpti_RangeProfiler_Stop_Params_STRUCT_SIZE);
SAME(sizeof(range_info), CUpti_RangeProfiler_GetCounterDataInfo_Params_STRUCT_SIZE);
SAME(offsetof(range_info, ranges), offsetof(CUpti_RangeProfiler_GetCounterDataInfo_Params, numTotalRanges));
SAME(sizeof(range_decode), CUpti_RangeProfiler_DecodeData_Params_STRUCT_SIZE);
SAME(sizeof(range_data_size), CUpti_RangeProfiler_GetCounterDataSize_Params_STRUCT_SIZE);
SAME(offsetof(range_data_size, nodes), offsetof(CUpti_RangeProfiler_GetCounterDataSize_Params, maxNumRangeTreeNodes));
SAME(sizeof(range_data), CUpti_RangeProfiler_CounterDataImage_Initialize_Params_STRUCT_SIZE);
SAME((int)RANGE_OF_KERNEL, (int)CUPTI_AutoRange);
SAME((int)REPLAY_BY_USER, (int)CUPTI_UserReplay);

int main(void) { return 0; }

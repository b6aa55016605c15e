// The layouts and numbers that src/cuda uses of NVIDIA's interfaces without their headers, against the headers of a toolkit. ORDER: activity.c,
// blas.c
#include <cublasLt.h>
#include <cuda.h>
#include <cupti.h>
#include <stddef.h>

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

int main(void) { return 0; }

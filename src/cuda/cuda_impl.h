// Shared inside cuda: a vendor's library in the place of launches (blas.c).
#ifndef TS_CUDA_IMPL_H
#define TS_CUDA_IMPL_H

#include "cuda/cuda.h"

// What the image of kind library says, one line:
//   gemm y b2 f32 x b0 f16 w b1 f16 rows EXPR cols N inner K add 0|1 choice C
// y[rows, N] = x[rows, K] . w[N, K]^T, added to y when add is 1; the choice-th of what the library thinks best, from 0.
typedef struct ts__gemm {
  int y, x, w;              // buffers
  int y_type, xw_type;      // as the library numbers them
  const char *rows;
  int64_t cols, inner;
  bool add;
  int choice;
} ts__gemm;
bool ts__gemm_read(ts_arena *a, const ts_gpu_code *c, ts__gemm *out, ts_diag *d) TS_WARN_UNUSED;

// The product at one number of rows; made once, issued with any buffers. ENVIRONMENT no-cublaslt; refusal "no-algorithm".
typedef struct ts__blas ts__blas;
ts__blas *ts__blas_new(const ts__gemm *g, int64_t rows, int64_t workspace_bytes, ts_diag *d) TS_WARN_UNUSED;
void ts__blas_free(ts__blas *b);  // accepts NULL
bool ts__blas_issue(const ts__blas *b, const CUdeviceptr *buf, CUdeviceptr workspace, CUstream stream, ts_diag *d) TS_WARN_UNUSED;

#endif

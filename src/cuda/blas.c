// Products by cuBLASLt, so that its kernels can be measured beside ours.
#include <stdlib.h>

#include "cuda/cuda_impl.h"

// Source: cublasLt.h, cublas_api.h, library_types.h. ORDER: tests/cuda/abi.c
enum { COMPUTE_32F = 68, REAL_32F = 0, REAL_16F = 2, REAL_16BF = 14, TRANS_A = 3, OP_T = 1, MAX_WORKSPACE = 1, MOST_CHOICES = 16 };
typedef struct found {  // cublasLtMatmulHeuristicResult_t
  uint64_t algo[8];
  size_t workspace;
  int state;
  float waves;
  int reserved[4];
} found;

struct ts__blas {
  const ts_cuda_cublaslt *lt;
  ts__gemm g;
  void *desc, *lw, *lx, *ly;
  found best;
};

// One a process: it belongs to the context that is current at the first use.
static bool the_handle(const ts_cuda_cublaslt **lt, cublasLtHandle *handle, ts_diag *d) {
  static cublasLtHandle one;
  *lt = ts_cuda_cublaslt_open(d);
  if (!*lt) return false;
  int r = one ? 0 : (*lt)->cublasLtCreate(&one);
  *handle = one;
  return r == 0 || ts_env_fail(d, "cublaslt-error", "cuBLASLt does not start: status %d", r);
}

// --- the text -----------------------------------------------------------------------------------------------------------
static bool type_of(const char *name, int *out) {
  *out = strcmp(name, "f32") == 0 ? REAL_32F : strcmp(name, "f16") == 0 ? REAL_16F : strcmp(name, "bf16") == 0 ? REAL_16BF : -1;
  return *out >= 0;
}

bool ts__gemm_read(ts_arena *a, const ts_gpu_code *c, ts__gemm *g, ts_diag *d) {
  char yt[8], xt[8], wt[8], rows[64];
  int add = 0, end = 0, wtype = 0;
  long long cols = 0, inner = 0;
  const char *text = ts_arena_strndup(a, c->image, TS_MIN(c->image_n, (size_t)400));
  *g = (ts__gemm){0};
  int n = sscanf(text, "gemm y b%d %7s x b%d %7s w b%d %7s rows %63s cols %lld inner %lld add %d choice %d%n", &g->y, yt, &g->x, xt, &g->w, wt, rows, &cols, &inner, &add, &g->choice, &end);
  const int buf[] = {g->y, g->x, g->w};
  bool ok = n == 11 && (size_t)end == strlen(text) && type_of(yt, &g->y_type) && type_of(xt, &g->xw_type) && type_of(wt, &wtype) && wtype == g->xw_type && cols > 0 && inner > 0 &&
            cols < INT32_MAX && inner < INT32_MAX && (add == 0 || add == 1) && g->choice >= 0 && g->choice < MOST_CHOICES && ts_gpu_expr_check(rows, c->dims, c->ndims, NULL);
  for (size_t i = 0; i < TS_COUNTOF(buf); i++) ok = ok && buf[i] >= 0 && buf[i] < c->nparams;
  g->rows = ts_arena_strdup(a, rows);
  g->cols = cols;
  g->inner = inner;
  g->add = add;
  return ok || ts_refuse(d, "bad-artifact", "GPU artifact: not a product that a library can do: %.100s", text);
}

// --- the product ------------------------------------------------------------------------------------------------------------
static bool check(int status, const char *what, ts_diag *d) { return status == 0 || ts_env_fail(d, "cublaslt-error", "cuBLASLt: %s: status %d", what, status); }

// The library's matrices stand column by column: our rows are its columns, and w comes transposed.
static bool describe(ts__blas *b, int64_t rows, ts_diag *d) {
  const ts_cuda_cublaslt *lt = b->lt;
  const ts__gemm *g = &b->g;
  const int transposed = OP_T;
  return check(lt->cublasLtMatmulDescCreate(&b->desc, COMPUTE_32F, REAL_32F), "a product", d) &&
         check(lt->cublasLtMatmulDescSetAttribute(b->desc, TRANS_A, &transposed, sizeof transposed), "a product", d) &&
         check(lt->cublasLtMatrixLayoutCreate(&b->lw, g->xw_type, (uint64_t)g->inner, (uint64_t)g->cols, g->inner), "a matrix", d) &&
         check(lt->cublasLtMatrixLayoutCreate(&b->lx, g->xw_type, (uint64_t)g->inner, (uint64_t)rows, g->inner), "a matrix", d) &&
         check(lt->cublasLtMatrixLayoutCreate(&b->ly, g->y_type, (uint64_t)g->cols, (uint64_t)rows, g->cols), "a matrix", d);
}

static bool choose(ts__blas *b, cublasLtHandle handle, int64_t workspace_bytes, ts_diag *d) {
  const ts_cuda_cublaslt *lt = b->lt;
  void *preference = NULL;
  size_t bytes = (size_t)workspace_bytes;
  found results[MOST_CHOICES];
  int n = 0;
  memset(results, 0, sizeof results);
  TS_TRY(check(lt->cublasLtMatmulPreferenceCreate(&preference), "a preference", d));
  bool ok = check(lt->cublasLtMatmulPreferenceSetAttribute(preference, MAX_WORKSPACE, &bytes, sizeof bytes), "a preference", d);
  int r = ok ? lt->cublasLtMatmulAlgoGetHeuristic(handle, b->desc, b->lw, b->lx, b->ly, b->ly, preference, b->g.choice + 1, results, &n) : 0;
  (void)lt->cublasLtMatmulPreferenceDestroy(preference);
  if (!ok) return false;
  if (r || n <= b->g.choice || results[b->g.choice].state) return ts_refuse(d, "no-algorithm", "cuBLASLt has no algorithm number %d for this product", b->g.choice);
  b->best = results[b->g.choice];
  return true;
}

ts__blas *ts__blas_new(const ts__gemm *g, int64_t rows, int64_t workspace_bytes, ts_diag *d) {
  cublasLtHandle handle;
  ts__blas *b = calloc(1, sizeof *b);
  if (!b) return ts_env_fail(d, "out-of-memory", "no memory for a product"), NULL;
  b->g = *g;
  if (the_handle(&b->lt, &handle, d) && describe(b, rows, d) && choose(b, handle, workspace_bytes, d)) return b;
  ts__blas_free(b);
  return NULL;
}

void ts__blas_free(ts__blas *b) {
  if (!b) return;
  if (b->desc) (void)b->lt->cublasLtMatmulDescDestroy(b->desc);
  if (b->lw) (void)b->lt->cublasLtMatrixLayoutDestroy(b->lw);
  if (b->lx) (void)b->lt->cublasLtMatrixLayoutDestroy(b->lx);
  if (b->ly) (void)b->lt->cublasLtMatrixLayoutDestroy(b->ly);
  free(b);
}

bool ts__blas_issue(const ts__blas *b, const CUdeviceptr *buf, CUdeviceptr workspace, CUstream stream, ts_diag *d) {
  const float one = 1, zero = 0;
  const ts_cuda_cublaslt *lt;
  cublasLtHandle handle;
  void *y = (void *)(uintptr_t)buf[b->g.y], *x = (void *)(uintptr_t)buf[b->g.x], *w = (void *)(uintptr_t)buf[b->g.w];
  TS_TRY(the_handle(&lt, &handle, d));
  return check(lt->cublasLtMatmul(handle, b->desc, &one, w, b->lw, x, b->lx, b->g.add ? &one : &zero, y, b->ly, y, b->ly, b->best.algo, (void *)(uintptr_t)workspace, b->best.workspace, stream),
               "the product", d);
}

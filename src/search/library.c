// A vendor's library as a candidate: what it does of a workload, as an artifact without code (target/gpu.h).
#include "search/search_impl.h"

enum { WORKSPACE = 32 << 20 };

static int find(const ts_func *f, const char *name) {
  for (int i = 0; i < f->nparams; i++)
    if (strcmp(f->params[i].buf->name, name) == 0) return i;
  return -1;
}

static bool real(ts_code c) { return c == TS_F16 || c == TS_BF16 || c == TS_F32; }

// y[rows, N] (+)= x[rows, K] . w[N, K]^T of plain numbers: what the operators matmul and matmul_add are for formats that store weights as they are.
static bool product_of(const ts_spec *spec, const ts_func *f, ts_text *out, int choice) {
  bool add = strcmp(spec->op, "matmul_add") == 0;
  int x = find(f, "x"), w = find(f, "w"), y = find(f, "y");
  if ((!add && strcmp(spec->op, "matmul") != 0) || f->nparams != 3 || x < 0 || w < 0 || y < 0) return false;
  const ts_buffer *bx = f->params[x].buf, *bw = f->params[w].buf, *by = f->params[y].buf;
  int64_t cols, inner, rows = 0;
  if (bx->ndim != 2 || bw->ndim != 2 || by->ndim != 2 || !ts_is_int(bw->shape[0], &cols) || !ts_is_int(bw->shape[1], &inner)) return false;
  if (!real(bx->code) || !real(by->code) || bw->code != bx->code || (by->code != bx->code && by->code != TS_F32)) return false;
  const ts_expr *n = bx->shape[0];
  if (!ts_is_int(n, &rows) && n->kind != TS_E_VAR) return false;
  ts_text_addf(out, "gemm y b%d %s x b%d %s w b%d %s rows ", y, ts_code_name(by->code), x, ts_code_name(bx->code), w, ts_code_name(bw->code));
  if (rows) ts_text_addf(out, "%lld", (long long)rows);
  else ts_text_add(out, n->var->name);
  ts_text_addf(out, " cols %lld inner %lld add %d choice %d", (long long)cols, (long long)inner, (int)add, choice);
  return true;
}

bool ts_library_object(ts_arena *a, const ts_spec *spec, const ts_func *f, const ts_target *t, int choice, ts_object *out) {
  ts_text gemm = {0}, bytes = {0};
  bool ok = t->api == TS_API_CUDA && product_of(spec, f, &gemm, choice);
  if (ok) {
    const char **dims = ts_new_array(a, const char *, f->ndims + 1);
    for (int i = 0; i < f->ndims; i++) dims[i] = f->dims[i].var->name;
    ts_gpu_code c = {.arch = t->arch, .nparams = f->nparams, .ndims = f->ndims, .dims = dims, .registers = -1, .spills = -1, .workspace = ts_arena_printf(a, "%d", WORKSPACE), .zeroed = "0",
                     .kind = TS_GPU_LIBRARY, .image = gemm.p, .image_n = gemm.n};
    ts_gpu_code_write(&bytes, &c);
    *out = (ts_object){.symbol = "cublaslt", .id = ts_sha256_of(bytes.p, bytes.n), .bytes = ts_arena_dup(a, bytes.p, bytes.n), .n = bytes.n};
  }
  ts_text_free(&gemm);
  ts_text_free(&bytes);
  return ok;
}

// The artifact of a GPU function: launches, sizes, and the image.
#include <ctype.h>

#include "codegen/nvptx.h"

// --- expressions of dimensions as text ---------------------------------------------------------------------------------

static const char *infix(ts_ekind k) {
  switch (k) {
    case TS_E_ADD: return " + ";
    case TS_E_SUB: return " - ";
    case TS_E_MUL: return " * ";
    case TS_E_FLOORDIV: return " / ";
    case TS_E_FLOORMOD: return " % ";
    case TS_E_EQ: return " == ";
    case TS_E_NE: return " != ";
    case TS_E_LT: return " < ";
    case TS_E_LE: return " <= ";
    default: return NULL;
  }
}

static bool of_dim(ts__gen *g, const ts_var *v) {
  for (int i = 0; i < g->f->ndims; i++)
    if (g->f->dims[i].var == v) return true;
  return false;
}

static bool list(ts__gen *g, ts_text *out, const char *open, const ts_expr *e, const char *const *between) {
  ts_text_add(out, open);
  for (uint32_t i = 0; i < e->nargs; i++) {
    if (i) ts_text_add(out, between[i - 1]);
    if (!ts__nv_expr(g, out, e->arg[i])) return false;
  }
  ts_text_add(out, ")");
  return true;
}

bool ts__nv_expr(ts__gen *g, ts_text *out, const ts_expr *e) {
  static const char *const comma[] = {", "}, *const choice[] = {" ? ", " : "};
  if (e->kind == TS_E_INT) return ts_text_addf(out, "%lld", (long long)e->i), true;
  if (e->kind == TS_E_VAR && of_dim(g, e->var)) return ts_text_add(out, e->var->name), true;
  if (e->kind == TS_E_MIN) return list(g, out, "min(", e, comma);
  if (e->kind == TS_E_MAX) return list(g, out, "max(", e, comma);
  if (e->kind == TS_E_SELECT) return list(g, out, "(", e, choice);
  const char *op = infix((ts_ekind)e->kind);
  if (op && e->nargs == 2) return list(g, out, "(", e, &op);
  ts__g_fail(g, TS_INDEX, "launch-size", "a grid or workspace size is no expression of the dimensions");
  return false;
}

// --- workspace ------------------------------------------------------------------------------------------------------------

static bool buffer_bytes(ts__gen *g, ts_text *out, const ts_buffer *b) {
  ts_text_addf(out, "(%d", ts_code_bytes(b->code));
  for (int i = 0; i < b->ndim; i++) {
    ts_text_add(out, " * ");
    if (!ts__nv_expr(g, out, b->shape[i])) return false;
  }
  ts_text_addf(out, " + %d) / %d * %d", TS__NV_ALIGN - 1, TS__NV_ALIGN, TS__NV_ALIGN);
  return true;
}

// Allocations that are alive together add up.
static bool workspace(ts__gen *g, ts_text *out, const ts_stmt *s) {
  if (s->kind == TS_S_ALLOC && strcmp(s->alloc.buf->scope, "global") == 0) {
    if (!buffer_bytes(g, out, s->alloc.buf)) return false;
    ts_text rest = {0};
    bool ok = workspace(g, &rest, s->alloc.body);
    if (ok && strcmp(ts_text_str(&rest), "0") != 0) ts_text_addf(out, " + %s", ts_text_str(&rest));
    ts_text_free(&rest);
    return ok;
  }
  ts_text all = {0};
  bool ok = true;
  for (int i = 0; ok && s->kind == TS_S_SEQ && i < s->seq.n; i++) {
    ts_text one = {0};
    ok = workspace(g, &one, s->seq.child[i]);
    if (ok && strcmp(ts_text_str(&one), "0") != 0) {
      ts_text both = {0};
      if (all.n) ts_text_addf(&both, "max(%s, %s)", ts_text_str(&all), ts_text_str(&one));
      else ts_text_add(&both, ts_text_str(&one));
      ts_text_free(&all);
      all = both;
    }
    ts_text_free(&one);
  }
  ts_text_add(out, all.n ? ts_text_str(&all) : "0");
  ts_text_free(&all);
  return ok;
}

// --- launches ---------------------------------------------------------------------------------------------------------------

static const char *size_text(ts__gen *g, const ts_expr *e) {
  ts_text t = {0};
  const char *r = "1";
  if (e && ts__nv_expr(g, &t, e)) r = ts_arena_strdup(g->arena, ts_text_str(&t));
  ts_text_free(&t);
  return r;
}

static void launch_args(ts__gen *g, const ts__nv_kernel *k, ts_gpu_launch *l) {
  ts_gpu_arg *args = ts_new_array(g->arena, ts_gpu_arg, g->f->nparams + 2 + (int)k->maps.n);
  int n = 0;
  for (int i = 0; i < g->f->nparams; i++)
    if (ts__nv_uses(k, g->f->params[i].buf)) args[n++] = (ts_gpu_arg){TS_GPU_BUFFER, i};
  if (ts__nv_uses_workspace(k)) args[n++] = (ts_gpu_arg){TS_GPU_WORKSPACE, 0};
  if (g->f->ndims) args[n++] = (ts_gpu_arg){TS_GPU_DIMS, 0};
  for (size_t i = 0; i < k->maps.n; i++) args[n++] = (ts_gpu_arg){TS_GPU_TMAP, (int)i};
  l->ntmaps = (int)k->maps.n;
  l->tmaps = ts__nv_map_lines(g, k);
  l->nargs = n;
  l->args = args;
}

static void launch(ts__gen *g, const ts__nv_kernel *k, ts_gpu_launch *l) {
  *l = (ts_gpu_launch){.entry = k->entry, .cluster = {(int)ts__nv_option(k, "cluster", 1), 1, 1}, .dependent = ts__nv_dependent(g, k)};
  for (int i = 0; i < 3; i++) {
    int64_t n = 1;
    l->grid[i] = size_text(g, k->extent[TS_BLOCK_X + i]);
    if (k->extent[TS_THREAD_X + i]) ts_is_int(k->extent[TS_THREAD_X + i], &n);
    l->block[i] = (int)n;
  }
  l->shared = ts_arena_printf(g->arena, "%lld", (long long)k->shared);
  launch_args(g, k, l);
}

static bool assemble(ts__gen *g, const char *ptx, size_t n, ts_gpu_code *c, ts__ptxas *as, ts_text *said) {
  if (!g->t->gpu.ptx && !ts__ptxas_run(ptx, n, g->t->arch, as, g->d)) return false;
  ts__assembler_read(ts_text_str(&as->said), c, said);
  c->warnings = ts_text_str(said);
  c->kind = as->found ? TS_GPU_CUBIN : TS_GPU_PTX;
  c->image = as->found ? as->cubin.p : ptx;
  c->image_n = as->found ? as->cubin.n : n;
  return true;
}

bool ts__nv_artifact(ts__gen *g, const char *ptx, size_t n, ts_text *out) {
  ts_gpu_code c = {.arch = g->t->arch, .nparams = g->f->nparams, .ndims = g->f->ndims, .zeroed = "0"};
  const char **dims = ts_new_array(g->arena, const char *, g->f->ndims + 1);
  for (int i = 0; i < g->f->ndims; i++) dims[i] = g->f->dims[i].var->name;
  c.dims = dims;
  c.nlaunches = (int)g->nv->kernels.n;
  ts_gpu_launch *l = ts_new_array(g->arena, ts_gpu_launch, c.nlaunches);
  for (int i = 0; i < c.nlaunches; i++) launch(g, &g->nv->kernels.p[i], &l[i]);
  c.launches = l;
  ts_text bytes = {0}, said = {0};
  ts__ptxas as = {0};
  bool ok = workspace(g, &bytes, g->f->body) && !g->failed;
  c.workspace = ts_text_str(&bytes);
  ok = ok && assemble(g, ptx, n, &c, &as, &said);
  if (ok) ts_gpu_code_write(out, &c);
  ts__ptxas_free(&as);
  ts_text_free(&said);
  ts_text_free(&bytes);
  return ok;
}

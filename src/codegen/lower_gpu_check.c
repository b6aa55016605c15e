// What a kernel asks of the machine, before code is generated.
#include "codegen/gpu_need.h"
#include "codegen/lower_gpu.h"

typedef struct survey {
  ts__need need;
  ts_analyzer *an;
} survey;

static int64_t bytes_of(const ts_buffer *b) {
  int64_t n = ts_code_bytes(b->code), extent;
  for (int d = 0; d < b->ndim; d++) {
    if (!ts_is_int(b->shape[d], &extent) || extent < 0 || __builtin_mul_overflow(n, extent, &n)) return 0;
  }
  return n;
}

static void see_alloc(ts__need *v, const ts_buffer *b) {
  int64_t at = 0;
  if (ts__is_private(b)) *(strcmp(b->scope, "local") == 0 ? &v->local : &v->fragments) += bytes_of(b);
  if (!ts__is_shared(b)) return;
  if (b->offset) ts_is_int(b->offset, &at);
  v->shared = TS_MAX(v->shared, at * ts_code_bytes(b->code) + bytes_of(b));
}

static void see_axis(survey *v, const ts_stmt *s) {
  int64_t n = ts_bound(v->an, s->loop.extent).hi;
  v->need.extent[s->loop.axis] = TS_MAX(v->need.extent[s->loop.axis], n);
  ts__need_options(&v->need, s->loop.notes);
}

// What a thread may have at most where threads of some warpgroups have more than others.
static void see_registers(ts__need *v, const ts_expr *e) {
  ts_effect f;
  int64_t n;
  if (ts_effect_of(e, &f) && f == TS_EFF_REGISTERS && ts_is_int(e->arg[0], &n)) v->moved = TS_MAX(v->moved, n);
}

static bool see(void *arg, const ts_stmt *s) {
  survey *v = arg;
  if (s->kind == TS_S_EVAL) see_registers(&v->need, s->eval);
  if (s->kind == TS_S_ALLOC) see_alloc(&v->need, s->alloc.buf);
  if (s->kind == TS_S_FOR && s->loop.kind == TS_THREAD && s->loop.axis != TS_VTHREAD) see_axis(v, s);
  return !v->need.failed;
}

static void walk(survey *v, const ts_stmt *s) {
  if (s->kind == TS_S_ALLOC && !ts__is_shared(s->alloc.buf)) {
    walk(v, s->alloc.body);
  } else if (s->kind == TS_S_SEQ) {
    for (int i = 0; i < s->seq.n; i++) walk(v, s->seq.child[i]);
  } else {
    ts__need_begin(&v->need);
    ts_stmt_visit(s, see, NULL, v);
    if (!v->need.failed) ts__need_check(&v->need);
  }
}

bool ts_gpu_check(ts_ir *ir, const ts_func *f, const ts_target *t, ts_gpu_use *use, ts_diag *d) {
  ts_gpu_use ignored;
  survey v = {.need = {.f = f, .t = t, .d = d, .use = use ? use : &ignored, .least = f->stage == TS_STAGE_BLOCKS}};
  *v.need.use = (ts_gpu_use){0};
  if (v.need.least) return ts__need_early(&v.need), !v.need.failed;
  v.an = ts_analyzer_new(ir);
  ts_bind_dims(v.an, f);
  walk(&v, f->body);
  ts_analyzer_free(v.an);
  return !v.need.failed;
}

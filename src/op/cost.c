// Operations and compulsory bytes of a function, counted from the IR for given dimensions.
#include <math.h>

#include "analysis/analysis.h"
#include "op/op.h"

typedef struct access {
  const ts_buffer *buf;
  double count;  // dynamic accesses
  bool gathered;  // where, data say
} access;

typedef struct counter {
  const ts_func *f;
  const int64_t *dims;
  const ts_var **vars;
  ts_analyzer *an;
  ts_arena *arena;
  double times, flops;  // executions of the statement at hand, sum so far
  TS_VEC(access) seen;
} counter;

static bool eval(const counter *c, const ts_expr *e, int64_t *out) {
  if (ts_eval_int(e, c->vars, c->dims, c->f->ndims, out)) return true;
  ts_interval b = ts_bound(c->an, e);  // depends on an outer loop: its largest value
  *out = b.hi;
  return b.hi != TS_POS_INF;
}

static void touch(counter *c, const ts_buffer *b, const ts_expr *const *idx) {
  size_t at = 0;
  while (at < c->seen.n && c->seen.p[at].buf != b) at++;
  if (at == c->seen.n) ts_vec_push(c->arena, &c->seen, ((access){.buf = b}));
  access *x = &c->seen.p[at];
  x->count += c->times;
  for (int i = 0; i < b->ndim; i++) x->gathered |= idx[i]->loads;
}

// Arithmetic on values; index arithmetic (i64) is free.
static bool count_expr(void *arg, const ts_expr *e) {
  counter *c = arg;
  if (e->kind == TS_E_LOAD) {
    touch(c, e->buf, e->arg);
    return false;
  }
  bool arithmetic = (e->kind >= TS_E_ADD && e->kind <= TS_E_DIV) || e->kind == TS_E_MIN || e->kind == TS_E_MAX || e->kind == TS_E_CALL;
  if (arithmetic && (ts_code_is_float((ts_code)e->type.code) || e->type.code == TS_I32)) c->flops += c->times;
  return true;
}

static void count_stmt(counter *c, const ts_stmt *s);

static void count_scaled(counter *c, const ts_stmt *s, double factor) {
  double kept = c->times;
  c->times *= factor;
  count_stmt(c, s);
  c->times = kept;
}

static void count_stmt(counter *c, const ts_stmt *s) {
  if (!s) return;
  int64_t extent = 1;
  size_t mark;
  switch (s->kind) {
    case TS_S_SEQ:
      for (int i = 0; i < s->seq.n; i++) count_stmt(c, s->seq.child[i]);
      break;
    case TS_S_FOR:
      if (!eval(c, s->loop.extent, &extent)) extent = 1;
      mark = ts_analyzer_push(c->an);
      ts_bind_stmt(c->an, s);
      count_scaled(c, s->loop.body, (double)TS_MAX(extent, 0));
      ts_analyzer_pop(c->an, mark);
      break;
    case TS_S_BLOCK:
      mark = ts_analyzer_push(c->an);
      ts_bind_stmt(c->an, s);
      count_stmt(c, s->block->body);
      ts_analyzer_pop(c->an, mark);
      break;
    case TS_S_STORE:
      touch(c, s->store.buf, s->store.idx);
      ts_expr_visit(s->store.value, count_expr, c);
      break;
    case TS_S_IF:
      count_stmt(c, s->cond.then);
      count_stmt(c, s->cond.other);
      break;
    case TS_S_LET: count_stmt(c, s->let.body); break;
    case TS_S_ALLOC: count_stmt(c, s->alloc.body); break;
    case TS_S_EVAL: ts_expr_visit(s->eval, count_expr, c); break;
    case TS_S__COUNT: break;
  }
}

static double region_bytes(const counter *c, const ts_region *r) {
  double n = ts_code_bytes(r->buf->code);
  for (int i = 0; i < r->buf->ndim; i++) {
    int64_t extent;
    if (!eval(c, r->dim[i].extent, &extent)) return INFINITY;
    n *= (double)TS_MAX(extent, 0);
  }
  return n;
}

static access access_of(const counter *c, const ts_buffer *b) {
  for (size_t k = 0; k < c->seen.n; k++)
    if (c->seen.p[k].buf == b) return c->seen.p[k];
  return (access){.buf = b};
}

static double access_bytes(const counter *c, const ts_buffer *b) { return access_of(c, b).count * ts_code_bytes(b->code); }

// A buffer is read (or written) once: the region touched, or the accesses made where they are fewer (a gather).
static double side_bytes(const counter *c, const ts_region *r, int n) {
  double sum = 0;
  for (int i = 0; i < n; i++) sum += TS_MIN(region_bytes(c, &r[i]), access_bytes(c, r[i].buf));
  return sum;
}

static bool is_cold(const ts_func *f, const ts_buffer *b) {
  for (int p = 0; p < f->nparams; p++)
    if (f->params[p].buf == b) return f->params[p].cache == TS_COLD;
  return false;
}

// Regions of cold parameters that are read whole. Of what is gathered nobody knows: of a pool of pages only a few may be, again and again.
static double cold_bytes(const counter *c, const ts_region *r, int n) {
  double sum = 0;
  for (int i = 0; i < n; i++) {
    double bytes = region_bytes(c, &r[i]);
    if (is_cold(c->f, r[i].buf) && !access_of(c, r[i].buf).gathered && bytes <= access_bytes(c, r[i].buf)) sum += bytes;
  }
  return sum;
}

static const ts_stmt *root_body(const ts_func *f) { return f->body->kind == TS_S_BLOCK ? f->body->block->body : f->body; }

// Regions of parameters only: intermediates need not leave the caches.
static int params_only(const ts_func *f, const ts_region *all, int n, ts_region *out) {
  int kept = 0;
  for (int i = 0; i < n; i++)
    for (int p = 0; p < f->nparams; p++)
      if (f->params[p].buf == all[i].buf) out[kept++] = all[i];
  return kept;
}

bool ts_op_cost(const ts_func *f, const int64_t *dims, ts_cost *out, ts_diag *d) {
  if (f->stage != TS_STAGE_BLOCKS) return ts_refuse(d, "wrong-stage", "%s: cost is counted before lowering", f->name);
  ts_arena *arena = ts_arena_new("cost");
  ts_ir *ir = ts_ir_new(arena);
  const ts_func *own = ts_func_clone(ir, f);
  counter c = {.f = own, .dims = dims, .arena = arena, .an = ts_analyzer_new(ir), .times = 1};
  c.vars = ts_new_array(arena, const ts_var *, own->ndims + 1);
  for (int i = 0; i < own->ndims; i++) {
    c.vars[i] = own->dims[i].var;
    ts_bind_const(c.an, own->dims[i].var, dims[i], dims[i]);
  }
  count_stmt(&c, root_body(own));
  ts_accesses acc = ts_regions_of(c.an, root_body(own), NULL, 0);
  ts_region *kept = ts_new_array(arena, ts_region, TS_MAX(acc.nreads, acc.nwrites) + 1);
  int nreads = params_only(own, acc.reads, acc.nreads, kept);
  double cold = cold_bytes(&c, kept, nreads), bytes = side_bytes(&c, kept, nreads);
  bytes += side_bytes(&c, kept, params_only(own, acc.writes, acc.nwrites, kept));
  *out = (ts_cost){.flops = c.flops, .bytes = bytes, .cold_bytes = cold};
  ts_analyzer_free(c.an);
  ts_arena_free(arena);
  return true;
}

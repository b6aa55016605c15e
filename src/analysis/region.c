// Regions: bounding boxes of what a subtree touches, and questions about boxes.
#include "analysis/analysis_impl.h"

// --- boxes by their inclusive ends -------------------------------------------------------------------------
typedef struct box {
  const ts_buffer *buf;
  bool write;
  const ts_expr **lo, **hi;
} box;
typedef struct boxes {
  ts_analyzer *a;
  const ts_var *const *vars;
  int nvars;
  bool write;  // what add_if takes
  TS_VEC(box) list;
} boxes;

static const ts_expr *op(ts_analyzer *a, ts_ekind k, const ts_expr *x, const ts_expr *y) {
  return ts_simplify(a, ts_bin(a->ir, k, x, y));
}
static const ts_expr *num(ts_analyzer *a, int64_t v) { return ts_int(a->ir, v); }

static box new_box(ts_analyzer *a, const ts_buffer *b, bool write) {
  ts_arena *arena = ts_ir_arena(a->ir);
  int n = b->ndim ? b->ndim : 1;
  return (box){b, write, ts_new_array(arena, const ts_expr *, n), ts_new_array(arena, const ts_expr *, n)};
}

// Ends of one dimension inside the buffer; what has no bound is the whole of it.
static void clip(ts_analyzer *a, box *x, int d, const ts_expr *lo, const ts_expr *hi) {
  const ts_expr *last = ts_simplify(a, ts_sub(a->ir, x->buf->shape[d], num(a, 1)));
  int64_t most;
  bool low = lo && ts_bound(a, lo).lo >= 0, high = hi && ts_is_int(last, &most) && ts_bound(a, hi).hi <= most;
  x->lo[d] = low ? ts_simplify(a, lo) : lo ? op(a, TS_E_MAX, lo, num(a, 0)) : num(a, 0);
  x->hi[d] = high ? ts_simplify(a, hi) : hi ? op(a, TS_E_MIN, hi, last) : last;
}

static const ts_expr *last_of(ts_analyzer *a, const ts_expr *min, const ts_expr *extent) {
  return extent ? ts_sub(a->ir, ts_add(a->ir, min, extent), num(a, 1)) : min;
}

static void relax_dim(ts_analyzer *a, box *x, int d, const ts_expr *lo, const ts_expr *hi, const ts_var *const *vars,
                      int n) {
  const ts_expr *l, *h, *unused;
  ts_bound_over(a, lo, vars, n, &l, &h);
  if (hi != lo) ts_bound_over(a, hi, vars, n, &unused, &h);
  clip(a, x, d, l, h);
}

static void add_access(void *arg, const ts__access *x) {
  boxes *s = arg;
  ts_arena *arena = ts_ir_arena(s->a->ir);
  int n = s->nvars, depth = 0;
  for (const ts__nest *l = x->nest; l; l = l->up) depth++;
  const ts_var **vars = ts_new_array(arena, const ts_var *, n + depth + 1);
  for (int i = 0; i < n; i++) vars[i] = s->vars[i];
  for (const ts__nest *l = x->nest; l; l = l->up) vars[n++] = l->loop->loop.var;
  box b = new_box(s->a, x->buf, x->write);
  for (int d = 0; d < x->buf->ndim; d++)
    relax_dim(s->a, &b, d, x->idx[d], x->span ? last_of(s->a, x->idx[d], x->span[d]) : x->idx[d], vars, n);
  ts_vec_push(arena, &s->list, b);
}

static void merge(ts_analyzer *a, box *into, const box *x) {
  for (int d = 0; d < x->buf->ndim; d++) {
    into->lo[d] = op(a, TS_E_MIN, into->lo[d], x->lo[d]);
    into->hi[d] = op(a, TS_E_MAX, into->hi[d], x->hi[d]);
  }
}

static ts_region to_region(ts_analyzer *a, const box *x) {
  ts_range *dim = ts_new_array(ts_ir_arena(a->ir), ts_range, x->buf->ndim ? x->buf->ndim : 1);
  for (int d = 0; d < x->buf->ndim; d++)
    dim[d] = (ts_range){ts_simplify(a, x->lo[d]),
                        ts_simplify(a, ts_add(a->ir, ts_sub(a->ir, x->hi[d], x->lo[d]), num(a, 1)))};
  return (ts_region){x->buf, dim};
}

static box to_box(ts_analyzer *a, ts_region r) {
  box x = new_box(a, r.buf, false);
  for (int d = 0; d < r.buf->ndim; d++) {
    x.lo[d] = r.dim[d].min;
    x.hi[d] = last_of(a, r.dim[d].min, r.dim[d].extent);
  }
  return x;
}

// The union per buffer, in order of first access.
static const ts_region *collect(boxes *s, bool write, int *n) {
  ts_arena *arena = ts_ir_arena(s->a->ir);
  TS_VEC(box) out = {0};
  for (size_t i = 0; i < s->list.n; i++) {
    box *x = &s->list.p[i];
    if (x->write != write) continue;
    size_t j = 0;
    while (j < out.n && out.p[j].buf != x->buf) j++;
    if (j < out.n)
      merge(s->a, &out.p[j], x);
    else
      ts_vec_push(arena, &out, *x);
  }
  ts_region *r = ts_new_array(arena, ts_region, out.n ? out.n : 1);
  for (size_t i = 0; i < out.n; i++) {
    box *x = &out.p[i];  // ends found under a condition may leave the buffer where it fails
    for (int d = 0; d < x->buf->ndim; d++) clip(s->a, x, d, x->lo[d], x->hi[d]);
    r[i] = to_region(s->a, x);
  }
  *n = (int)out.n;
  return r;
}

ts_accesses ts_regions_of(ts_analyzer *a, const ts_stmt *s, const ts_var *const *vars, int nvars) {
  boxes b = {.a = a, .vars = vars, .nvars = nvars};
  ts_accesses r;
  ts__accesses_visit(a, s, TS__ALL_BUFFERS, add_access, &b);
  r.reads = collect(&b, false, &r.nreads);
  r.writes = collect(&b, true, &r.nwrites);
  return r;
}

static void add_if(void *arg, const ts__access *x) {
  boxes *s = arg;
  if (x->write == s->write) add_access(arg, x);
}

bool ts_region_of(ts_analyzer *a, const ts_stmt *s, const ts_buffer *buf, bool write, const ts_var *const *vars,
                  int nvars, ts_region *out) {
  boxes b = {.a = a, .vars = vars, .nvars = nvars, .write = write};
  int n;
  ts__accesses_visit(a, s, TS__ONE_BUFFER(buf), add_if, &b);
  const ts_region *r = collect(&b, write, &n);
  if (n) *out = r[0];
  return n > 0;
}

const ts_region *ts_regions_find(const ts_region *r, int n, const ts_buffer *b) {
  for (int i = 0; i < n; i++)
    if (r[i].buf == b) return &r[i];
  return NULL;
}

ts_region ts_region_whole(ts_ir *ir, const ts_buffer *b) {
  ts_range *dim = ts_new_array(ts_ir_arena(ir), ts_range, b->ndim ? b->ndim : 1);
  for (int d = 0; d < b->ndim; d++) dim[d] = (ts_range){ts_int(ir, 0), b->shape[d]};
  return (ts_region){b, dim};
}

ts_region ts_region_union(ts_analyzer *a, ts_region x, ts_region y) {
  box p = to_box(a, x), q = to_box(a, y);
  merge(a, &p, &q);
  return to_region(a, &p);
}

ts_region ts_region_relax(ts_analyzer *a, ts_region r, const ts_var *const *vars, int n) {
  box x = to_box(a, r), out = new_box(a, r.buf, false);
  for (int d = 0; d < r.buf->ndim; d++) relax_dim(a, &out, d, x.lo[d], x.hi[d], vars, n);
  return to_region(a, &out);
}

// --- questions ---------------------------------------------------------------------------------------------
static const ts_expr *end_of(ts_analyzer *a, ts_range r) { return ts_add(a->ir, r.min, r.extent); }

ts_tri ts_region_covers(ts_analyzer *a, ts_region big, ts_region small) {
  ts_tri all = TS_YES;
  if (big.buf != small.buf) return TS_NO;
  for (int d = 0; d < big.buf->ndim; d++) {
    ts_range x = big.dim[d], y = small.dim[d];
    ts_tri lo = ts_prove_le(a, x.min, y.min), hi = ts_prove_le(a, end_of(a, y), end_of(a, x));
    bool some = ts_bound(a, y.extent).lo >= 1;
    if (some && (lo == TS_NO || hi == TS_NO)) return TS_NO;
    if (lo != TS_YES || hi != TS_YES) all = TS_UNKNOWN;
  }
  return all;
}

ts_tri ts_region_disjoint(ts_analyzer *a, ts_region x, ts_region y) {
  ts_tri meet = TS_YES;
  if (x.buf != y.buf) return TS_YES;
  for (int d = 0; d < x.buf->ndim; d++) {
    ts_tri before = ts_prove_le(a, end_of(a, x.dim[d]), y.dim[d].min),
           after = ts_prove_le(a, end_of(a, y.dim[d]), x.dim[d].min);
    if (before == TS_YES || after == TS_YES) return TS_YES;
    bool some = ts_bound(a, x.dim[d].extent).lo >= 1 && ts_bound(a, y.dim[d].extent).lo >= 1;
    if (before != TS_NO || after != TS_NO || !some) meet = TS_UNKNOWN;
  }
  return meet == TS_YES ? TS_NO : TS_UNKNOWN;
}

// --- cover -------------------------------------------------------------------------------------------------
// The box that the access writes completely, or false.
static bool dense(ts_analyzer *a, const ts__access *x, ts_region *out) {
  ts_arena *arena = ts_ir_arena(a->ir);
  int n = 0, nd = x->buf->ndim;
  for (const ts__nest *l = x->nest; l; l = l->up) n++;
  ts_loop_range *in = ts_new_array(arena, ts_loop_range, n + 1);
  for (const ts__nest *l = x->nest; l; l = l->up)
    in[--n] = (ts_loop_range){l->loop->loop.var, {l->loop->loop.min, l->loop->loop.extent}};
  for (const ts__nest *l = x->nest; l; l = l->up) n++;
  const ts_expr *pred = NULL;
  for (const ts__guard *g = x->guard; g; g = g->up) pred = pred ? ts_bin(a->ir, TS_E_AND, pred, g->cond) : g->cond;
  ts_itermap m;
  if (x->span || !ts_itermap_detect(a, in, n, x->idx, nd, pred, NULL, &m, NULL) || m.surjective != TS_YES ||
      m.predicate)
    return false;
  ts_range *dim = ts_new_array(arena, ts_range, nd ? nd : 1);
  for (int d = 0; d < nd; d++) {
    int64_t extent = 0, step = 0;
    if (!m.bind[d].extent) return false;
    ts_is_int(m.bind[d].extent, &extent);
    ts_is_int(m.bind[d].step, &step);
    if (extent != 1 && step != 1) return false;
    dim[d] = (ts_range){m.bind[d].min, m.bind[d].extent};
  }
  *out = (ts_region){x->buf, dim};
  return true;
}

ts_tri ts_region_cover(ts_analyzer *a, const ts_stmt *producer, const ts_stmt *consumer, const ts_buffer *b) {
  ts_region need, may, r;
  if (!ts_region_of(a, consumer, b, false, NULL, 0, &need)) return TS_YES;
  ts__access_list l = ts__accesses_of(a, producer, TS__ONE_BUFFER(b));
  for (size_t i = 0; i < l.n; i++)
    if (l.p[i].write && dense(a, &l.p[i], &r) && ts_region_covers(a, r, need) == TS_YES) return TS_YES;
  bool some = ts_region_of(a, producer, b, true, NULL, 0, &may);
  return !some || ts_region_disjoint(a, may, need) == TS_YES ? TS_NO : TS_UNKNOWN;
}

// access: the reads and writes of a block, from its body. An index is bounded by a linear lower end and an extent; loop
// variables inside the block are widened to their ranges, inner iterators and lets are replaced by their values.
#include "ir/ir_impl.h"

// --- linear forms: constant + sum of coefficient * atom -------------------------------------------------------

enum { MAX_TERMS = 16 };
typedef struct lin {
  int n;
  struct {
    const ts_expr *atom;
    int64_t coef;
  } t[MAX_TERMS];
  int64_t c;
} lin;

// a += b * k. False when terms or numbers run out.
static bool lin_add(lin *a, const lin *b, int64_t k) {
  int64_t v;
  TS_TRY(!__builtin_mul_overflow(b->c, k, &v) && !__builtin_add_overflow(a->c, v, &a->c));
  for (int i = 0; i < b->n; i++) {
    int j = 0;
    TS_TRY(!__builtin_mul_overflow(b->t[i].coef, k, &v));
    while (j < a->n && a->t[j].atom != b->t[i].atom) j++;
    if (j == a->n) {
      TS_TRY(a->n < MAX_TERMS);
      a->t[a->n].atom = b->t[i].atom;
      a->t[a->n++].coef = v;
    } else {
      TS_TRY(!__builtin_add_overflow(a->t[j].coef, v, &a->t[j].coef));
      if (a->t[j].coef == 0) {
        for (a->n--; j < a->n; j++) a->t[j] = a->t[j + 1];
      }
    }
  }
  return true;
}

// a *= k, for k that is not 0.
static bool lin_scale(lin *a, int64_t k) {
  TS_TRY(!__builtin_mul_overflow(a->c, k, &a->c));
  for (int i = 0; i < a->n; i++) TS_TRY(!__builtin_mul_overflow(a->t[i].coef, k, &a->t[i].coef));
  return true;
}

static bool lin_of(const ts_expr *e, lin *out) {
  int64_t k;
  lin b;
  out->n = 0;
  out->c = 0;
  if (ts_is_int(e, &out->c)) return true;
  if (e->kind == TS_E_ADD || e->kind == TS_E_SUB) {
    return lin_of(e->arg[0], out) && lin_of(e->arg[1], &b) && lin_add(out, &b, e->kind == TS_E_ADD ? 1 : -1);
  }
  if (e->kind == TS_E_MUL && (ts_is_int(e->arg[1], &k) || ts_is_int(e->arg[0], &k))) {
    return lin_of(e->arg[ts_is_int(e->arg[1], NULL) ? 0 : 1], &b) && lin_add(out, &b, k);
  }
  out->n = 1;
  out->t[0].atom = e;
  out->t[0].coef = 1;
  return true;
}

static const ts_expr *lin_expr(ts_ir *ir, const lin *a) {
  const ts_expr *sum = NULL;
  for (int i = 0; i < a->n; i++) {
    const ts_expr *term = a->t[i].coef == 1 ? a->t[i].atom : ts_mul(ir, a->t[i].atom, ts_int(ir, a->t[i].coef));
    sum = sum ? ts_add(ir, sum, term) : term;
  }
  if (!sum) return ts_int(ir, a->c);
  return a->c ? ts_add(ir, sum, ts_int(ir, a->c)) : sum;
}

// --- bounds of an index ---------------------------------------------------------------------------------------

typedef struct bounds {
  lin lo;
  const ts_expr *extent;
} bounds;
typedef struct inner {  // a variable bound inside the block
  const ts_var *var;
  const ts_expr *value;  // of a let or an inner iterator
  ts_range range;        // of a loop
  const bounds *known;   // of the value, once asked for
} inner;
typedef struct found {  // one access as it was found
  bool write;
  ts_region region;
} found;
typedef TS_VEC(found) found_list;
typedef struct collector {
  ts_ir *ir;
  ts_arena *tmp;
  TS_VEC(inner) env;
  uint16_t env_mask;  // var bits of all that were in env
  TS_VEC(ts_region) reads, writes;
  found_list *log;  // where accesses are written down as they are found, NULL: nowhere
} collector;

static inner *inner_find(const collector *c, const ts_var *v) {
  for (size_t i = c->env.n; i-- > 0;) {
    if (c->env.p[i].var == v) return &c->env.p[i];
  }
  return NULL;
}

static bool uses_inner(const collector *c, const ts_expr *e) {
  if (!(e->var_mask & c->env_mask)) return false;
  if (e->kind == TS_E_VAR) return inner_find(c, e->var) != NULL;
  for (uint32_t i = 0; i < e->nargs; i++) {
    if (uses_inner(c, e->arg[i])) return true;
  }
  return false;
}


static bool is_one(const ts_expr *e) {
  int64_t v;
  return ts_is_int(e, &v) && v == 1;
}

// a + b - 1: the extent of the sum of two ranges.
static const ts_expr *widen(ts_ir *ir, const ts_expr *a, const ts_expr *b) {
  if (is_one(a)) return b;
  if (is_one(b)) return a;
  return ts_sub(ir, ts_add(ir, a, b), ts_int(ir, 1));
}

// lo += k * (extent - 1)
static bool shift(bounds *b, int64_t k) {
  lin e;
  TS_TRY(lin_of(b->extent, &e) && !__builtin_sub_overflow(e.c, 1, &e.c));
  return lin_add(&b->lo, &e, k);
}

static bool bounds_of(const collector *c, const ts_expr *e, bounds *out);

static void bounds_copy(bounds *to, const bounds *from) {
  to->extent = from->extent;
  to->lo.n = from->lo.n;
  to->lo.c = from->lo.c;
  memcpy(to->lo.t, from->lo.t, sizeof from->lo.t[0] * (size_t)from->lo.n);
}

static bool bounds_var(const collector *c, inner *v, bounds *out) {
  if (v->known) {
    bounds_copy(out, v->known);
    return true;
  }
  if (v->value) {
    TS_TRY(bounds_of(c, v->value, out));
    bounds *known = ts_arena_alloc(c->tmp, sizeof *known, _Alignof(bounds));
    bounds_copy(known, out);
    v->known = known;
    return true;
  }
  TS_TRY(!uses_inner(c, v->range.extent) && !v->range.extent->loads && bounds_of(c, v->range.min, out));
  out->extent = widen(c->ir, out->extent, v->range.extent);
  return true;
}

static bool bounds_sum(const collector *c, const ts_expr *e, bounds *out) {
  bounds b;
  bool minus = e->kind == TS_E_SUB;
  TS_TRY(bounds_of(c, e->arg[0], out) && bounds_of(c, e->arg[1], &b));
  if (minus) TS_TRY(shift(&b, 1));
  TS_TRY(lin_add(&out->lo, &b.lo, minus ? -1 : 1));
  out->extent = widen(c->ir, out->extent, b.extent);
  return true;
}

static bool bounds_scaled(const collector *c, const ts_expr *e, int64_t k, bounds *out) {
  TS_TRY(bounds_of(c, e, out));
  if (k < 0) TS_TRY(shift(out, 1));
  TS_TRY(lin_scale(&out->lo, k));
  if (is_one(out->extent)) return true;
  const ts_expr *one = ts_int(c->ir, 1), *width = ts_int(c->ir, k < 0 ? -k : k);
  out->extent = ts_add(c->ir, ts_mul(c->ir, ts_sub(c->ir, out->extent, one), width), one);
  return true;
}

// Split lo into k * quotient + rest, where rest is a constant in 0 .. k-1. False when it is no such sum.
static bool divide(const lin *lo, int64_t k, lin *quotient, int64_t *rest) {
  quotient->n = lo->n;
  for (int i = 0; i < lo->n; i++) {
    TS_TRY(lo->t[i].coef % k == 0);
    quotient->t[i].atom = lo->t[i].atom;
    quotient->t[i].coef = lo->t[i].coef / k;
  }
  return ts__fold_int(TS_E_FLOORDIV, TS_I64, lo->c, k, &quotient->c) &&
         ts__fold_int(TS_E_FLOORMOD, TS_I64, lo->c, k, rest);
}

static bool atom(const ts_expr *e, bounds *out) {
  out->lo.n = 1;
  out->lo.c = 0;
  out->lo.t[0].atom = e;
  out->lo.t[0].coef = 1;
  return true;
}

static bool bounds_divided(const collector *c, const ts_expr *e, int64_t k, bounds *out) {
  bounds a;
  lin q;
  int64_t rest = 0;
  TS_TRY(bounds_of(c, e, &a));
  if (divide(&a.lo, k, &q, &rest)) {
    out->lo = q;
  } else {
    // lo // k once more opaque; the last element is at most k - 1 further into its group than the first.
    TS_TRY(atom(ts_bin(c->ir, TS_E_FLOORDIV, lin_expr(c->ir, &a.lo), ts_int(c->ir, k)), out));
    rest = k - 1;
  }
  out->extent = a.extent;
  if (is_one(a.extent)) return true;
  const ts_expr *last = ts_add(c->ir, a.extent, ts_int(c->ir, rest - 1));
  out->extent = ts_add(c->ir, ts_bin(c->ir, TS_E_FLOORDIV, last, ts_int(c->ir, k)), ts_int(c->ir, 1));
  return true;
}

static bool bounds_modulo(const collector *c, const ts_expr *e, int64_t k, bounds *out) {
  bounds a;
  lin q;
  int64_t rest, extent;
  TS_TRY(bounds_of(c, e, &a));
  out->extent = a.extent;
  if (divide(&a.lo, k, &q, &rest) && ts_is_int(a.extent, &extent) && extent >= 1 && extent <= k - rest) {
    out->lo = (lin){.c = rest};
    return true;
  }
  if (is_one(a.extent)) return atom(ts_bin(c->ir, TS_E_FLOORMOD, lin_expr(c->ir, &a.lo), ts_int(c->ir, k)), out);
  out->lo = (lin){0};
  out->extent = ts_int(c->ir, k);
  return true;
}

// False: no bounds are known, the whole dimension must do.
static bool bounds_of(const collector *c, const ts_expr *e, bounds *out) {
  int64_t k;
  if (e->loads) return false;  // what is read may be made inside
  if (!uses_inner(c, e)) {
    out->extent = ts_int(c->ir, 1);
    return lin_of(e, &out->lo);
  }
  bool by_constant = e->nargs == 2 && ts_is_int(e->arg[1], &k);
  switch (e->kind) {
    case TS_E_VAR:
      return bounds_var(c, inner_find(c, e->var), out);
    case TS_E_ADD:
    case TS_E_SUB:
      return bounds_sum(c, e, out);
    case TS_E_MUL:
      if (by_constant) return bounds_scaled(c, e->arg[0], k, out);
      return ts_is_int(e->arg[0], &k) && bounds_scaled(c, e->arg[1], k, out);
    case TS_E_FLOORDIV:
      return by_constant && k > 0 && bounds_divided(c, e->arg[0], k, out);
    case TS_E_FLOORMOD:
      return by_constant && k > 0 && bounds_modulo(c, e->arg[0], k, out);
    default:
      return false;
  }
}

// --- regions --------------------------------------------------------------------------------------------------

static ts_range whole(const collector *c, const ts_buffer *b, int d) {
  return (ts_range){.min = ts_int(c->ir, 0), .extent = b->shape[d]};
}

// A constant range is cut to the dimension: what lies outside is never touched.
static ts_range clip(const collector *c, ts_range r, const ts_expr *shape) {
  int64_t lo, extent, size, hi;
  if (!ts_is_int(r.min, &lo) || !ts_is_int(r.extent, &extent) || !ts_is_int(shape, &size)) return r;
  if (__builtin_add_overflow(lo, extent, &hi) || lo >= size || hi <= 0 || (lo >= 0 && hi <= size)) return r;
  lo = TS_MAX(lo, 0);
  return (ts_range){.min = ts_int(c->ir, lo), .extent = ts_int(c->ir, TS_MIN(hi, size) - lo)};
}

// [min, min + extent) seen from outside the block.
static ts_range range_of(const collector *c, const ts_buffer *b, int d, const ts_expr *min, const ts_expr *extent) {
  bounds r;
  if (min->loads || extent->loads || uses_inner(c, extent)) return whole(c, b, d);
  if (!uses_inner(c, min)) return clip(c, (ts_range){.min = min, .extent = extent}, b->shape[d]);
  if (!bounds_of(c, min, &r)) return whole(c, b, d);
  return clip(c, (ts_range){.min = lin_expr(c->ir, &r.lo), .extent = widen(c->ir, r.extent, extent)}, b->shape[d]);
}

static ts_range hull(const collector *c, const ts_buffer *b, int d, ts_range x, ts_range y) {
  lin lx, ly;
  int64_t ex, ey, end;
  if (x.min == y.min && x.extent == y.extent) return x;
  if (!ts_is_int(x.extent, &ex) || !ts_is_int(y.extent, &ey)) return whole(c, b, d);
  if (!lin_of(x.min, &lx) || !lin_of(y.min, &ly) || !lin_add(&ly, &lx, -1) || ly.n) return whole(c, b, d);
  if (ly.c > INT32_MAX || ly.c < -INT32_MAX || ex > INT32_MAX || ey > INT32_MAX) return whole(c, b, d);
  end = TS_MAX(ex, ly.c + ey);
  return ly.c < 0 ? (ts_range){.min = y.min, .extent = ts_int(c->ir, end - ly.c)}
                  : (ts_range){.min = x.min, .extent = ts_int(c->ir, end)};
}

static void add_region(collector *c, bool write, const ts_buffer *b, const ts_range *dim) {
  if (c->log) {
    found x = {write, {.buf = b, .dim = ts_arena_dup(c->ir->arena, dim, sizeof(*dim) * (size_t)(b->ndim + 1))}};
    ts_vec_push(c->ir->arena, c->log, x);
  }
  size_t n = write ? c->writes.n : c->reads.n;
  ts_region *p = write ? c->writes.p : c->reads.p;
  for (size_t i = 0; i < n; i++) {
    if (p[i].buf != b) continue;
    ts_range *joined = ts_new_array(c->ir->arena, ts_range, b->ndim + 1);
    for (int d = 0; d < b->ndim; d++) joined[d] = hull(c, b, d, p[i].dim[d], dim[d]);
    p[i].dim = joined;
    return;
  }
  ts_region r = {.buf = b, .dim = ts_arena_dup(c->ir->arena, dim, sizeof(*dim) * (size_t)(b->ndim + 1))};
  if (write) {
    ts_vec_push(c->tmp, &c->writes, r);
  } else {
    ts_vec_push(c->tmp, &c->reads, r);
  }
}

static void access(collector *c, bool write, const ts_buffer *b, const ts_expr *const *idx, int lanes) {
  ts_range dim[TS__MAX_DIMS + 1] = {0};
  for (int d = 0; d < b->ndim; d++) dim[d] = range_of(c, b, d, idx[d], ts_int(c->ir, d + 1 == b->ndim ? lanes : 1));
  add_region(c, write, b, dim);
}

static bool visit_load(void *arg, const ts_expr *e) {
  if (e->kind == TS_E_LOAD) access(arg, false, e->buf, e->arg, e->type.lanes);
  return e->loads;
}
static void loads(collector *c, const ts_expr *e) {
  if (e && e->loads) ts_expr_visit(e, visit_load, c);
}

static void regions(collector *c, bool write, const ts_region *r, int n) {
  for (int i = 0; i < n; i++) {
    ts_range dim[TS__MAX_DIMS + 1] = {0};
    for (int d = 0; d < r[i].buf->ndim; d++) dim[d] = range_of(c, r[i].buf, d, r[i].dim[d].min, r[i].dim[d].extent);
    add_region(c, write, r[i].buf, dim);
  }
}

// --- statements -----------------------------------------------------------------------------------------------

static void push(collector *c, inner v) {
  ts_vec_push(c->tmp, &c->env, v);
  c->env_mask |= ts_var_bit(v.var);
}

// An inner block counts with the regions it has (its own are computed first, or declared).
static void inner_block(collector *c, const ts_block *b) {
  loads(c, b->predicate);
  for (int i = 0; i < b->niters; i++) loads(c, b->iters[i].value);
  size_t env = c->env.n;
  for (int i = 0; i < b->niters; i++) push(c, (inner){.var = b->iters[i].var, .value = b->iters[i].value});
  regions(c, false, b->reads, b->nreads);
  regions(c, true, b->writes, b->nwrites);
  c->env.n = env;
}

static void collect(collector *c, const ts_stmt *s);

// An outermost nest, for which collecting depends on nothing but the nest: what was found is kept, and found again when another
// part of the block changes.
static void collect_nest(collector *c, const ts_stmt *s) {
  uint64_t have;
  size_t env = c->env.n;
  if (ts__ptrmap_get(&c->ir->collected, s, &have)) {
    const found_list *l = (const found_list *)(uintptr_t)have;
    for (size_t i = 0; i < l->n; i++) add_region(c, l->p[i].write, l->p[i].region.buf, l->p[i].region.dim);
    return;
  }
  found_list *l = ts_new(c->ir->arena, found_list);
  c->log = l;
  loads(c, s->loop.min);
  loads(c, s->loop.extent);
  push(c, (inner){.var = s->loop.var, .range = {.min = s->loop.min, .extent = s->loop.extent}});
  collect(c, s->loop.body);
  c->env.n = env;
  c->log = NULL;
  ts__ptrmap_put(&c->ir->collected, s, (uint64_t)(uintptr_t)l);
}

static void collect(collector *c, const ts_stmt *s) {
  size_t env = c->env.n;
  switch (s->kind) {
    case TS_S_SEQ:
      for (int i = 0; i < s->seq.n; i++) collect(c, s->seq.child[i]);
      break;
    case TS_S_FOR:
      if (!env && !c->log) {
        collect_nest(c, s);
        break;
      }
      loads(c, s->loop.min);
      loads(c, s->loop.extent);
      push(c, (inner){.var = s->loop.var, .range = {.min = s->loop.min, .extent = s->loop.extent}});
      collect(c, s->loop.body);
      break;
    case TS_S_BLOCK:
      inner_block(c, s->block);
      break;
    case TS_S_STORE:
      for (int d = 0; d < s->store.buf->ndim; d++) loads(c, s->store.idx[d]);
      loads(c, s->store.value);
      access(c, true, s->store.buf, s->store.idx, s->store.value->type.lanes);
      break;
    case TS_S_IF:
      loads(c, s->cond.cond);
      collect(c, s->cond.then);
      if (s->cond.other) collect(c, s->cond.other);
      break;
    case TS_S_LET:
      loads(c, s->let.value);
      push(c, (inner){.var = s->let.var, .value = s->let.value});
      collect(c, s->let.body);
      break;
    case TS_S_ALLOC:
      collect(c, s->alloc.body);
      break;
    default:
      loads(c, s->eval);
      break;
  }
  c->env.n = env;
}

static bool is_own(const ts_block *b, const ts_buffer *buf) {
  for (int i = 0; i < b->nallocs; i++) {
    if (b->allocs[i] == buf) return true;
  }
  return false;
}

static int drop_own(const ts_block *b, ts_region *p, size_t n) {
  int m = 0;
  for (size_t i = 0; i < n; i++) {
    if (!is_own(b, p[i].buf)) p[m++] = p[i];
  }
  return m;
}

static bool same_regions(const ts_region *a, int na, const ts_region *b, int nb) {
  if (na != nb) return false;
  for (int i = 0; i < na; i++) {
    if (a[i].buf != b[i].buf) return false;
    if (memcmp(a[i].dim, b[i].dim, sizeof(ts_range) * (size_t)a[i].buf->ndim) != 0) return false;
  }
  return true;
}

// What a block's body touches: a matter of body, initialisation and allocations, whatever its iterators are bound to.
typedef struct touched {
  const ts_stmt *init;
  const ts_buffer *const *allocs;
  int nallocs, nreads, nwrites;
  const ts_region *reads, *writes;
} touched;

static const touched *touched_by(collector *c, const ts_block *b) {
  uint64_t have;
  bool known = ts__ptrmap_get(&c->ir->touched, b->body, &have);
  if (known) {
    const touched *t = (const touched *)(uintptr_t)have;
    if (t->init == b->init && t->nallocs == b->nallocs && (t->allocs == b->allocs || !t->nallocs)) return t;
  }
  c->env.n = c->reads.n = c->writes.n = 0;
  c->env_mask = 0;
  if (b->init) collect(c, b->init);
  collect(c, b->body);
  touched *t = ts_new(c->ir->arena, touched);
  *t = (touched){.init = b->init, .allocs = b->allocs, .nallocs = b->nallocs};
  t->nreads = drop_own(b, c->reads.p, c->reads.n);
  t->nwrites = drop_own(b, c->writes.p, c->writes.n);
  t->reads = t->nreads ? ts_arena_dup(c->ir->arena, c->reads.p, sizeof(ts_region) * (size_t)t->nreads) : NULL;
  t->writes = t->nwrites ? ts_arena_dup(c->ir->arena, c->writes.p, sizeof(ts_region) * (size_t)t->nwrites) : NULL;
  ts__ptrmap_put(&c->ir->touched, b->body, (uint64_t)(uintptr_t)t);
  return t;
}

static const ts_stmt *with_access(collector *c, const ts_stmt *s) {
  const ts_block *b = s->block;
  const touched *t = touched_by(c, b);
  if (same_regions(t->reads, t->nreads, b->reads, b->nreads) && same_regions(t->writes, t->nwrites, b->writes, b->nwrites)) return s;
  ts_block *n = ts_arena_dup(c->ir->arena, b, sizeof *b);
  n->nreads = t->nreads;
  n->nwrites = t->nwrites;
  n->reads = t->reads;
  n->writes = t->writes;
  ts_stmt *out;
  ts_stmt_copy(c->ir, s, &out);
  out->block = n;
  return out;
}

static const ts_stmt *infer(ts__mapper *m, const ts_stmt *s) {
  if (s->kind != TS_S_BLOCK) return s;
  const ts_stmt *out = s->block->explicit_access ? s : with_access(m->arg, s);
  ts__ptrmap_put(&m->ir->inferred, out->block, 1);
  return out;
}

// Blocks do not change, so that those of an earlier call have the right accesses, and so have all blocks inside them.
static bool inferred(ts__mapper *m, const ts_stmt *s) {
  uint64_t yes;
  return s->kind == TS_S_BLOCK && ts__ptrmap_get(&m->ir->inferred, s->block, &yes);
}

const ts_stmt *ts_stmt_infer_access(ts_ir *ir, const ts_stmt *s) {
  collector c = {.ir = ir, .tmp = ts_arena_new("access")};
  ts__mapper m = {.ir = ir, .stmt = infer, .skip = inferred, .arg = &c};
  const ts_stmt *out = ts__map_stmt(&m, s);
  ts_arena_free(c.tmp);
  return out;
}

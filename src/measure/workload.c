// Preparing a workload: dimensions to measure at, the compiled reference, its validation against the interpreter.
#include <math.h>
#include <stdlib.h>

#include "measure/measure_impl.h"

// --- layouts ------------------------------------------------------------------------------------------------------
static bool eval_dim(const ts_func *f, const int64_t *dims, const ts_expr *e, int64_t *out) {
  const ts_var *vars[8];
  for (int i = 0; i < f->ndims; i++) vars[i] = f->dims[i].var;
  return ts_eval_int(e, vars, dims, f->ndims, out);
}

bool ts__dims_of(const ts_func *f, const ts_func *ref, const int64_t *ref_dims, int64_t *out, ts_diag *d) {
  for (int i = 0; i < f->ndims; i++) {
    int at = -1;
    for (int k = 0; k < ref->ndims; k++)
      if (strcmp(ref->dims[k].var->name, f->dims[i].var->name) == 0) at = k;
    if (at < 0) return ts_refuse(d, "unknown-dimension", "%s: dimension %s is not one of the reference", f->name, f->dims[i].var->name);
    out[i] = ref_dims[at];
  }
  return true;
}

static int64_t bound_int(const ts_spec *s, const char *name, int64_t otherwise) {
  for (int i = 0; i < s->nbind; i++)
    if (s->bind[i].kind == TS_BIND_INT && strcmp(s->bind[i].name, name) == 0) return s->bind[i].i;
  return otherwise;
}

// Indices (token ids) are below the vocabulary.
static int64_t index_limit(const ts_spec *s) { return bound_int(s, "V", 1); }

static ts__fill fill_of(const ts_param *p) {
  if (p->role == TS_OUT) return TS__FILL_NONE;
  size_t n = strlen(p->buf->name);
  bool scale = n > 2 && strcmp(p->buf->name + n - 2, "_s") == 0;
  if (p->buf->distinct) return TS__FILL_DISTINCT;
  switch (p->buf->code) {
    case TS_F16: case TS_BF16: case TS_F32: case TS_F64: return scale ? TS__FILL_SCALE : TS__FILL_FLOAT;
    case TS_I32: case TS_I64: return TS__FILL_INDEX;
    default: return TS__FILL_BITS;
  }
}

bool ts__layout_of(const ts_func *f, const ts_spec *spec, const ts_func *ref, const int64_t *ref_dims, ts__layout *out, ts_diag *d) {
  int64_t dims[8];
  if (f->nparams > TS__MOST_PARAMS || f->ndims > 8) return ts_refuse(d, "too-many-parameters", "%s: at most %d parameters and 8 dimensions", f->name, TS__MOST_PARAMS);
  TS_TRY(ts__dims_of(f, ref, ref_dims, dims, d));
  *out = (ts__layout){.n = f->nparams};
  for (int i = 0; i < f->nparams; i++) {
    const ts_param *p = &f->params[i];
    ts__slot *s = &out->slot[i];
    *s = (ts__slot){.code = p->buf->code, .role = (int)p->role, .cache = (int)p->cache, .fill = fill_of(p), .count = 1, .below = p->buf->distinct ? p->buf->distinct : index_limit(spec)};
    snprintf(s->name, sizeof s->name, "%s", p->buf->name);
    for (int k = 0; k < p->buf->ndim; k++) {
      int64_t extent;
      if (!eval_dim(f, dims, p->buf->shape[k], &extent) || extent < 0)
        return ts_refuse(d, "wrong-shape", "%s: parameter %s has no size", f->name, s->name);
      if (__builtin_mul_overflow(s->count, extent, &s->count)) return ts_refuse(d, "wrong-shape", "%s: parameter %s is too large", f->name, s->name);
    }
    if (__builtin_mul_overflow(s->count, (int64_t)ts_code_bytes(s->code), &s->bytes) || s->bytes > INT64_C(1) << 36)
      return ts_refuse(d, "wrong-shape", "%s: parameter %s is too large", f->name, s->name);
  }
  return true;
}

double ts__rounding_of(const ts__layout *l) {
  double step = 0;
  for (int i = 0; i < l->n; i++) {
    if (l->slot[i].role == TS_IN) continue;
    if (l->slot[i].code == TS_F16) step = fmax(step, 0x1p-10);
    if (l->slot[i].code == TS_BF16) step = fmax(step, 0x1p-7);
  }
  return step;
}

// --- dimensions ------------------------------------------------------------------------------------------------------
static int64_t round_down(int64_t v, int64_t m) { return v / m * m; }

// n: rows in flight, timed at the largest; others (tokens in the cache) at a quarter, leaving room for the rows.
static void choose_dims(const ts_func *f, const ts_spec *s, int64_t dims[TS__CASES][8]) {
  int64_t rows = bound_int(s, "n", 1), positions = bound_int(s, "P", INT64_MAX);
  for (int i = 0; i < f->ndims; i++) {
    const ts_dim *m = &f->dims[i];
    bool n = strcmp(m->var->name, "n") == 0;
    int64_t most = round_down(m->hi, m->multiple), least = (m->lo + m->multiple - 1) / m->multiple * m->multiple;
    if (n) rows = most;
    int64_t hi = n ? m->hi : TS_MAX(m->lo, TS_MIN(m->hi, positions - rows));  // the cache holds `positions`
    int64_t timed = n ? most : TS_MAX(least, round_down(hi / 4, m->multiple));
    int64_t other = n ? least : TS_MAX(least, round_down(TS_MIN((int64_t)37, TS_MAX(hi - rows, m->lo)), m->multiple));
    dims[0][i] = timed;
    dims[1][i] = other;
  }
}

// --- the reference against the interpreter -------------------------------------------------------------------------
static double work(const ts_func *f, const int64_t *dims) {
  ts_cost c;
  ts_diag d;
  return ts_op_cost(f, dims, &c, &d) ? c.flops + c.bytes : INFINITY;
}

// Elements of all parameters: a run touches few of a gather's (an embedding, a pool of pages), all are made and compared.
static double elements(const ts_func *f, const int64_t *dims) {
  double sum = 0;
  for (int i = 0; i < f->nparams; i++) {
    double n = 1;
    int64_t extent;
    for (int k = 0; k < f->params[i].buf->ndim; k++) n *= eval_dim(f, dims, f->params[i].buf->shape[k], &extent) ? (double)extent : INFINITY;
    sum += n;
  }
  return sum;
}

// Positions that a run at these dimensions reaches, those that the workload binds included.
static int64_t reach(const ts_func *f, const ts_spec *s, const int64_t *dims) {
  int64_t n = bound_int(s, "n", 0) + bound_int(s, "t", 0);
  for (int i = 0; i < f->ndims; i++) n += dims[i];
  return n;
}

// Whether a parameter may become half of what it is: a cache of P positions must hold those that are reached. Tokens in the cache are any
// number, others stay whole.
static bool can_halve(const ts_bind *b, const ts_func *f, const ts_spec *s, const int64_t *dims) {
  if (b->kind != TS_BIND_INT || b->i <= 1) return false;
  if (strcmp(b->name, "t") == 0) return true;
  return b->i % 2 == 0 && (strcmp(b->name, "P") != 0 || b->i / 2 > reach(f, s, dims));
}

// Facts of a dimension (tokens in the cache) that follow a parameter (positions of the cache) shrink with it.
static void halve_facts(ts_bind *b, int n, int64_t was) {
  for (int i = 0; i < n; i++)
    if (b[i].kind == TS_BIND_DIM && strcmp(b[i].name, "n") != 0 && b[i].hi <= was) b[i].hi = TS_MAX(b[i].i, b[i].hi / 2 / b[i].multiple * b[i].multiple);
}

// Halve integer parameters, one after the other, while the operator can still be instantiated and is too large to interpret.
static bool shrink(ts_ir *ir, const ts_spec *spec, ts_spec *small, const ts_func **f, int64_t dims[TS__CASES][8], ts_diag *d) {
  enum { SMALL = 400000, FEW = 1 << 22 };
  ts_arena *a = ts_ir_arena(ir);
  ts_bind *b = ts_arena_dup(a, spec->bind, (size_t)spec->nbind * sizeof *b);
  *small = *spec;
  small->bind = b;
  bool stuck[64] = {false};
  ts_op_inst inst;
  for (;;) {
    TS_TRY(ts_op_instantiate(ir, small, "", &inst, d));
    choose_dims(inst.func, small, dims);
    if (work(inst.func, dims[1]) <= SMALL && elements(inst.func, dims[1]) <= FEW) break;
    int best = -1;
    for (int i = 0; i < spec->nbind && i < 64; i++)
      if (!stuck[i] && can_halve(&b[i], inst.func, small, dims[1]) && (best < 0 || b[i].i > b[best].i)) best = i;
    if (best < 0) break;
    int64_t was = b[best].i;
    b[best].i /= 2;
    ts_diag refused = {0};
    if (ts_op_instantiate(ir, small, "", &inst, &refused)) {
      halve_facts(b, spec->nbind, was);
    } else {
      b[best].i = was;
      stuck[best] = true;
    }
  }
  *f = inst.func;
  return true;
}

typedef struct arrays {
  ts_array array[TS__MOST_PARAMS];
  ts_array *list[TS__MOST_PARAMS];
  int64_t shape1[TS__MOST_PARAMS];
} arrays;

static void free_arrays(arrays *x, int n) {
  for (int i = 0; i < n; i++) free(x->array[i].data);
}

static bool make_arrays(const ts_func *f, const int64_t *dims, const ts__layout *l, arrays *x, ts_diag *d) {
  for (int i = 0; i < l->n; i++) {
    const ts_buffer *b = f->params[i].buf;
    x->array[i] = (ts_array){.code = b->code, .ndim = b->ndim};
    for (int k = 0; k < b->ndim; k++)
      if (!eval_dim(f, dims, b->shape[k], &x->array[i].shape[k])) return ts_refuse(d, "wrong-shape", "%s: parameter %s has no size", f->name, b->name);
    x->array[i].data = aligned_alloc(64, (size_t)(l->slot[i].bytes / 64 + 1) * 64);
    if (!x->array[i].data) return ts_env_fail(d, "out-of-memory", "%s: no memory for %s", f->name, b->name);
    memset(x->array[i].data, 0, (size_t)(l->slot[i].bytes / 64 + 1) * 64);
    x->list[i] = &x->array[i];
    ts__fill_slot(&l->slot[i], x->array[i].data, 7, (uint64_t)i);
  }
  return true;
}

// Largest difference over all outputs, relative to the largest magnitude of the interpreter's.
static double difference(const ts__layout *l, const arrays *x, const arrays *y) {
  double worst = 0, largest = 0;
  for (int i = 0; i < l->n; i++) {
    if (l->slot[i].role == TS_IN) continue;
    for (int64_t k = 0; k < l->slot[i].count; k++) {
      double p = ts_array_get(&x->array[i], k), q = ts_array_get(&y->array[i], k);
      if (isnan(p) != isnan(q)) return INFINITY;
      if (isnan(p)) continue;
      worst = fmax(worst, fabs(p - q));
      largest = fmax(largest, fabs(p));
    }
  }
  return worst == 0 ? 0 : worst / largest;
}

static void parallel_here(const ts_kernel_rt *rt, void (*body)(void *env, int64_t begin, int64_t end), void *env, int64_t n) {
  (void)rt;
  body(env, 0, n);
}

static bool run_object(const ts_object *o, const int64_t *dims, arrays *x, int n, ts_diag *d) {
  ts_loaded k;
  TS_TRY(ts_object_load(o, &k, d));
  void *buf[TS__MOST_PARAMS + 1];
  for (int i = 0; i < n; i++) buf[i] = x->array[i].data;
  int64_t ws = k.workspace(dims);
  buf[n] = aligned_alloc(64, (size_t)(ws / 64 + 1) * 64);
  if (!buf[n]) {
    ts_object_unload(&k);
    return ts_env_fail(d, "out-of-memory", "no memory for a workspace of %lld bytes", (long long)ws);
  }
  k.run(buf, dims, &(ts_kernel_rt){.parallel = parallel_here, .threads = 1});
  free(buf[n]);
  ts_object_unload(&k);
  return true;
}

static bool validate(const ts_spec *spec, ts_compiler *c, double tolerance, ts_diag *d) {
  ts_arena *a = ts_arena_new("validate");
  ts_ir *ir = ts_ir_new(a);
  ts_spec small;
  const ts_func *f;
  int64_t dims[TS__CASES][8];
  ts__layout l;
  ts_object o;
  arrays x = {0}, y = {0};
  ts_interp_opts limits = {.max_steps = 400000000};
  bool ok = shrink(ir, spec, &small, &f, dims, d) && ts__layout_of(f, &small, f, dims[1], &l, d) && make_arrays(f, dims[1], &l, &x, d) &&
            make_arrays(f, dims[1], &l, &y, d) && ts_compiler_run(c, f, a, &o, d) && ts_interp_run(f, dims[1], x.list, &limits, d) &&
            run_object(&o, dims[1], &y, l.n, d);
  if (ok) {
    double e = difference(&l, &x, &y);
    ok = e <= fmax(tolerance, ts__rounding_of(&l)) || ts_bug(d, "reference-wrong", "%s: the compiled reference differs from the interpreter by %.3g (allowed %.3g)", spec->op, e, tolerance);
  }
  free_arrays(&x, TS__MOST_PARAMS);
  free_arrays(&y, TS__MOST_PARAMS);
  ts_arena_free(a);
  return ok;
}

// --- the reference on a GPU ---------------------------------------------------------------------------------------------
static bool keep_arrays(ts_arena *a, const arrays *x, int n, const void **out, const ts__layout *l) {
  for (int i = 0; i < n; i++) out[i] = ts_arena_dup(a, x->array[i].data, (size_t)l->slot[i].bytes);
  return true;
}

// What was submitted as 0 and 1, which is all that is pending.
static bool compiled(ts_compiler *c, ts_arena *a, ts_object *zero, ts_object *one, ts_diag *d) {
  ts_compiled x;
  bool ok = true;
  for (int got; (got = ts_compiler_next(c, 60, a, &x)) >= 0;) {
    if (!got) continue;
    if (x.ok) *(x.tag ? one : zero) = x.object;
    else if (ok) ok = (*d = x.diag, false);
  }
  return ok;
}

// The reference with a plain schedule, compiled for the GPU, and the same on a small shape with what the interpreter makes of it: this
// process has no GPU, the worker compares.
static bool gpu_reference(ts_workload *w, ts_compiler *c, double tolerance, ts_diag *d) {
  ts_arena *scratch = ts_arena_new("small");
  ts_ir *ir = ts_ir_new(scratch);
  ts_spec spec;
  const ts_func *f, *plain;
  int64_t dims[TS__CASES][8];
  arrays x = {0};
  ts__small *s = ts_new(w->arena, ts__small);
  ts_interp_opts limits = {.max_steps = 400000000};
  bool ok = shrink(ir, &w->spec, &spec, &f, dims, d) && (plain = ts__plain_gpu(ir, f, d)) && ts_compiler_submit(c, plain, 0, d) && (plain = ts__plain_gpu(w->ir, w->reference, d)) &&
            ts_compiler_submit(c, plain, 1, d) && ts__layout_of(f, &spec, f, dims[1], &s->layout, d) && make_arrays(f, dims[1], &s->layout, &x, d) &&
            keep_arrays(w->arena, &x, s->layout.n, s->data, &s->layout) && ts_interp_run(f, dims[1], x.list, &limits, d) &&
            keep_arrays(w->arena, &x, s->layout.n, s->expected, &s->layout) && compiled(c, w->arena, &s->object, &w->object, d);
  if (!ok) {
    ts_object ignored[2];
    ts_diag whatever = {0};
    (void)!compiled(c, w->arena, &ignored[0], &ignored[1], &whatever);
  }
  memcpy(s->dims, dims[1], sizeof s->dims);
  s->tolerance = fmax(tolerance, ts__rounding_of(&s->layout));
  free_arrays(&x, TS__MOST_PARAMS);
  ts_arena_free(scratch);
  if (ok) w->small = s;
  return ok;
}

// Where the plain schedule does not apply, the CPU computes what is right.
static bool host_reference(ts_workload *w, double tolerance, ts_diag *d) {
  ts_target cpu;
  TS_TRY(ts_target_parse("cpu", &cpu, d));
  ts_compiler *c = ts_compiler_open(&cpu, 1, NULL, d);
  bool ok = c && validate(&w->spec, c, tolerance, d) && ts_compiler_run(c, w->reference, w->arena, &w->object, d);
  ts_compiler_close(c);
  w->on_host = true;
  return ok;
}

static bool make_reference(ts_workload *w, ts_compiler *c, double tolerance, ts_diag *d) {
  if (w->target.api != TS_API_CUDA) return validate(&w->spec, c, tolerance, d) && ts_compiler_run(c, w->reference, w->arena, &w->object, d);
  ts_diag why = {0};
  if (gpu_reference(w, c, tolerance, &why)) return true;
  if (getenv("TS_EXPLAIN")) ts_say("note: %s: the CPU computes the reference: %s", w->spec.op, why.message);
  return host_reference(w, tolerance, d);
}

// --- open ----------------------------------------------------------------------------------------------------------
ts_workload *ts_workload_open(const ts_spec *spec, const ts_target *t, ts_compiler *c, ts_diag *d) {
  ts_arena *a = ts_arena_new("workload");
  ts_workload *w = ts_new(a, ts_workload);
  w->arena = a;
  w->ir = ts_ir_new(a);
  w->target = *t;
  ts_text text = {0};
  ts_spec_print(&text, spec);
  ts_op_inst inst;
  bool ok = ts_spec_parse(a, ts_text_str(&text), &w->spec, d) && ts_op_instantiate(w->ir, &w->spec, "", &inst, d);
  ts_text_free(&text);
  if (ok) {
    w->reference = inst.func;
    w->tolerance = inst.tolerance;
    choose_dims(inst.func, &w->spec, w->dims);
    ok = ts_op_cost(inst.func, w->dims[0], &w->cost, d) && make_reference(w, c, TS_MAX(inst.tolerance * 0.1, 1e-6), d);
  }
  if (ok) return w;
  ts_arena_free(a);
  return NULL;
}

void ts_workload_close(ts_workload *w) {
  if (w) ts_arena_free(w->arena);
}

const ts_spec *ts_workload_spec(const ts_workload *w) { return &w->spec; }
const ts_func *ts_workload_reference(const ts_workload *w) { return w->reference; }
const int64_t *ts_workload_dims(const ts_workload *w) { return w->dims[0]; }
double ts_workload_tolerance(const ts_workload *w) { return w->tolerance; }
ts_cost ts_workload_cost(const ts_workload *w) { return w->cost; }

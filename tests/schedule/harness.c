// See harness.h.
#include "schedule/harness.h"

#include <math.h>

void dims_choose(const ts_func *f, int which, int64_t *dims) {
  static const int64_t wish[] = {5, 8, 1, 17, 12};
  for (int i = 0; i < f->ndims; i++) {
    const ts_dim *d = &f->dims[i];
    int64_t m = d->multiple < 1 ? 1 : d->multiple, v = wish[(which + i) % (int)TS_COUNTOF(wish)];
    v = (v + m - 1) / m * m;
    while (v < d->lo) v += m;
    while (v > d->hi) v -= m;
    dims[i] = v;
  }
}

static bool shape_eval(const ts_func *f, const int64_t *dims, const ts_buffer *b, ts_array *out) {
  const ts_var *vars[8];
  for (int i = 0; i < f->ndims; i++) vars[i] = f->dims[i].var;
  *out = (ts_array){.code = b->code, .ndim = b->ndim};
  int64_t count = 1;
  for (int d = 0; d < b->ndim; d++) {
    if (!ts_eval_int(b->shape[d], vars, dims, f->ndims, &out->shape[d])) return false;
    count *= out->shape[d];
    if (count < 0 || count > 1 << 20) return false;
  }
  return true;
}

static double draw(ts_rng *r, ts_code code) {
  if (ts_code_is_float(code)) return (double)((int)ts_rng_below(r, 33) - 16) / 8.0;
  if (code == TS_BOOL) return ts_rng_below(r, 2);
  if (ts_code_is_unsigned(code)) return ts_rng_below(r, 200);
  return (double)((int)ts_rng_below(r, 100) - 50);
}

bool data_make(ts_arena *a, const ts_func *f, const int64_t *dims, uint64_t seed, run_data *out) {
  ts_rng r = ts_rng_new(seed, 7);
  out->n = f->nparams;
  out->args = ts_new_array(a, ts_array *, f->nparams);
  memcpy(out->dims, dims, sizeof(int64_t) * (size_t)f->ndims);
  for (int i = 0; i < f->nparams; i++) {
    ts_array *x = out->args[i] = ts_new(a, ts_array);
    if (!shape_eval(f, dims, f->params[i].buf, x)) return false;
    int64_t n = ts_array_count(x);
    x->data = ts_arena_alloc(a, (size_t)(n + 1) * 8, 8);
    for (int64_t k = 0; k < n; k++) ts_array_set(x, k, f->params[i].role == TS_OUT ? 99 : draw(&r, x->code));
    if (f->params[i].buf->distinct) ts_array_set_distinct(x, f->params[i].buf->distinct, (uint64_t)i);
  }
  return true;
}

const char *data_differs(ts_arena *a, const ts_func *f, const run_data *x, const run_data *y) {
  for (int i = 0; i < x->n; i++) {
    double top = 1;
    int64_t n = ts_array_count(x->args[i]);
    for (int64_t k = 0; k < n; k++) top = fmax(top, fabs(ts_array_get(x->args[i], k)));
    double eps = ts_code_bits(x->args[i]->code) <= 16 ? 1e-2 : 1e-5;
    for (int64_t k = 0; k < n; k++) {
      double p = ts_array_get(x->args[i], k), q = ts_array_get(y->args[i], k);
      bool same = p == q || (isnan(p) && isnan(q)) || (ts_code_is_float(x->args[i]->code) && fabs(p - q) <= eps * top);
      if (!same) return ts_arena_printf(a, "element %lld of %s is %g, not %g", (long long)k, f->params[i].buf->name, q, p);
    }
  }
  return NULL;
}

const char *meaning_differs(ts_arena *a, const ts_func *f, const ts_func *g, int which, uint64_t seed) {
  int64_t dims[8];
  run_data x, y;
  ts_interp_opts o = {.max_steps = 20000000, .check_races = true};
  ts_diag d = {0};
  dims_choose(g, which, dims);  // g may hold for fewer sizes: declared facts
  if (!data_make(a, f, dims, seed, &x) || !data_make(a, f, dims, seed, &y)) return "a parameter is too large to run";
  if (!ts_interp_run(f, dims, x.args, &o, &d)) return ts_arena_printf(a, "before: %s [%s]", d.message, d.code);
  if (!ts_interp_run(g, dims, y.args, &o, &d)) return ts_arena_printf(a, "after: %s [%s]", d.message, d.code);
  return data_differs(a, f, &x, &y);
}

uint64_t state_hash(const ts_sched *s) {
  uint64_t h = ts_hash_mix(ts_func_hash(ts_sched_func(s)), ts_trace_hash(ts_sched_trace(s)));
  const ts_trace *t = ts_sched_trace(s);
  for (int i = 0; i < t->nrvs; i++) {
    int64_t v;
    const ts_stmt *l = ts_sched_loop(s, i), *b = ts_sched_block(s, i);
    h = ts_hash_mix(h, l ? l->id : b ? b->id : ts_sched_int(s, i, &v) ? (uint64_t)v : 0);
    h = ts_hash64(t->rv_name[i], strlen(t->rv_name[i]), h);
  }
  return h;
}

static const char *text_round(ts_arena *a, const ts_sched *s) {
  ts_text one = {0}, two = {0};
  ts_diag d = {0};
  const char *bad = NULL;
  ts_func_print(&one, ts_sched_func(s));
  ts_ir *ir = ts_ir_new(a);
  const ts_func *f = ts_func_parse(ir, "printed", ts_text_str(&one), one.n, NULL, 0, &d);
  if (!f) bad = ts_arena_printf(a, "the printed function does not parse: %s\n%s", d.message, ts_text_str(&one));
  else if (!ts_func_equal(f, ts_sched_func(s))) bad = ts_arena_printf(a, "the printed function reads back as another one\n%s", ts_text_str(&one));
  else {
    ts_func_print(&two, f);
    if (strcmp(ts_text_str(&one), ts_text_str(&two)) != 0) bad = ts_arena_printf(a, "printing twice differs\n%s\n%s", ts_text_str(&one), ts_text_str(&two));
  }
  ts_text_free(&one);
  ts_text_free(&two);
  return bad;
}

static const char *trace_round(ts_arena *a, const ts_func *start, const ts_sched *s) {
  ts_text one = {0};
  ts_diag d = {0};
  const char *bad = NULL;
  ts_trace_print(&one, ts_sched_trace(s));
  const ts_trace *t = ts_trace_parse(a, "printed", ts_text_str(&one), one.n, &d);
  ts_ir *ir = ts_ir_new(a);
  ts_sched *again = ts_sched_new(ir, ts_func_clone(ir, start), 99);
  ts_replay r = {.strict = true};
  if (!t) bad = ts_arena_printf(a, "the printed trace does not parse: %s\n%s", d.message, ts_text_str(&one));
  else if (!ts_trace_equal(t, ts_sched_trace(s))) bad = ts_arena_printf(a, "the printed trace reads back as another one\n%s", ts_text_str(&one));
  else if (!ts_sched_replay_trace(again, t, &r, &d)) bad = ts_arena_printf(a, "the printed trace does not replay: %s", d.message);
  else if (!ts_func_equal(ts_sched_func(again), ts_sched_func(s))) bad = "the replayed trace gives another function";
  ts_text_free(&one);
  return bad;
}

// The simplified trace makes the same function.
static const char *simplified(ts_arena *a, const ts_func *start, const ts_sched *s) {
  const ts_trace *t = ts_trace_simplify(a, ts_sched_trace(s));
  ts_ir *ir = ts_ir_new(a);
  ts_sched *again = ts_sched_new(ir, ts_func_clone(ir, start), 99);
  ts_replay r = {.strict = true};
  ts_diag d = {0};
  if (!ts_sched_replay_trace(again, t, &r, &d)) return ts_arena_printf(a, "the simplified trace does not replay: %s", d.message);
  return ts_func_equal(ts_sched_func(again), ts_sched_func(s)) ? NULL : "the simplified trace gives another function";
}

const char *state_complaint(ts_arena *a, const ts_func *start, const ts_sched *s) {
  ts_diag d = {0};
  if (!ts_func_verify(ts_sched_func(s), &d)) {
    ts_text t = {0};
    ts_func_print(&t, ts_sched_func(s));
    const char *bad = ts_arena_printf(a, "verify: %s\n%s", d.message, ts_text_str(&t));
    ts_text_free(&t);
    return bad;
  }
  const char *bad = text_round(a, s);
  if (!bad) bad = trace_round(a, start, s);
  return bad ? bad : simplified(a, start, s);
}

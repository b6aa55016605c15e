// Random expressions and blocks: text and parser against each other, folding against the interpreter, inferred accesses
// against the indices a run really touches. Usage: property_ir [cases] [seed]
#include <math.h>
#include <stdlib.h>

#include "ir/ir.h"

enum { SIZE = 8 };

typedef struct gen {
  ts_arena *arena;
  ts_ir *ir;
  ts_rng rng;
  uint64_t id;
  bool loads, calls;
  const ts_buffer *in[TS_CODE__COUNT];
  const ts_var *var[TS_CODE__COUNT];
} gen;

static long fails;
static uint32_t below(gen *g, uint32_t n) { return ts_rng_below(&g->rng, n); }

static void complain(const gen *g, const char *what, const char *text) {
  if (++fails <= 5) fprintf(stderr, "case %llu: %s\n%s\n", (unsigned long long)g->id, what, text);
}

// --- expressions ----------------------------------------------------------------------------------------------

static const ts_expr *expr(gen *g, ts_code c, int depth);

static const ts_expr *constant(gen *g, ts_code c) {
  static const int64_t ints[] = {0,   1,   -1,   2,     3,         7,         8,         127,
                                 128, 255, -128, 65535, INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN};
  static const double floats[] = {0,     -0.0, 1,    -1,     0.1,      0.5, 3.25,    -7,
                                  65504, 1e-8, 1e30, -1e300, INFINITY, NAN, 16777217};
  if (ts_code_is_float(c)) return ts_const_float(g->ir, ts_scalar(c), floats[below(g, TS_COUNTOF(floats))]);
  return ts_const_int(g->ir, ts_scalar(c), ints[below(g, TS_COUNTOF(ints))]);
}

static const ts_expr *leaf(gen *g, ts_code c) {
  if (below(g, 3) == 0) return constant(g, c);
  if (!g->loads || below(g, 2)) return ts_evar(g->ir, g->var[c]);
  const ts_expr *i = ts_bin(g->ir, TS_E_FLOORMOD, expr(g, TS_I64, 1), ts_int(g->ir, SIZE));
  return ts_load(g->ir, g->in[c], &i);
}

static ts_code any_code(gen *g) { return (ts_code)below(g, TS_CODE__COUNT); }

static const ts_expr *boolean(gen *g, int depth) {
  static const ts_ekind kinds[] = {TS_E_EQ, TS_E_NE, TS_E_LT, TS_E_LE};
  ts_code c = any_code(g);
  ts_ekind k = kinds[below(g, 4)];
  switch (below(g, 4)) {
    case 0:
      return ts_bin(g->ir, below(g, 2) ? TS_E_AND : TS_E_OR, expr(g, TS_BOOL, depth), expr(g, TS_BOOL, depth));
    case 1:
      return ts_not(g->ir, expr(g, TS_BOOL, depth));
    default:
      if (!ts_bin_allowed(k, ts_scalar(c))) c = TS_I64;
      return ts_bin(g->ir, k, expr(g, c, depth), expr(g, c, depth));
  }
}

static const ts_expr *call(gen *g, ts_code c, int depth) {
  static const struct {
    const char *name;
    int n;
  } rows[] = {{"exp", 1}, {"rsqrt", 1}, {"round", 1}, {"pow", 2}, {"fma", 3}};
  uint32_t r = below(g, TS_COUNTOF(rows));
  const ts_expr *a[3];
  for (int i = 0; i < rows[r].n; i++) a[i] = expr(g, c, depth);
  return ts_call(g->ir, ts_scalar(c), rows[r].name, a, rows[r].n);
}

static const ts_expr *binary(gen *g, ts_code c, int depth) {
  for (;;) {
    ts_ekind k = (ts_ekind)(TS_E_ADD + (int)below(g, TS_E_SHR - TS_E_ADD + 1));
    if (!ts_bin_allowed(k, ts_scalar(c))) continue;
    const ts_expr *a = expr(g, c, depth), *b = expr(g, c, depth);
    bool shift = k == TS_E_SHL || k == TS_E_SHR;
    if (shift && below(g, 8)) b = ts_bin(g->ir, TS_E_BITAND, b, ts_const_int(g->ir, ts_scalar(c), ts_code_bits(c) - 1));
    return ts_bin(g->ir, k, a, b);
  }
}

static const ts_expr *expr(gen *g, ts_code c, int depth) {
  if (depth == 0 || below(g, 6) == 0) return leaf(g, c);
  depth--;
  switch (below(g, 8)) {
    case 0:
      return ts_select(g->ir, expr(g, TS_BOOL, depth), expr(g, c, depth), expr(g, c, depth));
    case 1:
      return ts_cast(g->ir, ts_scalar(c), expr(g, any_code(g), depth));
    case 2:
      if (g->calls && ts_code_is_float(c)) return call(g, c, depth);
      break;
    case 3:
      if (c == TS_F32) return ts_bitcast(g->ir, ts_scalar(c), expr(g, TS_U32, depth));
      if (c == TS_I16) return ts_bitcast(g->ir, ts_scalar(c), expr(g, TS_BF16, depth));
      break;
    default:
      break;
  }
  return c == TS_BOOL ? boolean(g, depth) : binary(g, c, depth);
}

static void setup(gen *g) {
  const ts_expr *size = ts_int(g->ir, SIZE);
  for (int c = 0; c < TS_CODE__COUNT; c++) {
    g->in[c] = ts_buffer_new(g->ir, ts_code_name((ts_code)c), (ts_code)c, 1, &size, "global");
    g->var[c] = ts_var_new(g->ir, c % 2 ? "v" : ts_code_name((ts_code)c), ts_scalar((ts_code)c));
  }
}

// let every variable be `value`, then out[0] = e; all input buffers are parameters.
static const ts_func *function(gen *g, const ts_expr *e, const ts_expr *const *value) {
  ts_func *f = ts_new(g->arena, ts_func);
  ts_param *p = ts_new_array(g->arena, ts_param, TS_CODE__COUNT + 1);
  const ts_expr *one = ts_int(g->ir, 1), *zero = ts_int(g->ir, 0);
  ts_buffer *out = ts_buffer_new(g->ir, "out", (ts_code)e->type.code, 1, &one, "global");
  for (int c = 0; c < TS_CODE__COUNT; c++) p[c] = (ts_param){.buf = g->in[c], .role = TS_IN};
  p[TS_CODE__COUNT] = (ts_param){.buf = out, .role = TS_OUT};
  const ts_stmt *body = ts_store(g->ir, out, &zero, e);
  for (int c = 0; c < TS_CODE__COUNT; c++) body = ts_let(g->ir, g->var[c], value[c], body);
  ts_block *b = ts_new(g->arena, ts_block);
  b->name = "root";
  b->body = body;
  *f = (ts_func){.name = "f", .nparams = TS_CODE__COUNT + 1, .params = p};
  f->body = ts_stmt_infer_access(g->ir, ts_block_stmt(g->ir, b));
  return f;
}

typedef struct outcome {
  bool ok;
  char code[40];
  uint64_t bits;
} outcome;

static outcome interpret(const ts_func *f) {
  uint64_t store[TS_CODE__COUNT + 1][SIZE] = {{0}};
  ts_array a[TS_CODE__COUNT + 1], *args[TS_CODE__COUNT + 1];
  ts_diag d = {0};
  for (int i = 0; i < f->nparams; i++) {
    a[i] = (ts_array){
        .code = f->params[i].buf->code, .ndim = 1, .shape = {i == TS_CODE__COUNT ? 1 : SIZE}, .data = store[i]};
    args[i] = &a[i];
    for (int k = 0; k < SIZE && i < TS_CODE__COUNT; k++) ts_array_set(&a[i], k, (double)(k * k) - 9.5);
  }
  outcome o = {.ok = ts_interp_run(f, NULL, args, NULL, &d)};
  memcpy(o.code, d.code, sizeof o.code);
  memcpy(&o.bits, store[TS_CODE__COUNT], (size_t)ts_code_bytes(a[TS_CODE__COUNT].code));
  double v = ts_array_get(&a[TS_CODE__COUNT], 0);
  if (isnan(v)) o.bits = 0;
  return o;
}

static bool same_outcome(const outcome *a, const outcome *b) {
  return a->ok == b->ok && (a->ok ? a->bits == b->bits : strcmp(a->code, b->code) == 0);
}

// print(f) parses to a function that is equal, prints alike and computes the same.
static void text_property(gen *g, const ts_func *f, const outcome *want) {
  ts_text one = {0}, two = {0};
  ts_diag d = {0};
  ts_func_print(&one, f);
  if (!ts_func_verify(f, &d)) complain(g, d.message, one.p);
  const ts_func *again = ts_func_parse(g->ir, "text", one.p, one.n, NULL, 0, &d);
  if (!again) {
    complain(g, d.message, one.p);
  } else {
    ts_func_print(&two, again);
    outcome o = interpret(again);
    if (strcmp(one.p, two.p) != 0) complain(g, "prints differently", two.p);
    if (!ts_func_equal(f, again) || ts_func_hash(f) != ts_func_hash(again))
      complain(g, "is not equal after parsing", one.p);
    if (!same_outcome(&o, want)) complain(g, "computes something else after parsing", one.p);
  }
  ts_text_free(&one);
  ts_text_free(&two);
}

// The expression with constants put in for its variables computes the same, folded or not; so does ts_eval_int.
static void fold_property(gen *g, const ts_expr *e, const ts_expr *const *value, const outcome *want) {
  ts_subst map[TS_CODE__COUNT];
  const ts_var *vars[TS_CODE__COUNT];
  int64_t values[TS_CODE__COUNT], got;
  for (int c = 0; c < TS_CODE__COUNT; c++) {
    map[c] = (ts_subst){.from = g->var[c], .to = value[c]};
    vars[c] = g->var[c];
    values[c] = value[c]->kind == TS_E_INT ? value[c]->i : 0;
  }
  ts_text t = {0};
  ts_expr_print(&t, e);
  outcome o = interpret(function(g, ts_expr_subst(g->ir, e, map, TS_CODE__COUNT), value));
  if (!same_outcome(&o, want)) complain(g, "folding changes the value", t.p);
  if (!ts_code_is_float(e->type.code) && ts_eval_int(e, vars, values, TS_CODE__COUNT, &got)) {
    size_t n = (size_t)ts_code_bytes(e->type.code);
    if (!want->ok || memcmp(&got, &want->bits, n) != 0) complain(g, "ts_eval_int gives another value", t.p);
  }
  ts_text_free(&t);
}

static void expression_case(gen *g) {
  const ts_expr *value[TS_CODE__COUNT];
  for (int c = 0; c < TS_CODE__COUNT; c++) value[c] = constant(g, (ts_code)c);
  const ts_expr *e = expr(g, any_code(g), 4);
  const ts_func *f = function(g, e, value);
  outcome want = interpret(f);
  text_property(g, f, &want);
  fold_property(g, e, value, &want);
}

// --- accesses -------------------------------------------------------------------------------------------------

// A random index over the given variables: sums, differences, scalings, divisions, remainders.
static const ts_expr *index_expr(gen *g, const ts_var *const *v, int n, int depth) {
  if (depth == 0 || below(g, 5) == 0)
    return below(g, 5) ? ts_evar(g->ir, v[below(g, (uint32_t)n)]) : ts_int(g->ir, (int64_t)below(g, 9) - 4);
  const ts_expr *a = index_expr(g, v, n, depth - 1);
  int64_t k = (int64_t)below(g, 6) + 1;
  switch (below(g, 6)) {
    case 0:
      return ts_sub(g->ir, a, index_expr(g, v, n, depth - 1));
    case 1:
      return ts_mul(g->ir, a, ts_int(g->ir, below(g, 4) ? k : -k));
    case 2:
      return ts_bin(g->ir, TS_E_FLOORDIV, a, ts_int(g->ir, k));
    case 3:
      return ts_bin(g->ir, TS_E_FLOORMOD, a, ts_int(g->ir, k));
    default:
      return ts_add(g->ir, a, index_expr(g, v, n, depth - 1));
  }
}

enum { OUTER = 5, MIDDLE = 4, INNER = 3 };

// Block outer(vo) { for i { block inner(vi = f(vo, i)) { for j { x[e(vo, i?, vi, j)] } } } }: every element touched
// lies in the region of outer.
static void access_case(gen *g) {
  ts_ir *ir = g->ir;
  const ts_expr *size = ts_int(ir, 1 << 20), *zero = ts_int(ir, 0);
  const ts_buffer *x = ts_buffer_new(ir, "x", TS_F32, 1, &size, "global");
  const ts_var *v[4];
  for (int i = 0; i < 4; i++) v[i] = ts_var_new(ir, (const char *[]){"vo", "i", "vi", "j"}[i], TS_INDEX);
  const ts_expr *bind = index_expr(g, v, 2, 2), *at = index_expr(g, v, 4, 3);
  const ts_expr *store_at = ts_add(ir, at, ts_int(ir, 1 << 19));
  const ts_stmt *body = ts_for(ir, v[3], ts_int(ir, 1), ts_int(ir, INNER), TS_SERIAL,
                               ts_store(ir, x, &store_at, ts_const_float(ir, ts_scalar(TS_F32), 0)));
  ts_iter inner_iter = {.var = v[2], .dom = {.min = zero, .extent = size}, .value = bind};
  ts_block inner = {.name = "inner", .niters = 1, .iters = &inner_iter, .body = body};
  ts_iter outer_iter = {.var = v[0], .dom = {.min = zero, .extent = ts_int(ir, OUTER)}, .value = zero};
  ts_block outer = {.name = "outer", .niters = 1, .iters = &outer_iter};
  outer.body = ts_for(ir, v[1], zero, ts_int(ir, MIDDLE), TS_SERIAL, ts_block_stmt(ir, &inner));
  const ts_stmt *s = ts_stmt_infer_access(ir, ts_block_stmt(ir, &outer));
  const ts_range *r = &s->block->writes[0].dim[0];
  for (int64_t a = 0; a < OUTER * MIDDLE * INNER; a++) {
    int64_t value[4] = {a / (MIDDLE * INNER), a / INNER % MIDDLE, 0, a % INNER + 1}, p, lo, n;
    if (!ts_eval_int(bind, v, value, 2, &value[2]) || !ts_eval_int(store_at, v, value, 4, &p)) continue;
    if (ts_eval_int(r->min, v, value, 1, &lo) && ts_eval_int(r->extent, v, value, 1, &n) && p >= lo && p < lo + n)
      continue;
    ts_text t = {0};
    ts_stmt_print(&t, s, 0);
    complain(g, "touches an element outside its region", t.p);
    ts_text_free(&t);
    return;
  }
}

int main(int argc, char **argv) {
  long cases = argc > 1 ? strtol(argv[1], NULL, 10) : 4000;
  uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
  for (long i = 0; i < cases; i++) {
    gen g = {.arena = ts_arena_new("case"),
             .rng = ts_rng_new(seed, (uint64_t)i),
             .id = (uint64_t)i,
             .loads = i % 2,
             .calls = i % 4 > 1};
    g.ir = ts_ir_new(g.arena);
    setup(&g);
    expression_case(&g);
    access_case(&g);
    ts_arena_free(g.arena);
  }
  printf("%ld cases, %ld failures\n", cases, fails);
  return fails != 0;
}

// search: every sketch of the design space computes what its variant says. Small shapes are interpreted as written and as
// scheduled, on random data, with races checked. Every starting trace must apply to one of the shapes.
#include "search/search_test.h"

enum { DRAWS = 2 };

// Shapes, and a value for n and t where they stay symbolic.
static const struct {
  const char *spec;
  int64_t n, t;
} shapes[] = {
    {"attention A=f32 C=f16 D=32 H=6 HK=2 P=48 n=1 t=0..47", 1, 20},
    {"attention A=f32 C=f16 D=32 H=4 HK=2 P=32 n=8..16%8 t=0..16", 8, 9},
    {"rms_norm A=f32 H=128 eps=1e-5 n=1", 1, 0},
    {"rms_norm A=f32 H=192 eps=1e-5 n=8..16%8", 8, 0},
    {"rope_append A=f32 C=f16 D=16 H=3 HK=1 P=32 n=1 t=0..31", 1, 18},
    {"rope_append A=f32 C=f32 D=16 H=2 HK=1 P=32 n=8..16%8 t=0..16", 8, 11},
    {"silu_mul A=f32 I=72 n=1", 1, 0},
    {"silu_mul A=f32 I=64 n=8..16%8", 8, 0},
    {"embed q4f16_1 A=f32 H=64 V=7 n=1", 1, 0},
    {"embed q0f16 A=f32 H=40 V=7 n=8..16%8", 8, 0},
    {"softmax A=f32 V=1024 inv_temperature=0.5 n=2", 2, 0},
    {"softmax A=f32 V=200 inv_temperature=1.0 n=1..4", 3, 0},
    {"argmax A=f32 V=1024 n=2", 2, 0},
    {"argmax A=f32 V=100 n=1..4", 3, 0},
    {"sample A=f32 V=128 inv_temperature=0.7 n=1..4", 3, 0},
    {"add_bias A=f32 N=48 n=1", 1, 0},
    {"add_bias A=f32 N=50 n=8..16%8", 8, 0},
    {"matmul q4f16_1 A=f32 K=128 N=64 n=1", 1, 0},
    {"matmul q4f16_1 A=f32 K=64 N=96 n=8..16%8", 8, 0},
    {"matmul_add q4f16_1 A=f32 K=128 N=32 n=1", 1, 0},
    {"matmul q0f16 A=f32 K=40 N=48 n=1", 1, 0},
    {"matmul q0f32 A=f32 K=40 N=33 n=8..16%8", 8, 0},
    {"matmul q0f32 A=f32 K=40 N=64 n=8..16%8", 8, 0},
    {"matmul q0f16 A=f16 K=64 N=256 n=128", 128, 0},
    {"matmul_add q4f16_0 A=f32 K=64 N=32 n=1", 1, 0},
    {"attention_rows A=f32 C=f16 D=16 H=4 HK=2 P=32 n=1", 1, 9},
    {"attention_rows A=f32 C=f16 D=64 H=2 HK=1 P=32 n=1", 1, 9},
    {"attention_rows A=f16 C=f16 D=16 H=4 HK=2 P=32 n=8..16%8", 8, 9},
    {"rope_append_rows A=f32 C=f16 D=16 H=3 HK=1 P=32 n=8..16%8", 8, 11},
    {"rope_attention_rows A=f32 C=f16 D=16 H=4 HK=2 P=32 n=1", 1, 9},
    {"rope_attention_rows A=f32 C=f16 D=64 H=2 HK=1 P=32 n=1", 1, 9},
    {"attention_paged A=f32 C=f16 D=32 H=6 HK=2 P=64 PAGE=32 POOL=3 n=1 t=0..63", 1, 36},
    {"attention_paged A=f32 C=f16 D=32 H=4 HK=2 P=32 PAGE=16 POOL=5 n=8..16%8 t=0..16", 8, 9},
    {"rope_append_paged A=f32 C=f16 D=16 H=3 HK=1 P=64 PAGE=32 POOL=2 n=1 t=0..63", 1, 38},
    {"rope_append_paged A=f32 C=f32 D=16 H=2 HK=1 P=32 PAGE=16 POOL=4 n=8..16%8 t=0..16", 8, 11},
    {"attention_rows_paged A=f32 C=f16 D=16 H=4 HK=2 P=32 PAGE=16 POOL=3 n=1", 1, 19},
    {"attention_rows_paged A=f32 C=f16 D=64 H=2 HK=1 P=32 PAGE=16 POOL=3 n=1", 1, 9},
    {"attention_rows_paged A=f16 C=f16 D=16 H=4 HK=2 P=32 PAGE=16 POOL=2 n=8..16%8", 8, 9},
    {"rope_append_rows_paged A=f32 C=f16 D=16 H=3 HK=1 P=32 PAGE=16 POOL=3 n=8..16%8", 8, 11},
    {"rope_attention_rows_paged A=f32 C=f16 D=16 H=4 HK=2 P=32 PAGE=16 POOL=4 n=1", 1, 19},
    {"norm_matmul q4f16_1 A=f32 K=128 N=48 eps=1e-5 n=1", 1, 0},
    {"norm_matmul_silu q4f16_1 A=f32 I=24 K=128 eps=1e-5 n=1", 1, 0},
    {"norm_matmul_bias q4f16_1 A=f32 K=128 N=48 eps=1e-5 n=1", 1, 0},
};

typedef struct run_data {
  ts_array array[24], *list[24];
  int64_t dims[8];
} run_data;

static bool contains(const space_fixture *x, const char *text) {
  for (size_t i = 0; i < x->used.n; i++)
    if (strcmp(x->used.p[i], text) == 0) return true;
  return false;
}

static double draw(ts_rng *r, ts_code code) {
  if (ts_code_is_float(code)) return (double)((int)ts_rng_below(r, 65) - 32) / 32;
  if (ts_code_is_unsigned(code)) return ts_rng_u32(r);
  return ts_rng_below(r, 7);  // row numbers of an embedding
}

static void fill(ts_arena *a, const ts_func *f, size_t shape, uint64_t seed, run_data *x) {
  const ts_var *vars[8];
  ts_rng rng = ts_rng_new(seed, 5);
  for (int i = 0; i < f->ndims; i++) {
    vars[i] = f->dims[i].var;
    x->dims[i] = strcmp(vars[i]->name, "n") == 0 ? shapes[shape].n : shapes[shape].t;
  }
  assert_true(f->nparams <= 24);
  for (int i = 0; i < f->nparams; i++) {
    const ts_buffer *b = f->params[i].buf;
    ts_array *v = x->list[i] = &x->array[i];
    *v = (ts_array){.code = b->code, .ndim = b->ndim};
    for (int k = 0; k < b->ndim; k++) assert_true(ts_eval_int(b->shape[k], vars, x->dims, f->ndims, &v->shape[k]));
    int64_t n = ts_array_count(v);
    v->data = ts_arena_alloc(a, (size_t)(n + 1) * 8, 64);
    for (int64_t k = 0; k < n; k++) ts_array_set(v, k, f->params[i].role == TS_OUT ? 77 : draw(&rng, b->code));
    if (b->distinct) ts_array_set_distinct(v, b->distinct, seed);
  }
}

static const char *differs(ts_arena *a, const ts_func *f, const run_data *x, const run_data *y) {
  for (int i = 0; i < f->nparams; i++) {
    double top = 0;
    int64_t n = ts_array_count(x->list[i]);
    for (int64_t k = 0; k < n; k++) top = fmax(top, fabs(ts_array_get(x->list[i], k)));
    for (int64_t k = 0; k < n; k++) {
      double p = ts_array_get(x->list[i], k), q = ts_array_get(y->list[i], k);
      if (!(p == q || fabs(p - q) <= 1e-5 * top)) return ts_arena_printf(a, "element %lld of %s is %g, not %g", (long long)k, f->params[i].buf->name, q, p);
    }
  }
  return NULL;
}

// NULL when both functions make the same of the same data.
static const char *meaning_changed(ts_arena *a, const ts_func *before, const ts_func *after, size_t shape) {
  run_data x, y;
  ts_interp_opts o = {.max_steps = 100000000, .check_races = true};
  ts_diag d = {0};
  fill(a, before, shape, shape + 1, &x);
  fill(a, after, shape, shape + 1, &y);
  if (!ts_interp_run(before, x.dims, x.list, &o, &d)) return ts_arena_printf(a, "as written: %s", d.message);
  if (!ts_interp_run(after, y.dims, y.list, &o, &d)) return ts_arena_printf(a, "as scheduled: %s", d.message);
  return differs(a, before, &x, &y);
}

static void check_sketch(const ts_sketch *k, size_t shape) {
  int drawn = 0;
  ts_diag d = {0};
  if (k->native) return;  // what it computes only a GPU tells
  for (uint64_t seed = 0; seed < 16 && drawn < DRAWS; seed++) {
    ts_arena *a = ts_arena_new("draw");
    ts_sched *s = ts_sketch_draw(ts_ir_new(a), k, k->trace, seed, &d);
    if (s) {
      drawn++;
      const char *bad = ts_func_verify(ts_sched_func(s), &d) ? meaning_changed(a, k->func, ts_sched_func(s), shape) : d.message;
      if (bad) {
        ts_text t = {0};
        ts_trace_print(&t, ts_sched_trace(s));
        fail_msg("%s: %s: %s\n%s", shapes[shape].spec, k->name, bad, ts_text_str(&t));
      }
    }
    ts_arena_free(a);
  }
  if (!drawn) fail_msg("%s: %s: %s", shapes[shape].spec, k->name, d.message);
}

static void check_target(space_fixture *x, const ts_target *t, const char *suffix) {
  for (size_t i = 0; i < TS_COUNTOF(shapes); i++) {
    ts_spec spec;
    ts_space s;
    ts_diag d = {0};
    must(ts_spec_parse(x->a, shapes[i].spec, &spec, &d) && ts_space_open(&spec, t, "a8", &s, &d), &d);
    const ts_op *op = ts_op_find(x->a, spec.op, &d);
    must(op != NULL, &d);
    for (size_t k = 0; k < s.n; k++) {
      check_sketch(&s.sketch[k], i);
      const char *name = ts_arena_printf(x->a, "%s/%s%s", op->templates, s.sketch[k].name, suffix);
      if (!contains(x, name)) ts_vec_push(x->a, &x->used, name);
    }
    ts_space_close(&s);
  }
}

static void sketches_keep_meaning(void **state) {
  space_fixture *x = *state;
  check_target(x, &x->t, ".trace");
}

static void sketches_for_gpus_keep_meaning(void **state) {
  space_fixture *x = *state;
  ts_target t;
  ts_diag d = {0};
  must(ts_target_parse("cuda:sm_90a", &t, &d), &d);
  check_target(x, &t, ".cuda.trace");
}

// Those for GPUs stand for tiles too large to interpret; codegen_gpu compiles them.
static void every_trace_was_tried(void **state) {
  space_fixture *x = *state;
  const ts_op *op;
  size_t n;
  ts_diag d = {0};
  must(ts_op_list(x->a, &op, &n, &d), &d);
  for (size_t i = 0; i < n; i++) {
    char **name;
    size_t files;
    const char *dir = ts_path_join(x->a, ts_data_dir(), ts_arena_printf(x->a, "kernels/templates/%s", op[i].templates));
    if (!ts_file_exists(dir)) continue;
    must(ts_dir_list(dir, ".trace", x->a, &name, &files, &d), &d);
    for (size_t k = 0; k < files; k++)
      if (!strstr(name[k], ".cuda.trace") && !contains(x, ts_arena_printf(x->a, "%s/%s", op[i].templates, name[k]))) fail_msg("kernels/templates/%s/%s applies to none of the shapes here", op[i].templates, name[k]);
  }
}

// The checks above can fail: a function that leaves one element out is told apart.
static void a_change_is_seen(void **state) {
  space_fixture *x = *state;
  ts_ir *ir = ts_ir_new(x->a);
  ts_diag d = {0};
  static const char text[] = "func main(x: f32[%d], y: out f32[8]) {\n  for i in 0..8 {\n    block b(v: S = i) {\n      y[v] = x[%s]\n    }\n  }\n}\n";
  const ts_func *f[2];
  for (int i = 0; i < 2; i++) {
    const char *body = ts_arena_printf(x->a, text, 8, i ? "7 - v" : "v");
    must((f[i] = ts_func_parse(ir, "test", body, strlen(body), NULL, 0, &d)) != NULL, &d);
  }
  assert_null(meaning_changed(x->a, f[0], f[0], 0));
  assert_non_null(meaning_changed(x->a, f[0], f[1], 0));
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(sketches_keep_meaning), cmocka_unit_test(sketches_for_gpus_keep_meaning), cmocka_unit_test(every_trace_was_tried), cmocka_unit_test(a_change_is_seen)};
  return cmocka_run_group_tests(tests, space_setup, space_teardown);
}

// op: every shipped operator and variant instantiates and means what the reference means; workload text; cost.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "op/op.h"

static bool spec_of(ts_arena *a, const char *text, ts_spec *s) {
  ts_diag d = {0};
  bool ok = ts_spec_parse(a, text, s, &d);
  if (!ok) fprintf(stderr, "%s: %s\n", text, d.message);
  return ok;
}

static void spec_round_trip(void **state) {
  (void)state;
  ts_arena *a = ts_arena_new("test");
  static const char *const canonical[] = {"matmul q4f16_1 A=f32 K=576 N=1536 n=1", "rms_norm A=f32 H=576 eps=1e-05 n=8..128%8", "argmax A=f16 V=100"};
  for (size_t i = 0; i < TS_COUNTOF(canonical); i++) {
    ts_spec s;
    ts_text t = {0};
    assert_true(spec_of(a, canonical[i], &s));
    ts_spec_print(&t, &s);
    assert_string_equal(ts_text_str(&t), canonical[i]);
    ts_text_free(&t);
  }
  ts_spec s;
  ts_text t = {0};
  assert_true(spec_of(a, "matmul q0f32 n=1 N=32 K=64 A=f32", &s));
  ts_spec_print(&t, &s);
  assert_string_equal(ts_text_str(&t), "matmul q0f32 A=f32 K=64 N=32 n=1");
  ts_text_free(&t);
  ts_diag d = {0};
  static const char *const wrong[] = {"", "matmul K=", "matmul K=1 K=2", "matmul n=8..4", "matmul q4 q5", "matmul K=f99", "matmul n=1..8%0", "3"};
  for (size_t i = 0; i < TS_COUNTOF(wrong); i++) assert_false(ts_spec_parse(a, wrong[i], &s, &d));
  ts_arena_free(a);
}

// A type that equals its default is not part of a workload's text, and does not change what the operator means.
static void defaults(void **state) {
  (void)state;
  ts_arena *a = ts_arena_new("test");
  static const char *const text[][2] = {
      {"rms_norm A=f32 H=64 R=f32 eps=1e-05 n=1", "rms_norm A=f32 H=64 eps=1e-05 n=1"},
      {"matmul_add q0f32 A=f16 K=32 N=32 R=f32 n=1", "matmul_add q0f32 A=f16 K=32 N=32 R=f32 n=1"},
  };
  for (size_t i = 0; i < TS_COUNTOF(text); i++) {
    ts_spec s;
    ts_text t = {0};
    assert_true(spec_of(a, text[i][0], &s));
    ts_spec_canonical(a, &s);
    ts_spec_print(&t, &s);
    assert_string_equal(ts_text_str(&t), text[i][1]);
    ts_text_free(&t);
  }
  ts_ir *ir = ts_ir_new(a);
  ts_spec s;
  ts_op_inst inst;
  ts_diag d = {0};
  const ts_op *op = ts_op_find(a, "rms_norm", &d);
  assert_non_null(op);
  assert_true(spec_of(a, "rms_norm A=f16 H=64 eps=1e-05 n=1", &s) && ts_op_instantiate(ir, &s, "", &inst, &d));
  assert_int_equal(inst.func->params[0].buf->code, TS_F16);
  assert_int_equal(ts_spec_find(op, &s, "R")->code, TS_F16);
  assert_true(spec_of(a, "rms_norm A=f16 H=64 R=f32 eps=1e-05 n=1", &s) && ts_op_instantiate(ir, &s, "", &inst, &d));
  assert_int_equal(inst.func->params[0].buf->code, TS_F32);
  assert_int_equal(inst.func->params[2].buf->code, TS_F16);
  assert_int_equal(ts_spec_find(op, &s, "R")->code, TS_F32);
  assert_null(ts_spec_find(op, &s, "T"));
  ts_arena_free(a);
}

static void refusals(void **state) {
  (void)state;
  ts_arena *a = ts_arena_new("test");
  static const struct {
    const char *spec, *variant, *code;
  } wrong[] = {
      {"no_such_op K=1", "", "no-such-operator"},
      {"../matmul K=1", "", "syntax"},
      {"matmul q4f16_1 A=f32 K=64", "", "unbound-parameter"},
      {"matmul q4f16_1 A=f32 K=f32 N=32", "", "wrong-parameter"},
      {"matmul q4f16_1 A=f32 K=64 N=0", "", "wrong-parameter"},
      {"matmul q9f9 A=f32 K=64 N=32", "", "no-such-quantization"},
      {"matmul q0f16 A=f32 K=64 N=32", "a16", "wrong-quantization"},
      {"matmul q4f16_1 A=f32 K=64 N=32", "zz", "no-such-variant"},
      {"silu_mul A=f32 I=8 m=8..16", "", "unknown-parameter"},
      {"matmul q4f16_1 A=f32 K=33 N=32", "", NULL},
  };
  for (size_t i = 0; i < TS_COUNTOF(wrong); i++) {
    ts_ir *ir = ts_ir_new(a);
    ts_spec s;
    ts_op_inst inst;
    ts_diag d = {0};
    bool ok = ts_spec_parse(a, wrong[i].spec, &s, &d) && ts_op_instantiate(ir, &s, wrong[i].variant, &inst, &d);
    assert_false(ok);
    if (wrong[i].code) assert_string_equal(d.code, wrong[i].code);
  }
  ts_arena_free(a);
}

// --- running functions on random data ------------------------------------------------------------------------------
enum { MOST = 24 };
typedef struct values {
  int n;
  const char *name[MOST];
  ts_array array[MOST];
} values;

static void fill(ts_array *x, const char *name, ts_rng *r, int64_t below) {
  size_t len = strlen(name);
  bool scale = len > 2 && strcmp(name + len - 2, "_s") == 0;
  for (int64_t i = 0; i < ts_array_count(x); i++) {
    switch (x->code) {
      case TS_F16: case TS_F32: ts_array_set(x, i, scale ? ts_rng_unit(r) / 8 : 2 * ts_rng_unit(r) - 1); break;
      case TS_I32: ts_array_set(x, i, ts_rng_below(r, (uint32_t)below)); break;
      case TS_U32: ((uint32_t *)x->data)[i] = ts_rng_u32(r); break;
      default: ts_array_set(x, i, ts_rng_below(r, 16)); break;
    }
  }
}

static ts_array *find(values *v, const char *name) {
  for (int i = 0; i < v->n; i++)
    if (strcmp(v->name[i], name) == 0) return &v->array[i];
  return NULL;
}

// Run f; parameters not in v yet are made there, filled at random unless they are outputs.
static void run(const ts_func *f, const int64_t *dims, values *v, ts_rng *r, int64_t below) {
  const ts_var *vars[8];
  ts_array *args[MOST];
  for (int i = 0; i < f->ndims; i++) vars[i] = f->dims[i].var;
  for (int i = 0; i < f->nparams; i++) {
    const ts_buffer *b = f->params[i].buf;
    if (!find(v, b->name)) {
      ts_array x = {.code = b->code, .ndim = b->ndim};
      for (int k = 0; k < b->ndim; k++) assert_true(ts_eval_int(b->shape[k], vars, dims, f->ndims, &x.shape[k]));
      x.data = calloc((size_t)ts_array_count(&x) + 1, (size_t)ts_code_bytes(b->code));
      if (f->params[i].role != TS_OUT) fill(&x, b->name, r, below);
      if (b->distinct) ts_array_set_distinct(&x, b->distinct, ts_rng_u64(r));
      v->name[v->n] = b->name;
      v->array[v->n++] = x;
    }
    args[i] = find(v, b->name);
  }
  ts_diag d = {0};
  if (!ts_interp_run(f, dims, args, NULL, &d)) fail_msg("%s: %s", f->name, d.message);
}

static void free_values(values *v) {
  for (int i = 0; i < v->n; i++) free(v->array[i].data);
}

// Variants against the reference, by the interpreter, with packed weights made by their own pack function.
static void variants_agree(void **state) {
  (void)state;
  static const char *const specs[] = {
      "matmul q4f16_1 A=f32 K=64 N=32",     "matmul q4f16_0 A=f32 K=128 N=16",                      "matmul_add q4f16_1 A=f32 K=64 N=48",
      "matmul_add q4f16_1 A=f16 R=f32 K=64 N=16", "norm_matmul q4f16_1 A=f32 K=128 N=32 eps=1e-05", "norm_matmul_bias q4f16_1 A=f32 K=64 N=32 eps=1e-05", "norm_matmul_silu q4f16_1 A=f32 K=64 I=32 eps=1e-05",
  };
  for (size_t i = 0; i < TS_COUNTOF(specs); i++) {
    ts_arena *a = ts_arena_new("test");
    ts_ir *ir = ts_ir_new(a);
    ts_spec s;
    ts_diag d = {0};
    assert_true(spec_of(a, specs[i], &s));
    const ts_op *op = ts_op_find(a, s.op, &d);
    assert_non_null(op);
    assert_true(op->nvariants >= 2);
    for (int k = 1; k < op->nvariants; k++) {
      ts_op_inst ref, var;
      assert_true(ts_op_instantiate(ir, &s, "", &ref, &d));
      if (!ts_op_instantiate(ir, &s, op->variants[k].name, &var, &d)) fail_msg("%s: %s", op->variants[k].file, d.message);
      int64_t dims[1] = {3};
      values one = {0}, two = {0};
      ts_rng r1 = ts_rng_new(9, 0), r2 = ts_rng_new(9, 0);
      run(ref.func, dims, &one, &r1, 1);
      // the same inputs: made in the reference's order
      for (int p = 0; p < ref.func->nparams; p++) {
        ts_array *from = find(&one, ref.func->params[p].buf->name), x = *from;
        x.data = calloc((size_t)ts_array_count(&x) + 1, (size_t)ts_code_bytes(x.code));
        if (ref.func->params[p].role != TS_OUT) fill(&x, ref.func->params[p].buf->name, &r2, 1);
        two.name[two.n] = ref.func->params[p].buf->name;
        two.array[two.n++] = x;
      }
      if (var.pack) run(var.pack, dims, &two, &r2, 1);
      run(var.func, dims, &two, &r2, 1);
      ts_array *x = find(&one, "y"), *y = find(&two, "y");
      double worst = 0, largest = 0;
      for (int64_t e = 0; e < ts_array_count(x); e++) {
        worst = fmax(worst, fabs(ts_array_get(x, e) - ts_array_get(y, e)));
        largest = fmax(largest, fabs(ts_array_get(x, e)));
      }
      // opt-in numerics are coarser; they must still be the same computation
      double allowed = *op->variants[k].numerics ? 20 * op->tolerance : op->tolerance;
      if (!(worst <= allowed * largest)) fail_msg("%s.%s: error %g of %g", op->name, op->variants[k].name, worst, largest);
      free_values(&one);
      free_values(&two);
    }
    ts_arena_free(a);
  }
}

// A plain computation in C beside the operator files.
static void matmul_is_matmul(void **state) {
  (void)state;
  ts_arena *a = ts_arena_new("test");
  ts_ir *ir = ts_ir_new(a);
  ts_spec s;
  ts_op_inst inst;
  ts_diag d = {0};
  assert_true(spec_of(a, "matmul q4f16_1 A=f32 K=64 N=8", &s));
  assert_true(ts_op_instantiate(ir, &s, "", &inst, &d));
  values v = {0};
  ts_rng r = ts_rng_new(3, 0);
  run(inst.func, (int64_t[]){2}, &v, &r, 1);
  const float *x = find(&v, "x")->data, *y = find(&v, "y")->data;
  const uint32_t *q = find(&v, "w_q")->data;
  const uint16_t *sc = find(&v, "w_s")->data;
  for (int n = 0; n < 2; n++)
    for (int i = 0; i < 8; i++) {
      double sum = 0;
      for (int k = 0; k < 64; k++) sum += x[n * 64 + k] * (double)((int)((q[i * 8 + k / 8] >> (4 * (k % 8))) & 15) - 7) * (double)ts_f32_from_f16(sc[i * 2 + k / 32]);
      assert_true(fabs(sum - y[n * 8 + i]) < 1e-4);
    }
  free_values(&v);
  ts_arena_free(a);
}

// `tiled`: keys transposed in tiles of 16 positions; else rows.
static void check_softmax(const char *spec, bool tiled) {
  enum { H = 4, HK = 2, D = 8, P = 32, N = 3, T = 14 };
  ts_arena *a = ts_arena_new("test");
  ts_ir *ir = ts_ir_new(a);
  ts_spec s;
  ts_op_inst inst;
  ts_diag d = {0};
  assert_true(spec_of(a, spec, &s));
  assert_true(ts_op_instantiate(ir, &s, "", &inst, &d));
  values v = {0};
  ts_rng r = ts_rng_new(5, 0);
  run(inst.func, (int64_t[]){N, T}, &v, &r, 1);
  const float *q = find(&v, "q")->data, *y = find(&v, "y")->data;
  const uint16_t *kc = find(&v, "kc")->data, *vc = find(&v, "vc")->data;
  for (int n = 0; n < N; n++)
    for (int h = 0; h < H; h++) {
      double p[P], sum = 0, top = -1e30;
      int kh = h / (H / HK);
      for (int j = 0; j <= T + n; j++) {
        p[j] = 0;
        for (int e = 0; e < D; e++) p[j] += (double)q[(n * H + h) * D + e] * ts_f32_from_f16(kc[tiled ? ((kh * (P / 16) + j / 16) * D + e) * 16 + j % 16 : (kh * P + j) * D + e]);
        p[j] /= sqrt(D);
        top = fmax(top, p[j]);
      }
      for (int j = 0; j <= T + n; j++) sum += p[j] = exp(p[j] - top);
      for (int e = 0; e < D; e++) {
        double o = 0;
        for (int j = 0; j <= T + n; j++) o += p[j] / sum * ts_f32_from_f16(vc[(kh * P + j) * D + e]);
        assert_true(fabs(o - y[n * H * D + h * D + e]) < 1e-5);
      }
    }
  free_values(&v);
  ts_arena_free(a);
}

static void attention_is_softmax(void **state) {
  (void)state;
  check_softmax("attention A=f32 C=f16 D=8 H=4 HK=2 P=32", true);
  check_softmax("attention_rows A=f32 C=f16 D=8 H=4 HK=2 P=32", false);
}

// The fused operator is rope_append_rows, then attention_rows.
static void fused_attention_is_both(void **state) {
  (void)state;
  ts_arena *a = ts_arena_new("test");
  ts_ir *ir = ts_ir_new(a);
  const char *const specs[] = {"rope_append_rows A=f32 C=f16 D=8 H=4 HK=2 P=32", "attention_rows A=f32 C=f16 D=8 H=4 HK=2 P=32", "rope_attention_rows A=f32 C=f16 D=8 H=4 HK=2 P=32"};
  values v[3] = {0};
  for (int i = 0; i < 3; i++) {
    ts_spec s;
    ts_op_inst inst;
    ts_diag d = {0};
    ts_rng r = ts_rng_new(7, 0);
    assert_true(spec_of(a, specs[i], &s));
    assert_true(ts_op_instantiate(ir, &s, "", &inst, &d));
    if (i == 1)  // reads what the first wrote
      for (size_t k = 0; k < 3; k++) {
        ts_array *x = find(&v[0], (const char *[]){"q", "kc", "vc"}[k]);
        v[1].name[v[1].n] = (const char *[]){"q", "kc", "vc"}[k];
        v[1].array[v[1].n++] = *x;
      }
    run(inst.func, (int64_t[]){2, 13}, &v[i], &r, 1);
  }
  for (size_t k = 0; k < 3; k++) {
    const char *name = (const char *[]){"y", "kc", "vc"}[k];
    ts_array *x = find(k ? &v[0] : &v[1], name), *y = find(&v[2], name);
    assert_int_equal(ts_array_count(x), ts_array_count(y));
    for (int64_t e = 0; e < ts_array_count(x); e++) assert_true(fabs(ts_array_get(x, e) - ts_array_get(y, e)) < 1e-6);
  }
  for (int i = 3; i < v[1].n; i++) free(v[1].array[i].data);
  v[1].n = 0;  // q, kc and vc belong to the first
  for (int i = 0; i < 3; i++) free_values(&v[i]);
  ts_arena_free(a);
}

// Of many rows alike each index is drawn as often as its probability says, within five standard deviations.
static void sample_draws_by_softmax(void **state) {
  enum { ROWS = 8192, CHOICES = 6 };
  (void)state;
  ts_arena *a = ts_arena_new("test");
  ts_spec s;
  ts_op_inst inst;
  ts_diag d = {0};
  ts_rng r = ts_rng_new(5, 0);
  values v = {0};
  double weight[CHOICES], sum = 0, seen[CHOICES] = {0};
  float *x = malloc(sizeof *x * ROWS * CHOICES);
  assert_true(x && spec_of(a, "sample A=f32 V=6 inv_temperature=0.5", &s));
  if (!ts_op_instantiate(ts_ir_new(a), &s, "", &inst, &d)) fail_msg("%s", d.message);
  for (int i = 0; i < CHOICES; i++) sum += weight[i] = exp(0.5 * (i - 2));
  for (int i = 0; i < ROWS * CHOICES; i++) x[i] = (float)(i % CHOICES - 2);
  v.name[v.n] = "x";
  v.array[v.n++] = (ts_array){.code = TS_F32, .ndim = 2, .shape = {ROWS, CHOICES}, .data = x};
  run(inst.func, (int64_t[]){ROWS}, &v, &r, CHOICES);
  for (int i = 0; i < ROWS; i++) seen[(int)ts_array_get(find(&v, "y"), i)]++;
  for (int i = 0; i < CHOICES; i++) {
    double p = weight[i] / sum;
    if (fabs(seen[i] - ROWS * p) > 5 * sqrt(ROWS * p * (1 - p))) fail_msg("%d was drawn %.0f times of %d, not about %.0f", i, seen[i], ROWS, ROWS * p);
  }
  free_values(&v);
  ts_arena_free(a);
}

// --- pages -------------------------------------------------------------------------------------------------------
enum { PH = 4, PHK = 2, PD = 8, PP = 64, PPAGE = 32, PPOOL = 5 };

// Where element e of head h at a position lies in a cache (table NULL), or in a pool of pages.
static int64_t place(bool tiled, const int32_t *table, int64_t h, int64_t position, int64_t e) {
  int64_t span = table ? PPAGE : PP, first = table ? table[position / PPAGE] * PHK : 0, at = position % span;
  return tiled ? (((first + h) * (span / 16) + at / 16) * PD + e) * 16 + at % 16 : ((first + h) * span + at) * PD + e;
}

static void to_pages(const ts_array *cache, ts_array *pool, bool tiled, const int32_t *table) {
  for (int64_t h = 0; h < PHK; h++)
    for (int64_t position = 0; position < PP; position++)
      for (int64_t e = 0; e < PD; e++) ts_array_set(pool, place(tiled, table, h, position, e), ts_array_get(cache, place(tiled, NULL, h, position, e)));
}

// Every operator over pages does to its pages what the one over a cache does to the cache.
static void pages_are_a_cache(void **state) {
  (void)state;
  static const char *const ops[] = {"attention", "rope_append", "attention_rows", "rope_append_rows", "rope_attention_rows"};
  for (size_t i = 0; i < TS_COUNTOF(ops); i++) {
    ts_arena *a = ts_arena_new("test");
    ts_ir *ir = ts_ir_new(a);
    ts_spec s;
    ts_op_inst whole, paged;
    ts_diag d = {0};
    values v = {0}, w = {0};
    bool tiled = !strstr(ops[i], "rows");
    int64_t dims[2] = {5, 29};
    int32_t *table = calloc(PP / PPAGE, sizeof *table);
    ts_array tables = {.code = TS_I32, .ndim = 1, .shape = {PP / PPAGE}, .data = table};
    ts_array_set_distinct(&tables, PPOOL, 11);
    assert_true(table[0] != table[1] && table[0] >= 0 && table[0] < PPOOL && table[1] >= 0 && table[1] < PPOOL);
    assert_true(spec_of(a, ts_arena_printf(a, "%s A=f32 C=f16 D=%d H=%d HK=%d P=%d", ops[i], PD, PH, PHK, PP), &s) && ts_op_instantiate(ir, &s, "", &whole, &d));
    assert_true(spec_of(a, ts_arena_printf(a, "%s_paged A=f32 C=f16 D=%d H=%d HK=%d P=%d PAGE=%d POOL=%d", ops[i], PD, PH, PHK, PP, PPAGE, PPOOL), &s) &&
                ts_op_instantiate(ir, &s, "", &paged, &d));
    // The same inputs for both, caches copied to pages.
    ts_rng r = ts_rng_new(21, 0);
    w.name[0] = "table", w.array[0] = tables, w.n = 1;
    for (int k = 0; k < whole.func->nparams; k++) {
      const ts_buffer *b = whole.func->params[k].buf;
      bool cache = !strcmp(b->name, "kc") || !strcmp(b->name, "vc");
      const ts_var *vars[2] = {whole.func->dims[0].var, whole.func->dims[1].var};
      ts_array x = {.code = b->code, .ndim = b->ndim};
      for (int j = 0; j < b->ndim; j++) assert_true(ts_eval_int(b->shape[j], vars, dims, 2, &x.shape[j]));
      if (whole.func->params[k].role == TS_OUT) continue;
      x.data = calloc((size_t)ts_array_count(&x) + 1, (size_t)ts_code_bytes(x.code));
      fill(&x, b->name, &r, 1);
      v.name[v.n] = b->name, v.array[v.n++] = x;
      ts_array y = x;
      if (cache) y = (ts_array){.code = x.code, .ndim = x.ndim + 1, .shape = {PPOOL, PHK, PPAGE, PD}};
      if (cache && x.ndim == 4) memcpy(y.shape, (int64_t[]){PPOOL, PHK, PPAGE / 16, PD, 16}, 5 * sizeof(int64_t));
      y.data = calloc((size_t)ts_array_count(&y) + 1, (size_t)ts_code_bytes(y.code));
      if (cache) to_pages(&x, &y, tiled && !strcmp(b->name, "kc"), table);
      else memcpy(y.data, x.data, (size_t)ts_array_count(&x) * (size_t)ts_code_bytes(x.code));
      w.name[w.n] = b->name, w.array[w.n++] = y;
    }
    run(whole.func, dims, &v, &r, 1);
    run(paged.func, dims, &w, &r, 1);
    for (int k = 0; k < v.n; k++) {
      bool cache = !strcmp(v.name[k], "kc") || !strcmp(v.name[k], "vc");
      ts_array *x = &v.array[k], *y = find(&w, v.name[k]), want = *y;
      want.data = calloc((size_t)ts_array_count(y) + 1, (size_t)ts_code_bytes(y->code));
      if (cache) to_pages(x, &want, tiled && !strcmp(v.name[k], "kc"), table);
      else memcpy(want.data, x->data, (size_t)ts_array_count(x) * (size_t)ts_code_bytes(x->code));
      if (memcmp(want.data, y->data, (size_t)ts_array_count(y) * (size_t)ts_code_bytes(y->code))) fail_msg("%s_paged: %s differs", ops[i], v.name[k]);
      free(want.data);
    }
    // A page that comes twice is refused.
    ts_array *args[MOST];
    table[1] = table[0];
    for (int k = 0; k < paged.func->nparams; k++) args[k] = find(&w, paged.func->params[k].buf->name);
    assert_false(ts_interp_run(paged.func, dims, args, NULL, &d));
    assert_string_equal(d.code, "bad-argument");
    free_values(&v);
    free_values(&w);
    ts_arena_free(a);
  }
}

static void costs(void **state) {
  (void)state;
  ts_arena *a = ts_arena_new("test");
  ts_ir *ir = ts_ir_new(a);
  ts_spec s;
  ts_op_inst inst;
  ts_diag d = {0};
  ts_cost c;
  assert_true(spec_of(a, "matmul q4f16_1 A=f32 K=576 N=1536 n=1", &s));
  assert_true(ts_op_instantiate(ir, &s, "", &inst, &d));
  assert_int_equal(inst.func->ndims, 0);
  assert_true(ts_op_cost(inst.func, NULL, &c, &d));
  // weights 4.5 bits each, x and y once
  assert_true(c.bytes == 576.0 * 1536 * 4.5 / 8 + 4 * (576 + 1536));
  assert_true(c.cold_bytes == 576.0 * 1536 * 4.5 / 8);
  assert_true(c.flops >= 2.0 * 576 * 1536 && c.flops <= 5.0 * 576 * 1536);
  assert_true(spec_of(a, "embed q0f16 A=f32 H=64 V=1000", &s));
  assert_true(ts_op_instantiate(ir, &s, "", &inst, &d));
  assert_true(ts_op_cost(inst.func, (int64_t[]){2}, &c, &d));
  assert_true(c.bytes < 2 * 64 * (2 + 4) + 1000);  // two rows are read, not the table
  assert_true(c.cold_bytes == 0);                  // the same row, perhaps
  assert_true(spec_of(a, "attention_rows_paged A=f32 C=f16 D=64 H=4 HK=4 P=4096 PAGE=16 POOL=1024 n=1 t=99", &s));
  assert_true(ts_op_instantiate(ir, &s, "", &inst, &d));
  assert_true(ts_op_cost(inst.func, NULL, &c, &d));
  assert_true(c.bytes >= 2 * 100 * 4 * 64 * 2 && c.bytes < 2 * 100 * 4 * 64 * 2 + 4096);  // the positions, not the pool
  // however often pages are read: of a pool of 4096 positions 2048 are
  assert_true(spec_of(a, "attention_rows_paged A=f16 C=f16 D=64 H=8 HK=2 P=4096 PAGE=16 POOL=256 n=1024 t=1024", &s));
  assert_true(ts_op_instantiate(ir, &s, "", &inst, &d));
  assert_true(ts_op_cost(inst.func, NULL, &c, &d));
  assert_true(c.cold_bytes <= 2 * 2048 * 2 * 64 * 2);
  assert_true(spec_of(a, "attention_rows A=f16 C=f16 D=64 H=8 HK=2 P=4096 n=1024 t=1024", &s));
  assert_true(ts_op_instantiate(ir, &s, "", &inst, &d));
  assert_true(ts_op_cost(inst.func, NULL, &c, &d));
  assert_true(c.cold_bytes == 2 * 2048 * 2 * 64 * 2);
  ts_arena_free(a);
}

static void all_instantiate(void **state) {
  (void)state;
  ts_arena *a = ts_arena_new("test");
  const ts_op *ops;
  size_t n;
  ts_diag d = {0};
  if (!ts_op_list(a, &ops, &n, &d)) fail_msg("%s", d.message);
  assert_true(n >= 10);
  static const char *const specs[] = {"argmax A=f32 V=64", "attention A=f32 C=f16 D=16 H=4 HK=2 P=64 n=1", "embed q4f16_1 A=f32 H=64 V=96", "matmul q0f16 A=f16 K=32 N=16 n=1",
                                      "matmul_add q0f32 A=f32 K=32 N=16", "rms_norm A=f32 H=32 eps=1e-05", "rope_append A=f32 C=f16 D=16 H=4 HK=2 P=64", "silu_mul A=f32 I=32",
                                      "softmax A=f32 V=64 inv_temperature=1.0", "sample A=f32 V=64 inv_temperature=0.7"};
  for (size_t i = 0; i < TS_COUNTOF(specs); i++) {
    ts_ir *ir = ts_ir_new(a);
    ts_spec s;
    ts_op_inst inst;
    assert_true(spec_of(a, specs[i], &s));
    if (!ts_op_instantiate(ir, &s, "", &inst, &d)) fail_msg("%s: %s", specs[i], d.message);
    values v = {0};
    ts_rng r = ts_rng_new(1, 0);
    int64_t dims[2] = {3, 5};
    run(inst.func, inst.func->ndims == 1 && inst.func->dims[0].var->name[0] == 't' ? dims + 1 : dims, &v, &r, 64);
    free_values(&v);
  }
  ts_arena_free(a);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(spec_round_trip),  cmocka_unit_test(defaults), cmocka_unit_test(refusals),  cmocka_unit_test(all_instantiate),  cmocka_unit_test(matmul_is_matmul),
                                     cmocka_unit_test(attention_is_softmax), cmocka_unit_test(fused_attention_is_both), cmocka_unit_test(sample_draws_by_softmax), cmocka_unit_test(pages_are_a_cache), cmocka_unit_test(variants_agree), cmocka_unit_test(costs)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}

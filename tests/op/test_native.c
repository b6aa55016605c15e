// op: native templates. Each case is a file native/VARIANT.NAME.cu; a line "// workload: SPEC" says what it is bound to, "// point: A=1"
// which point is shown (the first legal one else). Beside it NAME.txt says what comes of it: parameters, legal points and launches, or
// the refusal. TS_BLESS=1 rewrites the expectations.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "op/native.h"
#include "target/gpu.h"

static char *cases_dir(ts_arena *a) { return ts_path_join(a, ts_data_dir(), "tests/op/native"); }

// The text behind "// KEY: " in a source, or NULL.
static char *line_of(ts_arena *a, const char *text, const char *key) {
  const char *p = strstr(text, ts_arena_printf(a, "// %s: ", key));
  if (!p) return NULL;
  p += strlen(key) + 5;
  return ts_arena_strndup(a, p, strcspn(p, "\n"));
}

static void show_refusal(ts_arena *a, ts_text *out, const ts_diag *d) {
  const char *dir = ts_arena_printf(a, "%s/", cases_dir(a)), *p = strstr(d->message, dir);
  ts_text_addf(out, "refused [%s]: %.*s%s\n", d->code, p ? (int)(p - d->message) : 0, d->message, p ? p + strlen(dir) : d->message);
  if (*d->hint) ts_text_addf(out, "  hint: %s\n", d->hint);
}

static bool show_points(ts_arena *a, const ts_native_fit *f, const int64_t **first, ts_text *out, ts_diag *d) {
  const int64_t *points;
  size_t n;
  double all;
  TS_TRY(ts_native_points(a, f, &points, &n, &all, d));
  ts_text_addf(out, "%zu legal points of %.0f\n", n, all);
  for (size_t i = 0; i < n && i < 6; i++) {
    ts_text_add(out, "  ");
    ts_native_print(out, f->native, points + i * (size_t)f->native->nparams);
  }
  *first = n ? points : NULL;
  return true;
}

static bool show(ts_arena *a, const char *path, const char *text, const char *spec_text, ts_text *out, ts_diag *d) {
  ts_target t;
  ts_spec spec;
  ts_op_inst inst;
  ts_native_fit f;
  const int64_t *point = NULL;
  const ts_native *x = ts_native_load(a, path, d);
  if (!x) return false;
  ts_text_addf(out, "%s of '%s': %s\n", x->name, x->variant, x->doc);
  const char *target = line_of(a, text, "target"), *named = line_of(a, text, "point");
  TS_TRY(ts_target_parse(target ? target : "cuda:sm_90a", &t, d) && ts_spec_parse(a, spec_text, &spec, d) && ts_op_instantiate(ts_ir_new(a), &spec, "", &inst, d));
  for (int i = 0; i < x->nlimits; i++) {
    const ts_native_limit *l = &x->limits[i];
    ts_text_addf(out, "limit %s: of %s, %s %g\n", l->text.p, l->buffer, l->least ? "at least" : "less than", l->bound);
  }
  TS_TRY(ts_native_bind(a, x, &spec, inst.func, &t, &f, d));
  if (x->guess.p) ts_text_addf(out, "guess %s: %lld\n", x->guess.p, (long long)f.guess);
  TS_TRY(show_points(a, &f, &point, out, d));
  if (named) {
    ts_lex l;
    ts_lex_init(&l, "point", named, strlen(named));
    TS_TRY(ts_native_point(a, x, &l, &point, d));
  }
  if (!point) return true;
  ts_text unit = {0};
  bool ok = ts_native_unit(a, &f, point, &unit, d);
  const char *image = ok ? strstr(unit.p, "\nimage ") : NULL;
  if (image) ts_text_addn(out, unit.p, (size_t)(image + 1 - unit.p));
  for (const char *p = image; p && (p = strstr(p, "\n#define ")); p++) ts_text_addf(out, "%.*s\n", (int)strcspn(p + 1, "\n"), p + 1);
  ts_text_free(&unit);
  return ok;
}

static void check_case(ts_arena *a, const char *name) {
  const char *path = ts_path_join(a, cases_dir(a), name);
  const char *dot = strchr(name, '.') + 1, *expect = ts_path_join(a, cases_dir(a), ts_arena_printf(a, "%.*s.txt", (int)(strlen(dot) - 3), dot));
  char *text, *want;
  size_t n;
  ts_diag d = {0};
  ts_text got = {0};
  if (!ts_file_read(path, a, &text, &n, &d)) fail_msg("%s", d.message);
  const char *spec = line_of(a, text, "workload");
  if (!show(a, path, text, spec ? spec : "silu_mul A=f32 I=64 n=1", &got, &d)) show_refusal(a, &got, &d);
  if (getenv("TS_BLESS")) {
    if (!ts_file_write(expect, got.p, got.n, &d)) fail_msg("%s", d.message);
  } else if (!ts_file_read(expect, a, &want, &n, &d)) {
    fail_msg("%s", d.message);
  } else if (strcmp(want, ts_text_str(&got)) != 0) {
    fail_msg("%s: got\n%s\nwanted\n%s", name, ts_text_str(&got), want);
  }
  ts_text_free(&got);
}

static void test_cases(void **state) {
  (void)state;
  ts_arena *a = ts_arena_new("cases");
  char **names;
  size_t n;
  ts_diag d = {0};
  assert_true(ts_dir_list(cases_dir(a), ".cu", a, &names, &n, &d));
  assert_true(n > 10);
  for (size_t i = 0; i < n; i++) check_case(a, names[i]);
  ts_arena_free(a);
}

// Every shipped template is bound and enumerated at some workload; its points print and read back.
static void test_points_read_back(void **state) {
  (void)state;
  ts_arena *a = ts_arena_new("points");
  ts_target t;
  ts_diag d = {0};
  static const char *const specs[] = {"matmul_add q4f16_1 A=f32 K=4096 N=4096 n=1", "rope_attention_rows A=f32 C=f16 D=128 H=32 HK=8 P=2048 n=1 t=0..2047"};
  assert_true(ts_target_parse("cuda:sm_90a", &t, &d));
  int read = 0;
  for (size_t i = 0; i < TS_COUNTOF(specs); i++) {
    ts_spec spec;
    assert_true(ts_spec_parse(a, specs[i], &spec, &d));
    const ts_op *op = ts_op_find(a, spec.op, &d);
    assert_non_null(op);
    for (int v = 0; v < op->nvariants; v++) {
      const ts_native **list;
      size_t n, points;
      double all;
      assert_true(ts_native_list(a, op, op->variants[v].name, &list, &n, &d));
      for (size_t k = 0; k < n; k++) {
        ts_op_inst inst;
        ts_native_fit f, g;
        const int64_t *p, *q;
        if (!ts_op_instantiate(ts_ir_new(a), &spec, op->variants[v].name, &inst, &d) || !ts_native_bind(a, list[k], &spec, inst.func, &t, &f, &d)) continue;
        if (!ts_native_points(a, &f, &p, &points, &all, &d)) fail_msg("%s", d.message);
        if (!ts_native_first(a, &f, &q, &d)) fail_msg("%s", d.message);
        assert_int_equal(points == 0, q == NULL);
        if (q) assert_memory_equal(p, q, (size_t)list[k]->nparams * sizeof *q);
        for (size_t j = 0; j < points; j += 7) {
          const int64_t *one = p + j * (size_t)list[k]->nparams;
          ts_text text = {0};
          ts_native_print(&text, list[k], one);
          assert_true(ts_native_is(text.p));
          if (!ts_native_replay(a, text.p, &spec, op->variants[v].name, inst.func, &t, &g, &q, &d)) fail_msg("%s: %s", text.p, d.message);
          assert_memory_equal(one, q, (size_t)list[k]->nparams * sizeof *q);
          ts_text_free(&text);
          read++;
        }
      }
    }
  }
  assert_true(read > 5);
  ts_arena_free(a);
}

// What a store holds may be old or hostile.
static void test_replay_refuses(void **state) {
  (void)state;
  ts_arena *a = ts_arena_new("replay");
  ts_target t;
  ts_spec spec;
  ts_op_inst inst;
  ts_diag d = {0};
  static const struct {
    const char *text, *code;
  } rows[] = {{"native \"nothing\" A=1", "no-such-template"}, {"native \"decode\" WARPS=", "syntax"}, {"native \"decode\" WARPS=5", "no-such-value"}, {"native \"decode\" X=5", "no-such-parameter"},
              {"native decode", "syntax"}, {"native \"../../x\"", "no-such-template"}, {"native \"decode\" WARPS=4 WARPS=99999999999999999999", "syntax"}};
  assert_true(ts_target_parse("cuda:sm_90a", &t, &d) && ts_spec_parse(a, "attention_rows A=f32 C=f16 D=128 H=32 HK=8 P=2048 n=1 t=0..2047", &spec, &d));
  assert_true(ts_op_instantiate(ts_ir_new(a), &spec, "", &inst, &d));
  for (size_t i = 0; i < TS_COUNTOF(rows); i++) {
    ts_native_fit f;
    const int64_t *p;
    if (ts_native_replay(a, rows[i].text, &spec, "", inst.func, &t, &f, &p, &d)) fail_msg("accepted: %s", rows[i].text);
    if (strcmp(d.code, rows[i].code) != 0) fail_msg("%s: %s [%s]", rows[i].text, d.message, d.code);
  }
  ts_arena_free(a);
}

// Which of three templates, listed in this order, is the first guess.
static void test_first_guess(void **state) {
  const ts_native_fit none = {0}, one = {.guess = 1}, more = {.guess = 4},
                      *lists[][3] = {{&none, &one, &one}, {&one, &none, &one}, {&none, &none, &none}, {&one, &more, &none}, {&none, &one, &more}};
  const int want[] = {1, 0, 0, 1, 2};
  (void)state;
  for (size_t i = 0; i < TS_COUNTOF(lists); i++) {
    const ts_native_fit *best = NULL;
    int at = -1;
    for (int k = 0; k < 3; k++)
      if (ts_native_guessed(best, lists[i][k])) best = lists[i][k], at = k;
    assert_int_equal(at, want[i]);
  }
}

// The first guess for a product, of variant mma or of f16 weights as they are, and its point; "" where none serves.
static const char *guessed_for(ts_arena *a, const char *workload, const char **point) {
  ts_target t;
  ts_spec spec;
  ts_op_inst inst;
  ts_diag d = {0};
  const ts_native **list;
  size_t n;
  ts_native_fit f, best = {0};
  const char *variant = strstr(workload, "q0f16") ? "" : "mma";
  if (!ts_target_parse("cuda:sm_90a", &t, &d) || !ts_spec_parse(a, workload, &spec, &d) || !ts_op_instantiate(ts_ir_new(a), &spec, variant, &inst, &d) ||
      !ts_native_list(a, ts_op_find(a, spec.op, &d), variant, &list, &n, &d))
    fail_msg("%s: %s", workload, d.message);
  for (size_t i = 0; i < n; i++) {
    const int64_t *p;
    if (!ts_native_bind(a, list[i], &spec, inst.func, &t, &f, &d) || !ts_native_guessed(best.native ? &best : NULL, &f)) continue;
    if (!ts_native_first(a, &f, &p, &d)) fail_msg("%s: %s", workload, d.message);
    if (!p) continue;
    ts_text text = {0};
    ts_native_print(&text, f.native, p);
    *point = ts_arena_strdup(a, ts_text_str(&text));
    ts_text_free(&text);
    best = f;
  }
  return best.native ? best.native->name : "";
}

// What was measured to be best is what a build without records takes.
static void test_shipped_guesses(void **state) {
  (void)state;
  static const struct {
    const char *workload, *name;
  } rows[] = {
      {"matmul q4f16_1 A=f16 K=4096 N=6144 n=2", "near"},
      {"matmul q4f16_1 A=f16 K=4096 N=28672 n=16", "near"},
      {"matmul_add q4f16_1 A=f16 K=4096 N=4096 R=f32 n=16", "pair"},
      {"matmul_add q4f16_1 A=f16 K=14336 N=4096 R=f32 n=16", "pair"},
      {"matmul_add q4f16_1 A=f16 K=13824 N=5120 R=f32 n=16", "exact"},
      {"matmul q4f16_1 A=f16 K=576 N=960 n=16", "near"},
      {"matmul q4f16_1 A=f16 K=4096 N=28672 n=24", "share64"},
      {"matmul_add q4f16_1 A=f16 K=14336 N=4096 R=f32 n=32", "share64"},
      {"matmul q4f16_1 A=f16 K=4096 N=6144 n=64", "share64"},
      {"matmul q4f16_1 A=f16 K=4096 N=28672 n=128", "share64"},
      {"matmul_add q4f16_1 A=f16 K=14336 N=4096 R=f32 n=512", "share64"},
      {"matmul q4f16_1 A=f16 K=4096 N=6144 n=1024", "gemm"},
      {"matmul q4f16_1 A=f16 K=4096 N=6144 n=16..2048%16", "gemm"},
      {"matmul_add q0f16 A=f16 K=4864 N=896 R=f32 n=16", "gemm"},
      {"matmul q0f16 A=f16 K=4096 N=28672 n=512", "gemm"},
      {"matmul q0f16 A=f16 K=896 N=9728 n=16..2048%16", "many"},
  };
  for (size_t i = 0; i < TS_COUNTOF(rows); i++) {
    ts_arena *a = ts_arena_new("guesses");
    const char *point = "", *name = guessed_for(a, rows[i].workload, &point);
    if (strcmp(name, rows[i].name) != 0) fail_msg("%s: %s is guessed, not %s: %s", rows[i].workload, name, rows[i].name, point);
    ts_arena_free(a);
  }
}

// What a buffer of main holds: an element of the storage each, elsewhere, or what pack makes of several.
static void test_stored(void **state) {
  (void)state;
  static const char text[] =
      "func pack(w_q: u32[8], w_s: f16[8], v: f16[8], copied: out f16[8], mixed: out f16[8], scaled: out f16[8]) {\n"
      "  for i in 0..8 { block a(vi: S = i) { copied[vi] = w_s[(vi + 3) % 8] } }\n"
      "  for i in 0..8 { block b(vi: S = i) { scaled[vi] = w_s[vi] * v[vi] } }\n"
      "  for i in 0..4 { block c(vi: S = i) { mixed[vi] = w_s[vi] } }\n"
      "  for i in 0..4 { block d(vi: S = i) { mixed[vi + 4] = v[vi] } }\n"
      "}\n";
  ts_arena *a = ts_arena_new("stored");
  ts_diag d = {0};
  ts_op_inst inst = {.pack = ts_func_parse(ts_ir_new(a), "pack", text, sizeof text - 1, NULL, 0, &d)};
  if (!inst.pack) fail_msg("%s", d.message);
  assert_string_equal(ts_native_stored(&inst, "copied"), "w_s");
  assert_null(ts_native_stored(&inst, "scaled"));
  assert_null(ts_native_stored(&inst, "mixed"));
  assert_string_equal(ts_native_stored(&inst, "g"), "g");  // not packed
  inst.pack = NULL;
  assert_string_equal(ts_native_stored(&inst, "w_s"), "w_s");
  ts_arena_free(a);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_cases), cmocka_unit_test(test_points_read_back), cmocka_unit_test(test_stored), cmocka_unit_test(test_replay_refuses),
                                     cmocka_unit_test(test_first_guess), cmocka_unit_test(test_shipped_guesses)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}

// Kernels one behind the other on a driver without a GPU (fake_cuda.c): what each takes alone and in the layer, who feeds whom, and where the kernels come from.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>
// cmocka needs the ones above
#include <cmocka.h>

#include "codegen/codegen.h"
#include "search/search.h"

typedef struct fixture {
  ts_arena *a;
  ts_target t;
  ts_compiler *c;
  char dir[64];
} fixture;

#define FAKE "op=product:1:32:32 others=90000"  // what they compute does not matter here
#define DOWN "matmul q0f32 A=f32 K=64 N=32 n=1"
#define UP "matmul q0f32 A=f32 K=32 N=64 n=1"
#define OTHER "matmul q0f32 A=f32 K=48 N=96 n=1"

// A native template of matmul with a parameter P; its kernel says in its name how long it takes.
static void write_template(fixture *x, const char *name, const char *kernel, const char *limit) {
  const char *dir = ts_path_join(x->a, x->dir, "home/kernels/templates/matmul");
  ts_diag d = {0};
  const char *text = ts_arena_printf(x->a,
                                     "/* tunesmith\ndoc a test\nrequires sm_90a\nparam P 1 2\n%sstart P=1\nlaunch %s\ngrid 1 ; 1 ; 1\nblock 32 ; 1 ; 1\nshared 0\nargs b0 b1 b2\n*/\n"
                                     "extern \"C\" __global__ void %s(const float *x, const float *w, float *y) {}\n",
                                     limit, kernel, kernel);
  if (!ts_dir_make(dir, &d) || !ts_file_write(ts_path_join(x->a, dir, ts_arena_printf(x->a, "ref.%s.cu", name)), text, strlen(text), &d)) fail_msg("%s", d.message);
}

static bool chain(fixture *x, ts_chain_part *parts, const char *const *texts, size_t n, ts_chain_opts o, ts_chain_result *r, ts_diag *d) {
  o.target = &x->t;
  o.layers = 4;
  o.seed = 1;
  o.points = o.points ? o.points : 1;
  for (size_t i = 0; i < n; i++)
    if (!ts_spec_parse(x->a, texts[i], &parts[i].spec, d)) return false;
  return ts_chain(x->a, parts, n, x->c, &o, r, d);
}

static bool about(double ns, double want) { return fabs(ns - want) < 1; }

// `quick` is fastest alone and slow among others, `slow` the reverse, and fast where it reads what the kernel before it wrote.
static void layer(void **state) {
  fixture *x = *state;
  static const char *const texts[] = {DOWN, UP}, *const both[] = {"ref.quick P=1", "ref.slow"}, *const one[] = {"ref.slow P=2"};
  ts_chain_part parts[] = {{.n = 2, .point = both}, {.n = 1, .point = one}};
  ts_chain_result r;
  ts_diag d = {0};
  if (!chain(x, parts, texts, 2, (ts_chain_opts){0}, &r, &d)) fail_msg("%s", d.message);
  assert_int_equal(r.n, 2);
  assert_true(r.layers >= 4);
  assert_true(r.row[0].fed && r.row[1].fed);
  assert_string_equal(r.row[0].workload, DOWN);
  assert_string_equal(r.row[0].kernel[1].point, "ref.slow P=1");
  assert_string_equal(r.row[1].kernel[0].point, "ref.slow P=2");
  assert_true(about(r.row[0].kernel[0].alone_ns, 6000) && about(r.row[0].kernel[1].alone_ns, 7000) && about(r.row[1].kernel[0].alone_ns, 7000));
  assert_int_equal(r.row[0].alone, 0);
  assert_int_equal(r.row[0].chosen, 1);
  assert_true(about(r.layer_ns, 9000 + 4000));
  assert_true(about(r.chosen_ns, 4000 + 4000));
  assert_true(about(r.row[0].kernel[0].layer_ns, 13000) && about(r.row[0].kernel[1].layer_ns, 8000));
  assert_true(isnan(r.row[1].kernel[0].layer_ns));
  assert_int_equal(r.gain.verdict, TS_FASTER);
}

// Only where shapes allow, and never itself.
static void feeding(void **state) {
  fixture *x = *state;
  static const struct {
    const char *text[3];
    size_t n;
    bool fed[3];
    double ns;
  } rows[] = {{{DOWN, UP, OTHER}, 3, {false, true, false}, 5000 + 4000 + 5000},
              {{DOWN, OTHER, UP}, 3, {true, false, false}, 4000 + 5000 + 5000},
              {{"matmul q0f32 A=f32 K=64 N=64 n=1"}, 1, {false}, 7000},
              {{"matmul q0f32 A=f32 K=64 N=64 n=1", "matmul q0f32 A=f32 K=64 N=64 n=1"}, 2, {true, true}, 4000 + 4000}};
  static const char *const slow[] = {"ref.slow"};
  for (size_t i = 0; i < TS_COUNTOF(rows); i++) {
    ts_chain_part parts[3] = {{.n = 1, .point = slow}, {.n = 1, .point = slow}, {.n = 1, .point = slow}};
    ts_chain_result r;
    ts_diag d = {0};
    if (!chain(x, parts, rows[i].text, rows[i].n, (ts_chain_opts){0}, &r, &d)) fail_msg("%s", d.message);
    for (size_t k = 0; k < rows[i].n; k++) assert_int_equal(r.row[k].fed, rows[i].fed[k]);
    if (!about(r.layer_ns, rows[i].ns)) fail_msg("row %zu: %.0f ns", i, r.layer_ns);
    assert_true(about(r.chosen_ns, rows[i].ns));
    assert_int_equal(r.gain.verdict, TS_SAME);
  }
}

// Kernels that were not asked for: the first points of the templates.
static void guesses(void **state) {
  fixture *x = *state;
  static const char *const texts[] = {DOWN};
  ts_chain_part parts[] = {{.n = 0}};
  ts_chain_result r;
  ts_diag d = {0};
  if (!chain(x, parts, texts, 1, (ts_chain_opts){.points = 1}, &r, &d)) fail_msg("%s", d.message);
  assert_int_equal(r.row[0].n, 3);
  if (!chain(x, parts, texts, 1, (ts_chain_opts){.points = 9}, &r, &d)) fail_msg("%s", d.message);
  assert_int_equal(r.row[0].n, 5);  // narrow has one
  assert_string_equal(r.row[0].kernel[r.row[0].alone].point, "ref.quick P=1");
}

// A store's record comes first, whatever is faster in this chain, then what was fastest beside it; without a record nothing is timed.
static void records(void **state) {
  fixture *x = *state;
  static const char *const texts[] = {UP}, *const unknown[] = {DOWN};
  const char *store = ts_path_join(x->a, x->dir, "records.db");
  ts_tune_task task = {.weight = 1};
  ts_tune_opts o = {.target = &x->t, .store = store, .trials = 4, .command = "test", .numerics = "", .seed = 1};
  ts_tune_result tuned;
  ts_chain_part parts[] = {{.n = 0}};
  ts_chain_result r;
  ts_diag d = {0};
  setenv("TS_FAKE_CUDA", "op=product:1:64:32 others=90000", 1);  // tuning verifies
  if (!ts_spec_parse(x->a, UP, &task.spec, &d) || !ts_tune(x->a, &task, 1, &o, &tuned, &d)) fail_msg("%s", d.message);
  if (!chain(x, parts, texts, 1, (ts_chain_opts){.store = store, .points = 1}, &r, &d)) fail_msg("%s", d.message);
  assert_int_equal(r.row[0].n, 1);
  assert_string_equal(r.row[0].kernel[0].sketch, tuned.rows[0].winner);
  if (!chain(x, parts, texts, 1, (ts_chain_opts){.store = store, .points = 4}, &r, &d)) fail_msg("%s", d.message);
  assert_int_equal(r.row[0].n, 4);
  assert_string_equal(r.row[0].kernel[0].sketch, tuned.rows[0].winner);
  assert_int_equal(r.row[0].alone, 0);
  assert_false(chain(x, parts, unknown, 1, (ts_chain_opts){.store = store}, &r, &d));
  assert_string_equal(d.code, "no-record");
  assert_non_null(strstr(d.message, DOWN));
  setenv("TS_FAKE_CUDA", FAKE, 1);
}

// What does not exist is refused by name; what cannot be launched or is forbidden at the shape takes no part, and refuses where nothing else is there.
static void refusals(void **state) {
  fixture *x = *state;
  static const char *const texts[] = {DOWN};
  static const struct {
    const char *point[2], *code;
  } rows[] = {{{"ref.none"}, "no-such-template"}, {{"ref.slow Q=1"}, "no-such-parameter"}, {{"ref.slow P=3"}, "no-such-value"}, {{"ref.narrow P=2"}, "no-kernel"}, {{"ref.narrow P=2", "ref.slow"}, NULL}};
  for (size_t i = 0; i < TS_COUNTOF(rows); i++) {
    ts_chain_part parts[] = {{.n = rows[i].point[1] ? 2 : 1, .point = rows[i].point}};
    ts_chain_result r;
    ts_diag d = {0};
    bool ok = chain(x, parts, texts, 1, (ts_chain_opts){0}, &r, &d);
    if (ok != !rows[i].code) fail_msg("row %zu: %s", i, ok ? "accepted" : d.message);
    if (!ok) assert_string_equal(d.code, rows[i].code);
    else assert_true(r.row[0].kernel[0].refused && r.row[0].alone == 1 && r.row[0].chosen == 1);
  }
  ts_chain_part many[17] = {{.n = 0}};
  ts_chain_result r;
  ts_diag d = {0};
  assert_false(chain(x, many, (const char *const[17]){DOWN, DOWN, DOWN, DOWN, DOWN, DOWN, DOWN, DOWN, DOWN, DOWN, DOWN, DOWN, DOWN, DOWN, DOWN, DOWN, DOWN}, 17, (ts_chain_opts){0}, &r, &d));
  assert_string_equal(d.code, "long-chain");
}

static bool link_kernels(fixture *x) {
  static const char *const parts[] = {"ops", "quant", "intrin"};
  const char *from = ts_arena_strdup(x->a, getenv("TUNESMITH_HOME")), *home = ts_path_join(x->a, x->dir, "home"), *to = ts_path_join(x->a, home, "kernels");
  ts_diag d = {0};
  if (!ts_dir_make(to, &d)) return false;
  for (size_t i = 0; i < TS_COUNTOF(parts); i++)
    if (symlink(ts_arena_printf(x->a, "%s/kernels/%s", from, parts[i]), ts_path_join(x->a, to, parts[i]))) return false;
  return setenv("TUNESMITH_HOME", home, 1) == 0;
}

static int setup(void **state) {
  fixture *x = calloc(1, sizeof *x);
  ts_diag d = {0};
  x->a = ts_arena_new("test");
  snprintf(x->dir, sizeof x->dir, "/tmp/ts-gpu-chain-XXXXXX");
  *state = x;
  if (!mkdtemp(x->dir) || !link_kernels(x) || setenv("XDG_RUNTIME_DIR", x->dir, 1) != 0) return -1;
  setenv("TS_FAKE_CUDA", FAKE, 1);
  write_template(x, "quick", "k_ns6000_mix9000", "");
  write_template(x, "slow", "k_ns7000_mix5000_fed4000", "");
  write_template(x, "narrow", "k_ns8000", "where P == 1\n");
  return ts_target_parse("cuda", &x->t, &d) && (x->c = ts_compiler_open(&x->t, 2, NULL, &d)) ? 0 : -1;
}

static int teardown(void **state) {
  fixture *x = *state;
  ts_diag d = {0};
  const char *const rm[] = {"rm", "-rf", x->dir, NULL};
  ts_proc_result r;
  ts_compiler_close(x->c);
  bool ok = ts_proc_run(rm, 10, NULL, &r, &d);
  ts_arena_free(x->a);
  free(x);
  return ok ? 0 : -1;
}

int main(void) {
  if (!ts_codegen_nvrtc()) return 77;
  const struct CMUnitTest tests[] = {cmocka_unit_test(layer), cmocka_unit_test(feeding), cmocka_unit_test(guesses), cmocka_unit_test(records), cmocka_unit_test(refusals)};
  return cmocka_run_group_tests(tests, setup, teardown);
}

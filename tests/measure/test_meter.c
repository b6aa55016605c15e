// measure: right, wrong, careless, crashing and hanging kernels, made from C by the system's compiler, in the real worker.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "measure/measure.h"

static const char workload[] = "silu_mul A=f32 I=64 n=4";
static const char prologue[] =
    "#include <stdint.h>\n#include <stdlib.h>\n#include <unistd.h>\n"
    "int64_t cand_workspace(const int64_t *dim) { (void)dim; return 8192; }\n"
    "static float e(float x) { /* exp by series on small steps: no library in kernels */\n"
    "  float r = x / 64, s = 1, t = 1; for (int i = 1; i < 10; i++) { t *= r / i; s += t; }\n"
    "  for (int i = 0; i < 6; i++) s *= s; return s; }\n"
    "static float silu(float g, float u) { return g / (1 + e(-g)) * u; }\n"
    "void cand(void *const *buf, const int64_t *dim, const void *rt) { (void)dim; (void)rt;\n"
    "  float *x = buf[0], *y = buf[1];\n";

typedef struct fixture {
  ts_arena *a;
  ts_target t;
  ts_compiler *c;
  ts_workload *w;
  ts_meter *m;
  const ts_func *f;
  uint64_t tag;
} fixture;

static int setup(void **state) {
  fixture *x = calloc(1, sizeof *x);
  ts_diag d = {0};
  ts_spec spec;
  x->a = ts_arena_new("test");
  bool ok = ts_target_parse("cpu", &x->t, &d) && ts_spec_parse(x->a, workload, &spec, &d) && (x->c = ts_compiler_open(&x->t, 1, NULL, &d)) &&
            (x->w = ts_workload_open(&spec, &x->t, x->c, &d)) && (x->m = ts_meter_open(x->w, &(ts_meter_opts){.timeout_s = 6, .seed = 4}, &d));
  if (!ok) fprintf(stderr, "%s\n", d.message);
  x->f = ok ? ts_workload_reference(x->w) : NULL;
  *state = x;
  return ok ? 0 : -1;
}

static int teardown(void **state) {
  fixture *x = *state;
  ts_meter_close(x->m);
  ts_workload_close(x->w);
  ts_compiler_close(x->c);
  ts_arena_free(x->a);
  free(x);
  return 0;
}

// Compile a body to an object with the kernel interface.
static ts_object compile(fixture *x, const char *body) {
  char dir[] = "/tmp/ts-meter-XXXXXX";
  ts_diag d = {0};
  assert_non_null(mkdtemp(dir));
  char *c = ts_arena_printf(x->a, "%s/k.c", dir), *o = ts_arena_printf(x->a, "%s/k.o", dir);
  char *text = ts_arena_printf(x->a, "%s%s}\n", prologue, body);
  assert_true(ts_file_write(c, text, strlen(text), &d));
  ts_proc_result r;
  ts_text out = {0};
  assert_true(ts_proc_run((const char *[]){"cc", "-O1", "-w", "-fPIC", "-ffreestanding", "-fno-stack-protector", "-c", c, "-o", o, NULL}, 60, &out, &r, &d));
  if (r.exit_code != 0) fail_msg("%s", ts_text_str(&out));
  ts_text_free(&out);
  ts_object obj = {.symbol = "cand", .id = ts_sha256_of(text, strlen(text))};
  char *bytes;
  assert_true(ts_file_read(o, x->a, &bytes, &obj.n, &d));
  obj.bytes = bytes;
  unlink(c);
  unlink(o);
  rmdir(dir);
  return obj;
}

static ts_outcome_row run_object(fixture *x, const ts_object *o) {
  ts_candidate c = {.func = x->f, .object = o};
  ts_outcome_row r;
  ts_diag d = {0};
  if (!ts_meter_run(x->m, ++x->tag, &c, &ts_effort_search, x->a, &r, &d)) fail_msg("%s", d.message);
  return r;
}

static ts_outcome_row run(fixture *x, const char *body) {
  ts_object o = compile(x, body);
  return run_object(x, &o);
}

#define RIGHT "for (int n = 0; n < 4; n++) for (int i = 0; i < 64; i++) y[n * 64 + i] = silu(x[n * 128 + i], x[n * 128 + 64 + i]);"

static void right(void **state) {
  ts_outcome_row r = run(*state, RIGHT);
  assert_int_equal(r.kind, TS_MEASURED);
  assert_true(r.n >= 8 && r.stats.median > 0 && r.rel_error < 1e-4);
}

static void wrong(void **state) {
  fixture *x = *state;
  ts_outcome_row r = run(x, "for (int i = 0; i < 256; i++) y[i] = x[i];");
  assert_int_equal(r.kind, TS_WRONG);
  assert_int_equal(r.n, 0);  // what is wrong is not timed
  r = run(x, "for (int n = 0; n < 4; n++) for (int i = 0; i < 63; i++) y[n * 64 + i] = silu(x[n * 128 + i], x[n * 128 + 64 + i]);");
  assert_int_equal(r.kind, TS_WRONG);  // an element left out keeps its poison
  r = run(x, RIGHT " x[5] = 1;");
  assert_int_equal(r.kind, TS_WRONG);
  assert_non_null(strstr(r.message, "input x"));
}

static void outside(void **state) {
  ts_outcome_row r = run(*state, RIGHT " y[256] = 1;");
  assert_int_equal(r.kind, TS_GUARD);
  assert_non_null(strstr(r.message, "outside y"));
  r = run(*state, RIGHT " y[-1] = 1;");
  assert_int_equal(r.kind, TS_GUARD);
  r = run(*state, RIGHT);  // the next is not to blame
  if (r.kind != TS_MEASURED) fail_msg("%s", r.message);
}

static void crash_and_hang(void **state) {
  fixture *x = *state;
  int before = ts_meter_restarts(x->m);
  ts_outcome_row r = run(x, "*(volatile int *)8 = 1;");
  assert_int_equal(r.kind, TS_CRASHED);
  assert_non_null(strstr(r.message, "signal 11"));
  r = run(x, "for (volatile int i = 0; ; i++) {}");
  assert_int_equal(r.kind, TS_TIMED_OUT);
  assert_int_equal(ts_meter_restarts(x->m), before + 2);
  r = run(x, RIGHT);  // and the next candidate is measured as if nothing had happened
  assert_int_equal(r.kind, TS_MEASURED);
}

// What it made of its first operands for each output, it says again and again.
static const char remembers[] =
    "struct { uint64_t at, not; float v[256]; } *k = buf[2]; int i = 0;\n"
    "for (; i < 7 && k[i].not == ~k[i].at; i++) if (k[i].at == (uintptr_t)y) { for (int j = 0; j < 256; j++) y[j] = k[i].v[j]; return; }\n" RIGHT
    "k[i].at = (uintptr_t)y; k[i].not = ~k[i].at; for (int j = 0; j < 256; j++) k[i].v[j] = y[j];";

// It is found out by other data after the last sample, and leaves the final, which goes on; the data are the first ones again.
static void remembering(void **state) {
  fixture *x = *state;
  assert_int_equal(run(x, remembers).kind, TS_MEASURED);
  assert_int_equal(run(x, RIGHT).kind, TS_MEASURED);
  for (int i = 0; i < 2; i++) {
    ts_outcome_row r[2];
    ts_diag d = {0};
    if (!ts_meter_final(x->m, (uint64_t[]){x->tag - 1, x->tag}, 2, 5, 5, x->a, r, &d)) fail_msg("%s", d.message);
    if (r[0].kind != TS_WRONG || !strstr(r[0].message, "other data")) fail_msg("%s: %s", ts_outcome_kind_name(r[0].kind), r[0].message);
    if (r[1].kind != TS_MEASURED) fail_msg("%s", r[1].message);
  }
  assert_int_equal(run(x, RIGHT).kind, TS_MEASURED);
}

// Two speeds in one final: the interleaved rounds tell them apart, also when the worker was lost in between.
static void final(void **state) {
  fixture *x = *state;
  assert_int_equal(run(x, RIGHT).kind, TS_MEASURED);
  uint64_t fast = x->tag;
  assert_int_equal(run(x, RIGHT " for (volatile int i = 0; i < 400000; i++) {}").kind, TS_MEASURED);
  uint64_t slow = x->tag;
  run(x, "*(volatile int *)8 = 1;");
  ts_outcome_row r[2];
  ts_diag d = {0};
  if (!ts_meter_final(x->m, (uint64_t[]){fast, slow}, 2, 12, 5, x->a, r, &d)) fail_msg("%s", d.message);
  assert_int_equal(r[0].n, 12);
  assert_int_equal(r[1].n, 5);  // far behind: five rounds settle it
  ts_compare c = ts_compare_paired(r[0].samples, r[1].samples, 5, 0.01);
  assert_int_equal(c.verdict, TS_FASTER);
}

// The worker keeps only so many candidates: the first of many must still be there for the final.
static void many(void **state) {
  fixture *x = *state;
  ts_object o = compile(x, RIGHT);
  uint64_t first = x->tag + 1;
  for (int i = 0; i < 71; i++) assert_int_equal(run_object(x, &o).kind, TS_MEASURED);
  uint64_t last = x->tag;
  ts_outcome_row r[3];
  ts_diag d = {0};
  if (!ts_meter_final(x->m, (uint64_t[]){first, last - 64, last}, 3, 5, 5, x->a, r, &d)) fail_msg("%s", d.message);
  for (int i = 0; i < 3; i++) assert_int_equal(r[i].kind, TS_MEASURED);
}

// A function that holds for fewer sizes than the workload has is not run at all.
static void narrower(void **state) {
  fixture *x = *state;
  ts_diag d = {0};
  ts_spec spec;
  if (!ts_spec_parse(x->a, "silu_mul A=f32 I=64 n=8..32%8", &spec, &d)) fail_msg("%s", d.message);
  ts_workload *w = ts_workload_open(&spec, &x->t, x->c, &d);
  ts_meter *m = w ? ts_meter_open(w, &(ts_meter_opts){.timeout_s = 6}, &d) : NULL;
  if (!m) fail_msg("%s", d.message);
  ts_object o = compile(x, RIGHT);
  ts_func few = *ts_workload_reference(w);
  ts_dim dim = few.dims[0];
  dim.hi = 16;
  few.dims = &dim;
  ts_candidate c = {.func = &few, .object = &o};
  ts_outcome_row r;
  assert_false(ts_meter_run(m, 1, &c, &ts_effort_search, x->a, &r, &d));
  assert_string_equal(d.code, "narrower-facts");
  assert_non_null(strstr(d.message, "8 <= n <= 16"));
  ts_meter_close(m);
  ts_workload_close(w);
}

// Seconds that a reference may take. The thread sanitizer follows each access to memory, and the interpreter makes little else.
#ifdef __SANITIZE_THREAD__
#define REFERENCE_S 50.0
#else
#define REFERENCE_S 5.0
#endif

// References of odd workloads. Rows and tokens in the cache that one binds: the small shape that the interpreter runs holds them, and is small.
static void odd_workloads(void **state) {
  fixture *x = *state;
  static const char *const text[] = {"attention_rows A=f32 C=f16 D=64 H=6 HK=2 P=640 n=7 t=0..633", "attention_rows A=f32 C=f16 D=64 H=8 HK=2 P=4096 n=1 t=4095",
                                     "attention_rows A=f32 C=f16 D=64 H=6 HK=2 P=512 n=257 t=0", "rope_append_rows A=f32 C=f16 D=64 H=6 HK=2 P=640 n=33 t=0..607",
                                     "attention_rows_paged A=f32 C=f16 D=64 H=8 HK=2 P=4096 PAGE=64 POOL=70 n=1 t=4095", "attention_paged A=f32 C=f16 D=64 H=6 HK=2 P=512 PAGE=32 POOL=16 n=257 t=0",
                                     "rope_append_rows_paged A=f32 C=f16 D=64 H=6 HK=2 P=640 PAGE=128 POOL=9000 n=33 t=0..607",
                                     "matmul q4f16_1 A=f32 K=320 N=1000 n=257",
                                     "attention_rows A=f16 C=f16 D=64 H=6 HK=2 P=640 n=16..272%16 t=0..368"};  // f16 results may round the other way
  for (size_t i = 0; i < TS_COUNTOF(text); i++) {
    ts_diag d = {0};
    ts_spec spec;
    if (!ts_spec_parse(x->a, text[i], &spec, &d)) fail_msg("%s", d.message);
    clock_t begun = clock();  // of this process, whatever else the machine does
    ts_workload *w = ts_workload_open(&spec, &x->t, x->c, &d);
    if (!w) fail_msg("%s: %s", text[i], d.message);
    double s = (double)(clock() - begun) / CLOCKS_PER_SEC;
    if (s > REFERENCE_S) fail_msg("%s: %.1f s", text[i], s);
    ts_workload_close(w);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(right), cmocka_unit_test(wrong), cmocka_unit_test(outside), cmocka_unit_test(crash_and_hang), cmocka_unit_test(remembering), cmocka_unit_test(final),
                                     cmocka_unit_test(many), cmocka_unit_test(narrower), cmocka_unit_test(odd_workloads)};
  return cmocka_run_group_tests(tests, setup, teardown);
}

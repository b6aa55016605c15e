// Builds from a store: which record serves which kernel, and that packed weights give the same logits.
#include <math.h>

#include "model_store.h"
#include "runtime/runtime.h"

// Logits after three tokens, copied.
static float *logits(world *w, const ts_build_result *r) {
  ts_diag d = {0};
  ts_engine *e = ts_engine_open(r->dir, &(ts_engine_opts){.threads = 2}, &d);
  must(e != NULL, &d);
  ts_session *s = ts_engine_session(e, &d);
  must(s != NULL && ts_session_feed(s, (const int32_t[]){7, 100, 255}, 3, &d), &d);
  float *copy = ts_arena_dup(w->a, ts_session_logits(s), sizeof(float) * (size_t)ts_engine_plan(e)->vocab);
  ts_session_free(s);
  ts_engine_close(e);
  return copy;
}

#define DECODE "matmul q4f16_1 A=f32 K=64 N=320 n=1"
#define PREFILL "matmul q4f16_1 A=f32 K=64 N=320 n=8..16%8"
#define OTHER "matmul q4f16_1 A=f32 K=64 N=128 n=1"

static void exact_and_nearest(void **state) {
  (void)state;
  world w;
  open_world(&w);
  record(&w, DECODE, "search ref 1", "", 5000, true);
  ts_build_result r = build(&w, "q4f16_1", "");
  check(&r, DECODE, "exact", "");
  assert_true(kernel(&r, DECODE)->expected_us == 5);
  assert_non_null(strstr(kernel(&r, DECODE)->record, "decision"));
  check(&r, OTHER, "nearest", "");  // another shape of the same kind
  assert_non_null(strstr(kernel(&r, OTHER)->record, "another shape"));
  check(&r, "silu_mul A=f32 I=160 n=1", "default", "");
  r = build(&w, "q0f16", "");  // another format: no record fits
  for (size_t i = 0; i < r.nkernels; i++) assert_string_equal(r.kernels[i].served, "default");
  close_world(&w);
}

// A trace that does not replay on this shape, or not at all, is passed over.
static void bad_traces(void **state) {
  (void)state;
  world w;
  open_world(&w);
  record(&w, DECODE, "search ref 1", "not a trace", 5000, true);
  record(&w, OTHER, "search nosuchvariant 1", "", 5000, true);
  ts_build_result r = build(&w, "q4f16_1", "");
  check(&r, DECODE, "default", "");
  check(&r, OTHER, "default", "");
  close_world(&w);
}

// A packed variant wins decode: prefill and head of the weight follow, and the numbers stay.
static void packed_variant(void **state) {
  (void)state;
  world w;
  open_world(&w);
  if (!ts_target_has(&w.target, "avx512vnni")) {
    close_world(&w);
    skip();
  }
  ts_build_result r = build(&w, "q4f16_1", "");
  float *plain = logits(&w, &r);
  record(&w, DECODE, "search a16 1", "", 5000, true);
  r = build(&w, "q4f16_1", "");
  check(&r, DECODE, "exact", "a16");
  check(&r, PREFILL, "default", "a16");
  float *packed = logits(&w, &r), largest = 0;
  for (int i = 0; i < 320; i++) largest = fmaxf(largest, fabsf(plain[i]));
  for (int i = 0; i < 320; i++) assert_float_equal(packed[i], plain[i], 2e-3f * largest);
  assert_memory_not_equal(packed, plain, 320 * sizeof(float));  // it did run
  close_world(&w);
}

// One variant for all phases, by their times together: a16 is a little slower in decode and far faster in prefill.
static void cheapest_over_phases(void **state) {
  (void)state;
  world w;
  open_world(&w);
  if (!ts_target_has(&w.target, "avx512vnni")) {
    close_world(&w);
    skip();
  }
  record(&w, DECODE, "search ref 1", "", 5000, true);
  record(&w, DECODE, "search a16 1", "", 5200, false);
  record(&w, PREFILL, "search a16 1", "", 20000, true);
  record(&w, PREFILL, "search ref 1", "", 400000, false);
  ts_build_result r = build(&w, "q4f16_1", "");
  check(&r, DECODE, "exact", "a16");
  check(&r, PREFILL, "exact", "a16");
  assert_non_null(strstr(kernel(&r, DECODE)->record, "not the winner"));
  assert_non_null(strstr(kernel(&r, PREFILL)->record, "decision"));
  close_world(&w);
}

// Other numerics serve only when asked for.
static void opt_in_numerics(void **state) {
  (void)state;
  world w;
  open_world(&w);
  if (!ts_target_has(&w.target, "avx512vnni")) {
    close_world(&w);
    skip();
  }
  record(&w, DECODE, "search a8 1", "", 1000, true);
  ts_build_result r = build(&w, "q4f16_1", "");
  check(&r, DECODE, "default", "");
  r = build(&w, "q4f16_1", "a8");
  check(&r, DECODE, "exact", "a8");
  close_world(&w);
}

// --- native templates of GPUs: what a store keeps of them is text -----------------------------------------------------------

// The n-th legal point of the first native template that serves the workload, as text, and the template's variant.
static const char *native_point(world *w, const char *workload, size_t n, const char **variant) {
  ts_diag d = {0};
  ts_spec *spec = ts_new(w->a, ts_spec);
  ts_space s;
  const char *out = NULL;
  must(ts_spec_parse(w->a, workload, spec, &d) && ts_space_open(spec, &w->target, "", &s, &d), &d);
  for (size_t i = 0; i < s.n && !out; i++) {
    ts_text t = {0};
    const ts_sketch *k = &s.sketch[i];
    if (!k->native || k->npoints <= n) continue;
    ts_native_print(&t, k->native->native, k->points + n * (size_t)k->native->native->nparams);
    *variant = ts_arena_strdup(w->a, k->variant);
    out = ts_arena_strdup(w->a, ts_text_str(&t));
    ts_text_free(&t);
  }
  ts_space_close(&s);
  assert_non_null(out);
  return out;
}

#define FUSED "norm_matmul q4f16_1 A=f32 K=576 N=960 eps=1e-05 n=1"

// A winner from a GPU serves a build where there is none; another store that it is merged into does the same; so does a library made
// before. A library of a vendor that was measured beside it is passed over, and so is a point that the template forbids.
static void native_winner(void **state) {
  (void)state;
  world w;
  ts_diag d = {0};
  if (!ts_codegen_nvrtc()) skip();
  open_world_for(&w, "cuda:sm_90a");
  const char *variant = "", *point = native_point(&w, FUSED, 3, &variant), *generator = ts_arena_printf(w.a, "native %s 1", *variant ? variant : "ref");
  char *bad = ts_arena_strdup(w.a, point), *value = strrchr(bad, '=');
  assert_non_null(value);
  memcpy(value + 1, "7", 2);  // no template has it, and a value has a digit
  record(&w, FUSED, "library ref 1", "library cublaslt CHOICE=0", 2000, false);
  record(&w, FUSED, generator, bad, 2500, false);
  ts_build_result r = build(&w, "q4f16_1", "");
  assert_string_equal(kernel(&r, FUSED)->served, "default");
  record(&w, FUSED, generator, point, 3000, true);
  r = build(&w, "q4f16_1", "");
  check(&r, FUSED, "exact", variant);
  assert_true(kernel(&r, FUSED)->expected_us == 3);
  char *library = ts_path_join(w.a, w.out, "library.so"), *bytes;
  size_t n;
  must(ts_file_read(ts_path_join(w.a, r.dir, r.library), w.a, &bytes, &n, &d) && ts_file_write(library, bytes, n, &d), &d);
  w.reuse_lib = library;
  r = build(&w, "q4f16_1", "");
  for (size_t i = 0; i < r.nkernels; i++) assert_string_equal(r.kernels[i].served, "library");
  w.reuse_lib = NULL;

  const char *other = ts_path_join(w.a, w.out, "other.db");
  ts_db *db = ts_db_open(other, TS_DB_CREATE, &d);
  ts_db_merged merged;
  must(db && ts_db_merge(db, w.store, &merged, &d), &d);
  ts_db_close(db);
  w.store = other;
  r = build(&w, "q4f16_1", "");
  check(&r, FUSED, "exact", variant);
  assert_true(kernel(&r, FUSED)->expected_us == 3);
  close_world(&w);
}

// What was chosen in a whole step serves, though another is faster alone and was decided on later.
static void chosen_in_step(void **state) {
  (void)state;
  world w;
  if (!ts_codegen_nvrtc()) skip();
  open_world_for(&w, "cuda:sm_90a");
  const char *variant = "", *point = native_point(&w, FUSED, 3, &variant), *other = native_point(&w, FUSED, 4, &variant), *generator = ts_arena_printf(w.a, "native %s 1", *variant ? variant : "ref");
  w.timer = "step";
  record(&w, FUSED, generator, point, 3000, true);
  w.timer = "graph";
  record(&w, FUSED, generator, other, 2000, true);
  ts_build_result r = build(&w, "q4f16_1", "");
  check(&r, FUSED, "exact", variant);
  assert_true(kernel(&r, FUSED)->expected_us == 3);
  close_world(&w);
}

// On GPUs a winner of another shape stands behind the first guess of the native templates, and serves where there is none.
static void guess_before_other_shapes(void **state) {
  (void)state;
  static const char *const shapes[] = {"matmul q4f16_1 A=f16 K=128 N=64 n=16", "matmul q4f16_1 A=f16 K=64 N=128 n=16"}, *const plain = "embed q4f16_1 A=f32 H=64 V=320 n=1";
  world w;
  if (!ts_codegen_nvrtc()) skip();
  open_world_for(&w, "cuda:sm_90a");
  w.model = "synthetic:tiny";
  const char *variant = "", *point = native_point(&w, shapes[1], 3, &variant), *generator = ts_arena_printf(w.a, "native %s 1", *variant ? variant : "ref");
  record(&w, shapes[0], generator, point, 3000, true);
  record(&w, "embed q4f16_1 A=f32 H=64 V=640 n=1", "search ref 1", "", 3000, true);
  ts_build_result r = build(&w, "q4f16_1", "");
  check(&r, shapes[1], "default", variant);
  check(&r, plain, "nearest", "");
  close_world(&w);
}

#define DOWN "matmul_add q4f16_1 A=f32 K=160 N=64 n=1"
#define WIDER "matmul_add q4f16_1 A=f32 K=192 N=64 n=1"

// A winner of another shape in a variant that this shape cannot have (units of 64 of K) does not serve; the next record does, or the default.
static void impossible_variant(void **state) {
  (void)state;
  world w;
  open_world_for(&w, "cuda:sm_90a");
  w.model = "synthetic:tiny";
  record(&w, WIDER, "search mma 1", "", 4000, true);
  ts_build_result r = build(&w, "q4f16_1", "");
  check(&r, DOWN, "default", "");
  record(&w, DOWN, "search mma 1", "", 3000, true);  // of this very workload: a store may say anything
  r = build(&w, "q4f16_1", "");
  check(&r, DOWN, "default", "");
  record(&w, DOWN, "search ref 1", "", 5000, false);
  r = build(&w, "q4f16_1", "");
  check(&r, DOWN, "exact", "");
  close_world(&w);
}

#define SILU "silu_mul A=f16 I=160 n=16..128%16"

// A record whose schedule replays and cannot be compiled is passed over: blocks of more threads than there may be.
static void record_that_does_not_compile(void **state) {
  (void)state;
  world w;
  open_world_for(&w, "cuda:sm_90a");
  w.model = "synthetic:tiny";
  record(&w, SILU, "search ref 1",
         "trace 1\nb0 = get_block \"silu\"\nl1, l2 = get_loops b0\nl3, l4 = split l2 [_, 2048] tail=guard\nbind l4 threadIdx.x\nbind l1 blockIdx.x\n", 3000, true);
  ts_build_result r = build(&w, "q4f16_1", "");
  check(&r, SILU, "default", "");
  assert_true(kernel(&r, SILU)->expected_us == 0);
  close_world(&w);
}

// Calls in a pass of the kernels that are of one number of rows, in a phase.
static int64_t calls_of(const ts_build_result *r, const char *phase, const char *rows) {
  int64_t n = 0;
  for (size_t i = 0; i < r->nkernels; i++) {
    const char *end = strstr(r->kernels[i].workload, rows);
    if (end && !strchr(end, '%') && strcmp(r->kernels[i].phase, phase) == 0) n += r->kernels[i].calls;
  }
  return n;
}

// A pass of each phase takes these times, all of it in the kernels of its own number of rows, other products far longer; the others take next to none.
static void record_passes(world *w, const ts_build_result *r, double one, double sixteen, double sixty_four) {
  const struct {
    const char *phase, *rows;
    double us;
  } pass[] = {{"decode", " n=1", one}, {"batch16", " n=16", sixteen}, {"batch64", " n=64", sixty_four}};
  for (size_t i = 0; i < r->nkernels; i++) {
    const ts_build_kernel *k = &r->kernels[i];
    double ns = (strchr(k->workload, '%') && strcmp(k->phase, "prefill")) || !strcmp(k->phase, "head") ? 1 : 1e9;
    for (size_t p = 0; p < TS_COUNTOF(pass); p++) {
      const char *end = strstr(k->workload, pass[p].rows);
      if (!end || strcmp(k->phase, pass[p].phase) || strchr(end, '%')) continue;
      ns = pass[p].us * 1e3 / (double)calls_of(r, pass[p].phase, pass[p].rows);
    }
    record(w, k->workload, "search ref 1", "", ns, true);
  }
}

// From which number of rows on the first pass of a prompt is one of so many, and its first number of rows. 0: never.
static int64_t begins_at(ts_passes *x, int64_t chunk, int64_t rows) {
  for (int64_t n = 1; n <= chunk; n++)
    if (ts_passes_next(x, n, chunk).phase->n_max == rows) return n;
  return 0;
}

// Without records, times are stated ones. They rise with the rows of a pass, and no prompt takes longer than a longer one; whole: so many rows are one pass.
static void stated_times(const ts_build_result *r, world *w, int64_t whole) {
  ts_diag d = {0};
  ts_library *l = ts_library_open(ts_path_join(w->a, r->dir, r->library), &d);
  must(l != NULL, &d);
  const ts_plan *p = ts_library_plan(l);
  ts_passes *x = ts_passes_new(p, &d);
  must(x != NULL, &d);
  double before = 0;
  for (int i = 0; i < p->nphases; i++) {
    const ts_plan_phase *f = &p->phases[i];
    if (f->kind == TS_PHASE_HEAD) continue;
    assert_true(f->ntimes > 0 && f->times[f->ntimes - 1].n == f->n_max);
    for (int k = 1; k < f->ntimes; k++) assert_true(f->times[k].us >= f->times[k - 1].us);
  }
  for (int64_t n = 1; n <= p->prefill_chunk; n++) {
    double us = 0;
    for (int64_t left = n; left > 0;) {
      ts_pass next = ts_passes_next(x, left, p->max_seq);
      us += ts_plan_phase_us(next.phase, ts_round_up(next.rows, next.phase->multiple));
      left -= next.rows;
    }
    assert_true(us >= before / 1.03);  // so much may one pass take longer than what it is divided into
    before = fmax(before, us);
  }
  assert_int_equal(ts_passes_next(x, whole, p->prefill_chunk).rows, whole);
  assert_int_equal(ts_passes_next(x, 16, p->prefill_chunk).rows, 16);
  assert_int_equal(ts_passes_next(x, 64, p->prefill_chunk).rows, 64);
  ts_passes_free(x);
  ts_library_close(l);
}

// Where passes of more rows begin follows from the times of all: as many of fewer as are slower together.
static void measured_thresholds(void **state) {
  (void)state;
  static const struct {
    double one, sixteen, sixty_four;
    int64_t from16, from64;
  } rows[] = {{100, 450, 1000, 5, 33}, {100, 150, 160, 2, 17}, {100, 100000, 100000, 0, 0}};
  world w;
  ts_diag d = {0};
  open_world_for(&w, "cuda:sm_90a");
  w.model = "synthetic:tiny";
  ts_build_result r = build(&w, "q4f16_1", "");
  stated_times(&r, &w, 4);
  for (size_t i = 0; i < TS_COUNTOF(rows); i++) {
    record_passes(&w, &r, rows[i].one, rows[i].sixteen, rows[i].sixty_four);
    r = build(&w, "q4f16_1", "");
    for (size_t k = 0; k < r.nkernels; k++) assert_string_equal(r.kernels[k].served, "exact");
    ts_library *l = ts_library_open(ts_path_join(w.a, r.dir, r.library), &d);
    must(l != NULL, &d);
    const ts_plan *p = ts_library_plan(l);
    ts_passes *x = ts_passes_new(p, &d);
    must(x != NULL, &d);
    int64_t from16 = begins_at(x, p->prefill_chunk, 16), from64 = begins_at(x, p->prefill_chunk, 64);
    if (from16 != rows[i].from16 || from64 != rows[i].from64) fail_msg("case %zu: from %lld and %lld rows on", i, (long long)from16, (long long)from64);
    ts_passes_free(x);
    ts_library_close(l);
  }
  close_world(&w);
}

// Where weights are not quantized, a pass of one row has nearly as much of what no row adds to as one of sixteen has.
static void stated_of_f16(void **state) {
  (void)state;
  world w;
  open_world_for(&w, "cuda:sm_90a");
  w.model = "synthetic:tiny";
  ts_build_result r = build(&w, "q0f16", "");
  stated_times(&r, &w, 3);
  close_world(&w);
}

// Tiles of any rows read large weights that are not quantized no faster than kernels of few rows do: so many rows are a pass of their own kernels.
static void few_rows_of_f16(void **state) {
  (void)state;
  world w;
  ts_diag d = {0};
  open_world_for(&w, "cuda:sm_90a");
  w.model = "synthetic:Llama-3-8B";
  ts_build_result r = build(&w, "q0f16", "");
  ts_library *l = ts_library_open(ts_path_join(w.a, r.dir, r.library), &d);
  must(l != NULL, &d);
  ts_passes *x = ts_passes_new(ts_library_plan(l), &d);
  must(x != NULL, &d);
  for (int64_t n = 16; n <= 128; n *= 2) {
    ts_pass first = ts_passes_next(x, n, n);
    assert_true(first.rows == n && first.phase->n_max == n);
  }
  ts_passes_free(x);
  ts_library_close(l);
  close_world(&w);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(exact_and_nearest), cmocka_unit_test(bad_traces),
                                     cmocka_unit_test(packed_variant), cmocka_unit_test(cheapest_over_phases),
                                     cmocka_unit_test(opt_in_numerics), cmocka_unit_test(native_winner), cmocka_unit_test(chosen_in_step), cmocka_unit_test(guess_before_other_shapes),
                                     cmocka_unit_test(measured_thresholds), cmocka_unit_test(stated_of_f16), cmocka_unit_test(few_rows_of_f16),
                                     cmocka_unit_test(impossible_variant), cmocka_unit_test(record_that_does_not_compile)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}

// search: what is refused before lowering is refused by lowering, and nearly all of what that refuses for its size is refused before. Every schedule for
// GPUs, as drawn and with numbers, axes and scopes of its steps exchanged at random.
#include <ctype.h>

#include "codegen/codegen_impl.h"
#include "search/search_test.h"

static const char *const workloads[] = {
    "matmul q0f16 A=f16 K=4096 N=4096 n=4096",
    "matmul q0f16 A=f16 K=512 N=768 n=128..2048%128",
    "matmul q4f16_1 A=f16 K=4096 N=4096 n=16",
    "silu_mul A=f16 I=14336 n=16..2048%16",
    "add_bias A=f16 N=1152 n=16..2048%16",
    "rms_norm A=f16 R=f32 H=4096 eps=0.00001 n=16..2048%16",
    "rms_norm A=f32 H=70000 eps=0.00001 n=3",
    "rope_append_rows A=f16 C=f16 D=128 H=32 HK=8 P=4096 n=16..2048%16 t=0..4080",
    "attention_rows A=f16 C=f16 D=128 H=32 HK=32 P=8192 n=8192 t=0",
    "attention_rows A=f16 C=f16 D=96 H=32 HK=8 P=8192 n=2..16 t=0..8000",
    "attention_rows A=f32 C=f16 D=128 H=32 HK=8 P=4096 n=1 t=0..4095",
    "softmax A=f32 V=49152 inv_temperature=1.0 n=1",
    "argmax A=f32 V=49152 n=1",
    "norm_matmul_silu q4f16_1 A=f16 K=576 I=1536 eps=0.00001 n=1",
};
enum { DRAWS = 8, CHANGED = 64 };  // of each sketch

typedef struct tally {
  int schedules, fitting;
  int late, early;    // refused by lowering for what these checks are about; of those, before
  int other, foreseen;  // for another reason; of those, before
} tally;

// --- traces changed at random
// ------------------------------------------------------------------------------------------------------------

static bool is_number(const char *s, size_t i) { return isdigit((unsigned char)s[i]) && i && !isalnum((unsigned char)s[i - 1]) && s[i - 1] != '_' && s[i - 1] != '.'; }

static const char *change_number(ts_arena *a, const char *s, ts_rng *rng) {
  static const int times[] = {2, 2, 4, 8, 16, 32}, parts[] = {2, 2, 4};
  size_t at = 0, seen = 0, begin = strlen("trace 1");
  for (size_t i = begin; s[i]; i++)
    if (is_number(s, i) && ts_rng_below(rng, (uint32_t)++seen) == 0) at = i;
  if (!at) return s;
  char *end;
  long v = strtol(s + at, &end, 10);
  switch (ts_rng_below(rng, 4)) {
    case 0: v += (long)ts_rng_below(rng, 3) - 1; break;
    case 1: v /= parts[ts_rng_below(rng, TS_COUNTOF(parts))]; break;
    default: v *= times[ts_rng_below(rng, TS_COUNTOF(times))]; break;
  }
  return ts_arena_printf(a, "%.*s%ld%s", (int)at, s, TS_MIN(TS_MAX(v, 0), 100000), end);
}

static const char *change_axis(ts_arena *a, const char *s, ts_rng *rng) {
  char *n = ts_arena_strdup(a, s), *at = NULL;
  uint32_t seen = 0;
  for (char *p = n; (p = strstr(p, "threadIdx.")) != NULL; p++)
    if (ts_rng_below(rng, ++seen) == 0) at = p;
  if (at) at[strlen("threadIdx.")] = "xyz"[ts_rng_below(rng, 3)];
  return n;
}

static const char *change_scope(ts_arena *a, const char *s, ts_rng *rng) {
  static const char *const scope[] = {"\"shared\"", "\"local\"", "\"shared.swizzle128\"", "\"shared.swizzle64\""};
  const char *from = scope[ts_rng_below(rng, TS_COUNTOF(scope))], *p = strstr(s, from);
  return p ? ts_arena_printf(a, "%.*s%s%s", (int)(p - s), s, scope[ts_rng_below(rng, TS_COUNTOF(scope))], p + strlen(from)) : s;
}

static const char *changed(ts_arena *a, const char *s, ts_rng *rng) {
  for (uint32_t n = 1 + ts_rng_below(rng, 4); n > 0; n--) {
    uint32_t dice = ts_rng_below(rng, 8);
    s = dice == 0 ? change_axis(a, s, rng) : dice == 1 ? change_scope(a, s, rng) : change_number(a, s, rng);
  }
  return s;
}

// --- one schedule
// ------------------------------------------------------------------------------------------------------------------------

// The checks that come before lowering are about these.
static bool is_size(const ts_diag *d) {
  static const char *const codes[] = {"block-threads", "shared-memory", "registers", "grid-limit", "kernel-option", "operand-layout"};
  if (strstr(d->message, "no constant size")) return false;
  for (size_t i = 0; i < TS_COUNTOF(codes); i++)
    if (strcmp(d->code, codes[i]) == 0) return true;
  return false;
}

// Refused for a number above the limit.
static bool counts(const char *code) { return strcmp(code, "block-threads") == 0 || strcmp(code, "shared-memory") == 0 || strcmp(code, "registers") == 0 || strcmp(code, "grid-limit") == 0; }

static void compare(ts_ir *ir, const ts_func *f, const ts_target *t, const char *what, const char *trace, tally *n) {
  ts_gpu_use before, after;
  ts_diag early = {0}, late = {0};
  const ts_func *loops;
  bool fits = ts_gpu_check(ir, f, t, &before, &early), lowers = ts__lower_judged(ir, f, t, &loops, &late);
  n->schedules++;
  n->fitting += lowers;
  if (!fits) {
    if (lowers) fail_msg("%s: refused (%s), but it lowers\n%s", what, early.message, trace);
    assert_string_equal(before.over, early.code);
    if (counts(early.code)) assert_true(before.have > before.most);
  }
  if (!lowers) {
    ++*(is_size(&late) ? &n->late : &n->other);
    if (!fits) ++*(is_size(&late) ? &n->early : &n->foreseen);
    return;
  }
  if (!ts_gpu_check(ir, loops, t, &after, &late)) fail_msg("%s: %s", what, late.message);
  if (before.threads > after.threads || before.shared > after.shared || before.registers > after.registers || before.kernels != after.kernels)
    fail_msg("%s: %d kernels %lld threads %lld bytes %lld registers before, %d %lld %lld %lld after\n%s", what, before.kernels, (long long)before.threads, (long long)before.shared,
             (long long)before.registers, after.kernels, (long long)after.threads, (long long)after.shared, (long long)after.registers, trace);
}

static void schedule(const ts_sketch *k, const ts_target *t, const char *workload, const char *trace, bool whole, uint64_t seed, tally *n) {
  ts_arena *a = ts_arena_new("schedule");
  ts_ir *ir = ts_ir_new(a);
  ts_sched *s = ts_sched_new(ir, ts_func_clone(ir, k->func), seed);
  ts_replay r = {.keep_going = !whole};
  const char *what = ts_arena_printf(a, "%s: %s", workload, k->name);
  if (ts_sched_replay(s, k->name, trace, strlen(trace), &r, NULL) || !whole) compare(ir, ts_sched_func(s), t, what, trace, n);
  ts_arena_free(a);
}

static void sketch(const ts_sketch *k, const ts_target *t, const char *workload, ts_rng *rng, tally *n) {
  ts_text text = {0};
  ts_trace_print(&text, k->trace);
  for (int i = 0; i < DRAWS + CHANGED; i++) {
    ts_arena *a = ts_arena_new("trace");
    const char *trace = ts_text_str(&text);
    schedule(k, t, workload, i < DRAWS ? trace : changed(a, trace, rng), i < DRAWS, ts_rng_u64(rng), n);
    ts_arena_free(a);
  }
  ts_text_free(&text);
}

static void workload(const char *target, const char *text, ts_rng *rng, tally *n) {
  ts_arena *a = ts_arena_new("space");
  ts_target t;
  ts_spec spec;
  ts_space s;
  ts_diag d = {0};
  must(ts_target_parse(target, &t, &d) && ts_spec_parse(a, text, &spec, &d) && ts_space_open(&spec, &t, "", &s, &d), &d);
  for (size_t i = 0; i < s.n; i++)
    if (s.sketch[i].trace) sketch(&s.sketch[i], &t, text, rng, n);
  ts_space_close(&s);
  ts_arena_free(a);
}

static void agrees_with_lowering(void **state) {
  tally n = {0}, small = {0};
  ts_rng rng = ts_rng_new(7, 0);
  (void)state;
  for (size_t w = 0; w < TS_COUNTOF(workloads); w++) workload("cuda:sm_90a", workloads[w], &rng, &n);
  workload("cuda:sm_86,block_shared=49152,sm_shared=65536", workloads[1], &rng, &small);  // wgmma is missing, and some draws are too large
  assert_true(small.late + small.other > 0 && small.early * 100 >= small.late * 95 && small.foreseen * 100 >= small.other * 80);
  printf("%d schedules, %d fit; of %d too large %d were refused before lowering, of %d that are refused for another reason %d\n", n.schedules, n.fitting, n.late, n.early, n.other,
         n.foreseen);
  assert_true(n.fitting > n.schedules / 2 && n.late > 100);
  assert_true(n.early * 100 >= n.late * 95);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(agrees_with_lowering)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}

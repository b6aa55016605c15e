// The C interface: calls, undo, clones, decisions, draws, refusals that cost no text.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "op/intrin.h"
#include "schedule/harness.h"

static const char matmul[] =
    "func main(a: f32[16, 32], b: f32[32, 24], c: out f32[16, 24]) {\n"
    "  for i in 0..16, j in 0..24, k in 0..32 {\n"
    "    block mm(vi: S = i, vj: S = j, vk: R = k) {\n"
    "      init { c[vi, vj] = 0.0 }\n      c[vi, vj] = c[vi, vj] + a[vi, vk] * b[vk, vj]\n    }\n  }\n}\n";

static ts_sched *start(ts_arena *a, uint64_t seed) {
  ts_ir *ir = ts_ir_new(a);
  const ts_func *f = ts_func_parse(ir, "matmul", matmul, sizeof matmul - 1, NULL, 0, NULL);
  assert_non_null(f);
  return ts_sched_new(ir, f, seed);
}

static ts_rv block_of(ts_sched *s, ts_rv loop[3]) {
  ts_rv b;
  int n;
  assert_true(ts_sched_call(s, TS_P_get_block, TS_ARGS(TS_ASTR("mm")), &b, 1, &n, NULL));
  assert_true(ts_sched_call(s, TS_P_get_loops, TS_ARGS(TS_ARV(b)), loop, 3, &n, NULL));
  assert_int_equal(n, 3);
  return b;
}

static void calls(void **state) {
  (void)state;
  ts_arena *a = ts_arena_new("test");
  ts_sched *s = start(a, 1);
  ts_rv l[3], part[2];
  ts_rv b = block_of(s, l);
  assert_true(ts_sched_call(s, TS_P_split, TS_ARGS(TS_ARV(l[2]), TS_ALIST(TS_AOPEN, TS_AINT(8))), part, 2, NULL, NULL));
  assert_null(ts_sched_loop(s, l[2]));
  assert_non_null(ts_sched_loop(s, part[1]));
  assert_string_equal(ts_sched_block(s, b)->block->name, "mm");
  assert_null(ts_sched_block(s, l[0]));
  assert_int_equal(ts_sched_find(s, "nothing"), -1);
  assert_int_equal(ts_sched_trace(s)->n, 3);
  assert_null(state_complaint(a, start(a, 1) ? ts_sched_func(start(a, 1)) : NULL, s));
  ts_arena_free(a);
}

static void refusals_are_data(void **state) {
  (void)state;
  ts_arena *a = ts_arena_new("test");
  ts_sched *s = start(a, 1);
  ts_rv l[3];
  block_of(s, l);
  uint64_t before = state_hash(s);
  assert_false(ts_sched_call(s, TS_P_parallel, TS_ARGS(TS_ARV(l[2])), NULL, 0, NULL, NULL));
  const ts_refusal *r = ts_sched_refusal(s);
  assert_int_equal(r->code, TS_R_feeds_reduction);
  assert_int_equal(r->prim, TS_P_parallel);
  assert_int_equal(r->step, 2);
  assert_int_equal(r->culprit[0].id, ts_sched_loop(s, l[2])->id);
  assert_int_equal(r->nwitness, 1);
  assert_int_not_equal(r->witness[0].value, r->witness[0].other);
  assert_true(state_hash(s) == before);
  ts_diag d = {0};
  assert_false(ts_sched_call(s, TS_P_split, TS_ARGS(TS_ARV(99), TS_ALIST(TS_AINT(2))), NULL, 0, NULL, &d));
  assert_string_equal(d.code, "unknown-reference");
  assert_false(ts_sched_call(s, TS_P_split, TS_ARGS(TS_ARV(l[0])), NULL, 0, NULL, &d));
  assert_string_equal(d.code, "bad-argument");
  assert_false(ts_sched_call(s, TS_P_split, TS_ARGS(TS_ARV(l[0]), TS_AINT(3)), NULL, 0, NULL, &d));
  assert_string_equal(d.code, "bad-argument");
  assert_true(state_hash(s) == before);
  ts_arena_free(a);
}

static void undo_and_clone(void **state) {
  (void)state;
  ts_arena *a = ts_arena_new("test");
  ts_sched *s = start(a, 1);
  ts_rv l[3];
  block_of(s, l);
  uint64_t before = state_hash(s);
  ts_sched *c = ts_sched_clone(s);
  assert_true(ts_sched_step(c, "i0, i1 = split l1 [_, 4]", NULL));
  assert_true(ts_sched_step(c, "parallel i0", NULL));
  assert_true(state_hash(s) == before);
  assert_true(ts_sched_step(s, "unroll l1", NULL));
  assert_true(state_hash(c) != state_hash(s));
  ts_sched_undo(c, 2);
  assert_true(state_hash(c) == before);
  assert_true(ts_sched_step(c, "unroll l1", NULL));
  assert_true(state_hash(c) == state_hash(s));
  ts_sched_undo(c, 100);
  assert_int_equal(ts_sched_trace(c)->n, 0);
  assert_int_equal(ts_sched_trace(c)->nrvs, 0);
  ts_arena_free(a);
}

static int64_t drawn(ts_arena *a, uint64_t seed, int lookups) {
  ts_sched *s = start(a, seed);
  ts_rv l[3], t[2];
  int64_t v;
  block_of(s, l);
  for (int i = 0; i < lookups; i++) assert_true(ts_sched_step(s, "get_block \"mm\"", NULL));
  assert_true(ts_sched_call(s, TS_P_sample_perfect_tile, TS_ARGS(TS_ARV(l[2]), TS_AINT(2), TS_AINT(32)), t, 2, NULL, NULL));
  assert_true(ts_sched_int(s, t[1], &v));
  return v;
}

static void draws_follow_the_seed(void **state) {
  (void)state;
  ts_arena *a = ts_arena_new("test");
  bool differs = false;
  for (uint64_t seed = 0; seed < 32; seed++) {
    assert_int_equal(drawn(a, seed, 0), drawn(a, seed, 0));
    differs |= drawn(a, seed, 0) != drawn(a, 0, 0);
  }
  assert_true(differs);
  ts_arena_free(a);
}

// All six lists of two factors of 32 come up about equally often.
static void tiles_are_uniform(void **state) {
  (void)state;
  ts_arena *a = ts_arena_new("test");
  int seen[33] = {0};
  for (uint64_t seed = 0; seed < 600; seed++) seen[drawn(a, seed, 0)]++;
  for (int f = 1; f <= 32; f *= 2) assert_in_range(seen[f], 60, 140);
  ts_arena_free(a);
}

static void decisions(void **state) {
  (void)state;
  ts_arena *a = ts_arena_new("test");
  ts_sched *s = start(a, 3);
  ts_rv l[3], t[2];
  block_of(s, l);
  assert_true(ts_sched_call(s, TS_P_sample_perfect_tile, TS_ARGS(TS_ARV(l[2]), TS_AINT(2), TS_AINT(32), TS_ALIST(TS_AINT(4), TS_AINT(8))), t, 2, NULL, NULL));
  assert_true(ts_sched_call(s, TS_P_split, TS_ARGS(TS_ARV(l[2]), TS_ALIST(TS_ARV(t[0]), TS_ARV(t[1]))), NULL, 0, NULL, NULL));
  const ts_trace *other = ts_trace_with_decision(a, ts_sched_trace(s), 2, (const int64_t[]){2, 16}, 2);
  ts_sched *r = start(a, 3);
  assert_true(ts_sched_replay_trace(r, other, NULL, NULL));
  assert_false(ts_func_equal(ts_sched_func(r), ts_sched_func(s)));
  const ts_trace *cleared = ts_trace_with_decision(a, ts_sched_trace(s), 2, NULL, 0);
  ts_sched *fresh = start(a, 9);
  assert_true(ts_sched_replay_trace(fresh, cleared, NULL, NULL));
  assert_int_equal(ts_sched_trace(fresh)->inst[2]->ndecision, 2);
  const ts_trace *wrong = ts_trace_with_decision(a, ts_sched_trace(s), 2, (const int64_t[]){3, 7}, 2);
  ts_replay strict = {.strict = true}, lax = {0};
  assert_false(ts_sched_replay_trace(start(a, 1), wrong, &strict, NULL));
  assert_true(ts_sched_replay_trace(start(a, 1), wrong, &lax, NULL));
  assert_int_equal(lax.adapted, 1);
  ts_arena_free(a);
}

static void bad_text(void **state) {
  (void)state;
  static const struct {
    const char *text, *word;
  } bad[] = {{"", "trace"}, {"trace 2\n", "version 1"}, {"trace 1\nb = \n", "primitive"}, {"trace 1\nb = get_block\n", "string"}, {"trace 1\nparallel x\n", "defines"},
             {"trace 1\nb, b = get_block \"mm\"\n", "twice"}, {"trace 1\nb = parallel\n", "reference"}, {"trace 1\nb = get_block \"mm\" 3\n", "end of the line"},
             {"trace 1\nv = sample_categorical [1, 2] weights=[1] weights=[2]\n", "twice"}, {"trace 1\nv = sample_categorical [1, \n", "integer"}};
  ts_arena *a = ts_arena_new("test");
  for (size_t i = 0; i < TS_COUNTOF(bad); i++) {
    ts_diag d = {0};
    assert_null(ts_trace_parse(a, "t.trace", bad[i].text, strlen(bad[i].text), &d));
    assert_int_equal(d.kind, TS_REFUSAL);
    assert_non_null(strstr(d.message, "t.trace:"));
    if (!strstr(d.message, bad[i].word)) fail_msg("%s", d.message);
  }
  ts_arena_free(a);
}

static void every_row(void **state) {
  (void)state;
  for (int p = 0; p < TS_P__COUNT; p++) {
    ts_prim q;
    const char *name = ts_prim_get((ts_prim)p)->name;
    assert_true(ts_prim_find(name, strlen(name), &q));
    assert_int_equal(q, p);
    assert_true(ts_prim_get((ts_prim)p)->doc[0]);
  }
  for (int r = 0; r < TS_R__COUNT; r++) assert_true(ts_rcode_name((ts_rcode)r)[0] && ts_rcode_doc((ts_rcode)r)[0]);
}

// Every row of the table has its section in the manual, and the manual names no other.
static void manual_is_complete(void **state) {
  (void)state;
  ts_arena *a = ts_arena_new("test");
  char *text;
  size_t n;
  assert_true(ts_file_read(ts_path_join(a, ts_data_dir(), "docs/schedule.md"), a, &text, &n, NULL));
  for (int p = 0; p < TS_P__COUNT; p++) {
    const char *head = ts_arena_printf(a, "\n## %s\n", ts_prim_get((ts_prim)p)->name);
    if (!strstr(text, head)) fail_msg("docs/schedule.md has no section %s", head + 4);
  }
  for (const char *h = text; (h = strstr(h, "\n## ")) != NULL;) {
    ts_prim p;
    h += 4;
    if (!ts_prim_find(h, strcspn(h, "\n"), &p)) fail_msg("docs/schedule.md has a section for no primitive: %.40s", h);
  }
  ts_arena_free(a);
}

static void intrinsics_load(void **state) {
  (void)state;
  ts_arena *a = ts_arena_new("test");
  ts_ir *ir = ts_ir_new(a);
  char **names;
  size_t n;
  ts_diag d = {0};
  assert_true(ts_intrin_list(a, &names, &n, &d));
  assert_true(n >= 3);
  for (size_t i = 0; i < n; i++) {
    const ts_intrin *x = ts_intrin_load(ir, names[i], &d);
    if (!x) fail_msg("%s", d.message);
    assert_true(x->nrequires >= 1 && x->doc[0]);
  }
  assert_null(ts_intrin_load(ir, "../ops/matmul", &d));
  assert_string_equal(d.code, "no-such-intrinsic");
  const char *cut = "intrin x { doc \"y\" }\nfunc desc(c: inout i32[4]) {\n  c[0] = c[0]\n}\nfunc impl(c: inout i32[8]) {\n  c[0] = c[0]\n}\n";
  assert_null(ts_intrin_parse(ir, "x.tir", cut, strlen(cut), &d));
  assert_string_equal(d.code, "bad-intrinsic");
  ts_arena_free(a);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(calls), cmocka_unit_test(refusals_are_data), cmocka_unit_test(undo_and_clone),
                                     cmocka_unit_test(draws_follow_the_seed), cmocka_unit_test(tiles_are_uniform), cmocka_unit_test(decisions),
                                     cmocka_unit_test(bad_text), cmocka_unit_test(every_row), cmocka_unit_test(manual_is_complete),
                                     cmocka_unit_test(intrinsics_load)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}

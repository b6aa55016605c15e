// Traces: any text is refused with its place, or prints and parses back to itself; replayed on a function it leaves one that verifies,
// the simplified trace makes the same function, and every block can be explained.
#include <stdlib.h>

#include "schedule/schedule.h"

static const char function[] =
    "func main(n: dim(1..64), a: f32[n, 32], b: f32[32, 24], y: out f16[n, 24]) {\n"
    "  alloc c: f32[n, 24]\n"
    "  for i in 0..n, j in 0..24, k in 0..32 {\n"
    "    block mm(vi: S = i, vj: S = j, vk: R = k) {\n"
    "      init { c[vi, vj] = 0.0 }\n"
    "      c[vi, vj] = c[vi, vj] + a[vi, vk] * b[vk, vj]\n    }\n  }\n"
    "  for i in 0..n, j in 0..24 {\n    block out(vi: S = i, vj: S = j) {\n      y[vi, vj] = cast(f16, c[vi, vj])\n    }\n  }\n}\n";

static void round_trip(ts_arena *a, const ts_trace *t) {
  ts_text one = {0}, two = {0};
  ts_trace_print(&one, t);
  const ts_trace *again = ts_trace_parse(a, "printed", ts_text_str(&one), one.n, NULL);
  if (!again || !ts_trace_equal(t, again) || ts_trace_hash(t) != ts_trace_hash(again)) abort();
  ts_trace_print(&two, again);
  if (strcmp(ts_text_str(&one), ts_text_str(&two)) != 0) abort();
  ts_text_free(&one);
  ts_text_free(&two);
}

// Simplified once is simplified, and a trace does not differ from itself.
static void as_values(ts_arena *a, const ts_trace *t) {
  const ts_trace *s = ts_trace_simplify(a, t);
  ts_trace_delta delta;
  if (s->n > t->n || !ts_trace_equal(ts_trace_simplify(a, s), s)) abort();
  if (!ts_trace_diff(a, t, t, &delta, NULL) || delta.count[TS_DELTA_SAME] != t->n) abort();
  if (!ts_trace_diff(a, t, s, &delta, NULL)) abort();
  round_trip(a, s);
}

static void same_function(ts_ir *ir, const ts_func *f, const ts_sched *s) {
  ts_sched *again = ts_sched_new(ir, f, 2);
  if (!ts_sched_replay_trace(again, ts_trace_simplify(ts_ir_arena(ir), ts_sched_trace(s)), NULL, NULL)) abort();
  if (!ts_func_equal(ts_sched_func(again), ts_sched_func(s))) abort();
}

static bool explain(void *arg, const ts_stmt *s) {
  ts_explain e;
  ts_diag d;
  if (s->kind == TS_S_BLOCK && !ts_notes_find(s->block->notes, "private") && !ts_sched_explain(arg, s->block->name, &e, &d)) abort();
  return true;
}

static void replay(ts_arena *a, const ts_trace *t) {
  ts_ir *ir = ts_ir_new(a);
  const ts_func *f = ts_func_parse(ir, "function", function, sizeof function - 1, NULL, 0, NULL);
  ts_sched *s = ts_sched_new(ir, f, 1);
  ts_replay r = {.keep_going = true};
  ts_diag d = {0};
  if (!ts_sched_replay_trace(s, t, &r, &d) && d.kind != TS_REFUSAL) abort();
  if (!ts_func_verify(ts_sched_func(s), &d)) abort();
  same_function(ir, f, s);
  ts_stmt_visit(ts_sched_func(s)->body, explain, NULL, s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  ts_arena *a = ts_arena_new("fuzz");
  ts_diag d = {0};
  const ts_trace *t = ts_trace_parse(a, "fuzz", (const char *)data, n, &d);
  if (!t && d.kind != TS_REFUSAL) abort();
  if (t) round_trip(a, t);
  if (t && t->n <= 200) as_values(a, t);
  if (t && t->n <= 40) replay(a, t);
  ts_arena_free(a);
  return 0;
}

// Traces as values: simplifying, minimising, differences, replay reports.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// (cmocka needs those above)
#include <cmocka.h>

#include "op/op.h"
#include "schedule/harness.h"

static const char matmul[] =
    "func main(n: dim(1..64), a: f32[n, 32], b: f32[32, 24], c: out f32[n, 24]) {\n"
    "  for i in 0..n, j in 0..24, k in 0..32 {\n"
    "    block mm(vi: S = i, vj: S = j, vk: R = k) {\n"
    "      init { c[vi, vj] = 0.0 }\n      c[vi, vj] = c[vi, vj] + a[vi, vk] * b[vk, vj]\n    }\n  }\n}\n";

static const ts_func *function(ts_ir *ir) {
  ts_diag d = {0};
  const ts_func *f = ts_func_parse(ir, "matmul", matmul, sizeof matmul - 1, NULL, 0, &d);
  if (!f) fail_msg("%s", d.message);
  return f;
}

static const ts_trace *parse(ts_arena *a, const char *file, const char *text) {
  ts_diag d = {0};
  const ts_trace *t = ts_trace_parse(a, file, text, strlen(text), &d);
  if (!t) fail_msg("%s", d.message);
  return t;
}

static ts_sched *replayed(ts_arena *a, const ts_func *f, const ts_trace *t) {
  ts_ir *ir = ts_ir_new(a);
  ts_sched *s = ts_sched_new(ir, ts_func_clone(ir, f), 0);
  ts_diag d = {0};
  if (!ts_sched_replay_trace(s, t, NULL, &d)) fail_msg("%s", d.message);
  return s;
}

static const char *printed(ts_arena *a, const ts_trace *t) {
  ts_text out = {0};
  ts_trace_print(&out, t);
  const char *s = ts_arena_strdup(a, ts_text_str(&out));
  ts_text_free(&out);
  return s;
}

static const char wordy[] =
    "trace 1\n"
    "unused = get_block \"mm\"\n"
    "b = get_block \"mm\"\n"
    "i, j, k = get_loops b\n"
    "again = get_block \"mm\"\n"
    "x, y, z = get_loops again\n"
    "ko, ki = split z [_, 8]\n"
    "more = get_loops again\n"
    "t0, t1 = sample_perfect_tile j n=2 max=8 decision=[3, 8]\n"
    "u0, u1 = sample_perfect_tile y n=2 max=8 decision=[6, 4]\n"
    "jo, ji = split j [u0, u1]\n"
    "parallel jo\n";

static void simplify(void **state) {
  (void)state;
  ts_arena *a = ts_arena_new("test");
  // `more` has one name for four loops: it would refuse, and goes unused
  const ts_trace *t = parse(a, "wordy", wordy), *s = ts_trace_simplify(a, t);
  assert_string_equal(printed(a, s),
                      "trace 1\n"
                      "b0 = get_block \"mm\"\n"
                      "_, l0, l1 = get_loops b0\n"
                      "split l1 [_, 8]\n"
                      "v0, v1 = sample_perfect_tile l0 n=2 max=8 decision=[6, 4]\n"
                      "l2, _ = split l0 [v0, v1]\n"
                      "parallel l2\n");
  assert_true(ts_trace_equal(ts_trace_simplify(a, s), s));
  assert_string_equal(printed(a, ts_trace_simplify(a, parse(a, "none", "trace 1\n"))), "trace 1\n");
  ts_arena_free(a);
}

// A word that is no identifier keeps its quotes, so that the text reads back.
static void odd_words(void **state) {
  (void)state;
  ts_arena *a = ts_arena_new("test");
  const char *text =
      "trace 1\nb = get_block \"mm\"\ni, _, _ = get_loops b\nsplit i [_, 8] tail=\"16 <= n\"\nsplit i [_, 8] "
      "tail=guard\n";
  const ts_trace *t = parse(a, "words", text);
  assert_string_equal(printed(a, t), text);
  assert_true(ts_trace_equal(parse(a, "printed", printed(a, t)), t));
  ts_arena_free(a);
}

// A look-up after a change is another look-up.
static void simplify_keeps_later_lookups(void **state) {
  (void)state;
  ts_arena *a = ts_arena_new("test");
  const char *text =
      "trace 1\nb0 = get_block \"mm\"\nl0, _, _ = get_loops b0\nl1, _ = split l0 [_, 8]\nl2, _, _, _ = get_loops "
      "b0\nparallel l2\nannotate l1 \"x\" 1\n";
  const ts_trace *t = parse(a, "later", text);
  assert_string_equal(printed(a, ts_trace_simplify(a, t)), text);
  ts_arena_free(a);
}

static void minimise(void **state) {
  (void)state;
  ts_arena *a = ts_arena_new("test");
  ts_ir *ir = ts_ir_new(a);
  const ts_func *f = function(ir);
  const ts_trace *t = parse(a, "long",
                            "trace 1\n"
                            "declare \"n <= 64\"\n"
                            "b = get_block \"mm\"\n"
                            "i, j, k = get_loops b\n"
                            "annotate i \"hint\" 3\n"
                            "c = cache_read b 0 \"local\"\n"
                            "compute_inline c\n"
                            "jo, ji = split j [_, 8]\n"
                            "reorder i jo ji k\n"
                            "unannotate i \"hint\"\n"
                            "x, y = split i [8, 8]\n"
                            "vectorize ji\n");
  ts_diag d = {0};
  int tries = 0;
  const ts_trace *m = ts_trace_minimise(f, t, a, &tries, &d);
  if (!m) fail_msg("%s", d.message);
  assert_string_equal(printed(a, m),
                      "trace 1\n"
                      "b0 = get_block \"mm\"\n"
                      "l0, l1, _ = get_loops b0\n"
                      "_, l2 = split l1 [_, 8]\n"
                      "split l0 [8, 8]\n"
                      "vectorize l2\n");
  assert_true(tries > 0);
  assert_true(ts_func_equal(ts_sched_func(replayed(a, f, t)), ts_sched_func(replayed(a, f, m))));
  assert_null(ts_trace_minimise(f, parse(a, "bad", "trace 1\nb = get_block \"none\"\n"), a, NULL, &d));
  assert_string_equal(d.code, "no-such-block");
  ts_arena_free(a);
}

// Every starting trace of a workload: fewer steps at most, the same function, and nothing more to take away.
static void templates_shrink(void **state) {
  (void)state;
  static const struct {
    const char *spec, *variant, *file;
  } rows[] = {{"matmul q4f16_1 A=f32 K=576 N=960 n=1", "a16", "matmul/a16.decode"},
              {"rms_norm A=f32 H=576 eps=1e-5 n=8..128%8", "", "rms_norm/default"},
              {"softmax A=f32 V=49152 inv_temperature=1.0 n=1", "", "softmax/default"}};
  for (size_t i = 0; i < TS_COUNTOF(rows); i++) {
    ts_arena *a = ts_arena_new("test");
    ts_ir *ir = ts_ir_new(a);
    ts_spec spec;
    ts_op_inst inst;
    ts_diag d = {0};
    char *text;
    size_t n;
    const char *path = ts_path_join(a, ts_data_dir(), ts_arena_printf(a, "kernels/templates/%s.trace", rows[i].file));
    if (!ts_spec_parse(a, rows[i].spec, &spec, &d) || !ts_op_instantiate(ir, &spec, rows[i].variant, &inst, &d) ||
        !ts_file_read(path, a, &text, &n, &d))
      fail_msg("%s: %s", rows[i].file, d.message);
    const ts_trace *t = ts_sched_trace(replayed(a, inst.func, parse(a, rows[i].file, text)));  // with its draws
    const ts_trace *m = ts_trace_minimise(inst.func, t, a, NULL, &d);
    if (!m) fail_msg("%s: %s", rows[i].file, d.message);
    assert_true(m->n <= t->n);
    assert_true(ts_func_equal(ts_sched_func(replayed(a, inst.func, t)), ts_sched_func(replayed(a, inst.func, m))));
    const ts_trace *again = ts_trace_minimise(inst.func, m, a, NULL, &d);
    assert_int_equal(again->n, m->n);
    ts_arena_free(a);
  }
}

static const char *delta_text(ts_arena *a, const ts_trace *x, const ts_trace *y, ts_trace_delta *delta) {
  ts_text out = {0};
  ts_diag d = {0};
  if (!ts_trace_diff(a, x, y, delta, &d)) fail_msg("%s", d.message);
  for (int i = 0; i < delta->n; i++) {
    static const char mark[] = "=~-+";
    const ts_delta_row *r = &delta->row[i];
    ts_text_addf(&out, "%c %d %d\n", mark[r->kind], r->a, r->b);
  }
  const char *s = ts_arena_strdup(a, ts_text_str(&out));
  ts_text_free(&out);
  return s;
}

static void diff(void **state) {
  (void)state;
  ts_arena *a = ts_arena_new("test");
  ts_ir *ir = ts_ir_new(a);
  const ts_func *f = function(ir);
  ts_trace_delta delta;
  const ts_trace *x =
      parse(a, "x",
            "trace 1\nb = get_block \"mm\"\ni, j, k = get_loops b\njo, ji = split j [_, 8]\nvectorize ji\nunroll jo\n");
  const ts_trace *y = parse(a, "y",
                            "trace 1\nq = get_block \"mm\"\nannotate q \"m\" 1\nl0, l1, l2 = get_loops q\no, v = split "
                            "l1 [_, 12]\nvectorize v\n");
  assert_string_equal(delta_text(a, x, y, &delta), "= 0 0\n+ -1 1\n= 1 2\n~ 2 3\n= 3 4\n- 4 -1\n");
  assert_int_equal(delta.count[TS_DELTA_SAME], 3);
  int row;
  assert_true(ts_trace_diverge(replayed(a, f, x), replayed(a, f, y), &delta, &row));
  assert_int_equal(row, 1);
  delta_text(a, x, x, &delta);
  assert_int_equal(delta.count[TS_DELTA_SAME], x->n);
  assert_false(ts_trace_diverge(replayed(a, f, x), replayed(a, f, x), &delta, &row));
  assert_int_equal(row, -1);
  // the same step on another loop is a change; renamed references are none
  const ts_trace *z =
      parse(a, "z",
            "trace 1\nb = get_block \"mm\"\ni, j, k = get_loops b\njo, ji = split j [_, 8]\nvectorize jo\nunroll ji\n");
  assert_string_equal(delta_text(a, x, z, &delta), "= 0 0\n= 1 1\n= 2 2\n~ 3 3\n~ 4 4\n");
  // functions that differ for a while only
  const ts_trace *u = parse(a, "u", "trace 1\nb = get_block \"mm\"\nannotate b \"m\" 1\nunannotate b \"m\"\n"),
                 *w = parse(a, "w", "trace 1\nb = get_block \"mm\"\n");
  delta_text(a, u, w, &delta);
  assert_false(ts_trace_diverge(replayed(a, f, u), replayed(a, f, w), &delta, &row));
  ts_arena_free(a);
}

// The function before any step can be had again.
static void functions_along_the_way(void **state) {
  (void)state;
  ts_arena *a = ts_arena_new("test");
  ts_ir *ir = ts_ir_new(a);
  const ts_func *f = function(ir);
  const char *text =
      "trace 1\nb = get_block \"mm\"\ni, j, k = get_loops b\nc = cache_read b 1 \"local\"\nvectorize j\n";
  ts_sched *s = replayed(a, f, parse(a, "text", text));
  assert_true(ts_func_equal(ts_sched_func_at(s, 0), f));
  assert_true(ts_func_equal(ts_sched_func_at(s, 2), f));
  assert_true(ts_func_equal(ts_sched_func_at(s, 4), ts_sched_func(s)));
  const ts_func *third = ts_sched_func_at(s, 3);
  ts_diag d = {0};
  assert_true(ts_func_verify(third, &d));
  ts_sched_undo(s, 1);
  assert_true(ts_func_equal(third, ts_sched_func(s)));
  ts_arena_free(a);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(odd_words),
      cmocka_unit_test(simplify),
      cmocka_unit_test(simplify_keeps_later_lookups),
      cmocka_unit_test(minimise),
      cmocka_unit_test(templates_shrink),
      cmocka_unit_test(diff),
      cmocka_unit_test(functions_along_the_way),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

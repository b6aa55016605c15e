// search: every sketch of a workload is tried, judged by the operator and told with its outcome.
#include "search/search_test.h"

static ts_trial_result tried(ts_arena *a, const char *text, const ts_trial_opts *given) {
  ts_target t;
  ts_spec spec;
  ts_diag d = {0};
  ts_trial_result r;
  ts_trial_opts o = *given;
  must(ts_target_parse("cpu", &t, &d) && ts_spec_parse(a, text, &spec, &d), &d);
  o.target = &t;
  o.numerics = "";
  o.threads = 1;
  ts_compiler *c = ts_compiler_open(&t, 2, NULL, &d);
  must(c != NULL, &d);
  must(ts_trial(a, &spec, c, &o, &r, &d), &d);
  assert_int_equal(ts_compiler_pending(c), 0);
  ts_compiler_close(c);
  return r;
}

static bool is(const char *a, const char *b) { return strcmp(a, b) == 0; }

static void every_sketch_is_judged(void **state) {
  (void)state;
  ts_arena *a = ts_arena_new("test");
  ts_trial_result r = tried(a, "silu_mul A=f32 I=33 n=7", &(ts_trial_opts){.points = 2, .judge = true});
  bool has_default = false, has_template = false;
  assert_int_equal(r.restarts, 0);
  for (size_t i = 0; i < r.n; i++) {
    const ts_trial_row *x = &r.rows[i];
    if (!is(x->outcome, "ok")) fail_msg("%s: %s: %s", x->sketch, x->outcome, x->message);
    assert_true(x->rel_error <= 1e-3 && x->stats.median > 0 && !x->in_final);
    assert_true(strlen(x->point) > 0);
    has_default |= is(x->source, "default");
    has_template |= is(x->source, "template");
    if (i >= 2) assert_false(is(x->sketch, r.rows[i - 1].sketch) && is(x->sketch, r.rows[i - 2].sketch));  // two of each at most
    if (i >= 1 && is(x->sketch, r.rows[i - 1].sketch)) assert_string_not_equal(x->point, r.rows[i - 1].point);
  }
  assert_true(has_default && has_template);
  ts_arena_free(a);
}

static void the_best_of_each_meet(void **state) {
  (void)state;
  ts_arena *a = ts_arena_new("test");
  ts_trial_result r = tried(a, "silu_mul A=f32 I=64 n=1", &(ts_trial_opts){.points = 2, .only = "none,flat,serial", .final = true});
  size_t finalists = 0, sketches = 0;
  for (size_t i = 0; i < r.n; i++) {
    assert_true(is(r.rows[i].sketch, "ref.flat") || is(r.rows[i].sketch, "ref.serial"));
    sketches += i == 0 || !is(r.rows[i].sketch, r.rows[i - 1].sketch);
    finalists += r.rows[i].in_final;
    if (r.rows[i].in_final) assert_true(r.rows[i].stats.n >= 5);
  }
  assert_int_equal(sketches, 2);
  assert_int_equal(finalists, sketches);
  ts_arena_free(a);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(every_sketch_is_judged), cmocka_unit_test(the_best_of_each_meet)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}

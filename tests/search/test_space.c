// search: the design space opens for every workload of the models we ship, and every starting trace serves some workload.
#include "model/model.h"
#include "search/search_test.h"

static const char *const models[] = {"synthetic:SmolLM2-135M", "synthetic:tiny", "tests/data/tiny"};
static const char *const quants[] = {"q4f16_1", "q4f16_0", "q0f16", "q0f32"};
static const char *const others[] = {
    "softmax A=f32 V=49152 inv_temperature=1.0 n=1", "argmax A=f32 V=49152 n=1", "sample A=f32 V=49152 inv_temperature=0.7 n=1", "add_bias A=f32 N=1152 n=1", "add_bias A=f32 N=1152 n=8..128%8",
    "attention A=f32 C=f16 D=128 H=32 HK=8 P=4096 n=1 t=0..4095", "attention A=f32 C=f16 D=128 H=32 HK=32 P=4096 n=8..128%8 t=0..4088",
    "norm_matmul q4f16_1 A=f32 K=576 N=960 eps=0.00001 n=1", "norm_matmul_bias q4f16_1 A=f32 K=896 N=1152 eps=0.00001 n=1", "norm_matmul_silu q4f16_1 A=f32 K=576 I=1536 eps=0.00001 n=1",
    "rope_append_rows A=f32 C=f16 D=64 H=9 HK=3 P=2048 n=1 t=0..2047", "attention_rows A=f32 C=f16 D=64 H=9 HK=3 P=2048 n=1 t=0..2047",
    "rope_attention_rows A=f32 C=f16 D=64 H=9 HK=3 P=2048 n=1 t=0..2047",
    "matmul q4f16_1 A=f32 K=96 N=40 n=7",  // a shape that packed layouts cannot hold
};

static bool has(const char *const *p, size_t n, const char *text) {
  for (size_t i = 0; i < n; i++)
    if (strcmp(p[i], text) == 0) return true;
  return false;
}

// The space of one workload: the default first, every sketch can be drawn, names are told apart.
static void check_space(space_fixture *x, const ts_spec *spec, const char *text) {
  ts_space s;
  ts_diag d = {0};
  if (!ts_space_open(spec, &x->t, "a8", &s, &d)) fail_msg("%s: %s", text, d.message);
  const ts_op *op = ts_op_find(x->a, spec->op, &d);
  must(op != NULL, &d);
  assert_string_equal(s.sketch[0].source, "default");
  bool template = false;
  for (size_t i = 0; i < s.n; i++) {
    const ts_sketch *k = &s.sketch[i];
    ts_arena *scratch = ts_arena_new("draw");
    ts_sched *drawn = NULL;
    for (uint64_t seed = 0; seed < 8 && !drawn; seed++) drawn = ts_sketch_draw(ts_ir_new(scratch), k, k->trace, seed, &d);
    if (!drawn || !ts_func_verify(ts_sched_func(drawn), &d)) fail_msg("%s: %s: %s", text, k->name, d.message);
    ts_arena_free(scratch);
    assert_true(k->tolerance >= 0);
    for (size_t j = 0; j < i; j++) assert_string_not_equal(k->name, s.sketch[j].name);
    if (strcmp(k->source, "template") != 0) continue;
    template = true;
    const char *name = ts_arena_printf(x->a, "%s/%s", op->templates, k->name);
    if (!has(x->used.p, x->used.n, name)) ts_vec_push(x->a, &x->used, name);
  }
  if (!template && strncmp(text, "matmul", 6) != 0) fail_msg("%s: no template applies", text);
  ts_space_close(&s);
}

static void check_text(space_fixture *x, const char *text) {
  ts_diag d = {0};
  ts_spec spec;
  must(ts_spec_parse(x->a, text, &spec, &d), &d);
  check_space(x, &spec, text);
}

static void opens_for_models(void **state) {
  space_fixture *x = *state;
  for (size_t m = 0; m < TS_COUNTOF(models); m++)
    for (size_t q = 0; q < TS_COUNTOF(quants); q++) {
      ts_source src;
      ts_diag d = {0};
      const ts_quant *quant = ts_quant_find(quants[q], &d);
      const char *path = strchr(models[m], ':') ? models[m] : ts_path_join(x->a, ts_data_dir(), models[m]);
      must(quant && ts_source_open(x->a, path, &src, &d), &d);
      const ts_task *task;
      size_t n;
      must(ts_model_tasks(x->a, &src.config, quant, TS_API_CPU, 0, 0, (ts_paging){0}, &task, &n, &d), &d);
      for (size_t i = 0; i < n; i++) {
        ts_text t = {0};
        ts_spec_print(&t, &task[i].spec);
        const char *text = ts_arena_strdup(x->a, ts_text_str(&t));
        ts_text_free(&t);
        if (has(x->seen.p, x->seen.n, text)) continue;
        ts_vec_push(x->a, &x->seen, text);
        check_space(x, &task[i].spec, text);
      }
      ts_source_close(&src);
    }
}

static void opens_for_others(void **state) {
  for (size_t i = 0; i < TS_COUNTOF(others); i++) check_text(*state, others[i]);
}

// After the two above: no file in kernels/templates is for nothing, and no operator without a schedule to start from.
static void every_template_serves(void **state) {
  space_fixture *x = *state;
  const ts_op *op;
  size_t n;
  ts_diag d = {0};
  must(ts_op_list(x->a, &op, &n, &d), &d);
  for (size_t i = 0; i < n; i++) {
    char **name;
    size_t files;
    const char *dir = ts_path_join(x->a, ts_data_dir(), ts_arena_printf(x->a, "kernels/templates/%s", op[i].templates));
    must(ts_dir_list(dir, ".trace", x->a, &name, &files, &d), &d);
    bool has_default = false;
    for (size_t k = 0; k < files; k++) {
      if (strstr(name[k], ".cuda.trace")) continue;
      const char *base = ts_arena_strndup(x->a, name[k], strlen(name[k]) - 6);
      has_default |= strcmp(base, "default") == 0;
      if (strcmp(base, "default") != 0 && !has(x->used.p, x->used.n, ts_arena_printf(x->a, "%s/%s", op[i].templates, base)))
        fail_msg("kernels/templates/%s/%s applies to no workload", op[i].templates, name[k]);
    }
    if (!has_default) fail_msg("%s has no default.trace", op[i].name);
  }
}

// A template that is no trace is refused, and so is an unknown operator.
static void refusals(void **state) {
  space_fixture *x = *state;
  ts_diag d = {0};
  ts_spec spec;
  ts_space s;
  must(ts_spec_parse(x->a, "silu_mul A=f32 I=64 n=1", &spec, &d), &d);
  must(ts_space_open(&spec, &x->t, "", &s, &d), &d);
  size_t n = s.n;
  assert_false(ts_space_add(&s, "bad", "", "template", "trace 1\nfly b\n", &d));
  assert_int_equal(d.kind, TS_REFUSAL);
  assert_false(ts_space_add(&s, "bad", "no_such_variant", "template", "trace 1\n", &d));
  assert_int_equal(s.n, n);
  ts_space_close(&s);
  must(ts_spec_parse(x->a, "no_such_op A=f32 n=1", &spec, &d), &d);
  assert_false(ts_space_open(&spec, &x->t, "", &s, &d));
}

// A trace that declares facts serves only workloads whose sizes all have them.
static void narrower_facts(void **state) {
  space_fixture *x = *state;
  ts_diag d = {0};
  ts_spec spec;
  ts_space s;
  const char *trace = "trace 1\ndeclare \"n % 8 == 0 && n <= 64\"\n";
  must(ts_spec_parse(x->a, "silu_mul A=f32 I=64 n=8..128%8", &spec, &d) && ts_space_open(&spec, &x->t, "", &s, &d), &d);
  must(ts_space_add(&s, "narrow", "", "template", trace, &d), &d);
  ts_sketch *k = &s.sketch[s.n - 1];
  assert_null(ts_sketch_draw(ts_ir_new(x->a), k, k->trace, 1, &d));
  assert_string_equal(d.code, "narrower-facts");
  assert_non_null(strstr(d.message, "8 <= n <= 64, n % 8 == 0"));
  ts_space_close(&s);
  must(ts_spec_parse(x->a, "silu_mul A=f32 I=64 n=8..64%16", &spec, &d) && ts_space_open(&spec, &x->t, "", &s, &d), &d);
  must(ts_space_add(&s, "narrow", "", "template", trace, &d), &d);
  k = &s.sketch[s.n - 1];
  assert_non_null(ts_sketch_draw(ts_ir_new(x->a), k, k->trace, 1, &d));
  ts_space_close(&s);
}

// Variants need their features, their formats, and permission for their numerics.
static void variants_are_chosen(void **state) {
  space_fixture *x = *state;
  ts_diag d = {0};
  ts_spec spec;
  ts_target plain;
  must(ts_spec_parse(x->a, "matmul q4f16_1 A=f32 K=576 N=960 n=1", &spec, &d) && ts_target_parse("cpu:x86-64", &plain, &d), &d);
  const struct {
    const ts_target *target;
    const char *numerics;
    bool a16, a8;
  } rows[] = {{&x->t, "", true, false}, {&x->t, "a8", true, true}, {&plain, "a8", false, false}};
  for (size_t r = 0; r < TS_COUNTOF(rows); r++) {
    ts_space s;
    bool a16 = false, a8 = false;
    must(ts_space_open(&spec, rows[r].target, rows[r].numerics, &s, &d), &d);
    for (size_t i = 0; i < s.n; i++) {
      a16 |= strcmp(s.sketch[i].variant, "a16") == 0;
      a8 |= strcmp(s.sketch[i].variant, "a8") == 0;
    }
    assert_int_equal(a16, rows[r].a16);
    assert_int_equal(a8, rows[r].a8);
    ts_space_close(&s);
  }
}

// --- defaults on a GPU ---------------------------------------------------------------------------------------------------
// Within the GPU's limits at any size, and in as few kernels as the folder's default says; where its steps do not apply, rules make it.
static void defaults_on_gpus(void **state) {
  static const struct {
    const char *workload;
    int kernels;
    bool vectors;
  } rows[] = {
      {"silu_mul A=f16 I=14336 n=16..2048%16", 1, true},
      {"silu_mul A=f16 I=33 n=7", 1, false},
      {"add_bias A=f16 N=1152 n=16..2048%16", 1, true},
      {"rms_norm A=f16 R=f32 H=4096 eps=0.00001 n=16..2048%16", 1, true},
      {"rms_norm A=f32 H=7 eps=0.00001 n=3", 1, true},
      {"rope_append_rows A=f16 C=f16 D=128 H=32 HK=8 P=4096 n=16..2048%16 t=0..4080", 1, true},
      {"attention_rows A=f16 C=f16 D=128 H=32 HK=32 P=8192 n=8192 t=0", 1, false},
      {"attention_rows A=f16 C=f16 D=96 H=32 HK=8 P=8192 n=2..16 t=0..8000", 1, false},
      {"attention_rows A=f32 C=f16 D=128 H=32 HK=8 P=4096 n=1 t=0..4095", 7, true},
  };
  (void)state;
  for (size_t i = 0; i < TS_COUNTOF(rows); i++) {
    ts_arena *a = ts_arena_new("gpu");
    ts_target t;
    ts_spec spec;
    ts_space s;
    ts_gpu_use use;
    ts_text text = {0};
    ts_diag d = {0};
    must(ts_target_parse("cuda:sm_90a", &t, &d) && ts_spec_parse(a, rows[i].workload, &spec, &d) && ts_space_open(&spec, &t, "", &s, &d), &d);
    ts_sched *drawn = ts_sketch_draw(ts_ir_new(a), &s.sketch[0], s.sketch[0].trace, 0, &d);
    if (!drawn || !ts_gpu_check(ts_ir_new(a), ts_sched_func(drawn), &t, &use, &d)) fail_msg("%s: %s", rows[i].workload, d.message);
    ts_trace_print(&text, ts_sched_trace(drawn));
    if (use.kernels != rows[i].kernels || rows[i].vectors != (strstr(ts_text_str(&text), "\nvectorize ") != NULL))
      fail_msg("%s: %d kernels\n%s", rows[i].workload, use.kernels, ts_text_str(&text));
    ts_text_free(&text);
    ts_space_close(&s);
    ts_arena_free(a);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(opens_for_models), cmocka_unit_test(opens_for_others), cmocka_unit_test(every_template_serves),
      cmocka_unit_test(refusals),         cmocka_unit_test(narrower_facts),  cmocka_unit_test(variants_are_chosen),
      cmocka_unit_test(defaults_on_gpus),
  };
  return cmocka_run_group_tests(tests, space_setup, space_teardown);
}

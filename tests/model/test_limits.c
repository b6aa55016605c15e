// Builds for a GPU of weights that break a template's limits: mma.share64, which a store names for 64 rows, is for scales below 2. Two layers; the
// second one's projection down may have a value of 17.5, so a scale of 2.5.
#include "model/kernels.h"
#include "model_store.h"
#include "runtime/runtime.h"

#define DOWN "matmul_add q4f16_1 A=f16 K=256 N=128 R=f32 n=64"
#define DOWN_MANY "matmul_add q4f16_1 A=f16 K=256 N=128 R=f32 n=16..128%16"
#define OUT "matmul_add q4f16_1 A=f16 K=128 N=128 R=f32 n=64"
#define LARGE_SCALE "model.layers.1.mlp.down_proj.q_scale"
static const char large_name[] = "model.layers.1.mlp.down_proj.weight";

static char cache[] = "/tmp/ts-model-cache-XXXXXX";  // of compiled kernels, for all tests

static int open_cache(void **state) {
  (void)state;
  return mkdtemp(cache) ? 0 : -1;
}

static int close_cache(void **state) {
  (void)state;
  remove_folder(cache);
  return 0;
}

static int open_gpu(void **state) {
  world *w = calloc(1, sizeof *w);
  assert_non_null(w);
  open_world_for(w, "cuda:sm_90a");
  *state = w;
  return 0;
}

static int close_gpu(void **state) {
  world *w = *state;
  close_world(w);
  free(w);
  return 0;
}

// The point that a template of matmul_add is tried with first, as a store keeps it.
static const char *first_point(world *w, const char *workload, const char *template) {
  ts_diag d = {0};
  ts_spec spec;
  ts_op_inst inst;
  ts_text t = {0};
  const int64_t *point = NULL;
  const char *file = ts_path_join(w->a, ts_data_dir(), ts_arena_printf(w->a, "kernels/templates/matmul/mma.%s.cu", template));
  const ts_native *x = ts_native_load(w->a, file, &d);
  must(x && ts_spec_parse(w->a, workload, &spec, &d) && ts_op_instantiate(ts_ir_new(w->a), &spec, "mma", &inst, &d), &d);
  ts_native_fit f;
  must(ts_native_bind(w->a, x, &spec, inst.func, &w->target, &f, &d) && ts_native_first(w->a, &f, &point, &d), &d);
  assert_non_null(point);
  ts_native_print(&t, x, point);
  const char *text = ts_arena_strdup(w->a, ts_text_str(&t));
  ts_text_free(&t);
  return text;
}

// --- a model of two small layers ---------------------------------------------------------------------------------
static const char config[] =
    "{\"model_type\": \"llama\", \"hidden_size\": 128, \"intermediate_size\": 256, \"num_hidden_layers\": 2, \"num_attention_heads\": 4,"
    " \"num_key_value_heads\": 2, \"head_dim\": 32, \"vocab_size\": 320, \"max_position_embeddings\": 512, \"rms_norm_eps\": 1e-05,"
    " \"rope_theta\": 10000.0, \"tie_word_embeddings\": true, \"torch_dtype\": \"float32\", \"bos_token_id\": 1, \"eos_token_id\": 2}";

static int64_t elements(const ts_source_tensor *t) {
  int64_t n = 1;
  for (int i = 0; i < t->ndim; i++) n *= t->shape[i];
  return n;
}

// A Hugging Face folder of random weights, but for one value of one tensor, which all others of its name are multiplied by `times`.
static const char *make_model(world *w, const char *name, const char *tensor, float value, float times) {
  ts_source s;
  ts_diag d = {0};
  char *dir = ts_path_join(w->a, w->out, name);
  must(ts_dir_make(dir, &d), &d);
  put(w->a, dir, "config.json", config, sizeof config - 1);
  must(ts_source_open(w->a, ts_arena_printf(w->a, "synthetic:%s", dir), &s, &d), &d);
  ts_text header = {0};
  size_t bytes = 0;
  for (size_t i = 0; i < s.ntensors; i++) {
    const ts_source_tensor *t = &s.tensors[i];
    size_t n = (size_t)elements(t) * 4;
    ts_text_addf(&header, "%s\"%s\": {\"dtype\": \"F32\", \"shape\": [%lld", i ? ", " : "{", t->name, (long long)t->shape[0]);
    if (t->ndim == 2) ts_text_addf(&header, ", %lld", (long long)t->shape[1]);
    ts_text_addf(&header, "], \"data_offsets\": [%zu, %zu]}", bytes, bytes + n);
    bytes += n;
  }
  ts_text_add(&header, "}");
  while (header.n % 8) ts_text_add(&header, " ");
  uint64_t size = header.n;
  char *file = ts_arena_alloc(w->a, 8 + header.n + bytes, 8), *at = file + 8 + header.n;
  memcpy(file, &size, 8);
  memcpy(file + 8, header.p, header.n);
  for (size_t i = 0; i < s.ntensors; i++) {
    const ts_source_tensor *t = &s.tensors[i];
    float *v = (float *)(void *)at;
    ts_tensor_rows(t, 0, t->ndim == 2 ? t->shape[0] : 1, v);
    for (int64_t k = 0; k < elements(t); k++) v[k] *= strcmp(t->name, tensor) ? 1 : times;
    if (!strcmp(t->name, tensor)) v[777] = value;
    at += elements(t) * 4;
  }
  put(w->a, dir, "model.safetensors", file, 8 + header.n + bytes);
  ts_text_free(&header);
  ts_source_close(&s);
  return dir;
}

static ts_build_opts options(world *w, const char *model) {
  return (ts_build_opts){.model = model, .quant = "q4f16_1", .target = w->target_text, .store = w->store, .out = w->out, .name = "built", .max_seq_len = 256,
                         .prefill_chunk = 128, .numerics = "", .cache = cache, .debug_dump = true};
}

static ts_build_result build_of(world *w, const char *model) {
  ts_diag d = {0};
  ts_build_result r;
  ts_build_opts o = options(w, model);
  must(ts_build(w->a, &o, &r, &d), &d);
  return r;
}

// The n-th kernel of a workload.
static const ts_build_kernel *nth(const ts_build_result *r, const char *workload, int n) {
  for (size_t i = 0; i < r->nkernels; i++)
    if (!strcmp(r->kernels[i].workload, workload) && n-- == 0) return &r->kernels[i];
  return NULL;
}

static char *schedule_of(world *w, const ts_build_result *r, const ts_build_kernel *k) {
  ts_diag d = {0};
  char *text;
  size_t n;
  must(ts_file_read(ts_path_join(w->a, r->dir, ts_arena_printf(w->a, "debug/%s.trace", k->kernel)), w->a, &text, &n, &d), &d);
  return text;
}

static bool is(world *w, const ts_build_result *r, const ts_build_kernel *k, const char *template) {
  return strstr(schedule_of(w, r, k), ts_arena_printf(w->a, "native \"%s\"", template)) != NULL;
}

// What tuning, which sees random weights, would have chosen.
static void record_share64(world *w) {
  record(w, DOWN, "native mma 1", first_point(w, DOWN, "share64"), 3000, true);
  record(w, DOWN, "native mma 2", first_point(w, DOWN, "wide"), 4000, false);
  record(w, OUT, "native mma 1", first_point(w, OUT, "share64"), 2000, true);
}

// The plan of what was built, and a weight's limits in it: of its scales, as the kernel that the step of a phase names reads them.
static const ts_plan *plan_of(world *w, const ts_build_result *r) {
  ts_diag d = {0};
  char *text;
  size_t n;
  must(ts_file_read(ts_path_join(w->a, r->dir, "debug/plan.json"), w->a, &text, &n, &d), &d);
  const ts_plan *p = ts_plan_parse(w->a, "plan", text, n, &d);
  must(p != NULL, &d);
  return p;
}

static ts_plan_storage limits_of(const ts_plan *p, const char *storage) {
  ts_plan_storage all = {.name = storage};
  for (int i = 0; i < p->nweights; i++)
    for (int k = 0; k < p->weights[i].nstorage; k++) {
      const ts_plan_storage *s = &p->weights[i].storage[k];
      if (strcmp(s->name, storage)) continue;
      if (s->below > 0 && (!all.below || s->below < all.below)) all.below = s->below;
      if (s->least > all.least) all.least = s->least;
    }
  return all;
}

static void weights_within(void **state) {
  world *w = *state;
  if (!ts_codegen_nvrtc()) skip();
  record_share64(w);
  ts_build_result r = build_of(w, make_model(w, "within", large_name, 13.9f, 1));  // a scale of 1.986
  const ts_build_kernel *k = nth(&r, DOWN, 0);
  assert_non_null(k);
  assert_null(nth(&r, DOWN, 1));
  assert_true(is(w, &r, k, "share64"));
  assert_int_equal(k->calls, 2);
  for (size_t i = 0; i < r.nkernels; i++) assert_string_equal(r.kernels[i].left_out, "");
  ts_plan_storage s = limits_of(plan_of(w, &r), LARGE_SCALE);
  assert_true(s.below == 2 && s.least == 0.00025);
  assert_false(ts_plan_limited(plan_of(w, &r), "model.layers.1.mlp.down_proj.q_weight"));
}

static int times_in(const char *text, const char *what) {
  int n = 0;
  for (; (text = strstr(text, what)); text++) n++;
  return n;
}

static void one_weight_above(void **state) {
  world *w = *state;
  ts_diag d = {0};
  if (!ts_codegen_nvrtc()) skip();
  record_share64(w);
  ts_build_result r = build_of(w, make_model(w, "above", large_name, -17.5f, 1));
  const ts_build_kernel *first = nth(&r, DOWN, 0), *second = nth(&r, DOWN, 1);
  assert_non_null(first);
  assert_non_null(second);
  assert_null(nth(&r, DOWN, 2));
  assert_true(is(w, &r, first, "share64") && first->calls == 1);
  assert_true(is(w, &r, second, "wide") && second->calls == 1);
  assert_string_equal(second->served, "exact");
  assert_true(first->expected_us == 3 && second->expected_us == 4);
  assert_string_equal(first->left_out, "");
  assert_string_equal(second->left_out, "mma.share64");
  assert_string_equal(second->variant, first->variant);  // the packed weight exists once
  assert_true(is(w, &r, nth(&r, OUT, 0), "share64") && !nth(&r, OUT, 1));
  const ts_plan *p = plan_of(w, &r);
  assert_true(limits_of(p, "model.layers.0.mlp.down_proj.q_scale").below == 2);
  assert_true(limits_of(p, LARGE_SCALE).below != 2);
  char *report;
  size_t n;
  must(ts_file_read(ts_path_join(w->a, r.dir, "kernels.jsonl"), w->a, &report, &n, &d), &d);
  assert_int_equal(times_in(report, "\"left_out\": \"mma.share64\""), 2);  // of 64 rows, and of 32, which no record is of
  assert_int_equal(times_in(report, "\"left_out\""), 2);
}

// The first call of a workload is that whose weights break a limit, the lower one.
static void first_below(void **state) {
  world *w = *state;
  if (!ts_codegen_nvrtc()) skip();
  record_share64(w);
  const char *model = make_model(w, "below", "model.layers.0.mlp.down_proj.weight", 0, 1e-3f);
  ts_build_result r = build_of(w, model);
  assert_non_null(nth(&r, DOWN, 1));  // of the first layer
  assert_string_equal(nth(&r, DOWN, 0)->left_out, "mma.share64");
  assert_string_equal(nth(&r, DOWN, 1)->left_out, "");
  assert_false(is(w, &r, nth(&r, DOWN, 0), "share64"));
  assert_true(is(w, &r, nth(&r, DOWN, 1), "share64"));
}

// A weight that breaks the limits of one template after the other: those of the records, then the first guess. A schedule without a template serves.
static void all_above_all(void **state) {
  world *w = *state;
  ts_diag d = {0};
  if (!ts_codegen_nvrtc()) skip();
  record_share64(w);
  const char *model = make_model(w, "huge", large_name, 65000, 1);  // a scale of 9285
  ts_build_result r = build_of(w, model);
  const ts_build_kernel *k = nth(&r, DOWN, 1);
  assert_non_null(k);
  assert_string_equal(k->left_out, "mma.share64 mma.wide mma.gemm mma.tiles");
  assert_string_equal(k->served, "default");
  assert_true(nth(&r, DOWN, 0)->calls == 1 && k->calls == 1 && !nth(&r, DOWN, 2));
  assert_null(strstr(schedule_of(w, &r, k), "native "));
  assert_false(ts_plan_limited(plan_of(w, &r), LARGE_SCALE));
  k = nth(&r, DOWN_MANY, 1);
  assert_non_null(k);
  assert_string_equal(k->left_out, "mma.gemm mma.tiles");
  must(ts_plan_within(plan_of(w, &r), LARGE_SCALE, 9285, "", &d), &d);
}

// A library is not put beside weights that its kernels are not for.
static void reused_library(void **state) {
  world *w = *state;
  ts_diag d = {0};
  ts_build_result r;
  if (!ts_codegen_nvrtc()) skip();
  record_share64(w);
  const char *within = make_model(w, "within", large_name, 13.9f, 1), *above = make_model(w, "above", large_name, -17.5f, 1);
  ts_build_opts o = options(w, within);
  o.name = "first";
  must(ts_build(w->a, &o, &r, &d), &d);
  o.reuse_lib = ts_path_join(w->a, r.dir, r.library);
  o.name = "again";
  must(ts_build(w->a, &o, &r, &d), &d);
  o.model = above;
  expect_refusal(ts_build(w->a, &o, &r, &d), &d, "weights-limit", LARGE_SCALE " reaches 2.5, and the library's kernels are for less than 2");
  assert_non_null(strstr(d.message, o.reuse_lib));
  o.reuse_lib = NULL;
  o.name = "third";
  must(ts_build(w->a, &o, &r, &d), &d);
  o.reuse_lib = ts_path_join(w->a, r.dir, r.library);
  o.model = within;
  o.name = "fourth";
  must(ts_build(w->a, &o, &r, &d), &d);
}

// Random weights of synthetic models keep to the limits of what is shipped: the build leaves nothing out.
static void synthetic(void **state) {
  (void)state;
  static const int64_t hidden[] = {64, 576, 4096, 16384};
  for (size_t i = 0; i < TS_COUNTOF(hidden); i++) {
    double most = ts_weights_drawn_most("model.layers.0.mlp.down_proj.q_scale", 2, hidden[i]);
    assert_true(most < 2 && most >= 0.00025);
  }
  assert_true(ts_weights_drawn_most("model.norm.weight", 1, 64) > 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(weights_within, open_gpu, close_gpu), cmocka_unit_test_setup_teardown(one_weight_above, open_gpu, close_gpu),
      cmocka_unit_test_setup_teardown(first_below, open_gpu, close_gpu),    cmocka_unit_test_setup_teardown(all_above_all, open_gpu, close_gpu),
      cmocka_unit_test_setup_teardown(reused_library, open_gpu, close_gpu), cmocka_unit_test(synthetic)};
  return cmocka_run_group_tests(tests, open_cache, close_cache);
}

// Conversations, configuration, sampling, generation and the public interface, on the counting model.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>

#include "tiny.h"
#include "tunesmith.h"

static ts_arena *arena;
static const char *dir;

static int setup(void **state) {
  (void)state;
  arena = ts_arena_new("test");
  dir = ts_path_join(arena, tiny_dir(), "model");
  tiny_model(dir);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  ts_arena_free(arena);
  return 0;
}

// --- conversations ------------------------------------------------------------------------------------------

static void renders(const char *name, const char *system, int turns, const char *want) {
  static const ts_turn all[] = {{false, "Hi"}, {true, "Hello."}, {false, "Bye"}, {true, NULL}};
  static const ts_turn one[] = {{false, "Hi"}, {true, NULL}};
  const ts_conv *c = ts_conv_find(arena, name);
  assert_non_null(c);
  ts_text t = {0};
  ts_conv_render(c, system, turns == 1 ? one : all, turns == 1 ? 2 : turns == 2 ? 4 : 0, &t);
  assert_string_equal(ts_text_str(&t), want);
  ts_text_free(&t);
}

static void templates(void **state) {
  (void)state;
  renders("chatml", "S", 0, "<|im_start|>system\nS<|im_end|>\n");
  renders("chatml", "S", 1, "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
  renders("chatml", "", 1, "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
  renders("chatml_nosystem", NULL, 2,
          "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello.<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n");
  renders("llama-2", "S", 1, "[INST] <<SYS>>\nS\n<</SYS>>\n\nHi [/INST] ");
  renders("llama-2", "S", 2, "[INST] <<SYS>>\nS\n<</SYS>>\n\nHi [/INST] Hello. </s><s>[INST] Bye [/INST] ");
  renders("llama-2", "", 1, "<s>[INST] Hi [/INST] ");
  renders("llama-3", "S", 1, "<|start_header_id|>system<|end_header_id|>\n\nS<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
                             "<|start_header_id|>assistant<|end_header_id|>\n\n");
  renders("mistral_default", "S", 2, "[INST] SHi [/INST] Hello. [INST] Bye [/INST]");
  renders("gemma_instruction", NULL, 1, "<start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\n");
  renders("LM", NULL, 1, "Hi");
  assert_null(ts_conv_find(arena, "no such template"));
  const ts_conv *c = ts_conv_find(arena, "llama-3");
  assert_int_equal(c->nprefix, 1);
  assert_int_equal(c->prefix[0], 128000);
  assert_int_equal(c->nstop_tokens, 2);
  assert_int_equal(c->nstop_strings, 2);
}

static bool config(const char *text, ts_chat_config *c, ts_diag *d) { return ts_chat_config_parse(arena, "chat.json", text, strlen(text), c, d); }

static void chat_configs(void **state) {
  (void)state;
  ts_chat_config c;
  ts_diag d = {0};
  assert_true(config("{}", &c, &d));
  assert_string_equal(c.conv->name, "LM");
  assert_true(c.sampler.temperature == 1.0 && c.sampler.top_p == 1.0);
  assert_true(config("{\"conv_template\":\"llama-2\",\"max_window_size\":2048,\"temperature\":0.7,\"top_p\":0.95,\"mean_gen_len\":128}", &c, &d));
  assert_string_equal(c.conv->name, "llama-2");
  assert_int_equal(c.context_window, 2048);
  assert_true(c.sampler.temperature == 0.7);
  assert_true(config("{\"conv_template\":{\"roles\":{\"user\":\"U\",\"assistant\":\"A\"},\"seps\":[\"1\",\"2\"],\"role_templates\":"
                     "{\"user\":\"<{user_message}{function_string}>\"},\"messages\":[[\"user\",\"q\"],[\"assistant\",\"a\"]],\"stop_str\":[\"\",\"x\"],"
                     "\"system_prefix_token_ids\":[5],\"stop_token_ids\":[7,8]},\"eos_token_id\":[1,2],\"context_window_size\":-1}", &c, &d));
  ts_text t = {0};
  ts_conv_render(c.conv, NULL, (const ts_turn[]){{false, "Hi"}, {true, NULL}}, 2, &t);
  assert_string_equal(ts_text_str(&t), "U<q>1Aa2U<Hi>1A");
  ts_text_free(&t);
  assert_int_equal(c.neos, 2);
  assert_int_equal(c.conv->nstop_strings, 1);
  assert_int_equal(c.conv->nstop_tokens, 2);
  assert_int_equal(c.context_window, 0);
  static const char *const wrong[] = {
      "[]", "{", "{\"conv_template\":\"nope\"}", "{\"conv_template\":7}", "{\"conv_template\":{}}", "{\"temperature\":-1}",
      "{\"temperature\":\"hot\"}", "{\"top_p\":0}", "{\"eos_token_id\":-1}", "{\"eos_token_id\":\"x\"}", "{\"context_window_size\":\"x\"}",
      "{\"conv_template\":{\"roles\":{\"user\":1,\"assistant\":\"A\"}}}", "{\"conv_template\":{\"roles\":{\"user\":\"U\",\"assistant\":\"A\"},\"seps\":[]}}",
      "{\"conv_template\":{\"roles\":{\"user\":\"U\",\"assistant\":\"A\"},\"messages\":[[\"user\"]]}}", "{\"repetition_penalty\":0}"};
  for (size_t i = 0; i < TS_COUNTOF(wrong); i++) {
    d = (ts_diag){0};
    if (config(wrong[i], &c, &d)) fail_msg("accepted: %s", wrong[i]);
    assert_int_equal(d.kind, TS_REFUSAL);
  }
}

// --- sampler -------------------------------------------------------------------------------------------------

enum { NV = 5 };
static void draw(const ts_sampler *s, const float *logits, const int32_t *history, size_t n, double share[NV]) {
  enum { DRAWS = 20000 };
  float work[2 * NV];
  int count[NV] = {0};
  for (int i = 0; i < DRAWS; i++) count[ts_sampler_pick(s, logits, NV, history, n, (uint64_t)i, work)]++;
  for (int i = 0; i < NV; i++) share[i] = (double)count[i] / DRAWS;
}

static void sampling(void **state) {
  (void)state;
  const float logits[NV] = {logf(0.1f), logf(0.4f), logf(0.05f), logf(0.3f), logf(0.15f)};
  float work[2 * NV];
  double p[NV];
  ts_sampler s = ts_sampler_default();
  s.seed = 11;
  draw(&s, logits, NULL, 0, p);
  for (int i = 0; i < NV; i++) assert_true(fabs(p[i] - exp((double)logits[i])) < 0.015);
  s.top_p = 0.65;  // 0.4 + 0.3 reach it
  draw(&s, logits, NULL, 0, p);
  assert_true(p[0] == 0 && p[2] == 0 && p[4] == 0 && fabs(p[1] - 4.0 / 7) < 0.015);
  s.top_p = 1;
  s.top_k = 3;
  draw(&s, logits, NULL, 0, p);
  assert_true(p[0] == 0 && p[2] == 0 && fabs(p[4] - 0.15 / 0.85) < 0.015);
  s.top_k = 0;
  s.temperature = 0.5;
  draw(&s, logits, NULL, 0, p);
  assert_true(fabs(p[1] - 0.16 / (0.01 + 0.16 + 0.0025 + 0.09 + 0.0225)) < 0.015);
  assert_int_equal(ts_sampler_pick(&s, logits, NV, NULL, 0, 3, work), ts_sampler_pick(&s, logits, NV, NULL, 0, 3, work));
  s.temperature = 0;
  assert_int_equal(ts_sampler_pick(&s, logits, NV, NULL, 0, 0, work), 1);
  s.frequency_penalty = 1;
  const int32_t history[] = {1, 1, 4, 99, -1};
  assert_int_equal(ts_sampler_pick(&s, logits, NV, history, 5, 0, work), 3);
  s.frequency_penalty = 0;
  s.repetition_penalty = 1.5;  // logits are negative: they grow
  assert_int_equal(ts_sampler_pick(&s, logits, NV, history, 5, 0, work), 3);
  const float bad[NV] = {NAN, -INFINITY, NAN, INFINITY, NAN}, one[NV] = {NAN, 1, NAN, INFINITY, 0};
  s = ts_sampler_default();
  assert_int_equal(ts_sampler_pick(&s, bad, NV, NULL, 0, 0, work), -1);
  s.temperature = 0;
  assert_int_equal(ts_sampler_pick(&s, one, NV, NULL, 0, 0, work), 1);
}

// --- generation --------------------------------------------------------------------------------------------------

typedef struct rig {
  ts_engine *e;
  ts_session *s;
  ts_text out;
  int calls, stop_after;
} rig;

static bool collect(void *arg, const char *p, size_t n) {
  rig *r = arg;
  ts_text_addn(&r->out, p, n);
  return ++r->calls != r->stop_after;
}

static rig rig_open(void) {
  ts_diag d = {0};
  rig r = {0};
  if (!(r.e = ts_engine_open(dir, &(ts_engine_opts){.threads = 1}, &d)) || !(r.s = ts_engine_session(r.e, &d))) fail_msg("%s", d.message);
  return r;
}

static void rig_close(rig *r) {
  ts_text_free(&r->out);
  ts_session_free(r->s);
  ts_engine_close(r->e);
}

// Generate after one byte and compare the text, the reason to stop and the number of tokens.
static void expect(rig *r, char after, const ts_gen_opts *o, const char *text, ts_stop stop, int64_t tokens) {
  ts_diag d = {0};
  ts_gen_result g;
  ts_gen_opts own = *o;
  own.text = collect;
  own.arg = r;
  r->out.n = 0;
  r->calls = 0;
  const int32_t prompt[] = {'a', (uint8_t)after};
  if (!ts_generate(r->s, ts_engine_tokenizer(r->e), prompt, 2, &own, &g, &d)) fail_msg("%s", d.message);
  assert_int_equal(r->out.n, strlen(text));
  assert_memory_equal(ts_text_str(&r->out), text, strlen(text));
  assert_int_equal(g.stop, stop);
  assert_int_equal(g.new_tokens, tokens);
}

static void stops(void **state) {
  (void)state;
  rig r = rig_open();
  ts_gen_opts o = {.sampler = ts_engine_config(r.e)->sampler, .max_tokens = 4};
  expect(&r, 'd', &o, "efgh", TS_STOP_LENGTH, 4);
  const int32_t token = 'h';
  o = (ts_gen_opts){.sampler = o.sampler, .max_tokens = 50, .nstop_tokens = 1, .stop_tokens = &token};
  expect(&r, 'd', &o, "efg", TS_STOP_TOKEN, 4);
  static const char *const strings[] = {"", "hij", "gz"};
  o = (ts_gen_opts){.sampler = o.sampler, .max_tokens = 50, .nstop_strings = 3, .stop_strings = strings};
  expect(&r, 'd', &o, "efg", TS_STOP_STRING, 6);
  o.max_tokens = 4;  // "h" may begin a stop string: it is shown when the end comes first
  expect(&r, 'd', &o, "efgh", TS_STOP_LENGTH, 4);
  o = (ts_gen_opts){.sampler = o.sampler};
  r.stop_after = 3;
  expect(&r, 'd', &o, "efg", TS_STOP_CALLER, 3);
  r.stop_after = 0;
  expect(&r, 33, &o, "\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz", TS_STOP_CONTEXT, 89);
  assert_int_equal(ts_session_length(r.s), 90);
  rig_close(&r);
}

// A prompt that shares its beginning with what is in the session is only computed from there on.
static void prefix_is_kept(void **state) {
  (void)state;
  rig r = rig_open();
  ts_diag d = {0};
  ts_gen_result g;
  int32_t prompt[30];
  for (int i = 0; i < 30; i++) prompt[i] = 'a' + i % 7;
  ts_gen_opts o = {.sampler = ts_engine_config(r.e)->sampler, .max_tokens = 5};
  const ts_tokenizer *t = ts_engine_tokenizer(r.e);
  assert_true(ts_generate(r.s, t, prompt, 20, &o, &g, &d));
  assert_int_equal(g.prompt_tokens, 20);
  assert_true(ts_generate(r.s, t, prompt, 20, &o, &g, &d));
  assert_int_equal(g.prompt_tokens, 1);
  prompt[10] = 'z';
  assert_true(ts_generate(r.s, t, prompt, 30, &o, &g, &d));
  assert_int_equal(g.prompt_tokens, 20);
  float want[TINY_V];
  ts_session_truncate(r.s, 29);
  assert_true(ts_session_feed(r.s, prompt + 29, 1, &d));
  tiny_logits(prompt, 30, want);
  for (int v = 0; v < TINY_V; v++) assert_true(fabsf(want[v] - ts_session_logits(r.s)[v]) < 1e-5f);
  assert_false(ts_generate(r.s, t, prompt, 0, &o, &g, &d));
  assert_string_equal(d.code, "empty-prompt");
  rig_close(&r);
}

static void dialogs(void **state) {
  (void)state;
  rig r = rig_open();
  ts_diag d = {0};
  ts_gen_result g;
  ts_dialog *talk = ts_dialog_new(r.e, r.s);
  ts_gen_opts o = {.sampler = ts_engine_config(r.e)->sampler, .max_tokens = 3, .text = collect, .arg = &r};
  assert_true(ts_dialog_say(talk, "hi", &o, &g, &d));
  assert_string_equal(ts_text_str(&r.out), ">?@");  // after "U=hi;A="
  assert_int_equal(g.prompt_tokens, 7);
  r.out.n = 0;
  assert_true(ts_dialog_say(talk, "ho", &o, &g, &d));  // "U=hi;A=>?@;U=ho;A=": the beginning is in the cache
  assert_int_equal(g.prompt_tokens, 9);
  o.max_tokens = 40;
  r.out.n = 0;
  ts_dialog_system(talk, "sys");
  assert_true(ts_dialog_say(talk, "x", &o, &g, &d));  // the stop string XYZ of the template
  assert_int_equal(g.stop, TS_STOP_STRING);
  assert_string_equal(ts_text_str(&r.out) + r.out.n - 3, "UVW");
  ts_text_add(&r.out, "............................................................................................");
  assert_false(ts_dialog_say(talk, ts_text_str(&r.out), &o, &g, &d));
  assert_string_equal(d.code, "context-full");
  ts_dialog_reset(talk);
  assert_int_equal(ts_session_length(r.s), 0);
  assert_true(ts_dialog_say(talk, "x", &o, &g, &d));
  assert_int_equal(g.prompt_tokens, 4 + 6);  // "sys|U=x;A="
  ts_dialog_free(talk);
  rig_close(&r);
}

// --- directories -----------------------------------------------------------------------------------------------------

static void replaced(const char *name, const char *text, const char *fact) {
  ts_diag d = {0};
  const char *path = ts_path_join(arena, dir, name);
  char *old = NULL;
  size_t n = 0;
  if (!ts_file_read(path, arena, &old, &n, &d) || !ts_file_write(path, text, strlen(text), &d)) fail_msg("%s", d.message);
  ts_engine *e = ts_engine_open(dir, NULL, &d);
  if (e) fail_msg("%s: accepted", name);
  if (!strstr(d.message, fact)) fail_msg("%s: %s", name, d.message);
  assert_true(ts_file_write(path, old, n, &d));
}

static void broken_directories(void **state) {
  (void)state;
  ts_diag d = {0};
  replaced("params/mlc-chat-config.json", "{\"quantization\": \"q4f16_1\"}", "q4f16_1");
  replaced("params/mlc-chat-config.json", "not json", "mlc-chat-config.json");
  replaced("params/tokenizer.json", "{}", "tokenizer.json");
  replaced("params/tokenizer.json", "{\"model\":{\"vocab\":{\"a\":272},\"merges\":[]}}", "273 tokens");
  replaced("params/ndarray-cache.json", "{\"records\":[]}", "no parameter embed.weight");
  replaced("tiny-cpu.so", "no library", "tiny-cpu.so");
  assert_null(ts_engine_open("/nonexistent", NULL, &d));
  assert_int_equal(d.kind, TS_ENVIRONMENT);
  const char *empty = ts_path_join(arena, tiny_dir(), "empty");
  assert_true(ts_dir_make(empty, &d));
  assert_null(ts_engine_open(empty, NULL, &d));
  assert_string_equal(d.code, "no-library");
  rig r = rig_open();
  rig_close(&r);
}

// --- the public interface ----------------------------------------------------------------------------------------------

static int take_text(void *arg, const char *p, size_t n) {
  ts_text_addn(arg, p, n);
  return 1;
}

static int count_rows(void *arg, int64_t position, const float *logits, int64_t vocab) {
  assert_int_equal(vocab, TINY_V);
  assert_true(logits[(*(int *)arg) % TINY_V] == logits[(*(int *)arg) % TINY_V]);
  assert_int_equal(position, (*(int *)arg)++);
  return *(int *)arg < 6;
}

static void public_interface(void **state) {
  (void)state;
  tunesmith_model *m = NULL;
  tunesmith_session *s = NULL;
  tunesmith_error e;
  assert_int_equal(tunesmith_open("/nonexistent", NULL, &m, &e), TUNESMITH_ENVIRONMENT);
  assert_null(m);
  assert_string_equal(e.code, "model-dir");
  assert_int_equal(tunesmith_open(dir, &(tunesmith_options){.threads = 2}, &m, &e), TUNESMITH_OK);
  tunesmith_info info;
  tunesmith_get_info(m, &info);
  assert_string_equal(info.name, "tiny");
  assert_int_equal(info.context, 90);
  assert_int_equal(info.threads, 2);
  assert_int_equal(info.weight_bytes, 2 * TINY_V * TINY_H * 4);
  int32_t *ids;
  size_t n, bytes;
  char *text;
  assert_int_equal(tunesmith_tokenize(m, "ab<|a|>", 7, 0, &ids, &n, &e), TUNESMITH_OK);
  assert_int_equal(n, 3);
  assert_int_equal(ids[2], 256);
  assert_int_equal(tunesmith_detokenize(m, ids, n, 1, &text, &bytes, &e), TUNESMITH_OK);
  assert_string_equal(text, "ab<|a|>");
  tunesmith_free(text);
  assert_int_equal(tunesmith_detokenize(m, ids, 0, 0, &text, &bytes, NULL), TUNESMITH_OK);
  assert_string_equal(text, "");
  tunesmith_free(text);
  assert_int_equal(tunesmith_session_new(m, &s, &e), TUNESMITH_OK);
  tunesmith_sampling how = tunesmith_default_sampling(m);
  how.max_tokens = 3;
  ts_text out = {0};
  tunesmith_result r;
  assert_int_equal(tunesmith_generate(s, ids, 2, &how, take_text, &out, &r, &e), TUNESMITH_OK);
  assert_string_equal(ts_text_str(&out), "cde");
  assert_int_equal(r.stop, TUNESMITH_STOP_LENGTH);
  tunesmith_session_reset(s);
  out.n = 0;
  tunesmith_set_system(s, "s");
  assert_int_equal(tunesmith_say(s, "hi", &how, take_text, &out, &r, &e), TUNESMITH_OK);
  assert_string_equal(ts_text_str(&out), ">?@");
  assert_int_equal(r.prompt_tokens, 9);
  // A fork goes on with the conversation on its own.
  tunesmith_session *f;
  assert_int_equal(tunesmith_session_fork(s, &f, &e), TUNESMITH_OK);
  assert_int_equal(tunesmith_session_length(f), tunesmith_session_length(s));
  ts_text one = {0}, two = {0};
  assert_int_equal(tunesmith_say(s, "more", &how, take_text, &one, &r, &e), TUNESMITH_OK);
  int64_t computed = r.prompt_tokens;
  assert_int_equal(tunesmith_say(f, "more", &how, take_text, &two, &r, &e), TUNESMITH_OK);
  assert_string_equal(ts_text_str(&one), ts_text_str(&two));
  assert_int_equal(r.prompt_tokens, computed);
  assert_int_equal(tunesmith_session_length(f), tunesmith_session_length(s));
  ts_text_free(&one);
  ts_text_free(&two);
  tunesmith_session_free(f);
  how.temperature = -1;
  assert_int_equal(tunesmith_say(s, "hi", &how, NULL, NULL, NULL, &e), TUNESMITH_REFUSED);
  assert_string_equal(e.code, "bad-option");
  int rows = 0;
  const int32_t ten[10] = {0};
  assert_int_equal(tunesmith_score(s, ten, 10, count_rows, &rows, &e), TUNESMITH_REFUSED);
  assert_string_equal(e.code, "stopped");
  assert_int_equal(rows, 6);
  ts_text_free(&out);
  tunesmith_free(ids);
  tunesmith_session_free(s);
  tunesmith_close(m);
}

// The example of the manual, linked against the shared library.
static void example_program(void **state) {
  (void)state;
  const char *argv[] = {TS_EXAMPLE, dir, "hi", NULL};
  ts_text out = {0};
  ts_proc_result r;
  ts_diag d = {0};
  if (!ts_proc_run(argv, 30, &out, &r, &d)) fail_msg("%s", d.message);
  assert_int_equal(r.exit_code, 0);
  assert_non_null(strstr(ts_text_str(&out), ">?@ABCDEFGHIJKLMNOPQRSTUVW\n"));
  ts_text_free(&out);
  argv[1] = "/nonexistent";
  assert_true(ts_proc_run(argv, 30, &out, &r, &d));
  assert_int_equal(r.exit_code, 3);
  ts_text_free(&out);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(templates), cmocka_unit_test(chat_configs),   cmocka_unit_test(sampling),           cmocka_unit_test(stops),
      cmocka_unit_test(prefix_is_kept), cmocka_unit_test(dialogs), cmocka_unit_test(broken_directories), cmocka_unit_test(public_interface),
      cmocka_unit_test(example_program)};
  return cmocka_run_group_tests(tests, setup, teardown);
}

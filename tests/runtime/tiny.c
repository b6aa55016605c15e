#include "tiny.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void must(bool ok, const ts_diag *d) {
  if (ok) return;
  ts_diag_print(stderr, d);
  abort();
}

static char dir_name[64];
static void remove_dir(void) {
  ts_proc_result r;
  ts_diag d;
  const char *argv[] = {"rm", "-rf", dir_name, NULL};
  must(ts_proc_run(argv, 60, NULL, &r, &d), &d);
}

const char *tiny_dir(void) {
  if (*dir_name) return dir_name;
  snprintf(dir_name, sizeof dir_name, "/tmp/tunesmith-tiny-XXXXXX");
  if (!mkdtemp(dir_name)) abort();
  atexit(remove_dir);
  return dir_name;
}

#define ARG_BUF(i) {.kind = TS_PLAN_ARG_BUFFER, .index = (i)}
#define ARG_W(i) {.kind = TS_PLAN_ARG_WEIGHT, .index = (i)}
enum { B_TOKENS, B_X, B_Y, B_LOGITS };

const ts_plan *tiny_plan(void) {
  static const ts_plan_storage emb = {.name = "embed.weight", .t = {TS_DT_F32, 2, {TINY_V, TINY_H}}};
  static const ts_plan_storage head = {.name = "head.weight", .t = {TS_DT_F16, 2, {TINY_V, TINY_H}}};
  static const ts_tensor emb_part = {TS_DT_F32, 2, {TINY_V, TINY_H}}, head_part = {TS_DT_F32, 2, {TINY_H, TINY_V}};
  static const ts_plan_weight weights[] = {{"embed", NULL, 1, &emb, 1, &emb_part},
                                           {"head", "pack_head", 1, &head, 1, &head_part},
                                           {"embed_again", NULL, 1, &emb, 1, &emb_part}};
  static const ts_plan_buffer buffers[] = {
      {"tokens", TS_DT_I32, 1, 0, 0},
      {"x", TS_DT_F32, TINY_H, 0, 64},
      {"y", TS_DT_F32, TINY_H, 0, 64 + TINY_CHUNK * TINY_H * 4},
      {"logits", TS_DT_F32, 0, TINY_V, 64 + 2 * TINY_CHUNK * TINY_H * 4},
  };
  static const ts_plan_arg embed_args[] = {ARG_BUF(B_TOKENS), ARG_W(0), ARG_BUF(B_X)};
  static const ts_plan_arg mix_args[] = {ARG_BUF(B_X), {.kind = TS_PLAN_ARG_K}, {.kind = TS_PLAN_ARG_ROPE}, ARG_BUF(B_Y)};
  static const ts_plan_arg head_args[] = {{.kind = TS_PLAN_ARG_BUFFER, .index = B_Y, .row_bytes = TINY_H * 4}, ARG_W(1), ARG_BUF(B_LOGITS)};
  static const ts_plan_step decode[] = {
      {"embed_1", "embed", "embed n=1", TS_FROM_EXACT, 1.5, 3, embed_args, 0, {0}},
      {"mix_1", "mix", "mix n=1", TS_FROM_NEAREST, 2, 4, mix_args, 1, {TS_DIM_T}},
  };
  static const ts_plan_step prefill[] = {
      {"embed_n", "embed", "embed", TS_FROM_DEFAULT, 0, 3, embed_args, 1, {TS_DIM_N}},
      {"mix_n", "mix", "mix", TS_FROM_DEFAULT, 0, 4, mix_args, 2, {TS_DIM_N, TS_DIM_T}},
  };
  static const ts_plan_step head_steps[] = {{"head_1", "matmul", "matmul n=1", TS_FROM_EXACT, 0, 3, head_args, 0, {0}}};
  static const ts_plan_phase phases[] = {{TS_PHASE_DECODE, 1, 1, 1, 2, decode, 0, NULL},
                                         {TS_PHASE_PREFILL, 2, TINY_CHUNK, 8, 2, prefill, 0, NULL},
                                         {TS_PHASE_HEAD, 1, 1, 1, 1, head_steps, 0, NULL}};
  static const int64_t eos[] = {TINY_EOS};
  static const char *const features[] = {"sse4.2"};
  static const ts_plan plan = {
      .target = "cpu", .nfeatures = 1, .features = features, .name = "tiny", .arch = "counting", .quantization = "q0f16",
      .vocab = TINY_V, .active_vocab = 265, .hidden = TINY_H, .layers = 1, .heads = 1, .kv_heads = 1, .head_dim = 16,
      .max_seq = TINY_P, .prefill_chunk = TINY_CHUNK, .max_rows = TINY_CHUNK, .bos = -1, .neos = 1, .eos = eos,
      .arena_bytes = 64 + 2 * TINY_CHUNK * TINY_H * 4 + TINY_V * 4, .kv_bytes = TINY_P * TINY_H * 4, .tokens = B_TOKENS,
      .logits = B_LOGITS, .nweights = 3, .weights = weights, .has_rope = true,
      .rope = {.positions = TINY_P, .dim = 16, .theta = 10000}, .nbuffers = 4, .buffers = buffers, .nphases = 3, .phases = phases};
  return &plan;
}

const char *tiny_plan_text(ts_arena *a, const ts_plan *p) {
  ts_text t = {0};
  ts_plan_print(&t, p);
  const char *s = ts_arena_strdup(a, ts_text_str(&t));
  ts_text_free(&t);
  return s;
}

bool tiny_changed(const char *text, const char *const change[2], ts_text *out) {
  const char *at = strstr(text, change[0]);
  if (!at) return false;
  ts_text_addn(out, text, (size_t)(at - text));
  ts_text_add(out, change[1]);
  ts_text_add(out, at + strlen(change[0]));
  return true;
}

ts_plan tiny_paged_plan(int64_t pages) {
  static const ts_plan_arg args[] = {ARG_BUF(B_X), {.kind = TS_PLAN_ARG_K}, {.kind = TS_PLAN_ARG_ROPE}, ARG_BUF(B_Y), {.kind = TS_PLAN_ARG_PAGES}};
  static ts_plan_step decode[2], prefill[2];
  static ts_plan_phase phases[3];
  ts_plan p = *tiny_plan();
  memcpy(phases, p.phases, sizeof phases);
  memcpy(decode, phases[0].steps, sizeof decode);
  memcpy(prefill, phases[1].steps, sizeof prefill);
  decode[1].kernel = "mix_pages_1", prefill[1].kernel = "mix_pages_n";
  decode[1].args = prefill[1].args = args, decode[1].nargs = prefill[1].nargs = TS_COUNTOF(args);
  phases[0].steps = decode, phases[1].steps = prefill;
  p.phases = phases;
  p.page = TINY_PAGE, p.pages = pages;
  p.kv_bytes = pages * TINY_PAGE * TINY_H * 4;
  return p;
}

void tiny_library(const char *path, const char *plan_text, const char *flags) {
  ts_arena *a = ts_arena_new("tiny");
  ts_diag d;
  const char *plan = ts_arena_printf(a, "%s.plan", path);
  must(ts_file_write(plan, plan_text, strlen(plan_text), &d), &d);
  const char *command = ts_arena_printf(a, "cc -O1 -msse2 -shared -fPIC -I\"$1/src\" -DTINY_PLAN=\"\\\"$2\\\"\" %s -o \"$3\" \"$1/tests/runtime/tiny_library.c\"", flags);
  const char *argv[] = {"sh", "-c", command, "sh", TS_TEST_SOURCE_DIR, plan, path, NULL};
  ts_text out = {0};
  ts_proc_result r;
  must(ts_proc_run(argv, 60, &out, &r, &d), &d);
  if (r.exit_code != 0) fprintf(stderr, "%s\n%s\n", command, ts_text_str(&out)), abort();
  ts_text_free(&out);
  ts_map linked;
  must(ts_map_open(path, &linked, &d), &d);
  uint8_t *sealed = ts_arena_alloc(a, linked.n + TS_SEAL_BYTES, 16);
  memcpy(sealed, linked.p, linked.n);
  ts_seal(sealed, linked.n);
  must(ts_file_write(path, sealed, linked.n + TS_SEAL_BYTES, &d), &d);
  ts_map_close(&linked);
  ts_arena_free(a);
}

// Embeddings are one-hot; the head maps k to k + 1.
static float emb(int v, int h) { return v == h ? 1.0f : 0.0f; }
static float head(int v, int h) { return v == h + 1 ? 1.0f : v == h ? -0.5f : 0.0f; }

void tiny_logits(const int32_t *tokens, size_t n, float out[static TINY_V]) {
  float y[TINY_H] = {0};
  for (size_t p = 0; p < n; p++)
    for (int h = 0; h < TINY_H; h++) y[h] = y[h] * 0.5f + emb(tokens[p], h);
  for (int v = 0; v < TINY_V; v++) {
    out[v] = 0;
    for (int h = 0; h < TINY_H; h++) out[v] += y[h] * head(v, h);
  }
}

void tiny_params(const char *dir) {
  ts_arena *a = ts_arena_new("tiny");
  ts_diag d;
  enum { N = TINY_V * TINY_H };
  uint16_t *shard = ts_new_array(a, uint16_t, 2 * N);
  for (int v = 0; v < TINY_V; v++)
    for (int h = 0; h < TINY_H; h++) {
      shard[v * TINY_H + h] = ts_bf16_from_f32(emb(v, h));
      shard[N + v * TINY_H + h] = ts_f16_from_f32(head(v, h));
    }
  must(ts_dir_make(dir, &d), &d);
  must(ts_file_write(ts_path_join(a, dir, "params_shard_0.bin"), shard, 2 * N * 2, &d), &d);
  const char *index = ts_arena_printf(
      a,
      "{\"metadata\": {\"ParamSize\": 2}, \"records\": [{\"dataPath\": \"params_shard_0.bin\", \"format\": \"raw-shard\","
      " \"nbytes\": %d, \"records\": ["
      "{\"name\": \"embed.weight\", \"shape\": [%d, %d], \"dtype\": \"float32\", \"format\": \"f32-to-bf16\", \"nbytes\": %d, \"byteOffset\": 0},"
      "{\"name\": \"head.weight\", \"shape\": [%d, %d], \"dtype\": \"float16\", \"format\": \"f32-to-bf16\", \"nbytes\": %d, \"byteOffset\": %d}],"
      " \"md5sum\": \"00000000000000000000000000000000\"}]}",
      4 * N, TINY_V, TINY_H, 2 * N, TINY_V, TINY_H, 2 * N, 2 * N);
  must(ts_file_write(ts_path_join(a, dir, "ndarray-cache.json"), index, strlen(index), &d), &d);
  ts_arena_free(a);
}

// Ids 0..255 are the bytes, 256 to 260 special tokens.
static void tiny_tokenizer(const char *dir) {
  static const char *const special[] = {"<|a|>", "<|b|>", "<|c|>", "<|d|>", "<|end|>"};
  ts_text t = {0};
  ts_diag d;
  ts_text_add(&t, "{\"added_tokens\":[");
  for (int i = 0; i < 5; i++)
    ts_text_addf(&t, "%s{\"id\":%d,\"content\":\"%s\",\"special\":true}", i ? "," : "", 256 + i, special[i]);
  ts_text_add(&t, "],\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false},\"decoder\":{\"type\":\"ByteLevel\"},"
                  "\"model\":{\"type\":\"BPE\",\"merges\":[],\"vocab\":{");
  for (int b = 0, moved = 0; b < 256; b++) {
    bool own = (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
    ts_text_addf(&t, "%s\"\\u%04x\":%d", b ? "," : "", own ? b : 0x100 + moved, b);
    moved += !own;
  }
  ts_text_add(&t, "}}}");
  ts_arena *a = ts_arena_new("tiny");
  must(ts_file_write(ts_path_join(a, dir, "tokenizer.json"), ts_text_str(&t), t.n, &d), &d);
  ts_arena_free(a);
  ts_text_free(&t);
}

static const char config[] =
    "{\"version\": \"0.1.0\", \"model_type\": \"counting\", \"quantization\": \"q0f16\", \"context_window_size\": 90,"
    " \"temperature\": 0.0, \"top_p\": 0.9, \"eos_token_id\": 260,"
    " \"conv_template\": {\"name\": \"tiny\", \"system_template\": \"{system_message}|\", \"system_message\": \"\","
    " \"roles\": {\"user\": \"U\", \"assistant\": \"A\"}, \"seps\": [\";\"], \"role_content_sep\": \"=\", \"role_empty_sep\": \"=\","
    " \"stop_str\": [\"XYZ\"], \"stop_token_ids\": [260]}}";

void tiny_model(const char *dir) {
  ts_arena *a = ts_arena_new("tiny");
  ts_diag d;
  ts_text plan = {0};
  const char *params = ts_path_join(a, dir, "params");
  tiny_params(params);
  tiny_tokenizer(params);
  must(ts_file_write(ts_path_join(a, params, "mlc-chat-config.json"), config, sizeof config - 1, &d), &d);
  ts_plan_print(&plan, tiny_plan());
  tiny_library(ts_path_join(a, dir, "tiny-cpu.so"), ts_text_str(&plan), "");
  ts_text_free(&plan);
  ts_arena_free(a);
}

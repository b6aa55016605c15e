// safetensors and Hugging Face folders: what is read, and what each kind of lie gets.
#include "model_test.h"

// A file from a JSON header and data bytes.
static size_t make(uint8_t *out, const char *header, size_t data) {
  uint64_t n = strlen(header);
  memcpy(out, &n, 8);
  memcpy(out + 8, header, n);
  for (size_t i = 0; i < data; i++) out[8 + n + i] = (uint8_t)i;
  return 8 + n + data;
}

static bool read_text(const char *header, size_t data, ts__tensors *t, ts_arena *a, ts_diag *d) {
  uint8_t buf[4096];
  size_t n = make(buf, header, data);
  uint8_t *copy = ts_arena_dup(a, buf, n);
  return ts__safetensors_read(a, "f.safetensors", copy, n, t, d);
}

static void good_file(void **state) {
  (void)state;
  ts_arena *a = ts_arena_new("test");
  ts__tensors t = {0};
  ts_diag d = {0};
  must(read_text(
           "{\"__metadata__\":{\"format\":\"pt\"},\"b\":{\"dtype\":\"F16\",\"shape\":[2,3],\"data_offsets\":[4,16]},"
           "\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]},\"e\":{\"dtype\":\"F32\",\"shape\":[0,7],"
           "\"data_offsets\":[16,16]},"
           "\"i\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[16,24]}}   ",
           24, &t, a, &d),
       &d);
  assert_int_equal(t.n, 4);
  assert_string_equal(t.p[0].name, "b");
  assert_int_equal(t.p[0].ndim, 2);
  assert_int_equal(t.p[0].shape[1], 3);
  assert_int_equal(t.p[0].data[0], 4);
  assert_int_equal(t.p[3].type, TS_W__COUNT);
  float row[3];
  ts_tensor_rows(&t.p[0], 1, 1, row);
  assert_true(row[0] == ts_f32_from_f16(0x0b0a));
  ts_arena_free(a);
}

static void lies(void **state) {
  (void)state;
  static const struct {
    const char *header;
    size_t data;
    const char *code, *part;
  } rows[] = {
      {"[]", 0, "bad-json", "not an object"},
      {"{\"a\":", 0, "bad-json", "not valid JSON"},
      {"{\"a\":1}", 0, "bad-safetensors", "'a'"},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_"
       "offsets\":[0,4]}}",
       4, "bad-json", "duplicate"},
      {"{\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "bad-safetensors", "dtype"},
      {"{\"a\":{\"dtype\":\"F12\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "bad-safetensors", "F12"},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", 4, "bad-safetensors", "not a size"},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1.5],\"data_offsets\":[0,4]}}", 4, "bad-safetensors", "not a size"},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1],\"data_offsets\":[0,4]}}", 4, "bad-safetensors", "four"},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904,4],\"data_offsets\":[0,4]}}", 4, "bad-safetensors",
       "overflows"},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4, "bad-safetensors", "size of its shape"},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}", 4, "bad-safetensors", "ends before"},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[-4,0]}}", 4, "bad-safetensors", "ends before"},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", 4, "bad-safetensors", "pair"},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 4, "bad-safetensors", "outside"},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 8, "bad-safetensors", "4 bytes after"},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", 8, "bad-safetensors", "hole"},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_"
       "offsets\":[4,8]}}",
       8, "bad-safetensors", "overlaps"},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[9223372036854775808,4]}}", 4, "bad-json", "too big"},
  };
  for (size_t i = 0; i < TS_COUNTOF(rows); i++) {
    ts_arena *a = ts_arena_new("test");
    ts__tensors t = {0};
    ts_diag d = {0};
    expect_refusal(read_text(rows[i].header, rows[i].data, &t, a, &d), &d, rows[i].code, rows[i].part);
    assert_non_null(strstr(d.message, "f.safetensors"));
    ts_arena_free(a);
  }
}

// Every truncation of a good file is refused.
static void truncations(void **state) {
  (void)state;
  ts_arena *a = ts_arena_new("test");
  uint8_t buf[512];
  size_t n = make(buf, "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8);
  for (size_t k = 0; k < n; k++) {
    uint8_t *copy = malloc(k + 1);
    memcpy(copy, buf, k);
    ts__tensors t = {0};
    ts_diag d = {0};
    assert_false(ts__safetensors_read(a, "f", copy, k, &t, &d));
    assert_int_equal(d.kind, TS_REFUSAL);
    free(copy);
  }
  uint64_t huge = UINT64_MAX;
  memcpy(buf, &huge, 8);
  ts__tensors t = {0};
  ts_diag d = {0};
  expect_refusal(ts__safetensors_read(a, "f", buf, n, &t, &d), &d, "bad-safetensors", "header of");
  ts_arena_free(a);
}

static const char config[] =
    "{\"model_type\":\"llama\",\"hidden_size\":4,\"intermediate_size\":4,\"num_hidden_layers\":1,\"num_attention_"
    "heads\":1,\"vocab_size\":3,"
    "\"tie_word_embeddings\":true}";

static void put_tensor(ts_arena *a, const char *dir, const char *file, const char *name, const char *shape,
                       size_t elems) {
  uint8_t buf[4096];
  size_t n = make(
      buf,
      ts_arena_printf(a, "{\"%s\":{\"dtype\":\"BF16\",\"shape\":%s,\"data_offsets\":[0,%zu]}}", name, shape, 2 * elems),
      2 * elems);
  put(a, dir, file, buf, n);
}

// A folder with an index: shards in order of the weight map, missing tensors and files that leave the folder refused.
static void folders(void **state) {
  (void)state;
  ts_arena *a = ts_arena_new("test");
  char *dir = temp_folder(a);
  ts_source s;
  ts_diag d = {0};
  assert_false(ts_source_open(a, dir, &s, &d));
  assert_non_null(strstr(d.message, "config.json"));
  put(a, dir, "config.json", config, sizeof config - 1);
  expect_refusal(ts_source_open(a, dir, &s, &d), &d, "no-weights", "no .safetensors");
  put_tensor(a, dir, "x-1.safetensors", "model.embed_tokens.weight", "[3,4]", 12);
  put_tensor(a, dir, "x-2.safetensors", "model.norm.weight", "[4]", 4);
  expect_refusal(ts_source_open(a, dir, &s, &d), &d, "no-weights", "several");
  static const char index[] =
      "{\"metadata\":{},\"weight_map\":{\"model.norm.weight\":\"x-2.safetensors\",\"model.embed_tokens.weight\":\"x-1."
      "safetensors\"}}";
  put(a, dir, "model.safetensors.index.json", index, sizeof index - 1);
  must(ts_source_open(a, dir, &s, &d), &d);
  assert_int_equal(s.ntensors, 2);
  assert_string_equal(s.tensors[0].name, "model.norm.weight");
  const ts_model_param *p;
  size_t n;
  must(ts_model_params(a, &s.config, &p, &n, &d), &d);
  expect_refusal(ts_params_check(&s, p, n, &d), &d, "missing-tensor", "model.layers.0");
  ts_source_close(&s);
  static const char *const wrong[][2] = {
      {"{\"weight_map\":{\"a\":\"../x-1.safetensors\"}}", "plain file name"},
      {"{\"weight_map\":{\"a\":7}}", "plain file name"},
      {"{\"weight_map\":{\"a\":\"x-1.safetensors\"}}", "not in x-1"},
      {"{\"weight_map\":[]}", "weight_map"},
  };
  for (size_t i = 0; i < TS_COUNTOF(wrong); i++) {
    put(a, dir, "model.safetensors.index.json", wrong[i][0], strlen(wrong[i][0]));
    expect_refusal(ts_source_open(a, dir, &s, &d), &d, "bad-safetensors", wrong[i][1]);
  }
  remove_folder(dir);
  expect_refusal(ts_source_open(a, dir, &s, &d), &d, "no-such-model", dir);
  ts_arena_free(a);
}

static void configs(void **state) {
  (void)state;
  static const struct {
    const char *text, *code, *part;
  } rows[] = {
      {"{\"model_type\":\"mamba\"}", "unknown-arch", "mamba"},
      {"{}", "missing-field", "model_type"},
      {"{\"model_type\":\"llama\"}", "missing-field", "hidden_size"},
      {"{\"model_type\":\"llama\",\"hidden_size\":\"4\"}", "bad-field", "hidden_size"},
      {"{\"model_type\":\"llama\",\"hidden_size\":-4}", "bad-field", "hidden_size"},
      {"{\"model_type\":\"llama\",\"hidden_size\":99999999999}", "bad-field", "outside"},
      {"{\"model_type\":\"llama\",\"hidden_act\":\"gelu\"}", "unsupported-config", "gelu"},
      {"{\"model_type\":\"llama\",\"attention_bias\":true}", "unsupported-config", "attention_bias"},
      {"{\"model_type\":\"llama\",\"attention_bias\":1}", "bad-field", "attention_bias"},
      {"{\"model_type\":\"llama\",\"quantization_config\":{}}", "unsupported-config", "quantized"},
      {"{\"model_type\":\"llama\",\"hidden_size\":10,\"intermediate_size\":4,\"num_hidden_layers\":1,\"num_attention_"
       "heads\":3,\"vocab_size\":3}",
       "bad-config", "multiple"},
      {"{\"model_type\":\"llama\",\"hidden_size\":12,\"intermediate_size\":4,\"num_hidden_layers\":1,\"num_attention_"
       "heads\":4,\"vocab_size\":3}",
       "bad-config", "odd"},
      {"{\"model_type\":\"llama\",\"hidden_size\":12,\"intermediate_size\":4,\"num_hidden_layers\":1,\"num_attention_"
       "heads\":3,\"num_key_value_heads\":2,\"vocab_size\":3}",
       "bad-config", "heads"},
      {"{\"model_type\":\"llama\",\"hidden_size\":4,\"intermediate_size\":4,\"num_hidden_layers\":1,\"num_attention_"
       "heads\":1,\"vocab_size\":3,\"rope_scaling\":{\"type\":\"yarn\",\"factor\":2.0}}",
       "unsupported-config", "yarn"},
      {"{\"model_type\":\"llama\",\"hidden_size\":4,\"intermediate_size\":4,\"num_hidden_layers\":1,\"num_attention_"
       "heads\":1,\"vocab_size\":3,\"rope_scaling\":{\"type\":\"linear\"}}",
       "missing-field", "factor"},
      {"{\"model_type\":\"llama\",\"hidden_size\":4,\"intermediate_size\":4,\"num_hidden_layers\":1,\"num_attention_"
       "heads\":1,\"vocab_size\":3,\"rope_scaling\":7}",
       "bad-field", "rope_scaling"},
      {"{\"model_type\":\"llama\",\"hidden_size\":4,\"intermediate_size\":4,\"num_hidden_layers\":1,\"num_attention_"
       "heads\":1,\"vocab_size\":3,\"eos_token_id\":\"</s>\"}",
       "bad-field", "eos_token_id"},
      {"{\"model_type\":\"llama\",\"hidden_size\":4,\"intermediate_size\":4,\"num_hidden_layers\":1,\"num_attention_"
       "heads\":1,\"vocab_size\":3,\"rms_norm_eps\":-1}",
       "bad-config", "epsilon"},
  };
  for (size_t i = 0; i < TS_COUNTOF(rows); i++) {
    ts_model_config c;
    ts_diag d = {0};
    expect_refusal(ts_config_parse("c.json", rows[i].text, strlen(rows[i].text), &c, &d), &d, rows[i].code,
                   rows[i].part);
    assert_non_null(strstr(d.message, "c.json"));
  }
  static const char llama3[] =
      "{\"model_type\":\"llama\",\"hidden_size\":64,\"intermediate_size\":4,\"num_hidden_layers\":1,\"num_attention_"
      "heads\":4,\"num_key_value_heads\":2,"
      "\"vocab_size\":3,\"rope_theta\":500000.0,\"eos_token_id\":[1,2],\"bos_token_id\":0,\"rope_scaling\":{\"rope_"
      "type\":\"llama3\",\"factor\":8.0,"
      "\"low_freq_factor\":1.0,\"high_freq_factor\":4.0,\"original_max_position_embeddings\":8192}}";
  ts_model_config c;
  ts_diag d = {0};
  must(ts_config_parse("c", llama3, sizeof llama3 - 1, &c, &d), &d);
  assert_int_equal(c.scaling, TS_SCALING_LLAMA3);
  assert_true(c.scale_factor == 8 && c.rope_theta == 500000);
  assert_int_equal(c.head_dim, 16);
  assert_int_equal(c.neos, 2);
  assert_int_equal(c.eos[1], 2);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(good_file), cmocka_unit_test(lies), cmocka_unit_test(truncations),
                                     cmocka_unit_test(folders), cmocka_unit_test(configs)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}

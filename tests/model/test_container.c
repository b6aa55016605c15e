// The parameter container: shard rule, index text, reading back.
#include "model_test.h"
#include "runtime/runtime.h"

enum { SCALE = 1024 };  // the worked example, a thousandth of its size

static const struct {
  const char *name;
  int64_t bytes;
  int shard;
  int64_t offset;
} example[] = {
    {"embed.q_weight", 65536000, 0, 0},     {"embed.q_scale", 8192000, 1, 0},
    {"qkv.q_weight", 25165824, 1, 8192000}, {"qkv.q_scale", 3145728, 4, 0},
    {"o.q_weight", 8388608, 4, 3145728},    {"o.q_scale", 1048576, 4, 11534336},
    {"gate_up.q_weight", 45088768, 2, 0},   {"gate_up.q_scale", 5636096, 4, 12582912},
    {"down.q_weight", 22544384, 3, 0},      {"down.q_scale", 2818048, 4, 18219008},
    {"norm1", 8192, 4, 21037056},           {"norm2", 8192, 4, 21045248},
};

static uint8_t byte_of(size_t tensor, int64_t i) { return (uint8_t)(tensor * 31 + (size_t)i); }

static void shard_rule(void **state) {
  (void)state;
  ts_arena *a = ts_arena_new("test");
  char *dir = temp_folder(a);
  ts_diag d = {0};
  ts_shard_writer *w = ts_shard_writer_new(dir, TS_SHARD_CAP / SCALE);
  for (size_t t = 0; t < TS_COUNTOF(example); t++) {
    int64_t n = example[t].bytes / SCALE;
    uint8_t *data = ts_arena_alloc(a, (size_t)n, 1);
    for (int64_t i = 0; i < n; i++) data[i] = byte_of(t, i);
    ts_stored s = {.name = example[t].name, .type = TS_U32, .ndim = 2, .shape = {n / 4, 1}, .bytes = n};
    must(ts_shard_put(w, &s, data, &d), &d);
  }
  must(ts_shard_close(w, 1000, &d), &d);
  ts_shard_writer_free(w);
  const ts_index *x = ts_index_open(a, dir, &d);
  must(x != NULL, &d);
  assert_int_equal(x->nshards, 5);
  assert_int_equal(x->shards[0].bytes, 65536000 / SCALE);
  assert_int_equal(x->shards[1].bytes, 33357824 / SCALE);
  assert_int_equal(x->shards[4].bytes, 21053440 / SCALE);
  for (size_t t = 0; t < TS_COUNTOF(example); t++) {
    const ts_index_tensor *i = ts_index_find(x, example[t].name);
    assert_non_null(i);
    assert_int_equal(i->shard, example[t].shard);
    assert_int_equal(i->offset, example[t].offset / SCALE);
    uint8_t *back = ts_arena_alloc(a, (size_t)i->bytes, 4);
    must(ts_index_read(x, i, TS_DT_U32, back, &d), &d);
    for (int64_t k = 0; k < i->bytes; k++) assert_int_equal(back[k], byte_of(t, k));
  }
  remove_folder(dir);
  ts_arena_free(a);
}

static void index_text(void **state) {
  (void)state;
  ts_arena *a = ts_arena_new("test");
  char *dir = temp_folder(a), *text;
  ts_diag d = {0};
  ts_shard_writer *w = ts_shard_writer_new(dir, 1024);
  must(ts_shard_put(w, &(ts_stored){.name = "x.q_weight", .type = TS_U32, .ndim = 2, .shape = {1, 2}, .bytes = 8},
                    "abcdefgh", &d),
       &d);
  must(ts_shard_put(w, &(ts_stored){.name = "n.weight", .type = TS_F16, .ndim = 1, .shape = {3}, .bytes = 6}, "ijklmn",
                    &d),
       &d);
  must(ts_shard_close(w, 25, &d), &d);
  ts_shard_writer_free(w);
  size_t n;
  must(ts_file_read(ts_path_join(a, dir, "ndarray-cache.json"), a, &text, &n, &d), &d);
  assert_string_equal(text,
                      "{\n    \"metadata\": {\n        \"ParamSize\": 2,\n        \"ParamBytes\": 14.0,\n        "
                      "\"BitsPerParam\": 4.48\n    },\n"
                      "    \"records\": [\n        {\n            \"dataPath\": \"params_shard_0.bin\",\n            "
                      "\"format\": \"raw-shard\",\n"
                      "            \"nbytes\": 14,\n            \"records\": [\n                {\n                    "
                      "\"name\": \"x.q_weight\",\n"
                      "                    \"shape\": [\n                        1,\n                        2\n       "
                      "             ],\n"
                      "                    \"dtype\": \"uint32\",\n                    \"format\": \"f32-to-bf16\",\n"
                      "                    \"nbytes\": 8,\n                    \"byteOffset\": 0\n                },\n "
                      "               {\n"
                      "                    \"name\": \"n.weight\",\n                    \"shape\": [\n                 "
                      "       3\n                    ],\n"
                      "                    \"dtype\": \"float16\",\n                    \"format\": \"f32-to-bf16\",\n "
                      "                   \"nbytes\": 6,\n"
                      "                    \"byteOffset\": 8\n                }\n            ],\n"
                      "            \"md5sum\": \"0845a5972cd9ad4a46bad66f1253581f\"\n        }\n    ]\n}");
  remove_folder(dir);
  ts_arena_free(a);
}

static void checksums(void **state) {
  (void)state;
  static const char *const rows[][2] = {
      {"", "d41d8cd98f00b204e9800998ecf8427e"},
      {"abc", "900150983cd24fb0d6963f7d28e17f72"},
      {"12345678901234567890123456789012345678901234567890123456", "49f193adce178490e34d1b3a4ec0064c"},
      {"1234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890",
       "49cb3608e2b33fad6b65df8cb8f49668"},
  };
  ts_arena *a = ts_arena_new("test");
  for (size_t i = 0; i < TS_COUNTOF(rows); i++) {
    uint8_t sum[16];
    ts__md5(rows[i][0], strlen(rows[i][0]), sum);
    assert_string_equal(ts_hex(a, sum, 16), rows[i][1]);
  }
  ts_arena_free(a);
}

// A full disk or a folder that is gone: an environment failure, and no index.
static void failing_writes(void **state) {
  (void)state;
  ts_arena *a = ts_arena_new("test");
  char *dir = temp_folder(a);
  ts_diag d = {0};
  remove_folder(dir);
  ts_shard_writer *w = ts_shard_writer_new(dir, 1024);
  must(ts_shard_put(w, &(ts_stored){.name = "n", .type = TS_F16, .ndim = 1, .shape = {3}, .bytes = 6}, "ijklmn", &d),
       &d);
  assert_false(ts_shard_close(w, 3, &d));
  assert_int_equal(d.kind, TS_ENVIRONMENT);
  assert_non_null(strstr(d.message, dir));
  ts_shard_writer_free(w);
  ts_arena_free(a);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(shard_rule), cmocka_unit_test(index_text),
                                     cmocka_unit_test(checksums), cmocka_unit_test(failing_writes)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}

// A cache in pages: plans, tables, sessions that share a pool.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "runtime/runtime_impl.h"
#include "tiny.h"

enum { POOL = 20, SESSIONS = 3 };
static ts_arena *arena;
static const char *library, *params;

static void must(bool ok, const ts_diag *d) {
  if (!ok) fail_msg("%s [%s]", d->message, d->code);
}

static int setup(void **state) {
  (void)state;
  ts_plan p = tiny_paged_plan(POOL);
  arena = ts_arena_new("test");
  library = ts_path_join(arena, tiny_dir(), "pages-cpu.so");
  params = ts_path_join(arena, tiny_dir(), "params");
  tiny_params(params);
  tiny_library(library, tiny_plan_text(arena, &p), "");
  return 0;
}

static int teardown(void **state) {
  (void)state;
  ts_arena_free(arena);
  return 0;
}

// --- plans ---------------------------------------------------------------------------------------------------------------
static void plans(void **state) {
  (void)state;
  static const char *const changes[][2] = {
      {"\"page\": 8, ", ""},
      {"\"pages\": 20, ", ""},
      {"\"page\": 8, \"pages\": 20, ", ""},  // the table would be read
      {"\"page\": 8", "\"page\": 7"},
      {"\"page\": 8", "\"page\": 0"},
      {"\"page\": 8", "\"page\": 4"},  // not twelve pages for a sequence but 24
      {"\"pages\": 20", "\"pages\": 11"},
      {"\"pages\": 20", "\"pages\": 19"},
      {"\"pages\": 20", "\"pages\": -1"},
      {"\"pages\"]", "\"pages 0\"]"},
      {"\"pages\"]", "\"page\"]"},
  };
  ts_plan p = tiny_paged_plan(POOL);
  ts_diag d = {0};
  const char *text = tiny_plan_text(arena, &p);
  const ts_plan *q = ts_plan_parse(arena, "pages", text, strlen(text), &d);
  must(q != NULL, &d);
  assert_string_equal(tiny_plan_text(arena, q), text);
  assert_int_equal(q->page, TINY_PAGE);
  assert_int_equal(q->pages, POOL);
  assert_true(ts_plan_position_bytes(q) == ts_plan_position_bytes(tiny_plan()));
  for (size_t i = 0; i < TS_COUNTOF(changes); i++) {
    ts_text t = {0};
    if (!tiny_changed(text, changes[i], &t)) fail_msg("not in the plan: %s", changes[i][0]);
    if (ts_plan_parse(arena, "tiny.plan", ts_text_str(&t), t.n, &d)) fail_msg("accepted: %s for %s", changes[i][1], changes[i][0]);
    assert_int_equal(d.kind, TS_REFUSAL);
    ts_text_free(&t);
  }
}

// --- sessions ------------------------------------------------------------------------------------------------------------
typedef struct rig {
  ts_library *lib;
  ts_pool *pool;
  ts_weights *weights;
  ts_cache *cache;
  ts_session *s[SESSIONS];
} rig;

static rig rig_open(void) {
  ts_diag d = {0};
  rig r = {0};
  must((r.lib = ts_library_open(library, &d)), &d);
  const ts_index *x = ts_index_open(arena, params, &d);
  must(x != NULL, &d);
  must((r.pool = ts_pool_new(1, &d)), &d);
  must((r.weights = ts_weights_load(r.lib, x, NULL, r.pool, &d)), &d);
  must((r.cache = ts_cache_new(r.lib, r.weights, &d)), &d);
  for (int i = 0; i < SESSIONS; i++) must((r.s[i] = ts_session_new_in(r.lib, r.weights, r.pool, r.cache, &d)), &d);
  return r;
}

static void rig_close(rig *r) {
  for (int i = 0; i < SESSIONS; i++) ts_session_free(r->s[i]);
  assert_int_equal(ts_cache_unused(r->cache), POOL);
  ts_cache_free(r->cache);
  ts_weights_free(r->weights);
  ts_pool_free(r->pool);
  ts_library_close(r->lib);
}

static int64_t pages_of(const ts_session *s) { return (ts_session_length(s) + TINY_PAGE - 1) / TINY_PAGE; }

static void right(const ts_session *s, const int32_t *tokens) {
  float want[TINY_V];
  tiny_logits(tokens, (size_t)ts_session_length(s), want);
  for (int v = 0; v < TINY_V; v++) assert_true(fabsf(want[v] - ts_session_logits(s)[v]) < 1e-5f);
}

// Sessions in turns, each with a text of its own: logits are right whatever the others do, pages are those of the lengths, and where there are
// too few nothing happens.
static void interleaved(void **state) {
  (void)state;
  rig r = rig_open();
  ts_rng rng = ts_rng_new(3, 9);
  int32_t text[SESSIONS][TINY_P];
  int full = 0;
  for (int i = 0; i < SESSIONS; i++)
    for (int k = 0; k < TINY_P; k++) text[i][k] = (int32_t)ts_rng_below(&rng, TINY_V);
  for (int round = 0; round < 400; round++) {
    int i = (int)ts_rng_below(&rng, SESSIONS);
    ts_session *s = r.s[i];
    ts_diag d = {0};
    int64_t length = ts_session_length(s), n = 1 + (int64_t)ts_rng_below(&rng, round % 3 ? 5 : 60);
    if (ts_rng_below(&rng, 8) == 0 || length == TINY_P) {
      ts_session_truncate(s, ts_rng_below(&rng, (uint32_t)length + 1));
    } else {
      int64_t room = TS_MIN(pages_of(s) + ts_cache_unused(r.cache), TINY_P / TINY_PAGE) * TINY_PAGE - length;
      n = TS_MIN(n, TINY_P - length);
      bool ok = ts_session_feed(s, text[i] + length, (size_t)n, &d);
      assert_int_equal(ok, n <= room);
      if (ok) right(s, text[i]);
      else assert_string_equal(d.code, "cache-full");
      assert_int_equal(ts_session_length(s), length + (ok ? n : 0));
      full += !ok;
    }
    int64_t used = 0;
    for (int k = 0; k < SESSIONS; k++) used += pages_of(r.s[k]);
    assert_int_equal(ts_cache_unused(r.cache), POOL - used);
  }
  assert_true(full > 3);
  rig_close(&r);
}

// Memory that the pool takes of the machine.
static size_t resident(const ts_cache *c) {
  enum { MOST = 4096 };
  unsigned char there[MOST];
  size_t unit = (size_t)sysconf(_SC_PAGESIZE), n = (c->bytes + unit - 1) / unit, sum = 0;
  assert_true(n <= MOST && mincore(c->host.p, c->bytes, there) == 0);
  for (size_t i = 0; i < n; i++) sum += there[i] & 1 ? unit : 0;
  return sum;
}

// A short conversation takes little memory, whatever is allowed; one after the other takes the same.
static void short_conversations(void **state) {
  (void)state;
  rig r = rig_open();
  ts_diag d = {0};
  const int32_t tokens[TINY_PAGE] = {1, 2, 3};
  const size_t page = r.cache->bytes / POOL;  // K and V
  assert_int_equal(resident(r.cache), 0);
  for (int i = 0; i < 10; i++) {
    must(ts_session_feed(r.s[i % SESSIONS], tokens, TINY_PAGE, &d), &d);
    ts_session_truncate(r.s[i % SESSIONS], 0);
    assert_true(resident(r.cache) > 0 && resident(r.cache) <= page + 4 * 4096);
  }
  rig_close(&r);
}

static void full(void **state) {
  (void)state;
  rig r = rig_open();
  ts_diag d = {0};
  int32_t tokens[TINY_P];
  for (int i = 0; i < TINY_P; i++) tokens[i] = i * 7 % TINY_V;
  must(ts_session_feed(r.s[0], tokens, 1, &d), &d);
  ts_session_truncate(r.s[0], 0);
  size_t empty = ts_session_bytes(r.s[0]);
  must(ts_session_feed(r.s[0], tokens, TINY_P, &d), &d);  // 12 pages of 20
  assert_int_equal(ts_session_bytes(r.s[0]) - empty, TINY_P * (size_t)ts_plan_position_bytes(ts_library_plan(r.lib)));
  assert_int_equal(ts_cache_unused(r.cache), 8);
  assert_false(ts_session_feed(r.s[1], tokens, 65, &d));
  assert_string_equal(d.code, "cache-full");
  assert_string_equal(d.message, "65 positions need 9 pages more, and 8 of the cache's 20 pages of 8 positions are unused");
  assert_int_equal(ts_session_length(r.s[1]), 0);
  must(ts_session_feed(r.s[1], tokens, 64, &d), &d);
  right(r.s[1], tokens);
  assert_int_equal(ts_cache_unused(r.cache), 0);
  assert_false(ts_session_feed(r.s[1], tokens, 1, &d));
  assert_string_equal(d.code, "cache-full");
  // Fewer tokens, fewer pages; they serve others.
  ts_session_truncate(r.s[0], 17);
  assert_int_equal(ts_cache_unused(r.cache), 9);
  must(ts_session_feed(r.s[2], tokens + 3, 70, &d), &d);
  right(r.s[2], tokens + 3);
  must(ts_session_feed(r.s[0], tokens + 17, 7, &d), &d);  // what its last page has room for
  right(r.s[0], tokens);
  assert_false(ts_session_feed(r.s[0], tokens + 24, 1, &d));
  ts_session_free(r.s[1]);
  r.s[1] = NULL;
  must(ts_session_feed(r.s[0], tokens + 24, 1, &d), &d);
  right(r.s[0], tokens);
  rig_close(&r);
}

// Sessions adopt beginnings of each other, go on, forget and adopt again: each says what its own text says, and every page is counted once.
static void adopted(void **state) {
  (void)state;
  rig r = rig_open();
  ts_rng rng = ts_rng_new(8, 2);
  int32_t text[SESSIONS][TINY_P];
  int shared = 0, refused = 0, copied = 0;
  for (int round = 0; round < 800; round++) {
    int i = (int)ts_rng_below(&rng, SESSIONS), k = (int)ts_rng_below(&rng, SESSIONS);
    ts_session *s = r.s[i];
    ts_diag d = {0};
    if (ts_rng_below(&rng, 5) == 0) {
      int64_t n = ts_rng_below(&rng, (uint32_t)ts_session_length(r.s[k]) + 1), before = ts_cache_unused(r.cache);
      must(ts_session_adopt(s, r.s[k], n, &d), &d);
      if (i != k) memcpy(text[i], text[k], sizeof text[i]);
      assert_int_equal(ts_session_length(s), n);
      assert_memory_equal(ts_session_tokens(s), text[i], sizeof(int32_t) * (size_t)n);
      assert_true(ts_cache_unused(r.cache) >= before);  // nothing is taken
    } else if (ts_rng_below(&rng, 9) == 0) {
      ts_session_truncate(s, ts_rng_below(&rng, (uint32_t)ts_session_length(s) + 1));
    } else {
      int64_t length = ts_session_length(s), before = ts_cache_unused(r.cache), n = 1 + ts_rng_below(&rng, 20);
      n = TS_MIN(n, TINY_P - length);
      for (int64_t j = 0; j < n; j++) text[i][length + j] = (int32_t)ts_rng_below(&rng, TINY_V);
      if (n == 0) continue;
      bool ok = ts_session_feed(s, text[i] + length, (size_t)n, &d);
      refused += !ok;
      if (ok) copied += before - ts_cache_unused(r.cache) > (length + n + TINY_PAGE - 1) / TINY_PAGE - (length + TINY_PAGE - 1) / TINY_PAGE;
      if (ok) right(s, text[i]);
      else assert_string_equal(d.code, "cache-full");
    }
    // What a session has is still what it says: its last token again.
    ts_session *other = r.s[k];
    int64_t length = ts_session_length(other);
    if (length && ts_cache_unused(r.cache)) {
      ts_session_truncate(other, length - 1);
      must(ts_session_feed(other, text[k] + length - 1, 1, &d), &d);
      right(other, text[k]);
    }
    int64_t used = 0;
    for (int q = 0; q < SESSIONS; q++) used += pages_of(r.s[q]);
    assert_true(POOL - ts_cache_unused(r.cache) <= used);
    shared += POOL - ts_cache_unused(r.cache) < used;
  }
  if (shared <= 100 || refused <= 3 || copied <= 20) fail_msg("%d rounds with shared pages, %d refused, %d copies", shared, refused, copied);
  for (int i = 0; i < SESSIONS; i++) ts_session_truncate(r.s[i], 0);
  assert_int_equal(ts_cache_unused(r.cache), POOL);
  // Where there is no common cache the tokens are computed.
  ts_diag d = {0};
  ts_session *alone = ts_session_new(r.lib, r.weights, r.pool, &d);
  must(alone != NULL, &d);
  must(ts_session_feed(r.s[0], text[0], 30, &d) && ts_session_adopt(alone, r.s[0], 21, &d), &d);
  right(alone, text[0]);
  assert_false(ts_session_adopt(alone, r.s[0], 31, &d));
  assert_int_equal(ts_session_length(alone), 21);
  ts_session_free(alone);
  rig_close(&r);
}

// A session without a cache of others has one of its own; an engine's sessions share one.
static void owners(void **state) {
  (void)state;
  rig r = rig_open();
  ts_diag d = {0};
  ts_session *alone = ts_session_new(r.lib, r.weights, r.pool, &d);
  must(alone != NULL, &d);
  int32_t tokens[50] = {1, 2, 3};
  must(ts_session_feed(alone, tokens, 50, &d), &d);
  assert_int_equal(ts_cache_unused(r.cache), POOL);
  ts_session_free(alone);
  rig_close(&r);
  tiny_model(tiny_dir());
  ts_engine *e = ts_engine_open(tiny_dir(), &(ts_engine_opts){.threads = 1, .library = library}, &d);
  must(e != NULL, &d);
  assert_null(ts_engine_cache(e));
  ts_session *one = ts_engine_session(e, &d), *two = ts_engine_session(e, &d);
  must(one && two, &d);
  must(ts_session_feed(one, tokens, 50, &d) && ts_session_feed(two, tokens, 9, &d), &d);
  assert_int_equal(ts_cache_unused(ts_engine_cache(e)), POOL - 7 - 2);
  ts_session_free(one);
  ts_session_free(two);
  assert_int_equal(ts_cache_unused(ts_engine_cache(e)), POOL);
  ts_engine_close(e);
  e = ts_engine_open(tiny_dir(), &(ts_engine_opts){.threads = 1, .library = ts_path_join(arena, tiny_dir(), "tiny-cpu.so")}, &d);
  must(e != NULL, &d);
  one = ts_engine_session(e, &d);
  must(one != NULL, &d);
  assert_null(ts_engine_cache(e));
  ts_session_free(one);
  ts_engine_close(e);
}

// A token that cannot be chosen for lack of a page takes nothing from the session: with room it is that of the whole text.
static void full_when_choosing(void **state) {
  (void)state;
  rig r = rig_open();
  ts_diag d = {0};
  int32_t tokens[TINY_P];
  const ts_sampler greedy = {.temperature = 0, .top_p = 1, .repetition_penalty = 1};
  for (int i = 0; i < TINY_P; i++) tokens[i] = i * 7 % TINY_V;
  must(ts_session_feed(r.s[0], tokens, 57, &d), &d);  // the last page has one position
  int32_t want = ts_session_sample(r.s[0], &greedy, &d);
  must(ts_session_adopt(r.s[1], r.s[0], 57, &d), &d);
  must(ts_session_feed(r.s[2], tokens, TINY_P, &d), &d);
  assert_int_equal(ts_cache_unused(r.cache), 0);
  for (int i = 0; i < 3; i++) {
    d = (ts_diag){0};
    assert_int_equal(ts_session_sample(r.s[1], &greedy, &d), -1);
    assert_string_equal(d.code, "cache-full");
    assert_int_equal(ts_session_length(r.s[1]), 57);
  }
  ts_session_truncate(r.s[2], 3);
  assert_int_equal(ts_session_sample(r.s[1], &greedy, &d), want);
  assert_int_equal(ts_session_length(r.s[1]), 57);
  right(r.s[1], tokens);
  rig_close(&r);
}

// A session without finite logits leaves nothing of it behind: its pages are cleared before others have them.
static void spoiled(void **state) {
  (void)state;
  rig r = rig_open();
  ts_diag d = {0};
  int32_t tokens[TINY_P];
  const ts_sampler greedy = {.temperature = 0, .top_p = 1, .repetition_penalty = 1};
  const float *all = (const float *)(const void *)r.cache->host.p;
  for (int i = 0; i < TINY_P; i++) tokens[i] = i * 7 % TINY_V;
  must(ts_session_feed(r.s[0], tokens, 30, &d), &d);
  for (size_t i = 0; i < r.cache->bytes / sizeof *all; i++)
    if (all[i] != 0) ((float *)(void *)r.cache->host.p)[i] = NAN;
  must(ts_session_feed(r.s[0], tokens, 1, &d), &d);
  assert_int_equal(ts_session_sample(r.s[0], &greedy, &d), -1);
  assert_string_equal(d.code, "no-finite-logit");
  must(ts_session_adopt(r.s[1], r.s[0], 20, &d), &d);
  ts_session_truncate(r.s[0], 0);
  ts_session_truncate(r.s[1], 0);
  for (size_t i = 0; i < r.cache->bytes / sizeof *all; i++) assert_true(all[i] == 0);
  must(ts_session_feed(r.s[0], tokens, 30, &d), &d);
  right(r.s[0], tokens);
  ts_session_truncate(r.s[0], 0);
  bool kept = false;  // nothing is cleared in vain
  for (size_t i = 0; i < r.cache->bytes / sizeof *all; i++) kept |= all[i] != 0;
  assert_true(kept);
  rig_close(&r);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(plans), cmocka_unit_test(interleaved), cmocka_unit_test(short_conversations), cmocka_unit_test(full), cmocka_unit_test(full_when_choosing), cmocka_unit_test(spoiled), cmocka_unit_test(adopted), cmocka_unit_test(owners)};
  return cmocka_run_group_tests(tests, setup, teardown);
}

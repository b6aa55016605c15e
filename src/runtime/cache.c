// A cache in pages: the pool that the sequences of an engine share, and the table that says which pages a sequence has.
//
// A page holds the keys and values of plan->page positions, in every layer. K of all layers comes first, then V; page i is at the same place
// in each. Sessions take a page when they reach its first position, and give it back when they forget it: one page is never in two tables.
#include <stdlib.h>

#include "runtime/runtime_impl.h"

static size_t up256(size_t n) { return (n + 255) & ~(size_t)255; }

size_t ts__cache_layer_bytes(const ts_plan *p) { return up256((size_t)p->kv_bytes); }

// Small pages of memory: what no sequence has touched takes none.
static bool map_all(ts_cache *c, const ts_weights *w, ts_diag *d) {
  c->bytes = ts__cache_layer_bytes(c->plan) * (size_t)c->plan->layers * 2;
  return c->plan->api == TS_API_CUDA ? ts__cache_map_cuda(c, w, d) : ts__pages_map(&c->host, c->bytes, false, "KV cache", d);
}

ts_cache *ts_cache_new(const ts_library *l, const ts_weights *w, ts_diag *d) {
  const ts_plan *p = ts_library_plan(l);
  if (!p->page) {
    (void)ts_refuse(d, "no-pages", "%s: built for caches of their own, not for pages", ts_library_path(l));
    return NULL;
  }
  ts_cache *c = calloc(1, sizeof *c);
  if (c) *c = (ts_cache){.plan = p, .unused = malloc(sizeof *c->unused * (size_t)p->pages)};
  if (!c || !c->unused) {
    (void)ts_env_fail(d, "out-of-memory", "no memory for a list of %lld pages", (long long)p->pages);
  } else if (map_all(c, w, d)) {
    for (int64_t i = p->pages - 1; i >= 0; i--) c->unused[c->nunused++] = (int32_t)i;  // the lowest is taken first
    return c;
  }
  ts_cache_free(c);
  return NULL;
}

void ts_cache_free(ts_cache *c) {
  if (!c) return;
  if (c->gpu) ts__cache_unmap_cuda(c);
  ts_pages_unmap(&c->host);
  free(c->unused);
  free(c);
}

int64_t ts_cache_unused(const ts_cache *c) { return c->nunused; }

// --- tables --------------------------------------------------------------------------------------------------------------
bool ts__table_open(ts__table *t, ts_cache *c, ts_diag *d) {
  int64_t most = c->plan->max_seq / c->plan->page;
  *t = (ts__table){.cache = c, .page = calloc((size_t)most, sizeof *t->page)};
  return t->page || ts_env_fail(d, "out-of-memory", "no memory for a table of %lld pages", (long long)most);
}

void ts__table_close(ts__table *t) {
  if (t->cache) ts__table_shrink(t, 0);
  free(t->page);
  *t = (ts__table){0};
}

static int64_t pages_for(const ts__table *t, int64_t positions) { return (positions + t->cache->plan->page - 1) / t->cache->plan->page; }

int64_t ts__table_reach(const ts__table *t) {
  const ts_plan *p = t->cache->plan;
  return TS_MIN((t->n + t->cache->nunused) * p->page, p->max_seq);
}

bool ts__table_grow(ts__table *t, int64_t positions, ts_diag *d) {
  ts_cache *c = t->cache;
  int64_t want = pages_for(t, positions);
  if (want - t->n > c->nunused) {
    (void)ts_refuse(d, "cache-full", "%lld positions need %lld pages more, and %lld of the cache's %lld pages of %lld positions are unused", (long long)positions,
                    (long long)(want - t->n), (long long)c->nunused, (long long)c->plan->pages, (long long)c->plan->page);
    ts_hint(d, "close or reset other sessions, or build the model with more pages (--kv-cache paged:PAGE:POSITIONS)");
    return false;
  }
  while (t->n < want) t->page[t->n++] = c->unused[--c->nunused];
  return true;
}

void ts__table_shrink(ts__table *t, int64_t positions) {
  int64_t keep = pages_for(t, positions);
  while (t->n > keep) t->cache->unused[t->cache->nunused++] = t->page[--t->n];
  t->sent = TS_MIN(t->sent, t->n);
}

size_t ts__table_bytes(const ts__table *t) {
  const ts_plan *p = t->cache->plan;
  return (size_t)(t->n * (p->kv_bytes / p->pages) * 2 * p->layers);
}

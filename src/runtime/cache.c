// A cache in pages: the pool that the sequences of an engine share, and the table that says which pages a sequence has.
//
// A page holds the keys and values of plan->page positions, in every layer. K of all layers comes first, then V; page i is at the same place
// in each. Sessions take a page when they reach its first position, and give it back when they forget it. Sessions that begin alike may have the
// beginning's pages in common: who writes to such a page first takes a copy. What a page held before is finite: kernels may read, and not count, positions of
// it that the sequence has not come to.
#include <stdlib.h>

#include "runtime/runtime_impl.h"

size_t ts__cache_layer_bytes(const ts_plan *p) {
  size_t step = ts__cache_step(p);
  return ((size_t)p->kv_bytes + step - 1) / step * step;
}

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
  if (c) *c = (ts_cache){.plan = p, .unused = malloc(sizeof *c->unused * (size_t)p->pages), .users = calloc((size_t)p->pages, sizeof *c->users)};
  if (!c || !c->unused || !c->users) {
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
  free(c->users);
  free(c);
}

int64_t ts_cache_unused(const ts_cache *c) { return c->nunused; }

static int32_t take(ts_cache *c) {
  int32_t page = c->unused[--c->nunused];
  c->users[page] = 1;
  return page;
}

// A device that cannot clear a page is lost, and all sessions with it.
static void clear(ts_cache *c, int32_t page) {
  size_t layer = ts__cache_layer_bytes(c->plan), n = (size_t)(c->plan->kv_bytes / c->plan->pages);
  if (c->gpu) (void)!ts__cache_clear_cuda(c, page, NULL);
  for (int64_t l = 0; l < 2 * c->plan->layers && !c->gpu; l++) memset(c->host.p + (size_t)l * layer + (size_t)page * n, 0, n);
}

static void leave(const ts__table *t, int32_t page) {
  ts_cache *c = t->cache;
  if (--c->users[page]) return;
  if (t->spoiled) clear(c, page);
  c->unused[c->nunused++] = page;
}

static bool copy(ts_cache *c, int32_t from, int32_t to, ts_diag *d) {
  size_t layer = ts__cache_layer_bytes(c->plan), n = (size_t)(c->plan->kv_bytes / c->plan->pages);
  if (c->gpu) return ts__cache_copy_cuda(c, from, to, d);
  for (int64_t l = 0; l < 2 * c->plan->layers; l++) memcpy(c->host.p + (size_t)l * layer + (size_t)to * n, c->host.p + (size_t)l * layer + (size_t)from * n, n);
  return true;
}

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

// Whether writing at a position wants a copy of its page first.
static bool wants_copy(const ts__table *t, int64_t position) {
  int64_t i = position / t->cache->plan->page;
  return i < t->n && t->cache->users[t->page[i]] > 1;
}

int64_t ts__table_reach(const ts__table *t, int64_t from) {
  const ts_plan *p = t->cache->plan;
  bool one = wants_copy(t, from);
  if (one && !t->cache->nunused) return from;
  return TS_MIN((t->n + t->cache->nunused - one) * p->page, p->max_seq);
}

// Page i becomes the table's own.
static bool own(ts__table *t, int64_t i, ts_diag *d) {
  ts_cache *c = t->cache;
  int32_t page = take(c);
  if (!copy(c, t->page[i], page, d)) return leave(t, page), false;
  leave(t, t->page[i]);
  t->page[i] = page;
  t->sent = TS_MIN(t->sent, i);
  return true;
}

// Memory for the pages that are taken next.
static bool back_next(ts_cache *c, int64_t n, ts_diag *d) {
  int32_t last = -1;
  for (int64_t i = 1; i <= n; i++) last = TS_MAX(last, c->unused[c->nunused - i]);
  return !c->gpu || ts__cache_back_cuda(c, last + 1, d);
}

bool ts__table_grow(ts__table *t, int64_t from, int64_t to, ts_diag *d) {
  ts_cache *c = t->cache;
  bool shared = wants_copy(t, from);
  int64_t want = TS_MAX(pages_for(t, to), t->n), more = want - t->n + shared;
  if (more > c->nunused) {
    (void)ts_refuse(d, "cache-full", "%lld positions need %lld pages more, and %lld of the cache's %lld pages of %lld positions are unused", (long long)to,
                    (long long)more, (long long)c->nunused, (long long)c->plan->pages, (long long)c->plan->page);
    ts_hint(d, "close or reset other sessions, or build the model with more pages (--kv-cache paged:PAGE:POSITIONS)");
    return false;
  }
  TS_TRY(back_next(c, more, d));
  if (shared) TS_TRY(own(t, from / c->plan->page, d));
  while (t->n < want) t->page[t->n++] = take(c);
  return true;
}

void ts__table_share(ts__table *t, const ts__table *from, int64_t positions) {
  ts__table_shrink(t, 0);
  t->spoiled = from->spoiled;
  for (int64_t n = pages_for(t, positions); t->n < n; t->n++) {
    t->page[t->n] = from->page[t->n];
    t->cache->users[t->page[t->n]]++;
  }
}

void ts__table_shrink(ts__table *t, int64_t positions) {
  int64_t keep = pages_for(t, positions);
  while (t->n > keep) leave(t, t->page[--t->n]);
  t->sent = TS_MIN(t->sent, t->n);
  t->spoiled = t->spoiled && t->n;
}

size_t ts__table_bytes(const ts__table *t) {
  const ts_plan *p = t->cache->plan;
  return (size_t)(t->n * (p->kv_bytes / p->pages) * 2 * p->layers);
}

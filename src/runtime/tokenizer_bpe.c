// BPE of one word: repeatedly merge the adjacent pair of lowest rank, leftmost on ties.
#include <stdlib.h>

#include "runtime/tokenizer_impl.h"

enum { MAX_WORD = 1 << 28 };

static bool reserve(ts__bpe *b, size_t n, ts_diag *d) {
  if (n <= b->cap) return true;
  size_t cap = n * 2;
  void *sym = n < MAX_WORD ? realloc(b->sym, cap * sizeof *b->sym) : NULL;
  if (sym) b->sym = sym;
  void *heap = sym ? realloc(b->heap, 3 * cap * sizeof *b->heap) : NULL;
  if (heap) b->heap = heap;
  if (!heap) return ts_env_fail(d, "out-of-memory", "no memory to encode a word of %zu bytes", n);
  b->cap = cap;
  return true;
}

void ts__bpe_free(ts__bpe *b) {
  free(b->sym);
  free(b->heap);
  *b = (ts__bpe){0};
}

static bool before(const struct ts__pair *a, const struct ts__pair *b) {
  return a->rank != b->rank ? a->rank < b->rank : a->pos < b->pos;
}

static void heap_push(ts__bpe *b, struct ts__pair v) {
  size_t i = b->nheap++;
  for (; i > 0 && before(&v, &b->heap[(i - 1) / 2]); i = (i - 1) / 2) b->heap[i] = b->heap[(i - 1) / 2];
  b->heap[i] = v;
}

static struct ts__pair heap_pop(ts__bpe *b) {
  struct ts__pair top = b->heap[0], v = b->heap[--b->nheap];
  size_t i = 0;
  for (size_t c; (c = 2 * i + 1) < b->nheap; i = c) {
    if (c + 1 < b->nheap && before(&b->heap[c + 1], &b->heap[c])) c++;
    if (!before(&b->heap[c], &v)) break;
    b->heap[i] = b->heap[c];
  }
  b->heap[i] = v;
  return top;
}

// Queue the pair that begins at pos, when it can merge. Every merge queues at most two pairs and removes one symbol, so the
// heap never holds more than 3 n of them.
static void consider(const ts_tokenizer *t, ts__bpe *b, int32_t pos) {
  if (pos < 0 || b->sym[pos].next < 0) return;
  const ts__merge *m = ts__mergemap_get(&t->merges, b->sym[pos].id, b->sym[b->sym[pos].next].id);
  if (m) heap_push(b, (struct ts__pair){m->rank, pos, m->id});
}

static void merge_all(const ts_tokenizer *t, ts__bpe *b, size_t n) {
  b->nheap = 0;
  for (size_t i = 0; i + 1 < n; i++) consider(t, b, (int32_t)i);
  while (b->nheap) {
    struct ts__pair p = heap_pop(b);
    struct ts__symbol *s = &b->sym[p.pos];
    if (s->id < 0 || s->next < 0) continue;
    const ts__merge *m = ts__mergemap_get(&t->merges, s->id, b->sym[s->next].id);
    if (!m || m->id != p.id) continue;
    int32_t gone = s->next;
    s->id = p.id;
    s->next = b->sym[gone].next;
    b->sym[gone].id = -1;
    if (s->next >= 0) b->sym[s->next].prev = p.pos;
    consider(t, b, s->prev);
    consider(t, b, p.pos);
  }
}

static size_t add_symbol(ts__bpe *b, size_t n, int32_t id) {
  b->sym[n] = (struct ts__symbol){id, (int32_t)n - 1, (int32_t)n + 1};
  return n + 1;
}

static size_t symbols_of_bytes(const ts_tokenizer *t, ts__bpe *b, ts__str w) {
  size_t n = 0;
  for (size_t i = 0; i < w.n; i++) {
    int32_t id = t->byte_id[(uint8_t)w.p[i]];
    if (id < 0) id = t->unk;
    if (id >= 0) n = add_symbol(b, n, id);
  }
  return n;
}

static bool bytes_there(const ts_tokenizer *t, const char *p, int len) {
  for (int i = 0; i < len; i++)
    if (t->byte_id[(uint8_t)p[i]] < 0) return false;
  return t->byte_fallback;
}

// Characters in the vocabulary are symbols; others become their bytes, or the unknown token (one for a run when fused).
static size_t symbols_of_chars(const ts_tokenizer *t, ts__bpe *b, ts__str w) {
  size_t n = 0;
  bool after_unk = false;
  for (size_t i = 0; i < w.n;) {
    uint32_t cp;
    int len = ts__utf8((const uint8_t *)w.p + i, w.n - i, &cp);
    if (len == 0) len = 1;
    int32_t id = ts__strmap_get(&t->words, w.p + i, (size_t)len);
    bool bytes = id < 0 && bytes_there(t, w.p + i, len), unknown = id < 0 && !bytes;
    if (id >= 0) n = add_symbol(b, n, id);
    for (int k = 0; bytes && k < len; k++) n = add_symbol(b, n, t->byte_id[(uint8_t)w.p[i + (size_t)k]]);
    if (unknown && t->unk >= 0 && !(after_unk && t->fuse_unk)) n = add_symbol(b, n, t->unk);
    after_unk = unknown;
    i += (size_t)len;
  }
  return n;
}

bool ts__bpe_word(const ts_tokenizer *t, ts__bpe *b, ts__str w, ts_tokens *out, ts_diag *d) {
  if (w.n == 0) return true;
  int32_t whole = t->ignore_merges ? ts__strmap_get(&t->words, w.p, w.n) : -1;
  if (whole >= 0) {
    ts_tokens_add(out, whole);
    return true;
  }
  TS_TRY(reserve(b, w.n, d));
  size_t n = t->byte_level ? symbols_of_bytes(t, b, w) : symbols_of_chars(t, b, w);
  if (n == 0) return true;
  b->sym[n - 1].next = -1;
  merge_all(t, b, n);
  for (int32_t i = 0; i >= 0; i = b->sym[i].next) ts_tokens_add(out, b->sym[i].id);
  return true;
}

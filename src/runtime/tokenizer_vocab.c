// Tables of a tokenizer: pieces, bytes, merges, added tokens.
#include <stdlib.h>

#include "runtime/tokenizer_impl.h"

static size_t table_size(size_t expected) {
  size_t cap = 16;
  while (cap < expected * 2) cap *= 2;
  return cap;
}

void ts__strmap_init(ts__strmap *m, ts_arena *a, size_t expected) {
  m->cap = table_size(expected);
  m->n = 0;
  m->slot = ts_new_array(a, struct ts__strslot, m->cap);
  for (size_t i = 0; i < m->cap; i++) m->slot[i].id = -1;
}

static struct ts__strslot *slot_of(const ts__strmap *m, const char *p, size_t n) {
  size_t i = ts_hash64(p, n, 0) & (m->cap - 1);
  while (m->slot[i].id >= 0 && !(m->slot[i].key.n == n && !memcmp(m->slot[i].key.p, p, n))) i = (i + 1) & (m->cap - 1);
  return &m->slot[i];
}

bool ts__strmap_put(ts__strmap *m, ts__str key, int32_t id) {
  struct ts__strslot *s = slot_of(m, key.p, key.n);
  if (s->id >= 0 || 2 * m->n >= m->cap) return false;
  *s = (struct ts__strslot){key, id};
  m->n++;
  return true;
}

int32_t ts__strmap_get(const ts__strmap *m, const char *p, size_t n) { return slot_of(m, p, n)->id; }

void ts__mergemap_init(ts__mergemap *m, ts_arena *a, size_t expected) {
  m->cap = table_size(expected);
  m->slot = ts_new_array(a, ts__merge, m->cap);
  for (size_t i = 0; i < m->cap; i++) m->slot[i].key = UINT64_MAX;
}

static uint64_t pair_key(int32_t l, int32_t r) { return (uint64_t)(uint32_t)l << 32 | (uint32_t)r; }

static ts__merge *merge_slot(const ts__mergemap *m, uint64_t key) {
  size_t i = ts_hash_mix(0, key) & (m->cap - 1);
  while (m->slot[i].key != UINT64_MAX && m->slot[i].key != key) i = (i + 1) & (m->cap - 1);
  return &m->slot[i];
}

void ts__mergemap_put(ts__mergemap *m, int32_t l, int32_t r, uint32_t rank, int32_t id) {
  ts__merge *s = merge_slot(m, pair_key(l, r));
  if (s->key == UINT64_MAX) *s = (ts__merge){pair_key(l, r), rank, id};
}

const ts__merge *ts__mergemap_get(const ts__mergemap *m, int32_t l, int32_t r) {
  const ts__merge *s = merge_slot(m, pair_key(l, r));
  return s->key == UINT64_MAX ? NULL : s;
}

// --- characters --------------------------------------------------------------------------------------------

int ts__utf8(const uint8_t *p, size_t n, uint32_t *cp) {
  static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
  if (n == 0) return 0;
  if (p[0] < 0x80) return *cp = p[0], 1;
  int len = p[0] >= 0xF0 && p[0] < 0xF5 ? 4 : p[0] >= 0xE0 && p[0] < 0xF0 ? 3 : p[0] >= 0xC2 && p[0] < 0xE0 ? 2 : 0;
  if (len == 0 || (size_t)len > n) return 0;
  uint32_t c = p[0] & (0x7Fu >> len);
  for (int i = 1; i < len; i++) {
    if ((p[i] & 0xC0) != 0x80) return 0;
    c = c << 6 | (p[i] & 0x3Fu);
  }
  if (c < least[len] || c > 0x10FFFF || (c >= 0xD800 && c < 0xE000)) return 0;
  *cp = c;
  return len;
}

int ts__utf8_put(uint32_t c, char out[4]) {
  if (c < 0x80) return out[0] = (char)c, 1;
  int len = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
  for (int i = len - 1; i > 0; i--, c >>= 6) out[i] = (char)(0x80 | (c & 0x3F));
  out[0] = (char)(0xF00u >> len | c);
  return len;
}

static bool own_char(int b) { return (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE; }

uint32_t ts__byte_char(uint8_t b) {
  if (own_char(b)) return b;
  uint32_t rank = 0;
  for (int i = 0; i < b; i++) rank += !own_char(i);
  return 0x100 + rank;
}

// The byte of each character below U+0144, -1 for those outside the alphabet.
static const int16_t *char_bytes(void) {
  static _Thread_local int16_t table[0x144];
  static _Thread_local bool made;
  if (made) return table;
  for (size_t i = 0; i < TS_COUNTOF(table); i++) table[i] = -1;
  for (int b = 0; b < 256; b++) table[ts__byte_char((uint8_t)b)] = (int16_t)b;
  made = true;
  return table;
}

bool ts__from_byte_level(const char *s, size_t n, char *out, size_t *outn) {
  const int16_t *bytes = char_bytes();
  size_t k = 0;
  for (size_t i = 0; i < n;) {
    uint32_t c;
    int len = ts__utf8((const uint8_t *)s + i, n - i, &c);
    if (len == 0 || c >= 0x144 || bytes[c] < 0) return false;
    out[k++] = (char)bytes[c];
    i += (size_t)len;
  }
  *outn = k;
  return true;
}

// --- building ------------------------------------------------------------------------------------------------

bool ts__tok_reserve(ts_tokenizer *t, size_t ids, size_t names, ts_diag *d) {
  if (ids > TS__MAX_ID || names > TS__MAX_ID)
    return ts_refuse(d, "tokenizer-invalid", "%s: more than %d tokens", t->file, (int)TS__MAX_ID);
  t->size = ids;
  t->pieces = ts_new_array(t->arena, const char *, ids + 1);
  t->raw = ts_new_array(t->arena, ts__str, ids + 1);
  t->special = ts_new_array(t->arena, uint8_t, ids + 1);
  ts__strmap_init(&t->names, t->arena, names);
  return true;
}

bool ts__tok_put_piece(ts_tokenizer *t, const char *piece, int64_t id, ts_diag *d) {
  if (id < 0 || (size_t)id >= t->size) return ts_refuse(d, "tokenizer-invalid", "%s: token id %lld is out of range", t->file, (long long)id);
  ts__str key = {piece, strlen(piece)};
  int32_t had = ts__strmap_get(&t->names, key.p, key.n);
  if (had == id) return true;
  if (had >= 0 || t->pieces[id])
    return ts_refuse(d, "tokenizer-invalid", "%s: token id %lld is used twice, or '%.40s' has two ids", t->file, (long long)id, piece);
  t->pieces[id] = piece;
  (void)ts__strmap_put(&t->names, key, (int32_t)id);
  return true;
}

bool ts__tok_put_merge(ts_tokenizer *t, ts__str left, ts__str right, uint32_t rank, ts_diag *d) {
  char small[512], *both = small;
  size_t n = left.n + right.n;
  int32_t l = ts__strmap_get(&t->names, left.p, left.n), r = ts__strmap_get(&t->names, right.p, right.n);
  if (n > sizeof small) both = ts_arena_alloc(t->arena, n, 1);
  memcpy(both, left.p, left.n);
  memcpy(both + left.n, right.p, right.n);
  int32_t id = ts__strmap_get(&t->names, both, n);
  if (l < 0 || r < 0 || id < 0)
    return ts_refuse(d, "tokenizer-invalid", "%s: merge %u, '%.40s' with '%.40s': a piece is not in the vocabulary", t->file, rank,
                     ts_arena_strndup(t->arena, left.p, left.n), ts_arena_strndup(t->arena, right.p, right.n));
  ts__mergemap_put(&t->merges, l, r, rank, id);
  return true;
}

static int by_first_byte(const void *a, const void *b) {
  const ts__added *x = a, *y = b;
  int c = (int)(uint8_t)x->text.p[0] - (int)(uint8_t)y->text.p[0];
  if (c) return c;
  if (x->text.n != y->text.n) return x->text.n < y->text.n ? 1 : -1;
  return memcmp(x->text.p, y->text.p, x->text.n);
}

static void make_set(ts_tokenizer *t, ts__addedset *s, const ts__added *v, size_t n, bool normalized) {
  s->v = ts_new_array(t->arena, ts__added, n + 1);
  for (size_t i = 0; i < n; i++)
    if (v[i].normalized == normalized && v[i].text.n) s->v[s->n++] = v[i];
  if (s->n) qsort(s->v, s->n, sizeof *s->v, by_first_byte);
  size_t k = 0;
  for (int b = 0; b <= 256; b++) {
    while (k < s->n && (uint8_t)s->v[k].text.p[0] < b) k++;
    s->first[b] = (uint32_t)k;
  }
}

void ts__tok_put_added(ts_tokenizer *t, const ts__added *v, size_t n) {
  for (size_t i = 0; i < n; i++)
    if (v[i].special) t->special[v[i].id] = 1;
  make_set(t, &t->added, v, n, false);
  make_set(t, &t->added_normalized, v, n, true);
}

// "<0x1F>" -> 31; -1 for other pieces.
static int fallback_byte(const char *piece) {
  static const char digits[] = "0123456789ABCDEF";
  if (strlen(piece) != 6 || strncmp(piece, "<0x", 3) != 0 || piece[5] != '>') return -1;
  const char *hi = strchr(digits, piece[3]), *lo = strchr(digits, piece[4]);
  return hi && lo && *hi && *lo ? (int)((hi - digits) * 16 + (lo - digits)) : -1;
}

// What a piece stands for in the text.
static ts__str raw_of(ts_tokenizer *t, const char *piece) {
  size_t n = strlen(piece), k = 0;
  if (t->byte_level) {
    char *out = ts_arena_alloc(t->arena, n + 1, 1);
    if (ts__from_byte_level(piece, n, out, &k)) return (ts__str){out, k};
  }
  int byte = t->byte_fallback ? fallback_byte(piece) : -1;
  if (byte >= 0) {
    char *out = ts_arena_alloc(t->arena, 1, 1);
    *out = (char)byte;
    return (ts__str){out, 1};
  }
  return (ts__str){piece, n};
}

bool ts__tok_finish(ts_tokenizer *t, ts_diag *d) {
  char one[4];
  ts__strmap_init(&t->words, t->arena, t->size);
  for (size_t id = 0; id < t->size; id++) {
    if (!t->pieces[id]) continue;
    t->raw[id] = raw_of(t, t->pieces[id]);
    // A fallback byte is no word: its piece is found by byte_id only.
    if (t->byte_fallback && fallback_byte(t->pieces[id]) >= 0) continue;
    (void)ts__strmap_put(&t->words, t->raw[id], (int32_t)id);
  }
  for (int b = 0; b < 256; b++) {
    char name[8];
    size_t n = (size_t)(t->byte_level ? ts__utf8_put(ts__byte_char((uint8_t)b), one) : snprintf(name, sizeof name, "<0x%02X>", (unsigned)b));
    t->byte_id[b] = t->byte_level || t->byte_fallback ? ts__strmap_get(&t->names, t->byte_level ? one : name, n) : -1;
  }
  if (t->size == 0) return ts_refuse(d, "tokenizer-invalid", "%s: the vocabulary is empty", t->file);
  return true;
}

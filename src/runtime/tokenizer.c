// Encoding text: added tokens, normalization, words, BPE.
#include "runtime/tokenizer_impl.h"

#include <stdlib.h>

void ts_tokens_add(ts_tokens *t, int32_t id) {
  if (t->n == t->cap) {
    t->cap = t->cap ? t->cap * 2 : 64;
    t->p = realloc(t->p, t->cap * sizeof *t->p);
    if (!t->p) {
      fprintf(stderr, "error: out of memory\n");
      exit(70);
    }
  }
  t->p[t->n++] = id;
}

void ts_tokens_free(ts_tokens *t) {
  free(t->p);
  *t = (ts_tokens){0};
}

void ts_tokenizer_free(ts_tokenizer *t) {
  if (!t) return;
  for (int i = 0; i < t->npre; i++) pcre2_code_free(t->pre[i].re);
  for (int i = 0; i < t->nnorm; i++) pcre2_code_free(t->norm[i].re);
  pcre2_code_free(t->word_char);
  ts_arena_free(t->arena);
}

size_t ts_tokenizer_size(const ts_tokenizer *t) { return t->size; }

const char *ts_tokenizer_piece(const ts_tokenizer *t, int32_t id) {
  return id >= 0 && (size_t)id < t->size ? t->pieces[id] : NULL;
}

int32_t ts_tokenizer_find(const ts_tokenizer *t, const char *piece) { return ts__strmap_get(&t->names, piece, strlen(piece)); }

bool ts_tokenizer_is_special(const ts_tokenizer *t, int32_t id) {
  return id >= 0 && (size_t)id < t->size && t->special[id];
}

typedef struct encoder {
  const ts_tokenizer *t;
  ts_arena *a;
  ts__bpe bpe;
  ts_tokens *out;
  bool first;  // nothing was encoded before this piece of text
  ts_diag *d;
} encoder;

static bool white(uint32_t c) {
  return (c >= 9 && c <= 13) || c == 32 || c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) ||
         c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

// Start of the character that ends before p[at].
static size_t char_before(ts__str s, size_t at) {
  do at--;
  while (at > 0 && ((uint8_t)s.p[at] & 0xC0) == 0x80);
  return at;
}

static size_t skip_white(ts__str s, size_t at) {
  uint32_t c;
  for (int n; at < s.n && (n = ts__utf8((const uint8_t *)s.p + at, s.n - at, &c)) > 0 && white(c);) at += (size_t)n;
  return at;
}

static size_t skip_white_back(ts__str s, size_t at, size_t least) {
  uint32_t c;
  while (at > least) {
    size_t k = char_before(s, at);
    if (k < least || !ts__utf8((const uint8_t *)s.p + k, s.n - k, &c) || !white(c)) break;
    at = k;
  }
  return at;
}

static bool word_char_at(const ts_tokenizer *t, ts__str s, size_t at) {
  pcre2_match_data *m = pcre2_match_data_create(1, NULL);
  bool is = m && pcre2_match(t->word_char, (PCRE2_SPTR)s.p, s.n, at, PCRE2_ANCHORED | PCRE2_NO_UTF_CHECK, m, NULL) > 0;
  pcre2_match_data_free(m);
  return is;
}

static bool at_word_bounds(const ts_tokenizer *t, ts__str s, size_t begin, size_t end) {
  return !(begin > 0 && word_char_at(t, s, char_before(s, begin))) && !(end < s.n && word_char_at(t, s, end));
}

// The longest added token at s[at]; NULL when none begins there.
static const ts__added *added_at(const ts__addedset *set, ts__str s, size_t at) {
  uint8_t b = (uint8_t)s.p[at];
  for (uint32_t i = set->first[b]; i < set->first[b + 1]; i++)
    if (set->v[i].text.n <= s.n - at && !memcmp(s.p + at, set->v[i].text.p, set->v[i].text.n)) return &set->v[i];
  return NULL;
}

typedef bool (*rest_fn)(encoder *e, ts__str s);

static bool rest_of(encoder *e, ts__str s, rest_fn rest) {
  if (s.n == 0) return true;
  TS_TRY(rest(e, s));
  e->first = false;
  return true;
}

// Cut the added tokens of a set out of s and hand the rest on.
static bool cut_added(encoder *e, const ts__addedset *set, ts__str s, rest_fn rest) {
  size_t done = 0, at = 0;
  while (set->n && at < s.n) {
    const ts__added *v = added_at(set, s, at);
    if (!v) {
      at++;
      continue;
    }
    size_t begin = at, end = at + v->text.n;
    at = end;
    if (v->single_word && !at_word_bounds(e->t, s, begin, end)) continue;
    if (v->lstrip) begin = skip_white_back(s, begin, done);
    if (v->rstrip) at = end = skip_white(s, end);
    TS_TRY(rest_of(e, (ts__str){s.p + done, begin - done}, rest));
    ts_tokens_add(e->out, v->id);
    e->first = false;
    done = end;
  }
  return rest_of(e, (ts__str){s.p + done, s.n - done}, rest);
}

static bool words(encoder *e, ts__str s) {
  ts__strs v;
  TS_TRY(ts__pretokenize(e->t, e->a, s, e->first, &v, e->d));
  for (size_t i = 0; i < v.n; i++) TS_TRY(ts__bpe_word(e->t, &e->bpe, v.p[i], e->out, e->d));
  return true;
}

static bool normalized(encoder *e, ts__str s) {
  ts__str n;
  TS_TRY(ts__normalize(e->t, e->a, s, &n, e->d));
  return cut_added(e, &e->t->added_normalized, n, words);
}

// The text itself when it is UTF-8, else a copy with U+FFFD for each wrong byte.
static ts__str clean(ts_arena *a, const char *p, size_t n) {
  size_t i = 0, k = 0;
  uint32_t c;
  for (int len; i < n && (len = ts__utf8((const uint8_t *)p + i, n - i, &c)) > 0;) i += (size_t)len;
  if (i == n) return (ts__str){p, n};
  char *out = ts_arena_alloc(a, n * 3, 1);
  for (i = 0; i < n;) {
    int len = ts__utf8((const uint8_t *)p + i, n - i, &c);
    k += (size_t)ts__utf8_put(len ? c : 0xFFFD, out + k);
    i += len ? (size_t)len : 1;
  }
  return (ts__str){out, k};
}

bool ts_tokenizer_encode(const ts_tokenizer *t, const char *text, size_t n, bool add_special, ts_tokens *out, ts_diag *d) {
  size_t had = out->n;
  encoder e = {.t = t, .a = ts_arena_new("encode"), .out = out, .first = true, .d = d};
  for (int i = 0; add_special && i < t->nprefix; i++) ts_tokens_add(out, t->prefix[i]);
  bool ok = cut_added(&e, &t->added, clean(e.a, text, n), normalized);
  for (int i = 0; ok && add_special && i < t->nsuffix; i++) ts_tokens_add(out, t->suffix[i]);
  if (!ok) out->n = had;
  ts__bpe_free(&e.bpe);
  ts_arena_free(e.a);
  return ok;
}

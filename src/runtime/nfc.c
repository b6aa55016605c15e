// Canonical composition of text (Unicode NFC).
#include <stdlib.h>

#include "runtime/tokenizer_impl.h"

static const struct klass {
  uint32_t first, last;
  uint8_t k;
} classes[] = {
#define NFC_CLASS(first, last, k) {first, last, k},
#define NFC_PAIR(c, a, b, composes)
#include "runtime/nfc.def"
#undef NFC_CLASS
#undef NFC_PAIR
};
static const struct pair {  // in order of c
  uint32_t c, a, b;
  bool composes;
} pairs[] = {
#define NFC_CLASS(first, last, k)
#define NFC_PAIR(c, a, b, composes) {c, a, b, composes},
#include "runtime/nfc.def"
#undef NFC_CLASS
#undef NFC_PAIR
};

enum { S = 0xAC00, L = 0x1100, V = 0x1161, T = 0x11A7, NL = 19, NV = 21, NT = 28 };  // Hangul syllables are computed

static int class_of(uint32_t c) {
  size_t lo = 0, hi = TS_COUNTOF(classes);
  while (lo < hi) {
    size_t mid = (lo + hi) / 2;
    if (c > classes[mid].last)
      lo = mid + 1;
    else
      hi = mid;
  }
  return lo < TS_COUNTOF(classes) && c >= classes[lo].first ? classes[lo].k : 0;
}

static const struct pair *pair_of(uint32_t c) {
  size_t lo = 0, hi = TS_COUNTOF(pairs);
  while (lo < hi) {
    size_t mid = (lo + hi) / 2;
    if (c > pairs[mid].c)
      lo = mid + 1;
    else
      hi = mid;
  }
  return lo < TS_COUNTOF(pairs) && pairs[lo].c == c ? &pairs[lo] : NULL;
}

// The pairs that compose, by (a, b).
static int by_parts(const void *x, const void *y) {
  const struct pair *p = *(const struct pair *const *)x, *q = *(const struct pair *const *)y;
  if (p->a != q->a) return p->a < q->a ? -1 : 1;
  return (p->b > q->b) - (p->b < q->b);
}

typedef struct composer {
  const struct pair *by[TS_COUNTOF(pairs)];
  size_t n;
} composer;

static const composer *composer_get(void) {
  static _Thread_local composer c;
  if (c.n) return &c;
  for (size_t i = 0; i < TS_COUNTOF(pairs); i++)
    if (pairs[i].composes) c.by[c.n++] = &pairs[i];
  qsort(c.by, c.n, sizeof c.by[0], by_parts);
  return &c;
}

// The character that a and b compose to, or 0.
static uint32_t compose(const composer *c, uint32_t a, uint32_t b) {
  if (a >= L && a < L + NL && b >= V && b < V + NV) return S + ((a - L) * NV + (b - V)) * NT;
  if (a >= S && a < S + NL * NV * NT && (a - S) % NT == 0 && b > T && b < T + NT) return a + (b - T);
  const struct pair key = {0, a, b, true}, *k = &key;
  const struct pair *const *hit = bsearch(&k, c->by, c->n, sizeof c->by[0], by_parts);
  return hit ? (*hit)->c : 0;
}

typedef TS_VEC(uint32_t) chars;

static void decompose(ts_arena *a, chars *v, uint32_t c) {
  if (c >= S && c < S + NL * NV * NT) {
    uint32_t i = c - S;
    ts_vec_push(a, v, L + i / (NV * NT));
    ts_vec_push(a, v, V + i % (NV * NT) / NT);
    if (i % NT) ts_vec_push(a, v, T + i % NT);
    return;
  }
  const struct pair *p = pair_of(c);
  if (!p) {
    ts_vec_push(a, v, c);
    return;
  }
  decompose(a, v, p->a);
  if (p->b) decompose(a, v, p->b);
}

typedef struct mark {
  uint32_t c, at;
  int k;
} mark;

static int by_class(const void *x, const void *y) {
  const mark *p = x, *q = y;
  return p->k != q->k ? (p->k > q->k) - (p->k < q->k) : (p->at > q->at) - (p->at < q->at);
}

// Runs of combining characters in order of class, stable.
static void reorder(ts_arena *a, chars *v) {
  mark *m = ts_new_array(a, mark, v->n);
  for (size_t i = 0; i < v->n;) {
    size_t n = 0;
    for (int k; i + n < v->n && (k = class_of(v->p[i + n])) > 0; n++) m[n] = (mark){v->p[i + n], (uint32_t)n, k};
    if (n > 1) qsort(m, n, sizeof *m, by_class);
    for (size_t j = 0; j < n; j++) v->p[i + j] = m[j].c;
    i += n ? n : 1;
  }
}

static void recompose(chars *v) {
  const composer *c = composer_get();
  size_t out = 0, starter = SIZE_MAX;
  int last = 0;  // class of the last character kept after the starter
  for (size_t i = 0; i < v->n; i++) {
    int k = class_of(v->p[i]);
    bool blocked = starter == SIZE_MAX || (out > starter + 1 && (last >= k || last == 0));
    uint32_t joined = blocked ? 0 : compose(c, v->p[starter], v->p[i]);
    if (joined) {
      v->p[starter] = joined;
      continue;
    }
    if (k == 0) starter = out;
    last = k;
    v->p[out++] = v->p[i];
  }
  v->n = out;
}

ts__str ts__nfc(ts_arena *a, ts__str in) {
  size_t ascii = 0;
  while (ascii < in.n && (uint8_t)in.p[ascii] < 0x80) ascii++;
  if (ascii == in.n) return in;
  chars v = {0};
  for (size_t i = 0; i < in.n;) {
    uint32_t c;
    int len = ts__utf8((const uint8_t *)in.p + i, in.n - i, &c);
    decompose(a, &v, len ? c : 0xFFFD);
    i += len ? (size_t)len : 1;
  }
  reorder(a, &v);
  recompose(&v);
  char *out = ts_arena_alloc(a, v.n * 4 + 1, 1);
  size_t n = 0;
  for (size_t i = 0; i < v.n; i++) n += (size_t)ts__utf8_put(v.p[i], out + n);
  return (ts__str){out, n};
}

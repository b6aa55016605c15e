// A growable string.
#include <math.h>
#include <stdlib.h>

#include "base/base.h"

static void reserve(ts_text *t, size_t more) {
  if (t->n + more + 1 <= t->cap) return;
  size_t cap = TS_MAX(t->cap * 2, t->n + more + 64);
  char *p = t->arena ? ts_arena_alloc(t->arena, cap, 1) : realloc(t->p, cap);
  if (t->arena && t->n) memcpy(p, t->p, t->n);
  if (!p) {
    fprintf(stderr, "tunesmith: out of memory: text of %zu bytes\n", cap);
    exit(70);
  }
  t->p = p;
  t->cap = cap;
}

void ts_text_addn(ts_text *t, const char *s, size_t n) {
  reserve(t, n);
  if (n) memcpy(t->p + t->n, s, n);
  t->n += n;
  t->p[t->n] = 0;
}

void ts_text_add(ts_text *t, const char *s) { ts_text_addn(t, s, strlen(s)); }

void ts_text_vaddf(ts_text *t, const char *fmt, va_list ap) {
  va_list again;
  va_copy(again, ap);
  int n = vsnprintf(NULL, 0, fmt, ap);
  reserve(t, (size_t)n);
  vsnprintf(t->p + t->n, (size_t)n + 1, fmt, again);
  va_end(again);
  t->n += (size_t)n;
}

void ts_text_addf(ts_text *t, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  ts_text_vaddf(t, fmt, ap);
  va_end(ap);
}

void ts_text_indent(ts_text *t, int level) {
  for (int i = 0; i < level; i++) ts_text_addn(t, "  ", 2);
}

void ts_text_free(ts_text *t) {
  if (!t->arena) free(t->p);
  *t = (ts_text){0};
}

const char *ts_text_str(const ts_text *t) { return t->p ? t->p : ""; }

void ts_text_add_double(ts_text *t, double v) {
  if (isnan(v)) return ts_text_add(t, "nan");
  if (isinf(v)) return ts_text_add(t, v < 0 ? "-inf" : "inf");
  char s[40];
  for (int digits = 1; digits <= 17; digits++) {
    snprintf(s, sizeof s, "%.*g", digits, v);
    if (strtod(s, NULL) == v) break;
  }
  ts_text_add(t, s);
  if (!strpbrk(s, ".e")) ts_text_add(t, ".0");
}

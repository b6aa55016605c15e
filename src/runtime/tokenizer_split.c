// Normalization and splitting into words, with PCRE2.
#include "runtime/tokenizer_impl.h"

enum { MAX_PATTERN = 1 << 16, MATCH_LIMIT = 10000000, JIT_STACK = 1 << 20 };

pcre2_code *ts__regex(const char *file, const char *pattern, size_t n, bool literal, ts_diag *d) {
  int error = 0;
  PCRE2_SIZE at = 0;
  PCRE2_UCHAR words[160];
  uint32_t options = PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C;
  if (n > MAX_PATTERN) {
    (void)ts_refuse(d, "tokenizer-regex", "%s: a regular expression of %zu bytes", file, n);
    return NULL;
  }
  if (literal) options = PCRE2_UTF | PCRE2_LITERAL;
  pcre2_code *re = pcre2_compile((PCRE2_SPTR)pattern, n, options, &error, &at, NULL);
  if (!re) {
    pcre2_get_error_message(error, words, sizeof words);
    (void)ts_refuse(d, "tokenizer-regex", "%s: regular expression '%.100s': %s at %zu", file, pattern, (const char *)words, at);
    return NULL;
  }
  (void)pcre2_jit_compile(re, PCRE2_JIT_COMPLETE);  // without it matching is slower, not different
  return re;
}

typedef struct matcher {
  const char *file;
  pcre2_match_data *data;
  pcre2_match_context *context;
  pcre2_jit_stack *stack;
} matcher;

static bool matcher_open(matcher *m, const char *file, ts_diag *d) {
  *m = (matcher){file, pcre2_match_data_create(1, NULL), pcre2_match_context_create(NULL),
                 pcre2_jit_stack_create(1 << 15, JIT_STACK, NULL)};
  if (!m->data || !m->context || !m->stack) return ts_env_fail(d, "out-of-memory", "%s: no memory to split text", file);
  pcre2_set_match_limit(m->context, MATCH_LIMIT);
  pcre2_jit_stack_assign(m->context, NULL, m->stack);
  return true;
}

static void matcher_close(matcher *m) {
  pcre2_match_data_free(m->data);
  pcre2_match_context_free(m->context);
  pcre2_jit_stack_free(m->stack);
}

// The next match that is not empty at or after `from`: 1 with its bounds, 0 none, -1 failure.
static int find(const matcher *m, const pcre2_code *re, ts__str s, size_t from, size_t *begin, size_t *end, ts_diag *d) {
  while (from <= s.n) {
    int r = pcre2_match(re, (PCRE2_SPTR)s.p, s.n, from, PCRE2_NO_UTF_CHECK, m->data, m->context);
    if (r == PCRE2_ERROR_NOMATCH) return 0;
    if (r < 0) {
      (void)ts_refuse(d, "tokenizer-regex", "%s: a regular expression gave up on %zu bytes of text (code %d)", m->file, s.n, r);
      return -1;
    }
    const PCRE2_SIZE *v = pcre2_get_ovector_pointer(m->data);
    *begin = v[0];
    *end = v[1];
    if (v[1] > v[0]) return 1;
    uint32_t cp;
    int len = ts__utf8((const uint8_t *)s.p + v[0], s.n - v[0], &cp);
    from = v[0] + (size_t)(len ? len : 1);
  }
  return 0;
}

// --- splitting --------------------------------------------------------------------------------------------

typedef struct cutter {  // joins pieces as the behavior of a split says
  ts_arena *a;
  ts__strs *out;
  ts__behavior behavior;
  const char *base;
  size_t begin, end;  // the piece being joined
  bool open, open_match;
} cutter;

static void cut_flush(cutter *c) {
  if (c->open && c->end > c->begin) ts_vec_push(c->a, c->out, ((ts__str){c->base + c->begin, c->end - c->begin}));
  c->open = false;
}

static void cut_open(cutter *c, size_t begin, size_t end, bool match) {
  cut_flush(c);
  c->begin = begin;
  c->end = end;
  c->open = true;
  c->open_match = match;
}

// One stretch of text, a match or what lies between two.
static void cut_add(cutter *c, size_t begin, size_t end, bool match) {
  if (begin == end) return;
  bool join = false;
  switch (c->behavior) {
    case TS__ISOLATED: break;
    case TS__REMOVED:
      if (match) return cut_flush(c);
      break;
    case TS__PREVIOUS: join = match && c->open && !c->open_match; break;
    case TS__NEXT: join = !match && c->open && c->open_match; break;
    case TS__CONTIGUOUS: join = c->open && c->open_match == match; break;
  }
  if (!join) return cut_open(c, begin, end, match);
  c->end = end;
  c->open_match = match;
}

static bool split(const matcher *m, const ts__prestep *s, ts_arena *a, ts__str in, ts__strs *out, ts_diag *d) {
  cutter c = {.a = a, .out = out, .behavior = s->behavior, .base = in.p};
  size_t at = 0, begin, end;
  int r;
  while ((r = find(m, s->re, in, at, &begin, &end, d)) == 1) {
    cut_add(&c, at, begin, s->invert);
    cut_add(&c, begin, end, !s->invert);
    at = end;
  }
  cut_add(&c, at, in.n, s->invert);
  cut_flush(&c);
  return r == 0;
}

static ts__str with_prefix(ts_arena *a, const char *prefix, ts__str in) {
  size_t n = strlen(prefix);
  char *p = ts_arena_alloc(a, n + in.n + 1, 1);
  memcpy(p, prefix, n);
  memcpy(p + n, in.p, in.n);
  return (ts__str){p, n + in.n};
}

static ts__str replace_spaces(ts_arena *a, ts__str in, const char *with) {
  size_t w = strlen(with), n = 0;
  char *p = ts_arena_alloc(a, in.n * TS_MAX(w, 1) + 1, 1);
  for (size_t i = 0; i < in.n; i++) {
    if (in.p[i] != ' ') {
      p[n++] = in.p[i];
      continue;
    }
    memcpy(p + n, with, w);
    n += w;
  }
  return (ts__str){p, n};
}

static bool byte_level(const matcher *m, const ts__prestep *s, ts_arena *a, ts__str in, ts__strs *out, ts_diag *d) {
  if (s->prefix_space && in.n && in.p[0] != ' ') in = with_prefix(a, " ", in);
  if (s->re) return split(m, s, a, in, out, d);
  ts_vec_push(a, out, in);
  return true;
}

static bool metaspace(const matcher *m, const ts__prestep *s, ts_arena *a, ts__str in, bool first, ts__strs *out, ts_diag *d) {
  size_t n = strlen(s->replacement);
  in = replace_spaces(a, in, s->replacement);
  bool has = in.n >= n && !memcmp(in.p, s->replacement, n);
  if (!has && (s->prepend == TS__PREPEND_ALWAYS || (s->prepend == TS__PREPEND_FIRST && first)))
    in = with_prefix(a, s->replacement, in);
  if (s->re) return split(m, s, a, in, out, d);
  ts_vec_push(a, out, in);
  return true;
}

static bool pre_step(const matcher *m, const ts__prestep *s, ts_arena *a, ts__str in, bool first, ts__strs *out, ts_diag *d) {
  switch (s->kind) {
    case TS__PRE_SPLIT: return split(m, s, a, in, out, d);
    case TS__PRE_BYTE_LEVEL: return byte_level(m, s, a, in, out, d);
    default: return metaspace(m, s, a, in, first, out, d);
  }
}

bool ts__pretokenize(const ts_tokenizer *t, ts_arena *a, ts__str in, bool first, ts__strs *out, ts_diag *d) {
  ts__strs now = {0};
  matcher m = {0};
  bool ok = t->npre == 0 || matcher_open(&m, t->file, d);
  ts_vec_push(a, &now, in);
  for (int i = 0; ok && i < t->npre; i++) {
    ts__strs next = {0};
    for (size_t k = 0; ok && k < now.n; k++) ok = pre_step(&m, &t->pre[i], a, now.p[k], first && k == 0, &next, d);
    now = next;
  }
  matcher_close(&m);
  *out = now;
  return ok;
}

// --- normalization ------------------------------------------------------------------------------------------

static bool replace(const matcher *m, const ts__normstep *s, ts_arena *a, ts__str in, ts__str *out, ts_diag *d) {
  ts_text text = {0};
  size_t at = 0, begin, end;
  int r;
  while ((r = find(m, s->re, in, at, &begin, &end, d)) == 1) {
    ts_text_addn(&text, in.p + at, begin - at);
    ts_text_add(&text, s->text);
    at = end;
  }
  ts_text_addn(&text, in.p + at, in.n - at);
  *out = (ts__str){ts_arena_strndup(a, ts_text_str(&text), text.n), text.n};
  ts_text_free(&text);
  return r == 0;
}

bool ts__normalize(const ts_tokenizer *t, ts_arena *a, ts__str in, ts__str *out, ts_diag *d) {
  matcher m = {0};
  bool ok = t->nnorm == 0 || matcher_open(&m, t->file, d);
  for (int i = 0; ok && i < t->nnorm; i++) {
    const ts__normstep *s = &t->norm[i];
    if (s->kind == TS__NORM_PREPEND && in.n) in = with_prefix(a, s->text, in);
    if (s->kind == TS__NORM_REPLACE) ok = replace(&m, s, a, in, &in, d);
    if (s->kind == TS__NORM_NFC) in = ts__nfc(a, in);
  }
  matcher_close(&m);
  *out = in;
  return ok;
}

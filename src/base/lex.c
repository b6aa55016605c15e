// The lexer shared by .tir files, traces and templates.
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>

#include "base/base.h"

static bool ident_start(char c) { return isalpha((unsigned char)c) || c == '_'; }
static bool ident_char(char c) { return isalnum((unsigned char)c) || c == '_' || c == '.'; }

// Skip blanks, comments and (unless they are tokens) newlines; counts lines.
static void skip_blank(ts_lex *l) {
  while (l->cur < l->end) {
    char c = *l->cur;
    if (c == '#') {
      while (l->cur < l->end && *l->cur != '\n') l->cur++;
    } else if (c == ' ' || c == '\t' || c == '\r' || (c == '\n' && !l->newlines)) {
      if (c == '\n') l->line++, l->col = 0, l->begin = l->cur + 1;
      l->cur++;
    } else {
      return;
    }
  }
}

static void lex_ident(ts_lex *l) {
  const char *p = l->cur;
  // ".." after a name is a range, never part of it
  while (p < l->end && ident_char(*p) && !(p[0] == '.' && p + 1 < l->end && p[1] == '.')) p++;
  l->cur = p;
  l->tok = TS_TOK_IDENT;
}

static void lex_number(ts_lex *l) {
  const char *p = l->cur;
  bool is_float = false;
  bool hex = p + 2 < l->end && p[0] == '0' && (p[1] == 'x' || p[1] == 'X');
  if (hex) p += 2;
  while (p < l->end) {
    if (hex ? isxdigit((unsigned char)*p) : isdigit((unsigned char)*p)) p++;
    else if (!hex && *p == '.' && !(p + 1 < l->end && p[1] == '.')) is_float = true, p++;
    else if (!hex && (*p == 'e' || *p == 'E') && p + 1 < l->end &&
             (isdigit((unsigned char)p[1]) || ((p[1] == '-' || p[1] == '+') && p + 2 < l->end && isdigit((unsigned char)p[2]))))
      is_float = true, p += 2;
    else break;
  }
  char s[80];
  size_t n = (size_t)(p - l->cur);
  l->tok = TS_TOK_ERROR;
  if (n < sizeof s && !(p < l->end && ident_start(*p))) {
    memcpy(s, l->cur, n);
    s[n] = 0;
    errno = 0;
    if (is_float) l->f = strtod(s, NULL), l->tok = TS_TOK_FLOAT;
    else if (l->i = (int64_t)strtoull(s, NULL, hex ? 16 : 10), !errno) l->tok = TS_TOK_INT;
  }
  l->cur = p;
}

static void lex_string(ts_lex *l) {
  const char *p = l->cur + 1;
  while (p < l->end && *p != '"' && *p != '\n') p += *p == '\\' && p + 1 < l->end ? 2 : 1;
  l->tok = p < l->end && *p == '"' ? TS_TOK_STRING : TS_TOK_ERROR;
  l->cur = p < l->end ? p + (*p == '"') : l->end;
}

static void lex_punct(ts_lex *l) {
  static const char *const two[] = {"..", "->", "//", "==", "!=", "<=", ">=", "<<", ">>", "&&", "||"};
  l->tok = TS_TOK_PUNCT;
  for (size_t i = 0; i < TS_COUNTOF(two); i++)
    if (l->end - l->cur >= 2 && memcmp(l->cur, two[i], 2) == 0) {
      l->cur += 2;
      return;
    }
  l->tok = isprint((unsigned char)*l->cur) ? TS_TOK_PUNCT : TS_TOK_ERROR;
  l->cur++;
}

void ts_lex_next(ts_lex *l) {
  skip_blank(l);
  l->start = l->cur;
  l->col = (int)(l->cur - l->begin) + 1;
  if (l->cur >= l->end) l->tok = TS_TOK_EOF;
  else if (*l->cur == '\n') {
    l->tok = TS_TOK_NEWLINE;
    l->cur++;
  } else if (ident_start(*l->cur)) lex_ident(l);
  else if (isdigit((unsigned char)*l->cur)) lex_number(l);
  else if (*l->cur == '"') lex_string(l);
  else lex_punct(l);
  l->len = (size_t)(l->cur - l->start);
}

void ts_lex_init(ts_lex *l, const char *name, const char *text, size_t n) {
  *l = (ts_lex){.name = name, .begin = text, .cur = text, .end = text + n, .line = 1};
  ts_lex_next(l);
}

bool ts_lex_is(const ts_lex *l, const char *word) {
  return (l->tok == TS_TOK_IDENT || l->tok == TS_TOK_PUNCT) && strlen(word) == l->len && memcmp(word, l->start, l->len) == 0;
}

// A newline token ends a line: the count moves when it is consumed.
static void consume(ts_lex *l) {
  if (l->tok == TS_TOK_NEWLINE) l->line++, l->begin = l->cur;
  ts_lex_next(l);
}

bool ts_lex_accept(ts_lex *l, const char *word) {
  bool newline = strcmp(word, "\n") == 0 && l->tok == TS_TOK_NEWLINE;
  if (!newline && !ts_lex_is(l, word)) return false;
  consume(l);
  return true;
}

bool ts_lex_error(const ts_lex *l, ts_diag *d, const char *fmt, ...) {
  char what[400];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(what, sizeof what, fmt, ap);
  va_end(ap);
  if (l->tok == TS_TOK_EOF) return ts_refuse(d, "syntax", "%s:%d:%d: %s, found the end", l->name, l->line, l->col, what);
  if (l->tok == TS_TOK_NEWLINE) return ts_refuse(d, "syntax", "%s:%d:%d: %s, found the end of the line", l->name, l->line, l->col, what);
  char found[44];
  size_t n = TS_MIN(l->len, sizeof found - 1);
  for (size_t i = 0; i < n; i++) found[i] = isprint((unsigned char)l->start[i]) ? l->start[i] : '?';
  found[n] = 0;
  return ts_refuse(d, "syntax", "%s:%d:%d: %s, found '%s'", l->name, l->line, l->col, what, found);
}

bool ts_lex_expect(ts_lex *l, ts_diag *d, const char *word) {
  if (ts_lex_accept(l, word)) return true;
  return strcmp(word, "\n") == 0 ? ts_lex_error(l, d, "expected the end of the line") : ts_lex_error(l, d, "expected '%s'", word);
}

char *ts_lex_ident(ts_lex *l, ts_arena *a, ts_diag *d) {
  if (l->tok != TS_TOK_IDENT) {
    ts_lex_error(l, d, "expected a name");
    return NULL;
  }
  char *s = ts_arena_strndup(a, l->start, l->len);
  ts_lex_next(l);
  return s;
}

char *ts_lex_string(ts_lex *l, ts_arena *a, ts_diag *d) {
  if (l->tok != TS_TOK_STRING) {
    ts_lex_error(l, d, "expected a string");
    return NULL;
  }
  char *out = ts_arena_alloc(a, l->len, 1), *q = out;
  for (const char *p = l->start + 1, *end = l->start + l->len - 1; p < end; p++) {
    if (*p == '\\' && p + 1 < end) {
      p++;
      *q++ = *p == 'n' ? '\n' : *p;
    } else {
      *q++ = *p;
    }
  }
  *q = 0;
  ts_lex_next(l);
  return out;
}

bool ts_lex_int(ts_lex *l, int64_t *out, ts_diag *d) {
  bool negative = ts_lex_accept(l, "-");
  if (l->tok != TS_TOK_INT) return ts_lex_error(l, d, "expected an integer");
  *out = negative ? (int64_t)(0 - (uint64_t)l->i) : l->i;
  ts_lex_next(l);
  return true;
}

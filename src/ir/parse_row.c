// parse_row: quantization rows. A parameter `w: weight[N, K]` brings the row's storage as parameters; w[i, k] and
// w.part[...] expand to the row's expressions, parsed anew at each use with the row's names bound.
#include "ir/parse_impl.h"

enum { MAX_STORAGE = 8, MAX_PARTS = 8, MAX_PART_ARGS = 4, MAX_EXPANSION = 3 };

typedef struct part {  // "code(i, k): u32 = expr"
  const char *name;
  int n;
  const char *arg[MAX_PART_ARGS];
  ts_type type;
  ts_lex at;  // on the expression
} part;

struct ts__weight {
  int nbuffers;
  const char *name[MAX_STORAGE];  // in the row
  const ts_buffer *buf[MAX_STORAGE];
  int nparts;
  part part[MAX_PARTS];
  ts__val extent[2];  // N and K
};

// Everything of a row is one line; skip to the next.
static void skip_line(ts_lex *l) {
  while (l->tok != TS_TOK_NEWLINE && l->tok != TS_TOK_EOF) ts_lex_next(l);
}

static bool parse_part(ts__parser *p, ts__weight *w, const char *name) {
  if (w->nparts == MAX_PARTS) return ts_lex_error(p->l, p->d, "more than %d parts", MAX_PARTS);
  part *a = &w->part[w->nparts++];
  a->name = name;
  do {
    if (a->n == MAX_PART_ARGS) return ts_lex_error(p->l, p->d, "more than %d arguments", MAX_PART_ARGS);
    TS_TRY((a->arg[a->n] = ts_lex_ident(p->l, p->tmp, p->d)) != NULL);
    a->n++;
  } while (ts_lex_accept(p->l, ","));
  TS_TRY(ts_lex_expect(p->l, p->d, ")") && ts_lex_expect(p->l, p->d, ":") && ts__parse_type(p, &a->type) &&
         ts_lex_expect(p->l, p->d, "="));
  if (a->type.lanes != 1) return ts_lex_error(p->l, p->d, "%s must be a scalar", name);
  a->at = *p->l;
  return true;
}

// "{ q: u32[N, K / 8], s: f16[N, K / 32] }" of the row, for parameter `name`.
static bool parse_storage(ts__parser *p, ts__weight *w, const char *name) {
  TS_TRY(ts_lex_expect(p->l, p->d, "{"));
  do {
    if (w->nbuffers == MAX_STORAGE) return ts_lex_error(p->l, p->d, "more than %d storage buffers", MAX_STORAGE);
    char *own = ts_lex_ident(p->l, p->tmp, p->d);
    TS_TRY(own && ts_lex_expect(p->l, p->d, ":"));
    const char *full = strcmp(own, "_") == 0 ? name : ts_arena_printf(p->tmp, "%s_%s", name, own);
    const ts_buffer *b = ts__parse_buffer(p, full);
    TS_TRY(b != NULL);
    w->name[w->nbuffers] = own;
    w->buf[w->nbuffers++] = b;
  } while (ts_lex_accept(p->l, ","));
  return ts_lex_expect(p->l, p->d, "}");
}

// One line of the row. Lines that are neither storage nor a part (doc, bits, group, ...) belong to other readers.
static bool parse_line(ts__parser *p, ts__weight *w, const char *name) {
  if (ts_lex_accept(p->l, "weight")) return parse_storage(p, w, name);
  if (p->l->tok == TS_TOK_IDENT) {
    char *word = ts_lex_ident(p->l, p->tmp, p->d);
    if (ts_lex_accept(p->l, "(")) TS_TRY(parse_part(p, w, word));
  }
  skip_line(p->l);
  return true;
}

static bool parse_row(ts__parser *p, ts__weight *w, const char *name) {
  bool braces = ts_lex_is(p->l, "quant");
  if (braces) skip_line(p->l);
  while (ts_lex_accept(p->l, "\n")) {
  }
  while (p->l->tok != TS_TOK_EOF && !(braces && ts_lex_is(p->l, "}"))) {
    TS_TRY(parse_line(p, w, name));
    if (p->l->tok != TS_TOK_EOF) TS_TRY(ts_lex_expect(p->l, p->d, "\n"));
    while (ts_lex_accept(p->l, "\n")) {
    }
  }
  if (w->nbuffers == 0) return ts_lex_error(p->l, p->d, "the row has no weight { ... }");
  return true;
}

// Run f on the row's text with only the row's names visible.
typedef struct window {
  ts_lex *l;
  size_t base, syms;
} window;
static window enter(ts__parser *p, ts_lex *l) {
  window w = {.l = p->l, .base = p->base, .syms = p->syms.n};
  p->l = l;
  p->base = p->syms.n;
  return w;
}
static void leave(ts__parser *p, window w) {
  p->l = w.l;
  p->base = w.base;
  p->syms.n = w.syms;
}

static bool add_value(ts__parser *p, const char *name, ts__val v) {
  return ts__sym_add(p, (ts__sym){.name = name, .kind = TS__SYM_VALUE, .val = v});
}

static bool add_extents(ts__parser *p, const ts__weight *w) {
  return add_value(p, "N", w->extent[0]) && add_value(p, "K", w->extent[1]);
}

static bool read_row(ts__parser *p, ts__weight *w, const char *name) {
  ts_lex l;
  ts_lex_init(&l, p->macros->file, p->macros->text, p->macros->n);
  l = (ts_lex){.name = l.name,
               .begin = p->macros->text,
               .cur = p->macros->text,
               .end = p->macros->text + p->macros->n,
               .newlines = true,
               .line = 1};
  ts_lex_next(&l);
  window back = enter(p, &l);
  while (ts_lex_accept(&l, "\n")) {
  }
  bool ok = add_extents(p, w) && parse_row(p, w, name);
  leave(p, back);
  return ok;
}

static bool is_index(const ts__val *v) {
  return v->kind == TS__SOFT_INT || (v->kind == TS__HARD && ts_type_eq(v->e->type, TS_INDEX));
}

bool ts__parse_weight(ts__parser *p, const char *name) {
  ts__weight *w = ts_new(p->tmp, ts__weight);
  if (!p->macros || !p->macros->text)
    return ts_lex_error(p->l, p->d, "parameter '%s' is a weight, but no quantization is given", name);
  TS_TRY(ts_lex_expect(p->l, p->d, "weight") && ts_lex_expect(p->l, p->d, "["));
  TS_TRY(ts__parse_val(p, NULL, &w->extent[0]) && ts_lex_expect(p->l, p->d, ",") &&
         ts__parse_val(p, NULL, &w->extent[1]));
  if (!is_index(&w->extent[0]) || !is_index(&w->extent[1]))
    return ts_lex_error(p->l, p->d, "the extents of a weight are indices");
  TS_TRY(ts_lex_expect(p->l, p->d, "]") && read_row(p, w, name));
  for (int i = 0; i < w->nbuffers; i++) {
    ts_param q = {.buf = w->buf[i], .role = TS_IN, .cache = TS_COLD};
    ts_vec_push(p->tmp, &p->params, q);
    bool alone = strcmp(w->name[i], "_") == 0;
    if (!alone) TS_TRY(ts__sym_add(p, (ts__sym){.name = w->buf[i]->name, .kind = TS__SYM_BUFFER, .buf = w->buf[i]}));
  }
  (void)ts_lex_accept(p->l, "cold");
  return ts__sym_add(p, (ts__sym){.name = name, .kind = TS__SYM_WEIGHT, .weight = w});
}

static const part *part_find(const ts__weight *w, const char *name, size_t n) {
  for (int i = 0; i < w->nparts; i++) {
    if (strlen(w->part[i].name) == n && memcmp(w->part[i].name, name, n) == 0) return &w->part[i];
  }
  return NULL;
}

static bool expand(ts__parser *p, const ts__weight *w, const part *a, const ts__val *arg, ts__val *out) {
  ts_lex l = a->at;
  window back = enter(p, &l);
  bool ok = add_extents(p, w);
  for (int i = 0; ok && i < w->nbuffers; i++)
    ok = ts__sym_add(p, (ts__sym){.name = w->name[i], .kind = TS__SYM_BUFFER, .buf = w->buf[i]});
  for (int i = 0; ok && i < a->n; i++) ok = add_value(p, a->arg[i], arg[i]);
  ok = ok && ts__parse_val(p, &a->type, out) && ts__harden(p, out, a->type);
  if (ok && l.tok != TS_TOK_NEWLINE && l.tok != TS_TOK_EOF) ok = ts_lex_error(&l, p->d, "expected the end of the line");
  leave(p, back);
  return ok;
}

bool ts__parse_weight_load(ts__parser *p, const ts__weight *w, const char *name, size_t n, ts__val *out) {
  const part *a = part_find(w, name, n);
  ts__val arg[MAX_PART_ARGS] = {0};
  if (!a) return ts_lex_error(p->l, p->d, "the quantization has no part '%.*s'", (int)TS_MIN(n, 40), name);
  if (p->expanding >= MAX_EXPANSION) return ts_lex_error(p->l, p->d, "weights nested more than %d deep", MAX_EXPANSION);
  p->expanding++;
  TS_TRY(ts_lex_expect(p->l, p->d, "["));
  for (int i = 0; i < a->n; i++) {
    if (i && !ts_lex_accept(p->l, ",")) return ts_lex_error(p->l, p->d, "%s takes %d indices", a->name, a->n);
    TS_TRY(ts__parse_val(p, NULL, &arg[i]));
    if (!is_index(&arg[i])) return ts_lex_error(p->l, p->d, "index %d is not i64", i + 1);
  }
  TS_TRY(ts_lex_expect(p->l, p->d, "]") && expand(p, w, a, arg, out));
  p->expanding--;
  return true;
}

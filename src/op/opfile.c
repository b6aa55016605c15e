// Operator and variant files: the header before the functions.
//
//   op NAME {                        variant NAME of OP {
//     doc "..."                        doc "..."
//     param N K                        quant q4f16_1 q4f16_0
//     float eps                        requires avx512vnni
//     type A R = A                     numerics "a8"
//     tolerance 0.001                  tolerance 0.02      # of its own numerics, when coarser
//     fits t + n <= P
//     templates matmul               }
//   }
#include "op/op_impl.h"

// The type parameter that p equals when it is not given: one before it without a default of its own.
static bool read_default(ts_arena *a, ts_lex *l, const ts__opfile *f, ts_op_param *p, ts_diag *d) {
  TS_TRY((p->same = ts_lex_ident(l, a, d)) != NULL);
  for (size_t i = 0; i < f->params.n; i++)
    if (f->params.p[i].kind == TS_BIND_TYPE && !f->params.p[i].same && strcmp(f->params.p[i].name, p->same) == 0) return true;
  return ts_refuse(d, "wrong-default", "%s: parameter %s equals %s, which is no type parameter before it", f->file, p->name, p->same);
}

static bool read_params(ts_arena *a, ts_lex *l, int kind, ts__opfile *f, ts_diag *d) {
  int line = l->line;
  while (l->tok == TS_TOK_IDENT && l->line == line) {
    ts_op_param p = {.name = ts_lex_ident(l, a, d), .kind = kind};
    if (kind == TS_BIND_TYPE && ts_lex_accept(l, "=")) TS_TRY(read_default(a, l, f, &p, d));
    ts_vec_push(a, &f->params, p);
  }
  return true;
}

static bool read_number(ts_lex *l, double *out, ts_diag *d) {
  if (l->tok != TS_TOK_FLOAT && l->tok != TS_TOK_INT) return ts_lex_error(l, d, "expected a number");
  *out = l->tok == TS_TOK_FLOAT ? l->f : (double)l->i;
  ts_lex_next(l);
  return true;
}

// The rest of the line, as it stands.
static bool read_fits(ts_arena *a, ts_lex *l, ts__opfile *f) {
  int line = l->line;
  const char *text = ts_arena_strndup(a, l->start, strcspn(l->start, "\n#"));
  while (l->tok != TS_TOK_EOF && l->line == line) ts_lex_next(l);
  ts_vec_push(a, &f->fits, text);
  return true;
}

static bool read_line(ts_arena *a, ts_lex *l, ts__opfile *f, ts_diag *d) {
  int line = l->line;
  bool variant = f->of != NULL;
  if (ts_lex_accept(l, "doc")) return (f->doc = ts_lex_string(l, a, d)) != NULL;
  if (!variant && ts_lex_accept(l, "param")) return read_params(a, l, TS_BIND_INT, f, d);
  if (!variant && ts_lex_accept(l, "float")) return read_params(a, l, TS_BIND_FLOAT, f, d);
  if (!variant && ts_lex_accept(l, "type")) return read_params(a, l, TS_BIND_TYPE, f, d);
  if (ts_lex_accept(l, "tolerance")) return read_number(l, &f->tolerance, d);
  if (!variant && ts_lex_accept(l, "fits")) return read_fits(a, l, f);
  if (!variant && ts_lex_accept(l, "templates")) return (f->templates = ts_lex_ident(l, a, d)) != NULL;
  if (variant && ts_lex_accept(l, "numerics")) return (f->numerics = ts_lex_string(l, a, d)) != NULL;
  bool quant = ts_lex_is(l, "quant");
  if (variant && (ts_lex_accept(l, "quant") || ts_lex_accept(l, "requires"))) {
    while (l->tok == TS_TOK_IDENT && l->line == line) {
      const char *name = ts_lex_ident(l, a, d);
      if (quant) ts_vec_push(a, &f->quants, name);
      else ts_vec_push(a, &f->features, name);
    }
    return true;
  }
  return ts_lex_error(l, d, "expected a line of %s", variant ? "a variant (doc, quant, requires, numerics, tolerance)" : "an operator (doc, param, float, type, tolerance, fits, templates)");
}

bool ts__opfile_read(ts_arena *a, const char *path, ts__opfile *f, ts_diag *d) {
  *f = (ts__opfile){.file = ts_arena_strdup(a, path), .doc = "", .numerics = "", .tolerance = -1};
  char *text;
  TS_TRY(ts_file_read(path, a, &text, &f->n, d));
  f->text = text;
  ts_lex *l = &f->body;
  ts_lex_init(l, f->file, text, f->n);
  f->kind = ts_lex_is(l, "variant") ? "variant" : "op";
  TS_TRY(ts_lex_expect(l, d, f->kind));
  TS_TRY((f->name = ts_lex_ident(l, a, d)) != NULL);
  if (f->kind[0] == 'v') {
    TS_TRY(ts_lex_expect(l, d, "of"));
    TS_TRY((f->of = ts_lex_ident(l, a, d)) != NULL);
  }
  TS_TRY(ts_lex_expect(l, d, "{"));
  while (!ts_lex_is(l, "}")) TS_TRY(read_line(a, l, f, d));
  ts_lex_next(l);
  if (!f->templates) f->templates = f->name;
  if (!f->of && f->tolerance < 0) return ts_refuse(d, "no-tolerance", "%s: operator %s states no tolerance", f->file, f->name);
  const char *end = NULL;
  ts_vec_push(a, &f->features, end);
  return true;
}

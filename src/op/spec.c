// Workload text: "matmul q4f16_1 A=f32 K=576 N=1536 n=1". The operator, the quantization if any, then bindings sorted by
// name: integers, numbers with a point, element types, and facts about dimensions "n=8..128%8" (lo..hi%multiple).
#include <math.h>
#include <stdlib.h>

#include "op/op.h"

static int by_name(const void *x, const void *y) { return strcmp(((const ts_bind *)x)->name, ((const ts_bind *)y)->name); }

static void print_bind(ts_text *out, const ts_bind *b) {
  ts_text_addf(out, " %s=", b->name);
  switch (b->kind) {
    case TS_BIND_INT: ts_text_addf(out, "%lld", (long long)b->i); break;
    case TS_BIND_FLOAT: ts_text_add_double(out, b->f); break;
    case TS_BIND_TYPE: ts_text_add(out, ts_code_name(b->code)); break;
    case TS_BIND_DIM:
      ts_text_addf(out, "%lld..%lld", (long long)b->i, (long long)b->hi);
      if (b->multiple > 1) ts_text_addf(out, "%%%lld", (long long)b->multiple);
      break;
  }
}

void ts_spec_print(ts_text *out, const ts_spec *s) {
  ts_text_add(out, s->op);
  if (*s->quant) ts_text_addf(out, " %s", s->quant);
  ts_bind *sorted = calloc((size_t)s->nbind + 1, sizeof *sorted);
  if (!sorted) abort();
  if (s->nbind) memcpy(sorted, s->bind, (size_t)s->nbind * sizeof *sorted);
  qsort(sorted, (size_t)s->nbind, sizeof *sorted, by_name);
  for (int i = 0; i < s->nbind; i++) print_bind(out, &sorted[i]);
  free(sorted);
}

static bool parse_value(ts_lex *l, ts_bind *b, ts_diag *d) {
  if (l->tok == TS_TOK_IDENT) {
    b->kind = TS_BIND_TYPE;
    if (!ts_code_find(l->start, l->len, &b->code)) return ts_lex_error(l, d, "expected an element type");
    ts_lex_next(l);
    return true;
  }
  bool negative = ts_lex_accept(l, "-");
  if (l->tok == TS_TOK_FLOAT) {
    if (!isfinite(l->f)) return ts_lex_error(l, d, "expected a finite number");
    b->kind = TS_BIND_FLOAT;
    b->f = negative ? -l->f : l->f;
    ts_lex_next(l);
    return true;
  }
  TS_TRY(ts_lex_int(l, &b->i, d));
  if (negative) b->i = (int64_t)(0 - (uint64_t)b->i);
  if (!ts_lex_accept(l, "..")) return true;
  b->kind = TS_BIND_DIM;
  b->multiple = 1;
  TS_TRY(ts_lex_int(l, &b->hi, d));
  if (ts_lex_accept(l, "%")) TS_TRY(ts_lex_int(l, &b->multiple, d));
  if (b->i < 0 || b->hi < b->i || b->multiple < 1) return ts_refuse(d, "wrong-facts", "facts of %s are empty or negative", b->name);
  return true;
}

bool ts_spec_parse(ts_arena *a, const char *text, ts_spec *s, ts_diag *d) {
  *s = (ts_spec){.quant = ""};
  ts_lex l;
  ts_lex_init(&l, "workload", text, strlen(text));
  TS_VEC(ts_bind) v = {0};
  TS_TRY((s->op = ts_lex_ident(&l, a, d)) != NULL);
  while (l.tok != TS_TOK_EOF) {
    ts_bind b = {0};
    TS_TRY((b.name = ts_lex_ident(&l, a, d)) != NULL);
    if (!ts_lex_accept(&l, "=")) {
      if (v.n || *s->quant) return ts_lex_error(&l, d, "expected '=' after %s", b.name);
      s->quant = b.name;
      continue;
    }
    TS_TRY(parse_value(&l, &b, d));
    for (size_t i = 0; i < v.n; i++)
      if (strcmp(v.p[i].name, b.name) == 0) return ts_refuse(d, "bound-twice", "workload: %s is given twice", b.name);
    ts_vec_push(a, &v, b);
  }
  if (v.n) qsort(v.p, v.n, sizeof *v.p, by_name);
  s->bind = v.p;
  s->nbind = (int)v.n;
  return true;
}

// Limits: what a template asks of the values of a weight, `limit max |ws| < 2`. The operator's reference has none, so a kernel that breaks
// one is wrong for some weights and right for all others: who has the weights looks (model/limits.c, runtime/weights.c).
#include <math.h>

#include "op/native_impl.h"

const char *ts__native_limit(ts_arena *a, ts_native_text text, ts_native_limit *out) {
  ts_lex l;
  ts_diag ignored;
  ts_lex_init(&l, text.file, text.p, strlen(text.p));
  if (!ts_lex_accept(&l, "max") || !ts_lex_accept(&l, "|")) return "a limit is max |BUFFER| < NUMBER, or >= NUMBER";
  *out = (ts_native_limit){.text = text, .buffer = ts_lex_ident(&l, a, &ignored)};
  if (!out->buffer || !ts__native_name(out->buffer, strlen(out->buffer))) return "a limit names a buffer between two bars, such as max |ws| < 2";
  if (!ts_lex_accept(&l, "|")) return "a limit is max |BUFFER| < NUMBER, or >= NUMBER";
  out->least = ts_lex_is(&l, ">=");
  if (!out->least && !ts_lex_is(&l, "<")) return "a limit compares with < or >=";
  ts_lex_next(&l);
  out->bound = l.tok == TS_TOK_INT ? (double)l.i : l.tok == TS_TOK_FLOAT ? l.f : 0;
  if (!(out->bound > 0) || isinf(out->bound)) return "the number of a limit is greater than 0";
  ts_lex_next(&l);
  return l.tok == TS_TOK_EOF ? NULL : "a limit ends with its number";
}

bool ts_native_limit_holds(const ts_native_limit *x, double most) { return x->least ? most >= x->bound && !isinf(most) : most < x->bound; }

static const ts_param *find_param(const ts_func *f, const char *name) {
  for (int i = 0; i < f->nparams; i++)
    if (strcmp(f->params[i].buf->name, name) == 0) return &f->params[i];
  return NULL;
}

static bool floats_read(const ts_param *p) { return p->role == TS_IN && ts_code_is_float(p->buf->code); }

bool ts__native_limits_bind(const ts_native *t, const ts_func *f, ts_diag *d) {
  for (int i = 0; i < t->nlimits; i++) {
    const ts_native_limit *x = &t->limits[i];
    const ts_param *p = find_param(f, x->buffer);
    if (p && floats_read(p)) continue;
    ts_refuse(d, "template-limit", "%s:%d: limit: main has no floats '%s' that it reads", x->text.file, x->text.line, x->buffer);
    ts_text all = {0};
    for (int k = 0; k < f->nparams; k++)
      if (floats_read(&f->params[k])) ts_text_addf(&all, " %s", f->params[k].buf->name);
    ts_hint(d, "it reads%.280s", all.n ? ts_text_str(&all) : " none");
    ts_text_free(&all);
    return false;
  }
  return true;
}

// What the stores to a buffer put there.
typedef struct copies {
  const char *to;
  const ts_buffer *from;  // NULL: nothing yet
  bool other;             // something that is not an element of one buffer
} copies;

static bool look(void *arg, const ts_stmt *s) {
  copies *c = arg;
  if (s->kind != TS_S_STORE || strcmp(s->store.buf->name, c->to) != 0) return true;
  const ts_expr *v = s->store.value;
  const ts_buffer *from = v->kind == TS_E_LOAD ? v->buf : NULL;
  c->other |= !from || (c->from && c->from != from);
  c->from = from;
  return true;
}

const char *ts_native_stored(const ts_op_inst *inst, const char *buffer) {
  const ts_param *packed = inst->pack ? find_param(inst->pack, buffer) : NULL;
  if (!packed || packed->role == TS_IN) return buffer;
  copies c = {.to = buffer};
  ts_stmt_visit(inst->pack->body, look, NULL, &c);
  const ts_param *p = c.from && !c.other ? find_param(inst->pack, c.from->name) : NULL;
  return p && p->role == TS_IN ? c.from->name : NULL;
}

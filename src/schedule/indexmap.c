// Index maps in arguments: "(i, j) -> (i // 4, j, i % 4)". The names on the left stand, by position, for what is
// mapped.
#include "schedule_impl.h"

enum { MAX_MAP = 16 };

static bool map_error(ts__ctx *c, int arg, const char *why) {
  ts__refuse(c, TS_R_bad_map, arg, "{0} is no index map: {1}");
  ts__fact_s(c, c->arg[arg].s);
  ts__fact_s(c, why);
  ts__hint(c, "as in \"(i, j) -> (i // 4, j, i % 4)\"");
  return false;
}

static bool left_parse(ts__ctx *c, int arg, ts_lex *l, ts__map *m, const ts_var **in) {
  ts_diag d = {0};
  bool paren = ts_lex_accept(l, "(");
  if (!ts_lex_is(l, ")") && !ts_lex_is(l, "->")) do {
      char *name = ts_lex_ident(l, c->a, &d);
      if (!name) return map_error(c, arg, "a name is missing on the left");
      for (int i = 0; i < m->nin; i++)
        if (!strcmp(in[i]->name, name)) return map_error(c, arg, "a name stands twice on the left");
      if (m->nin == MAX_MAP) return map_error(c, arg, "it has too many names");
      in[m->nin++] = ts_var_new(c->ir, name, TS_INDEX);
    } while (ts_lex_accept(l, ","));
  if (paren && !ts_lex_accept(l, ")")) return map_error(c, arg, "a ) is missing on the left");
  return ts_lex_accept(l, "->") || map_error(c, arg, "-> is missing");
}

// (a) is a list in parentheses when nothing follows its end; (a + b) * 2, c is not: the whole is then tried without
// parentheses.
static bool right_parse(ts__ctx *c, ts_lex *l, bool paren, ts__map *m, const ts_expr **out, ts_diag *d) {
  m->n = 0;
  if (paren && !ts_lex_accept(l, "(")) return false;
  if (!(paren && ts_lex_is(l, ")"))) do {
      if (m->n == MAX_MAP) return ts_refuse(d, "syntax", "it has too many results");
      out[m->n] = ts_expr_parse_at(c->ir, l, m->in, m->nin, NULL, 0, d);
      if (!out[m->n]) return false;
      if (!ts_type_eq(out[m->n]->type, TS_INDEX)) return ts_refuse(d, "syntax", "a result is no integer");
      m->n++;
    } while (ts_lex_accept(l, ","));
  if (paren && !ts_lex_accept(l, ")")) return false;
  return l->tok == TS_TOK_EOF;
}

bool ts__map_parse(ts__ctx *c, int arg, ts__map *m) {
  const char *text = c->arg[arg].s;
  const ts_var **in = ts_new_array(c->a, const ts_var *, MAX_MAP);
  const ts_expr **out = ts_new_array(c->a, const ts_expr *, MAX_MAP);
  *m = (ts__map){.in = in, .out = out};
  ts_lex l;
  ts_diag d = {0};
  ts_lex_init(&l, "map", text, strlen(text));
  TS_TRY(left_parse(c, arg, &l, m, in));
  ts_lex back = l;
  if (right_parse(c, &l, true, m, out, &d)) return true;
  l = back;
  d = (ts_diag){0};
  if (right_parse(c, &l, false, m, out, &d)) return true;
  return map_error(c, arg, d.message[0] ? ts_arena_strdup(c->a, d.message) : "something follows it");
}

bool ts__map_arity(ts__ctx *c, int arg, const ts__map *m, int n, const char *of) {
  if (m->nin == n) return true;
  ts__refuse(c, TS_R_bad_map, arg, "the map has {0} names, {2} has {1}");
  ts__fact_i(c, m->nin);
  ts__fact_i(c, n);
  ts__fact_s(c, of);
  return false;
}

const ts_expr **ts__map_apply(ts__ctx *c, const ts__map *m, const ts_expr *const *to) {
  ts_subst s[MAX_MAP];
  const ts_expr **out = ts_new_array(c->a, const ts_expr *, m->n);
  for (int i = 0; i < m->nin; i++) s[i] = (ts_subst){m->in[i], to[i]};
  for (int i = 0; i < m->n; i++) out[i] = ts_simplify(ts__an(c), ts_expr_subst(c->ir, m->out[i], s, m->nin));
  return out;
}

// --- ranges
// -----------------------------------------------------------------------------------------------------------
typedef struct only {
  const ts_func *f;
  bool ok;
} only;
static bool only_visit(void *arg, const ts_expr *e) {
  only *w = arg;
  if (e->kind == TS_E_LOAD) w->ok = false;
  if (e->kind != TS_E_VAR) return w->ok;
  bool dim = false;
  for (int i = 0; i < w->f->ndims; i++) dim |= w->f->dims[i].var == e->var;
  w->ok &= dim;
  return w->ok;
}

bool ts__only_dims(const ts__ctx *c, const ts_expr *e) {
  only w = {c->f, true};
  ts_expr_visit(e, only_visit, &w);
  return w.ok;
}

bool ts__map_shape(ts__ctx *c, int arg, const ts_expr *const *e, int n, const ts_var *const *vars, int nvars,
                   const ts_expr **shape) {
  for (int i = 0; i < n; i++) {
    const ts_expr *lo = NULL, *hi = NULL;
    bool ok = ts_bound_over(ts__an(c), e[i], vars, nvars, &lo, &hi) && lo && hi &&
              ts_prove_le(ts__an(c), ts_int(c->ir, 0), lo) == TS_YES;
    shape[i] = ok ? ts_simplify(ts__an(c), ts_add(c->ir, hi, ts_int(c->ir, 1))) : NULL;
    if (ok && ts__only_dims(c, shape[i])) continue;
    ts__refuse(c, TS_R_bad_map, arg, "{0}, number {1} of the map, has no known range from zero");
    ts__fact_s(c, ts__expr_text(c, e[i]));
    ts__fact_i(c, i);
    return false;
  }
  return true;
}

bool ts__one_to_one(ts__ctx *c, const ts_loop_range *in, int nin, const ts_expr *const *e, int n) {
  const ts_expr **bind = ts_new_array(c->a, const ts_expr *, n);
  int nb = 0;
  for (int i = 0; i < n; i++)
    if (!ts_is_int(e[i], NULL)) bind[nb++] = e[i];
  ts_itermap map = {0};
  ts_itermap_detect(ts__an(c), in, nin, bind, nb, NULL, NULL, &map, NULL);
  return map.injective == TS_YES;
}

// A template at a workload: the facts that its expressions may use, and the legal points of its parameters.
#include "op/native_impl.h"

// --- facts ---------------------------------------------------------------------------------------------------------------
typedef struct facts {
  ts_arena *a;
  TS_VEC(const char *) name;
  TS_VEC(int64_t) value;
} facts;

static void add(facts *x, const char *name, const char *suffix, int64_t v) {
  const char *full = ts_arena_printf(x->a, "%s%s", name, suffix);
  ts_vec_push(x->a, &x->name, full);
  ts_vec_push(x->a, &x->value, v);
}

static void add_type(facts *x, const char *name, ts_code c) {
  add(x, name, "_BITS", ts_code_bits(c));
  add(x, name, "_F32", c == TS_F32);
  add(x, name, "_F16", c == TS_F16);
  add(x, name, "_BF16", c == TS_BF16);
}

static void add_dim(facts *x, const char *name, int64_t lo, int64_t hi, int64_t multiple) {
  add(x, name, "_lo", lo);
  add(x, name, "_hi", hi);
  add(x, name, "_multiple", multiple);
}

bool ts__native_is_dim(const ts_op *op, const char *name) {
  for (int i = 0; i < op->nparams; i++)
    if (strcmp(op->params[i].name, name) == 0) return false;
  return true;
}

static void add_facts(facts *x, const ts_op *op, const ts_native_fit *f) {
  const ts_target_gpu *g = &f->target->gpu;
  for (int i = 0; i < op->nparams; i++) {
    const ts_bind *b = ts_spec_find(op, f->spec, op->params[i].name);
    if (b && b->kind == TS_BIND_TYPE) add_type(x, op->params[i].name, b->code);
    if (b && b->kind == TS_BIND_INT) add(x, op->params[i].name, "", b->i);
  }
  for (int i = 0; i < f->spec->nbind; i++) {
    const ts_bind *b = &f->spec->bind[i];
    if (b->kind != TS_BIND_INT || !ts__native_is_dim(op, b->name)) continue;
    add(x, b->name, "", b->i);
    add_dim(x, b->name, b->i, b->i, b->i);
  }
  for (int i = 0; i < f->func->ndims; i++) add_dim(x, f->func->dims[i].var->name, f->func->dims[i].lo, f->func->dims[i].hi, f->func->dims[i].multiple);
  add(x, "SMS", "", g->sms);
  add(x, "SHARED", "", g->block_shared);
  add(x, "SM_SHARED", "", g->sm_shared);
  add(x, "COMPUTE", "", g->compute);
}

// --- names in expressions -------------------------------------------------------------------------------------------------
// Identifiers of an expression one after the other; functions of the language are skipped.
static bool next_name(const char **p, const char **name, size_t *n) {
  static const char *const functions[] = {"min", "max", "ceildiv", "pow2ceil"};
  while (**p) {
    size_t len = strspn(*p, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
    const char *start = *p;
    *p += len ? len : 1;
    if (!len || (*start >= '0' && *start <= '9')) continue;
    bool function = false;
    for (size_t i = 0; i < TS_COUNTOF(functions); i++) function |= strlen(functions[i]) == len && memcmp(functions[i], start, len) == 0;
    if (function) continue;
    *name = start;
    *n = len;
    return true;
  }
  return false;
}

static bool is_symbolic(const ts_func *f, const char *name, size_t n) {
  for (int i = 0; i < f->ndims; i++)
    if (strlen(f->dims[i].var->name) == n && memcmp(f->dims[i].var->name, name, n) == 0) return true;
  return false;
}

// --- does it serve this workload and target? -----------------------------------------------------------------------------------
static bool among(const char *words, const char *word) {
  size_t n = strlen(word);
  for (const char *p = words; *p;) {
    size_t len = strcspn(p, " \t");
    if (len == n && memcmp(p, word, n) == 0) return true;
    p += len;
    p += strspn(p, " \t");
  }
  return false;
}

// "sm_90a": exactly that family; "sm_80": that or newer.
static bool target_fits(const ts_native *t, const ts_target *target, ts_diag *d) {
  int want = 0, end = 0;
  if (target->api != TS_API_CUDA) return ts_refuse(d, "wrong-target", "%s: a CUDA template needs a CUDA target", t->label);
  if (!t->requires.p) return true;
  const char *r = t->requires.p;
  if (sscanf(r, "sm_%d%n", &want, &end) != 1 || (r[end] && strcmp(r + end, "a") != 0))
    return ts_refuse(d, "template-syntax", "%s:%d: requires wants sm_NN or sm_NNa, not '%s'", t->requires.file, t->requires.line, r);
  bool fits = r[end] ? strcmp(target->arch, r) == 0 : target->gpu.compute >= want;
  return fits || ts_refuse(d, "wrong-target", "%s needs %s, the target is %s", t->label, r, target->arch);
}

static bool serves(const ts_native *t, const ts_spec *spec, const ts_target *target, ts_diag *d) {
  TS_TRY(target_fits(t, target, d));
  if (t->op.p && !among(t->op.p, spec->op)) return ts_refuse(d, "wrong-operator", "%s serves %s, not %s", t->label, t->op.p, spec->op);
  if (!t->quant.p) return true;
  if (*spec->quant && among(t->quant.p, spec->quant)) return true;
  return ts_refuse(d, "wrong-quantization", "%s reads %s, not %s", t->label, t->quant.p, *spec->quant ? spec->quant : "plain weights");
}

static int find_name(const ts_native_fit *f, int n, const char *name, size_t len) {
  for (int i = 0; i < n; i++)
    if (strlen(f->name[i]) == len && memcmp(f->name[i], name, len) == 0) return i;
  return -1;
}

// Constraints and derived values over a dimension that stays symbolic: the template wants it bound.
static bool dims_bound(const ts_native_fit *f, ts_diag *d) {
  const ts_native *t = f->native;
  for (int i = 0; i < t->nwheres + t->ndefines; i++) {
    ts_native_text x = i < t->nwheres ? t->wheres[i] : t->defines[i - t->nwheres].expr;
    const char *p = x.p, *name;
    size_t n;
    while (next_name(&p, &name, &n))
      if (is_symbolic(f->func, name, n))
        return ts_refuse(d, "wrong-shape", "%s:%d: '%s' wants %.*s as a number; in this workload it is symbolic", x.file, x.line, x.p, (int)n, name);
  }
  return true;
}

// What the guess line says of this workload: it may name facts.
static bool read_guess(ts_native_fit *f, int64_t *value, ts_diag *d) {
  const ts__native_env e = {.f = f, .value = value, .n = f->nfacts};
  f->guess = f->native->nstarts > 0;
  return !f->native->guess.p || ts__native_int(&e, "guess", f->native->guess, &f->guess, d);
}

bool ts_native_bind(ts_arena *a, const ts_native *t, const ts_spec *spec, const ts_func *f, const ts_target *target, ts_native_fit *out,
                    ts_diag *d) {
  *out = (ts_native_fit){.native = t, .spec = spec, .func = f, .target = target};
  const ts_op *op = ts_op_find(a, spec->op, d);
  if (!op || !serves(t, spec, target, d) || !ts__native_limits_bind(t, f, d)) return false;
  facts x = {.a = a};
  add_facts(&x, op, out);
  out->nfacts = (int)x.name.n;
  out->value = x.value.p;
  for (int i = 0; i < t->nparams + t->ndefines; i++) {
    const char *name = i < t->nparams ? t->params[i].name : t->defines[i - t->nparams].name;
    int line = i < t->nparams ? t->params[i].line : t->defines[i - t->nparams].expr.line;
    const char *file = i < t->nparams ? t->params[i].file : t->defines[i - t->nparams].expr.file;
    out->name = x.name.p;
    if (find_name(out, out->nfacts, name, strlen(name)) >= 0)
      return ts_refuse(d, "template-syntax", "%s:%d: %s is a name of operator %s or of the target", file, line, name, spec->op);
    ts_vec_push(a, &x.name, name);
  }
  out->name = x.name.p;
  return dims_bound(out, d) && read_guess(out, x.value.p, d);
}

// --- expressions ---------------------------------------------------------------------------------------------------------
static bool unknown(const ts__native_env *e, const char *what, ts_native_text x, const char *name, size_t n, ts_diag *d) {
  const ts_native_fit *f = e->f;
  if (is_symbolic(f->func, name, n))
    return ts_refuse(d, "template-name", "%s:%d: %s: %.*s is not known when the kernel is compiled; %.*s_lo, %.*s_hi, %.*s_multiple are", x.file, x.line,
                     what, (int)n, name, (int)n, name, (int)n, name, (int)n, name);
  ts_refuse(d, "template-name", "%s:%d: %s: nothing is called '%.*s' here", x.file, x.line, what, (int)TS_MIN(n, 60), name);
  ts_text all = {0};
  for (int i = 0; i < e->n; i++) ts_text_addf(&all, " %s", f->name[i]);
  ts_hint(d, "known:%.280s", ts_text_str(&all));
  ts_text_free(&all);
  return false;
}

// The position of the last name that an expression uses, -1 for none. Names from `n` on are not known there.
static bool last_name(const ts__native_env *e, const char *what, ts_native_text x, int *last, ts_diag *d) {
  const char *p = x.p, *name;
  size_t n;
  *last = -1;
  while (next_name(&p, &name, &n)) {
    int i = find_name(e->f, e->n, name, n);
    if (i < 0) return unknown(e, what, x, name, n, d);
    *last = TS_MAX(*last, i);
  }
  return true;
}

static bool in_line(const char *what, ts_native_text x, ts_diag *d) {
  ts_diag why = *d;
  return ts_refuse(d, "template-expression", "%s:%d: %s: %s", x.file, x.line, what, why.message);
}

bool ts__native_int(const ts__native_env *e, const char *what, ts_native_text x, int64_t *out, ts_diag *d) {
  int last;
  ts_diag own, *say = d ? d : &own;
  TS_TRY(last_name(e, what, x, &last, say));
  return ts_gpu_eval(x.p, e->f->name, e->value, e->n, out, say) || in_line(what, x, say);
}

bool ts__native_fold(ts_arena *a, const ts__native_env *e, const char *what, ts_native_text x, const char **out, ts_diag *d) {
  const char *p = x.p, *from = x.p, *name;
  size_t n;
  bool symbolic = false;
  ts_text t = {0};
  while (next_name(&p, &name, &n)) {
    int i = find_name(e->f, e->n, name, n);
    ts_text_addn(&t, from, (size_t)(name - from));
    from = name + n;
    if (i >= 0) {
      ts_text_addf(&t, e->value[i] < 0 ? "(0 - %llu)" : "%llu", (unsigned long long)(e->value[i] < 0 ? 0 - (uint64_t)e->value[i] : (uint64_t)e->value[i]));
    } else if (is_symbolic(e->f->func, name, n)) {
      ts_text_addn(&t, name, n);
      symbolic = true;
    } else {
      ts_text_free(&t);
      return unknown(e, what, x, name, n, d);
    }
  }
  ts_text_add(&t, from);
  int64_t v;
  bool ok = true;
  if (symbolic) *out = ts_arena_strdup(a, ts_text_str(&t));
  else if ((ok = ts__native_int(e, what, x, &v, d))) *out = ts_arena_printf(a, "%lld", (long long)v);
  ts_text_free(&t);
  return ok;
}

// --- points ---------------------------------------------------------------------------------------------------------------
// A line of the template: it can be evaluated after parameter `level` was chosen, -1: before any. Of all the names known it uses only these, so
// that hundred thousands of points need not look them up among all.
enum { MOST_MET = 1 << 21 };
typedef struct line {
  int level, n;
  const char **name;
  int *at;  // in the values of the walk
  int64_t *value;
} line;

typedef struct walk {
  ts_arena *a;
  const ts_native_fit *f;
  ts__native_env env;
  line *defines, *wheres;
  TS_VEC(int64_t) points;  // nparams values each
  size_t n, met;  // legal ones; values of parameters looked at
  int forbidden;  // line of the constraint that failed last
  ts_diag *d;
  bool first;  // one point is enough
} walk;

static int level_of(const walk *w, int last) {
  const ts_native_fit *f = w->f;
  if (last < f->nfacts) return -1;
  int i = last - f->nfacts;
  return i < f->native->nparams ? i : w->defines[i - f->native->nparams].level;
}

// The names of an expression; its level is the largest of theirs.
static bool read_line(walk *w, const char *what, ts_native_text x, line *out) {
  const char *p = x.p, *name;
  size_t n, most = strlen(x.p) / 2 + 1;
  *out = (line){.level = -1, .name = ts_new_array(w->a, const char *, most), .at = ts_new_array(w->a, int, most), .value = ts_new_array(w->a, int64_t, most)};
  while (next_name(&p, &name, &n)) {
    int i = find_name(w->f, w->env.n, name, n), j = 0;
    if (i < 0) return unknown(&w->env, what, x, name, n, w->d);
    out->level = TS_MAX(out->level, level_of(w, i));
    while (j < out->n && out->at[j] != i) j++;
    if (j < out->n) continue;
    out->name[out->n] = w->f->name[i];
    out->at[out->n++] = i;
  }
  return true;
}

static bool evaluate(walk *w, const char *what, ts_native_text x, line *l, int64_t *out) {
  ts_diag own, *say = w->d ? w->d : &own;
  for (int i = 0; i < l->n; i++) l->value[i] = w->env.value[l->at[i]];
  return ts_gpu_eval(x.p, l->name, l->value, l->n, out, say) || in_line(what, x, say);
}

static bool walk_open(walk *w, ts_arena *a, const ts_native_fit *f, ts_diag *d) {
  const ts_native *t = f->native;
  *w = (walk){.a = a, .f = f, .d = d};
  w->env = (ts__native_env){.f = f, .n = f->nfacts + t->nparams, .value = ts_new_array(a, int64_t, f->nfacts + t->nparams + t->ndefines + 1)};
  if (f->nfacts) memcpy(w->env.value, f->value, (size_t)f->nfacts * sizeof *f->value);
  w->defines = ts_new_array(a, line, t->ndefines + 1);
  w->wheres = ts_new_array(a, line, t->nwheres + 1);
  for (int i = 0; i < t->ndefines; i++, w->env.n++) TS_TRY(read_line(w, "define", t->defines[i].expr, &w->defines[i]));
  for (int i = 0; i < t->nwheres; i++) TS_TRY(read_line(w, "where", t->wheres[i], &w->wheres[i]));
  return true;
}

// Derived values and constraints of one level. *legal: none forbids.
static bool settle(walk *w, int at, bool *legal) {
  const ts_native *t = w->f->native;
  for (int i = 0; i < t->ndefines; i++)
    if (w->defines[i].level == at) TS_TRY(evaluate(w, "define", t->defines[i].expr, &w->defines[i], &w->env.value[w->f->nfacts + t->nparams + i]));
  *legal = true;
  for (int i = 0; i < t->nwheres && *legal; i++) {
    int64_t v;
    if (w->wheres[i].level != at) continue;
    TS_TRY(evaluate(w, "where", t->wheres[i], &w->wheres[i], &v));
    *legal = v != 0;
    if (!v) w->forbidden = i;
  }
  return true;
}

static bool push(walk *w) {
  const int64_t *v = w->env.value + w->f->nfacts;
  int np = w->f->native->nparams;
  for (size_t i = 0; i < TS_MIN(w->n, (size_t)w->f->native->nstarts); i++)  // a start comes once
    if (memcmp(w->points.p + i * (size_t)np, v, (size_t)np * sizeof *v) == 0) return true;
  if (w->n == TS_NATIVE_POINTS)
    return ts_refuse(w->d, "too-many-points", "%s: more than %d legal points; add constraints or take values away", w->f->native->label, TS_NATIVE_POINTS);
  for (int i = 0; i < np; i++) ts_vec_push(w->a, &w->points, v[i]);
  w->n++;
  return true;
}

static bool descend(walk *w, int at) {
  bool legal;
  TS_TRY(settle(w, at, &legal));
  if (!legal) return true;
  if (at + 1 == w->f->native->nparams) return push(w);
  const ts_native_param *p = &w->f->native->params[at + 1];
  for (int i = 0; i < p->n && !(w->first && w->n); i++) {
    if (++w->met > MOST_MET)
      return ts_refuse(w->d, "too-many-points", "%s: more than %d combinations of values to look at; take values away, or let constraints name parameters declared early", w->f->native->label, MOST_MET);
    w->env.value[w->f->nfacts + at + 1] = p->value[i];
    TS_TRY(descend(w, at + 1));
  }
  return true;
}

// Set the walk to a point; *legal tells whether every constraint holds.
static bool visit(walk *w, const int64_t *point, bool *legal) {
  int np = w->f->native->nparams;
  if (np) memcpy(w->env.value + w->f->nfacts, point, (size_t)np * sizeof *point);
  *legal = true;
  for (int at = -1; at < np && *legal; at++) TS_TRY(settle(w, at, legal));
  return true;
}

// Whether a start is for this workload. One that asks about a dimension that stays symbolic is not.
static bool start_applies(walk *w, ts_native_text x, bool *yes) {
  const char *p = x.p, *name;
  size_t n;
  int64_t v;
  *yes = true;
  if (!x.p) return true;
  while (next_name(&p, &name, &n)) {
    if (find_name(w->f, w->f->nfacts, name, n) >= 0) continue;
    *yes = false;
    return is_symbolic(w->f->func, name, n) || unknown(&w->env, "start", x, name, n, w->d);
  }
  TS_TRY(ts__native_int(&w->env, "start", x, &v, w->d));
  *yes = v != 0;
  return true;
}

static bool add_starts(walk *w) {
  const ts_native *t = w->f->native;
  for (int i = 0; i < t->nstarts; i++) {
    ts_lex l;
    const int64_t *point;
    bool legal, applies;
    TS_TRY(start_applies(w, t->start_ifs[i], &applies));
    if (!applies) continue;
    ts_lex_init(&l, t->starts[i].file, t->starts[i].p, strlen(t->starts[i].p));
    TS_TRY(ts_native_point(w->a, t, &l, &point, w->d) && visit(w, point, &legal));
    if (legal) TS_TRY(push(w));
  }
  return true;
}

bool ts_native_points(ts_arena *a, const ts_native_fit *f, const int64_t **points, size_t *n, double *all, ts_diag *d) {
  walk w;
  TS_TRY(walk_open(&w, a, f, d));
  *all = 1;
  for (int i = 0; i < f->native->nparams; i++) *all *= f->native->params[i].n;
  TS_TRY(add_starts(&w) && descend(&w, -1));
  *points = w.points.p ? w.points.p : ts_new_array(a, int64_t, 1);  // a template without parameters has one empty point
  *n = w.n;
  return true;
}

bool ts_native_first(ts_arena *a, const ts_native_fit *f, const int64_t **point, ts_diag *d) {
  walk w;
  TS_TRY(walk_open(&w, a, f, d));
  w.first = true;
  TS_TRY(add_starts(&w) && (w.n || descend(&w, -1)));
  *point = !w.n ? NULL : w.points.p ? w.points.p : ts_new_array(a, int64_t, 1);
  return true;
}

// --- why a point is forbidden ------------------------------------------------------------------------------------------------
// Bytes up to `end` (two characters) outside of parentheses, or to the end of the text.
static size_t up_to(const char *p, size_t n, const char *end) {
  int depth = 0;
  for (size_t i = 0; i < n; i++) {
    depth += (p[i] == '(') - (p[i] == ')');
    if (!depth && i + 1 < n && p[i] == end[0] && p[i + 1] == end[1]) return i;
  }
  return n;
}

// The comparison of a text that is one, outside of parentheses: its place and length.
static bool comparison(const char *p, size_t n, size_t *at, size_t *len) {
  int depth = 0;
  if (up_to(p, n, "||") < n || memchr(p, '?', n)) return false;
  for (*at = 0; *at < n; ++*at) {
    char c = p[*at], next = *at + 1 < n ? p[*at + 1] : 0;
    depth += (c == '(') - (c == ')');
    *len = next == '=' ? 2 : 1;
    if (!depth && (c == '<' || c == '>' || ((c == '=' || c == '!') && next == '='))) return true;
  }
  return false;
}

static bool value_of(const walk *w, ts_native_text x, const char *p, size_t n, int64_t *out) {
  ts_native_text part = {.p = ts_arena_strndup(w->a, p, n), .file = x.file, .line = x.line};
  return ts__native_int(&w->env, "where", part, out, NULL);
}

// Tells the constraint, and of its first part that does not hold what is compared.
static bool forbidden(const walk *w, ts_native_text x, ts_diag *d) {
  const char *p = x.p;
  for (size_t n, at, len; *p; p += p[n] ? n + 2 : n) {
    int64_t holds, a, b;
    size_t left = strlen(p), skip = strspn(p, " ");
    p += skip;
    n = up_to(p, left - skip, "&&");
    if (up_to(x.p, strlen(x.p), "||") < strlen(x.p)) n = left - skip;
    if (!value_of(w, x, p, n, &holds) || holds || !comparison(p, n, &at, &len)) continue;
    if (!value_of(w, x, p, at, &a) || !value_of(w, x, p + at + len, n - at - len, &b)) continue;
    bool whole = n == strlen(x.p);
    while (n && p[n - 1] == ' ') n--;
    return ts_refuse(d, "constraint", "%s:%d: where %s (%.*s%s%lld %.*s %lld)", x.file, x.line, x.p, whole ? 0 : (int)n, p, whole ? "" : ": ", (long long)a, (int)len, p + at, (long long)b);
  }
  return ts_refuse(d, "constraint", "%s:%d: where %s", x.file, x.line, x.p);
}

bool ts__native_env_at(ts_arena *a, const ts_native_fit *f, const int64_t *point, ts__native_env *out, ts_diag *d) {
  walk w;
  bool legal;
  TS_TRY(walk_open(&w, a, f, d) && visit(&w, point, &legal));
  if (!legal) return forbidden(&w, f->native->wheres[w.forbidden], d);
  *out = w.env;
  return true;
}

bool ts_native_eval(const ts_native_fit *f, const int64_t *point, const char *expr, int64_t *out, ts_diag *d) {
  ts_arena *a = ts_arena_new("expression");
  ts__native_env e;
  bool ok = ts__native_env_at(a, f, point, &e, d) && ts__native_int(&e, "expression", (ts_native_text){.p = expr, .file = f->native->file}, out, d);
  ts_arena_free(a);
  return ok;
}

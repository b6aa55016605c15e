// Finding operators and their variants, and binding their parameters.
#include "op/op_impl.h"
#include "target/gpu.h"

// kernels/ops holds NAME.tir and NAME.VARIANT.tir.
static char *ops_dir(ts_arena *a) { return ts_path_join(a, ts_data_dir(), "kernels/ops"); }

static bool plain_name(const char *s) {
  size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
  return n > 0 && s[n] == 0;
}

static bool read_variant(ts_arena *a, const char *dir, const char *op, const char *name, ts_op_variant *v, ts_diag *d) {
  ts__opfile f;
  char *path = ts_arena_printf(a, "%s/%s.%s.tir", dir, op, name);
  TS_TRY(ts__opfile_read(a, path, &f, d));
  if (!f.of || strcmp(f.of, op) != 0 || strcmp(f.name, name) != 0)
    return ts_refuse(d, "wrong-name", "%s: holds '%s%s%s', not variant %s of %s", path, f.name, f.of ? " of " : "", f.of ? f.of : "", name, op);
  *v = (ts_op_variant){.name = f.name, .file = f.file, .doc = f.doc, .nquants = (int)f.quants.n, .quants = f.quants.p, .features = f.features.p, .numerics = f.numerics};
  return true;
}

const ts_op *ts_op_find(ts_arena *a, const char *name, ts_diag *d) {
  char *dir = ops_dir(a), **names;
  size_t n;
  if (!plain_name(name) || !ts_file_exists(ts_arena_printf(a, "%s/%s.tir", dir, name))) {
    ts_refuse(d, "no-such-operator", "no operator '%s' in %s", name, dir);
    ts_hint(d, "tunesmith ops lists them");
    return NULL;
  }
  ts__opfile f;
  if (!ts__opfile_read(a, ts_arena_printf(a, "%s/%s.tir", dir, name), &f, d) || !ts_dir_list(dir, ".tir", a, &names, &n, d)) return NULL;
  TS_VEC(ts_op_variant) v = {0};
  static const char *const none[] = {NULL};
  ts_vec_push(a, &v, ((ts_op_variant){.name = "", .file = f.file, .doc = "the reference as written", .features = none, .numerics = ""}));
  size_t len = strlen(name);
  for (size_t i = 0; i < n; i++) {
    if (strncmp(names[i], name, len) != 0 || names[i][len] != '.' || strcmp(names[i] + len, ".tir") == 0) continue;
    const char *rest = names[i] + len + 1;
    ts_op_variant one;
    if (!read_variant(a, dir, name, ts_arena_strndup(a, rest, strlen(rest) - 4), &one, d)) return NULL;
    ts_vec_push(a, &v, one);
  }
  ts_op *op = ts_new(a, ts_op);
  *op = (ts_op){.name = f.name, .doc = f.doc, .nparams = (int)f.params.n, .params = f.params.p, .tolerance = f.tolerance, .nfits = (int)f.fits.n, .fits = f.fits.p, .templates = f.templates, .nvariants = (int)v.n, .variants = v.p};
  return op;
}

bool ts_op_list(ts_arena *a, const ts_op **ops, size_t *n, ts_diag *d) {
  char **names;
  size_t count;
  TS_TRY(ts_dir_list(ops_dir(a), ".tir", a, &names, &count, d));
  TS_VEC(ts_op) v = {0};
  for (size_t i = 0; i < count; i++) {
    char *name = ts_arena_strndup(a, names[i], strlen(names[i]) - 4);
    if (strchr(name, '.')) continue;
    const ts_op *op = ts_op_find(a, name, d);
    if (!op) return false;
    ts_vec_push(a, &v, *op);
  }
  *ops = v.p;
  *n = v.n;
  return true;
}

static const ts_bind *bound(const ts_spec *s, const char *name) {
  for (int i = 0; i < s->nbind; i++)
    if (strcmp(s->bind[i].name, name) == 0) return &s->bind[i];
  return NULL;
}

static const char *default_of(const ts_op *op, const char *name) {
  for (int i = 0; i < op->nparams; i++)
    if (op->params[i].same && strcmp(op->params[i].name, name) == 0) return op->params[i].same;
  return NULL;
}

const ts_bind *ts_spec_find(const ts_op *op, const ts_spec *s, const char *name) {
  const ts_bind *b = bound(s, name);
  const char *same = b ? NULL : default_of(op, name);
  return same ? bound(s, same) : b;
}

void ts_spec_canonical(ts_arena *a, ts_spec *s) {
  ts_diag none = {0};
  const ts_op *op = ts_op_find(a, s->op, &none);
  if (!op) return;
  ts_bind *kept = ts_new_array(a, ts_bind, s->nbind + 1);
  int n = 0;
  for (int i = 0; i < s->nbind; i++) {
    const char *same = default_of(op, s->bind[i].name);
    const ts_bind *b = same ? bound(s, same) : NULL;
    bool equal = b && b->kind == TS_BIND_TYPE && s->bind[i].kind == TS_BIND_TYPE && b->code == s->bind[i].code;
    if (!equal) kept[n++] = s->bind[i];
  }
  s->bind = kept;
  s->nbind = n;
}

// The bindings of s and those that defaults add.
static const ts_bind *all_binds(ts_arena *a, const ts_op *op, const ts_spec *s, int *n) {
  ts_bind *v = ts_new_array(a, ts_bind, s->nbind + op->nparams + 1);
  *n = s->nbind;
  if (s->nbind) memcpy(v, s->bind, (size_t)s->nbind * sizeof *v);
  for (int i = 0; i < op->nparams; i++) {
    if (!op->params[i].same || bound(s, op->params[i].name)) continue;
    v[*n] = *bound(s, op->params[i].same);
    v[(*n)++].name = op->params[i].name;
  }
  return v;
}

static const char *kind_noun(int kind) { return kind == TS_BIND_INT ? "an integer" : kind == TS_BIND_FLOAT ? "a number" : "an element type"; }

static bool check_params(const ts_op *op, const ts_spec *s, ts_diag *d) {
  for (int i = 0; i < op->nparams; i++) {
    const ts_bind *b = ts_spec_find(op, s, op->params[i].name);
    if (!b) {
      ts_refuse(d, "unbound-parameter", "%s: parameter %s is not given", op->name, op->params[i].name);
      ts_hint(d, "%s=...; tunesmith ops %s lists its parameters", op->params[i].name, op->name);
      return false;
    }
    if ((int)b->kind != op->params[i].kind)
      return ts_refuse(d, "wrong-parameter", "%s: parameter %s must be %s", op->name, op->params[i].name, kind_noun(op->params[i].kind));
    if (b->kind == TS_BIND_INT && b->i <= 0) return ts_refuse(d, "wrong-parameter", "%s: parameter %s must be positive, not %lld", op->name, b->name, (long long)b->i);
  }
  return true;
}

static const ts_op_variant *find_variant(const ts_op *op, const char *name, const char *quant, ts_diag *d) {
  for (int i = 0; i < op->nvariants; i++) {
    const ts_op_variant *v = &op->variants[i];
    if (strcmp(v->name, name) != 0) continue;
    bool takes = v->nquants == 0;
    for (int q = 0; q < v->nquants; q++) takes |= strcmp(v->quants[q], quant) == 0;
    if (takes) return v;
    ts_refuse(d, "wrong-quantization", "%s: variant %s does not take quantization '%s'", op->name, name, quant);
    return NULL;
  }
  ts_refuse(d, "no-such-variant", "%s: no variant '%s'", op->name, name);
  ts_hint(d, "tunesmith ops %s lists them", op->name);
  return NULL;
}

// The quantization row as text; an empty one when the operator has no weight.
static bool load_macros(ts_arena *a, const char *quant, ts_macros *m, ts_diag *d) {
  *m = (ts_macros){.file = "", .text = "", .n = 0};
  if (!*quant) return true;
  if (!plain_name(quant)) return ts_refuse(d, "no-such-quantization", "no quantization '%s'", quant);
  char *path = ts_path_join(a, ts_data_dir(), ts_arena_printf(a, "kernels/quant/%s.tir", quant)), *text;
  if (!ts_file_exists(path)) return ts_refuse(d, "no-such-quantization", "no quantization '%s' in %s/kernels/quant", quant, ts_data_dir());
  TS_TRY(ts_file_read(path, a, &text, &m->n, d));
  m->file = path;
  m->text = text;
  return true;
}

// Whether the text of the functions has "NAME: KIND", or, for name NULL, ": KIND" behind any: a dimension made constant, and a weight, leave
// no trace in what was parsed.
static bool declares(ts_lex l, const char *name, const char *kind) {
  while (l.tok != TS_TOK_EOF) {
    bool here = !name || ts_lex_is(&l, name);
    ts_lex_next(&l);
    if (here && ts_lex_accept(&l, ":") && ts_lex_is(&l, kind)) return true;
  }
  return false;
}

// A quantization is given where there is a weight, and only there.
static bool check_quant(const ts_op *op, const ts_spec *s, const ts_lex *body, ts_diag *d) {
  bool weight = declares(*body, NULL, "weight");
  if (weight == (*s->quant != 0)) return true;
  if (!weight) return ts_refuse(d, "wrong-quantization", "%s has no weight, and takes no quantization '%s'", op->name, s->quant);
  ts_refuse(d, "no-quantization", "%s: the quantization of its weight is not given", op->name);
  ts_hint(d, "%s q4f16_1 ...; others: kernels/quant", op->name);
  return false;
}

// Names of dimensions mean what the function says; other names must be parameters of the operator.
static bool check_names(const ts_op *op, const ts_spec *s, const ts_func *f, const ts_lex *body, ts_diag *d) {
  for (int i = 0; i < s->nbind; i++) {
    const ts_bind *b = &s->bind[i];
    bool known = false;
    for (int p = 0; p < op->nparams; p++) known |= strcmp(op->params[p].name, b->name) == 0;
    for (int k = 0; k < f->ndims; k++) known |= strcmp(f->dims[k].var->name, b->name) == 0;
    if (known || (b->kind == TS_BIND_INT && declares(*body, b->name, "dim"))) continue;
    ts_refuse(d, "unknown-parameter", "%s: no parameter or dimension '%s'", op->name, b->name);
    ts_hint(d, "tunesmith ops %s lists them", op->name);
    return false;
  }
  return true;
}

// One corner of what a workload says about its dimensions: integers, and every dimension at its lowest but `high` at its highest.
typedef struct corner {
  TS_VEC(const char *) name;
  TS_VEC(int64_t) value;
  ts_text shown;
} corner;

static void corner_add(ts_arena *a, corner *c, const char *name, int64_t v) {
  ts_vec_push(a, &c->name, name);
  ts_vec_push(a, &c->value, v);
  ts_text_addf(&c->shown, " %s=%lld", name, (long long)v);
}

// A dimension that nothing is said about stands at its lowest.
static void corner_fill(ts_arena *a, corner *c, const ts_spec *s, const ts_func *f, const char *high) {
  for (int i = 0; i < s->nbind; i++)
    if (s->bind[i].kind == TS_BIND_INT) corner_add(a, c, s->bind[i].name, s->bind[i].i);
  for (int i = 0; i < f->ndims; i++) {
    const char *name = f->dims[i].var->name;
    corner_add(a, c, name, strcmp(name, high) == 0 ? f->dims[i].hi : f->dims[i].lo);
  }
}

static bool corner_fits(const ts_op *op, const corner *c, ts_diag *d) {
  for (int i = 0; i < op->nfits; i++) {
    int64_t holds;
    TS_TRY(ts_gpu_eval(op->fits[i], c->name.p, c->value.p, (int)c->name.n, &holds, d));
    if (!holds) return ts_refuse(d, "wrong-facts", "%s: %s does not hold at%s", op->name, op->fits[i], ts_text_str(&c->shown));
  }
  return true;
}

// Each dimension that the workload speaks of may be at its highest while the others are at their lowest.
static bool check_fits(ts_arena *a, const ts_op *op, const ts_spec *s, const ts_func *f, ts_diag *d) {
  bool ok = true;
  for (int i = -1; op->nfits && ok && i < s->nbind; i++) {
    if (i >= 0 && s->bind[i].kind != TS_BIND_DIM) continue;
    corner c = {0};
    corner_fill(a, &c, s, f, i < 0 ? "" : s->bind[i].name);
    ok = corner_fits(op, &c, d);
    ts_text_free(&c.shown);
  }
  return ok;
}

bool ts_op_numerics(const char *name, ts_diag *d) {
  if (!*name) return true;
  ts_arena *a = ts_arena_new("numerics");
  const ts_op *ops;
  size_t n;
  ts_text known = {0};
  bool ok = ts_op_list(a, &ops, &n, d), found = false;
  for (size_t i = 0; ok && i < n; i++)
    for (int v = 0; v < ops[i].nvariants; v++) {
      const char *one = ops[i].variants[v].numerics;
      found |= strcmp(one, name) == 0;
      if (*one && !strstr(ts_text_str(&known), one)) ts_text_addf(&known, "%s%s", known.n ? ", " : "", one);
    }
  if (ok && !found) {
    ts_refuse(d, "unknown-numerics", "no variant of any operator has numerics '%s'", name);
    ts_hint(d, "known: %s", ts_text_str(&known));
  }
  ts_text_free(&known);
  ts_arena_free(a);
  return ok && found;
}

bool ts_op_instantiate(ts_ir *ir, const ts_spec *spec, const char *variant, ts_op_inst *out, ts_diag *d) {
  ts_arena *a = ts_ir_arena(ir);
  *out = (ts_op_inst){0};
  const ts_op *op = ts_op_find(a, spec->op, d);
  if (!op || !check_params(op, spec, d)) return false;
  const ts_op_variant *v = find_variant(op, variant, spec->quant, d);
  ts_macros m;
  if (!v || !load_macros(a, spec->quant, &m, d)) return false;
  ts__opfile f;
  TS_TRY(ts__opfile_read(a, v->file, &f, d));
  const ts_lex body = f.body;
  TS_TRY(check_quant(op, spec, &body, d));
  int nbind;
  const ts_bind *bind = all_binds(a, op, spec, &nbind);
  while (f.body.tok != TS_TOK_EOF) {
    const ts_func *func = ts_func_parse_at(ir, &f.body, bind, nbind, m.n ? &m : NULL, d);
    if (!func) {
      if (d && strcmp(d->code, "not-divisible") == 0) ts_hint(d, "sizes that %s%s%s divides", *spec->quant ? spec->quant : op->name, *variant ? ", or variant " : "", variant);
      return false;
    }
    TS_TRY(ts_func_verify(func, d));
    if (strcmp(func->name, "main") == 0) out->func = func;
    else if (strcmp(func->name, "pack") == 0) out->pack = func;
    else return ts_refuse(d, "wrong-name", "%s: function %s is neither main nor pack", f.file, func->name);
  }
  if (!out->func) return ts_refuse(d, "no-main", "%s: no function main", f.file);
  out->tolerance = f.tolerance >= 0 ? f.tolerance : op->tolerance;
  return check_names(op, spec, out->func, &body, d) && check_fits(a, op, spec, out->func, d);
}

// The text of traces: one instruction a line (docs/trace.md).
#include "schedule_impl.h"

// --- parsing -------------------------------------------------------------------------------------------------------
typedef struct parser {
  ts_lex *l;
  ts_arena *a;
  ts__names *names;
  ts_diag *d;
} parser;

static bool name_find(const parser *p, ts_rv *out) {
  for (size_t i = p->names->n; i-- > 0;) {
    const char *s = p->names->p[i];
    if (strlen(s) != p->l->len || memcmp(s, p->l->start, p->l->len) != 0) continue;
    *out = (ts_rv)i;
    return true;
  }
  return false;
}

static bool parse_rv(parser *p, ts_arg *out) {
  ts_rv rv;
  if (p->l->tok != TS_TOK_IDENT) return ts_lex_error(p->l, p->d, "expected a reference");
  if (!name_find(p, &rv)) return ts_lex_error(p->l, p->d, "no step above defines this reference");
  *out = TS_ARV(rv);
  ts_lex_next(p->l);
  return true;
}

static bool parse_int(parser *p, ts_arg *out) {
  if (p->l->tok == TS_TOK_IDENT) return parse_rv(p, out);
  int64_t v;
  TS_TRY(ts_lex_int(p->l, &v, p->d));
  *out = TS_AINT(v);
  return true;
}

static bool parse_number(parser *p, ts_arg *out) {
  bool negative = ts_lex_accept(p->l, "-");
  if (p->l->tok == TS_TOK_FLOAT) {
    if (!isfinite(p->l->f)) return ts_lex_error(p->l, p->d, "the number is too large");
    *out = TS_AFLOAT(negative ? -p->l->f : p->l->f);
    ts_lex_next(p->l);
    return true;
  }
  if (!negative) return parse_int(p, out);
  int64_t v;
  TS_TRY(ts_lex_int(p->l, &v, p->d));
  *out = TS_AINT((int64_t)(0 - (uint64_t)v));
  return true;
}

static bool parse_string(parser *p, ts_arg *out) {
  const char *s = ts_lex_string(p->l, p->a, p->d);
  if (!s) return false;
  *out = TS_ASTR(s);
  return true;
}

static bool parse_word(parser *p, ts_arg *out) {
  const char *s = p->l->tok == TS_TOK_STRING ? ts_lex_string(p->l, p->a, p->d) : ts_lex_ident(p->l, p->a, p->d);
  if (!s) return false;
  *out = TS_AWORD(s);
  return true;
}

static bool parse_list(parser *p, char type, ts_arg *out) {
  TS_VEC(ts_arg) v = {0};
  TS_TRY(ts_lex_expect(p->l, p->d, "["));
  while (!ts_lex_is(p->l, "]")) {
    ts_arg x;
    if (v.n) TS_TRY(ts_lex_expect(p->l, p->d, ","));
    if (type == 'F' && ts_lex_accept(p->l, "_")) x = TS_AOPEN;
    else TS_TRY(type == 'N' ? parse_number(p, &x) : parse_int(p, &x));
    ts_vec_push(p->a, &v, x);
  }
  ts_lex_next(p->l);
  *out = TS_ALISTN((int)v.n, v.p);
  return true;
}

static bool parse_loops(parser *p, ts_arg *out) {
  TS_VEC(ts_arg) v = {0};
  while (p->l->tok == TS_TOK_IDENT) {
    ts_arg x;
    TS_TRY(parse_rv(p, &x));
    ts_vec_push(p->a, &v, x);
  }
  *out = TS_ALISTN((int)v.n, v.p);
  return true;
}

static bool parse_arg(parser *p, char type, ts_arg *out) {
  switch (type) {
    case 'b': case 'l': case 'x': return parse_rv(p, out);
    case 'i': return parse_int(p, out);
    case 's': case 'M': return parse_string(p, out);
    case 'u': return p->l->tok == TS_TOK_STRING ? parse_string(p, out) : parse_int(p, out);
    case 'v': return p->l->tok == TS_TOK_STRING ? parse_string(p, out) : parse_number(p, out);
    case 'w': return parse_word(p, out);
    case 'L': return parse_loops(p, out);
    default: return parse_list(p, type, out);
  }
}

static bool parse_keyword(parser *p, const ts__sig *sig, ts_arg *args) {
  for (int i = 0; i < sig->n; i++) {
    if (!sig->p[i].keyword || !ts_lex_is(p->l, sig->p[i].name)) continue;
    if (args[i].kind != TS_ARG_NONE) return ts_lex_error(p->l, p->d, "keyword given twice");
    ts_lex_next(p->l);
    TS_TRY(ts_lex_expect(p->l, p->d, "="));
    return parse_arg(p, sig->p[i].type, &args[i]);
  }
  return ts_lex_error(p->l, p->d, "expected the end of the line");
}

static bool line_ends(const ts_lex *l) { return l->tok == TS_TOK_NEWLINE || l->tok == TS_TOK_EOF; }

static bool parse_args(parser *p, ts_inst *inst) {
  const ts__sig *sig = ts__sig_get(inst->prim);
  ts_arg *args = ts_new_array(p->a, ts_arg, sig->n);
  for (int i = 0; i < sig->n && !sig->p[i].keyword; i++) TS_TRY(parse_arg(p, sig->p[i].type, &args[i]));
  while (!line_ends(p->l)) TS_TRY(parse_keyword(p, sig, args));
  inst->args = args;
  inst->nargs = sig->n;
  if (sig->decision < 0 || args[sig->decision].kind == TS_ARG_NONE) return true;
  ts_arg dec = args[sig->decision];
  int64_t *v = ts_new_array(p->a, int64_t, dec.list.n);
  for (int i = 0; i < dec.list.n; i++) {
    if (dec.list.p[i].kind != TS_ARG_INT) return ts_lex_error(p->l, p->d, "a decision holds integers");
    v[i] = dec.list.p[i].i;
  }
  inst->decision = v;
  inst->ndecision = dec.list.n;
  args[sig->decision] = TS_ANONE;
  return true;
}

// Names before "=", then the name of the primitive. One or more names, or none and no "=".
static bool parse_head(parser *p, ts_inst *inst, const char ***left, int *nleft) {
  TS_VEC(const char *) v = {0};
  ts_lex *l = p->l;
  for (;;) {
    ts_lex at = *l;
    const char *s = ts_lex_ident(l, p->a, p->d);
    if (!s) return false;
    bool more = ts_lex_accept(l, ",");
    bool last = !more && ts_lex_accept(l, "=");
    if (!more && !last) {
      if (!v.n && ts_prim_find(at.start, at.len, &inst->prim)) break;
      return v.n ? ts_lex_error(l, p->d, "expected '='") : ts_lex_error(&at, p->d, "no such primitive");
    }
    ts_vec_push(p->a, &v, s);
    if (more) continue;
    if (l->tok != TS_TOK_IDENT || !ts_prim_find(l->start, l->len, &inst->prim)) return ts_lex_error(l, p->d, "no such primitive");
    ts_lex_next(l);
    break;
  }
  *left = v.p;
  *nleft = (int)v.n;
  return true;
}

static bool results_name(parser *p, ts_inst *inst, const char **left, int nleft) {
  ts_rv *res = ts_new_array(p->a, ts_rv, nleft);
  for (int i = 0; i < nleft; i++) {
    bool unnamed = !strcmp(left[i], "_");
    for (int j = 0; j < i && !unnamed; j++)
      if (!strcmp(left[i], left[j])) return ts_lex_error(p->l, p->d, "'%s' is named twice on one line", left[i]);
    res[i] = unnamed ? -1 : (ts_rv)p->names->n;
    if (!unnamed) ts_vec_push(p->a, p->names, left[i]);
  }
  inst->results = res;
  inst->nresults = nleft;
  return true;
}

const ts_inst *ts__inst_parse(ts_lex *l, ts_arena *a, ts__names *names, ts_diag *d) {
  parser p = {.l = l, .a = a, .names = names, .d = d};
  ts_inst *inst = ts_new(a, ts_inst);
  inst->line = l->line;
  const char **left = NULL;
  int nleft = 0;
  if (!parse_head(&p, inst, &left, &nleft) || !parse_args(&p, inst)) return NULL;
  if (nleft && !ts_prim_get(inst->prim)->results[0]) {
    ts_lex_error(l, d, "%s has no results", ts_prim_get(inst->prim)->name);
    return NULL;
  }
  return results_name(&p, inst, left, nleft) ? inst : NULL;
}

static bool parse_header(ts_lex *l, ts_diag *d) {
  int64_t version;
  TS_TRY(ts_lex_expect(l, d, "trace"));
  ts_lex at = *l;
  TS_TRY(ts_lex_int(l, &version, d));
  if (version != 1) return ts_lex_error(&at, d, "this program reads version 1 of traces");
  return line_ends(l) || ts_lex_error(l, d, "expected the end of the line");
}

const ts_trace *ts_trace_parse(ts_arena *a, const char *file, const char *text, size_t n, ts_diag *d) {
  ts_lex l;
  ts_lex_init(&l, file, text, n);
  l.newlines = true;
  if (!parse_header(&l, d)) return NULL;
  ts__names names = {0};
  TS_VEC(const ts_inst *) inst = {0};
  for (;;) {
    while (ts_lex_accept(&l, "\n")) continue;
    if (l.tok == TS_TOK_EOF) break;
    const ts_inst *i = ts__inst_parse(&l, a, &names, d);
    if (!i) return NULL;
    ts_vec_push(a, &inst, i);
  }
  ts_trace *t = ts_new(a, ts_trace);
  *t = (ts_trace){.file = ts_arena_strdup(a, file), .n = (int)inst.n, .nrvs = (int)names.n, .inst = inst.p, .rv_name = names.p};
  return t;
}

// --- printing -------------------------------------------------------------------------------------------------------
static void print_string(ts_text *out, const char *s) {
  ts_text_add(out, "\"");
  for (; *s; s++) {
    if (*s == '\n') ts_text_add(out, "\\n");
    else {
      if (*s == '"' || *s == '\\') ts_text_add(out, "\\");
      ts_text_addn(out, s, 1);
    }
  }
  ts_text_add(out, "\"");
}

// Words are plain identifiers; any other text, which no step takes, keeps its quotes.
static void print_word(ts_text *out, const char *s) {
  ts_lex l;
  ts_lex_init(&l, "word", s, strlen(s));
  if (l.tok == TS_TOK_IDENT && l.len == strlen(s)) ts_text_add(out, s);
  else print_string(out, s);
}

static void print_arg(ts_text *out, const ts_trace *t, ts_arg a, char type) {
  switch (a.kind) {
    case TS_ARG_NONE: break;
    case TS_ARG_RV: ts_text_add(out, t->rv_name[a.rv]); break;
    case TS_ARG_INT: ts_text_addf(out, "%lld", (long long)a.i); break;
    case TS_ARG_FLOAT: ts_text_add_double(out, a.f); break;
    case TS_ARG_STR: print_string(out, a.s); break;
    case TS_ARG_WORD: print_word(out, a.s); break;
    case TS_ARG_OPEN: ts_text_add(out, "_"); break;
    case TS_ARG_LIST:
      if (type != 'L') ts_text_add(out, "[");
      for (int i = 0; i < a.list.n; i++) {
        if (i) ts_text_add(out, type == 'L' ? " " : ", ");
        print_arg(out, t, a.list.p[i], 0);
      }
      if (type != 'L') ts_text_add(out, "]");
      break;
  }
}

static void print_left(ts_text *out, const ts_trace *t, const ts_inst *i) {
  for (int k = 0; k < i->nresults; k++) {
    if (k) ts_text_add(out, ", ");
    ts_text_add(out, i->results[k] < 0 ? "_" : t->rv_name[i->results[k]]);
  }
  if (i->nresults) ts_text_add(out, " = ");
}

void ts_inst_print(ts_text *out, const ts_trace *t, const ts_inst *i) {
  const ts__sig *sig = ts__sig_get(i->prim);
  print_left(out, t, i);
  ts_text_add(out, ts_prim_get(i->prim)->name);
  for (int k = 0; k < i->nargs; k++) {
    if (i->args[k].kind == TS_ARG_NONE) continue;
    ts_text_add(out, " ");
    if (sig->p[k].keyword) ts_text_addf(out, "%s=", sig->p[k].name);
    print_arg(out, t, i->args[k], sig->p[k].type);
  }
  if (!i->ndecision) return;
  ts_text_add(out, " decision=[");
  for (int k = 0; k < i->ndecision; k++) ts_text_addf(out, "%s%lld", k ? ", " : "", (long long)i->decision[k]);
  ts_text_add(out, "]");
}

void ts_trace_print(ts_text *out, const ts_trace *t) {
  ts_text_add(out, "trace 1\n");
  for (int i = 0; i < t->n; i++) {
    ts_inst_print(out, t, t->inst[i]);
    ts_text_add(out, "\n");
  }
}

// --- comparing --------------------------------------------------------------------------------------------------------
bool ts__arg_equal(const ts_arg *a, const ts_arg *b) {
  if (a->kind != b->kind) return false;
  switch (a->kind) {
    case TS_ARG_NONE: case TS_ARG_OPEN: return true;
    case TS_ARG_RV: return a->rv == b->rv;
    case TS_ARG_INT: return a->i == b->i;
    case TS_ARG_FLOAT: return memcmp(&a->f, &b->f, sizeof a->f) == 0;
    case TS_ARG_STR: case TS_ARG_WORD: return !strcmp(a->s, b->s);
    case TS_ARG_LIST: break;
  }
  if (a->list.n != b->list.n) return false;
  for (int i = 0; i < a->list.n; i++)
    if (!ts__arg_equal(&a->list.p[i], &b->list.p[i])) return false;
  return true;
}

static bool inst_equal(const ts_inst *a, const ts_inst *b) {
  if (a->prim != b->prim || a->nargs != b->nargs || a->nresults != b->nresults || a->ndecision != b->ndecision) return false;
  for (int i = 0; i < a->nargs; i++)
    if (!ts__arg_equal(&a->args[i], &b->args[i])) return false;
  for (int i = 0; i < a->nresults; i++)
    if (a->results[i] != b->results[i]) return false;
  return !a->ndecision || !memcmp(a->decision, b->decision, sizeof(int64_t) * (size_t)a->ndecision);
}

bool ts_trace_equal(const ts_trace *a, const ts_trace *b) {
  if (a->n != b->n || a->nrvs != b->nrvs) return false;
  for (int i = 0; i < a->n; i++)
    if (!inst_equal(a->inst[i], b->inst[i])) return false;
  return true;
}

static uint64_t arg_hash(uint64_t h, const ts_arg *a) {
  h = ts_hash_mix(h, a->kind);
  switch (a->kind) {
    case TS_ARG_NONE: case TS_ARG_OPEN: return h;
    case TS_ARG_RV: return ts_hash_mix(h, (uint64_t)a->rv);
    case TS_ARG_INT: return ts_hash_mix(h, (uint64_t)a->i);
    case TS_ARG_FLOAT: return ts_hash64(&a->f, sizeof a->f, h);
    case TS_ARG_STR: case TS_ARG_WORD: return ts_hash64(a->s, strlen(a->s), h);
    case TS_ARG_LIST: break;
  }
  for (int i = 0; i < a->list.n; i++) h = arg_hash(h, &a->list.p[i]);
  return ts_hash_mix(h, (uint64_t)a->list.n);
}

uint64_t ts_trace_hash(const ts_trace *t) {
  uint64_t h = 1;
  for (int i = 0; i < t->n; i++) {
    const ts_inst *x = t->inst[i];
    const char *name = ts_prim_get(x->prim)->name;
    h = ts_hash64(name, strlen(name), h);
    for (int k = 0; k < x->nargs; k++) h = arg_hash(h, &x->args[k]);
    for (int k = 0; k < x->nresults; k++) h = ts_hash_mix(h, (uint64_t)x->results[k]);
    for (int k = 0; k < x->ndecision; k++) h = ts_hash_mix(h, (uint64_t)x->decision[k]);
  }
  return h;
}

const ts_trace *ts_trace_with_decision(ts_arena *a, const ts_trace *t, int step, const int64_t *values, int n) {
  ts_trace *out = ts_arena_dup(a, t, sizeof *t);
  const ts_inst **inst = ts_new_array(a, const ts_inst *, t->n);
  memcpy(inst, t->inst, sizeof *inst * (size_t)t->n);
  ts_inst *x = ts_arena_dup(a, t->inst[step], sizeof *x);
  x->decision = n ? ts_arena_dup(a, values, sizeof *values * (size_t)n) : NULL;
  x->ndecision = n;
  inst[step] = x;
  out->inst = inst;
  return out;
}

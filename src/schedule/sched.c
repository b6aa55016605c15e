// Schedules: state, one step, undo, look-up.
#include "schedule_impl.h"

// --- making and looking ------------------------------------------------------------------------------------------
// Blocks beside statements that are no blocks: dependences are judged block by block, so such a scope is left alone.
static bool mixed(const ts__tree *t, int *at) {
  for (int i = 0; i < t->n; i++) {
    ts_skind k = t->node[i].s->kind;
    if (k == TS_S_FOR || k == TS_S_SEQ || k == TS_S_BLOCK) continue;
    int scope = t->node[i].scope;
    for (int j = scope + 1; j < t->node[scope].end; j++) {
      if (t->node[j].s->kind != TS_S_BLOCK || t->node[j].scope != scope) continue;
      *at = j;
      return true;
    }
  }
  return false;
}

ts_sched *ts_sched_new(ts_ir *ir, const ts_func *f, uint64_t seed) {
  ts_sched *s = ts_new(ts_ir_arena(ir), ts_sched);
  s->ir = ir;
  s->arena = ts_ir_arena(ir);
  s->f = f;
  s->seed = seed;
  int at;
  ts__tree_build(s->arena, &s->tree, f->body);
  s->tree_of = f;
  s->mixed = mixed(&s->tree, &at);
  for (int i = 0; i < s->tree.n; i++) s->shells |= ts__is_shell(s->tree.node[i].s);
  return s;
}

// A vector of its own with the same contents.
#define VEC_COPY(to, from) \
  (to)->p = (from)->n ? ts_arena_dup(n->arena, (from)->p, sizeof *(from)->p * (from)->n) : NULL, (to)->cap = (to)->n = (from)->n

ts_sched *ts_sched_clone(const ts_sched *s) {
  ts_sched *n = ts_arena_dup(s->arena, s, sizeof *s);
  VEC_COPY(&n->inst, &s->inst);
  VEC_COPY(&n->snap, &s->snap);
  VEC_COPY(&n->rv, &s->rv);
  VEC_COPY(&n->rv_name, &s->rv_name);
  n->tree = (ts__tree){0};
  n->tree_of = NULL;
  return n;
}

// The root's reads and writes are brought up to date here: a replay needs them once, at the end.
const ts_func *ts_sched_func(const ts_sched *s) {
  ts_sched *m = (ts_sched *)s;
  if (!s->stale) return s->f;
  ts_func *f = ts_arena_dup(s->arena, s->f, sizeof *f);
  f->body = ts_stmt_infer_access(s->ir, s->f->body);
  m->f = f;
  m->stale = false;
  return f;
}

const ts_func *ts_sched_func_at(const ts_sched *s, int step) {
  if (step >= (int)s->snap.n) return ts_sched_func(s);
  const ts_func *was = s->snap.p[step].f;
  ts_func *f = ts_arena_dup(s->arena, was, sizeof *f);
  f->body = ts_stmt_infer_access(s->ir, was->body);
  return f;
}

ts_ir *ts_sched_ir(const ts_sched *s) { return s->ir; }
const ts_refusal *ts_sched_refusal(const ts_sched *s) { return &s->refusal; }

const ts_trace *ts_sched_trace(const ts_sched *s) {
  ts_trace *view = &((ts_sched *)s)->view;
  *view = (ts_trace){.file = "schedule", .n = (int)s->inst.n, .nrvs = (int)s->rv.n, .inst = s->inst.p, .rv_name = s->rv_name.p};
  return view;
}

static const ts__tree *tree_of(ts_sched *s) {
  if (s->tree_of == s->f) return &s->tree;
  ts__tree_build(s->arena, &s->tree, s->f->body);
  s->tree_of = s->f;
  return &s->tree;
}

static const ts_stmt *rv_stmt(const ts_sched *s, ts_rv rv, char kind) {
  if (rv < 0 || (size_t)rv >= s->rv.n || s->rv.p[rv].kind != kind) return NULL;
  const ts__tree *t = tree_of((ts_sched *)s);
  int node = ts__tree_find(t, s->rv.p[rv].id);
  return node < 0 ? NULL : t->node[node].s;
}

const ts_stmt *ts_sched_loop(const ts_sched *s, ts_rv rv) { return rv_stmt(s, rv, 'l'); }
const ts_stmt *ts_sched_block(const ts_sched *s, ts_rv rv) { return rv_stmt(s, rv, 'b'); }

bool ts_sched_int(const ts_sched *s, ts_rv rv, int64_t *out) {
  if (rv < 0 || (size_t)rv >= s->rv.n || s->rv.p[rv].kind != 'i') return false;
  *out = s->rv.p[rv].value;
  return true;
}

ts_rv ts_sched_find(const ts_sched *s, const char *name) {
  for (size_t i = s->rv.n; i-- > 0;)
    if (!strcmp(s->rv_name.p[i], name)) return (ts_rv)i;
  return -1;
}

// --- resolving arguments ---------------------------------------------------------------------------------------------
static bool bad(ts__ctx *c, int k, const char *wanted) {
  const ts__sig *sig = ts__sig_get(c->prim);
  ts__refuse(c, TS_R_bad_argument, k, "argument {0} must be {1}");
  ts__fact_s(c, k < sig->n ? sig->p[k].name : "list");
  ts__fact_s(c, wanted);
  return false;
}

static bool resolve_node(ts__ctx *c, int k, ts_arg a, char type, int *node) {
  if (a.kind != TS_ARG_RV) return bad(c, k, type == 'b' ? "a block" : type == 'l' ? "a loop" : "a loop or block");
  const ts_sched *s = c->s;
  if (a.rv < 0 || (size_t)a.rv >= s->rv.n) return ts__refuse(c, TS_R_unknown_reference, k, "a reference stands for nothing");
  ts__rv rv = s->rv.p[a.rv];
  bool fits = rv.kind == 'b' ? type != 'l' : rv.kind == 'l' ? type != 'b' : false;
  if (!fits) {
    ts__refuse(c, TS_R_unknown_reference, k, "{0} is not {1}");
    ts__fact_s(c, rv.name);
    ts__fact_s(c, type == 'b' ? "a block" : type == 'l' ? "a loop" : "a loop or block");
    return false;
  }
  *node = ts__tree_find(c->t, rv.id);
  if (*node >= 0) return true;
  ts__refuse(c, TS_R_expired_reference, k, "{0} is no longer in the function");
  ts__fact_s(c, rv.name);
  return false;
}

static bool resolve_int(ts__ctx *c, int k, ts_arg a, int64_t *out) {
  if (a.kind == TS_ARG_RV) return ts_sched_int(c->s, a.rv, out) || bad(c, k, "an integer");
  if (a.kind != TS_ARG_INT) return bad(c, k, "an integer");
  *out = a.i;
  return true;
}

static bool resolve_value(ts__ctx *c, int k, ts_arg a, ts_note *out) {
  if (a.kind == TS_ARG_STR) *out = (ts_note){.kind = TS_NOTE_STR, .s = a.s};
  else if (a.kind == TS_ARG_FLOAT && !isfinite(a.f)) return bad(c, k, "finite");
  else if (a.kind == TS_ARG_FLOAT) *out = (ts_note){.kind = TS_NOTE_FLOAT, .f = a.f};
  else {
    *out = (ts_note){.kind = TS_NOTE_INT};
    return resolve_int(c, k, a, &out->i);
  }
  return true;
}

static bool resolve_list(ts__ctx *c, int k, ts_arg a, char type, ts__val *v) {
  if (a.kind != TS_ARG_LIST) return bad(c, k, "a list");
  v->n = a.list.n;
  int *nodes = ts_new_array(c->a, int, v->n);
  int64_t *ints = ts_new_array(c->a, int64_t, v->n);
  bool *open = ts_new_array(c->a, bool, v->n);
  double *nums = ts_new_array(c->a, double, v->n);
  for (int i = 0; i < v->n; i++) {
    ts_arg x = a.list.p[i];
    if (type == 'L') TS_TRY(resolve_node(c, k, x, 'l', &nodes[i]));
    else if (type == 'F' && x.kind == TS_ARG_OPEN) open[i] = true;
    else if (type == 'N' && x.kind == TS_ARG_FLOAT && isfinite(x.f)) nums[i] = x.f;
    else {
      TS_TRY(resolve_int(c, k, x, &ints[i]));
      nums[i] = (double)ints[i];
    }
  }
  v->nodes = nodes, v->ints = ints, v->open = open, v->nums = nums;
  return true;
}

static bool resolve_string(ts__ctx *c, int k, ts_arg a, const char **out) {
  if (a.kind != TS_ARG_STR && a.kind != TS_ARG_WORD) return bad(c, k, "a string");
  *out = a.s;
  return true;
}

static bool resolve_arg(ts__ctx *c, int k, ts_arg a, char type, ts__val *v) {
  v->given = true;
  switch (type) {
    case 'b': case 'l': case 'x': return resolve_node(c, k, a, type, &v->node);
    case 'i': return resolve_int(c, k, a, &v->i);
    case 'u':
      if (a.kind == TS_ARG_STR) return resolve_string(c, k, a, &v->s);
      return resolve_int(c, k, a, &v->i);
    case 'v': return resolve_value(c, k, a, &v->note);
    case 's': case 'w': case 'M': return resolve_string(c, k, a, &v->s);
    default: return resolve_list(c, k, a, type, v);
  }
}

// The default of a keyword that was left out; an empty default leaves it ungiven.
static bool resolve_default(const ts__param *p, ts__val *v) {
  if (!p->ndflt) return true;
  if (p->type == 'i') {
    v->i = 0;
    for (const char *q = p->dflt; *q; q++) v->i = v->i * 10 + (*q - '0');
  } else {
    v->s = p->dflt;
  }
  v->given = true;
  return true;
}

static bool resolve(ts__ctx *c, const ts_inst *inst) {
  const ts__sig *sig = ts__sig_get(c->prim);
  if (inst->nargs > sig->n) return bad(c, sig->n, "left out: there are too many");
  for (int k = 0; k < sig->n; k++) {
    bool given = k < inst->nargs && inst->args[k].kind != TS_ARG_NONE;
    if (given) TS_TRY(resolve_arg(c, k, inst->args[k], sig->p[k].type, &c->arg[k]));
    else if (sig->p[k].keyword) TS_TRY(resolve_default(&sig->p[k], &c->arg[k]));
    else return bad(c, k, "given");
  }
  return true;
}

// --- recording --------------------------------------------------------------------------------------------------------
void ts__result(ts__ctx *c, char kind, uint32_t id, int64_t value) {
  if (c->nres == c->capres) {
    int cap = c->capres ? c->capres * 2 : 8;
    ts__rv *p = ts_new_array(c->a, ts__rv, cap);
    if (c->nres) memcpy(p, c->res, sizeof *p * (size_t)c->nres);
    c->res = p;
    c->capres = cap;
  }
  c->res[c->nres++] = (ts__rv){.kind = kind, .id = id, .value = value};
}

bool ts__sampled(ts__ctx *c, const int64_t *v, int n) {
  c->drawn = v;
  c->ndrawn = n;
  for (int i = 0; i < n; i++) ts__result(c, 'i', 0, v[i]);
  return true;
}

static const char *made_up(ts_sched *s, char kind) {
  char name[24];
  do snprintf(name, sizeof name, "%c%d", kind == 'i' ? 'v' : kind, s->names++);
  while (ts_sched_find(s, name) >= 0);
  return ts_arena_strdup(s->arena, name);
}

static ts_rv rv_add(ts_sched *s, ts__rv rv, const char *name) {
  rv.name = name;
  ts_vec_push(s->arena, &s->rv, rv);
  ts_vec_push(s->arena, &s->rv_name, name);
  return (ts_rv)(s->rv.n - 1);
}

// The instruction as it is kept: own copies of lists and strings, decision as drawn, results numbered.
static ts_arg arg_keep(ts_arena *a, ts_arg x) {
  if (x.kind == TS_ARG_STR || x.kind == TS_ARG_WORD) x.s = ts_arena_strdup(a, x.s);
  if (x.kind != TS_ARG_LIST || !x.list.n) return x;
  ts_arg *p = ts_new_array(a, ts_arg, x.list.n);
  for (int i = 0; i < x.list.n; i++) p[i] = arg_keep(a, x.list.p[i]);
  x.list.p = p;
  return x;
}

static void record(ts__ctx *c, const ts_inst *inst, const ts__run *how) {
  ts_sched *s = c->s;
  const ts__sig *sig = ts__sig_get(c->prim);
  ts_vec_push(s->arena, &s->snap, ((ts__snap){.f = s->f, .nrvs = (int)s->rv.n}));
  ts_inst *keep = ts_new(c->a, ts_inst);
  *keep = (ts_inst){.prim = inst->prim, .nargs = sig->n, .line = inst->line, .decision = c->drawn, .ndecision = c->ndrawn};
  ts_arg *args = ts_new_array(c->a, ts_arg, sig->n);
  for (int k = 0; k < inst->nargs; k++) args[k] = k == sig->decision ? TS_ANONE : arg_keep(c->a, inst->args[k]);
  keep->args = args;
  keep->nresults = how->nnames == TS__NAME_ALL ? c->nres : how->nnames;
  ts_rv *res = ts_new_array(c->a, ts_rv, keep->nresults);
  for (int k = 0; k < keep->nresults; k++) {
    const char *name = how->nnames == TS__NAME_ALL ? made_up(s, c->res[k].kind) : how->names[k];
    res[k] = name ? rv_add(s, c->res[k], name) : -1;
  }
  keep->results = res;
  ts_vec_push(s->arena, &s->inst, keep);
  if (c->out) s->f = c->out;
  s->stale |= c->stale;
}

// --- running ------------------------------------------------------------------------------------------------------------
typedef struct prim_fns {
  bool (*check)(ts__ctx *c);
  bool (*apply)(ts__ctx *c);
} prim_fns;
static const prim_fns table[] = {
#define PRIM(name, args, results, flags, doc) {ts__check_##name, ts__apply_##name},
#include "schedule/prim.def"
#undef PRIM
};

ts_rng ts__step_rng(const ts__ctx *c) { return ts_rng_new(c->s->seed, (uint64_t)c->step); }

static void tell(const ts_sched *s, const ts__run *how, ts_diag *d) {
  if (!d) return;
  const ts_refusal *r = &s->refusal;
  ts_text t = {0}, h = {0};
  if (how->file && r->line) ts_text_addf(&t, "%s:%d: ", how->file, r->line);
  ts_refusal_line(&t, r);
  ts__refusal_hint(&h, r);
  ts_refuse(d, ts_rcode_name(r->code), "%s", ts_text_str(&t));
  if (r->hint) ts_hint(d, "%s", ts_text_str(&h));
  ts_text_free(&t);
  ts_text_free(&h);
}

static bool count_ok(ts__ctx *c, const ts__run *how) {
  if (how->nnames <= 0 || how->nnames == c->nres) return true;
  ts__refuse(c, TS_R_result_count, -1, "{0} results, {1} names");
  ts__fact_i(c, c->nres);
  ts__fact_i(c, how->nnames);
  return false;
}

static bool plain(ts__ctx *c) {
  int at = -1;
  if (ts_prim_get(c->prim)->flags & TS_PRIM_PURE || !c->s->mixed) return true;
  mixed(c->t, &at);
  ts__refuse(c, TS_R_opaque_access, -1, "block {0} stands beside statements that are in no block");
  ts__fact_node(c, at);
  return false;
}

// A block in the initialisation of another one has no place beside it.
static bool beside(ts__ctx *c, int arg, int node) {
  int up = c->t->node[node].scope;
  if (!(ts_prim_get(c->prim)->flags & TS_PRIM_BESIDE) || up < 0 || !ts__block(c, up)->init || node >= c->t->node[up + 1].end) return true;
  ts__refuse(c, TS_R_loop_position, arg, "{0} stands in the initialisation of block {1}, where nothing can be put beside it");
  ts__fact_node(c, node);
  ts__fact_node(c, up);
  return false;
}

// Nothing inside a tensorized block changes any more.
static bool untouchable(ts__ctx *c) {
  const ts__sig *sig = ts__sig_get(c->prim);
  if (ts_prim_get(c->prim)->flags & TS_PRIM_PURE) return true;
  for (int k = 0; k < sig->n; k++) {
    const ts__val *v = &c->arg[k];
    int n = sig->p[k].type == 'L' ? v->n : strchr("blx", sig->p[k].type) != NULL;
    for (int i = 0; i < n; i++) {
      int node = sig->p[k].type == 'L' ? v->nodes[i] : v->node;
      TS_TRY(beside(c, k, node));
      for (int up = c->t->node[node].scope; up >= 0; up = c->t->node[up].scope) {
        if (!ts__block(c, up)->intrin) continue;
        ts__refuse(c, TS_R_tensorized, k, "{0} is inside the tensorized block {1}");
        ts__fact_node(c, node);
        ts__fact_node(c, up);
        return false;
      }
    }
  }
  return true;
}

// Buffers of a shell are used inside it only: a step that would take a use out of the iteration is refused.
static bool visible(ts__ctx *c) {
  if (!c->out || c->out == c->f || !c->s->shells) return true;
  c->s->tree_of = c->out;
  ts__tree_build(c->a, &c->s->tree, c->out->body);
  const ts__tree t = c->s->tree;
  for (int i = 0; i < t.n; i++) {
    if (!ts__is_shell(t.node[i].s)) continue;
    const ts_block *shell = t.node[i].s->block;
    for (int j = 0; j < t.n; j++) {
      if (t.node[j].s->kind != TS_S_BLOCK || ts__under(&t, j, i) || ts__under(&t, i, j)) continue;
      for (int k = 0; k < shell->nallocs; k++) {
        const ts_block *b = t.node[j].s->block;
        if (!ts__reads(b, shell->allocs[k]) && !ts__writes(b, shell->allocs[k])) continue;
        ts__refuse(c, TS_R_not_same_scope, -1, "block {0} would use {1}, which belongs to one iteration of another loop");
        ts__fact_s(c, b->name);
        ts__fact_s(c, shell->allocs[k]->name);
        return false;
      }
    }
  }
  return true;
}

bool ts__run_inst(ts_sched *s, const ts_inst *inst, ts__run *how, ts_diag *d) {
  ts__ctx c = {.s = s, .ir = s->ir, .a = s->arena, .f = s->f, .t = tree_of(s), .prim = inst->prim, .step = (int)s->inst.n,
               .line = how->line, .decision = inst->decision, .ndecision = inst->ndecision, .strict = how->strict, .r = &s->refusal};
  s->refusal = (ts_refusal){0};
  bool ok = resolve(&c, inst) && plain(&c) && untouchable(&c) && table[c.prim].check(&c) && table[c.prim].apply(&c) && visible(&c) && count_ok(&c, how);
  ts_analyzer_free(c.an);
  if (!ok) {
    tell(s, how, d);
    return false;
  }
  how->adapted = c.adapted;
  record(&c, inst, how);
  return true;
}

// The trailing list of a sampling call is its decision.
static const int64_t *call_decision(ts_sched *s, ts_prim p, const ts_arg *args, int nargs, int *n) {
  const ts__sig *sig = ts__sig_get(p);
  *n = 0;
  if (sig->decision < 0 || nargs <= sig->decision || args[sig->decision].kind != TS_ARG_LIST) return NULL;
  ts_arg a = args[sig->decision];
  int64_t *v = ts_new_array(s->arena, int64_t, a.list.n);
  for (int i = 0; i < a.list.n; i++) v[i] = a.list.p[i].i;
  *n = a.list.n;
  return v;
}

bool ts_sched_call(ts_sched *s, ts_prim p, const ts_arg *args, int nargs, ts_rv *out, int max, int *nout, ts_diag *d) {
  ts_inst inst = {.prim = p, .nargs = nargs, .args = args};
  inst.decision = call_decision(s, p, args, nargs, &inst.ndecision);
  ts__run how = {.nnames = TS__NAME_ALL};
  if (!ts__run_inst(s, &inst, &how, d)) return false;
  const ts_inst *done = s->inst.p[s->inst.n - 1];
  for (int i = 0; i < done->nresults && i < max; i++) out[i] = done->results[i];
  if (nout) *nout = done->nresults;
  return true;
}

const char **ts__result_names(ts_arena *a, const ts_inst *i, const char *const *rv_name) {
  const char **names = ts_new_array(a, const char *, i->nresults);
  for (int k = 0; k < i->nresults; k++) names[k] = i->results[k] < 0 ? NULL : rv_name[i->results[k]];
  return names;
}

bool ts_sched_step(ts_sched *s, const char *line, ts_diag *d) {
  ts_lex l;
  ts_lex_init(&l, "step", line, strlen(line));
  l.newlines = true;
  ts__names names = s->rv_name;  // pushes go behind the schedule's own names
  names.cap = names.n;
  const ts_inst *i = ts__inst_parse(&l, s->arena, &names, d);
  if (!i) return false;
  while (ts_lex_accept(&l, "\n")) continue;
  if (l.tok != TS_TOK_EOF) return ts_lex_error(&l, d, "expected one step");
  ts__run how = {.nnames = i->nresults, .names = ts__result_names(s->arena, i, names.p)};
  return ts__run_inst(s, i, &how, d);
}

void ts_sched_undo(ts_sched *s, int n) {
  if (n <= 0) return;
  size_t keep = (size_t)n >= s->inst.n ? 0 : s->inst.n - (size_t)n;
  if (keep == s->inst.n) return;
  s->f = s->snap.p[keep].f;
  s->stale = true;
  s->rv.n = s->rv_name.n = (size_t)s->snap.p[keep].nrvs;
  s->inst.n = s->snap.n = keep;
}

// The kernels of a layer one behind the other in one graph, layer after layer, each allowed to start before its predecessor has ended, and each of them alone in a chain
// of itself: what neighbours hide of a kernel, or cost it. Where there is a choice, the kernels that are fastest alone stand beside those that are fastest in the layer.
#include <math.h>
#include <stdlib.h>

#include "search/search_impl.h"

enum { MOST_PARTS = 16, MOST_KERNELS = 256, ALONE_ROUNDS = 21, SCREEN_ROUNDS = 9, FINAL_ROUNDS = 31, PASSES = 3, MOST_CALLS = 1024 };
static const double cold_bytes = 1e9;  // of a graph's weights, at least

typedef struct kernel {
  ts_chain_kernel *row;
  const ts_func *func;
  ts_object object;
  int id;  // in the worker at hand; -1: it takes no part there
} kernel;
typedef struct part {
  const ts_chain_part *given;
  ts_chain_row *row;
  ts_workload *workload;
  ts_space space;
  const ts_func *ref;
  int fed, feeds;  // parameters of the reference: fed by the part before, read by the next; -1: none
  kernel k[MOST_KERNELS];
  size_t now;
} part;
typedef struct chain {
  const ts_chain_opts *o;
  ts_arena *a, *own;  // of the result; of what ends with it
  ts_compiler *compiler;
  ts_db *db;
  size_t n;
  part part[MOST_PARTS];
  const ts_workload *workload[MOST_PARTS];
} chain;

// --- kernels ------------------------------------------------------------------------------------------------------------------
static uint64_t tag_of(const chain *c, const part *p) { return (uint64_t)(p - c->part) * MOST_KERNELS + p->row->n; }

static bool known(const part *p, const char *sketch, const char *point) {
  for (size_t i = 0; i < p->row->n; i++)
    if (strcmp(p->row->kernel[i].sketch, sketch) == 0 && strcmp(p->row->kernel[i].point, point) == 0) return true;
  return false;
}

static const char *first_line(ts_arena *a, ts_text *t) {
  const char *out = ts_arena_strndup(a, ts_text_str(t), strcspn(ts_text_str(t), "\n"));
  ts_text_free(t);
  return out;
}

// The next kernel of a part; NULL when it is there already, or there is no room.
static kernel *new_kernel(chain *c, part *p, const char *sketch, const char *point) {
  if (p->row->n == MOST_KERNELS || known(p, sketch, point)) return NULL;
  kernel *k = &p->k[p->row->n];
  *k = (kernel){.row = &p->row->kernel[p->row->n], .id = -1};
  *k->row = (ts_chain_kernel){.sketch = ts_arena_strdup(c->a, sketch), .point = ts_arena_strdup(c->a, point), .alone_ns = NAN, .layer_ns = NAN};
  return k;
}

static bool add_point(chain *c, part *p, const char *name, const ts_sketch *s, const int64_t *point, ts_diag *d) {
  ts_text text = {0}, unit = {0};
  ts_diag why = {0};
  ts_native_print(&text, s->native->native, point);  // native "near" WARPS=8
  const char *printed = first_line(c->own, &text), *values = strchr(printed + 8, '"') + 1;
  kernel *k = new_kernel(c, p, name, ts_arena_printf(c->own, "%s%s", name, values));
  if (!k) return true;
  k->func = s->func;
  bool ok = true;
  if (!ts_native_unit(c->own, s->native, point, &unit, &why)) k->row->refused = ts_arena_strdup(c->a, why.message);
  else ok = ts_compiler_submit_unit(c->compiler, &(ts_unit){.name = s->native->native->name, .bytes = unit.p, .n = unit.n}, tag_of(c, p), d);
  ts_text_free(&unit);
  p->row->n++;
  return ok;
}

static bool add_trace(chain *c, part *p, const ts_sketch *s, ts_diag *d) {
  ts_diag why = {0};
  ts_text text = {0};
  ts_trace_print(&text, s->trace);
  kernel *k = new_kernel(c, p, s->name, ts_text_str(&text));
  ts_text_free(&text);
  if (!k) return true;
  ts_sched *sched = ts_sketch_draw(p->space.ir, s, s->trace, 0, &why);
  if (!sched) k->row->refused = ts_arena_strdup(c->a, why.message);
  else k->func = ts_sched_func(sched);
  bool ok = !sched || ts_compiler_submit(c->compiler, k->func, tag_of(c, p), d);
  p->row->n++;
  return ok;
}

// "mma.near WARPS=8": a kernel that was asked for.
static bool add_given(chain *c, part *p, const char *text, ts_diag *d) {
  size_t n = strcspn(text, " ");
  ts_lex l;
  for (size_t i = 0; i < p->space.n; i++) {
    const ts_sketch *s = &p->space.sketch[i];
    const int64_t *point;
    if (!s->native || strlen(s->name) != n || strncmp(s->name, text, n) != 0) continue;
    ts_lex_init(&l, "point", text + n, strlen(text + n));
    return ts_native_point(c->own, s->native->native, &l, &point, d) && add_point(c, p, s->name, s, point, d);
  }
  ts_refuse(d, "no-such-template", "%s: no native template serves it that is called %.*s", p->row->workload, (int)n, text);
  ts_hint(d, "tunesmith tune --list \"%s\" names those that do", p->row->workload);
  return false;
}

// What a store keeps of a candidate, "search mma 2" and its trace.
static bool add_kept(chain *c, part *p, const char *generator, const char *trace, ts_diag *d) {
  char source[32], variant[32];
  ts_diag outdated = {0};
  if (sscanf(generator, "%31s %31s", source, variant) != 2 || strcmp(source, "library") == 0) return true;
  const char *v = strcmp(variant, "ref") == 0 ? "" : variant;
  if (!ts_space_add(&p->space, "record", v, "incumbent", trace, &outdated)) return true;  // of other templates than those at hand
  ts_sketch *s = &p->space.sketch[p->space.n - 1];
  if (s->native) s->name = ts_arena_printf(c->own, "%s.%s", variant, s->native->native->name);
  return s->native ? add_point(c, p, s->name, s, s->points, d) : add_trace(c, p, s, d);
}

static bool is_good(const ts_db_tried *t) { return t->outcome && strcmp(t->outcome, "ok") == 0 && strcmp(t->status, "ok") == 0 && t->median > 0; }

// The record, then what was fastest beside it. Refuses "no-record".
static bool add_recorded(chain *c, part *p, ts_diag *d) {
  ts_text limits = {0};
  ts_db_target target = ts_place_target(c->o->target, &limits);
  ts_db_workload row = ts_workload_row(c->own, ts_workload_spec(p->workload), p->ref, p->row->cost);
  ts_db_winner *w;
  ts_db_tried *t = NULL;
  ts_sha256 uid;
  size_t n, ntried = 0;
  ts_diag missing = {0};
  ts_id place = 0, workload = 0;
  bool ok = ts_db_find_winners(c->db, &row, &target, 0, ts_place_policy(c->o->target, "graph", c->own), 1, c->own, &w, &n, d) && ts_db_uid_target(c->db, &target, &uid, d);
  if (ok) place = ts_db_find_target(c->db, &uid, &missing);
  ts_text_free(&limits);
  if (!ok || !n || w[0].match != TS_DB_EXACT) return ok && ts_refuse(d, "no-record", "%s: %s has no record of it", p->row->workload, ts_db_path(c->db));
  workload = w[0].workload_id;
  TS_TRY(add_kept(c, p, w[0].generator, w[0].trace, d));
  if (place) TS_TRY(ts_db_list_tried(c->db, workload, place, 0, "time", 4 * MOST_KERNELS, c->own, &t, &ntried, d));
  for (size_t i = 0; i < ntried && p->row->n < (size_t)c->o->points; i++)
    if (is_good(&t[i])) TS_TRY(add_kept(c, p, t[i].generator, t[i].trace, d));
  return p->row->n > 0 || ts_refuse(d, "no-record", "%s: its record in %s is of a template that is there no more", p->row->workload, ts_db_path(c->db));
}

static bool add_guesses(chain *c, part *p, ts_diag *d) {
  for (size_t i = 0; i < p->space.n; i++) {
    const ts_sketch *s = &p->space.sketch[i];
    for (size_t k = 0; s->native && k < s->npoints && k < (size_t)c->o->points; k++) TS_TRY(add_point(c, p, s->name, s, s->points + k * (size_t)s->native->native->nparams, d));
  }
  return p->row->n > 0 || ts_refuse(d, "no-template", "%s: no native template serves it", p->row->workload);
}

static bool add_kernels(chain *c, part *p, ts_diag *d) {
  p->row->kernel = ts_new_array(c->a, ts_chain_kernel, MOST_KERNELS);
  for (size_t i = 0; i < p->given->n; i++) TS_TRY(add_given(c, p, p->given->point[i], d));
  return p->row->n ? true : c->db ? add_recorded(c, p, d) : add_guesses(c, p, d);
}

static bool compile_all(chain *c, ts_diag *d) {
  ts_compiled x;
  while (ts_compiler_pending(c->compiler)) {
    if (ts_interrupted()) return ts_env_fail(d, "interrupted", "interrupted");
    if (ts_compiler_next(c->compiler, 1, c->own, &x) <= 0) continue;
    kernel *k = &c->part[x.tag / MOST_KERNELS].k[x.tag % MOST_KERNELS];
    if (x.ok) k->object = x.object;
    else if (x.diag.kind == TS_ENVIRONMENT) return (*d = x.diag, false);
    else k->row->refused = ts_arena_strdup(c->a, x.diag.message);
  }
  return true;
}

// --- parts --------------------------------------------------------------------------------------------------------------------
static bool alike(const ts_buffer *x, const ts_buffer *y) {
  int64_t m, n;
  bool same = x->code == y->code && x->ndim == y->ndim;
  for (int i = 0; i < x->ndim && same; i++) same = ts_is_int(x->shape[i], &m) && ts_is_int(y->shape[i], &n) && m == n;
  return same;
}

// The first activation of `to` that an output of `from` can be.
static void connect(part *from, part *to) {
  for (int i = 0; i < from->ref->nparams; i++)
    for (int k = 0; k < to->ref->nparams && to->fed < 0; k++) {
      const ts_param *out = &from->ref->params[i], *in = &to->ref->params[k];
      if (out->role == TS_OUT && in->role == TS_IN && in->cache == TS_WARM && alike(out->buf, in->buf)) from->feeds = i, to->fed = k, to->row->fed = true;
    }
}

static bool open_part(chain *c, part *p, ts_diag *d) {
  ts_text text = {0};
  ts_spec_print(&text, &p->given->spec);
  p->row->workload = first_line(c->a, &text);
  p->fed = p->feeds = -1;
  TS_TRY((p->workload = ts_workload_open(&p->given->spec, c->o->target, c->compiler, d)) != NULL);
  TS_TRY(ts_space_open(&p->given->spec, c->o->target, "", &p->space, d));
  p->ref = ts_workload_reference(p->workload);
  p->row->cost = ts_workload_cost(p->workload);
  c->workload[p - c->part] = p->workload;
  return true;
}

static bool open_parts(chain *c, const ts_chain_part *parts, ts_diag *d) {
  if (c->o->store) TS_TRY((c->db = ts_db_open(c->o->store, TS_DB_READ, d)) != NULL);
  for (size_t i = 0; i < c->n; i++) {
    c->part[i].given = &parts[i];
    TS_TRY(open_part(c, &c->part[i], d));
  }
  for (size_t i = 0; i < c->n && c->n > 1; i++) connect(&c->part[i], &c->part[(i + 1) % c->n]);  // a kernel never reads what itself writes
  for (size_t i = 0; i < c->n; i++) TS_TRY(add_kernels(c, &c->part[i], d));
  return compile_all(c, d);
}

// --- calls --------------------------------------------------------------------------------------------------------------------
// Activations are where all layers have them, weights are each call's own.
static void fill_call(chain *c, size_t p, bool alone, size_t index, ts_step_call *call) {
  const part *x = &c->part[p];
  ts_step_link *l = ts_new_array(c->own, ts_step_link, x->ref->nparams + 1);
  *call = (ts_step_call){.part = index, .links = l};
  for (int i = 0; i < x->ref->nparams; i++) {
    const char *name = x->ref->params[i].buf->name;
    if (x->ref->params[i].cache != TS_WARM) continue;
    size_t owner = !alone && i == x->fed ? (p + c->n - 1) % c->n : p;
    const part *o = &c->part[owner];
    l[call->nlinks++] = (ts_step_link){name, ts_arena_printf(c->own, "%zu.%s", owner, o->ref->params[owner == p ? i : o->feeds].buf->name)};
  }
}

// How many times round, so that weights together are cold.
static size_t turns(double bytes, size_t least, size_t calls) {
  double n = bytes > 0 ? ceil(cold_bytes / bytes) : 0;
  return (size_t)fmax(1, fmin(fmax((double)least, n), MOST_CALLS / (double)calls));
}

// The kernels of a part to a step's worker. One that cannot take part is out, and another is chosen for it; refuses when none is left.
static bool give(chain *c, part *p, ts_step *s, size_t index, ts_diag *d) {
  size_t taken = 0;
  for (size_t i = 0; i < p->row->n; i++) {
    kernel *k = &p->k[i];
    ts_diag why = {0};
    k->id = -1;
    if (k->row->refused) continue;
    if (ts_step_add(s, index, k->func, &k->object, &k->id, &why)) taken++;
    else if (why.kind != TS_REFUSAL) return (*d = why, false);
    else k->row->refused = ts_arena_strdup(c->a, why.message);
  }
  for (size_t i = 0; taken && p->k[p->now].id < 0; i++) p->now = i;
  return taken || ts_refuse(d, "no-kernel", "%s: %s: %s", p->row->workload, p->k[0].row->sketch, p->k[0].row->refused);
}

static bool going(ts_diag *d) { return !ts_interrupted() || ts_env_fail(d, "interrupted", "interrupted"); }

// --- alone --------------------------------------------------------------------------------------------------------------------
static bool time_alone(chain *c, part *p, ts_step *s, size_t ncalls, ts_diag *d) {
  int pick[MOST_KERNELS];
  size_t which[MOST_KERNELS], n = 0;
  double *ns = ts_new_array(c->own, double, MOST_KERNELS * ALONE_ROUNDS);
  TS_TRY(give(c, p, s, 0, d));
  for (size_t i = 0; i < p->row->n; i++)
    if (p->k[i].id >= 0) which[n] = i, pick[n++] = p->k[i].id;
  TS_TRY(ts_step_time(s, pick, n, ALONE_ROUNDS, ns, d));
  for (size_t i = 0; i < n; i++) p->k[which[i]].row->alone_ns = ts_stats_of(ns + i * ALONE_ROUNDS, ALONE_ROUNDS).median / (double)ncalls;
  p->now = which[0];
  for (size_t i = 0; i < n && (p->given->n || !c->db); i++)
    if (p->k[which[i]].row->alone_ns < p->k[p->now].row->alone_ns) p->now = which[i];
  p->row->alone = p->now;
  return true;
}

static bool alone(chain *c, size_t at, ts_diag *d) {
  part *p = &c->part[at];
  size_t n = turns(p->row->cost.cold_bytes, (size_t)c->o->layers, 1);
  ts_step_call *calls = ts_new_array(c->own, ts_step_call, n);
  for (size_t i = 0; i < n; i++) fill_call(c, at, true, 0, &calls[i]);
  ts_step *s = ts_step_open(&c->workload[at], 1, calls, n, 0, c->o->seed, d);
  bool ok = s && time_alone(c, p, s, n, d) && going(d);
  ts_step_close(s);
  return ok;
}

// --- in the layer -------------------------------------------------------------------------------------------------------------
static void now(const chain *c, int *pick) {
  for (size_t p = 0; p < c->n; p++) pick[p] = c->part[p].k[c->part[p].now].id;
}

// The fastest kernel of a part beside the others as chosen so far.
static bool choose_part(chain *c, ts_step *s, part *p, size_t layers, bool *changed, ts_diag *d) {
  int *pick = ts_new_array(c->own, int, MOST_KERNELS * c->n);
  double *ns = ts_new_array(c->own, double, MOST_KERNELS * SCREEN_ROUNDS);
  size_t which[MOST_KERNELS], n = 0, best = p->now;
  for (size_t i = 0; i < p->row->n; i++) {
    if (p->k[i].id < 0) continue;
    now(c, pick + n * c->n);
    pick[n * c->n + (size_t)(p - c->part)] = p->k[i].id;
    which[n++] = i;
  }
  if (n < 2) return true;
  TS_TRY(ts_step_time(s, pick, n, SCREEN_ROUNDS, ns, d) && going(d));
  for (size_t i = 0; i < n; i++) p->k[which[i]].row->layer_ns = ts_stats_of(ns + i * SCREEN_ROUNDS, SCREEN_ROUNDS).median / (double)layers;
  for (size_t i = 0; i < n; i++)
    if (p->k[which[i]].row->layer_ns < p->k[best].row->layer_ns) best = which[i];
  *changed |= best != p->now;
  p->now = best;
  return true;
}

static bool time_layers(chain *c, ts_step *s, size_t layers, ts_chain_result *out, ts_diag *d) {
  int pick[2 * MOST_PARTS];
  double ns[2 * FINAL_ROUNDS];
  bool changed = true;
  for (size_t p = 0; p < c->n; p++) TS_TRY(give(c, &c->part[p], s, p, d));
  now(c, pick);
  for (int pass = 0; pass < PASSES && changed; pass++) {
    changed = false;
    for (size_t p = 0; p < c->n; p++) TS_TRY(choose_part(c, s, &c->part[p], layers, &changed, d));
  }
  now(c, pick + c->n);
  TS_TRY(ts_step_time(s, pick, 2, FINAL_ROUNDS, ns, d));
  for (size_t p = 0; p < c->n; p++) c->part[p].row->chosen = c->part[p].now;
  out->layer_ns = ts_stats_of(ns, FINAL_ROUNDS).median / (double)layers;
  out->chosen_ns = ts_stats_of(ns + FINAL_ROUNDS, FINAL_ROUNDS).median / (double)layers;
  out->gain = ts_compare_paired(ns + FINAL_ROUNDS, ns, FINAL_ROUNDS, 0.001);
  return true;
}

static bool together(chain *c, ts_chain_result *out, ts_diag *d) {
  double bytes = 0;
  for (size_t p = 0; p < c->n; p++) bytes += c->part[p].row->cost.cold_bytes;
  size_t layers = turns(bytes, (size_t)c->o->layers, c->n);
  ts_step_call *calls = ts_new_array(c->own, ts_step_call, layers * c->n);
  for (size_t i = 0; i < layers * c->n; i++) fill_call(c, i % c->n, false, i % c->n, &calls[i]);
  out->layers = (int)layers;
  ts_step *s = ts_step_open(c->workload, c->n, calls, layers * c->n, 0, c->o->seed, d);
  bool ok = s && time_layers(c, s, layers, out, d);
  ts_step_close(s);
  return ok;
}

// --- all of it ----------------------------------------------------------------------------------------------------------------
static void close_parts(chain *c) {
  for (size_t i = 0; i < c->n; i++) {
    ts_workload_close(c->part[i].workload);
    if (c->part[i].space.arena) ts_space_close(&c->part[i].space);
  }
  ts_db_close(c->db);
  ts_compiler_drop(c->compiler);
}

bool ts_chain(ts_arena *a, const ts_chain_part *parts, size_t n, ts_compiler *compiler, const ts_chain_opts *o, ts_chain_result *out, ts_diag *d) {
  if (n > MOST_PARTS) return ts_refuse(d, "long-chain", "%zu kernels one behind the other: at most %d are possible", n, MOST_PARTS);
  chain *c = calloc(1, sizeof *c);
  if (!c) abort();
  *c = (chain){.o = o, .a = a, .own = ts_arena_new("chain"), .compiler = compiler, .n = n};
  *out = (ts_chain_result){.n = n, .row = ts_new_array(a, ts_chain_row, n)};
  for (size_t i = 0; i < n; i++) c->part[i].row = &out->row[i];
  bool ok = open_parts(c, parts, d);
  for (size_t i = 0; i < n && ok; i++) ok = alone(c, i, d);
  ok = ok && together(c, out, d);
  close_parts(c);
  ts_arena_free(c->own);
  free(c);
  return ok;
}

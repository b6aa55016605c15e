// Every sketch of a workload at a few of its points: compiled side by side, judged by the operator, timed.
#include <math.h>
#include <stdlib.h>

#include "search/search.h"

enum { MOST_ROWS = 4096, FINALISTS = 8, FINAL_ROUNDS = 31, LIBRARY = -1 };

typedef struct trial {
  const ts_trial_opts *o;
  ts_arena *a;       // of the result
  ts_arena *own;     // candidates
  ts_space space;
  ts_workload *workload;
  ts_compiler *compiler;
  ts_meter *meter;
  size_t n;
  ts_trial_row *row;
  int *sketch;               // of each row; LIBRARY: none
  const ts_func **func;
  ts_object *object;         // bytes NULL: not compiled
  const ts_func **pack;      // of each sketch
  ts_object *pack_object;
} trial;

static const char *text_of(trial *t, ts_text *text) {
  const char *out = ts_arena_strdup(t->a, ts_text_str(text));
  ts_text_free(text);
  return out;
}

static ts_trial_row *refused(ts_trial_row *r, trial *t, const ts_diag *why) {
  r->outcome = strcmp(why->code, "compiler-timeout") == 0 ? "timeout" : strcmp(why->code, "compiler-crashed") == 0 ? "crash" : "refused";
  r->message = ts_arena_strdup(t->a, why->message);
  return r;
}

static ts_trial_row *new_row(trial *t, int sketch) {
  static const ts_sketch library = {.name = "cublaslt", .source = "library"};
  const ts_sketch *k = sketch == LIBRARY ? &library : &t->space.sketch[sketch];
  ts_trial_row *r = &t->row[t->n];
  *r = (ts_trial_row){.sketch = ts_arena_strdup(t->a, k->name), .source = ts_arena_strdup(t->a, k->source), .point = "", .outcome = "", .message = "", .rel_error = NAN};
  t->sketch[t->n++] = sketch;
  return r;
}

// --- candidates ----------------------------------------------------------------------------------------------------------
static bool submit_point(trial *t, int sketch, const int64_t *point, ts_diag *d) {
  const ts_sketch *k = &t->space.sketch[sketch];
  ts_text unit = {0}, text = {0};
  ts_diag why = {0};
  ts_trial_row *r = new_row(t, sketch);
  ts_native_print(&text, k->native->native, point);
  r->point = text_of(t, &text);
  t->func[t->n - 1] = k->func;
  bool ok = true;
  if (!ts_native_unit(t->own, k->native, point, &unit, &why)) refused(r, t, &why);
  else ok = ts_compiler_submit_unit(t->compiler, &(ts_unit){.name = k->native->native->name, .bytes = unit.p, .n = unit.n}, t->n - 1, d);
  ts_text_free(&unit);
  return ok;
}

// The points that the author names first, then some from the whole list.
static bool submit_native(trial *t, int sketch, ts_diag *d) {
  const ts_sketch *k = &t->space.sketch[sketch];
  size_t width = (size_t)k->native->native->nparams, most = TS_MIN(k->npoints, (size_t)t->o->points), starts = TS_MIN((size_t)k->native->native->nstarts, most);
  for (size_t i = 0; i < most && t->n < MOST_ROWS; i++) {
    size_t at = i < starts ? i : starts + (i - starts) * (k->npoints - starts) / (most - starts);
    TS_TRY(submit_point(t, sketch, k->points + at * width, d));
  }
  return true;
}

static bool is_among(const uint64_t *met, int n, uint64_t hash) {
  for (int i = 0; i < n; i++)
    if (met[i] == hash) return true;
  return false;
}

// Draws that differ; one that a step refuses is no candidate, one that asks more than the GPU has is told.
static bool submit_draws(trial *t, int sketch, ts_diag *d) {
  enum { TRIES = 4 };
  const ts_sketch *k = &t->space.sketch[sketch];
  uint64_t met[TRIES * 64];
  int n = 0, found = 0, most = TS_MIN(t->o->points, (int)TS_COUNTOF(met) / TRIES);
  for (uint64_t seed = 0; seed < TRIES * (uint64_t)most && found < most && t->n < MOST_ROWS; seed++) {
    ts_ir *ir = ts_ir_new(t->own);
    ts_diag why = {0};
    ts_sched *s = ts_sketch_draw(ir, k, k->trace, t->o->seed + seed, NULL);
    if (!s) continue;
    const ts_func *f = ts_sched_func(s);
    uint64_t hash = ts_func_hash(f);
    if (is_among(met, n, hash)) continue;
    met[n++] = hash;
    bool fits = t->o->target->api != TS_API_CUDA || ts_gpu_check(ir, f, t->o->target, NULL, &why);
    ts_text text = {0};
    ts_trace_print(&text, ts_sched_trace(s));
    ts_trial_row *r = new_row(t, sketch);
    r->point = text_of(t, &text);
    t->func[t->n - 1] = f;
    found += fits;
    if (!fits) refused(r, t, &why);
    else TS_TRY(ts_compiler_submit(t->compiler, f, t->n - 1, d));
  }
  return true;
}

// Once a variant; what rules make of it, for on a GPU the function as written is one thread.
static bool compile_pack(trial *t, int sketch, ts_diag *d) {
  const ts_sketch *k = &t->space.sketch[sketch];
  if (!k->pack) return true;
  for (int i = 0; i < sketch; i++)
    if (t->space.sketch[i].pack == k->pack && t->pack[i]) return t->pack[sketch] = t->pack[i], t->pack_object[sketch] = t->pack_object[i], true;
  const ts_trace *trace;
  ts_sketch x = {.name = "pack", .variant = k->variant, .source = "rules", .func = k->pack};
  t->pack[sketch] = k->pack;
  if (t->o->target->api == TS_API_CUDA && ts_rules_sketch(t->space.ir, k->pack, t->o->target, &trace)) {
    ts_sched *s = ts_sketch_draw(t->space.ir, &x, trace, 0, NULL);
    if (s) t->pack[sketch] = ts_sched_func(s);
  }
  return ts_compiler_run(t->compiler, t->pack[sketch], t->own, &t->pack_object[sketch], d);
}

// Whether the name holds one of the texts, which commas part.
static bool wanted(const trial *t, const char *name) {
  const char *p = t->o->only;
  while (p) {
    const char *end = p + strcspn(p, ",");
    if (end > p && memmem(name, strlen(name), p, (size_t)(end - p))) return true;
    p = *end ? end + 1 : NULL;
  }
  return !t->o->only;
}

// What a vendor's library thinks best; it needs no compiling.
static void add_library(trial *t) {
  enum { CHOICES = 4 };
  ts_object o;
  for (int i = 0; i < TS_MIN(t->o->points, CHOICES) && ts_library_object(t->own, ts_workload_spec(t->workload), t->space.sketch[0].func, t->o->target, i, &o); i++) {
    new_row(t, LIBRARY)->point = ts_arena_printf(t->a, "library cublaslt CHOICE=%d", i);
    t->func[t->n - 1] = t->space.sketch[0].func;
    t->object[t->n - 1] = o;
  }
}

static bool compile_all(trial *t, ts_diag *d) {
  for (int i = 0; i < (int)t->space.n; i++)
    if (wanted(t, t->space.sketch[i].name)) TS_TRY(compile_pack(t, i, d));
  if (wanted(t, "cublaslt")) add_library(t);
  for (int i = 0; i < (int)t->space.n; i++)
    if (wanted(t, t->space.sketch[i].name)) TS_TRY(t->space.sketch[i].native ? submit_native(t, i, d) : submit_draws(t, i, d));
  while (ts_compiler_pending(t->compiler) && !ts_interrupted()) {
    ts_compiled c;
    if (ts_compiler_next(t->compiler, 1, t->own, &c) <= 0) continue;
    if (c.ok) t->object[c.tag] = c.object;
    else if (c.diag.kind == TS_ENVIRONMENT) return (*d = c.diag, false);
    else refused(&t->row[c.tag], t, &c.diag);
  }
  return true;
}

// --- running them ----------------------------------------------------------------------------------------------------------
static void fill(trial *t, size_t i, const ts_outcome_row *r) {
  ts_trial_row *row = &t->row[i];
  row->outcome = ts_outcome_kind_name(r->kind);
  row->message = ts_arena_strdup(t->a, r->message);
  row->rel_error = r->rel_error;
  if (r->kind == TS_MEASURED) row->stats = r->stats;
}

static bool run(trial *t, size_t i, ts_diag *d) {
  int k = t->sketch[i];
  ts_effort e = ts_effort_search;
  if (t->o->judge) e = (ts_effort){.min_samples = 3, .max_samples = 3, .half_width = 1, .max_s = 0.02};
  e.patient = true;
  ts_candidate c = {.func = t->func[i], .object = &t->object[i]};
  if (k == LIBRARY) c.tolerance = t->space.sketch[0].tolerance;
  else c = (ts_candidate){.tolerance = t->space.sketch[k].tolerance, .func = t->func[i], .object = &t->object[i], .pack = t->pack[k], .pack_object = &t->pack_object[k]};
  ts_outcome_row r;
  if (!ts_meter_run(t->meter, i + 1, &c, &e, t->own, &r, d)) return false;
  fill(t, i, &r);
  if (k == LIBRARY && r.kind != TS_MEASURED) t->row[i].outcome = "refused";  // it is not here, or has no such product
  return true;
}

static bool good(const trial *t, size_t i) { return strcmp(t->row[i].outcome, "ok") == 0; }

// The best of each sketch, fastest first, in turn.
static bool hold_final(trial *t, ts_diag *d) {
  size_t pick[FINALISTS], n = 0;
  uint64_t tags[FINALISTS];
  ts_outcome_row out[FINALISTS];
  for (;;) {
    size_t best = SIZE_MAX;
    for (size_t i = 0; i < t->n; i++) {
      bool taken = !good(t, i);
      for (size_t k = 0; k < n; k++) taken |= t->sketch[pick[k]] == t->sketch[i];
      if (!taken && (best == SIZE_MAX || t->row[i].stats.median < t->row[best].stats.median)) best = i;
    }
    if (best == SIZE_MAX || n == FINALISTS) break;
    tags[n] = best + 1;
    pick[n++] = best;
  }
  if (!n || ts_interrupted()) return true;
  TS_TRY(ts_meter_final(t->meter, tags, n, FINAL_ROUNDS, 5, t->own, out, d));
  for (size_t k = 0; k < n; k++) {
    fill(t, pick[k], &out[k]);
    t->row[pick[k]].in_final = out[k].kind == TS_MEASURED && out[k].n;
  }
  return true;
}

static bool run_all(trial *t, ts_diag *d) {
  for (size_t i = 0; i < t->n && !ts_interrupted(); i++)
    if (t->object[i].bytes) TS_TRY(run(t, i, d));
  return !t->o->final || hold_final(t, d);
}

static void make_room(trial *t) {
  t->row = ts_new_array(t->a, ts_trial_row, MOST_ROWS);
  t->sketch = ts_new_array(t->own, int, MOST_ROWS);
  t->func = ts_new_array(t->own, const ts_func *, MOST_ROWS);
  t->object = ts_new_array(t->own, ts_object, MOST_ROWS);
  t->pack = ts_new_array(t->own, const ts_func *, t->space.n);
  t->pack_object = ts_new_array(t->own, ts_object, t->space.n);
}

// After a signal: what was not judged is no row.
static void forget_untried(trial *t) {
  size_t kept = 0;
  for (size_t i = 0; i < t->n; i++)
    if (*t->row[i].outcome) t->row[kept++] = t->row[i];
  t->n = kept;
}

// The worker prepares itself while candidates are compiled.
static bool try_workload(trial *t, const ts_spec *spec, ts_trial_result *out, ts_diag *d) {
  int before = ts_meter_restarts(t->meter);
  bool ok = ts_space_open(spec, t->o->target, t->o->numerics, &t->space, d);
  if (ok) make_room(t);
  ok = ok && compile_all(t, d) && ts_meter_wait(t->meter, d) && run_all(t, d);
  if (!ok) ts_compiler_drop(t->compiler);
  if (ok && ts_interrupted()) forget_untried(t);
  if (ok) *out = (ts_trial_result){.n = t->n, .rows = t->row, .cost = ts_workload_cost(t->workload), .restarts = ts_meter_restarts(t->meter) - before};
  if (t->space.arena) ts_space_close(&t->space);
  ts_arena_free(t->own);
  return ok;
}

static ts_meter_opts meter_opts(const ts_trial_opts *o) { return (ts_meter_opts){.threads = o->threads, .seed = o->seed + 1, .judge = o->judge && !o->final}; }

bool ts_trial(ts_arena *a, const ts_spec *spec, ts_compiler *c, const ts_trial_opts *o, ts_trial_result *out, ts_diag *d) {
  ts_meter_opts mo = meter_opts(o);
  ts_workload *w = ts_workload_open(spec, o->target, c, d);
  ts_meter *m = w ? ts_meter_start(w, &mo, d) : NULL;
  bool ok = m && try_workload(&(trial){.o = o, .a = a, .own = ts_arena_new("trial"), .compiler = c, .workload = w, .meter = m}, spec, out, d);
  if (!ok) ts_compiler_drop(c);
  ts_meter_close(m);
  ts_workload_close(w);
  return ok;
}

// --- several -----------------------------------------------------------------------------------------------------------------
enum { SHARED = 16 };  // workloads that share a worker

// Whether it concerns this workload alone.
static bool goes_on(const ts_diag *why) { return why->kind != TS_ENVIRONMENT || strcmp(why->code, "worker-failed") == 0; }

typedef struct group {
  const ts_spec *spec;
  size_t n, nready;
  ts_workload *w[SHARED];
  const ts_workload *ready[SHARED];  // those that could be prepared
  ts_diag why[SHARED];               // of the others
} group;

static bool open_group(group *g, ts_compiler *c, const ts_trial_opts *o, ts_diag *d) {
  for (size_t i = 0; i < g->n; i++) {
    if ((g->w[i] = ts_workload_open(&g->spec[i], o->target, c, &g->why[i]))) g->ready[g->nready++] = g->w[i];
    else ts_compiler_drop(c);
    if (!g->w[i] && !goes_on(&g->why[i])) return *d = g->why[i], false;
  }
  return true;
}

static bool try_group(group *g, ts_compiler *c, const ts_trial_opts *o, size_t first, ts_trial_each *each, void *arg, ts_diag *d) {
  ts_meter_opts mo = meter_opts(o);
  ts_meter *m = g->nready ? ts_meter_start_all(g->ready, g->nready, &mo, d) : NULL;
  bool ok = m || !g->nready;
  for (size_t i = 0, at = 0; ok && i < g->n && !ts_interrupted(); i++) {
    ts_arena *a = ts_arena_new("workload");
    ts_trial_result r;
    bool tried = g->w[i] && ts_meter_turn(m, at++, &g->why[i]) &&
                 try_workload(&(trial){.o = o, .a = a, .own = ts_arena_new("trial"), .compiler = c, .workload = g->w[i], .meter = m}, &g->spec[i], &r, &g->why[i]);
    ok = tried || goes_on(&g->why[i]);
    if (ok) each(arg, first + i, tried ? &r : NULL, &g->why[i]);
    else *d = g->why[i];
    ts_arena_free(a);
  }
  ts_meter_close(m);
  return ok;
}

bool ts_trials(const ts_spec *specs, size_t n, ts_compiler *c, const ts_trial_opts *o, ts_trial_each *each, void *arg, ts_diag *d) {
  bool ok = true, shared = o->judge && !o->final && o->target->api == TS_API_CUDA;
  for (size_t i = 0; ok && i < n && !ts_interrupted();) {
    group g = {.spec = specs + i, .n = shared ? TS_MIN(n - i, (size_t)SHARED) : 1};
    ok = open_group(&g, c, o, d) && try_group(&g, c, o, i, each, arg, d);
    for (size_t k = 0; k < g.n; k++) ts_workload_close(g.w[k]);
    i += g.n;
  }
  return ok;
}

// Choosing the kernel of every workload, from the store or by default, and compiling it.
#include "kernels.h"

#include <math.h>
#include <stdlib.h>

#include "records.h"
#include "schedule/schedule.h"
#include "search/search.h"

enum { MOST_ROWS = 24 /* that read one weight */, MOST_VARIANTS = 32 };

typedef struct maker {
  ts_arena *a;
  ts_ir *ir;
  const ts__kernel_opts *o;
  ts_db *db;  // or NULL
  ts__kernels *k;
} maker;

ts__kernel_row *ts__kernels_find(const ts__kernels *k, const ts__step *s) {
  for (size_t i = 0; i < k->n; i++)
    if (!strcmp(k->row[i].text, s->text) && ts__banned_alike(&k->bans, k->row[i].step, s)) return &k->row[i];
  return NULL;
}

// --- one kernel --------------------------------------------------------------------------------------------
// "matmul_a16": part of the symbol, for profiles and debuggers.
static const ts_func *with_name(maker *m, const ts_func *f, const char *op, const char *variant, const char *what) {
  ts_func *g = ts_new(m->a, ts_func);
  *g = *f;
  g->name = ts_arena_printf(m->a, "%s%s%s%s", op, *variant ? "_" : "", variant, what);
  return g;
}

// The schedule that rules find, or the function as it is.
static const ts_func *by_rules(maker *m, const ts_func *f) {
  const ts_trace *t;
  ts_sketch sketch = {.name = "rules", .variant = "", .source = "rules", .func = f};
  if (!ts_rules_sketch(m->ir, f, m->o->target, &t)) return f;
  sketch.trace = t;
  ts_sched *s = ts_sketch_draw(m->ir, &sketch, t, 0, NULL);
  return s ? ts_sched_func(s) : f;
}

static const char *trace_text(maker *m, const ts_sched *s) {
  ts_text t = {0};
  ts_trace_print(&t, ts_sched_trace(s));
  const char *text = ts_arena_strdup(m->a, ts_text_str(&t));
  ts_text_free(&t);
  return text;
}

// Named after the variant alone: operators that read one weight in one layout share its packed form.
static void set_pack(maker *m, ts__kernel_row *r, const char *variant, const ts_func *pack) {
  r->pack = pack ? with_name(m, by_rules(m, pack), "pack", variant, "") : NULL;
}

// Whether a template may serve the row's calls: its limits speak of stored weights, and those keep to them as far as is known.
static bool allowed(maker *m, const ts__kernel_row *r, const ts_native *t, const ts_op_inst *inst) {
  const ts__step_arg *arg;
  int storage;
  for (int i = 0; i < t->nlimits; i++)
    if (!ts__limit_find(inst, r->step, &t->limits[i], &arg, &storage)) return false;
  return !ts__banned(m->o->bans, r->step, t);
}

// A point of a native template. The row's function is the variant's, for its parameters.
static bool native(maker *m, ts__kernel_row *r, const char *variant, const char *trace, const ts_op_inst *inst, ts_diag *d) {
  ts_native_fit *fit = ts_new(m->a, ts_native_fit);
  const int64_t *point;
  ts_text unit = {0}, text = {0};
  TS_TRY(ts_native_replay(m->a, trace, &r->spec, variant, inst->func, m->o->target, fit, &point, d));
  if (!allowed(m, r, fit->native, inst)) return ts_refuse(d, "template-limit", "%s: the weights break a limit of %s", r->text, fit->native->label);
  bool ok = ts_native_unit(m->a, fit, point, &unit, d);
  if (ok) {
    r->native = fit->native;
    ts_native_print(&text, fit->native, point);
    r->variant = ts_arena_strdup(m->a, variant);
    r->trace = ts_arena_strdup(m->a, ts_text_str(&text));
    r->func = with_name(m, inst->func, r->spec.op, variant, "");
    r->unit = (ts_unit){.name = r->func->name, .bytes = ts_arena_dup(m->a, unit.p, unit.n), .n = unit.n};
    set_pack(m, r, variant, inst->pack);
  }
  ts_text_free(&unit);
  ts_text_free(&text);
  return ok;
}

// Instantiate a variant of the row's workload and replay a trace on it ("": none). exact: the trace was made for this
// workload.
static bool schedule(maker *m, ts__kernel_row *r, const char *variant, const char *file, const char *trace, bool exact,
                     ts_diag *d) {
  ts_op_inst inst;
  TS_TRY(ts_op_instantiate(m->ir, &r->spec, variant, &inst, d));
  r->inst = inst;
  r->native = NULL;
  if (ts_native_is(trace)) return native(m, r, variant, trace, &inst, d);
  ts_sched *s = ts_sched_new(m->ir, inst.func, 0);
  ts_replay how = {.strict = exact};
  if (trace[strspn(trace, " \n")]) TS_TRY(ts_sched_replay(s, file, trace, strlen(trace), &how, d));
  TS_TRY(ts_func_serves(ts_sched_func(s), inst.func, d));
  r->variant = ts_arena_strdup(m->a, variant);
  r->trace = trace_text(m, s);
  r->func = with_name(m, ts_sched_func(s), r->spec.op, variant, "");
  set_pack(m, r, variant, inst.pack);
  return true;
}

// --- without a record --------------------------------------------------------------------------------------
// The first guess of the variant's native templates (ts_native_guessed) at its first point, as text. NULL: none serves the workload, as always
// on CPUs and without NVRTC.
static const char *first_guess(maker *m, const ts__kernel_row *r, const char *variant) {
  const ts_spec *spec = &r->spec;
  const ts_native **t;
  ts_native_fit fit, best = {0};
  const int64_t *first, *point = NULL;
  size_t n;
  ts_diag why;
  ts_op_inst inst;
  const ts_op *op = m->o->target->api == TS_API_CUDA && ts_codegen_nvrtc() ? ts_op_find(m->a, spec->op, &why) : NULL;
  if (!op || !ts_op_instantiate(m->ir, spec, variant, &inst, &why) || !ts_native_list(m->a, op, variant, &t, &n, &why)) return NULL;
  for (size_t i = 0; i < n; i++) {
    if (!ts_native_bind(m->a, t[i], spec, inst.func, m->o->target, &fit, &why) || !ts_native_guessed(point ? &best : NULL, &fit)) continue;
    if (allowed(m, r, t[i], &inst) && ts_native_first(m->a, &fit, &first, &why) && first) best = fit, point = first;
  }
  if (!point) return NULL;
  ts_text text = {0};
  ts_native_print(&text, best.native, point);
  const char *out = ts_arena_strdup(m->a, ts_text_str(&text));
  ts_text_free(&text);
  return out;
}

// The first guess among native templates, unless `plain`; else the default schedule of the reference. `rules`: what rules find, for rows whose
// neighbours come from records.
static bool by_default(maker *m, ts__kernel_row *r, const char *variant, bool rules, bool plain, ts_diag *d) {
  const char *text = "";
  ts_op_inst inst;
  TS_TRY(ts_op_instantiate(m->ir, &r->spec, "", &inst, d));
  if (!*variant && !rules) TS_TRY(ts_default_trace(m->a, r->spec.op, inst.func, m->o->target, &text, d));
  r->served = "default";
  r->record = "";
  const char *guess = plain ? NULL : first_guess(m, r, variant);
  if (guess) return schedule(m, r, variant, "first guess", guess, false, d);
  TS_TRY(schedule(m, r, variant, "default.trace", text, false, d));
  if (rules) r->func = with_name(m, by_rules(m, r->func), r->spec.op, variant, "");
  return true;
}

// --- from records ------------------------------------------------------------------------------------------
static bool use_record(maker *m, ts__kernel_row *r, const ts__record *w) {
  ts_diag why;
  if (ts_native_is(w->trace) && !ts_codegen_nvrtc()) return false;
  if (!schedule(m, r, w->variant, w->file, w->trace, w->exact, &why)) return false;
  r->served = w->exact ? "exact" : "nearest";
  r->record = w->text;
  r->expected_us = w->expected_us;
  return true;
}

typedef struct group {
  size_t n;
  ts__kernel_row *row[MOST_ROWS];
  ts__record *record[MOST_ROWS];
  size_t count[MOST_ROWS];
} group;

// What a row costs a token, when prompts and answers are equally long: a pass of many rows is for many.
static double weight_of(const ts__kernel_row *r) {
  for (int i = 0; i < r->spec.nbind; i++) {
    const ts_bind *b = &r->spec.bind[i];
    if (!strcmp(b->name, "n")) return 1.0 / (double)(b->kind == TS_BIND_DIM ? b->hi : b->i);
  }
  return 1;
}

// Whether this shape can have the variant: an operator's file asks for whole units of its packed weights.
static bool possible(maker *m, const ts__kernel_row *r, const char *variant) {
  ts_diag why;
  ts_op_inst inst;
  return ts_op_instantiate(m->ir, &r->spec, variant, &inst, &why);
}

// Leave out records of variants that not every row of the group can have: they share the packed weight. Records of other shapes and hostile
// stores name such.
static void drop_impossible(maker *m, group *g) {
  const char *known[MOST_VARIANTS];
  bool can[MOST_VARIANTS];
  size_t nknown = 0;
  for (size_t i = 0; i < g->n; i++) {
    size_t kept = 0;
    for (size_t k = 0; k < g->count[i]; k++) {
      const char *variant = g->record[i][k].variant;
      size_t v = 0;
      while (v < nknown && strcmp(known[v], variant)) v++;
      if (v == MOST_VARIANTS) continue;
      if (v == nknown) {
        known[nknown] = variant;
        can[nknown++] = true;
        for (size_t j = 0; j < g->n && can[v]; j++) can[v] = possible(m, g->row[j], variant);
      }
      if (can[v]) g->record[i][kept++] = g->record[i][k];
    }
    g->count[i] = kept;
  }
}

// Leave out records of templates that may not serve the row's calls.
static void drop_banned(maker *m, group *g) {
  for (size_t i = 0; i < g->n; i++) {
    size_t kept = 0;
    for (size_t k = 0; k < g->count[i]; k++) {
      const ts__record *x = &g->record[i][k];
      bool banned = false;
      for (size_t b = 0; b < m->o->bans->n && !banned; b++) {
        const ts_native *t = m->o->bans->p[b].native;
        const char *start = ts_arena_printf(m->a, "native \"%s\" ", t->name);
        banned = !strcmp(t->variant, x->variant) && !strncmp(x->trace, start, strlen(start)) && ts__banned(m->o->bans, g->row[i]->step, t);
      }
      if (!banned) g->record[i][kept++] = *x;
    }
    g->count[i] = kept;
  }
}

// Time of all rows of a group by their best records of one variant; infinite when a row has records of others only.
static double variant_cost(const group *g, const char *variant) {
  double sum = 0;
  for (size_t i = 0; i < g->n; i++) {
    if (g->row[i]->apart) continue;
    double us = g->count[i] ? INFINITY : 0;
    for (size_t k = 0; k < g->count[i] && isinf(us); k++)
      if (g->record[i][k].exact && g->record[i][k].expected_us > 0 && !strcmp(g->record[i][k].variant, variant))
        us = g->record[i][k].expected_us;
    sum += weight_of(g->row[i]) * us;
  }
  return sum;
}

// The variant for all rows of a weight, so that its packed form exists once: the cheapest of those with records for
// every row, else that of the first record. NULL without records.
static const char *choose_variant(const group *g) {
  const char *best = NULL;
  double least = INFINITY;
  for (size_t i = 0; i < g->n; i++) {
    for (size_t k = 0; k < g->count[i] && !g->row[i]->apart; k++) {
      double cost = variant_cost(g, g->record[i][k].variant);
      if (cost < least || !best) least = cost, best = g->record[i][k].variant;
    }
  }
  return best;
}

// Without records: the variant whose native templates serve the rows that cost most. NULL: none serves any.
static const char *guess_variant(maker *m, const group *g) {
  ts_diag why;
  const ts_op *op = m->o->target->api == TS_API_CUDA ? ts_op_find(m->a, g->row[0]->spec.op, &why) : NULL;
  const char *best = NULL;
  double most = 0;
  for (int v = 0; op && v < op->nvariants; v++) {
    double sum = 0;
    if (!ts__variant_permitted(op, op->variants[v].name, m->o->target, m->o->numerics)) continue;
    for (size_t i = 0; i < g->n; i++)
      if (!g->row[i]->apart && first_guess(m, g->row[i], op->variants[v].name)) sum += weight_of(g->row[i]);
    if (sum > most) most = sum, best = op->variants[v].name;
  }
  return best;
}

// Leave out records of other shapes where a native template says what this one's first point is: that was found for such shapes, and what is best of another
// often is not here.
static void drop_other_shapes(maker *m, group *g) {
  const char *variant = guess_variant(m, g);
  for (size_t i = 0; i < g->n && variant; i++) {
    size_t kept = 0;
    bool guessed = first_guess(m, g->row[i], variant) != NULL;
    for (size_t k = 0; k < g->count[i]; k++)
      if (!guessed || !g->record[i][k].other_shape) g->record[i][kept++] = g->record[i][k];
    g->count[i] = kept;
  }
}

static bool serve_group(maker *m, group *g, ts_diag *d) {
  for (size_t i = 0; i < g->n; i++)
    TS_TRY(
        ts__records_find(m->a, m->db, &g->row[i]->spec, m->o->target, m->o->numerics, &g->record[i], &g->count[i], d));
  drop_impossible(m, g);
  drop_banned(m, g);
  drop_other_shapes(m, g);
  const char *variant = choose_variant(g);
  if (!variant) variant = guess_variant(m, g);
  for (size_t i = 0; i < g->n; i++) {
    for (size_t k = 0; k < g->count[i] && !g->row[i]->func; k++)
      if (!strcmp(g->record[i][k].variant, variant)) (void)use_record(m, g->row[i], &g->record[i][k]);
    if (!g->row[i]->func) TS_TRY(by_default(m, g->row[i], variant ? variant : "", variant != NULL, false, d));
  }
  return true;
}

static bool same_weight(const ts__kernel_row *x, const ts__kernel_row *y) {
  return x->weight && y->weight && !strcmp(x->weight, y->weight);
}

static bool serve_all(maker *m, ts_diag *d) {
  for (size_t i = 0; i < m->k->n; i++) {
    group g = {0};
    for (size_t j = i; j < m->k->n && g.n < MOST_ROWS; j++)
      if (!m->k->row[j].func && (i == j || same_weight(&m->k->row[i], &m->k->row[j]))) g.row[g.n++] = &m->k->row[j];
    if (!m->k->row[i].func) TS_TRY(serve_group(m, &g, d));
  }
  return true;
}

// --- compiling ---------------------------------------------------------------------------------------------
static bool submit(ts_compiler *c, const ts__kernels *k, ts_diag *d) {
  for (size_t i = 0; i < k->n; i++) {
    const ts__kernel_row *r = &k->row[i];
    TS_TRY(r->unit.bytes ? ts_compiler_submit_unit(c, &r->unit, 2 * i, d) : ts_compiler_submit(c, r->func, 2 * i, d));
    if (r->pack) TS_TRY(ts_compiler_submit(c, r->pack, 2 * i + 1, d));
  }
  return true;
}

// The schedule of a record replays and cannot be compiled (too many threads, too much shared memory), or this machine's NVRTC does not
// understand a template that is a first guess: the default takes its place, in the same variant.
static bool replace(maker *m, ts_compiler *c, size_t i, const ts_diag *why, ts_diag *d) {
  ts__kernel_row *r = &m->k->row[i];
  bool recorded = *r->record != 0;
  ts_say("note: %s: %.*s does not compile, the default serves: %s", r->text, (int)strcspn(recorded ? r->record : r->trace, "\n"),
          recorded ? r->record : r->trace, why->message);
  r->unit = (ts_unit){0};
  r->expected_us = 0;
  return by_default(m, r, r->variant, *r->variant != 0, !recorded, d) && (r->unit.bytes ? ts_compiler_submit_unit(c, &r->unit, 2 * i, d) : ts_compiler_submit(c, r->func, 2 * i, d));
}

static bool collect(maker *m, ts_compiler *c, ts_progress *p, ts_diag *d) {
  ts_compiled one;
  uint64_t done = 0;
  int got;
  while ((got = ts_compiler_next(c, 1, m->a, &one)) >= 0) {
    if (ts_interrupted()) return ts_refuse(d, "interrupted", "interrupted");
    if (!got) continue;
    ts__kernel_row *r = &m->k->row[one.tag / 2];
    if (!one.ok) {
      if (!(one.tag & 1) && (*r->record || r->unit.bytes) && one.diag.kind == TS_REFUSAL) {
        TS_TRY(replace(m, c, one.tag / 2, &one.diag, d));
        continue;
      }
      if (d) *d = one.diag;
      return false;
    }
    *(one.tag & 1 ? &r->pack_object : &r->object) = one.object;
    ts_progress_step(p, ++done, r->text);
  }
  return true;
}

static bool compile_all(maker *m, ts_diag *d) {
  ts_target host = {.cores = 1};
  if (!ts_target_parse("cpu", &host, d)) return false;
  ts_compiler *c = ts_compiler_open(m->o->target, TS_MIN(TS_MAX(host.cores, 1), 16), m->o->cache, d);
  if (!c) return false;
  ts_compiler_set_timeout(c, 120);
  uint64_t jobs = m->k->n;
  for (size_t i = 0; i < m->k->n; i++) jobs += m->k->row[i].pack != NULL;
  ts_progress p;
  ts_progress_begin(&p, "compile kernels", jobs);
  bool ok = submit(c, m->k, d) && collect(m, c, &p, d);
  ts_progress_end(&p, ok ? "done" : "failed");
  ts_compiler_close(c);
  return ok;
}

// --- all ---------------------------------------------------------------------------------------------------
// The packed weight that a step reads; NULL when it has none. Rows of embeddings are read as they are stored.
static const char *weight_of_step(const ts__step *s) {
  for (int i = 0; i < s->nargs && strcmp(s->spec.op, "embed"); i++)
    if (s->args[i].use == TS__WEIGHT && !strcmp(s->args[i].name, "w")) return s->args[i].weight;
  return NULL;
}

// A row for the workload of a call, of which others may have come before with other templates.
static void add_row(maker *m, ts__phase phase, const ts__step *s) {
  ts__kernel_row r = {.text = s->text, .phase = phase, .spec = s->spec, .step = s, .weight = weight_of_step(s)};
  for (size_t i = 0; i < m->k->n && !r.apart; i++)
    if (!strcmp(m->k->row[i].text, s->text)) r.apart = true, r.weight = m->k->row[i].weight;
  m->k->row[m->k->n++] = r;
}

static void collect_rows(maker *m, const ts__step *const step[TS__PHASE__COUNT], const size_t n[TS__PHASE__COUNT]) {
  size_t most = 0;
  for (int p = 0; p < TS__PHASE__COUNT; p++) most += n[p];
  m->k->row = ts_new_array(m->a, ts__kernel_row, most);
  for (int p = 0; p < TS__PHASE__COUNT; p++)
    for (size_t i = 0; i < n[p]; i++)
      if (!ts__kernels_find(m->k, &step[p][i])) add_row(m, (ts__phase)p, &step[p][i]);
}

bool ts__kernels_make(ts_arena *a, ts_ir *ir, const ts__step *const step[TS__PHASE__COUNT],
                      const size_t n[TS__PHASE__COUNT], const ts__kernel_opts *o, ts__kernels *out, ts_diag *d) {
  *out = (ts__kernels){.bans = *o->bans};
  maker m = {.a = a, .ir = ir, .o = o, .k = out};
  if (o->store && !(m.db = ts_db_open(o->store, TS_DB_READ, d))) return false;
  collect_rows(&m, step, n);
  bool ok = serve_all(&m, d);
  ts_db_close(m.db);
  return ok && compile_all(&m, d);
}

// New candidates: draws, mutations and crossovers of good ones, ranked by the cost model.
#include <math.h>
#include <stdlib.h>

#include "search/search_impl.h"

enum { POOL = 12 };  // proposals that are ranked for one candidate

static bool on_gpu(const ts__session *s) { return s->o->target->api == TS_API_CUDA; }

static bool seen(const ts__session *s, uint64_t hash) {
  for (size_t i = 0; i < s->hashes.n; i++)
    if (s->hashes.p[i] == hash) return true;
  return false;
}

void ts__forget(ts__session *s, const ts__member *m) {
  for (size_t k = s->hashes.n; k-- > 0;)
    if (s->hashes.p[k] == m->hash) s->hashes.p[k] = s->hashes.p[--s->hashes.n];
}

// A member from a trace whose open decisions are drawn from seed; NULL when a step refuses or the function was met before.
ts__member *ts__member_draw(ts__session *s, int sketch, const ts_trace *t, uint64_t seed, ts_diag *d) {
  ts_arena *a = ts_arena_new("candidate");
  ts_ir *ir = ts_ir_new(a);
  const ts_sketch *k = &s->space.sketch[sketch];
  ts_sched *sched = ts_sketch_draw(ir, k, t, seed, d);
  bool fits = sched && (!on_gpu(s) || ts_gpu_check(ir, ts_sched_func(sched), s->o->target, NULL, d));  // what it asks of the GPU, before it is lowered
  uint64_t hash = fits ? ts_hash_mix(ts_func_hash(ts_sched_func(sched)), ts_hash64(k->variant, strlen(k->variant), 0)) : 0;
  if (!fits || seen(s, hash)) {
    if (fits) ts_refuse(d, "duplicate", "the candidate was met before");
    ts_arena_free(a);
    return NULL;
  }
  ts_vec_push(s->arena, &s->hashes, hash);
  ts__member *m = ts_new(s->arena, ts__member);
  ts_text text = {0};
  ts_trace_print(&text, ts_sched_trace(sched));
  double *decisions;
  *m = (ts__member){.sketch = sketch, .arena = a, .func = ts_sched_func(sched), .hash = hash, .median = NAN, .believed = NAN};
  m->trace = ts_arena_strdup(s->arena, ts_text_str(&text));
  m->ndecisions = ts_decisions(s->arena, ts_sched_trace(sched), &decisions);
  m->decisions = decisions;
  ts_text_free(&text);
  return m;
}

// The unit is made here: its launches give the prior, and a constraint that fails is told before anything is compiled.
static bool fill_native(ts__session *s, ts__member *m, const ts_sketch *k, const int64_t *point, ts_diag *d) {
  int np = k->native->native->nparams;
  double *x = ts_new_array(s->arena, double, np + 1);
  ts_text unit = {0}, text = {0};
  ts_gpu_code c;
  bool ok = ts_native_unit(m->arena, k->native, point, &unit, d) && ts_gpu_code_read(m->arena, unit.p, unit.n, &c, d);
  if (ok) {
    for (int i = 0; i < np; i++) x[i] = log2(1 + fabs((double)point[i]));
    ts_native_print(&text, k->native->native, point);
    m->trace = ts_arena_strdup(s->arena, ts_text_str(&text));
    m->unit = (ts_unit){.name = k->native->native->name, .bytes = ts_arena_dup(m->arena, unit.p, unit.n), .n = unit.n};
    m->decisions = x;
    m->ndecisions = (size_t)np;
    m->prior = ts__prior(k->native, &c, ts_workload_dims(s->workload));
  }
  ts_text_free(&unit);
  ts_text_free(&text);
  return ok;
}

uint64_t ts__point_hash(const ts_sketch *k, const int64_t *point) {
  const ts_native *t = k->native->native;
  return ts_hash64(point, (size_t)t->nparams * sizeof *point, ts_hash64(t->label, strlen(t->label), 1));
}

ts__member *ts__member_point(ts__session *s, int sketch, const int64_t *point, ts_diag *d) {
  const ts_sketch *k = &s->space.sketch[sketch];
  uint64_t hash = ts__point_hash(k, point);
  if (seen(s, hash)) return ts_refuse(d, "duplicate", "the candidate was met before"), NULL;
  ts_vec_push(s->arena, &s->hashes, hash);  // one that fails is not tried again
  ts__member *m = ts_new(s->arena, ts__member);
  *m = (ts__member){.sketch = sketch, .arena = ts_arena_new("candidate"), .func = k->func, .hash = hash, .median = NAN, .believed = NAN};
  if (fill_native(s, m, k, point, d)) return m;
  ts_arena_free(m->arena);
  return NULL;
}

ts__member *ts__member_recall(ts__session *s, int sketch, const char *text, ts_diag *d) {
  const ts_sketch *k = &s->space.sketch[sketch];
  if ((k->native != NULL) != ts_native_is(text)) return ts_refuse(d, "other-sketch", "made from another sketch"), NULL;
  if (k->native) {
    ts_native_fit fit;
    const int64_t *point;
    if (!ts_native_replay(s->arena, text, s->space.spec, k->variant, k->func, s->space.target, &fit, &point, d)) return NULL;
    if (strcmp(fit.native->label, k->native->native->label) != 0) return ts_refuse(d, "other-sketch", "made from another template"), NULL;
    return ts__member_point(s, sketch, point, d);
  }
  const ts_trace *trace = ts_trace_parse(s->arena, "store", text, strlen(text), d);
  if (!trace || trace->n != k->trace->n) return NULL;
  return ts__member_draw(s, sketch, trace, 0, d);
}

static int by_median(const void *x, const void *y) {
  double a = (*(ts__member *const *)x)->median, b = (*(ts__member *const *)y)->median;
  return (a > b) - (a < b);
}

size_t ts__ranked(const ts__session *s, ts__member **out, size_t most) {
  ts__member **all = malloc((s->members.n + 1) * sizeof *all);
  if (!all) abort();
  size_t n = 0;
  for (size_t i = 0; i < s->members.n; i++)
    if (s->members.p[i]->state == TS__GOOD) all[n++] = s->members.p[i];
  qsort(all, n, sizeof *all, by_median);
  size_t kept = TS_MIN(n, most);
  if (kept) memcpy(out, all, kept * sizeof *all);
  free(all);
  return kept;
}

bool ts__is_guess(const ts__session *s, const ts__member *m) {
  for (int i = 0; i < s->nguesses; i++)
    if (s->guess[i] == m->hash) return true;
  return false;
}

// A trace like `m`'s with some decisions opened again, or taken from `other` where both come from one sketch.
static const ts_trace *vary(ts__session *s, ts_arena *a, const ts__member *m, const ts__member *other, ts_rng *rng) {
  ts_diag d;
  const ts_trace *t = ts_trace_parse(a, s->space.sketch[m->sketch].name, m->trace, strlen(m->trace), &d);
  const ts_trace *u = other ? ts_trace_parse(a, "other", other->trace, strlen(other->trace), &d) : NULL;
  int sampled[256], n = 0;
  for (int i = 0; t && i < t->n && n < 256; i++)
    if (t->inst[i]->ndecision) sampled[n++] = i;
  if (!t || !n) return t;
  if (u && u->n == t->n) {
    for (int i = 0; i < n; i++) {
      const ts_inst *from = u->inst[sampled[i]];
      if (from->ndecision && ts_rng_below(rng, 2)) t = ts_trace_with_decision(a, t, sampled[i], from->decision, from->ndecision);
    }
    return t;
  }
  uint32_t changes = 1 + ts_rng_below(rng, 2);
  for (uint32_t k = 0; k < changes; k++) t = ts_trace_with_decision(a, t, sampled[ts_rng_below(rng, (uint32_t)n)], NULL, 0);
  return t;
}

// What a model is told of a member: log time; of one that is not measured yet what was believed when it was proposed, so that a batch does not
// hold one idea twelve times; of one that failed on the device, a time beside the worst, so that its neighbours come late. NAN: nothing.
static double told(const ts__member *m, double worst) {
  if (m->state == TS__GOOD) return log(m->median);
  if (m->state == TS__PROPOSED) return m->believed;
  return m->compiled ? worst + 0.5 : NAN;
}

// A model of log time less the prior, from what is known of a sketch; NULL while that is too little.
static ts_gp *fit(const ts__session *s, ts_arena *a, int sketch, size_t ndecisions) {
  enum { MOST_POINTS = 300 };
  const double **x = ts_new_array(a, const double *, MOST_POINTS);
  double *y = ts_new_array(a, double, MOST_POINTS), worst = -INFINITY;
  size_t n = 0, good = 0;
  for (size_t i = 0; i < s->members.n; i++) {
    const ts__member *m = s->members.p[i];
    if (m->state != TS__GOOD || m->sketch != sketch) continue;
    worst = fmax(worst, log(m->median));
    good++;
  }
  for (size_t i = s->members.n; i-- > 0 && n < MOST_POINTS && good >= 3;) {
    const ts__member *m = s->members.p[i];
    double t = m->sketch == sketch && m->ndecisions == ndecisions ? told(m, worst) : NAN;
    if (isnan(t)) continue;
    x[n] = m->decisions;
    y[n++] = t - m->prior;
  }
  return n >= 3 ? ts_gp_fit(a, x, y, n, ndecisions) : NULL;
}

// Whether the sketch was measured (on CPUs twice) and never came near the best, or mostly fails: its decisions do not matter.
static bool hopeless(const ts__session *s, int sketch) {
  enum { MOST_FAILED = 6 };
  double best = INFINITY;
  int n = 0, failed = 0;
  for (size_t i = 0; i < s->members.n; i++) {
    const ts__member *m = s->members.p[i];
    if (m->sketch != sketch) continue;
    failed += m->state == TS__BAD;
    if (m->state != TS__GOOD) continue;
    best = fmin(best, m->median);
    n++;
  }
  if (on_gpu(s) && failed >= MOST_FAILED && failed > 3 * n) return true;
  return n >= (on_gpu(s) ? 1 : 2) && s->best && best > 4 * s->best->median;
}

// Models of the sketches met in one round of proposals, fitted once each.
typedef struct models {
  size_t n;
  struct { int sketch; size_t ndecisions; ts_gp *gp; } of[POOL];
} models;

static ts_gp *model_for(const ts__session *s, ts_arena *a, models *x, int sketch, size_t ndecisions) {
  for (size_t i = 0; i < x->n; i++)
    if (x->of[i].sketch == sketch && x->of[i].ndecisions == ndecisions) return x->of[i].gp;
  ts_gp *g = fit(s, a, sketch, ndecisions);
  if (x->n == POOL) return g;
  x->of[x->n].sketch = sketch;
  x->of[x->n].ndecisions = ndecisions;
  return x->of[x->n++].gp = g;
}

// --- points of native templates ---------------------------------------------------------------------------------------------
// Log time of a point up to a constant before anything of it was measured; INFINITY when it makes no unit.
static double prior_of(ts__session *s, const ts_sketch *k, const int64_t *point) {
  ts_arena *a = ts_arena_new("prior");
  ts_gpu_code c;
  double prior = ts_native_launches(a, k->native, point, &c, NULL) ? ts__prior(k->native, &c, ts_workload_dims(s->workload)) : INFINITY;
  ts_arena_free(a);
  return prior;
}

// Priors of all points of a sketch, worked out once.
static const double *priors(ts__session *s, int sketch) {
  const ts_sketch *k = &s->space.sketch[sketch];
  if (!s->priors) s->priors = ts_new_array(s->arena, double *, 128);
  if (s->priors[sketch]) return s->priors[sketch];
  double *p = s->priors[sketch] = ts_new_array(s->arena, double, k->npoints + 1);
  for (size_t i = 0; i < k->npoints; i++) p[i] = prior_of(s, k, k->points + i * (size_t)k->native->native->nparams);
  return p;
}

const int64_t *ts__point_best(ts__session *s, int sketch, ts_gp *g) {
  const ts_sketch *k = &s->space.sketch[sketch];
  size_t np = (size_t)k->native->native->nparams, best = SIZE_MAX;
  const double *prior = priors(s, sketch);
  double most = -INFINITY, x[64];
  for (size_t i = 0; i < k->npoints; i++) {
    const int64_t *p = k->points + i * np;
    if (!(prior[i] < INFINITY) || seen(s, ts__point_hash(k, p))) continue;
    double score = -prior[i], mean, sd;
    for (size_t j = 0; j < np; j++) x[j] = log2(1 + fabs((double)p[j]));
    if (g) {
      ts_gp_predict(g, x, &mean, &sd);
      score = ts_expected_gain(s->best ? log(s->best->median) : mean, mean + prior[i], sd);
    }
    if (score > most) most = score, best = i;
  }
  return best == SIZE_MAX ? NULL : k->points + best * np;
}

// --- proposals -----------------------------------------------------------------------------------------------------------------
static ts__member *propose_point(ts__session *s, ts_arena *scratch, models *fitted, int sketch, ts_rng *rng) {
  const ts_sketch *k = &s->space.sketch[sketch];
  size_t np = (size_t)k->native->native->nparams;
  ts_gp *g = model_for(s, scratch, fitted, sketch, np);
  const int64_t *p = g || ts_rng_below(rng, 2) ? ts__point_best(s, sketch, g) : k->points + ts_rng_below(rng, (uint32_t)k->npoints) * np;
  ts_diag d = {0};
  return p ? ts__member_point(s, sketch, p, &d) : NULL;
}

static bool holds(ts__member *const *pool, size_t n, int sketch) {
  for (size_t i = 0; i < n; i++)
    if (pool[i]->sketch == sketch) return true;
  return false;
}

// One proposal: a fresh draw of a sketch, a mutation, or a crossover. Of a native sketch the pool holds one: the best of all its points.
static ts__member *propose_one(ts__session *s, ts_arena *scratch, models *fitted, ts__member *const *pool, size_t npool, ts_rng *rng) {
  ts__member *top[8];
  size_t n = ts__ranked(s, top, TS_COUNTOF(top));
  ts_diag d = {0};
  uint32_t dice = ts_rng_below(rng, 10);
  const ts__member *m = n ? top[ts_rng_below(rng, (uint32_t)n)] : NULL, *other = n ? top[ts_rng_below(rng, (uint32_t)n)] : NULL;
  int sketch = !n || dice < 3 ? (int)ts_rng_below(rng, (uint32_t)s->space.n) : m->sketch;
  if (on_gpu(s) && hopeless(s, sketch)) return NULL;  // GPUs hardly scatter
  if (s->space.sketch[sketch].native) return holds(pool, npool, sketch) ? NULL : propose_point(s, scratch, fitted, sketch, rng);
  if (!n || dice < 3) return ts__member_draw(s, sketch, s->space.sketch[sketch].trace, ts_rng_u64(rng), &d);
  bool cross = dice < 5 && other != m && other->sketch == m->sketch;
  const ts_trace *t = vary(s, scratch, m, cross ? other : NULL, rng);
  return t ? ts__member_draw(s, m->sketch, t, ts_rng_u64(rng), &d) : NULL;
}

// The most promising of several proposals by expected gain; proposals of sketches that the model knows too little about win
// by default. NULL when nothing new was found.
ts__member *ts__propose(ts__session *s, uint64_t stream) {
  ts_arena *scratch = ts_arena_new("propose");
  ts_rng rng = ts_rng_new(s->o->seed, stream);
  ts__member *pool[POOL], *chosen = NULL;
  double best_gain = -1;
  models fitted = {0};
  size_t n = 0;
  for (int tries = 0; tries < 3 * POOL && n < POOL; tries++) {
    ts__member *m = propose_one(s, scratch, &fitted, pool, n, &rng);
    if (m) pool[n++] = m;
  }
  for (size_t i = 0; i < n; i++) {
    ts_gp *g = model_for(s, scratch, &fitted, pool[i]->sketch, pool[i]->ndecisions);
    double mean = NAN, sd, gain = 1e9;
    if (g) {
      ts_gp_predict(g, pool[i]->decisions, &mean, &sd);
      mean += pool[i]->prior;
      gain = ts_expected_gain(s->best ? log(s->best->median) : mean, mean, sd);
    }
    pool[i]->believed = mean;
    if (hopeless(s, pool[i]->sketch)) gain = 0;
    if (gain > best_gain) best_gain = gain, chosen = pool[i];
  }
  for (size_t i = 0; i < n; i++) {
    if (pool[i] == chosen) continue;
    ts__forget(s, pool[i]);
    ts_arena_free(pool[i]->arena);
  }
  ts_arena_free(scratch);
  return chosen;
}

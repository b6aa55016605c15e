// The kernels of a model's decode step, chosen by the time of whole steps: kernels that start before their predecessor has ended share memory
// and multiprocessors with it, and the fastest alone are not the fastest there. Coordinate descent from what a build without records takes,
// among candidates of the search and points that a model of the steps' times proposes, in a step of few layers whose caches hold different numbers
// of tokens. What comes of it is chosen from once more in a step of all layers, at each of these numbers: a kernel takes the place of that of a build without
// records when it gains over all of them and loses at none.
#include <math.h>
#include <stdlib.h>

#include "search/search_impl.h"

enum { MOST_PARTS = 32, SCREEN = 3, SHORT = 5, SHORT_ROUNDS = 15, FINAL_ROUNDS = 31, LEAST_ROUNDS = 9, PASSES = 3, MOST_RESTARTS = 4, ROUNDS = 12, MOST_WAYS = 384, FINAL_S = 6, LAST_S = 2, FINALISTS = 4 };
static const double noise = 0.001;  // of a comparison of whole steps in turn: smaller gains are none
static const double slack = 1.4;    // candidates that are slower alone by more than this are not tried

typedef struct part {
  ts__session *s;
  ts__member *base;
  TS_VEC(ts__member *) m;  // [0] is base; their index in the worker is id
  TS_VEC(int) id;
  int calls;               // in the step
  size_t now;              // the one chosen so far
  bool open;               // there is a choice
  ts_compare gain;         // of the one chosen over the base, in the step as chosen
} part;
typedef struct chooser {
  const ts__step_host *h;
  ts_arena *a;
  ts_step *step;
  ts__member *guilty;  // who ended the step's worker; NULL: not known
  int restarts;
  size_t n;
  part part[MOST_PARTS];
  size_t ncalls;
  ts_step_call *calls;
  const ts_workload *workload[MOST_PARTS];
  size_t settings;     // of the step, behind the first; 0: that alone
  size_t rounds;       // of the final
  size_t changes;      // of the choice, so far
} chooser;

// --- who takes part -----------------------------------------------------------------------------------------------------------
static bool alive(const ts__member *m) { return m->state == TS__GOOD && m->object.bytes; }

bool ts__is_near(const ts__session *s, const ts__member *m) { return m->median <= slack * s->best->median; }

// What a build without records takes; where no template guesses, the fastest, without a choice.
static bool find_base(part *p) {
  const ts__session *s = p->s;
  ts__member *top[1];
  for (size_t i = 0; i < s->members.n && !p->base; i++)
    if (ts__is_guess(s, s->members.p[i]) && alive(s->members.p[i])) p->base = s->members.p[i];
  p->open = p->base != NULL;
  if (!p->base && ts__ranked(s, top, 1) && alive(top[0])) p->base = top[0];
  return p->base != NULL;
}

// Parts of the step from tasks. False: a task has nothing that runs.
static bool make_parts(chooser *c) {
  const ts_tune_opts *o = c->h->o;
  size_t task[MOST_PARTS];
  c->ncalls = o->nstep;
  c->calls = ts_new_array(c->a, ts_step_call, o->nstep);
  for (size_t i = 0; i < o->nstep; i++) {
    size_t p = 0;
    while (p < c->n && task[p] != o->step[i].part) p++;
    c->calls[i] = o->step[i];
    c->calls[i].part = p;
    c->part[p].calls++;
    if (p < c->n) continue;
    if (p == MOST_PARTS || o->step[i].part >= c->h->n) return false;
    ts__session *s = &c->h->s[o->step[i].part];
    if (!s->begun || s->given_up) return false;
    task[c->n++] = o->step[i].part;
    c->part[p].s = s;
    c->workload[p] = s->workload;
    if (!find_base(&c->part[p])) return false;
  }
  return c->n > 0;
}

static bool add(chooser *c, size_t p, ts__member *m, ts_diag *d) {
  int id;
  ts_diag why = {0};
  m->stepped = true;
  if (!ts_step_add(c->step, p, m->func, &m->object, &id, &why)) {
    if (why.kind == TS_REFUSAL && m != c->part[p].base) return true;
    return (*d = why, false);
  }
  ts_vec_push(c->a, &c->part[p].m, m);
  ts_vec_push(c->a, &c->part[p].id, id);
  return true;
}

// The base first, then what reads weights in the same layout and is not far behind alone.
static bool add_new(chooser *c, ts_diag *d) {
  for (size_t p = 0; p < c->n; p++) {
    part *x = &c->part[p];
    const ts_space *space = &x->s->space;
    if (!x->m.n) TS_TRY(add(c, p, x->base, d));
    for (size_t i = 0; i < x->s->members.n && x->open && x->m.n < MOST_WAYS; i++) {
      ts__member *m = x->s->members.p[i];
      if (!alive(m) || m->stepped || !ts__is_near(x->s, m) || strcmp(space->sketch[m->sketch].variant, space->sketch[x->base->sketch].variant) != 0) continue;
      TS_TRY(add(c, p, m, d));
    }
  }
  return true;
}

// --- choosing -----------------------------------------------------------------------------------------------------------------
static void now(const chooser *c, int *pick) {
  for (size_t p = 0; p < c->n; p++) pick[p] = c->part[p].id.p[c->part[p].now];
}

typedef struct scored {
  double score;  // the least is the best
  size_t which;
} scored;
static int by_score(const void *x, const void *y) {
  const scored *a = x, *b = y;
  return a->score != b->score ? (a->score > b->score) - (a->score < b->score) : (a->which > b->which) - (a->which < b->which);
}

// Steps with each of the kernels `which` of part p, the others as chosen so far: ns[i * rounds + r].
static bool time_part(chooser *c, size_t p, const size_t *which, size_t n, size_t rounds, double *ns, ts_diag *d) {
  int *pick = malloc(n * c->n * sizeof *pick);
  if (!pick) abort();
  for (size_t i = 0; i < n; i++) {
    now(c, pick + i * c->n);
    pick[i * c->n + p] = c->part[p].id.p[which[i]];
  }
  bool ok = ts_step_time(c->step, pick, n, rounds, ns, d);
  size_t way = ok ? 0 : ts_step_culprit(c->step);
  c->guilty = way && way <= n && which[way - 1] && which[way - 1] != c->part[p].now ? c->part[p].m.p[which[way - 1]] : NULL;
  free(pick);
  return ok;
}

// Kernels of a part for a few steps, but for those that were far behind before; the best of them beside the one chosen so far for more: another is
// chosen when it is clearly faster.
static bool choose_part(chooser *c, size_t p, bool *changed, ts_diag *d) {
  const double hopeless = 1.03;
  part *x = &c->part[p];
  size_t n = 0, which[MOST_WAYS] = {0}, few[SHORT + 1] = {x->now}, nfew = 1, best = 0;
  double *ns = malloc(x->m.n * SCREEN * sizeof *ns), final[(SHORT + 1) * SHORT_ROUNDS];
  scored order[MOST_WAYS];
  if (!ns) abort();
  for (size_t i = 0; i < x->m.n; i++)
    if (i == x->now || !(x->m.p[i]->step_ns > hopeless * x->m.p[x->now]->step_ns)) which[n++] = i;
  bool ok = time_part(c, p, which, n, SCREEN, ns, d);
  for (size_t i = 0; i < n && ok; i++) order[i] = (scored){x->m.p[which[i]]->step_ns = ts_stats_of(ns + i * SCREEN, SCREEN).median, which[i]};
  if (ok) qsort(order, n, sizeof *order, by_score);
  for (size_t i = 0; i < n && nfew <= SHORT && ok; i++)
    if (order[i].which != x->now) few[nfew++] = order[i].which;
  ok = ok && time_part(c, p, few, nfew, SHORT_ROUNDS, final, d);
  for (size_t i = 1; i < nfew && ok; i++)
    if (ts_stats_of(final + i * SHORT_ROUNDS, SHORT_ROUNDS).median < ts_stats_of(final + best * SHORT_ROUNDS, SHORT_ROUNDS).median) best = i;
  if (ok && best && ts_compare_paired(final + best * SHORT_ROUNDS, final, SHORT_ROUNDS, noise).verdict == TS_FASTER) x->now = few[best], *changed = true, c->changes++;
  free(ns);
  return ok;
}

// Another worker, without the one that ended the last.
static bool begin_again(chooser *c, ts_diag *d) {
  ts_step_close(c->step);
  if (!(c->step = ts_step_open(c->workload, c->n, c->calls, c->ncalls, c->h->o->seed, d))) return false;
  for (size_t p = 0; p < c->n; p++) {
    part *x = &c->part[p];
    const ts__member *chosen = x->m.p[x->now];
    size_t n = x->m.n;
    x->m.n = x->id.n = x->now = 0;
    for (size_t i = 0; i < n; i++)
      if (x->m.p[i] != c->guilty) TS_TRY(add(c, p, x->m.p[i], d));
    for (size_t i = 0; i < x->m.n; i++)
      if (x->m.p[i] == chosen) x->now = i;
  }
  return true;
}

// A kernel that ends the worker in a step, though it was right alone, is out.
static bool choose_part_or_without(chooser *c, size_t p, bool *changed, ts_diag *d) {
  while (!choose_part(c, p, changed, d)) {
    if (strcmp(d->code, "step-failed") != 0 || !c->guilty || c->restarts++ == MOST_RESTARTS) return false;
    if (getenv("TS_EXPLAIN")) ts_say("note: step: without %.*s: %s", (int)strcspn(c->guilty->trace, "\n"), c->guilty->trace, d->message);
    TS_TRY(begin_again(c, d));
  }
  return true;
}

static void explain(const chooser *c, size_t p) {
  const part *x = &c->part[p];
  const char *trace = x->m.p[x->now]->trace;
  if (getenv("TS_EXPLAIN")) ts_say("note: step: %.2f us, %s: %.*s of %zu", x->m.p[x->now]->step_ns * 1e-3, x->s->text, (int)strcspn(trace, "\n"), trace, x->m.n);
}

// Whether less time is left than that, or none.
static bool over(const chooser *c, double least_s) { return ts_interrupted() || c->h->left_s(c->h->arg) < least_s; }

static bool descend(chooser *c, ts_diag *d) {
  bool changed = true;
  for (int pass = 0; pass < PASSES && changed; pass++) {
    changed = false;
    for (size_t p = 0; p < c->n && !over(c, FINAL_S); p++)
      if (c->part[p].m.n > 1 || (c->part[p].open && !(c->part[p].m.p[0]->step_ns > 0))) {  // a model of times needs that of the base
        TS_TRY(choose_part_or_without(c, p, &changed, d));
        explain(c, p);
      }
  }
  return true;
}

// --- more points ---------------------------------------------------------------------------------------------------------------
// The native sketch with all points of the template that the chosen kernel is a point of; -1: none.
static int sketch_of(const part *x) {
  const ts_space *s = &x->s->space;
  const ts_sketch *k = &s->sketch[x->m.p[x->now]->sketch];
  for (size_t i = 1; i < s->n && k->native; i++)
    if (s->sketch[i].native && s->sketch[i].npoints > 1 && strcmp(s->sketch[i].native->native->label, k->native->native->label) == 0) return (int)i;
  return -1;
}

// Time of steps by the decisions of the sketch's points, as a model of log time makes of it: what differs is small beside the whole. Points that
// were too slow alone to be tried in a step count as if they took as much longer there.
static ts_gp *fit(const part *x, ts_arena *a, const ts_sketch *k) {
  enum { MOST = 160 };
  const double stretch = 20;
  const ts__session *s = x->s;
  const ts__member *chosen = x->m.p[x->now];
  const double **at = ts_new_array(a, const double *, MOST);
  double *y = ts_new_array(a, double, MOST);
  size_t n = 0;
  for (int tried = 1; tried >= 0; tried--)
    for (size_t i = s->members.n; i-- > 0 && n < MOST;) {
      const ts__member *m = s->members.p[i];
      const ts_native_fit *f = s->space.sketch[m->sketch].native;
      if (m->state != TS__GOOD || (m->step_ns > 0) != tried || !f || strcmp(f->native->label, k->native->native->label) != 0) continue;
      double ns = tried ? m->step_ns : chosen->step_ns + x->calls * fmax(m->median - chosen->median, 0);
      at[n] = m->decisions;
      y[n++] = stretch * log(ns / chosen->step_ns);
    }
  return n < 3 ? NULL : ts_gp_fit(a, at, y, n, (size_t)k->native->native->nparams);
}

static int distance(const double *x, const double *y, size_t n) {
  int d = 0;
  for (size_t i = 0; i < n; i++) d += x[i] != y[i];
  return d;
}

// The most promising of the points that differ from the chosen one in at most two parameters, and of some from the whole list.
static bool try_points(chooser *c, part *x, int most, ts_diag *d) {
  enum { SAMPLED = 6000, NEAR = 2 };
  ts__session *s = x->s;
  int sketch = sketch_of(x);
  if (sketch < 0 || s->given_up) return true;
  const ts_sketch *k = &s->space.sketch[sketch];
  size_t np = (size_t)k->native->native->nparams, n = 0, stride = k->npoints / SAMPLED + 1;
  ts_arena *a = ts_arena_new("points");
  ts_gp *g = fit(x, a, k);
  scored *order = ts_new_array(a, scored, k->npoints);
  double *at = ts_new_array(a, double, np + 1), mean, sd;
  ts_rng rng = ts_rng_new(c->h->o->seed, x->m.n);
  for (size_t i = 0; g && i < k->npoints; i++) {
    for (size_t j = 0; j < np; j++) at[j] = log2(1 + fabs((double)k->points[i * np + j]));
    if (ts_rng_below(&rng, (uint32_t)stride) && distance(at, x->m.p[x->now]->decisions, np) > NEAR) continue;
    ts_gp_predict(g, at, &mean, &sd);
    order[n++] = (scored){-ts_expected_gain(0, mean, sd), i};
  }
  qsort(order, n, sizeof *order, by_score);
  bool ok = true;
  for (size_t i = 0; i < n && most > 0 && ok; i++) {
    ts_diag ignored = {0};
    ts__member *m = ts__member_point(s, sketch, k->points + order[i].which * np, &ignored);
    if (m) ok = ts__session_try(s, m, d), most--;
  }
  ts_arena_free(a);
  return ok;
}

// *any: there were points to try.
static bool search_more(chooser *c, bool *any, ts_diag *d) {
  enum { LEAST = 4, MOST = 24 };
  int64_t trials = c->h->o->trials, most = trials ? trials / (ROUNDS * (int64_t)c->n) : MOST;  // with a limit: no more again
  for (size_t p = 0; p < c->n; p++)
    if (c->part[p].open) TS_TRY(try_points(c, &c->part[p], (int)TS_MIN(TS_MAX(most, (int64_t)LEAST), (int64_t)MOST), d));
  *any = false;
  for (size_t p = 0; p < c->n; p++) *any |= c->part[p].s->batch.n > 0;
  if (!*any) return true;
  return c->h->try_all(c->h->arg, d) && add_new(c, d) && descend(c, d);
}

// --- the final ----------------------------------------------------------------------------------------------------------------
// Calls by tasks as calls by parts; NULL: of a task that is no part.
static ts_step_call *calls_of(const chooser *c, const ts_step_call *given, size_t n) {
  ts_step_call *calls = ts_new_array(c->a, ts_step_call, n);
  for (size_t i = 0; i < n; i++) {
    size_t p = 0;
    while (p < c->n && c->part[p].s != &c->h->s[given[i].part]) p++;
    if (p == c->n) return NULL;
    calls[i] = given[i];
    calls[i].part = p;
  }
  return calls;
}

// The base and those that were best of the last steps, what was chosen among them.
static size_t finalists(const part *x, ts__member **out) {
  scored order[MOST_WAYS];
  size_t n = 0, m = 0;
  for (size_t i = 1; i < x->m.n; i++)
    if (i == x->now || x->m.p[i]->step_ns > 0) order[m++] = (scored){i == x->now ? 0 : x->m.p[i]->step_ns, i};
  qsort(order, m, sizeof *order, by_score);
  out[n++] = x->m.p[0];
  for (size_t i = 0; i < m && n < FINALISTS; i++) out[n++] = x->m.p[order[i].which];
  return n;
}

// A step of these calls, with the finalists; all parts are as their bases.
static bool begin_final(chooser *c, ts_step_call *calls, size_t n, ts__member *const (*few)[FINALISTS], const size_t *nfew, ts_diag *d) {
  ts_step_close(c->step);
  c->calls = calls;
  c->ncalls = n;
  if (!(c->step = ts_step_open(c->workload, c->n, c->calls, c->ncalls, c->h->o->seed, d))) return false;
  for (size_t p = 0; p < c->n; p++) {
    c->part[p].m.n = c->part[p].id.n = c->part[p].now = 0;
    for (size_t i = 0; i < nfew[p]; i++) TS_TRY(add(c, p, few[p][i], d));
  }
  return true;
}

// With all layers where there is time and memory for them, else as before.
static bool enter_final(chooser *c, ts_diag *d) {
  ts__member *few[MOST_PARTS][FINALISTS];
  size_t nfew[MOST_PARTS], nwhole = c->h->o->nwhole;
  ts_step_call *whole = nwhole && !over(c, FINAL_S) ? calls_of(c, c->h->o->whole, nwhole) : NULL, *calls = c->calls;
  ts_diag why = {0};
  for (size_t p = 0; p < c->n; p++) nfew[p] = finalists(&c->part[p], few[p]);
  if (whole && begin_final(c, whole, nwhole, few, nfew, &why)) return true;
  if (whole && getenv("TS_EXPLAIN")) ts_say("note: step: not with all layers: %s", why.message);
  return begin_final(c, calls, c->h->o->nstep, few, nfew, d);
}

static size_t settings_of(const ts_step_call *calls, size_t n) {
  size_t most = 0;
  for (size_t i = 0; i < n; i++)
    for (size_t v = 1; v < TS_STEP_SETTINGS; v++)
      if (calls[i].t[v]) most = TS_MAX(most, v);
  return most;
}

// Steps of n ways in every setting: ns[(v * n + i) * rounds + r].
static bool time_settings(chooser *c, const int *pick, size_t n, double *ns, ts_diag *d) {
  if (!c->settings) return ts_step_time(c->step, pick, n, c->rounds, ns, d);
  for (size_t v = 0; v < c->settings; v++) TS_TRY(ts_step_time_in(c->step, v + 1, pick, n, c->rounds, ns + v * n * c->rounds, d));
  return true;
}

// As many rounds as take no long time.
static bool plan_final(chooser *c, ts_diag *d) {
  const double most_ns = 3e8;  // of a way in a setting
  int pick[MOST_PARTS];
  double once;
  now(c, pick);
  c->settings = settings_of(c->calls, c->ncalls);
  TS_TRY(ts_step_time(c->step, pick, 1, 1, &once, d));
  c->rounds = (size_t)fmin(fmax(most_ns / (3 * once), LEAST_ROUNDS), FINAL_ROUNDS);
  return true;
}

// Of n ways: the time of way i over all settings, round by round.
static void mean_steps(const chooser *c, const double *ns, size_t n, size_t i, double *out) {
  size_t settings = TS_MAX(c->settings, (size_t)1);
  for (size_t r = 0; r < c->rounds; r++) {
    double sum = 0;
    for (size_t v = 0; v < settings; v++) sum += log(ns[(v * n + i) * c->rounds + r]);
    out[r] = exp(sum / (double)settings);
  }
}

// Way i against way k over all settings. One that loses in a setting is not faster.
static ts_compare compare_ways(const chooser *c, const double *ns, size_t n, size_t i, size_t k) {
  double x[FINAL_ROUNDS], y[FINAL_ROUNDS];
  mean_steps(c, ns, n, i, x);
  mean_steps(c, ns, n, k, y);
  ts_compare all = ts_compare_paired(x, y, c->rounds, noise);
  for (size_t v = 0; v < c->settings && all.verdict == TS_FASTER; v++)
    if (ts_compare_paired(ns + (v * n + i) * c->rounds, ns + (v * n + k) * c->rounds, c->rounds, noise).verdict == TS_SLOWER) all.verdict = TS_UNCLEAR;
  return all;
}

// The finalist of a part that gains most over the one chosen so far.
static bool choose_finalist(chooser *c, size_t p, bool *changed, ts_diag *d) {
  part *x = &c->part[p];
  int pick[FINALISTS * MOST_PARTS];
  double ns[TS_STEP_SETTINGS * FINALISTS * FINAL_ROUNDS], best = 0;
  size_t before = x->now;
  for (size_t i = 0; i < x->m.n; i++) {
    now(c, pick + i * c->n);
    pick[i * c->n + p] = x->id.p[i];
  }
  TS_TRY(time_settings(c, pick, x->m.n, ns, d));
  for (size_t i = 0; i < x->m.n; i++) {
    if (i == before) continue;
    ts_compare g = compare_ways(c, ns, x->m.n, i, before);
    if (getenv("TS_EXPLAIN")) ts_say("note: step: %s: %.4f %s: %.*s", x->s->text, g.log_ratio, ts_verdict_name(g.verdict), (int)strcspn(x->m.p[i]->trace, "\n"), x->m.p[i]->trace);
    if (g.verdict == TS_FASTER && g.log_ratio < best) best = g.log_ratio, x->now = i, *changed = true;
  }
  return true;
}

// Ways of the last comparison: the bases, what was chosen, and that with one part as its base, for each that is not.
static size_t last_ways(const chooser *c, int *pick, size_t *way_of) {
  size_t n = 2;
  for (size_t p = 0; p < c->n; p++) pick[p] = c->part[p].id.p[0];
  now(c, pick + c->n);
  for (size_t p = 0; p < c->n; p++) {
    way_of[p] = c->part[p].now ? n : 1;
    if (!c->part[p].now) continue;
    now(c, pick + n * c->n);
    pick[n++ * c->n + p] = c->part[p].id.p[0];
  }
  return n;
}

static ts__step_samples kept(const chooser *c, ts__session *s, const double *ns, size_t n, size_t i) {
  double v[FINAL_ROUNDS];
  mean_steps(c, ns, n, i, v);
  return (ts__step_samples){c->rounds, ts_arena_dup(s->arena, v, c->rounds * sizeof *v)};
}

// The least useful part that does not clearly gain goes back to its base; all of them where all together do not. False: none.
static bool go_back(chooser *c, bool faster) {
  part *worst = NULL;
  bool any = false;
  for (size_t p = 0; p < c->n; p++) {
    part *x = &c->part[p];
    if (x->now && x->gain.verdict != TS_FASTER && (!worst || x->gain.log_ratio > worst->gain.log_ratio)) worst = x;
  }
  if (worst) return worst->now = 0, true;
  for (size_t p = 0; p < c->n && !faster; p++)
    if (c->part[p].now) c->part[p].now = 0, any = true;
  return any;
}

// What was chosen, by samples of its own: who was the best of many by chance is found out. What goes back changes the rest: that is measured again.
static bool confirm(chooser *c, ts_tune_result *out, ts_diag *d) {
  int pick[(MOST_PARTS + 2) * MOST_PARTS];
  size_t n, way_of[MOST_PARTS];
  double *ns = malloc(TS_STEP_SETTINGS * (MOST_PARTS + 2) * FINAL_ROUNDS * sizeof *ns), mean[FINAL_ROUNDS];
  bool ok, again = true;
  if (!ns) abort();
  do {
    n = last_ways(c, pick, way_of);
    ok = time_settings(c, pick, n, ns, d);
    for (size_t p = 0; p < c->n && ok; p++) c->part[p].gain = compare_ways(c, ns, n, 1, way_of[p]);
    again = ok && go_back(c, compare_ways(c, ns, n, 1, 0).verdict == TS_FASTER);
  } while (again && !ts_interrupted());
  for (size_t p = 0; p < c->n && ok && !ts_interrupted(); p++) {
    part *x = &c->part[p];
    if (!x->open) continue;
    x->s->pick = x->m.p[x->now];
    x->s->pick_base = x->base;
    x->s->pick_ratio = x->gain;
    x->s->pick_samples = kept(c, x->s, ns, n, 1);
    x->s->base_samples = kept(c, x->s, ns, n, way_of[p]);
  }
  if (ok && !ts_interrupted()) {
    mean_steps(c, ns, n, 0, mean);
    out->step_default_ns = ts_stats_of(mean, c->rounds).median;
    mean_steps(c, ns, n, 1, mean);
    out->step_ns = ts_stats_of(mean, c->rounds).median;
  }
  free(ns);
  return ok;
}

static bool hold_final(chooser *c, ts_tune_result *out, ts_diag *d) {
  bool changed = true;
  TS_TRY(enter_final(c, d) && plan_final(c, d));
  for (int pass = 0; pass < PASSES && changed; pass++) {
    changed = false;
    for (size_t p = 0; p < c->n && !over(c, LAST_S); p++)
      if (c->part[p].m.n > 1) TS_TRY(choose_finalist(c, p, &changed, d));
  }
  return ts_interrupted() || confirm(c, out, d);
}

static bool choose(chooser *c, ts_tune_result *out, ts_diag *d) {
  enum { LEAST_S = 15, IDLE = 4 };  // rounds without another choice
  if (!(c->step = ts_step_open(c->workload, c->n, c->calls, c->ncalls, c->h->o->seed, d)) || !add_new(c, d) || !descend(c, d)) return false;
  bool more = true;
  for (int i = 0, idle = 0; i < ROUNDS && idle < IDLE && more && !over(c, LEAST_S); i++, idle++) {
    size_t before = c->changes;
    TS_TRY(search_more(c, &more, d));
    if (c->changes != before) idle = -1;
  }
  return ts_interrupted() || hold_final(c, out, d);
}

bool ts__step_choose(const ts__step_host *h, ts_tune_result *out, ts_diag *d) {
  chooser *c = calloc(1, sizeof *c);
  if (!c) abort();
  c->h = h;
  c->a = ts_arena_new("step");
  ts_diag why = {0};
  bool ok = true;
  if (!make_parts(c)) ts_say("note: the decode step is not measured whole: not all of its kernels run");
  else if (!choose(c, out, &why)) {
    ok = strcmp(why.code, "step-failed") == 0 || why.kind == TS_REFUSAL;
    if (ok) ts_say("note: the decode step is not measured whole: %s", why.message);
    else *d = why;
  }
  ts_step_close(c->step);
  ts_arena_free(c->a);
  free(c);
  return ok;
}

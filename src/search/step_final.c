// The last comparison of a choice in whole steps: what the search found best of each part, in a step of all layers, with few, more and many tokens in the
// caches. A kernel takes the place of what a build without records takes when it gains over all of these and loses at none: what is best depends on how long
// attention takes, and on what of the caches the weights leave in the second-level cache.
#include <math.h>
#include <stdlib.h>

#include "search/step.h"

enum { FINALISTS = 4, ROUNDS = 31, LEAST_ROUNDS = 9, LAST_S = 2 };

// Calls by tasks as calls by parts; NULL: of a task that is no part.
static ts_step_call *calls_of(const ts__chooser *c, const ts_step_call *given, size_t n) {
  ts_step_call *calls = ts_new_array(c->a, ts_step_call, n);
  for (size_t i = 0; i < n; i++) {
    size_t p = 0;
    while (p < c->n && c->part[p].s - c->h->s != (ptrdiff_t)given[i].part) p++;
    if (p == c->n) return NULL;
    calls[i] = given[i];
    calls[i].part = p;
  }
  return calls;
}

// The base, what was chosen, and those that were best of the last steps.
static size_t finalists(const ts__part *x, ts__member **out) {
  size_t n = 0;
  out[n++] = x->m.p[0];
  if (x->now) out[n++] = x->m.p[x->now];
  for (ts__member *best = x->m.p[0]; best && n < FINALISTS;) {
    best = NULL;
    for (size_t i = 1; i < x->m.n; i++) {
      ts__member *m = x->m.p[i];
      bool in = !(m->step_ns > 0);
      for (size_t k = 0; k < n && !in; k++) in = out[k] == m;
      if (!in && (!best || m->step_ns < best->step_ns)) best = m;
    }
    if (best) out[n++] = best;
  }
  return n;
}

// A step of these calls, with the finalists; all parts are as their bases.
static bool begin_final(ts__chooser *c, ts_step_call *calls, size_t n, ts__member *const (*few)[FINALISTS], const size_t *nfew, ts_diag *d) {
  ts_step_close(c->step);
  c->calls = calls;
  c->ncalls = n;
  if (!(c->step = ts__step_open(c, d))) return false;
  for (size_t p = 0; p < c->n; p++) {
    c->part[p].m.n = c->part[p].id.n = c->part[p].now = 0;
    for (size_t i = 0; i < nfew[p]; i++) TS_TRY(ts__step_add(c, p, few[p][i], d));
  }
  return true;
}

// The finalists in the step at hand.
static void keep(ts__chooser *c, ts__member *const (*few)[FINALISTS], const size_t *nfew) {
  for (size_t p = 0; p < c->n; p++) {
    ts__part *x = &c->part[p];
    int id[FINALISTS] = {0};
    for (size_t i = 0; i < nfew[p]; i++)
      for (size_t k = 0; k < x->m.n; k++)
        if (x->m.p[k] == few[p][i]) id[i] = x->id.p[k];
    memcpy(x->m.p, few[p], nfew[p] * sizeof *few[p]);
    memcpy(x->id.p, id, nfew[p] * sizeof *id);
    x->m.n = x->id.n = nfew[p];
    x->now = 0;
  }
}

// With all layers where there is time and memory for them, else as before.
static bool enter_final(ts__chooser *c, ts_diag *d) {
  ts__member *few[TS__MOST_PARTS][FINALISTS];
  size_t nfew[TS__MOST_PARTS], nwhole = c->h->step->nwhole;
  ts_step_call *whole = nwhole && !ts__step_over(c, c->pace.final_s) ? calls_of(c, c->h->step->whole, nwhole) : NULL, *calls = c->calls;
  size_t ncalls = c->ncalls;
  ts_diag why = {0};
  for (size_t p = 0; p < c->n; p++) nfew[p] = finalists(&c->part[p], few[p]);
  if (whole && begin_final(c, whole, nwhole, few, nfew, &why)) return true;
  if (whole && getenv("TS_EXPLAIN")) ts_say("note: step: not with all layers: %s", why.message);
  if (whole) return begin_final(c, calls, ncalls, few, nfew, d);
  return keep(c, few, nfew), true;
}

static size_t settings_of(const ts_step_call *calls, size_t n) {
  size_t most = 0;
  for (size_t i = 0; i < n; i++)
    for (size_t v = 1; v < TS_STEP_SETTINGS; v++)
      if (calls[i].t[v]) most = TS_MAX(most, v);
  return most;
}

// Steps of n ways in every setting: ns[(v * n + i) * rounds + r].
static bool time_settings(ts__chooser *c, const int *pick, size_t n, double *ns, ts_diag *d) {
  if (!c->settings) return ts_step_time(c->step, pick, n, c->rounds, ns, d);
  for (size_t v = 0; v < c->settings; v++) TS_TRY(ts_step_time_in(c->step, v + 1, pick, n, c->rounds, ns + v * n * c->rounds, d));
  return true;
}

// As many rounds as take no long time.
static bool plan_final(ts__chooser *c, ts_diag *d) {
  const double most_ns = 3e8;  // of a way in a setting
  int pick[TS__MOST_PARTS];
  double once;
  ts__step_now(c, pick);
  c->settings = settings_of(c->calls, c->ncalls);
  TS_TRY(ts_step_time(c->step, pick, 1, 1, &once, d));
  c->rounds = (size_t)fmin(fmax(most_ns / (3 * once), LEAST_ROUNDS), ROUNDS);
  return true;
}

// Of n ways: the time of way i over all settings, round by round.
static void mean_steps(const ts__chooser *c, const double *ns, size_t n, size_t i, double *out) {
  size_t settings = TS_MAX(c->settings, (size_t)1);
  for (size_t r = 0; r < c->rounds; r++) {
    double sum = 0;
    for (size_t v = 0; v < settings; v++) sum += log(ns[(v * n + i) * c->rounds + r]);
    out[r] = exp(sum / (double)settings);
  }
}

// Way i against way k over all settings. One that loses in a setting is not faster.
static ts_compare compare_ways(const ts__chooser *c, const double *ns, size_t n, size_t i, size_t k) {
  double x[ROUNDS], y[ROUNDS];
  mean_steps(c, ns, n, i, x);
  mean_steps(c, ns, n, k, y);
  ts_compare all = ts_compare_paired(x, y, c->rounds, ts__step_noise);
  for (size_t v = 0; v < c->settings && all.verdict == TS_FASTER; v++)
    if (ts_compare_paired(ns + (v * n + i) * c->rounds, ns + (v * n + k) * c->rounds, c->rounds, ts__step_noise).verdict == TS_SLOWER) all.verdict = TS_UNCLEAR;
  return all;
}

// The finalist of a part that gains most over the one chosen so far.
static bool choose_finalist(ts__chooser *c, size_t p, bool *changed, ts_diag *d) {
  ts__part *x = &c->part[p];
  int pick[FINALISTS * TS__MOST_PARTS];
  double ns[TS_STEP_SETTINGS * FINALISTS * ROUNDS], best = 0;
  size_t before = x->now;
  for (size_t i = 0; i < x->m.n; i++) {
    ts__step_now(c, pick + i * c->n);
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
static size_t last_ways(const ts__chooser *c, int *pick, size_t *way_of) {
  size_t n = 2;
  for (size_t p = 0; p < c->n; p++) pick[p] = c->part[p].id.p[0];
  ts__step_now(c, pick + c->n);
  for (size_t p = 0; p < c->n; p++) {
    way_of[p] = c->part[p].now ? n : 1;
    if (!c->part[p].now) continue;
    ts__step_now(c, pick + n * c->n);
    pick[n++ * c->n + p] = c->part[p].id.p[0];
  }
  return n;
}

static ts__step_samples kept(const ts__chooser *c, ts__session *s, const double *ns, size_t n, size_t i) {
  double v[ROUNDS];
  mean_steps(c, ns, n, i, v);
  return (ts__step_samples){c->rounds, ts_arena_dup(s->arena, v, c->rounds * sizeof *v)};
}

// The least useful part that does not clearly gain goes back to its base; all of them where all together do not. False: none.
static bool go_back(ts__chooser *c, bool faster) {
  ts__part *worst = NULL;
  bool any = false;
  for (size_t p = 0; p < c->n; p++) {
    ts__part *x = &c->part[p];
    if (x->now && x->gain.verdict != TS_FASTER && (!worst || x->gain.log_ratio > worst->gain.log_ratio)) worst = x;
  }
  if (worst) return worst->now = 0, true;
  for (size_t p = 0; p < c->n && !faster; p++)
    if (c->part[p].now) c->part[p].now = 0, any = true;
  return any;
}

// What was chosen, by samples of its own: who was the best of many by chance is found out. What goes back changes the rest: that is measured again.
static bool confirm(ts__chooser *c, ts_tune_step_row *out, ts_diag *d) {
  int pick[(TS__MOST_PARTS + 2) * TS__MOST_PARTS];
  size_t n, way_of[TS__MOST_PARTS];
  double *ns = malloc(TS_STEP_SETTINGS * (TS__MOST_PARTS + 2) * ROUNDS * sizeof *ns), mean[ROUNDS];
  bool ok, again = true;
  if (!ns) abort();
  do {
    n = last_ways(c, pick, way_of);
    ok = time_settings(c, pick, n, ns, d);
    for (size_t p = 0; p < c->n && ok; p++) c->part[p].gain = compare_ways(c, ns, n, 1, way_of[p]);
    again = ok && go_back(c, compare_ways(c, ns, n, 1, 0).verdict == TS_FASTER);
  } while (again && !ts_interrupted());
  for (size_t p = 0; p < c->n && ok && !ts_interrupted(); p++) {
    ts__part *x = &c->part[p];
    if (!x->open) continue;
    x->s->pick = x->m.p[x->now];
    x->s->pick_base = x->base;
    x->s->pick_ratio = x->gain;
    x->s->pick_samples = kept(c, x->s, ns, n, 1);
    x->s->base_samples = kept(c, x->s, ns, n, way_of[p]);
  }
  if (ok && !ts_interrupted()) {
    mean_steps(c, ns, n, 0, mean);
    out->default_ns = ts_stats_of(mean, c->rounds).median;
    mean_steps(c, ns, n, 1, mean);
    out->ns = ts_stats_of(mean, c->rounds).median;
  }
  free(ns);
  return ok;
}

bool ts__step_final(ts__chooser *c, ts_tune_step_row *out, ts_diag *d) {
  bool changed = true;
  TS_TRY(enter_final(c, d) && plan_final(c, d));
  for (int pass = 0; pass < TS__STEP_PASSES && changed; pass++) {
    changed = false;
    for (size_t p = 0; p < c->n && !ts__step_over(c, LAST_S); p++)
      if (c->part[p].m.n > 1) TS_TRY(choose_finalist(c, p, &changed, d));
  }
  return ts_interrupted() || confirm(c, out, d);
}


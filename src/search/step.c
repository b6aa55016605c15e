// The kernels of a model's decode step, or of its pass of a few rows, chosen by the time of whole steps: kernels that start before their predecessor has ended share memory
// and multiprocessors with it, and the fastest alone are not the fastest there. Coordinate descent from what a build without records takes,
// among candidates of the search and points that a model of the steps' times proposes, in a step of few layers whose caches hold different numbers
// of tokens. The best of what it finds meet once more in step_final.c.
#include <math.h>
#include <stdlib.h>

#include "search/step.h"

enum { SCREEN = 3, SHORT = 5, SHORT_ROUNDS = 15, MOST_RESTARTS = 4, MOST_WAYS = 384 };
static const ts__pace decode_pace = {.least_s = 0, .final_s = 6, .round_s = 9, .rounds = 12, .idle = 4}, pass_pace = {.least_s = 2, .final_s = 2, .round_s = 4, .rounds = 4, .idle = 1};
const double ts__step_noise = 0.001;
static const double slack = 1.4;  // candidates that are slower alone by more than this are not tried

// --- who takes part -----------------------------------------------------------------------------------------------------------
static bool alive(const ts__member *m) { return m->state == TS__GOOD && m->object.bytes; }

bool ts__is_near(const ts__session *s, const ts__member *m) { return m->median <= slack * s->best->median; }

bool ts__step_chooses(const ts_func *reference) {
  for (int i = 0; i < reference->ndims; i++)
    if (strcmp(reference->dims[i].var->name, "n") == 0) return false;
  return true;
}

// What a build without records takes; where no template guesses, the fastest, without a choice. What serves other steps too is not chosen either.
static bool find_base(ts__part *p) {
  ts__session *s = p->s;
  ts__member *top[1], *guess = NULL;
  for (size_t i = 0; i < s->members.n; i++) {
    ts__member *m = s->members.p[i];
    m->stepped = false, m->step_ns = 0;  // of this step
    if (!guess && ts__is_guess(s, m) && alive(m)) guess = m;
  }
  p->open = guess && ts__step_chooses(ts_workload_reference(s->workload));
  p->base = guess ? guess : ts__ranked(s, top, 1) && alive(top[0]) ? top[0] : NULL;
  return p->base != NULL;
}

// The part that a task is; made when it is asked for first. NULL: there is no room, or the task has nothing that runs.
static ts__part *part_of(ts__chooser *c, size_t task) {
  if (task >= c->h->n) return NULL;
  ts__session *s = &c->h->s[task];
  for (size_t p = 0; p < c->n; p++)
    if (c->part[p].s == s) return &c->part[p];
  if (c->n == TS__MOST_PARTS || !s->begun || s->given_up) return NULL;
  ts__part *x = &c->part[c->n];
  x->s = s;
  c->workload[c->n] = s->workload;
  if (!find_base(x)) return x->s = NULL, NULL;
  return c->n++, x;
}

// A step can do without what is not chosen in it: a kernel for any number of rows that has not run.
static bool can_miss(const ts__chooser *c, size_t task) { return task < c->h->n && c->h->s[task].workload && !ts__step_chooses(ts_workload_reference(c->h->s[task].workload)); }

// Parts of the step from tasks. False: a task has nothing that runs.
static bool make_parts(ts__chooser *c) {
  const ts_tune_step *step = c->h->step;
  c->calls = ts_new_array(c->a, ts_step_call, step->n);
  for (size_t i = 0; i < step->n; i++) {
    ts__part *x = part_of(c, step->call[i].part);
    if (!x && can_miss(c, step->call[i].part)) continue;
    if (!x) return false;
    c->calls[c->ncalls] = step->call[i];
    c->calls[c->ncalls++].part = (size_t)(x - c->part);
    x->calls++;
  }
  return c->n > 0;
}

static bool any_open(const ts__chooser *c) {
  for (size_t p = 0; p < c->n; p++)
    if (c->part[p].open) return true;
  return false;
}

ts_step *ts__step_open(const ts__chooser *c, ts_diag *d) { return ts_step_open(c->workload, c->n, c->calls, c->ncalls, c->h->step->rows, c->h->o->seed, d); }

bool ts__step_add(ts__chooser *c, size_t p, ts__member *m, ts_diag *d) {
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
static bool add_new(ts__chooser *c, ts_diag *d) {
  for (size_t p = 0; p < c->n; p++) {
    ts__part *x = &c->part[p];
    const ts_space *space = &x->s->space;
    if (!x->m.n) TS_TRY(ts__step_add(c, p, x->base, d));
    for (size_t i = 0; i < x->s->members.n && x->open && x->m.n < MOST_WAYS; i++) {
      ts__member *m = x->s->members.p[i];
      if (!alive(m) || m->stepped || !ts__is_near(x->s, m) || strcmp(space->sketch[m->sketch].variant, space->sketch[x->base->sketch].variant) != 0) continue;
      TS_TRY(ts__step_add(c, p, m, d));
    }
  }
  return true;
}

// --- choosing -----------------------------------------------------------------------------------------------------------------
void ts__step_now(const ts__chooser *c, int *pick) {
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
static bool time_part(ts__chooser *c, size_t p, const size_t *which, size_t n, size_t rounds, double *ns, ts_diag *d) {
  int *pick = malloc(n * c->n * sizeof *pick);
  if (!pick) abort();
  for (size_t i = 0; i < n; i++) {
    ts__step_now(c, pick + i * c->n);
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
static bool choose_part(ts__chooser *c, size_t p, bool *changed, ts_diag *d) {
  const double hopeless = 1.03;
  ts__part *x = &c->part[p];
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
  if (ok && best && ts_compare_paired(final + best * SHORT_ROUNDS, final, SHORT_ROUNDS, ts__step_noise).verdict == TS_FASTER) x->now = few[best], *changed = true, c->changes++;
  free(ns);
  return ok;
}

// Another worker, without the one that ended the last.
static bool begin_again(ts__chooser *c, ts_diag *d) {
  ts_step_close(c->step);
  if (!(c->step = ts__step_open(c, d))) return false;
  for (size_t p = 0; p < c->n; p++) {
    ts__part *x = &c->part[p];
    const ts__member *chosen = x->m.p[x->now];
    size_t n = x->m.n;
    x->m.n = x->id.n = x->now = 0;
    for (size_t i = 0; i < n; i++)
      if (x->m.p[i] != c->guilty) TS_TRY(ts__step_add(c, p, x->m.p[i], d));
    for (size_t i = 0; i < x->m.n; i++)
      if (x->m.p[i] == chosen) x->now = i;
  }
  return true;
}

// A kernel that ends the worker in a step, though it was right alone, is out.
static bool choose_part_or_without(ts__chooser *c, size_t p, bool *changed, ts_diag *d) {
  while (!choose_part(c, p, changed, d)) {
    if (strcmp(d->code, "step-failed") != 0 || !c->guilty || c->restarts++ == MOST_RESTARTS) return false;
    if (getenv("TS_EXPLAIN")) ts_say("note: step: without %.*s: %s", (int)strcspn(c->guilty->trace, "\n"), c->guilty->trace, d->message);
    TS_TRY(begin_again(c, d));
  }
  return true;
}

static void explain(const ts__chooser *c, size_t p) {
  const ts__part *x = &c->part[p];
  const char *trace = x->m.p[x->now]->trace;
  if (getenv("TS_EXPLAIN")) ts_say("note: step: %.2f us, %s: %.*s of %zu", x->m.p[x->now]->step_ns * 1e-3, x->s->text, (int)strcspn(trace, "\n"), trace, x->m.n);
}

// Whether less time is left than that, or none.
bool ts__step_over(const ts__chooser *c, double least_s) { return ts_interrupted() || c->h->left_s(c->h->arg) < least_s; }

static bool descend(ts__chooser *c, ts_diag *d) {
  bool changed = true;
  for (int pass = 0; pass < TS__STEP_PASSES && changed; pass++) {
    changed = false;
    for (size_t p = 0; p < c->n && !ts__step_over(c, c->pace.final_s); p++)
      if (c->part[p].m.n > 1 || (c->part[p].open && !(c->part[p].m.p[0]->step_ns > 0))) {  // a model of times needs that of the base
        TS_TRY(choose_part_or_without(c, p, &changed, d));
        explain(c, p);
      }
  }
  return true;
}

// --- more points ---------------------------------------------------------------------------------------------------------------
// The native sketch with all points of the template that the chosen kernel is a point of; -1: none.
static int sketch_of(const ts__part *x) {
  const ts_space *s = &x->s->space;
  const ts_sketch *k = &s->sketch[x->m.p[x->now]->sketch];
  for (size_t i = 1; i < s->n && k->native; i++)
    if (s->sketch[i].native && s->sketch[i].npoints > 1 && strcmp(s->sketch[i].native->native->label, k->native->native->label) == 0) return (int)i;
  return -1;
}

// Time of steps by the decisions of the sketch's points, as a model of log time makes of it: what differs is small beside the whole. Points that
// were too slow alone to be tried in a step count as if they took as much longer there.
static ts_gp *fit(const ts__part *x, ts_arena *a, const ts_sketch *k) {
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
static bool try_points(ts__chooser *c, ts__part *x, int most, ts_diag *d) {
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

// How many points a part tries in a round: with a limit to candidates no more again in all, and no more than there is time for.
static int points_of_round(const ts__chooser *c) {
  enum { LEAST = 4, MOST = 24 };
  const double usual_s = 0.1;  // of a candidate
  int64_t trials = c->h->o->trials, most = trials ? trials / (decode_pace.rounds * (int64_t)c->n) : MOST;
  double time = (c->h->left_s(c->h->arg) - c->pace.final_s) / (usual_s * (double)c->n);
  return (int)fmax(fmin(fmin((double)most, time), MOST), LEAST);
}

// *any: there were points to try.
static bool search_more(ts__chooser *c, bool *any, ts_diag *d) {
  int most = points_of_round(c);
  for (size_t p = 0; p < c->n; p++)
    if (c->part[p].open) TS_TRY(try_points(c, &c->part[p], most, d));
  *any = false;
  for (size_t p = 0; p < c->n; p++) *any |= c->part[p].s->batch.n > 0;
  if (!*any) return true;
  return c->h->try_all(c->h->arg, d) && add_new(c, d) && descend(c, d);
}

static bool choose(ts__chooser *c, ts_tune_step_row *out, ts_diag *d) {
  if (!(c->step = ts__step_open(c, d)) || !add_new(c, d) || !descend(c, d)) return false;
  bool more = true;
  for (int i = 0, idle = 0; i < c->pace.rounds && idle < c->pace.idle && more && !ts__step_over(c, c->pace.final_s + c->pace.round_s); i++, idle++) {
    size_t before = c->changes;
    TS_TRY(search_more(c, &more, d));
    if (c->changes != before) idle = -1;
  }
  return ts_interrupted() || ts__step_final(c, out, d);
}

static const char *name_of(const ts__chooser *c) { return c->h->step->rows > 1 ? ts_arena_printf(c->a, "a pass of %lld rows", (long long)c->h->step->rows) : "the decode step"; }

bool ts__step_choose(const ts__step_host *h, ts_tune_step_row *out, ts_diag *d) {
  ts__chooser *c = calloc(1, sizeof *c);
  if (!c) abort();
  c->h = h;
  c->pace = h->step->rows > 1 ? pass_pace : decode_pace;
  c->a = ts_arena_new("step");
  *out = (ts_tune_step_row){.rows = h->step->rows};
  ts_diag why = {0};
  bool ok = true;
  if (!make_parts(c)) ts_say("note: %s is not measured whole: not all of its kernels run", name_of(c));
  else if (c->h->left_s(c->h->arg) < c->pace.least_s) ts_say("note: %s is not measured whole: no time is left", name_of(c));
  else if (any_open(c) && !choose(c, out, &why)) {
    ok = strcmp(why.code, "step-failed") == 0 || why.kind == TS_REFUSAL;
    if (ok) ts_say("note: %s is not measured whole: %s", name_of(c), why.message);
    else *d = why;
  }
  ts_step_close(c->step);
  ts_arena_free(c->a);
  free(c);
  return ok;
}

// Dividing a prompt into passes.
//
// Where the plan tells the times of passes, those are chosen whose times add up to the least: best[r] = min over passes of time + best[r - rows], or one pass for
// all that is left where a division saves next to nothing. Only the last one may have fewer rows than it computes, as far as the cache has room for the others: the
// room beyond the rows that are left, `slack`, stays the same from pass to pass. Without times a pass has as many rows as one can.
#include "runtime/plan.h"

#include <math.h>
#include <stdlib.h>

enum { MOST_ROWS = 1 << 14, MOST_TRIED = 64 };  // that are divided at once; of numbers of rows of one phase
static const double WORTH = 1.03;  // what a division must save: times are expected ones

typedef struct choice {
  int32_t rows;
  uint8_t phase;
} choice;
struct ts_passes {
  const ts_plan *plan;
  int64_t most;          // rows that are divided at once; of more, the first pass is that of so many
  int64_t widest;        // beyond the last row no pass computes so many; more slack makes no difference
  int64_t slack, known;  // what is divided: 0 .. known rows
  choice *choice;        // their first pass; NULL: no times
  double *best;          // us of all of them
  double *us;            // [phase][k] of passes of k steps
};

double ts_plan_phase_us(const ts_plan_phase *f, int64_t n) {
  const ts_plan_time *t = f->times;
  int i = 1;
  if (!f->ntimes) return 0;
  if (n <= t[0].n || f->ntimes == 1) return t[0].us;
  while (i + 1 < f->ntimes && n > t[i].n) i++;
  return t[i - 1].us + (t[i].us - t[i - 1].us) * (double)(n - t[i - 1].n) / (double)(t[i].n - t[i - 1].n);
}

static bool timed(const ts_plan *p) {
  for (int i = 0; i < p->nphases; i++)
    if (p->phases[i].kind != TS_PHASE_HEAD && !p->phases[i].ntimes) return false;
  return true;
}

// Numbers of rows that are tried for a phase, beside all that are left: multiples of this.
static int64_t step_of(const ts_plan_phase *f) { return ts_round_up((f->n_max + MOST_TRIED - 1) / MOST_TRIED, f->multiple); }

// All of r rows that a phase may have, or whole steps of them.
static void try_phase(ts_passes *x, int phase, int64_t r) {
  const ts_plan_phase *f = &x->plan->phases[phase];
  const double *us = x->us + phase * (MOST_TRIED + 1);
  const int64_t step = step_of(f), all = TS_MIN(r, f->n_max), full = ts_round_up(all, f->multiple);
  double best = x->best[r];
  int64_t rows = 0;
  if (all >= f->n_min && full - r <= x->slack && ts_plan_phase_us(f, full) + x->best[r - all] < best) best = ts_plan_phase_us(f, full) + x->best[r - all], rows = all;
  for (int64_t k = all / step; k > 0 && k * step >= f->n_min; k--)
    if (us[k] + x->best[r - k * step] < best) best = us[k] + x->best[r - k * step], rows = k * step;
  if (rows) x->best[r] = best, x->choice[r] = (choice){(int32_t)rows, (uint8_t)phase};
}

static void divide(ts_passes *x, int64_t rows, int64_t slack) {
  if (slack != x->slack) x->known = 0, x->slack = slack;
  for (int64_t r = x->known + 1; r <= rows; r++) {
    x->best[r] = INFINITY;
    for (int i = x->plan->nphases - 1; i >= 0; i--)  // of equal sums the one that begins with the most rows
      if (x->plan->phases[i].kind != TS_PHASE_HEAD) try_phase(x, i, r);
  }
  x->known = TS_MAX(x->known, rows);
}

static bool tables(ts_passes *x) {
  const ts_plan *p = x->plan;
  x->us = calloc((size_t)p->nphases * (MOST_TRIED + 1), sizeof *x->us);
  x->choice = calloc((size_t)x->most + 1, sizeof *x->choice);
  x->best = calloc((size_t)x->most + 1, sizeof *x->best);
  for (int i = 0; x->us && i < p->nphases; i++)
    for (int64_t k = 1, step = step_of(&p->phases[i]); k * step <= p->phases[i].n_max; k++) x->us[i * (MOST_TRIED + 1) + k] = ts_plan_phase_us(&p->phases[i], k * step);
  return x->us && x->choice && x->best;
}

ts_passes *ts_passes_new(const ts_plan *p, ts_diag *d) {
  ts_passes *x = calloc(1, sizeof *x);
  if (x) *x = (ts_passes){.plan = p, .most = TS_MIN(p->prefill_chunk, (int64_t)MOST_ROWS)};
  for (int i = 0; x && i < p->nphases; i++) x->widest = TS_MAX(x->widest, p->phases[i].multiple);
  if (x && (!timed(p) || tables(x))) {
    if (x->choice) divide(x, x->most, x->widest);
    return x;
  }
  ts_passes_free(x);
  (void)ts_env_fail(d, "out-of-memory", "no memory for passes of %lld rows", (long long)p->prefill_chunk);
  return NULL;
}

void ts_passes_free(ts_passes *x) {
  if (!x) return;
  free(x->choice);
  free(x->best);
  free(x->us);
  free(x);
}

// The most rows that one pass can take.
static ts_pass largest(const ts_plan *p, int64_t left, int64_t room) {
  ts_pass best = {.phase = ts_plan_pick(p, 1), .rows = 1};
  for (int i = 0; i < p->nphases; i++) {
    const ts_plan_phase *f = &p->phases[i];
    if (f->kind != TS_PHASE_PREFILL) continue;
    int64_t rows = TS_MIN(TS_MIN(left, p->prefill_chunk), TS_MIN(f->n_max, room / f->multiple * f->multiple));
    if (rows >= f->n_min && rows > best.rows) best = (ts_pass){f, rows};
  }
  return best;
}

// The fastest pass that takes all of r rows, if it is expected to take hardly longer than the best division.
static ts_pass whole(const ts_passes *x, int64_t r) {
  ts_pass best = {.phase = NULL};
  double least = x->best[r] * WORTH;
  for (int i = 0; i < x->plan->nphases; i++) {
    const ts_plan_phase *f = &x->plan->phases[i];
    int64_t full = ts_round_up(r, f->multiple);
    if (f->kind == TS_PHASE_HEAD || r < f->n_min || r > f->n_max || full - r > x->slack || !(ts_plan_phase_us(f, full) < least)) continue;
    least = ts_plan_phase_us(f, full);
    best = (ts_pass){f, r};
  }
  return best;
}

ts_pass ts_passes_next(ts_passes *x, int64_t left, int64_t room) {
  if (!x->choice || left == 1) return largest(x->plan, left, room);
  int64_t rows = TS_MIN(left, x->most);
  divide(x, rows, TS_MIN(room - left, x->widest));
  ts_pass all = whole(x, rows);
  if (all.phase) return all;
  return (ts_pass){&x->plan->phases[x->choice[rows].phase], x->choice[rows].rows};
}

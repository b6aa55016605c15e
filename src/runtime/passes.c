// Dividing a prompt into passes.
//
// Where the plan tells the times of passes, those are chosen whose times add up to the least: best[r] = min over passes of time + best[r - rows]. Only the
// last one may have fewer rows than it computes. Without times a pass has as many rows as one can.
#include "runtime/plan.h"

#include <math.h>
#include <stdlib.h>

typedef struct choice {
  int32_t rows;
  uint8_t phase;
} choice;
struct ts_passes {
  const ts_plan *plan;
  int64_t most;      // rows that are divided at once; beyond, passes of the most rows come first
  choice *choice;    // of the first pass of 0 .. most rows; NULL: no times
  double *best;      // us of all
};

static int64_t round_up(int64_t n, int64_t m) { return (n + m - 1) / m * m; }

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

// The first pass of r rows: all that a phase may have of them, or whole multiples.
static void choose(ts_passes *x, int64_t r) {
  x->best[r] = INFINITY;
  for (int i = x->plan->nphases - 1; i >= 0; i--) {  // of equal sums the one that begins with the most rows
    const ts_plan_phase *f = &x->plan->phases[i];
    int64_t k = TS_MIN(r, f->n_max);
    if (f->kind == TS_PHASE_HEAD) continue;
    for (; k >= f->n_min; k = k % f->multiple ? k - k % f->multiple : k - f->multiple) {
      double us = ts_plan_phase_us(f, round_up(k, f->multiple)) + x->best[r - k];
      if (us < x->best[r]) x->best[r] = us, x->choice[r] = (choice){(int32_t)k, (uint8_t)i};
      if (f->multiple == f->n_max) break;
    }
  }
}

ts_passes *ts_passes_new(const ts_plan *p, ts_diag *d) {
  ts_passes *x = calloc(1, sizeof *x);
  const size_t n = (size_t)p->prefill_chunk + 1;
  if (x) *x = (ts_passes){.plan = p, .most = p->prefill_chunk};
  if (x && timed(p)) x->choice = calloc(n, sizeof *x->choice), x->best = calloc(n, sizeof *x->best);
  if (!x || (timed(p) && (!x->choice || !x->best))) {
    ts_passes_free(x);
    (void)ts_env_fail(d, "out-of-memory", "no memory for passes of %lld rows", (long long)p->prefill_chunk);
    return NULL;
  }
  for (int64_t r = 1; x->choice && r <= x->most; r++) choose(x, r);
  return x;
}

void ts_passes_free(ts_passes *x) {
  if (!x) return;
  free(x->choice);
  free(x->best);
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

ts_pass ts_passes_next(const ts_passes *x, int64_t left, int64_t room) {
  if (!x->choice) return largest(x->plan, left, room);
  const choice *c = &x->choice[TS_MIN(left, x->most)];
  const ts_plan_phase *f = &x->plan->phases[c->phase];
  return round_up(c->rows, f->multiple) <= room ? (ts_pass){f, c->rows} : largest(x->plan, left, room);
}

double ts_passes_us(const ts_passes *x, int64_t n) { return x->choice && n >= 0 && n <= x->most ? x->best[n] : 0; }

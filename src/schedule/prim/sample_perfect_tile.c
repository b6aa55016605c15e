// a, b = sample_perfect_tile k n=2 max=64 : for k in 0..4096 -> [64, 64], say.
// n factors whose product is the extent, uniform over all such lists with a last factor of at most max.
#include "schedule/schedule_impl.h"

enum { MAX_FACTORS = 16, TRIES = 64 };
typedef struct plan {
  int64_t extent;
  int n;
  int64_t max;
} plan;

bool ts__check_sample_perfect_tile(ts__ctx *c) {
  plan *p = ts_new(c->a, plan);
  c->plan = p;
  p->n = (int)c->arg[1].i;
  p->max = c->arg[2].i;
  if (c->arg[1].i < 1 || c->arg[1].i > MAX_FACTORS) return ts__refuse(c, TS_R_bad_argument, 1, "n must be 1 to 16");
  if (p->max < 1) return ts__refuse(c, TS_R_bad_argument, 2, "max must be at least 1");
  if (ts_is_int(ts__stmt(c, c->arg[0].node)->loop.extent, &p->extent) && p->extent >= 1) {
    if (p->n > 1 || p->extent <= p->max) return true;
    return ts__refuse(c, TS_R_bad_argument, 2, "one factor cannot be both the extent and at most max");
  }
  ts__refuse(c, TS_R_symbolic, 0, "the extent {1} of loop {0} is not a constant");
  ts__fact_node(c, c->arg[0].node);
  ts__fact_s(c, ts__expr_text(c, ts__stmt(c, c->arg[0].node)->loop.extent));
  ts__hint(c, "sample_categorical for a factor, and split {0} [_, factor]");
  return false;
}

static void sample(ts__ctx *c, const plan *p, int64_t *f) {
  ts_rng r = ts__step_rng(c);
  for (int t = 0; t < TRIES; t++) {
    ts__factors_draw(&r, p->extent, f, p->n);
    if (f[p->n - 1] <= p->max) return;
  }
  f[p->n - 2] *= f[p->n - 1];  // lists within max are rare: give the last factor's share to its neighbour
  f[p->n - 1] = 1;
}

static bool fits(const plan *p, const int64_t *f, int n) {
  int64_t product = 1;
  if (n != p->n || f[n - 1] > p->max) return false;
  for (int i = 0; i < n; i++)
    if (f[i] < 1 || __builtin_mul_overflow(product, f[i], &product)) return false;
  return product == p->extent;
}

// The nearest list: from the innermost on, the largest divisor of what is left that does not exceed the decision.
static void adapt(const plan *p, const int64_t *want, int n, int64_t *f) {
  int64_t left = p->extent;
  for (int i = p->n - 1; i > 0; i--) {
    int from = i - p->n + n;
    int64_t limit = from > 0 ? want[from] : 1;
    f[i] = ts__divisor_below(left, i == p->n - 1 ? TS_MIN(limit, p->max) : limit);
    left /= f[i];
  }
  f[0] = left;
}

bool ts__apply_sample_perfect_tile(ts__ctx *c) {
  const plan *p = c->plan;
  int64_t *f = ts_new_array(c->a, int64_t, p->n);
  if (!c->ndecision) sample(c, p, f);
  else if (fits(p, c->decision, c->ndecision)) memcpy(f, c->decision, sizeof *f * (size_t)p->n);
  else {
    if (c->strict) {
      ts__refuse(c, TS_R_bad_decision, 3, "the decision is no list of {0} factors of {1} whose last is at most {2}");
      ts__fact_i(c, p->n);
      ts__fact_i(c, p->extent);
      ts__fact_i(c, p->max);
      return false;
    }
    adapt(p, c->decision, c->ndecision, f);
    c->adapted = "the decided factors do not fit the loop; the nearest ones that do were taken";
  }
  return ts__sampled(c, f, p->n);
}

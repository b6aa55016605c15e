// a, b, c = sample_partitioned_tile k n=3 at=1 inner=16 : for k in 0..4096 -> [64, 4, 16], say.
// n factors whose product is the extent, such that the product of those from position `at` on is a multiple of `inner`:
// the tile of an intrinsic, say. Every such list can be drawn.
#include "schedule/schedule_impl.h"

enum { MAX_FACTORS = 16 };
typedef struct plan {
  int64_t extent, inner;
  int n, at;
} plan;

bool ts__check_sample_partitioned_tile(ts__ctx *c) {
  plan *p = ts_new(c->a, plan);
  c->plan = p;
  if (c->arg[1].i < 1 || c->arg[1].i > MAX_FACTORS) return ts__refuse(c, TS_R_bad_argument, 1, "n must be 1 to 16");
  if (c->arg[2].i < 0 || c->arg[2].i >= c->arg[1].i)
    return ts__refuse(c, TS_R_bad_argument, 2, "at must be the position of a factor, 0 to n - 1");
  if (c->arg[3].i < 1) return ts__refuse(c, TS_R_bad_argument, 3, "inner must be at least 1");
  *p = (plan){.n = (int)c->arg[1].i, .at = (int)c->arg[2].i, .inner = c->arg[3].i};
  if (!ts_is_int(ts__stmt(c, c->arg[0].node)->loop.extent, &p->extent) || p->extent < 1) {
    ts__refuse(c, TS_R_symbolic, 0, "the extent {1} of loop {0} is not a positive constant");
    ts__fact_node(c, c->arg[0].node);
    ts__fact_s(c, ts__expr_text(c, ts__stmt(c, c->arg[0].node)->loop.extent));
    ts__hint(c, "sample_categorical for a factor, and split {0} [_, factor]");
    return false;
  }
  if (p->extent % p->inner == 0) return true;
  ts__refuse(c, TS_R_not_divisible, 3, "extent {0} of loop {1} is not a multiple of {2}");
  ts__fact_i(c, p->extent);
  ts__fact_node(c, c->arg[0].node);
  ts__fact_i(c, p->inner);
  return false;
}

// The multiple of inner is spread over the inner factors, the rest of the extent over all.
static void sample(ts__ctx *c, const plan *p, int64_t *f) {
  ts_rng r = ts__step_rng(c);
  int64_t part[MAX_FACTORS];
  ts__factors_draw(&r, p->extent / p->inner, f, p->n);
  ts__factors_draw(&r, p->inner, part, p->n - p->at);
  for (int i = p->at; i < p->n; i++) f[i] *= part[i - p->at];
}

static bool fits(const plan *p, const int64_t *f, int n) {
  int64_t product = 1, inner = 1;
  if (n != p->n) return false;
  for (int i = 0; i < n; i++) {
    if (f[i] < 1 || __builtin_mul_overflow(product, f[i], &product)) return false;
    if (i >= p->at) inner *= f[i];
  }
  return product == p->extent && inner % p->inner == 0;
}

// The nearest list: the decision's factors are cut to divisors of what is left, innermost first, of the extent without
// `inner`; what the decision has more is then taken from `inner`, and what is left of that goes to the first inner
// factor.
static void adapt(const plan *p, const int64_t *want, int n, int64_t *f) {
  int64_t left = p->inner, rest = p->extent / p->inner;
  for (int i = p->n - 1; i >= 0; i--) {
    int from = i - p->n + n;
    int64_t limit = from >= 0 && want[from] > 0 ? want[from] : 1;
    f[i] = 1;
    if (i >= p->at) {
      f[i] = i == p->at ? left : ts__divisor_below(left, limit);
      left /= f[i];
    }
    int64_t more = i ? ts__divisor_below(rest, TS_MAX(limit / f[i], 1)) : rest;
    f[i] *= more;
    rest /= more;
  }
}

bool ts__apply_sample_partitioned_tile(ts__ctx *c) {
  const plan *p = c->plan;
  int64_t *f = ts_new_array(c->a, int64_t, p->n);
  if (!c->ndecision)
    sample(c, p, f);
  else if (fits(p, c->decision, c->ndecision))
    memcpy(f, c->decision, sizeof *f * (size_t)p->n);
  else {
    if (c->strict) {
      ts__refuse(c, TS_R_bad_decision, 4,
                 "the decision is no list of {0} factors of {1} whose product from number {2} on is a multiple of {3}");
      ts__fact_i(c, p->n);
      ts__fact_i(c, p->extent);
      ts__fact_i(c, p->at);
      ts__fact_i(c, p->inner);
      return false;
    }
    adapt(p, c->decision, c->ndecision, f);
    c->adapted = "the decided factors do not fit the loop; the nearest ones that do were taken";
  }
  return ts__sampled(c, f, p->n);
}

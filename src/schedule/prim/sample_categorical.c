// v = sample_categorical [1, 2, 4] weights=[1, 2, 1] : one of the values. The decision is the value itself.
#include "schedule/schedule_impl.h"

bool ts__check_sample_categorical(ts__ctx *c) {
  const ts__val *v = &c->arg[0], *w = &c->arg[1];
  if (v->n < 1) return ts__refuse(c, TS_R_bad_argument, 0, "there must be at least one value");
  if (!w->given) return true;
  if (w->n != v->n) return ts__refuse(c, TS_R_bad_argument, 1, "there must be one weight a value");
  double sum = 0;
  for (int i = 0; i < w->n; i++) {
    if (!(w->nums[i] >= 0 && w->nums[i] < 1e300)) return ts__refuse(c, TS_R_bad_argument, 1, "weights must not be negative");
    sum += w->nums[i];
  }
  return sum > 0 || ts__refuse(c, TS_R_bad_argument, 1, "some weight must be positive");
}

static int sample(ts__ctx *c) {
  const ts__val *w = &c->arg[1];
  ts_rng r = ts__step_rng(c);
  if (!w->given) return (int)ts_rng_below(&r, (uint32_t)c->arg[0].n);
  double sum = 0;
  for (int i = 0; i < w->n; i++) sum += w->nums[i];
  double at = ts_rng_unit(&r) * sum;
  int last = 0;
  for (int i = 0; i < w->n; i++) {
    if (w->nums[i] <= 0) continue;
    last = i;
    if (at < w->nums[i]) return i;
    at -= w->nums[i];
  }
  return last;
}

static int nearest(const ts__val *v, int64_t want) {
  int best = 0;
  for (int i = 1; i < v->n; i++)
    if (fabs((double)v->ints[i] - (double)want) < fabs((double)v->ints[best] - (double)want)) best = i;
  return best;
}

bool ts__apply_sample_categorical(ts__ctx *c) {
  const ts__val *v = &c->arg[0];
  int at = c->ndecision ? nearest(v, c->decision[0]) : sample(c);
  if (c->ndecision && (c->ndecision != 1 || v->ints[at] != c->decision[0])) {
    if (c->strict) return ts__refuse(c, TS_R_bad_decision, 2, "the decision is none of the values");
    c->adapted = "the decided value is not offered; the nearest one was taken";
  }
  return ts__sampled(c, ts_arena_dup(c->a, &v->ints[at], sizeof(int64_t)), 1);
}

// v = sample_compute_location b : where to compute a producer, among the places that are legal: -1 leaves it where it
// is, -2 inlines it, k >= 0 is the k-th loop (outermost first) around its first consumer. compute_location b v does it.
#include "schedule/schedule_impl.h"

typedef struct plan {
  int n;
  int64_t where[TS__MAX_DEPTH + 2];
} plan;

bool ts__check_sample_compute_location(ts__ctx *c) {
  plan *p = ts_new(c->a, plan);
  int loops[TS__MAX_DEPTH], block = c->arg[0].node;
  c->plan = p;
  int n = ts__place_loops(c, block, loops);
  for (int64_t w = TS__PLACE_INLINE; w < n; w++) {
    ts_refusal why;
    if (ts__place_try(c, block, w, NULL, &why)) p->where[p->n++] = w;
  }
  return true;
}

// The nearest legal place outside the one that was decided, or leaving the block alone.
static int nearest(const plan *p, int64_t want) {
  int best = -1;
  for (int i = 0; i < p->n; i++) {
    if (p->where[i] == want) return i;
    if (p->where[i] == TS__PLACE_STAY || (p->where[i] >= 0 && p->where[i] < want)) best = i;
  }
  return best;
}

bool ts__apply_sample_compute_location(ts__ctx *c) {
  const plan *p = c->plan;
  int at;
  if (c->ndecision) {
    at = nearest(p, c->decision[0]);
    if (c->ndecision != 1 || p->where[at] != c->decision[0]) {
      if (c->strict) {
        ts__refuse(c, TS_R_bad_decision, 1, "block {0} cannot be computed at the decided place");
        ts__fact_node(c, c->arg[0].node);
        return false;
      }
      c->adapted = "the decided place is not legal; the nearest one outside it was taken";
    }
  } else {
    ts_rng r = ts__step_rng(c);
    at = (int)ts_rng_below(&r, (uint32_t)p->n);
  }
  c->drawn = ts_arena_dup(c->a, &p->where[at], sizeof(int64_t));
  c->ndrawn = 1;
  ts__result(c, 'i', 0, p->where[at]);
  return true;
}

// Rules for GPUs: a block's nest becomes one kernel. With a reduction that is long enough for a block of threads: a block for each
// result, its threads sharing the reduction; unless the results alone are enough for every thread of a GPU and the reduction is short, when a
// block for each would mostly wait. Else a thread for each result, or for several neighbours where nothing is reduced, which are read and
// written as vectors; the spatial loops fused; where their fusion cannot be shown to be one to one (two symbolic extents), the last loop alone is
// shared out over threads.
#include "search/rules.h"

enum { SHARED_REDUCTION = 64, SHORT_REDUCTION = 256, MANY = 1 << 18, THREADS = 256, REDUCERS = 128, MOST_LANES = 8 };

static int64_t product(const ts__nest *x, bool reduce) {
  int64_t n = 1;
  for (int i = 0; i < x->n; i++)
    if (x->reduce[i] == reduce) n *= x->extent[i] ? x->extent[i] : 1 << 12;
  return n;
}

// Steps so far, and back to there.
static int steps(const ts__rules *r) { return ts_sched_trace(r->s)->n; }
static bool back(ts__rules *r, int to) {
  ts_sched_undo(r->s, steps(r) - to);
  return false;
}

// The first `most` loops of one kind as one; -1 when there are none. The nest is ordered, spatial loops outside.
static ts_rv fuse_kind(ts__rules *r, const ts__nest *x, bool reduce, int most) {
  ts_arg list[TS__MOST_LOOPS];
  int n = 0;
  for (int i = 0; i < x->n; i++)
    if (x->reduce[i] == reduce && n < most) list[n++] = TS_ARV(x->loop[i]);
  ts_rv fused = -1;
  if (n < 2) return n ? list[0].rv : -1;
  return ts__rules_call(r, TS_P_fuse, TS_ARGS(TS_ALISTN(n, list)), &fused) ? fused : -1;
}

static bool order(ts__rules *r, const ts__nest *x) {
  ts_arg list[TS__MOST_LOOPS];
  int n = 0;
  bool ordered = true;
  for (int i = 1; i < x->n; i++) ordered &= x->reduce[i] >= x->reduce[i - 1];
  for (int pass = 0; pass < 2; pass++)
    for (int i = 0; i < x->n; i++)
      if (x->reduce[i] == (pass == 1)) list[n++] = TS_ARV(x->loop[i]);
  return ordered || ts__rules_call(r, TS_P_reorder, TS_ARGS(TS_ALISTN(n, list)), NULL);
}

// A choice of the search among powers of two; the rules themselves take `first`.
static ts_rv choose(ts__rules *r, int64_t first, int64_t lo, int64_t hi) {
  ts_arg list[8];
  int n = 0;
  for (int64_t v = lo; v <= hi && n < 8; v *= 2) list[n++] = TS_AINT(v);
  ts_rv v = -1;
  const ts_arg decision = TS_ALIST(TS_AINT(first));
  return ts__rules_call(r, TS_P_sample_categorical, TS_ARGS(TS_ALISTN(n, list), TS_ANONE, decision), &v) ? v : -1;
}

// Split by a chosen number of threads; the inner part runs along threadIdx.x.
static bool along_threads(ts__rules *r, ts_rv loop, int64_t first, int64_t lo, int64_t hi, ts_rv *outer) {
  ts_rv v = choose(r, first, lo, hi), parts[2];
  int n;
  const ts_arg factors = TS_ALIST(TS_AOPEN, TS_ARV(v));
  if (v < 0 || !ts_sched_call(r->s, TS_P_split, TS_ARGS(TS_ARV(loop), factors), parts, 2, &n, NULL)) return false;
  *outer = parts[0];
  return ts__rules_call(r, TS_P_bind, TS_ARGS(TS_ARV(parts[1]), TS_AWORD("threadIdx.x")), NULL);
}

static bool on_axis(ts__rules *r, ts_rv loop, const char *axis) { return ts__rules_call(r, TS_P_bind, TS_ARGS(TS_ARV(loop), TS_AWORD(axis)), NULL); }

static int spatial_loops(const ts__nest *x) {
  int n = 0;
  for (int i = 0; i < x->n; i++) n += !x->reduce[i];
  return n;
}

// A block for each result.
static bool shared_reduction(ts__rules *r, const ts__nest *x) {
  int begin = steps(r);
  ts_rv spatial = fuse_kind(r, x, false, x->n), reduction = fuse_kind(r, x, true, x->n), outer;
  bool ok = reduction >= 0 && (spatial >= 0 || !spatial_loops(x)) && along_threads(r, reduction, REDUCERS, 32, 512, &outer) && (spatial < 0 || on_axis(r, spatial, "blockIdx.x"));
  return ok || back(r, begin);
}

// The last loop's part that becomes a thread's vector: 1, 2, 4 or 8 elements, as many as divide it and leave threads enough. What remains of the loop
// takes its place.
static bool lanes(ts__rules *r, ts__nest *x) {
  int64_t extent = x->n ? x->extent[x->n - 1] : 0, most = 1, first = 1;
  while (most < MOST_LANES && extent % (2 * most) == 0) most *= 2;
  if (!extent || most == 1 || ts__rules_has_reduce(x)) return false;
  while (first < most && product(x, false) / (2 * first) >= MANY / 4) first *= 2;
  int begin = steps(r), n;
  ts_rv v = choose(r, first, 1, most), parts[2];
  const ts_arg factors = TS_ALIST(TS_AOPEN, TS_ARV(v)), perfect = TS_AWORD("perfect");
  bool ok = v >= 0 && ts_sched_call(r->s, TS_P_split, TS_ARGS(TS_ARV(x->loop[x->n - 1]), factors, perfect), parts, 2, &n, NULL) &&
            ts__rules_call(r, TS_P_vectorize, TS_ARGS(TS_ARV(parts[1])), NULL);
  if (!ok) return back(r, begin);
  x->loop[x->n - 1] = parts[0];
  return true;
}

// A thread for each result, or for each vector of them.
static bool all_along_threads(ts__rules *r, const ts__nest *x) {
  int begin = steps(r);
  ts_rv spatial = fuse_kind(r, x, false, x->n), outer;
  return (spatial >= 0 && along_threads(r, spatial, THREADS, 64, 512, &outer) && on_axis(r, outer, "blockIdx.x")) || back(r, begin);
}

// The same with the last spatial loop along threads and the others on blocks.
static bool last_along_threads(ts__rules *r, const ts__nest *x) {
  int begin = steps(r), n = spatial_loops(x);
  if (n < 2) return false;
  ts_rv others = fuse_kind(r, x, false, n - 1), outer;
  return (others >= 0 && along_threads(r, x->loop[n - 1], THREADS, 64, 512, &outer) && on_axis(r, outer, "blockIdx.y") && on_axis(r, others, "blockIdx.x")) || back(r, begin);
}

static bool along_any_threads(ts__rules *r, const ts__nest *x) { return all_along_threads(r, x) || last_along_threads(r, x); }

// Loops in their new order: spatial ones first.
static void sort_nest(ts__nest *x) {
  ts__nest y = *x;
  int n = 0;
  for (int pass = 0; pass < 2; pass++)
    for (int i = 0; i < x->n; i++)
      if (x->reduce[i] == (pass == 1)) y.loop[n] = x->loop[i], y.reduce[n] = x->reduce[i], y.extent[n++] = x->extent[i];
  *x = y;
}

void ts__rules_gpu(ts__rules *r, ts__nest *x) {
  if (!order(r, x)) return;
  sort_nest(x);
  bool apart = product(x, true) <= SHORT_REDUCTION && product(x, false) >= MANY;
  if (ts__rules_has_reduce(x) && product(x, true) >= SHARED_REDUCTION && !apart && shared_reduction(r, x)) return;
  int begin = steps(r);
  ts__nest wide = *x;
  if (lanes(r, &wide) && along_any_threads(r, &wide)) return;
  (void)back(r, begin);
  (void)along_any_threads(r, x);
}

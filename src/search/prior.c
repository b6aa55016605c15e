// What is known of a GPU kernel's speed before it is measured, from its launches alone.
#include <math.h>

#include "search/search_impl.h"

enum { RESERVED_SHARED = 1024, ENOUGH_THREADS = 512 };

static double value_of(const ts_gpu_code *c, const char *expr, const int64_t *dims, double otherwise) {
  int64_t v;
  return ts_gpu_eval(expr, c->dims, dims, c->ndims, &v, NULL) ? (double)v : otherwise;
}

// Blocks of a launch that one multiprocessor holds at once.
static double resident(const ts_target_gpu *g, double threads, double shared) {
  double n = floor((double)g->sm_threads / fmax(threads, 1));
  n = fmin(n, g->sm_blocks);
  if (shared > 0) n = fmin(n, floor((double)g->sm_shared / (shared + RESERVED_SHARED)));
  return fmax(n, 1);
}

// Multiprocessors share the work block by block: the busiest decides.
static double imbalance(const ts_target_gpu *g, double blocks, double at_once) {
  double slots = g->sms * at_once, each = blocks / g->sms;
  if (blocks <= slots) return ceil(each) / each;
  return ceil(blocks / slots) / (blocks / slots);
}

static double launch_prior(const ts_native_fit *f, const ts_gpu_code *c, const ts_gpu_launch *l, const int64_t *dims) {
  const ts_target_gpu *g = &f->target->gpu;
  double blocks = 1, threads = (double)l->block[0] * l->block[1] * l->block[2];
  for (int i = 0; i < 3; i++) blocks *= fmax(1, value_of(c, l->grid[i], dims, 1));
  double at_once = resident(g, threads, value_of(c, l->shared, dims, 0));
  double in_flight = threads * fmin(at_once, fmax(1, blocks / g->sms));
  return log(imbalance(g, blocks, at_once)) + 0.3 * log(fmax(1, ENOUGH_THREADS / in_flight));
}

double ts__prior(const ts_native_fit *f, const ts_gpu_code *c, const int64_t *dims) {
  double worst = 0;
  for (int i = 0; i < c->nlaunches; i++) worst = fmax(worst, launch_prior(f, c, &c->launches[i], dims));
  return worst + 0.1 * (c->nlaunches - 1);
}

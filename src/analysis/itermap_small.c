// Iteration maps over small constant domains: the exact answers by evaluating every point.
#include <stdlib.h>

#include "analysis/analysis_impl.h"

enum { POINTS = 2048, OUT = 12 };
typedef struct box {
  int64_t min[OUT], extent[OUT];
  int64_t points;
} box;

static bool const_box(ts_analyzer *a, const ts_range *r, int n, size_t stride, box *b) {
  b->points = 1;
  if (n > OUT) return false;
  for (int i = 0; i < n; i++) {
    const ts_range *x = (const ts_range *)((const char *)r + stride * (size_t)i);
    if (!ts_const_value(a, x->min, &b->min[i]) || !ts_const_value(a, x->extent, &b->extent[i]) || b->extent[i] < 1)
      return false;
    if (b->extent[i] > POINTS || (b->points *= b->extent[i]) > POINTS) return false;
  }
  return true;
}

static int by_value(const void *x, const void *y) {
  const int64_t *p = x, *q = y;
  for (int i = 0; i < OUT; i++)
    if (p[i] != q[i]) return p[i] < q[i] ? -1 : 1;
  return 0;
}

// Point p of the box: values of the loops in *value.
static void point_of(const box *b, int n, int64_t p, int64_t *value) {
  for (int i = n - 1; i >= 0; i--) {
    value[i] = b->min[i] + p % b->extent[i];
    p /= b->extent[i];
  }
}

void ts__itermap_enumerate(ts_analyzer *a, const ts_loop_range *in, int nin, const ts_expr *const *bind, int nbind,
                           const ts_expr *pred, const ts_range *dom, ts_itermap *m) {
  box from, to;
  const ts_var *vars[OUT];
  if (nbind > OUT || !const_box(a, nin ? &in[0].dom : NULL, nin, sizeof in[0], &from)) return;
  for (int i = 0; i < nin; i++) vars[i] = in[i].var;
  bool has_dom = dom && const_box(a, dom, nbind, sizeof dom[0], &to);
  int64_t *rows = calloc((size_t)from.points * OUT, sizeof *rows), value[OUT], ok;
  int64_t n = 0;
  bool inside = true, good = rows != NULL;
  for (int64_t p = 0; p < from.points && good; p++) {
    point_of(&from, nin, p, value);
    if (pred && !(good = ts_eval_int(pred, vars, value, nin, &ok))) break;
    if (pred && !ok) continue;
    for (int j = 0; j < nbind && good; j++) {
      int64_t *v = &rows[n * OUT + j];
      good = ts_eval_int(bind[j], vars, value, nin, v);
      if (has_dom && good) inside = inside && *v >= to.min[j] && *v - to.min[j] < to.extent[j];
    }
    n++;
  }
  if (good) {
    qsort(rows, (size_t)n, sizeof *rows * OUT, by_value);
    int64_t different = n > 0;
    for (int64_t i = 1; i < n; i++) different += by_value(&rows[i * OUT], &rows[(i - 1) * OUT]) != 0;
    m->injective = different == n ? TS_YES : TS_NO;
    if (has_dom) m->surjective = inside && different == to.points ? TS_YES : TS_NO;
  }
  free(rows);
}

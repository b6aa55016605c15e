// How long passes of a plan are expected to take on a GPU: what divides prompts into passes (runtime/passes.c). A kernel's time is that of its record; a record
// of a kernel whose rows are symbolic is of a whole chunk, and for fewer rows its time goes as the stated one does:
//
//   OVERHEAD + max(bytes / rate of memory, operations / rate of tensor cores, where rows are symbolic: what one tile of them takes)
//
// Bytes and operations are those of the first rows of a sequence.
#include "times.h"

static const double OVERHEAD = 3.2e-6;  // s: a kernel behind another one
// Kernels of one row read weights ahead of their predecessor's end.
static const double OVERHEAD_ONE = 1.3e-6, FASTER_ONE = 1.4;
// A product of any number of rows has tiles of so many weights' rows and rows; one multiprocessor computes a tile.
static const double TILE = 128 * 256;

typedef struct rates {
  const char *arch;
  double bytes, products;
} rates;

static const rates *find_rates(const char *arch) {
#define RATES(arch, bytes, products) {arch, bytes, products},
  static const rates rows[] = {
#include "model/rates.def"
  };
#undef RATES
  for (size_t i = 0; i < TS_COUNTOF(rows); i++)
    if (!strcmp(rows[i].arch, arch)) return &rows[i];
  return NULL;
}

static const ts_model_param *find_param(const ts__times_of *t, const char *name) {
  for (size_t i = 0; i < t->nparams; i++)
    if (!strcmp(t->params[i].name, name)) return &t->params[i];
  return NULL;
}

static bool symbolic(const ts_plan_step *s) { return (s->ndims > 0 && s->dims[0] == TS_DIM_N) || (s->ndims > 1 && s->dims[1] == TS_DIM_N); }

// Without a record, in us.
static double stated_us(const ts__times_of *t, const rates *r, const ts__step *s, bool any_rows, int64_t n) {
  double bytes = 0, products = 0, tile = 0;
  const double width = t->quant->bits ? (t->quant->bits + 0.5) / 8 : ts_code_bytes(t->quant->type);
  for (int i = 0; i < s->nargs; i++) {
    const ts__step_arg *a = &s->args[i];
    const ts_model_param *m = a->use == TS__WEIGHT && strcmp(s->spec.op, "embed") ? find_param(t, a->weight) : NULL;
    if (a->use <= TS__ROW) bytes += (double)((a->use == TS__ROW ? 1 : n) * t->buffers->buf[a->buf].per_row + t->buffers->buf[a->buf].fixed) * ts_code_bytes(t->buffers->buf[a->buf].type);
    if (a->use == TS__KEYS) products += 2.0 * (double)n * (double)n * (double)(t->config->heads * t->config->head_dim);
    if (!m || m->kind == TS_PARAM_VECTOR) continue;
    bytes += width * (double)m->rows * (double)m->cols;
    products += 2.0 * (double)n * (double)m->rows * (double)m->cols;
    if (any_rows) tile = 2 * TILE * (double)m->cols * t->sms / r->products;
  }
  if (n == 1) return 1e6 * (OVERHEAD_ONE + bytes / r->bytes / FASTER_ONE);
  return 1e6 * (OVERHEAD + TS_MAX(TS_MAX(bytes / r->bytes, products / r->products), tile));
}

static double step_us(const ts__times_of *t, const rates *r, const ts_plan_step *s, const ts__step *from, int64_t n) {
  bool any = symbolic(s);
  double us = stated_us(t, r, from, any, n);
  if (!(s->expected_us > 0)) return us;
  return any ? s->expected_us * us / stated_us(t, r, from, any, t->chunk) : s->expected_us;
}

void ts__phase_times(ts_arena *a, const ts__times_of *t, const ts__step *steps, ts_plan_phase *f) {
  static const int64_t points[] = {16, 32, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144};
  const rates *r = find_rates(t->arch);
  if (!r || f->kind == TS_PHASE_HEAD) return;
  ts_plan_time *v = ts_new_array(a, ts_plan_time, TS_COUNTOF(points) + 1);
  int64_t most = (f->n_max + f->multiple - 1) / f->multiple * f->multiple;
  for (size_t i = 0; i < TS_COUNTOF(points) && f->multiple < most; i++)
    if (points[i] < most) v[f->ntimes++].n = points[i];
  v[f->ntimes++].n = most;
  for (int i = 0; i < f->ntimes; i++) {
    for (int k = 0; k < f->nsteps; k++) v[i].us += step_us(t, r, &f->steps[k], &steps[k], v[i].n);
    v[i].us = (double)(int64_t)(v[i].us * 10 + 0.5) / 10;
  }
  f->times = v;
}

// How long passes of a plan are expected to take on a GPU: what divides prompts into passes (runtime/passes.c). A kernel's time is that of its record; a record
// of a kernel whose rows are symbolic is of a whole chunk, and for fewer rows its time goes as the stated one does:
//
//   one row                    OVERHEAD_ONE + bytes / memory's rate
//   few rows, and no products  OVERHEAD + weights / memory's rate + activations / the rate of the second-level cache + operations / rate of tensor cores
//   products of any rows       OVERHEAD + rounds of tiles that all multiprocessors compute together + activations / ...
//
// Where weights are not quantized, the shorter of bytes and operations hides behind the longer one for the most part, and tiles have the shape that takes least.
// Bytes and operations are those of the first rows of a sequence. With an H200's rates, passes of 16 to 2048 rows of Llama-3-8B come out within a tenth
// (docs/notes/0256).
#include "times.h"

// Seconds of a kernel behind another one; where weights are not quantized, one row is no exception.
static const double OVERHEAD = 2.2e-6, OVERHEAD_ONE = 1.3e-6;
// Shares of the data sheet's rates that kernels reach: of memory for weights and for activations, of tensor cores for tiles of quantized weights and others.
static const double WEIGHTS = 0.71, WEIGHTS_ONE = 0.85, ACTIVATIONS = 1.67, TILES = 0.79;
// The same where weights are not quantized: of memory, of tensor cores for few rows and for tiles; and what is left to see of the shorter of bytes and operations.
static const double WEIGHTS_WIDE = 0.87, PRODUCTS_WIDE = 0.75, TILES_WIDE = 0.72, HIDDEN = 0.4;
// A tile of quantized weights has so many of their rows, and so many rows, or half of them in little more than half the time.
enum { TILE_OF = 128, TILE = 256 };
static const double HALF = 0.56;
// ORDER: the shapes of kernels/templates/matmul/ref.many.cu: of 128 rows by so many of the weights' in so many parts of K, and the time of a step of K over that of the first.
static const struct {
  int of, parts;
  double step;
} wide[] = {{256, 1, 1}, {256, 2, 1}, {192, 1, 0.81}, {192, 2, 0.81}, {160, 1, 0.72}, {128, 1, 0.625}, {128, 2, 0.625}, {64, 2, 0.44}};

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

// How often all of `places` compute a tile of `rows` rows by `of` of the weights' rows, until a product of n rows is done.
static double rounds(const ts_model_param *m, int64_t n, int64_t rows, int64_t of, int64_t places) {
  int64_t tiles = ((n + rows - 1) / rows) * ((m->rows + of - 1) / of);
  return (double)((tiles + places - 1) / places);
}

// Seconds of a round of tiles of TILE_OF by TILE at a share of the rate.
static double round_time(const ts__times_of *t, const rates *r, const ts_model_param *m, double share) { return 2.0 * TILE_OF * TILE * (double)m->cols * t->sms / r->products / share; }

static double wide_time(const ts__times_of *t, const rates *r, const ts_model_param *m, int64_t n) {
  double best = 0;
  for (size_t i = 0; i < TS_COUNTOF(wide); i++) {
    double some = rounds(m, n, TILE_OF, wide[i].of, TS_MAX(t->sms / wide[i].parts, 1)), time = some * wide[i].step / wide[i].parts;
    if ((some > 1 && wide[i].parts > 1) || (i > 0 && time >= best)) continue;  // parts meet once
    best = time;
  }
  return best * round_time(t, r, m, TILES_WIDE);
}

static double quantized_time(const ts__times_of *t, const rates *r, const ts_model_param *m, int64_t n) {
  return TS_MIN(rounds(m, n, TILE, TILE_OF, t->sms), rounds(m, n, TILE / 2, TILE_OF, t->sms) * HALF) * round_time(t, r, m, TILES);
}

// Few rows, seconds: bytes of weights and operations.
static double few_time(const ts__times_of *t, const rates *r, double weights, double operations) {
  if (t->quant->bits) return weights / r->bytes / WEIGHTS + operations / r->products;
  double bytes = weights / r->bytes / WEIGHTS_WIDE, products = operations / r->products / PRODUCTS_WIDE;
  return TS_MAX(bytes, products) + HIDDEN * TS_MIN(bytes, products);
}

// Products of any rows, seconds. Weights that are not quantized are read once where there is one tile of rows, and then memory is waited for too.
static double tiles_time(const ts__times_of *t, const rates *r, const ts_model_param *m, double weights, int64_t n) {
  if (t->quant->bits) return quantized_time(t, r, m, n);
  const double products = wide_time(t, r, m, n), bytes = n <= TILE_OF ? weights / r->bytes / WEIGHTS_WIDE : 0;
  return TS_MAX(bytes, products) + HIDDEN * TS_MIN(bytes, products);
}

// Without a record, in us.
static double stated_us(const ts__times_of *t, const rates *r, const ts__step *s, bool any_rows, int64_t n) {
  const double width = t->quant->bits ? (t->quant->bits + 0.5) / 8 : ts_code_bytes(t->quant->type);
  double weights = 0, activations = 0, operations = 0, tiles = 0, overhead = n == 1 && t->quant->bits ? OVERHEAD_ONE : OVERHEAD;
  for (int i = 0; i < s->nargs; i++) {
    const ts__step_arg *a = &s->args[i];
    const ts_model_param *m = a->use == TS__WEIGHT && strcmp(s->spec.op, "embed") ? find_param(t, a->weight) : NULL;
    if (a->use <= TS__ROW) activations += (double)((a->use == TS__ROW ? 1 : n) * t->buffers->buf[a->buf].per_row + t->buffers->buf[a->buf].fixed) * ts_code_bytes(t->buffers->buf[a->buf].type);
    if (a->use == TS__KEYS) operations += 2.0 * (double)n * (double)n * (double)(t->config->heads * t->config->head_dim);
    if (!m || m->kind == TS_PARAM_VECTOR) continue;
    const double bytes = width * (double)m->rows * (double)m->cols;
    weights += bytes;
    operations += 2.0 * (double)n * (double)m->rows * (double)m->cols;
    if (any_rows) tiles += tiles_time(t, r, m, bytes, n);
  }
  if (n == 1) return 1e6 * (overhead + (weights + activations) / r->bytes / WEIGHTS_ONE);
  return 1e6 * (overhead + (tiles > 0 ? tiles : few_time(t, r, weights, operations)) + activations / r->bytes / ACTIVATIONS);
}

static double step_us(const ts__times_of *t, const rates *r, const ts_plan_step *s, const ts__step *from, int64_t n) {
  bool any = symbolic(s);
  double us = stated_us(t, r, from, any, n);
  if (!(s->expected_us > 0)) return us;
  return any ? s->expected_us * us / stated_us(t, r, from, any, t->chunk) : s->expected_us;
}

// Numbers of rows at which times are told: where rounds of tiles end and begin.
static int points(const ts_plan_phase *f, ts_plan_time *v) {
  const int64_t most = ts_round_up(f->n_max, f->multiple);
  int n = 0;
  for (int64_t k = f->multiple; f->multiple < most && k < most && n + 3 <= TS_PLAN_TIMES; k += k < 2048 ? TILE / 2 : 2 * TILE) {
    if (k > f->multiple) v[n++].n = k - f->multiple;
    v[n++].n = k;
  }
  v[n++].n = most;
  return n;
}

static double pass_us(const ts__times_of *t, const rates *r, const ts_plan_phase *f, const ts__step *steps, int64_t n) {
  double us = 0;
  for (int k = 0; k < f->nsteps; k++) us += step_us(t, r, &f->steps[k], &steps[k], n);
  return us;
}

void ts__phase_times(ts_arena *a, const ts__times_of *t, ts_plan_phase *f, const ts__step *const steps[], int n) {
  const rates *r = find_rates(t->arch);
  const ts_plan_phase *head = &f[n - 1];
  for (int i = 0; r && i < n - 1; i++) {
    ts_plan_time *v = ts_new_array(a, ts_plan_time, TS_PLAN_TIMES);
    f[i].ntimes = points(&f[i], v);
    f[i].times = v;
    for (int k = 0; k < f[i].ntimes; k++) {
      double us = pass_us(t, r, &f[i], steps[i], v[k].n);
      if (f[i].kind == TS_PHASE_DECODE) us += pass_us(t, r, head, steps[n - 1], 1);  // the head runs with it
      v[k].us = (double)(int64_t)(us * 10 + 0.5) / 10;
    }
  }
}

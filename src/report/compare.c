// One store against another: the same work on the same device, now and then.
#include <math.h>
#include <stdlib.h>

#include "report/report.h"

enum { RESAMPLES = 2000, FEW = 8, FEWEST = 3 };

const char *ts_change_name(ts_change c) {
  static const char *const names[TS_CHANGE__COUNT] = {"same", "faster", "slower", "unclear", "missing"};
  return names[c];
}

// Key (identity of what is compared), label, unit, median, samples. :revision NULL: any, and winners too.
static const char times_sql[] =
    "WITH pick AS (SELECT w.*, row_number() OVER (PARTITION BY w.workload_id, w.target_id ORDER BY w.utc DESC, w.id "
    "DESC) AS k "
    "  FROM winner w WHERE :revision IS NULL), "
    "timed AS (SELECT m.*, row_number() OVER (PARTITION BY m.build_id ORDER BY m.rung DESC, m.utc DESC, m.id DESC) AS "
    "k "
    "  FROM measurement m WHERE m.metric='time'), "
    "newest AS (SELECT r.*, row_number() OVER (PARTITION BY r.series_id, r.device_id ORDER BY r.order_key DESC, r.utc "
    "DESC, r.id DESC) AS k "
    "  FROM run r WHERE :revision IS NULL OR r.revision=:revision) "
    "SELECT 'w'||hex(x.uid)||hex(t.uid)||hex(d.uid) AS key, trim(x.op||' '||x.quant)||'  '||x.shape AS what, 'ns' AS "
    "unit, "
    "  m.median, m.samples "
    "FROM pick p JOIN workload x ON x.id=p.workload_id JOIN target t ON t.id=p.target_id "
    "JOIN timed m ON m.build_id=p.build_id AND m.k=1 JOIN device d ON d.id=m.device_id WHERE p.k=1 "
    "UNION ALL "
    "SELECT 'r'||hex(s.uid)||hex(d.uid), coalesce(o.name||' '||o.quant||'  ','')||s.metric||' '||s.scenario, s.unit, "
    "r.median, r.samples "
    "FROM newest r JOIN series s ON s.id=r.series_id JOIN device d ON d.id=r.device_id LEFT JOIN model o ON "
    "o.id=s.model_id WHERE r.k=1 "
    "ORDER BY key";

typedef struct timed {
  const char *key, *what, *unit;
  double median;
  uint64_t *v;  // ns
  size_t n;
} timed;

static bool load(ts_db *db, const char *revision, ts_arena *a, timed **out, size_t *n, ts_diag *d) {
  ts_db_param p = {"revision", {.type = revision ? TS_DB_TEXT : TS_DB_NULL, .text = revision}};
  ts_db_table t;
  TS_TRY(ts_db_query(db, times_sql, &p, 1, a, &t, d));
  *out = ts_new_array(a, timed, t.nrows + 1);
  *n = t.nrows;
  for (size_t i = 0; i < t.nrows; i++) {
    const ts_db_cell *c = &t.cells[i * (size_t)t.ncols];
    timed *e = &(*out)[i];
    *e = (timed){.key = c[0].text, .what = c[1].text, .unit = c[2].text, .median = c[3].r};
    TS_TRY(ts_samples_decode(a, c[4].blob, SIZE_MAX, &e->v, &e->n, d));
  }
  return true;
}

static int ascending(const void *pa, const void *pb) {
  double a = *(const double *)pa, b = *(const double *)pb;
  return a < b ? -1 : a > b;
}

static double median_of(double *v, size_t n) {
  qsort(v, n, sizeof *v, ascending);
  return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

static double resampled_median(const timed *t, double *room, ts_rng *r) {
  for (size_t i = 0; i < t->n; i++) room[i] = (double)t->v[ts_rng_below(r, (uint32_t)t->n)];
  return median_of(room, t->n);
}

static double *sorted(ts_arena *a, const timed *t) {
  double *v = ts_new_array(a, double, t->n);
  for (size_t i = 0; i < t->n; i++) v[i] = (double)t->v[i];
  qsort(v, t->n, sizeof *v, ascending);
  return v;
}

// The 2.5 % and 97.5 % quantiles of the ratio of resampled medians.
static void bootstrap(const timed *a, const timed *b, ts_arena *arena, ts_compared *c) {
  double *room = ts_new_array(arena, double, TS_MAX(a->n, b->n)), *ratio = ts_new_array(arena, double, RESAMPLES);
  ts_rng r = ts_rng_new(0, 0);
  for (int i = 0; i < RESAMPLES; i++) {
    double under = resampled_median(a, room, &r);
    ratio[i] = resampled_median(b, room, &r) / under;
  }
  qsort(ratio, RESAMPLES, sizeof *ratio, ascending);
  c->lo = ratio[RESAMPLES / 40];
  c->hi = ratio[RESAMPLES - 1 - RESAMPLES / 40];
}

// Ratio of medians and its interval. A handful of samples says nothing about its tails: then the interval is all that
// they allow.
static void estimate(const timed *a, const timed *b, ts_compared *c) {
  ts_arena *arena = ts_arena_new("compare");
  double *va = sorted(arena, a), *vb = sorted(arena, b);
  c->ratio = median_of(vb, b->n) / median_of(va, a->n);
  if (TS_MIN(a->n, b->n) >= FEW) {
    bootstrap(a, b, arena, c);
  } else if (TS_MIN(a->n, b->n) >= FEWEST) {
    c->lo = vb[0] / va[a->n - 1];
    c->hi = vb[b->n - 1] / va[0];
  }
  ts_arena_free(arena);
}

static ts_change judge(const ts_compared *c, double gate) {
  if (!isfinite(c->ratio) || !isfinite(c->lo) || !isfinite(c->hi)) return TS_CHANGE_UNCLEAR;
  if (c->lo > 1 + gate) return TS_CHANGE_SLOWER;
  if (c->hi < 1 - gate) return TS_CHANGE_FASTER;
  return c->lo >= 1 - gate && c->hi <= 1 + gate ? TS_CHANGE_SAME : TS_CHANGE_UNCLEAR;
}

// Sample for sample: one measurement that came into both stores.
static bool one_measurement(const timed *a, const timed *b) { return a->n == b->n && memcmp(a->v, b->v, a->n * sizeof *a->v) == 0; }

// a or b may be NULL, not both.
static ts_compared compare_one(const timed *a, const timed *b, double gate) {
  const timed *any = a ? a : b;
  ts_compared c = {.what = any->what,
                   .unit = any->unit,
                   .a = a ? a->median : NAN,
                   .b = b ? b->median : NAN,
                   .ratio = NAN,
                   .lo = NAN,
                   .hi = NAN,
                   .na = a ? a->n : 0,
                   .nb = b ? b->n : 0,
                   .change = TS_CHANGE_MISSING};
  if (!c.na || !c.nb) return c;
  estimate(a, b, &c);
  c.change = one_measurement(a, b) ? TS_CHANGE_SAME : judge(&c, gate);
  return c;
}

bool ts_report_compare(ts_db *a, const char *revision_a, ts_db *b, const char *revision_b, double gate, ts_arena *arena,
                       ts_compared **out, size_t *n, ts_diag *d) {
  timed *ta, *tb;
  size_t na, nb;
  TS_TRY(load(a, revision_a, arena, &ta, &na, d));
  TS_TRY(load(b, revision_b, arena, &tb, &nb, d));
  TS_VEC(ts_compared) v = {0};
  for (size_t i = 0, j = 0; i < na || j < nb;) {  // both are sorted by key
    int order = i == na ? 1 : j == nb ? -1 : strcmp(ta[i].key, tb[j].key);
    ts_vec_push(arena, &v, compare_one(order <= 0 ? &ta[i] : NULL, order >= 0 ? &tb[j] : NULL, gate));
    i += order <= 0;
    j += order >= 0;
  }
  *out = v.p;
  *n = v.n;
  return true;
}

int ts_compared_exit(const ts_compared *c, size_t n) {
  int seen[TS_CHANGE__COUNT] = {0};
  for (size_t i = 0; i < n; i++) seen[c[i].change]++;
  if (seen[TS_CHANGE_SLOWER]) return 1;
  return n == 0 || seen[TS_CHANGE_UNCLEAR] || seen[TS_CHANGE_MISSING] ? 2 : 0;
}

// Looking up winners of a workload in the store.
#include "records.h"

#include <math.h>

#include "measure/measure.h"
#include "search/search.h"

enum { MOST = 16 };

// "search a16 3" -> "a16"; "ref" is the reference.
static const char *variant_of(ts_arena *a, const char *generator) {
  const char *p = strchr(generator, ' ');
  if (!p) return "";
  size_t n = strcspn(p + 1, " ");
  const char *v = ts_arena_strndup(a, p + 1, n);
  return strcmp(v, "ref") ? v : "";
}

bool ts__variant_permitted(const ts_op *op, const char *variant, const ts_target *t, const char *numerics) {
  for (int i = 0; i < op->nvariants; i++) {
    const ts_op_variant *v = &op->variants[i];
    if (strcmp(v->name, variant)) continue;
    if (*v->numerics && strcmp(v->numerics, numerics)) return false;
    for (const char *const *f = v->features; *f; f++)
      if (!ts_target_has(t, *f)) return false;
    return true;
  }
  return false;
}

// The key of a workload in the store: the reference's text is part of it.
static bool workload_row(ts_arena *a, const ts_spec *spec, ts_db_workload *row, ts_diag *d) {
  ts_arena *scratch = ts_arena_new("workload");
  ts_op_inst inst;
  bool ok = ts_op_instantiate(ts_ir_new(scratch), spec, "", &inst, d);
  if (ok) *row = ts_workload_row(a, spec, inst.func, (ts_cost){0});
  ts_arena_free(scratch);
  return ok;
}

static ts__record make_record(ts_arena *a, const ts_db_winner *w) {
  static const char *const how[] = {
      [TS_DB_EXACT] = "", [TS_DB_NEAR] = " of another shape", [TS_DB_ARCH] = " of another machine"};
  ts__record r = {.variant = variant_of(a, w->generator), .trace = w->trace, .exact = w->match == TS_DB_EXACT, .other_shape = w->match == TS_DB_NEAR};
  r.file = ts_arena_printf(a, "decision %lld", (long long)w->decision_id);
  r.text = ts_arena_printf(a, "decision %lld%s%s (%s, %s)", (long long)w->decision_id, how[w->match],
                           w->stale ? ", older compiler" : "", w->shape, w->decided_utc);
  if (w->match != TS_DB_NEAR && isfinite(w->median) && w->median > 0) r.expected_us = w->median / 1000;
  return r;
}

// Verified and timed candidates of exactly this workload; none when the store does not know it.
static bool find_tried(ts_arena *a, ts_db *db, const ts_db_workload *row, const ts_db_target *target, ts_db_tried **out,
                       size_t *n, ts_diag *d) {
  ts_sha256 uid;
  ts_diag missing = {0};
  *n = 0;
  TS_TRY(ts_db_uid_workload(db, row, &uid, d));
  ts_id workload = ts_db_find_workload(db, &uid, &missing);
  TS_TRY(ts_db_uid_target(db, target, &uid, d));
  ts_id place = workload ? ts_db_find_target(db, &uid, &missing) : 0;
  if (!workload || !place) {
    if (missing.kind != TS_OK && d) *d = missing;
    return missing.kind == TS_OK;
  }
  return ts_db_list_tried(db, workload, place, 0, "time", 4 * MOST, a, out, n, d);
}

static ts__record tried_record(ts_arena *a, const ts_db_tried *t) {
  ts__record r = {
      .variant = variant_of(a, t->generator), .trace = t->trace, .exact = true, .expected_us = t->median / 1000};
  r.file = ts_arena_printf(a, "candidate %lld", (long long)t->candidate_id);
  r.text = ts_arena_printf(a, "candidate %lld, not the winner", (long long)t->candidate_id);
  return r;
}

// Verified and timed, and ours: a vendor's library is compared with, models do not need it.
static bool good(const ts_db_tried *t) {
  if (strncmp(t->generator, "library ", 8) == 0) return false;
  return t->outcome && !strcmp(t->outcome, "ok") && !strcmp(t->status, "ok") && isfinite(t->median) && t->median > 0;
}

bool ts__records_find(ts_arena *a, ts_db *db, const ts_spec *spec, const ts_target *t, const char *numerics,
                      ts__record **out, size_t *n, ts_diag *d) {
  *n = 0;
  *out = NULL;
  if (!db) return true;
  const ts_op *op = ts_op_find(a, spec->op, d);
  ts_db_workload row;
  if (!op || !workload_row(a, spec, &row, d)) return false;
  ts_text limits = {0};
  ts_db_target target = ts_place_target(t, &limits);
  ts_db_winner *w, *chosen;
  ts_db_tried *tried = NULL;
  size_t found, nchosen, ntried = 0;
  bool ok = ts_db_find_winners(db, &row, &target, 0, ts_place_policy(t, "step", a), MOST, a, &chosen, &nchosen, d) &&
            ts_db_find_winners(db, &row, &target, 0, NULL, MOST, a, &w, &found, d) && find_tried(a, db, &row, &target, &tried, &ntried, d);
  ts_text_free(&limits);
  if (!ok) return false;
  *out = ts_new_array(a, ts__record, nchosen + found + ntried + 1);
  for (size_t i = 0; i < nchosen; i++) {  // what was chosen in a whole step comes before what is fastest alone
    ts__record r = make_record(a, &chosen[i]);
    if (r.exact && ts__variant_permitted(op, r.variant, t, numerics)) (*out)[(*n)++] = r;
  }
  for (int pass = 0; pass < 3; pass++) {  // the winner, what was tried, winners of others
    for (size_t i = 0; pass != 1 && i < found; i++) {
      ts__record r = make_record(a, &w[i]);
      if (r.exact == (pass == 0) && ts__variant_permitted(op, r.variant, t, numerics)) (*out)[(*n)++] = r;
    }
    for (size_t i = 0; pass == 1 && i < ntried; i++) {
      ts__record r = tried_record(a, &tried[i]);
      if (good(&tried[i]) && ts__variant_permitted(op, r.variant, t, numerics)) (*out)[(*n)++] = r;
    }
  }
  return true;
}

// What the store says about a workload.
#ifndef TS_MODEL_RECORDS_H
#define TS_MODEL_RECORDS_H

#include "db/db.h"
#include "steps.h"

typedef struct ts__record {
  const char *variant, *trace;
  const char *file;    // for messages of the trace
  const char *text;    // for people: which record
  bool exact;          // of this workload on this target
  bool other_shape;    // of another workload
  double expected_us;  // 0: unknown
} ts__record;
// Whether the target runs the variant and its numerics were asked for.
bool ts__variant_permitted(const ts_op *op, const char *variant, const ts_target *t, const char *numerics);
// Records that may serve, best first: the winner, the other verified candidates of this workload by time, winners of
// other shapes and machines. None without a store (db NULL). Variants that need what the target lacks, or numerics that
// were not asked for, are left out.
bool ts__records_find(ts_arena *a, ts_db *db, const ts_spec *spec, const ts_target *t, const char *numerics,
                      ts__record **out, size_t *n, ts_diag *d) TS_WARN_UNUSED;

#endif

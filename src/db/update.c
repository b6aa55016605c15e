// Rows without an identity, and the few updates that an append-only store allows.
#include <math.h>

#include "db/db_impl.h"

// Run a prepared statement that changes rows, inside the current transaction or one of its own. `rows_needed`: it must
// change one.
static bool run_change(ts_db *db, sqlite3_stmt *s, const char *table, ts_id id, ts_diag *d) {
  ts_diag why = {0};
  bool ok = s && ts__db_write_begin(db, &why);
  if (s && ok) {
    if (sqlite3_step(s) != SQLITE_DONE)
      ok = ts__db_fail(db, &why, table);
    else if (id && sqlite3_changes(db->sql) == 0)
      ok = ts_refuse(&why, "no-such-row", "%s: no %s %lld", db->path, table, (long long)id);
    ok = ts__db_write_end(db, ok, 1, &why);
  }
  if (!ok && d && s) *d = why;
  sqlite3_finalize(s);
  return ok;
}

bool ts_db_put_counter(ts_db *db, const ts_db_counter *c, ts_diag *d) {
  if (!c->name || !isfinite(c->value)) return ts_refuse(d, "missing-value", "counter: name or value is missing");
  sqlite3_stmt *s = ts__db_prepare(db, "INSERT INTO counter VALUES(?1,?2,?3) ON CONFLICT DO NOTHING", d);
  sqlite3_bind_int64(s, 1, c->measurement_id);
  sqlite3_bind_text(s, 2, c->name, -1, SQLITE_STATIC);
  sqlite3_bind_double(s, 3, c->value);
  return run_change(db, s, "counter", 0, d);
}

bool ts_db_put_run_kernel(ts_db *db, const ts_db_run_kernel *k, ts_diag *d) {
  if (!k->phase) return ts_refuse(d, "missing-value", "run_kernel: phase is missing");
  sqlite3_stmt *s = ts__db_prepare(db, "INSERT INTO run_kernel VALUES(?1,?2,?3,?4,?5) ON CONFLICT DO NOTHING", d);
  sqlite3_bind_int64(s, 1, k->run_id);
  sqlite3_bind_int64(s, 2, k->build_id);
  sqlite3_bind_text(s, 3, k->phase, -1, SQLITE_STATIC);
  sqlite3_bind_int64(s, 4, k->calls);
  sqlite3_bind_int64(s, 5, k->total_ns);
  return run_change(db, s, "run_kernel", 0, d);
}

bool ts_db_set_calibration(ts_db *db, ts_id device, double noise_floor, const char *calib, ts_diag *d) {
  sqlite3_stmt *s = ts__db_prepare(db, "UPDATE device SET noise_floor=?2, calib=?3 WHERE id=?1", d);
  sqlite3_bind_int64(s, 1, device);
  if (!isnan(noise_floor)) sqlite3_bind_double(s, 2, noise_floor);
  sqlite3_bind_text(s, 3, calib, -1, SQLITE_STATIC);
  return run_change(db, s, "device", device, d);
}

bool ts_db_save_session(ts_db *db, ts_id session, ts_blob state, ts_diag *d) {
  sqlite3_stmt *s = ts__db_prepare(db, "UPDATE session SET search_state=?2 WHERE id=?1", d);
  sqlite3_bind_int64(s, 1, session);
  sqlite3_bind_blob64(s, 2, state.p, state.n, SQLITE_STATIC);
  return run_change(db, s, "session", session, d);
}

bool ts_db_end_session(ts_db *db, ts_id session, const char *outcome, ts_diag *d) {
  char utc[32];
  ts_utc_now(utc);
  if (!outcome) return ts_refuse(d, "missing-value", "session: outcome is missing");
  sqlite3_stmt *s = ts__db_prepare(db, "UPDATE session SET ended_utc=?2, outcome=?3 WHERE id=?1", d);
  sqlite3_bind_int64(s, 1, session);
  sqlite3_bind_text(s, 2, utc, -1, SQLITE_STATIC);
  sqlite3_bind_text(s, 3, outcome, -1, SQLITE_STATIC);
  return run_change(db, s, "session", session, d);
}

bool ts_db_revoke(ts_db *db, ts_id decision, ts_id by, ts_diag *d) {
  sqlite3_stmt *s = ts__db_prepare(db, "UPDATE decision SET revoked_by=?2 WHERE id=?1", d);
  sqlite3_bind_int64(s, 1, decision);
  sqlite3_bind_int64(s, 2, by);
  return run_change(db, s, "decision", decision, d);
}

char *ts_db_policy(ts_arena *a, const char *timer, const char *launch, const char *cache, const char *clock_policy) {
  return ts_arena_printf(a, "timer=%s launch=%s cache=%s clock=%s", timer, launch, cache, clock_policy);
}

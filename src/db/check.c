// Whether a store is sound, and making it compact.
#include "db/db_impl.h"

// Run a checking pragma; its rows but "ok" go into the report, one a line. False when there were any.
bool ts__db_sound(ts_db *db, const char *pragma, ts_text *report, ts_diag *d) {
  sqlite3_stmt *s = ts__db_prepare(db, pragma, d);
  if (!s) return false;
  bool ok = true;
  int rc;
  while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
    const char *first = (const char *)sqlite3_column_text(s, 0);
    if (first && strcmp(first, "ok") == 0) continue;
    ok = false;
    for (int i = 0; i < sqlite3_column_count(s); i++) {
      const char *text = (const char *)sqlite3_column_text(s, i);
      ts_text_addf(report, "%s%s", i ? " " : "", text ? text : "null");
    }
    ts_text_add(report, "\n");
  }
  if (rc != SQLITE_DONE) {
    ts_text_addf(report, "%s\n", sqlite3_errmsg(db->sql));
    ok = ts__db_fail(db, d, pragma);
  }
  sqlite3_finalize(s);
  return ok;
}

typedef struct checking {
  ts_db *db;
  ts_text *report;
  int faults;
} checking;

// The row is what its uid says, and its values are sound.
static bool check_row(void *arg, int t, ts_id id, ts_blob uid, ts__row *row, ts_diag *d) {
  (void)d;
  checking *c = arg;
  ts_sha256 own;
  ts_diag why = {0};
  bool ok = ts__row_check(t, row, &why) && ts__row_uid(c->db, t, row, &own, &why);
  if (ok && (uid.n != sizeof own.b || memcmp(uid.p, own.b, sizeof own.b) != 0))
    ok = ts_refuse(&why, "store-tampered", "it does not hash to its uid");
  if (ok) return true;
  c->faults++;
  ts_text_addf(c->report, "%s %lld: %s\n", ts__tabs[t].name, (long long)id, why.message);
  return c->faults < 100;
}

bool ts_db_check(ts_db *db, ts_text *report, ts_diag *d) {
  checking c = {.db = db, .report = report};
  ts_diag why = {0};
  bool ok = ts__db_sound(db, "PRAGMA integrity_check(50)", report, &why);
  ok = ts__db_sound(db, "PRAGMA foreign_key_check", report, &why) && ok;
  if (ok && db->version == TS_DB_VERSION)
    for (int t = 0; t < TS__T__COUNT && c.faults < 100; t++) {
      if (ts__each_row(db, t, check_row, &c, &why)) continue;
      if (why.kind != TS_OK) ts_text_addf(report, "%s\n", why.message);
      ok = false;
    }
  if (ok && !c.faults) return true;
  return ts_env_fail(d, "store-corrupt", "%s: %.*s", db->path, (int)strcspn(ts_text_str(report), "\n"),
                     ts_text_str(report));
}

bool ts_db_vacuum(ts_db *db, ts_diag *d) {
  if (!db->writable) return ts_refuse(d, "store-read-only", "%s: is open for reading only", db->path);
  TS_TRY(ts_db_flush(db, d));
  TS_TRY(ts__db_exec(db, "VACUUM", d));
  return ts__db_exec(db, "PRAGMA wal_checkpoint(TRUNCATE)", d);
}

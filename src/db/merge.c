// Taking over the rows of another store.
//
// The other store is input from outside: it is opened read-only and checked, its ids are mapped, and every identity is
// computed anew. All of it is one transaction here.
#include <stdlib.h>

#include "db/db_impl.h"

// Ids of one table there, ascending, and here.
typedef struct id_pair {
  ts_id there, here;
} id_pair;
typedef TS_VEC(id_pair) id_map;
typedef struct merging {
  ts_db *db, *from;
  ts_arena *arena;  // of the maps
  id_map map[TS__T__COUNT];
  ts_db_merged done;
} merging;

static ts_id map_id(const id_map *m, ts_id there) {
  size_t lo = 0, hi = m->n;
  while (lo < hi) {
    size_t mid = (lo + hi) / 2;
    if (m->p[mid].there < there)
      lo = mid + 1;
    else
      hi = mid;
  }
  return lo < m->n && m->p[lo].there == there ? m->p[lo].here : 0;
}

// Replace the row's references by ids of this store. A reference into its own table waits for link_rows.
static bool map_references(merging *g, int t, ts__row *row, ts_diag *d) {
  for (int i = 0; i < ts__tabs[t].ncols; i++) {
    const ts__col *c = &ts__tabs[t].cols[i];
    if (c->kind != TS__REF) continue;
    ts_id *id = (ts_id *)((char *)row + c->offset), here = c->ref == t ? 0 : map_id(&g->map[c->ref], *id);
    if (*id && !here && c->ref != t)
      return ts_refuse(d, "store-tampered", "%s: a %s refers to a %s that is not there", g->from->path,
                       ts__tabs[t].name, ts__tabs[c->ref].name);
    *id = here;
  }
  return true;
}

// A row known here gains the values that only the other store has: the end of a session, a device's calibration.
static bool fill_absent(merging *g, int t, ts_id here, const ts__row *row, ts_diag *d) {
  ts_text sql = {0};
  const ts__tab *tab = &ts__tabs[t];
  for (int i = 0; i < tab->ncols; i++)
    if (tab->cols[i].flags & TS__OPT && !(tab->cols[i].flags & TS__IDENT))
      ts_text_addf(&sql, "%s%s=coalesce(%s,?%d)", sql.n ? "," : "", tab->cols[i].name, tab->cols[i].name, i + 2);
  if (!sql.n) return true;
  char *set = ts_arena_printf(g->arena, "UPDATE %s SET %s WHERE id=?1", tab->name, ts_text_str(&sql));
  ts_text_free(&sql);
  sqlite3_stmt *s = ts__db_prepare(g->db, set, d);
  if (!s) return false;
  sqlite3_bind_int64(s, 1, here);
  for (int i = 0; i < tab->ncols; i++)
    if (tab->cols[i].flags & TS__OPT && !(tab->cols[i].flags & TS__IDENT)) ts__row_bind(s, i + 2, row, &tab->cols[i]);
  bool ok = sqlite3_step(s) == SQLITE_DONE || ts__db_fail(g->db, d, tab->name);
  sqlite3_finalize(s);
  return ok;
}

static bool take_row(merging *g, int t, ts_id there, ts_blob uid, ts__row *row, ts_diag *d) {
  const char *table = ts__tabs[t].name;
  ts_sha256 own;
  TS_TRY(map_references(g, t, row, d));
  ts_diag why = {0};
  if (!ts__row_check(t, row, &why)) return ts_refuse(d, "store-tampered", "%s: %s", g->from->path, why.message);
  TS_TRY(ts__row_uid(g->db, t, row, &own, d));
  if (uid.n != sizeof own.b || memcmp(own.b, uid.p, sizeof own.b) != 0)
    return ts_refuse(d, "store-tampered", "%s: %s %lld does not have the identity it claims", g->from->path, table,
                     (long long)there);
  ts_id here = ts__row_find(g->db, t, &own, &why);
  if (!here && why.kind != TS_OK) return ts_env_fail(d, why.code, "%s", why.message);
  if (here) {
    g->done.known++;
    TS_TRY(fill_absent(g, t, here, row, d));
  } else {
    here = ts__row_put(g->db, t, row, d);
    if (!here) return false;
    g->done.added++;
  }
  ts_vec_push(g->arena, &g->map[t], ((id_pair){there, here}));
  return true;
}

static bool take_visited(void *arg, int t, ts_id id, ts_blob uid, ts__row *row, ts_diag *d) {
  return take_row(arg, t, id, uid, row, d);
}

// Rows that only tie others together: mapped ids, the rest as it is. Runs `insert` for each row of `select`, whose
// first nmaps columns are ids into `tables`.
static bool take_links(merging *g, const char *select, const char *insert, int nmaps, const int *tables, ts_diag *d) {
  sqlite3_stmt *in = ts__db_prepare(g->from, select, d);
  sqlite3_stmt *out = in ? ts__db_prepare(g->db, insert, d) : NULL;
  bool ok = out != NULL;
  int rc = SQLITE_DONE;
  while (ok && (rc = sqlite3_step(in)) == SQLITE_ROW) {
    for (int i = 0; i < sqlite3_column_count(in); i++)
      if (i < nmaps)
        sqlite3_bind_int64(out, i + 1, map_id(&g->map[tables[i]], sqlite3_column_int64(in, i)));
      else
        sqlite3_bind_value(out, i + 1, sqlite3_column_value(in, i));
    ok = sqlite3_step(out) == SQLITE_DONE || ts__db_fail(g->db, d, "merge");
    g->done.added += ok ? sqlite3_changes(g->db->sql) : 0;
    sqlite3_reset(out);
  }
  if (ok && rc != SQLITE_DONE) ok = ts__db_fail(g->from, d, "merge");
  sqlite3_finalize(in);
  sqlite3_finalize(out);
  return ok;
}

static bool take_all(merging *g, ts_diag *d) {
  for (int t = 0; t < TS__T__COUNT; t++) TS_TRY(ts__each_row(g->from, t, take_visited, g, d));
  TS_TRY(take_links(g, "SELECT measurement_id, name, value FROM counter ORDER BY 1,2",
                    "INSERT INTO counter VALUES(?1,?2,?3) ON CONFLICT DO NOTHING", 1, (int[]){TS__T_measurement}, d));
  TS_TRY(take_links(g, "SELECT run_id, build_id, phase, calls, total_ns FROM run_kernel ORDER BY 1,2,3",
                    "INSERT INTO run_kernel VALUES(?1,?2,?3,?4,?5) ON CONFLICT DO NOTHING", 2,
                    (int[]){TS__T_run, TS__T_build}, d));
  int64_t added = g->done.added;
  TS_TRY(take_links(g, "SELECT id, revoked_by FROM decision WHERE revoked_by IS NOT NULL ORDER BY 1",
                    "UPDATE decision SET revoked_by=?2 WHERE id=?1 AND revoked_by IS NULL", 2,
                    (int[]){TS__T_decision, TS__T_decision}, d));
  g->done.added = added;
  return true;
}

// Remember whose rows came: the other store's own uid, the file's hash, how many.
static bool note_import(merging *g, ts_diag *d) {
  ts_sha256 file;
  TS_TRY(ts_sha256_file(g->from->path, &file, d));
  ts_db_table t;
  TS_TRY(ts_db_query(g->from, "SELECT value FROM store WHERE key='uid'", NULL, 0, g->arena, &t, d));
  const char *uid = t.nrows && t.cells[0].type == TS_DB_TEXT ? t.cells[0].text : "";
  sqlite3_stmt *s =
      ts__db_prepare(g->db, "INSERT INTO imported(source_store,file_sha256,utc,rows) VALUES(?1,?2,?3,?4)", d);
  if (!s) return false;
  char utc[32];
  ts_utc_now(utc);
  sqlite3_bind_blob(s, 1, uid, (int)strlen(uid), SQLITE_STATIC);
  sqlite3_bind_blob(s, 2, file.b, sizeof file.b, SQLITE_STATIC);
  sqlite3_bind_text(s, 3, utc, -1, SQLITE_STATIC);
  sqlite3_bind_int64(s, 4, g->done.added);
  bool ok = sqlite3_step(s) == SQLITE_DONE || ts__db_fail(g->db, d, "imported");
  sqlite3_finalize(s);
  return ok;
}

// The other store, open for reading, sound in SQLite's eyes and of this program's version.
static ts_db *open_source(const char *path, ts_diag *d) {
  ts_db *from = ts_db_open(path, TS_DB_READ, d);
  if (!from) return NULL;
  ts_text report = {0};
  bool ok = true;
  if (ts_db_note(from))
    ok = ts_refuse(d, "store-newer", "%s", ts_db_note(from));
  else if (!ts__db_sound(from, "PRAGMA quick_check(1)", &report, d))
    ok =
        ts_refuse(d, "store-corrupt", "%s: %.*s", path, (int)strcspn(ts_text_str(&report), "\n"), ts_text_str(&report));
  ok = ok && ts_db_begin_read(from, d);
  ts_text_free(&report);
  if (ok) return from;
  ts_db_close(from);
  return NULL;
}

bool ts_db_merge(ts_db *db, const char *from, ts_db_merged *out, ts_diag *d) {
  merging g = {.db = db};
  TS_TRY(ts_db_begin(db, d));
  g.from = open_source(from, d);
  g.arena = ts_arena_new("merge");
  bool ok = g.from && take_all(&g, d) && (g.done.added == 0 || note_import(&g, d));
  if (g.from) ts_db_end_read(g.from);
  ts_db_close(g.from);
  ts_arena_free(g.arena);
  if (!ok)
    ts_db_rollback(db);
  else
    ok = ts_db_commit(db, d);
  if (ok) *out = g.done;
  return ok;
}

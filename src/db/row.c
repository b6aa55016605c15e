// Rows in general: identity, put, find, get, all driven by the tables of rows.def.
#include <math.h>

#include "db/db_impl.h"

// --- the tables as data -------------------------------------------------------------------------------------------
// Indices into one flat array of columns: FIRST_t is the index of the first column of table t, END_t one past its last.
enum {
#define TABLE(t) FIRST_##t, BEFORE_##t = FIRST_##t - 1,
#define COL(t, c, kind, flags) AT_##t##_##c,
#define REF(t, c, to, flags) AT_##t##_##c,
#define END(t) END_##t, LAST_##t = END_##t - 1,
#include "db/rows.def"
#undef TABLE
#undef COL
#undef REF
#undef END
};

#define IDENT TS__IDENT
#define OPT TS__OPT
#define STAMP TS__STAMP
#define CODED TS__CODED
static const ts__col columns[] = {
#define TABLE(t)
#define COL(t, c, kind, flags) {#c, offsetof(ts_db_##t, c), TS__##kind, flags, -1},
#define REF(t, c, to, flags) {#c, offsetof(ts_db_##t, c), TS__REF, flags, TS__T_##to},
#define END(t)
#include "db/rows.def"
#undef TABLE
#undef COL
#undef REF
#undef END
};

const ts__tab ts__tabs[TS__T__COUNT] = {
#define TABLE(t) {#t, sizeof(ts_db_##t), END_##t - FIRST_##t, columns + FIRST_##t},
#define COL(t, c, kind, flags)
#define REF(t, c, to, flags)
#define END(t)
#include "db/rows.def"
#undef TABLE
#undef COL
#undef REF
#undef END
};

// --- fields of a row's struct
// -----------------------------------------------------------------------------------------
static const void *field(const void *row, const ts__col *c) { return (const char *)row + c->offset; }
static const char *text_of(const void *row, const ts__col *c) { return *(const char *const *)field(row, c); }
static int64_t int_of(const void *row, const ts__col *c) { return *(const int64_t *)field(row, c); }
static double real_of(const void *row, const ts__col *c) { return *(const double *)field(row, c); }
static const ts_sha256 *hash_of(const void *row, const ts__col *c) { return *(const ts_sha256 *const *)field(row, c); }
static ts_blob blob_of(const void *row, const ts__col *c) { return *(const ts_blob *)field(row, c); }

static bool is_absent(const void *row, const ts__col *c) {
  switch (c->kind) {
    case TS__TEXT:
      return !text_of(row, c);
    case TS__INT:
      return int_of(row, c) == TS_DB_NONE;
    case TS__REAL:
      return isnan(real_of(row, c));
    case TS__HASH:
      return !hash_of(row, c);
    case TS__BLOB:
      return !blob_of(row, c).p;
    case TS__REF:
      return int_of(row, c) == 0;
  }
  return true;
}

// --- identity
// -----------------------------------------------------------------------------------------------------------

static sqlite3_stmt *cached(ts_db *db, sqlite3_stmt **slot, const char *sql, ts_diag *d) {
  if (!*slot) *slot = ts__db_prepare(db, sql, d);
  if (*slot) sqlite3_reset(*slot);
  return *slot;
}

bool ts__row_uid_of(ts_db *db, int t, ts_id id, ts_sha256 *uid, ts_diag *d) {
  char sql[80];
  snprintf(sql, sizeof sql, "SELECT uid FROM %s WHERE id=?1", ts__tabs[t].name);
  sqlite3_stmt *s = cached(db, &db->uid_of[t], sql, d);
  if (!s) return false;
  sqlite3_bind_int64(s, 1, id);
  int rc = sqlite3_step(s);
  bool ok = rc == SQLITE_ROW && sqlite3_column_bytes(s, 0) == (int)sizeof uid->b;
  if (ok)
    memcpy(uid->b, sqlite3_column_blob(s, 0), sizeof uid->b);
  else if (rc == SQLITE_ROW)
    ts_env_fail(d, "store-corrupt", "%s: %s %lld has a malformed uid", db->path, ts__tabs[t].name, (long long)id);
  else if (rc == SQLITE_DONE)
    ts_refuse(d, "no-such-row", "%s: no %s %lld", db->path, ts__tabs[t].name, (long long)id);
  else
    ts__db_fail(db, d, "read");
  sqlite3_reset(s);
  return ok;
}

static void add_hex(ts_text *t, const uint8_t *p, size_t n) {
  for (size_t i = 0; i < n; i++) ts_text_addf(t, "%02x", p[i]);
}

// One line of the identity text. Texts carry their length, blobs are hashed, references are uids; absent columns leave
// no line, so a column added later does not change the identity of rows without it.
static bool add_identity(ts_db *db, ts_text *out, const void *row, const ts__col *c, ts_diag *d) {
  ts_text_addf(out, "%s ", c->name);
  switch (c->kind) {
    case TS__TEXT:
      ts_text_addf(out, "%zu:%s", strlen(text_of(row, c)), text_of(row, c));
      break;
    case TS__INT:
      ts_text_addf(out, "%lld", (long long)int_of(row, c));
      break;
    case TS__REAL:
      ts_text_add_double(out, real_of(row, c));
      break;
    case TS__HASH:
      add_hex(out, hash_of(row, c)->b, 32);
      break;
    case TS__BLOB: {
      ts_sha256 h = ts_sha256_of(blob_of(row, c).p, blob_of(row, c).n);
      add_hex(out, h.b, 32);
      break;
    }
    case TS__REF: {
      ts_sha256 h;
      if (!db) return ts_bug(d, "no-store", "identity of a row with references needs the store");
      TS_TRY(ts__row_uid_of(db, c->ref, int_of(row, c), &h, d));
      add_hex(out, h.b, 32);
    }
  }
  ts_text_add(out, "\n");
  return true;
}

// SHA-256 of "tunesmith CANONICAL TABLE\n" and a line for each present identity column.
bool ts__row_uid(ts_db *db, int t, const void *row, ts_sha256 *uid, ts_diag *d) {
  const ts__tab *tab = &ts__tabs[t];
  ts_text out = {0};
  ts_text_addf(&out, "tunesmith %s %s\n", TS__DB_CANONICAL, tab->name);
  bool ok = true;
  for (int i = 0; ok && i < tab->ncols; i++)
    if (tab->cols[i].flags & TS__IDENT && !is_absent(row, &tab->cols[i]))
      ok = add_identity(db, &out, row, &tab->cols[i], d);
  if (ok) *uid = ts_sha256_of(ts_text_str(&out), out.n);
  ts_text_free(&out);
  return ok;
}

// --- put
// ------------------------------------------------------------------------------------------------------------------

static bool is_utf8(const char *s) {
  const uint8_t *p = (const uint8_t *)s;
  while (*p) {
    int more = *p < 0x80                 ? 0
               : *p >= 0xc2 && *p < 0xe0 ? 1
               : *p >= 0xe0 && *p < 0xf0 ? 2
               : *p >= 0xf0 && *p < 0xf5 ? 3
                                         : -1;
    if (more < 0) return false;
    for (p++; more > 0; more--, p++)
      if ((*p & 0xc0) != 0x80) return false;
  }
  return true;
}

// The samples of a row are as many as its column n says.
static bool check_samples(const ts__tab *tab, const void *row, const ts__col *c, ts_diag *d) {
  size_t n = SIZE_MAX;
  for (int i = 0; i < tab->ncols; i++)
    if (strcmp(tab->cols[i].name, "n") == 0) n = (size_t)int_of(row, &tab->cols[i]);
  ts_diag why = {0};
  if (ts__samples_check(blob_of(row, c), n, &why)) return true;
  return ts_refuse(d, "bad-value", "%s: %s: %s", tab->name, c->name, why.message);
}

// Every column present that must be, and holding what it may hold.
bool ts__row_check(int t, const void *row, ts_diag *d) {
  const ts__tab *tab = &ts__tabs[t];
  for (int i = 0; i < tab->ncols; i++) {
    const ts__col *c = &tab->cols[i];
    if (is_absent(row, c)) {
      if (c->flags & (TS__OPT | TS__STAMP)) continue;
      return ts_refuse(d, "missing-value", "%s: %s is missing", tab->name, c->name);
    }
    if (c->kind == TS__TEXT && !is_utf8(text_of(row, c)))
      return ts_refuse(d, "bad-value", "%s: %s is not UTF-8", tab->name, c->name);
    if (c->kind == TS__REAL && isinf(real_of(row, c)) && !(c->flags & TS__OPT))
      return ts_refuse(d, "bad-value", "%s: %s is infinite", tab->name, c->name);
    if (c->flags & TS__CODED) TS_TRY(check_samples(tab, row, c, d));
  }
  return true;
}

void ts__row_bind(sqlite3_stmt *s, int at, const void *row, const ts__col *c) {
  if (is_absent(row, c)) {
    sqlite3_bind_null(s, at);
    return;
  }
  switch (c->kind) {
    case TS__TEXT:
      sqlite3_bind_text(s, at, text_of(row, c), -1, SQLITE_STATIC);
      break;
    case TS__INT:
    case TS__REF:
      sqlite3_bind_int64(s, at, int_of(row, c));
      break;
    case TS__REAL:
      sqlite3_bind_double(s, at, real_of(row, c));
      break;
    case TS__HASH:
      sqlite3_bind_blob(s, at, hash_of(row, c)->b, 32, SQLITE_STATIC);
      break;
    case TS__BLOB: {
      ts_blob b = blob_of(row, c);
      if (b.n == 0)
        sqlite3_bind_zeroblob(s, at, 0);
      else
        sqlite3_bind_blob64(s, at, b.p, b.n, SQLITE_STATIC);
    }
  }
}

void ts__row_columns(ts_text *out, int t, const char *prefix) {
  for (int i = 0; i < ts__tabs[t].ncols; i++)
    ts_text_addf(out, "%s%s%s", i ? "," : "", prefix, ts__tabs[t].cols[i].name);
}

static sqlite3_stmt *insert_statement(ts_db *db, int t, ts_diag *d) {
  if (db->insert[t]) return cached(db, &db->insert[t], NULL, d);
  ts_text sql = {0};
  ts_text_addf(&sql, "INSERT INTO %s(uid,", ts__tabs[t].name);
  ts__row_columns(&sql, t, "");
  ts_text_add(&sql, ") VALUES(?1");
  for (int i = 0; i < ts__tabs[t].ncols; i++) ts_text_addf(&sql, ",?%d", i + 2);
  ts_text_add(&sql, ")");
  sqlite3_stmt *s = cached(db, &db->insert[t], ts_text_str(&sql), d);
  ts_text_free(&sql);
  return s;
}

static ts_id insert_row(ts_db *db, int t, const void *row, const ts_sha256 *uid, ts_diag *d) {
  sqlite3_stmt *s = insert_statement(db, t, d);
  if (!s) return 0;
  if (ts_fault("db-insert")) {
    ts_env_fail(d, "store-full", "%s: insert: no room to write (injected)", db->path);
    return 0;
  }
  sqlite3_bind_blob(s, 1, uid->b, sizeof uid->b, SQLITE_STATIC);
  for (int i = 0; i < ts__tabs[t].ncols; i++) ts__row_bind(s, i + 2, row, &ts__tabs[t].cols[i]);
  ts_id id = sqlite3_step(s) == SQLITE_DONE ? sqlite3_last_insert_rowid(db->sql) : 0;
  if (!id) ts__db_fail(db, d, ts__tabs[t].name);
  sqlite3_reset(s);
  sqlite3_clear_bindings(s);
  return id;
}

ts_id ts__row_find(ts_db *db, int t, const ts_sha256 *uid, ts_diag *d) {
  char sql[80];
  if (d) d->kind = TS_OK;
  snprintf(sql, sizeof sql, "SELECT id FROM %s WHERE uid=?1", ts__tabs[t].name);
  sqlite3_stmt *s = cached(db, &db->find[t], sql, d);
  if (!s) return 0;
  sqlite3_bind_blob(s, 1, uid->b, sizeof uid->b, SQLITE_STATIC);
  int rc = sqlite3_step(s);
  ts_id id = rc == SQLITE_ROW ? sqlite3_column_int64(s, 0) : 0;
  if (rc != SQLITE_ROW && rc != SQLITE_DONE) ts__db_fail(db, d, "find");
  sqlite3_reset(s);
  sqlite3_clear_bindings(s);
  return id;
}

// Times that were left out become now.
static void stamp(int t, void *row, char utc[32]) {
  for (int i = 0; i < ts__tabs[t].ncols; i++) {
    const ts__col *c = &ts__tabs[t].cols[i];
    if (!(c->flags & TS__STAMP) || !is_absent(row, c)) continue;
    ts_utc_now(utc);
    *(const char **)((char *)row + c->offset) = utc;
  }
}

ts_id ts__row_put(ts_db *db, int t, const void *row, ts_diag *d) {
  ts__row copy;
  char utc[32];
  memcpy(&copy, row, ts__tabs[t].size);
  if (!ts__row_check(t, &copy, d)) return 0;
  stamp(t, &copy, utc);
  if (!ts__db_write_begin(db, d)) return 0;
  ts_sha256 uid;
  ts_diag why = {0};
  ts_id id = 0;
  bool added = false;
  if (ts__row_uid(db, t, &copy, &uid, &why)) {
    id = ts__row_find(db, t, &uid, &why);
    if (!id && why.kind == TS_OK) id = insert_row(db, t, &copy, &uid, &why), added = id != 0;
  }
  bool ok = ts__db_write_end(db, id != 0, added, &why);
  if (!ok && d) *d = why;
  return ok ? id : 0;
}

// --- get
// ------------------------------------------------------------------------------------------------------------------

const char *ts__text_at(sqlite3_stmt *s, int col, ts_arena *a) {
  const char *p = (const char *)sqlite3_column_text(s, col);
  return p ? ts_arena_strndup(a, p, (size_t)sqlite3_column_bytes(s, col)) : NULL;
}

ts_blob ts__blob_at(sqlite3_stmt *s, int col, ts_arena *a) {
  if (sqlite3_column_type(s, col) == SQLITE_NULL) return (ts_blob){NULL, 0};
  const void *p = sqlite3_column_blob(s, col);
  size_t n = (size_t)sqlite3_column_bytes(s, col);
  return (ts_blob){n ? ts_arena_dup(a, p, n) : ts_arena_alloc(a, 1, 1), n};
}

double ts__real_at(sqlite3_stmt *s, int col) {
  return sqlite3_column_type(s, col) == SQLITE_NULL ? NAN : sqlite3_column_double(s, col);
}

int64_t ts__int_at(sqlite3_stmt *s, int col) {
  return sqlite3_column_type(s, col) == SQLITE_NULL ? TS_DB_NONE : sqlite3_column_int64(s, col);
}

static bool read_field(sqlite3_stmt *s, int at, const ts__col *c, ts_arena *a, void *to) {
  bool null = sqlite3_column_type(s, at) == SQLITE_NULL;
  switch (c->kind) {
    case TS__TEXT:
      *(const char **)to = ts__text_at(s, at, a);
      break;
    case TS__INT:
      *(int64_t *)to = ts__int_at(s, at);
      break;
    case TS__REF:
      *(int64_t *)to = sqlite3_column_int64(s, at);
      break;
    case TS__REAL:
      *(double *)to = ts__real_at(s, at);
      break;
    case TS__BLOB:
      *(ts_blob *)to = ts__blob_at(s, at, a);
      break;
    case TS__HASH: {
      ts_blob b = ts__blob_at(s, at, a);
      if (!null && b.n != 32) return false;
      *(const ts_sha256 **)to = b.p;
    }
  }
  return !null || c->flags & TS__OPT;
}

bool ts__row_read(sqlite3_stmt *s, int at, int t, ts_arena *a, void *out, ts_diag *d, const char *path) {
  memset(out, 0, ts__tabs[t].size);
  for (int i = 0; i < ts__tabs[t].ncols; i++) {
    const ts__col *c = &ts__tabs[t].cols[i];
    if (!read_field(s, at + i, c, a, (char *)out + c->offset))
      return ts_env_fail(d, "store-corrupt", "%s: a row of %s has a malformed %s", path, ts__tabs[t].name, c->name);
  }
  return true;
}

static sqlite3_stmt *get_statement(ts_db *db, int t, ts_diag *d) {
  if (db->get[t]) return cached(db, &db->get[t], NULL, d);
  ts_text sql = {0};
  ts_text_add(&sql, "SELECT ");
  ts__row_columns(&sql, t, "");
  ts_text_addf(&sql, " FROM %s WHERE id=?1", ts__tabs[t].name);
  sqlite3_stmt *s = cached(db, &db->get[t], ts_text_str(&sql), d);
  ts_text_free(&sql);
  return s;
}

bool ts__row_get(ts_db *db, int t, ts_id id, ts_arena *a, void *out, ts_diag *d) {
  sqlite3_stmt *s = get_statement(db, t, d);
  if (!s) return false;
  sqlite3_bind_int64(s, 1, id);
  int rc = sqlite3_step(s);
  bool ok = rc == SQLITE_ROW && ts__row_read(s, 0, t, a, out, d, db->path);
  if (rc == SQLITE_DONE)
    ts_refuse(d, "no-such-row", "%s: no %s %lld", db->path, ts__tabs[t].name, (long long)id);
  else if (rc != SQLITE_ROW)
    ts__db_fail(db, d, "read");
  sqlite3_reset(s);
  return ok;
}

// --- every row of a table
// ---------------------------------------------------------------------------------------------------------

static sqlite3_stmt *select_rows(ts_db *db, int t, ts_diag *d) {
  ts_text sql = {0};
  ts_text_add(&sql, "SELECT id, uid, ");
  ts__row_columns(&sql, t, "");
  ts_text_addf(&sql, " FROM %s ORDER BY id", ts__tabs[t].name);
  sqlite3_stmt *s = ts__db_prepare(db, ts_text_str(&sql), d);
  ts_text_free(&sql);
  return s;
}

bool ts__each_row(ts_db *db, int t, ts__row_visitor visit, void *arg, ts_diag *d) {
  sqlite3_stmt *s = select_rows(db, t, d);
  if (!s) return false;
  ts_arena *a = ts_arena_new("row");
  int rc = SQLITE_DONE;
  bool ok = true;
  while (ok && (rc = sqlite3_step(s)) == SQLITE_ROW) {
    ts_arena_mark mark = ts_arena_save(a);
    ts__row row;
    ts_blob uid = ts__blob_at(s, 1, a);
    ok = ts__row_read(s, 2, t, a, &row, d, db->path) && visit(arg, t, sqlite3_column_int64(s, 0), uid, &row, d);
    ts_arena_restore(a, mark);
  }
  if (ok && rc != SQLITE_DONE) ok = ts__db_fail(db, d, ts__tabs[t].name);
  sqlite3_finalize(s);
  ts_arena_free(a);
  return ok;
}

// --- the typed functions
// ------------------------------------------------------------------------------------------------------
#define ROW(T)                                                                                                      \
  bool ts_db_uid_##T(ts_db *db, const ts_db_##T *row, ts_sha256 *uid, ts_diag *d) {                                 \
    return ts__row_check(TS__T_##T, row, d) && ts__row_uid(db, TS__T_##T, row, uid, d);                             \
  }                                                                                                                 \
  ts_id ts_db_put_##T(ts_db *db, const ts_db_##T *row, ts_diag *d) { return ts__row_put(db, TS__T_##T, row, d); }   \
  ts_id ts_db_find_##T(ts_db *db, const ts_sha256 *uid, ts_diag *d) { return ts__row_find(db, TS__T_##T, uid, d); } \
  bool ts_db_get_##T(ts_db *db, ts_id id, ts_arena *a, ts_db_##T *out, ts_diag *d) {                                \
    return ts__row_get(db, TS__T_##T, id, a, out, d);                                                               \
  }
TS_DB_ROWS(ROW)

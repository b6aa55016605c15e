// db, inside: the tables as data, and what the files of this folder share.
#ifndef TS_DB_IMPL_H
#define TS_DB_IMPL_H

#include <sqlite3.h>

#include "db/db.h"

#define TS__DB_APPLICATION 1414876755  // 'TUNS'
#define TS__DB_CANONICAL "1"           // version of the identity text

enum {
#define TABLE(t) TS__T_##t,
#define COL(t, c, kind, flags)
#define REF(t, c, to, flags)
#define END(t)
#include "db/rows.def"
#undef TABLE
#undef COL
#undef REF
#undef END
  TS__T__COUNT
};

typedef enum ts__kind { TS__TEXT, TS__INT, TS__REAL, TS__HASH, TS__BLOB, TS__REF } ts__kind;
enum { TS__IDENT = 1, TS__OPT = 2, TS__STAMP = 4, TS__CODED = 8 };
typedef struct ts__col {
  const char *name;
  size_t offset;  // in the row's struct
  ts__kind kind;
  unsigned flags;
  int ref;  // TS__REF: the table referred to
} ts__col;
typedef struct ts__tab {
  const char *name;
  size_t size;  // of the row's struct
  int ncols;
  const ts__col *cols;
} ts__tab;
extern const ts__tab ts__tabs[TS__T__COUNT];
extern const char *const ts__migrations[TS_DB_VERSION];

// A row of any table: as large as the largest.
typedef union ts__row {
#define TS__MEMBER(T) ts_db_##T T;
  TS_DB_ROWS(TS__MEMBER)
#undef TS__MEMBER
} ts__row;

struct ts_db {
  sqlite3 *sql;
  char *path;
  ts_text note;
  int version;
  bool writable, explicit_tx, reading;
  int batch_rows, batch_ms, pending;
  uint64_t batch_start;
  sqlite3_stmt *find[TS__T__COUNT], *insert[TS__T__COUNT], *get[TS__T__COUNT], *uid_of[TS__T__COUNT];
};

// store.c
bool ts__db_fail(ts_db *db, ts_diag *d, const char *what);  // SQLite's error as a diagnostic, naming the file
sqlite3_stmt *ts__db_prepare(ts_db *db, const char *sql, ts_diag *d);
bool ts__db_exec(ts_db *db, const char *sql, ts_diag *d) TS_WARN_UNUSED;
bool ts__db_write_begin(ts_db *db, ts_diag *d) TS_WARN_UNUSED;                   // before a put
bool ts__db_write_end(ts_db *db, bool ok, int rows, ts_diag *d) TS_WARN_UNUSED;  // after it; returns ok
bool ts__fs_is_network(uint64_t magic);

// samples.c
bool ts__samples_check(ts_blob b, size_t n, ts_diag *d) TS_WARN_UNUSED;  // n SIZE_MAX: any number

// query.c
void ts__functions_add(sqlite3 *sql);

// row.c
bool ts__row_check(int t, const void *row, ts_diag *d) TS_WARN_UNUSED;  // every value present and sound
void ts__row_bind(sqlite3_stmt *s, int at, const void *row, const ts__col *c);
bool ts__row_uid(ts_db *db, int t, const void *row, ts_sha256 *uid, ts_diag *d) TS_WARN_UNUSED;
ts_id ts__row_put(ts_db *db, int t, const void *row, ts_diag *d) TS_WARN_UNUSED;
ts_id ts__row_find(ts_db *db, int t, const ts_sha256 *uid, ts_diag *d) TS_WARN_UNUSED;
bool ts__row_get(ts_db *db, int t, ts_id id, ts_arena *a, void *out, ts_diag *d) TS_WARN_UNUSED;
bool ts__row_uid_of(ts_db *db, int t, ts_id id, ts_sha256 *uid, ts_diag *d) TS_WARN_UNUSED;  // stored, by id
// Columns of `select`ed names in struct order, from column `at` of a statement's current row.
bool ts__row_read(sqlite3_stmt *s, int at, int t, ts_arena *a, void *out, ts_diag *d, const char *path) TS_WARN_UNUSED;
void ts__row_columns(ts_text *out, int t, const char *prefix);   // "c1,c2,..." in struct order
const char *ts__text_at(sqlite3_stmt *s, int col, ts_arena *a);  // NULL for NULL
ts_blob ts__blob_at(sqlite3_stmt *s, int col, ts_arena *a);
double ts__real_at(sqlite3_stmt *s, int col);  // NAN for NULL
int64_t ts__int_at(sqlite3_stmt *s, int col);  // TS_DB_NONE for NULL

// Visit every row of a table in order of its id; stops when visit says false.
typedef bool (*ts__row_visitor)(void *arg, int t, ts_id id, ts_blob uid, ts__row *row, ts_diag *d);
bool ts__each_row(ts_db *db, int t, ts__row_visitor visit, void *arg, ts_diag *d) TS_WARN_UNUSED;

// check.c
bool ts__db_sound(ts_db *db, const char *pragma, ts_text *report, ts_diag *d) TS_WARN_UNUSED;

#endif

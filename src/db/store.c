// Opening, migrating and closing a store; transactions; SQLite's errors as diagnostics.
//
// States of a connection:
//   idle      no transaction
//   explicit  between ts_db_begin and ts_db_commit/rollback     (the caller moves)
//   batch     a gathered transaction is open, pending >= 0       (a put opens it; a put, flush or close commits it)
//   reading   between ts_db_begin_read and ts_db_end_read        (the caller moves; puts are a bug)
#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "db/db_impl.h"

enum { BUSY_MS = 5000 };  // how long one process waits for another

// --- errors ---------------------------------------------------------------------------------------------------

// The system's error behind SQLite's: of the connection, else of the write-ahead log, else of the file.
static int system_error(sqlite3 *sql) {
  int err = sqlite3_system_errno(sql);
  sqlite3_file *log = NULL;
  if (!err && sqlite3_file_control(sql, "main", SQLITE_FCNTL_JOURNAL_POINTER, &log) == SQLITE_OK && log &&
      log->pMethods)
    log->pMethods->xFileControl(log, SQLITE_FCNTL_LAST_ERRNO, &err);
  if (!err) sqlite3_file_control(sql, "main", SQLITE_FCNTL_LAST_ERRNO, &err);
  return err;
}

// Fill *d from the last error of the connection: what failed, on which file, in SQLite's words. Returns false.
bool ts__db_fail(ts_db *db, ts_diag *d, const char *what) {
  int extended = sqlite3_extended_errcode(db->sql), code = extended & 0xff;
  const char *words = sqlite3_errmsg(db->sql);
  int err = code == SQLITE_IOERR || code == SQLITE_CANTOPEN ? system_error(db->sql) : 0;
  if (code == SQLITE_FULL || (code == SQLITE_IOERR && (err == EFBIG || err == ENOSPC || err == EDQUOT))) {
    ts_env_fail(d, "store-full", "%s: %s: no room to write (%s)", db->path, what, err ? strerror(err) : words);
    ts_hint(d, "what was committed before is intact; free some space and resume");
    return false;
  }
  switch (code) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return ts_env_fail(d, "store-busy", "%s: %s: another process holds the store", db->path, what);
    case SQLITE_READONLY:
      return ts_env_fail(d, "store-read-only", "%s: %s: %s", db->path, what, words);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return ts_env_fail(d, "store-corrupt", "%s: %s: %s", db->path, what, words);
    case SQLITE_CONSTRAINT:
      if (extended == SQLITE_CONSTRAINT_FOREIGNKEY)
        return ts_refuse(d, "no-such-row", "%s: %s: a row that it refers to does not exist", db->path, what);
      return ts_refuse(d, "bad-value", "%s: %s: %s", db->path, what, words);
    default:
      if (err) return ts_env_fail(d, "store-io", "%s: %s: %s (%s)", db->path, what, words, strerror(err));
      return ts_env_fail(d, "store-io", "%s: %s: %s", db->path, what, words);
  }
}

sqlite3_stmt *ts__db_prepare(ts_db *db, const char *sql, ts_diag *d) {
  sqlite3_stmt *s = NULL;
  if (sqlite3_prepare_v2(db->sql, sql, -1, &s, NULL) == SQLITE_OK) return s;
  ts__db_fail(db, d, "prepare");
  return NULL;
}

bool ts__db_exec(ts_db *db, const char *sql, ts_diag *d) {
  if (sqlite3_exec(db->sql, sql, NULL, NULL, NULL) == SQLITE_OK) return true;
  char what[24];
  snprintf(what, sizeof what, "%.*s", (int)strcspn(sql, "(;\n"), sql);
  return ts__db_fail(db, d, what);
}

// The single integer that a statement yields.
static bool exec_int(ts_db *db, const char *sql, int64_t *out, ts_diag *d) {
  sqlite3_stmt *s = ts__db_prepare(db, sql, d);
  if (!s) return false;
  bool ok = sqlite3_step(s) == SQLITE_ROW;
  if (ok) *out = sqlite3_column_int64(s, 0);
  if (!ok) ts__db_fail(db, d, sql);
  sqlite3_finalize(s);
  return ok;
}

// --- where the file lies ----------------------------------------------------------------------------------------

// File systems on which SQLite's locks and shared memory cannot be trusted between machines.
bool ts__fs_is_network(uint64_t magic) {
  enum { NFS = 0x6969, SMB = 0x517b, FUSE = 0x65735546, V9FS = 0x01021997, AFS = 0x5346414f, CEPH = 0x00c36400 };
  enum { LUSTRE = 0x0bd00bd0, GPFS = 0x47504653, OCFS2 = 0x7461636f, BEEGFS = 0x19830326, CODA = 0x73757245 };
  static const uint32_t network[] = {
      NFS, SMB, 0xff534d42 /* cifs */, 0xfe534d42 /* smb2 */, FUSE, V9FS, AFS, CEPH, LUSTRE, GPFS, OCFS2, BEEGFS, CODA};
  for (size_t i = 0; i < TS_COUNTOF(network); i++)
    if ((uint32_t)magic == network[i]) return true;
  return false;
}

static void directory_of(const char *path, char *out, size_t n) {
  const char *slash = strrchr(path, '/');
  if (!slash)
    snprintf(out, n, ".");
  else
    snprintf(out, n, "%.*s", slash == path ? 1 : (int)(slash - path), path);
}

// Refuses network file systems unless the user insists.
static bool check_place(const char *path, ts_diag *d) {
  char dir[4096];
  directory_of(path, dir, sizeof dir);
  struct statfs fs;
  if (statfs(dir, &fs) != 0) return ts_env_fail(d, "store-io", "%s: %s", dir, strerror(errno));
  const char *insist = getenv("TUNESMITH_STORE_ANY_FS");
  if (!ts__fs_is_network((uint64_t)fs.f_type) && !ts_fault("db-network")) return true;
  if (insist && strcmp(insist, "1") == 0) return true;
  ts_refuse(d, "store-network", "%s: lies on a network or user-space file system (type 0x%lx), where locks do not hold",
            path, (unsigned long)fs.f_type);
  ts_hint(
      d, "keep the store on a local disk and use `tunesmith db merge`; TUNESMITH_STORE_ANY_FS=1 if it really is local");
  return false;
}

// The file is missing (*exists false), or a regular file that is empty or begins as an SQLite file does.
static bool check_file(const char *path, bool *exists, ts_diag *d) {
  struct stat st;
  *exists = stat(path, &st) == 0;
  if (!*exists) return errno == ENOENT || ts_env_fail(d, "store-io", "%s: %s", path, strerror(errno));
  if (!S_ISREG(st.st_mode)) return ts_refuse(d, "store-foreign", "%s: not a file", path);
  if (st.st_size == 0) return true;
  FILE *f = fopen(path, "rb");
  if (!f) return ts_env_fail(d, "store-io", "%s: %s", path, strerror(errno));
  char head[16] = {0};
  size_t n = fread(head, 1, sizeof head, f);
  fclose(f);
  if (n == sizeof head && memcmp(head, "SQLite format 3", 16) == 0) return true;
  return ts_refuse(d, "store-foreign", "%s: not a tunesmith store (not an SQLite file)", path);
}

// --- migrations -------------------------------------------------------------------------------------------------

// Make the store's identity: rows of the table `store`.
static bool put_identity(ts_db *db, ts_diag *d) {
  uint8_t r[16];
  if (getrandom(r, sizeof r, 0) != sizeof r) return ts_env_fail(d, "store-io", "getrandom: %s", strerror(errno));
  char hex[33], utc[32], sql[400];
  for (size_t i = 0; i < sizeof r; i++) snprintf(hex + 2 * i, 3, "%02x", r[i]);
  ts_utc_now(utc);
  snprintf(
      sql, sizeof sql,
      "INSERT INTO store(key,value) VALUES('uid','%s'),('created','%s'),('tool','tunesmith %s'),('canonical','%s')",
      hex, utc, TS_VERSION, TS__DB_CANONICAL);
  return ts__db_exec(db, sql, d);
}

static bool migrate_step(ts_db *db, int to, ts_diag *d) {
  const char *sql = ts__migrations[to - 1];
  if (to == 1) {
    char pragma[64];
    snprintf(pragma, sizeof pragma, "PRAGMA application_id=%d", TS__DB_APPLICATION);
    TS_TRY(ts__db_exec(db, pragma, d));
  }
  TS_TRY(ts__db_exec(db, sql, d));
  if (to == 1) TS_TRY(put_identity(db, d));
  ts_sha256 h = ts_sha256_of(sql, strlen(sql));
  char utc[32], hex[65], text[300];
  for (size_t i = 0; i < 32; i++) snprintf(hex + 2 * i, 3, "%02x", h.b[i]);
  ts_utc_now(utc);
  snprintf(text, sizeof text,
           "INSERT INTO schema_migration VALUES(%d,'%s','tunesmith %s','%s'); PRAGMA user_version=%d", to, utc,
           TS_VERSION, hex, to);
  return ts__db_exec(db, text, d);
}

// One migration in one transaction. Looks again at the version inside it: another process may have been faster.
static bool migrate_one(ts_db *db, int *version, ts_diag *d) {
  TS_TRY(ts__db_exec(db, "BEGIN IMMEDIATE", d));
  int64_t now = 0;
  bool ok = exec_int(db, "PRAGMA user_version", &now, d);
  if (ok && now == *version) ok = migrate_step(db, (int)now + 1, d) && exec_int(db, "PRAGMA user_version", &now, d);
  if (ok && ts_fault("db-migrate"))
    ok = ts_env_fail(d, "store-full", "%s: migration: no room to write (injected)", db->path);
  if (ok) ok = ts__db_exec(db, "COMMIT", d);
  if (!ok && !sqlite3_get_autocommit(db->sql)) sqlite3_exec(db->sql, "ROLLBACK", NULL, NULL, NULL);
  if (ok) *version = (int)now;
  return ok;
}

// What the file says of itself, at one moment: another process may be making it.
static bool read_version(ts_db *db, int64_t *app, int64_t *version, int64_t *objects, ts_diag *d) {
  TS_TRY(ts__db_exec(db, "BEGIN", d));
  bool ok = exec_int(db, "PRAGMA application_id", app, d) && exec_int(db, "PRAGMA user_version", version, d) &&
            exec_int(db, "SELECT count(*) FROM sqlite_schema", objects, d);
  sqlite3_exec(db->sql, "COMMIT", NULL, NULL, NULL);
  return ok;
}

// Whose file it is and which version; makes or migrates it as the mode allows.
static bool check_version(ts_db *db, ts_db_mode mode, ts_diag *d) {
  int64_t app = 0, version = 0, objects = 0;
  TS_TRY(read_version(db, &app, &version, &objects, d));
  bool fresh = app == 0 && version == 0 && objects == 0;
  if (fresh && mode != TS_DB_CREATE)
    return ts_refuse(d, "store-foreign", "%s: an empty database, not a tunesmith store", db->path);
  if (!fresh && app != TS__DB_APPLICATION)
    return ts_refuse(d, "store-foreign",
                     "%s: an SQLite file of another program (application id %lld), not a tunesmith store", db->path,
                     (long long)app);
  if (!fresh && version < 1) return ts_env_fail(d, "store-corrupt", "%s: version %lld", db->path, (long long)version);
  db->version = (int)version;
  if (version > TS_DB_VERSION) {
    db->writable = false;
    ts_text_addf(&db->note,
                 "%s: written by a newer tunesmith (store version %lld, this program knows %d): opened read-only",
                 db->path, (long long)version, TS_DB_VERSION);
    return ts__db_exec(db, "PRAGMA query_only=ON", d);
  }
  if (version < TS_DB_VERSION && mode == TS_DB_READ) {
    ts_refuse(d, "store-old", "%s: store version %lld, this program reads %d", db->path, (long long)version,
              TS_DB_VERSION);
    ts_hint(d, "`tunesmith db info --migrate` brings it up to date");
    return false;
  }
  while (db->version < TS_DB_VERSION) TS_TRY(migrate_one(db, &db->version, d));
  return true;
}

// --- opening ------------------------------------------------------------------------------------------------------

// Read-only access to a store whose directory cannot be written: no lock file can be made, and none is needed when no
// write-ahead log lies beside it.
static bool open_immutable(ts_db *db) {
  ts_text uri = {0};
  ts_text_add(&uri, "file:");
  for (const char *c = db->path; *c; c++) {
    if (strchr("%?#", *c))
      ts_text_addf(&uri, "%%%02X", (unsigned char)*c);
    else
      ts_text_addn(&uri, c, 1);
  }
  ts_text_add(&uri, "?immutable=1");
  sqlite3_close(db->sql);
  db->sql = NULL;
  int rc = sqlite3_open_v2(ts_text_str(&uri), &db->sql, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, NULL);
  ts_text_free(&uri);
  return rc == SQLITE_OK;
}

static bool log_lies_beside(const char *path) {
  char wal[4200];
  snprintf(wal, sizeof wal, "%s-wal", path);
  struct stat st;
  return stat(wal, &st) == 0 && st.st_size > 0;
}

// Settings that hold for every connection: nothing in the file is trusted with code.
static bool configure(ts_db *db, ts_diag *d) {
  sqlite3_busy_timeout(db->sql, BUSY_MS);
  sqlite3_extended_result_codes(db->sql, 1);
  sqlite3_db_config(db->sql, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
  sqlite3_db_config(db->sql, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
  sqlite3_db_config(db->sql, SQLITE_DBCONFIG_ENABLE_FKEY, 1, NULL);
  sqlite3_limit(db->sql, SQLITE_LIMIT_LENGTH, 256 << 20);
  sqlite3_limit(db->sql, SQLITE_LIMIT_ATTACHED, 1);  // VACUUM needs one
  ts__functions_add(db->sql);
  return ts__db_exec(db, "PRAGMA cell_size_check=ON; PRAGMA mmap_size=0", d);
}

static bool open_reading(ts_db *db, ts_diag *d) {
  int rc = sqlite3_open_v2(db->path, &db->sql, SQLITE_OPEN_READONLY, NULL);
  if (rc == SQLITE_OK) rc = sqlite3_exec(db->sql, "PRAGMA user_version", NULL, NULL, NULL);
  bool retry = (rc & 0xff) == SQLITE_CANTOPEN || (rc & 0xff) == SQLITE_READONLY;
  if (retry && !log_lies_beside(db->path) && open_immutable(db)) rc = SQLITE_OK;
  return rc == SQLITE_OK || ts__db_fail(db, d, "open");
}

// A new store needs a folder that can be written; SQLite would report whatever its last attempt ran into.
static bool folder_writable(const char *path, ts_diag *d) {
  char folder[4096];
  const char *slash = strrchr(path, '/');
  snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - path) + 1 : 1, slash ? path : ".");
  return access(folder, W_OK | X_OK) == 0 || ts_env_fail(d, "store-io", "%s: the folder cannot be written: %s", path, strerror(errno));
}

static bool open_writing(ts_db *db, ts_db_mode mode, ts_diag *d) {
  int flags = SQLITE_OPEN_READWRITE | (mode == TS_DB_CREATE ? SQLITE_OPEN_CREATE : 0);
  if (mode == TS_DB_CREATE && !ts_file_exists(db->path)) TS_TRY(folder_writable(db->path, d));
  if (sqlite3_open_v2(db->path, &db->sql, flags, NULL) != SQLITE_OK) return ts__db_fail(db, d, "open");
  if (sqlite3_db_readonly(db->sql, "main") == 1)
    return ts_env_fail(d, "store-read-only", "%s: the file cannot be written", db->path);
  db->writable = true;
  return true;
}

// SQLite does not wait for others when the first one changes a file to a write-ahead log, so this does.
static bool use_log(ts_db *db, ts_diag *d) {
  for (int ms = 0;; ms += 10) {
    int rc = sqlite3_exec(db->sql, "PRAGMA journal_mode=WAL", NULL, NULL, NULL);
    if (rc == SQLITE_OK) return true;
    if ((rc & 0xff) != SQLITE_BUSY || ms >= BUSY_MS) return ts__db_fail(db, d, "PRAGMA journal_mode=WAL");
    sqlite3_sleep(10);
  }
}

static bool open_store(ts_db *db, ts_db_mode mode, ts_diag *d) {
  TS_TRY(check_place(db->path, d));
  bool exists;
  TS_TRY(check_file(db->path, &exists, d));
  if (!exists && mode != TS_DB_CREATE) return ts_refuse(d, "store-missing", "%s: no such store", db->path), ts_hint(d, "--store names one; probe, tune and bench make it"), false;
  TS_TRY(mode == TS_DB_READ ? open_reading(db, d) : open_writing(db, mode, d));
  TS_TRY(configure(db, d));
  int64_t objects;
  TS_TRY(exec_int(db, "SELECT count(*) FROM sqlite_schema", &objects, d));
  if (db->writable && objects == 0) TS_TRY(use_log(db, d));
  TS_TRY(check_version(db, mode, d));
  // Only now is it ours to change.
  if (db->writable) TS_TRY(use_log(db, d) && ts__db_exec(db, "PRAGMA synchronous=NORMAL", d));
  return true;
}

ts_db *ts_db_open(const char *path, ts_db_mode mode, ts_diag *d) {
  ts_db *db = calloc(1, sizeof *db);
  if (!db || !(db->path = strdup(path))) abort();
  if (open_store(db, mode, d)) return db;
  db->writable = false;
  ts_db_close(db);
  return NULL;
}

void ts_db_close(ts_db *db) {
  if (!db) return;
  if (db->sql && db->explicit_tx) ts_db_rollback(db);
  if (db->sql && !ts_db_flush(db, NULL)) ts_db_rollback(db);
  for (int t = 0; t < TS__T__COUNT; t++) {
    sqlite3_finalize(db->find[t]);
    sqlite3_finalize(db->insert[t]);
    sqlite3_finalize(db->get[t]);
    sqlite3_finalize(db->uid_of[t]);
  }
  if (db->sql && db->writable) sqlite3_wal_checkpoint_v2(db->sql, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
  sqlite3_close(db->sql);
  free(db->path);
  ts_text_free(&db->note);
  free(db);
}

const char *ts_db_path(const ts_db *db) { return db->path; }
bool ts_db_writable(const ts_db *db) { return db->writable; }
const char *ts_db_note(const ts_db *db) { return db->note.p; }
int ts_db_version(const ts_db *db) { return db->version; }

// --- transactions ---------------------------------------------------------------------------------------------------

static bool must_write(ts_db *db, ts_diag *d) {
  if (!db->writable)
    return ts_refuse(d, "store-read-only", "%s", db->note.p ? db->note.p : "the store is open for reading only");
  if (db->reading) return ts_bug(d, "store-reading", "%s: a put inside a read transaction", db->path);
  return true;
}

static bool commit(ts_db *db, ts_diag *d) {
  int lost = db->pending;
  db->pending = 0;
  db->explicit_tx = false;
  bool ok = !ts_fault("db-commit") || ts_env_fail(d, "store-full", "%s: COMMIT: no room to write (injected)", db->path);
  if (ok) ok = ts__db_exec(db, "COMMIT", d);
  if (ok) return true;
  if (!sqlite3_get_autocommit(db->sql)) sqlite3_exec(db->sql, "ROLLBACK", NULL, NULL, NULL);
  if (d && lost > 1) ts_hint(d, "%d rows of the open batch were not written; all before it is intact", lost);
  return false;
}

bool ts_db_begin(ts_db *db, ts_diag *d) {
  TS_TRY(must_write(db, d));
  if (db->explicit_tx) return ts_bug(d, "store-nested", "%s: begin inside a transaction", db->path);
  TS_TRY(ts_db_flush(db, d));
  TS_TRY(ts__db_exec(db, "BEGIN IMMEDIATE", d));
  db->explicit_tx = true;
  return true;
}

bool ts_db_commit(ts_db *db, ts_diag *d) {
  if (!db->explicit_tx) return ts_bug(d, "store-nested", "%s: commit outside a transaction", db->path);
  return commit(db, d);
}

void ts_db_rollback(ts_db *db) {
  db->explicit_tx = false;
  db->pending = 0;
  if (!sqlite3_get_autocommit(db->sql)) sqlite3_exec(db->sql, "ROLLBACK", NULL, NULL, NULL);
}

bool ts_db_batch(ts_db *db, int rows, int ms, ts_diag *d) {
  TS_TRY(ts_db_flush(db, d));
  db->batch_rows = TS_MAX(rows, 0);
  db->batch_ms = ms;
  return true;
}

bool ts_db_flush(ts_db *db, ts_diag *d) {
  if (db->explicit_tx || db->reading || sqlite3_get_autocommit(db->sql)) return true;
  return commit(db, d);
}

bool ts__db_write_begin(ts_db *db, ts_diag *d) {
  TS_TRY(must_write(db, d));
  if (!sqlite3_get_autocommit(db->sql)) return true;
  if (db->explicit_tx)
    return ts_env_fail(d, "store-io", "%s: the transaction was rolled back by an earlier failure", db->path);
  TS_TRY(ts__db_exec(db, "BEGIN IMMEDIATE", d));
  db->batch_start = ts_now_ns();
  db->pending = 0;
  return true;
}

bool ts__db_write_end(ts_db *db, bool ok, int rows, ts_diag *d) {
  if (sqlite3_get_autocommit(db->sql)) {  // rolled back by SQLite itself
    if (d && db->pending > 0)
      ts_hint(d, "%d rows of the open transaction were not written; all before it is intact", db->pending);
    db->pending = 0;
    return false;
  }
  if (ok) db->pending += rows;
  if (db->explicit_tx) return ok;
  if (db->batch_rows > 0) {
    bool due = db->pending >= db->batch_rows || ts_now_ns() - db->batch_start >= (uint64_t)db->batch_ms * 1000000u;
    return due ? commit(db, ok ? d : NULL) && ok : ok;
  }
  if (ok) return commit(db, d);
  ts_db_rollback(db);
  return false;
}

bool ts_db_begin_read(ts_db *db, ts_diag *d) {
  if (db->reading || db->explicit_tx) return ts_bug(d, "store-nested", "%s: begin inside a transaction", db->path);
  TS_TRY(ts_db_flush(db, d));
  TS_TRY(ts__db_exec(db, "BEGIN", d));
  db->reading = true;
  return true;
}

void ts_db_end_read(ts_db *db) {
  if (db->reading) sqlite3_exec(db->sql, "COMMIT", NULL, NULL, NULL);
  db->reading = false;
}

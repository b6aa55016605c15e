// Read-only SQL from the user and from report folders, and the SQL function that unpacks samples.
#include "db/db_impl.h"

// Only what reads: no PRAGMA, no ATTACH, no writing even to temporary tables.
static int only_reads(void *arg, int action, const char *a, const char *b, const char *database, const char *trigger) {
  (void)arg, (void)a, (void)b, (void)database, (void)trigger;
  bool reads =
      action == SQLITE_SELECT || action == SQLITE_READ || action == SQLITE_FUNCTION || action == SQLITE_RECURSIVE;
  return reads ? SQLITE_OK : SQLITE_DENY;
}

static int stop_when_interrupted(void *arg) {
  (void)arg;
  return ts_interrupted();
}

static bool sql_refusal(ts_db *db, const char *sql, ts_diag *d) {
  int at = sqlite3_error_offset(db->sql), code = sqlite3_errcode(db->sql);
  if (code == SQLITE_AUTH) return ts_refuse(d, "sql-writes", "%s: the query does more than read", db->path);
  if (code != SQLITE_ERROR && code != SQLITE_RANGE && code != SQLITE_MISMATCH) return ts__db_fail(db, d, "query");
  if (at < 0) return ts_refuse(d, "sql", "%s: %s", db->path, sqlite3_errmsg(db->sql));
  return ts_refuse(d, "sql", "%s: %s, at: %.40s", db->path, sqlite3_errmsg(db->sql), sql + at);
}

static sqlite3_stmt *prepare_reading(ts_db *db, const char *sql, ts_diag *d) {
  sqlite3_stmt *s = NULL;
  const char *tail = NULL;
  sqlite3_set_authorizer(db->sql, only_reads, NULL);
  int rc = sqlite3_prepare_v2(db->sql, sql, -1, &s, &tail);
  sqlite3_set_authorizer(db->sql, NULL, NULL);
  if (rc != SQLITE_OK) {
    sql_refusal(db, sql, d);
    return NULL;
  }
  while (tail && *tail && strchr(" \t\r\n;", *tail)) tail++;
  if (!s)
    ts_refuse(d, "sql", "%s: the query is empty", db->path);
  else if (!sqlite3_stmt_readonly(s))
    ts_refuse(d, "sql-writes", "%s: the query does more than read", db->path);
  else if (tail && *tail && strncmp(tail, "--", 2) != 0)
    ts_refuse(d, "sql", "%s: more than one statement, at: %.40s", db->path, tail);
  else
    return s;
  sqlite3_finalize(s);
  return NULL;
}

static bool bind_params(ts_db *db, sqlite3_stmt *s, const ts_db_param *params, int n, ts_diag *d) {
  for (int i = 1; i <= sqlite3_bind_parameter_count(s); i++) {
    const char *name = sqlite3_bind_parameter_name(s, i);
    const ts_db_param *p = NULL;
    for (int j = 0; name && j < n; j++)
      if (strcmp(name + 1, params[j].name) == 0) p = &params[j];
    if (!p) return ts_refuse(d, "sql", "%s: no value for the parameter %s", db->path, name ? name : "?");
    switch (p->value.type) {
      case TS_DB_NULL:
        break;
      case TS_DB_INT:
        sqlite3_bind_int64(s, i, p->value.i);
        break;
      case TS_DB_REAL:
        sqlite3_bind_double(s, i, p->value.r);
        break;
      case TS_DB_TEXT:
        sqlite3_bind_text(s, i, p->value.text, -1, SQLITE_STATIC);
        break;
      case TS_DB_BLOB:
        sqlite3_bind_blob64(s, i, p->value.blob.p, p->value.blob.n, SQLITE_STATIC);
        break;
    }
  }
  return true;
}

static ts_db_cell cell_at(sqlite3_stmt *s, int col, ts_arena *a) {
  ts_db_cell c = {0};
  switch (sqlite3_column_type(s, col)) {
    case SQLITE_INTEGER:
      c.type = TS_DB_INT;
      c.i = sqlite3_column_int64(s, col);
      c.r = (double)c.i;
      break;
    case SQLITE_FLOAT:
      c.type = TS_DB_REAL;
      c.r = sqlite3_column_double(s, col);
      break;
    case SQLITE_TEXT:
      c.type = TS_DB_TEXT;
      c.text = ts__text_at(s, col, a);
      c.blob = (ts_blob){c.text, (size_t)sqlite3_column_bytes(s, col)};
      break;
    case SQLITE_BLOB:
      c.type = TS_DB_BLOB;
      c.blob = ts__blob_at(s, col, a);
      break;
    default:
      break;
  }
  return c;
}

bool ts_db_query(ts_db *db, const char *sql, const ts_db_param *params, int nparams, ts_arena *a, ts_db_table *out,
                 ts_diag *d) {
  sqlite3_stmt *s = prepare_reading(db, sql, d);
  if (!s) return false;
  *out = (ts_db_table){.ncols = sqlite3_column_count(s)};
  const char **cols = ts_new_array(a, const char *, out->ncols + 1);
  for (int i = 0; i < out->ncols; i++) cols[i] = ts_arena_strdup(a, sqlite3_column_name(s, i));
  TS_VEC(ts_db_cell) cells = {0};
  bool ok = bind_params(db, s, params, nparams, d);
  sqlite3_progress_handler(db->sql, 10000, stop_when_interrupted, NULL);
  int rc = SQLITE_DONE;
  while (ok && (rc = sqlite3_step(s)) == SQLITE_ROW) {
    for (int i = 0; i < out->ncols; i++) ts_vec_push(a, &cells, cell_at(s, i, a));
    out->nrows++;
  }
  sqlite3_progress_handler(db->sql, 0, NULL, NULL);
  if (ok && rc == SQLITE_INTERRUPT)
    ok = ts_env_fail(d, "interrupted", "%s: the query was interrupted", db->path);
  else if (ok && rc != SQLITE_DONE)
    ok = sql_refusal(db, sql, d);
  sqlite3_finalize(s);
  out->cols = cols;
  out->cells = cells.p;
  return ok;
}

// samples_json(blob): the values as a JSON array, NULL for NULL; json_each makes them rows.
static void samples_json(sqlite3_context *ctx, int argc, sqlite3_value **argv) {
  (void)argc;
  if (sqlite3_value_type(argv[0]) == SQLITE_NULL) return;
  ts_arena *a = ts_arena_new("samples");
  uint64_t *v;
  size_t n;
  ts_blob b = {sqlite3_value_blob(argv[0]), (size_t)sqlite3_value_bytes(argv[0])};
  ts_diag d = {0};
  if (!ts_samples_decode(a, b, SIZE_MAX, &v, &n, &d)) {
    sqlite3_result_error(ctx, d.message, -1);
  } else {
    ts_text out = {0};
    ts_text_add(&out, "[");
    for (size_t i = 0; i < n; i++) ts_text_addf(&out, "%s%llu", i ? "," : "", (unsigned long long)v[i]);
    ts_text_add(&out, "]");
    sqlite3_result_text64(ctx, out.p, out.n, SQLITE_TRANSIENT, SQLITE_UTF8);
    ts_text_free(&out);
  }
  ts_arena_free(a);
}

void ts__functions_add(sqlite3 *sql) {
  sqlite3_create_function(sql, "samples_json", 1, SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_INNOCUOUS, NULL,
                          samples_json, NULL, NULL);
  // Its first use declares a virtual table, which the authorizer of read-only queries would deny.
  sqlite3_exec(sql, "SELECT 1 FROM json_each('[]')", NULL, NULL, NULL);
}

// Rows as JSON lines or CSV.
#include <errno.h>
#include <math.h>

#include "db/db_impl.h"

typedef struct exporting {
  ts_db *db;
  ts_db_format format;
  FILE *out;
  ts_text line;
} exporting;

static void add_string(exporting *e, const char *s) {
  if (e->format == TS_DB_CSV)
    ts_text_add_csv(&e->line, s);
  else
    ts_text_add_json(&e->line, s);
}

static void add_hex(exporting *e, const void *p, size_t n) {
  const uint8_t *b = p;
  const char *quote = e->format == TS_DB_CSV ? "" : "\"";
  ts_text_add(&e->line, quote);
  for (size_t i = 0; i < n; i++) ts_text_addf(&e->line, "%02x", b[i]);
  ts_text_add(&e->line, quote);
}

static bool add_samples(exporting *e, ts_blob b, ts_diag *d) {
  ts_arena *a = ts_arena_new("samples");
  uint64_t *v;
  size_t n;
  bool ok = ts_samples_decode(a, b, SIZE_MAX, &v, &n, d);
  bool csv = e->format == TS_DB_CSV;
  if (ok && !csv) ts_text_add(&e->line, "[");
  for (size_t i = 0; ok && i < n; i++)
    ts_text_addf(&e->line, "%s%llu", i == 0 ? "" : csv ? " " : ",", (unsigned long long)v[i]);
  if (ok && !csv) ts_text_add(&e->line, "]");
  ts_arena_free(a);
  return ok;
}

// One value: nothing in CSV and null in JSON when it is absent.
static bool add_value(exporting *e, const ts__row *row, const ts__col *c, ts_diag *d) {
  const void *p = (const char *)row + c->offset;
  const char *none = e->format == TS_DB_CSV ? "" : "null";
  ts_sha256 uid;
  switch (c->kind) {
    case TS__TEXT:
      if (*(const char *const *)p)
        add_string(e, *(const char *const *)p);
      else
        ts_text_add(&e->line, none);
      return true;
    case TS__INT:
      if (*(const int64_t *)p == TS_DB_NONE)
        ts_text_add(&e->line, none);
      else
        ts_text_addf(&e->line, "%lld", (long long)*(const int64_t *)p);
      return true;
    case TS__REAL:
      if (isfinite(*(const double *)p))
        ts_text_add_double(&e->line, *(const double *)p);
      else
        ts_text_add(&e->line, none);
      return true;
    case TS__HASH:
      if (*(const ts_sha256 *const *)p)
        add_hex(e, *(const ts_sha256 *const *)p, 32);
      else
        ts_text_add(&e->line, none);
      return true;
    case TS__BLOB: {
      ts_blob b = *(const ts_blob *)p;
      if (b.p && c->flags & TS__CODED) return add_samples(e, b, d);
      if (b.p)
        add_hex(e, b.p, b.n);
      else
        ts_text_add(&e->line, none);
      return true;
    }
    case TS__REF:
      if (*(const ts_id *)p == 0) {
        ts_text_add(&e->line, none);
        return true;
      }
      TS_TRY(ts__row_uid_of(e->db, c->ref, *(const ts_id *)p, &uid, d));
      add_hex(e, uid.b, 32);
      return true;
  }
  return false;
}

static bool export_row(void *arg, int t, ts_id id, ts_blob uid, ts__row *row, ts_diag *d) {
  (void)id;
  exporting *e = arg;
  bool csv = e->format == TS_DB_CSV;
  e->line.n = 0;
  if (!csv) ts_text_addf(&e->line, "{\"table\":\"%s\",\"uid\":", ts__tabs[t].name);
  add_hex(e, uid.p, uid.n);
  for (int i = 0; i < ts__tabs[t].ncols; i++) {
    if (csv)
      ts_text_add(&e->line, ",");
    else
      ts_text_addf(&e->line, ",\"%s\":", ts__tabs[t].cols[i].name);
    TS_TRY(add_value(e, row, &ts__tabs[t].cols[i], d));
  }
  ts_text_add(&e->line, csv ? "\n" : "}\n");
  fwrite(e->line.p, 1, e->line.n, e->out);
  return true;
}

static bool export_table(exporting *e, int t, ts_diag *d) {
  if (e->format == TS_DB_CSV) {
    ts_text head = {0};
    ts_text_add(&head, "uid,");
    ts__row_columns(&head, t, "");
    fprintf(e->out, "%s\n", ts_text_str(&head));
    ts_text_free(&head);
  }
  return ts__each_row(e->db, t, export_row, e, d);
}

bool ts_db_export(ts_db *db, const char *table, ts_db_format format, FILE *out, const char *name, ts_diag *d) {
  exporting e = {.db = db, .format = format, .out = out};
  int found = 0;
  if (!table && format == TS_DB_CSV) return ts_refuse(d, "bad-value", "CSV holds one table: name it");
  bool ok = true;
  for (int t = 0; ok && t < TS__T__COUNT; t++) {
    if (table && strcmp(table, ts__tabs[t].name) != 0) continue;
    found++;
    ok = export_table(&e, t, d);
  }
  ts_text_free(&e.line);
  if (!found) return ts_refuse(d, "bad-value", "%s: no table called %s", db->path, table);
  if (ok && (fflush(out) != 0 || ferror(out))) return ts_env_fail(d, "write-failed", "%s: %s", name, strerror(errno));
  return ok;
}

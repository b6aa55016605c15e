// The list of stages: load, ask, draw, write, put in place.
#include "report/report_impl.h"

// All reports ask within one read transaction, so that they tell of one state of the store.
static bool ask(ts__page *p, ts_diag *d) {
  TS_TRY(ts_db_begin_read(p->db, d));
  bool ok = true;
  for (size_t i = 0; ok && i < p->nreports; i++) {
    ts__report *r = &p->report[i];
    ts_diag why = {0};
    if (ts_db_query(p->db, r->sql, NULL, 0, p->arena, &r->rows, &why)) continue;
    ok = ts_refuse(d, why.code, "report %s: %s", r->name, why.message);
    if (d) d->kind = why.kind;
  }
  for (size_t i = 0; ok && i < p->nreports; i++) {
    const ts__report *r = &p->report[i];
    if ((*r->split && ts__column(r, r->split) < 0) || (*r->series && ts__column(r, r->series) < 0))
      ok = ts_refuse(d, "bad-report", "report %s: the query has no column %s", r->name,
                     ts__column(r, r->split) < 0 ? r->split : r->series);
  }
  ts_db_end_read(p->db);
  return ok;
}

static bool write_files(ts__page *p, const char *name, ts_diag *d) {
  TS_TRY(ts__stage_begin(p, d));
  TS_TRY(p->o->json ? ts__json_write(p, name, d) : ts__page_write(p, name, d));
  return ts__stage_commit(p, name, d);
}

bool ts_report_write(ts_db *db, const ts_report_opts *o, ts_text *path, ts_diag *d) {
  ts_arena *a = ts_arena_new("report");
  ts_report_opts opts = *o;
  if (!opts.dir) opts.dir = ts_path_join(a, ts_data_dir(), "reports");
  ts__page p = {.o = &opts, .db = db, .arena = a};
  const char *name = opts.json ? "report.json" : "index.html";
  path->n = 0;
  ts_text_addf(path, "%s/%s", opts.out, name);
  bool ok = ts__report_load_all(&p, d) && ask(&p, d) && write_files(&p, name, d);
  ts__stage_end(&p, ok ? NULL : d);
  if (ok && p.no_gnuplot) {
    ok = ts_env_fail(d, "gnuplot-missing", "%s: written without figures: gnuplot is not installed", ts_text_str(path));
    ts_hint(d, "install the package gnuplot-nox (scripts/setup does)");
  }
  ts_arena_free(a);
  return ok;
}

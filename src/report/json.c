// The reports' rows as one JSON file.
#include <math.h>

#include "report/report_impl.h"

static void add_value(ts_text *out, const ts_db_cell *c) {
  if (c->type == TS_DB_TEXT)
    ts_text_add_json(out, c->text);
  else if (c->type == TS_DB_INT)
    ts_text_addf(out, "%lld", (long long)c->i);
  else if (c->type == TS_DB_REAL && isfinite(c->r))
    ts_text_add_double(out, c->r);
  else
    ts_text_add(out, "null");
}

static void add_report(ts_text *out, const ts__report *r) {
  ts_text_add(out, "{\"name\":");
  ts_text_add_json(out, r->name);
  ts_text_add(out, ",\"title\":");
  ts_text_add_json(out, r->title);
  ts_text_add(out, ",\"rows\":[");
  for (size_t row = 0; row < r->rows.nrows; row++) {
    ts_text_add(out, row ? ",\n  {" : "\n  {");
    for (int c = 0, at = 0; c < r->rows.ncols; c++) {
      if (r->rows.cols[c][0] == '_') continue;
      if (at++) ts_text_add(out, ",");
      ts_text_add_json(out, r->rows.cols[c]);
      ts_text_add(out, ":");
      add_value(out, ts__cell(r, row, c));
    }
    ts_text_add(out, "}");
  }
  ts_text_add(out, "]}");
}

bool ts__json_write(ts__page *p, const char *name, ts_diag *d) {
  ts_text out = {0};
  ts_text_add(&out, "{\"reports\":[\n");
  for (size_t i = 0; i < p->nreports; i++) {
    if (i) ts_text_add(&out, ",\n");
    add_report(&out, &p->report[i]);
  }
  ts_text_add(&out, "\n]}\n");
  bool ok = ts_file_write(ts_path_join(p->arena, p->dir, name), out.p, out.n, d);
  ts_text_free(&out);
  return ok;
}

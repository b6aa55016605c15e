// The page: one HTML file that needs nothing else, no script and no network.
#include "report/report_impl.h"

static const char style[] =
    ":root{color-scheme:light dark}"
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:0 auto;padding:1rem;color:#1a1a1a;background:#fff}"
    "h1{font-size:1.6rem}h2{font-size:1.3rem;margin-top:3rem;border-top:1px solid "
    "#767676;padding-top:1rem}h3{font-size:1rem}"
    "a{color:#0b5394}nav ul{padding-left:1.2rem}"
    "figure{margin:1rem 0;padding:0.5rem;background:#fff;color:#1a1a1a;border:1px solid #ccc;overflow-x:auto}"
    "figure svg{max-width:100%;height:auto}figcaption{font-size:0.9rem}"
    "table{border-collapse:collapse;font-size:0.85rem;display:block;overflow-x:auto}"
    "th,td{border:1px solid #999;padding:0.2rem "
    "0.5rem;text-align:left;vertical-align:top}td.n{text-align:right;white-space:nowrap}"
    "code{font-family:ui-monospace,monospace;font-size:0.9em;overflow-wrap:anywhere}summary{cursor:pointer}"
    "@media (prefers-color-scheme:dark){body{color:#eee;background:#16181c}a{color:#8ab4f8}}";

static void add_table(ts_text *out, const ts__figure *f) {
  const ts__report *r = f->report;
  ts_text_addf(out,
               "<details><summary>Table of %zu rows (<a href=\"%s.tsv\">data file</a>)</summary>\n<table>\n<thead><tr>",
               f->nrows, f->id);
  for (int c = 0; c < r->rows.ncols; c++) {
    if (!ts__is_shown(r, c)) continue;
    ts_text_add(out, "<th scope=\"col\">");
    ts__add_escaped(out, r->rows.cols[c]);
    ts_text_add(out, "</th>");
  }
  ts_text_add(out, "</tr></thead>\n<tbody>\n");
  for (size_t row = f->first; row < f->first + f->nrows; row++) {
    ts_text_add(out, "<tr>");
    for (int c = 0; c < r->rows.ncols; c++) {
      if (!ts__is_shown(r, c)) continue;
      const ts_db_cell *cell = ts__cell(r, row, c);
      ts_text value = {0};
      ts__add_cell(&value, cell);
      ts_text_add(out, cell->type == TS_DB_INT || cell->type == TS_DB_REAL ? "<td class=\"n\">" : "<td>");
      ts__add_escaped(out, ts_text_str(&value));
      ts_text_add(out, "</td>");
      ts_text_free(&value);
    }
    ts_text_add(out, "</tr>\n");
  }
  ts_text_add(out, "</tbody>\n</table></details>\n");
}

static void add_command(ts_text *out, const char *what, const char *command) {
  ts_text_addf(out, "<p>%s <code>", what);
  ts__add_escaped(out, command);
  ts_text_add(out, "</code></p>\n");
}

static void add_figure(ts_text *out, const ts__figure *f) {
  const ts__report *r = f->report;
  ts_text caption = {0}, command = {0};
  ts__fill_in(&caption, f, r->caption);
  ts__fill_in(&command, f, r->reproduce);
  if (*f->key) {
    ts_text_addf(out, "<h3 id=\"%s\">", f->id);
    ts__add_escaped(out, f->key);
    ts_text_add(out, "</h3>\n");
  }
  ts_text_add(out, "<figure>\n");
  if (f->svg) ts_text_add(out, f->svg);
  ts_text_add(out, "<figcaption>");
  ts__add_escaped(out, ts_text_str(&caption));
  ts_text_add(out, "</figcaption>\n</figure>\n");
  add_table(out, f);
  if (*r->reproduce) add_command(out, "Measured by", ts_text_str(&command));
  ts_text_free(&caption);
  ts_text_free(&command);
}

static bool add_report(ts__page *p, ts_text *out, const ts__report *r, ts_diag *d) {
  ts_text_addf(out, "<section aria-labelledby=\"%s-head\">\n<h2 id=\"%s-head\">", r->name, r->name);
  ts__add_escaped(out, r->title);
  ts_text_add(out, "</h2>\n<p>");
  ts__add_escaped(out, r->text);
  ts_text_add(out, "</p>\n");
  ts__figure *f;
  size_t left_out, n = ts__figures(p, r, &f, &left_out);
  for (size_t i = 0; i < n; i++) {
    TS_TRY(ts__figure_draw(p, &f[i], d));
    add_figure(out, &f[i]);
  }
  if (left_out) ts_text_addf(out, "<p>%zu more are in the store.</p>\n", left_out);
  if (!n) {
    ts_text_add(out, "<p><strong>");
    ts__add_escaped(out, r->empty);
    ts_text_add(out, "</strong></p>\n");
  }
  ts_text command = {0};
  ts_text_addf(&command, "tunesmith report --store %s --out %s --only %s", p->o->store, p->o->out, r->name);
  add_command(out, "This section again:", ts_text_str(&command));
  ts_text_free(&command);
  ts_text_add(out, "</section>\n");
  return true;
}

// What the store holds and how recent it is: a page that went stale must look it.
static bool add_facts(ts__page *p, ts_text *out, ts_diag *d) {
  static const char sql[] =
      "SELECT (SELECT value FROM store WHERE key='uid'), (SELECT count(*) FROM workload), (SELECT count(*) FROM "
      "session), "
      "(SELECT count(*) FROM candidate), (SELECT count(*) FROM measurement), (SELECT count(*) FROM run), "
      "(SELECT max(u) FROM (SELECT max(utc) AS u FROM measurement UNION ALL SELECT max(utc) FROM run))";
  ts_db_table t;
  TS_TRY(ts_db_query(p->db, sql, NULL, 0, p->arena, &t, d));
  const ts_db_cell *c = t.cells;
  ts_text_add(out, "<p>Store <code>");
  ts__add_escaped(out, p->o->store);
  ts_text_add(out, "</code>");
  if (c[0].type == TS_DB_TEXT) ts_text_addf(out, " (%.8s)", c[0].text);
  ts_text_addf(
      out,
      ": %lld workloads, %lld tuning and benchmark sessions, %lld candidates, %lld measurements, %lld benchmark runs. ",
      (long long)c[1].i, (long long)c[2].i, (long long)c[3].i, (long long)c[4].i, (long long)c[5].i);
  if (c[6].type == TS_DB_TEXT) ts_text_addf(out, "Newest measurement: %s.", c[6].text);
  ts_text_add(out, "</p>\n");
  return true;
}

static void add_head(ts_text *out) {
  ts_text_add(
      out,
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>tunesmith "
      "report</title>\n<style>");
  ts_text_add(out, style);
  ts_text_add(out, "</style>\n</head>\n<body>\n<main>\n<h1>tunesmith report</h1>\n");
}

static void add_contents(ts__page *p, ts_text *out) {
  ts_text_add(out, "<nav aria-label=\"Contents\"><ul>\n");
  for (size_t i = 0; i < p->nreports; i++) {
    ts_text_addf(out, "<li><a href=\"#%s-head\">", p->report[i].name);
    ts__add_escaped(out, p->report[i].title);
    ts_text_add(out, "</a></li>\n");
  }
  ts_text_add(out, "</ul></nav>\n");
}

bool ts__page_write(ts__page *p, const char *name, ts_diag *d) {
  ts_text out = {0};
  add_head(&out);
  bool ok = add_facts(p, &out, d);
  add_contents(p, &out);
  for (size_t i = 0; ok && i < p->nreports; i++) ok = add_report(p, &out, &p->report[i], d);
  ts_text_add(&out, "</main>\n</body>\n</html>\n");
  ok = ok && ts_file_write(ts_path_join(p->arena, p->dir, name), out.p, out.n, d);
  ts_text_free(&out);
  return ok;
}

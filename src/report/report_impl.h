// report, inside: a report as read and filled, and the steps from rows to page.
#ifndef TS_REPORT_IMPL_H
#define TS_REPORT_IMPL_H

#include "report/report.h"

// A report folder as read. Texts with {column} take the value of the figure's first row; {rows} is its number of rows.
typedef struct ts__report {
  const char *name;  // of the folder
  const char *title, *caption, *empty, *text;
  const char *split;      // column: one figure a value, "" for one figure
  const char *series;     // column: one block of data (a line of the plot) a value, or ""
  const char *reproduce;  // command that made the facts; "" when only the report's own
  int64_t order, limit;   // place on the page; most figures
  const char *sql;
  const char *plot;  // path of plot.gp, NULL for tables only
  ts_db_table rows;
} ts__report;
// Consecutive rows of a report with one value in the split column.
typedef struct ts__figure {
  const ts__report *report;
  const char *key;  // value of the split column, ""
  const char *id;   // file and anchor name
  size_t first, nrows;
  const char *svg;  // drawn; NULL when there is no plot or no gnuplot
} ts__figure;
typedef struct ts__page {
  const ts_report_opts *o;
  ts_db *db;
  ts_arena *arena;
  ts__report *report;
  size_t nreports;
  bool no_gnuplot;
  const char *place;  // the folder that was asked for
  const char *dir;    // where its files are written first (stage.c)
  bool fresh;         // the place did not exist
} ts__page;

// stage.c: the place has all files of a report, or what it had before.
bool ts__stage_begin(ts__page *p, ts_diag *d) TS_WARN_UNUSED;
bool ts__stage_commit(ts__page *p, const char *page, ts_diag *d) TS_WARN_UNUSED;
void ts__stage_end(ts__page *p, ts_diag *d);  // whether committed or not, begun or not

// load.c
bool ts__report_load_all(ts__page *p, ts_diag *d) TS_WARN_UNUSED;
bool ts__about_parse(ts_arena *a, const char *file, const char *text, ts__report *r, ts_diag *d) TS_WARN_UNUSED;
// figure.c
int ts__column(const ts__report *r, const char *name);  // -1 when there is none
const ts_db_cell *ts__cell(const ts__report *r, size_t row, int col);
bool ts__is_shown(const ts__report *r, int col);  // in tables: not the split column, not _hidden ones
size_t ts__figures(ts__page *p, const ts__report *r, ts__figure **out, size_t *left_out);
// Refuses to go on after Ctrl-C.
bool ts__figure_draw(ts__page *p, ts__figure *f, ts_diag *d) TS_WARN_UNUSED;
void ts__fill_in(ts_text *out, const ts__figure *f, const char *text);
void ts__add_cell(ts_text *out, const ts_db_cell *c);  // as people read it
// svg.c
char *ts__svg_accessible(ts_arena *a, const char *svg, const char *id, const char *title, const char *desc);
void ts__add_escaped(ts_text *out, const char *text);  // for HTML and XML
// page.c, json.c
bool ts__page_write(ts__page *p, const char *name, ts_diag *d) TS_WARN_UNUSED;
bool ts__json_write(ts__page *p, const char *name, ts_diag *d) TS_WARN_UNUSED;

#endif

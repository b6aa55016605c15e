// report: from the store to one static page of figures and tables.
//
// A report is a folder: about.txt (title, caption, text), query.sql (rows) and, when it has a figure, plot.gp (gnuplot).
// Adding a report is adding a folder; docs/store.md describes the files. Equal stores give equal bytes.
#ifndef TS_REPORT_H
#define TS_REPORT_H

#include "base/base.h"
#include "db/db.h"

typedef struct ts_report_opts {
  const char *out;    // folder for the page, its data and figures; made when missing
  const char *dir;    // folder of report folders; NULL: the product's reports/
  const char *only;   // one report's name; NULL: all
  const char *store;  // the store as the reproducing command names it
  bool json;          // report.json instead of the page; needs no gnuplot
} ts_report_opts;
// Writes OUT/index.html, and beside it a .tsv and an .svg for each figure (or OUT/report.json). *path gets what to open. Without
// gnuplot the page is written with its tables only, and the result is the environment failure "gnuplot-missing".
bool ts_report_write(ts_db *db, const ts_report_opts *o, ts_text *path, ts_diag *d) TS_WARN_UNUSED;

#endif

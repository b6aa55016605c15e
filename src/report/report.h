// report: from the store to one static page of figures and tables.
//
// A report is a folder: about.txt (title, caption, text), query.sql (rows) and, when it has a figure, plot.gp
// (gnuplot). Adding a report is adding a folder; docs/store.md describes the files. Equal stores give equal bytes.
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
// Writes OUT/index.html, and beside it a .tsv and an .svg for each figure (or OUT/report.json). *path gets what to
// open. Without gnuplot the page is written with its tables only, and the result is the environment failure
// "gnuplot-missing". Until all files are whole none is in its place; a failure, or Ctrl-C ("interrupted"), leaves the folder as it was.
bool ts_report_write(ts_db *db, const ts_report_opts *o, ts_text *path, ts_diag *d) TS_WARN_UNUSED;

// --- comparing (compare.c) --------------------------------------------------------------------------------------
typedef enum ts_change {
  TS_CHANGE_SAME,
  TS_CHANGE_FASTER,
  TS_CHANGE_SLOWER,
  TS_CHANGE_UNCLEAR,
  TS_CHANGE_MISSING,
  TS_CHANGE__COUNT
} ts_change;
const char *ts_change_name(ts_change c);  // "same" "faster" "slower" "unclear" "missing"
typedef struct ts_compared {
  const char *what, *unit;
  double a, b;           // medians in `unit`; NAN where there is none
  double ratio, lo, hi;  // time of b / time of a, with its 95 % interval; NAN when missing
  size_t na, nb;         // samples
  ts_change change;      // of b against a
} ts_compared;
// Everything that A or B knows a time of, matched by identity: the winner of each workload and target, and the newest
// run of each benchmark series, on the same device. A revision (NULL: any) leaves only its runs. Slower: the whole
// interval of the ratio lies above 1 + gate; faster: below 1 - gate; same: within; else unclear. The interval is a
// bootstrap of both medians with a fixed seed; below 8 samples it is all that the extremes allow; below 3 there is
// none.
bool ts_report_compare(ts_db *a, const char *revision_a, ts_db *b, const char *revision_b, double gate, ts_arena *arena,
                       ts_compared **out, size_t *n, ts_diag *d) TS_WARN_UNUSED;
// 1: something is slower; 2: nothing is, but something is unclear, missing, or there is nothing at all; 0: all same or
// faster.
int ts_compared_exit(const ts_compared *c, size_t n);

#endif

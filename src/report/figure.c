// From rows to figures: splitting, data files, gnuplot, texts with values in them.
#include <math.h>

#include "report/report_impl.h"

enum { GNUPLOT_SECONDS = 60, LONGEST_LABEL = 70 };

int ts__column(const ts__report *r, const char *name) {
  for (int c = 0; *name && c < r->rows.ncols; c++)
    if (strcmp(r->rows.cols[c], name) == 0) return c;
  return -1;
}

const ts_db_cell *ts__cell(const ts__report *r, size_t row, int col) {
  return &r->rows.cells[row * (size_t)r->rows.ncols + (size_t)col];
}

bool ts__is_shown(const ts__report *r, int col) {
  return r->rows.cols[col][0] != '_' && strcmp(r->rows.cols[col], r->split) != 0;
}

// Four significant digits for reals, in full below a million.
void ts__add_cell(ts_text *out, const ts_db_cell *c) {
  switch (c->type) {
    case TS_DB_NULL:
      return;
    case TS_DB_INT:
      ts_text_addf(out, "%lld", (long long)c->i);
      return;
    case TS_DB_REAL:
      ts_text_addf(out, fabs(c->r) >= 1000 && fabs(c->r) < 1e6 ? "%.0f" : "%.4g", c->r);
      return;
    case TS_DB_TEXT:
      ts_text_add(out, c->text);
      return;
    case TS_DB_BLOB:
      ts_text_addf(out, "%zu bytes", c->blob.n);
      return;
  }
}

void ts__fill_in(ts_text *out, const ts__figure *f, const char *text) {
  for (const char *s = text; *s; s++) {
    const char *end = *s == '{' ? strchr(s, '}') : NULL;
    if (!end) {
      ts_text_addn(out, s, 1);
      continue;
    }
    char name[64];
    snprintf(name, sizeof name, "%.*s", (int)TS_MIN(end - s - 1, 63), s + 1);
    int col = ts__column(f->report, name);
    if (strcmp(name, "rows") == 0)
      ts_text_addf(out, "%zu", f->nrows);
    else if (col >= 0 && f->nrows)
      ts__add_cell(out, ts__cell(f->report, f->first, col));
    else
      ts_text_addf(out, "{%s}", name);
    s = end;
  }
}

static const char *text_at(const ts__report *r, size_t row, int col) {
  const char *t = col < 0 ? "" : ts__cell(r, row, col)->text;
  return t ? t : "";
}

// One figure for each run of equal values in the split column; *left_out counts those beyond the limit.
size_t ts__figures(ts__page *p, const ts__report *r, ts__figure **out, size_t *left_out) {
  TS_VEC(ts__figure) v = {0};
  int split = ts__column(r, r->split);
  *left_out = 0;
  for (size_t row = 0; row < r->rows.nrows;) {
    size_t first = row;
    const char *key = text_at(r, first, split);
    while (row < r->rows.nrows && strcmp(text_at(r, row, split), key) == 0) row++;
    if ((int64_t)v.n >= r->limit) {
      ++*left_out;
      continue;
    }
    const char *id = split < 0 ? r->name : ts_arena_printf(p->arena, "%s-%zu", r->name, v.n + 1);
    ts_vec_push(p->arena, &v, ((ts__figure){.report = r, .key = key, .id = id, .first = first, .nrows = row - first}));
  }
  *out = v.p;
  return v.n;
}

// --- data
// ---------------------------------------------------------------------------------------------------------------

// A value as gnuplot reads it: no tabs, no line ends, no quotes; NaN when absent.
static void add_data_cell(ts_text *out, const ts_db_cell *c) {
  if (c->type == TS_DB_REAL) {
    ts_text_add_double(out, c->r);
    return;
  }
  if (c->type == TS_DB_NULL) {
    ts_text_add(out, "NaN");
    return;
  }
  size_t from = out->n;
  ts__add_cell(out, c);
  for (size_t i = from; i < out->n; i++)
    if ((unsigned char)out->p[i] < 0x20 || out->p[i] == '"') out->p[i] = out->p[i] == '"' ? '\'' : ' ';
}

// Names of columns; the series column is called by the block's value, so that a plot can say `title columnheader(1)`.
static void add_data_head(ts_text *out, const ts__figure *f, size_t row, int series) {
  const ts__report *r = f->report;
  bool first = true;
  for (int c = 0; c < r->rows.ncols; c++) {
    if (strcmp(r->rows.cols[c], r->split) == 0) continue;
    if (!first) ts_text_add(out, "\t");
    first = false;
    if (c == series)
      add_data_cell(out, ts__cell(r, row, c));
    else
      ts_text_add(out, r->rows.cols[c]);
  }
  ts_text_add(out, "\n");
}

// Tab-separated rows; blocks of one series are two empty lines apart. Returns the number of blocks.
static int add_data(ts_text *out, const ts__figure *f) {
  const ts__report *r = f->report;
  int series = ts__column(r, r->series), split = ts__column(r, r->split), blocks = 0;
  for (size_t row = f->first; row < f->first + f->nrows; row++) {
    bool begins = row == f->first || (series >= 0 && strcmp(text_at(r, row, series), text_at(r, row - 1, series)) != 0);
    if (begins && blocks++) ts_text_add(out, "\n\n");
    if (begins) add_data_head(out, f, row, series);
    for (int c = 0, at = 0; c < r->rows.ncols; c++) {
      if (c == split) continue;
      if (at++) ts_text_add(out, "\t");
      add_data_cell(out, ts__cell(r, row, c));
    }
    ts_text_add(out, "\n");
  }
  return blocks;
}

// --- gnuplot
// ----------------------------------------------------------------------------------------------------------------

static size_t longest_label(const ts__figure *f) {
  int col = 0;
  while (col < f->report->rows.ncols && !ts__is_shown(f->report, col)) col++;
  size_t longest = 0;
  for (size_t row = f->first; row < f->first + f->nrows && col < f->report->rows.ncols; row++)
    longest = TS_MAX(longest, strlen(text_at(f->report, row, col)));
  return TS_MIN(longest, LONGEST_LABEL);
}

// name='value'; in single quotes only the quote itself means something, and line ends are not allowed.
static void add_variable(ts_text *out, const char *name, const char *value) {
  ts_text_addf(out, "%s='", name);
  for (; *value; value++) ts_text_add(out, *value == '\'' ? "''" : (char[]){*value == '\n' ? ' ' : *value, 0});
  ts_text_add(out, "'; ");
}

static bool going(ts_diag *d) { return !ts_interrupted() || ts_env_fail(d, "interrupted", "interrupted"); }

static bool run_gnuplot(ts__page *p, const ts__figure *f, const char *data, const char *svg, int blocks, ts_diag *d) {
  ts_text vars = {0}, said = {0};
  add_variable(&vars, "data", data);
  add_variable(&vars, "out", svg);
  add_variable(&vars, "style", ts_path_join(p->arena, p->o->dir, "style.gp"));
  ts_text_addf(&vars, "rows=%zu; blocks=%d; labelchars=%zu", f->nrows, blocks, longest_label(f));
  const char *argv[] = {"gnuplot", "-d", "-e", ts_text_str(&vars), f->report->plot, NULL};
  ts_proc_result r;
  bool ok = ts_proc_run_interruptible(argv, GNUPLOT_SECONDS, &said, &r, d) && going(d);
  if (ok && r.exit_code == 127) ok = ts_env_fail(d, "command-not-found", "gnuplot: not found");
  if (ok && (r.exit_code != 0 || r.timed_out)) {
    const char *words = ts_text_str(&said) + strspn(ts_text_str(&said), " \n^");
    ok = ts_env_fail(d, "gnuplot-failed", "%s: gnuplot %s: %.*s", f->report->plot,
                     r.timed_out ? "ran too long" : "failed", (int)strcspn(words, "\n"), words);
  }
  ts_text_free(&vars);
  ts_text_free(&said);
  return ok;
}

// gnuplot does not say what kept it from writing, and ends well at times when something did: `path` is written in its stead, to see what the system says.
static bool disk_takes(const char *path, ts_diag *d) {
  static const char some[64 << 10];
  return ts_file_write(path, some, sizeof some, d);
}

// The figure's SVG, as gnuplot draws it from `data`, in the file `svg` and in f->svg.
static bool draw(ts__page *p, ts__figure *f, const char *data, const char *svg, int blocks, ts_diag *d) {
  char *text;
  size_t n;
  TS_TRY(run_gnuplot(p, f, data, svg, blocks, d));
  if (!ts_file_read(svg, p->arena, &text, &n, NULL)) return ts_env_fail(d, "gnuplot-failed", "%s: gnuplot wrote no SVG", f->report->plot);
  ts_text desc = {0};
  ts__fill_in(&desc, f, f->report->caption);
  f->svg = ts__svg_accessible(p->arena, text, f->id, *f->key ? f->key : f->report->title, ts_text_str(&desc));
  ts_text_free(&desc);
  if (!f->svg) return ts_env_fail(d, "gnuplot-failed", "%s: gnuplot wrote no SVG", f->report->plot);
  return ts_file_write(svg, f->svg, strlen(f->svg), d);
}

// Writes the figure's data, and its SVG when there is a plot and a gnuplot. A missing gnuplot is noted in the page, not
// a failure.
bool ts__figure_draw(ts__page *p, ts__figure *f, ts_diag *d) {
  ts_arena *a = p->arena;
  const char *data = ts_path_join(a, p->dir, ts_arena_printf(a, "%s.tsv", f->id));
  const char *svg = ts_path_join(a, p->dir, ts_arena_printf(a, "%s.svg", f->id));
  ts_text rows = {0};
  TS_TRY(going(d));
  int blocks = add_data(&rows, f);
  bool ok = ts_file_write(data, ts_text_str(&rows), rows.n, d);
  ts_text_free(&rows);
  if (!ok || !f->report->plot || p->no_gnuplot) return ok;
  ts_diag why = {0};
  if (draw(p, f, data, svg, blocks, &why)) return true;
  p->no_gnuplot = strcmp(why.code, "command-not-found") == 0;
  if (p->no_gnuplot) return true;
  if (strcmp(why.code, "gnuplot-failed") == 0) TS_TRY(disk_takes(svg, d));
  return ts_env_fail(d, why.code, "%s", why.message);
}

// tunesmith compare: one store against another, with exit codes for scripts.
#include <math.h>
#include <stdlib.h>

#include "cli/cli.h"
#include "report/report.h"

typedef struct side {
  ts_db *db;
  const char *revision;  // NULL: any
} side;

// FILE or FILE@REVISION; a file whose own name holds an @ is taken as it is.
static bool open_side(ts_arena *a, const char *arg, side *s, ts_diag *d) {
  const char *at = ts_file_exists(arg) ? NULL : strrchr(arg, '@');
  const char *path = at ? ts_arena_strndup(a, arg, (size_t)(at - arg)) : arg;
  s->revision = at ? at + 1 : NULL;
  return (s->db = ts_db_open(path, TS_DB_READ, d)) != NULL;
}

static const char *number(ts_arena *a, double v) { return isfinite(v) ? ts_arena_printf(a, "%.6g", v) : ""; }

static void print_json(const ts_compared *c, size_t n, ts_arena *a) {
  for (size_t i = 0; i < n; i++, c++) {
    ts_text t = {0};
    ts_text_add(&t, "{\"what\":");
    ts_text_add_json(&t, c->what);
    ts_text_addf(&t, ",\"unit\":\"%s\",\"change\":\"%s\",\"na\":%zu,\"nb\":%zu", c->unit, ts_change_name(c->change),
                 c->na, c->nb);
    const struct {
      const char *name;
      double v;
    } values[] = {{"a", c->a}, {"b", c->b}, {"ratio", c->ratio}, {"lo", c->lo}, {"hi", c->hi}};
    for (size_t k = 0; k < TS_COUNTOF(values); k++)
      ts_text_addf(&t, ",\"%s\":%s", values[k].name, isfinite(values[k].v) ? number(a, values[k].v) : "null");
    printf("%s}\n", ts_text_str(&t));
    ts_text_free(&t);
  }
}

static void print_csv(const ts_compared *c, size_t n, ts_arena *a) {
  puts("what,unit,a,b,ratio,lo,hi,na,nb,change");
  for (size_t i = 0; i < n; i++, c++) {
    ts_text what = {0};
    ts_text_add_csv(&what, c->what);
    printf("%s,%s,%s,%s,%s,%s,%s,%zu,%zu,%s\n", ts_text_str(&what), c->unit, number(a, c->a), number(a, c->b),
           number(a, c->ratio), number(a, c->lo), number(a, c->hi), c->na, c->nb, ts_change_name(c->change));
    ts_text_free(&what);
  }
}

static void print_md(const ts_compared *c, size_t n, ts_arena *a) {
  int seen[TS_CHANGE__COUNT] = {0};
  puts("| what | unit | A | B | time B/A | 95 % | change |\n|---|---|---:|---:|---:|---|---|");
  for (size_t i = 0; i < n; i++) {
    seen[c[i].change]++;
    const char *range = isfinite(c[i].lo) ? ts_arena_printf(a, "%.3f-%.3f", c[i].lo, c[i].hi) : "";
    printf("| %s | %s | %s | %s | %s | %s | %s |\n", c[i].what, c[i].unit, number(a, c[i].a), number(a, c[i].b),
           isfinite(c[i].ratio) ? ts_arena_printf(a, "%.3f", c[i].ratio) : "", range, ts_change_name(c[i].change));
  }
  printf("\n%zu compared:", n);
  for (int k = 0; k < TS_CHANGE__COUNT; k++) printf("%s %d %s", k ? "," : "", seen[k], ts_change_name((ts_change)k));
  puts("");
}

static bool run(char **args, double gate, const char *format, int *code, ts_diag *d) {
  ts_arena *a = ts_arena_new("compare");
  side A = {0}, B = {0};
  ts_compared *c;
  size_t n;
  bool ok = open_side(a, args[0], &A, d) && open_side(a, args[1], &B, d) &&
            ts_report_compare(A.db, A.revision, B.db, B.revision, gate, a, &c, &n, d);
  if (ok) {
    if (!strcmp(format, "json"))
      print_json(c, n, a);
    else if (!strcmp(format, "csv"))
      print_csv(c, n, a);
    else
      print_md(c, n, a);
    *code = ts_compared_exit(c, n);
  }
  ts_db_close(A.db);
  ts_db_close(B.db);
  ts_arena_free(a);
  return ok;
}

int ts_cmd_compare(int argc, char **argv) {
  double percent = 2;
  const char *format = "md";
  const ts_opt opts[] = {
      {"gate", TS_OPT_REAL, &percent, "PERCENT", "changes within this are the same (2)"},
      {"format", TS_OPT_TEXT, &format, "md|csv|json", "a table (md, csv) or a JSON line each"},
  };
  const ts_cli c = {
      .command = "compare",
      .usage = "A B [options]",
      .about =
          "Compares what store B says of the same work with what store A says: the winner of each workload and the "
          "newest\n"
          "run of each benchmark. FILE@REVISION takes only that revision's benchmark runs.\n"
          "Exit code 0: all the same or faster; 1: something is slower; 2: nothing is slower, but something is unclear "
          "or\n"
          "missing; 3 and more: the comparison failed.",
      .opts = opts,
      .nopts = TS_COUNTOF(opts),
      .min_args = 2,
      .max_args = 2,
  };
  char **args;
  int nargs, code = ts_cli_parse(&c, argc, argv, &args, &nargs);
  if (code >= 0) return code ? 64 : 0;
  ts_diag d = {0};
  bool known = !strcmp(format, "md") || !strcmp(format, "csv") || !strcmp(format, "json");
  if (!known)
    ts_refuse(&d, "usage", "compare: format '%s' is not md, csv or json", format);
  else if (!(percent >= 0 && percent < 100))
    known = ts_refuse(&d, "usage", "compare: a gate of %g percent", percent);
  if (known && run(args, percent / 100, format, &code, &d)) return code;
  code = ts_cli_fail(&d);
  return code == 2 ? 64 : code;  // 2 has its own meaning here
}

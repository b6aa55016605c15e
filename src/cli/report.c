// tunesmith report: a page of figures and tables from the store.
#include "report/report.h"

#include "cli/cli.h"

int ts_cmd_report(int argc, char **argv) {
  ts_report_opts o = {.store = "tunesmith.db", .out = "report"};
  const char *format = "html";
  const ts_opt opts[] = {
      {"store", TS_OPT_TEXT, &o.store, "FILE", "the store (tunesmith.db)"},
      {"out", TS_OPT_TEXT, &o.out, "DIR", "folder to write to (report)"},
      {"only", TS_OPT_TEXT, &o.only, "NAME", "one report: a folder in reports/"},
      {"reports", TS_OPT_TEXT, &o.dir, "DIR", "folder of reports, instead of the product's"},
      {"format", TS_OPT_TEXT, &format, "html|json", "a page (html) or its rows (json)"},
  };
  const ts_cli c = {
      .command = "report",
      .usage = "[options]",
      .about =
          "Writes one static page with figures, tables and the commands that reproduce them. It works from a file.",
      .opts = opts,
      .nopts = TS_COUNTOF(opts),
  };
  char **args;
  int nargs, code = ts_cli_parse(&c, argc, argv, &args, &nargs);
  if (code >= 0) return code;
  o.json = strcmp(format, "json") == 0;
  ts_diag d = {0};
  if (!o.json && strcmp(format, "html") != 0) {
    ts_refuse(&d, "usage", "report: format '%s' is not html or json", format);
    return ts_cli_fail(&d);
  }
  ts_db *db = ts_db_open(o.store, TS_DB_READ, &d);
  if (!db) return ts_cli_fail(&d);
  if (ts_db_note(db)) ts_say("note: %s", ts_db_note(db));
  ts_text path = {0};
  bool ok = ts_report_write(db, &o, &path, &d);
  if (ok) printf("%s\n", ts_text_str(&path));
  ts_text_free(&path);
  ts_db_close(db);
  return ok ? 0 : ts_cli_fail(&d);
}

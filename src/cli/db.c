// tunesmith db: look into a store, check it, bring stores together.
#include "db/db.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"

typedef struct db_opts {
  const char *store, *format, *table, *out;
  bool migrate;
} db_opts;
typedef struct db_action {
  const char *name, *args;
  int nargs;  // after the name
  const char *formats;  // "tsv, csv or jsonl": the first is the default
  ts_db_mode mode;
  bool (*run)(ts_db *db, const db_opts *o, char **args, ts_diag *d);
} db_action;

static void print_text(const char *text, const char *format, ts_text *t) {
  if (!strcmp(format, "jsonl")) ts_text_add_json(t, text);
  else if (!strcmp(format, "csv")) ts_text_add_csv(t, text);
  else
    for (; *text; text++) ts_text_addn(t, (unsigned char)*text < 0x20 ? " " : text, 1);
}

static void print_cell(const ts_db_cell *c, const char *format, ts_text *t) {
  bool json = !strcmp(format, "jsonl");
  switch (c->type) {
    case TS_DB_NULL: ts_text_add(t, json ? "null" : ""); return;
    case TS_DB_INT: ts_text_addf(t, "%" PRId64, c->i); return;
    case TS_DB_REAL:
      if (json && !isfinite(c->r)) ts_text_add(t, "null");
      else ts_text_add_double(t, c->r);
      return;
    case TS_DB_BLOB:
      if (json) ts_text_add(t, "\"");
      for (size_t i = 0; i < c->blob.n; i++) ts_text_addf(t, "%02x", ((const uint8_t *)c->blob.p)[i]);
      if (json) ts_text_add(t, "\"");
      return;
    case TS_DB_TEXT: print_text(c->text, format, t); return;
  }
}

static void print_table(const ts_db_table *t, const char *format, FILE *out) {
  bool json = !strcmp(format, "jsonl");
  const char *gap = !strcmp(format, "csv") || json ? "," : "\t";
  ts_text head = {0};
  for (int c = 0; !json && c < t->ncols; c++) {
    if (c) ts_text_add(&head, gap);
    print_text(t->cols[c], format, &head);
  }
  if (!json) fprintf(out, "%s\n", ts_text_str(&head));
  ts_text_free(&head);
  for (size_t r = 0; r < t->nrows; r++) {
    ts_text line = {0};
    for (int c = 0; c < t->ncols; c++) {
      if (c) ts_text_add(&line, gap);
      if (json) {
        if (!c) ts_text_add(&line, "{");
        print_text(t->cols[c], format, &line);
        ts_text_add(&line, ":");
      }
      print_cell(&t->cells[r * (size_t)t->ncols + (size_t)c], format, &line);
    }
    fprintf(out, "%s%s\n", ts_text_str(&line), json ? "}" : "");
    ts_text_free(&line);
  }
}

static bool run_query(ts_db *db, const db_opts *o, char **args, ts_diag *d) {
  ts_arena *a = ts_arena_new("query");
  ts_db_table t;
  bool ok = ts_db_query(db, args[0], NULL, 0, a, &t, d);
  if (ok) print_table(&t, o->format, stdout);
  ts_arena_free(a);
  return ok;
}

static void print_info(ts_db *db, const ts_db_table *t) {
  printf("%-20s %s\n%-20s %d\n", "store", ts_db_path(db), "version", ts_db_version(db));
  for (size_t r = 0; r < t->nrows; r++) {
    const ts_db_cell *v = &t->cells[2 * r + 1];
    if (v->type == TS_DB_TEXT) printf("%-20s %s\n", t->cells[2 * r].text, v->text);
    else printf("%-20s %" PRId64 "\n", t->cells[2 * r].text, v->i);
  }
}

static void print_info_json(ts_db *db, const ts_db_table *t) {
  ts_text line = {0};
  ts__json_pair(&line, "{", "store", ts_db_path(db));
  ts_text_addf(&line, ", \"version\": %d", ts_db_version(db));
  for (size_t r = 0; r < t->nrows; r++) {
    ts_text_add(&line, ", ");
    print_text(t->cells[2 * r].text, "jsonl", &line);
    ts_text_add(&line, ": ");
    print_cell(&t->cells[2 * r + 1], "jsonl", &line);
  }
  printf("%s}\n", ts_text_str(&line));
  ts_text_free(&line);
}

static bool run_info(ts_db *db, const db_opts *o, char **args, ts_diag *d) {
  (void)args;
  static const char sql[] =
      "SELECT 'uid' AS what, value FROM store WHERE key='uid' UNION ALL SELECT 'created', value FROM store WHERE "
      "key='created' "
#define X(T) "UNION ALL SELECT '" #T "' || iif('" #T "' = 'series', '', 's'), count(*) FROM " #T " "
      TS_DB_ROWS(X)
#undef X
          "UNION ALL SELECT 'winners', count(*) FROM winner "
          "UNION ALL SELECT 'unfinished sessions', count(*) FROM session WHERE ended_utc IS NULL";
  ts_arena *a = ts_arena_new("info");
  ts_db_table t;
  bool ok = ts_db_query(db, sql, NULL, 0, a, &t, d);
  if (ok) (!strcmp(o->format, "json") ? print_info_json : print_info)(db, &t);
  ts_arena_free(a);
  return ok;
}

static bool run_merge(ts_db *db, const db_opts *o, char **args, ts_diag *d) {
  (void)o;
  ts_db_merged m;
  TS_TRY(ts_db_merge(db, args[0], &m, d));
  printf("%" PRId64 " rows added, %" PRId64 " already known\n", m.added, m.known);
  return true;
}

static bool run_export(ts_db *db, const db_opts *o, char **args, ts_diag *d) {
  (void)args;
  const char *name = o->out ? o->out : "standard output";
  FILE *out = o->out ? fopen(o->out, "w") : stdout;
  if (!out) return ts_env_fail(d, "write-failed", "%s: %s", o->out, strerror(errno));
  bool ok = ts_db_export(db, o->table, !strcmp(o->format, "csv") ? TS_DB_CSV : TS_DB_JSONL, out, name, d);
  if (!o->out) return ok;
  if (fclose(out) != 0 && ok) ok = ts_env_fail(d, "write-failed", "%s: %s", o->out, strerror(errno));
  struct stat st;
  if (!ok && stat(o->out, &st) == 0 && S_ISREG(st.st_mode)) unlink(o->out);  // half an export would pass for a whole one
  return ok;
}

static bool run_samples(ts_db *db, const db_opts *o, char **args, ts_diag *d) {
  (void)o;
  ts_arena *a = ts_arena_new("samples");
  char *end;
  ts_id id = strtoll(args[0], &end, 10);
  ts_db_measurement m;
  uint64_t *v, *flags = NULL;
  size_t n, nf = 0;
  bool ok = (*args[0] && !*end) || ts_refuse(d, "usage", "db samples: '%s' is not a measurement's id", args[0]);
  ok = ok && ts_db_get_measurement(db, id, a, &m, d) && ts_samples_decode(a, m.samples, (size_t)m.n, &v, &n, d);
  if (ok && m.flags.p) ok = ts_samples_decode(a, m.flags, n, &flags, &nf, d);
  if (ok) printf("# %s of build %" PRId64 ", %s, rung %" PRId64 ", %s\n", m.metric, m.build_id, m.unit, m.rung, m.utc);
  for (size_t i = 0; ok && i < n; i++) printf("%" PRIu64 "%s\n", v[i], flags && flags[i] ? " flagged" : "");
  ts_arena_free(a);
  return ok;
}

static bool run_check(ts_db *db, const db_opts *o, char **args, ts_diag *d) {
  (void)o, (void)args;
  ts_text report = {0};
  bool ok = ts_db_check(db, &report, d);
  if (report.n)
    fputs(report.p, stdout);
  else if (ok)
    puts("ok");
  ts_text_free(&report);
  return ok;
}

static bool run_vacuum(ts_db *db, const db_opts *o, char **args, ts_diag *d) {
  (void)o, (void)args;
  return ts_db_vacuum(db, d);
}

static const db_action actions[] = {
    {"info", "", 0, "table or json", TS_DB_READ, run_info},      {"query", "SQL", 1, "tsv, csv or jsonl", TS_DB_READ, run_query},
    {"merge", "FILE", 1, "", TS_DB_CREATE, run_merge},           {"export", "", 0, "jsonl or csv", TS_DB_READ, run_export},
    {"samples", "ID", 1, "", TS_DB_READ, run_samples},           {"check", "", 0, "", TS_DB_READ, run_check},
    {"vacuum", "", 0, "", TS_DB_WRITE, run_vacuum},
};

// Whether a word is one of "tsv, csv or jsonl".
static bool one_of(const char *word, const char *list) {
  size_t n = strlen(word);
  for (const char *p = list; *p; p += strcspn(p, ", "), p += strspn(p, ", "))
    if (strcspn(p, ", ") == n && !strncmp(p, word, n) && strcmp(word, "or")) return true;
  return false;
}

// The action's first unless one is named; options that are not the action's are refused.
static bool check_options(const db_action *act, db_opts *o, ts_arena *a, ts_diag *d) {
  bool export = act->run == run_export;
  if (o->format && !*act->formats) return ts_refuse(d, "usage", "db %s: takes no --format", act->name);
  if (o->format && !one_of(o->format, act->formats)) return ts_refuse(d, "usage", "db %s: format '%s' is not %s", act->name, o->format, act->formats);
  if (!export && (o->table || o->out)) return ts_refuse(d, "usage", "db %s: takes no --%s", act->name, o->table ? "table" : "out");
  if (!o->format) o->format = ts_arena_strndup(a, act->formats, strcspn(act->formats, ", "));
  return true;
}

static int run_action(const db_action *act, db_opts *o, char **args) {
  ts_diag d = {0};
  ts_arena *a = ts_arena_new("db");
  ts_db *db = NULL;
  bool ok = check_options(act, o, a, &d) && (db = ts_db_open(o->store, o->migrate && act->mode == TS_DB_READ ? TS_DB_WRITE : act->mode, &d)) != NULL;
  if (ok && ts_db_note(db)) ts_say("note: %s", ts_db_note(db));
  ok = ok && act->run(db, o, args, &d);
  ts_db_close(db);
  ts_arena_free(a);
  return ok ? 0 : ts_cli_fail(&d);
}

int ts_cmd_db(int argc, char **argv) {
  db_opts o = {.store = "tunesmith.db"};
  const ts_opt opts[] = {
      {"store", TS_OPT_TEXT, &o.store, "FILE", "the store (tunesmith.db)"},
      {"format", TS_OPT_TEXT, &o.format, "F", "info: table or json; query: tsv, csv or jsonl; export: jsonl or csv (the first of them)"},
      {"table", TS_OPT_TEXT, &o.table, "NAME", "export: only this table"},
      {"out", TS_OPT_TEXT, &o.out, "FILE", "export: to this file"},
      {"migrate", TS_OPT_FLAG, &o.migrate, NULL, "bring an older store up to date first"},
  };
  const ts_cli c = {
      .command = "db",
      .usage = "ACTION [options]",
      .about =
          "Looks into a store and brings stores together. Actions:\n"
          "  info            what the store holds\n"
          "  query SQL       run one reading statement; samples_json(samples) unpacks samples\n"
          "  merge FILE      add the rows of another store that this one lacks\n"
          "  export          rows as JSON lines or CSV\n"
          "  samples ID      the raw samples of a measurement\n"
          "  check           SQLite's integrity, references, identities, samples\n"
          "  vacuum          give unused space back",
      .opts = opts,
      .nopts = TS_COUNTOF(opts),
      .min_args = 1,
      .max_args = 2,
  };
  char **args;
  int nargs, code = ts_cli_parse(&c, argc, argv, &args, &nargs);
  if (code >= 0) return code;
  for (size_t i = 0; i < TS_COUNTOF(actions); i++) {
    if (strcmp(actions[i].name, args[0]) != 0) continue;
    if (nargs - 1 == actions[i].nargs) return run_action(&actions[i], &o, args + 1);
    fprintf(stderr, "error: db %s: wants %s  [usage]\n  hint: tunesmith db --help\n", args[0], actions[i].nargs ? actions[i].args : "no argument");
    return 2;
  }
  fprintf(stderr, "error: db: no action '%s'  [usage]\n  hint: tunesmith db --help\n", args[0]);
  return 2;
}

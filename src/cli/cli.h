// cli: one file per command, one row in commands.def.
#ifndef TS_CLI_H
#define TS_CLI_H

#include "base/base.h"
#include "target/target.h"

#define CMD(name, help) int ts_cmd_##name(int argc, char **argv);
#include "cli/commands.def"
#undef CMD

// --- options: one table per command describes, parses and documents them ---------------------------------------
typedef enum ts_opt_kind { TS_OPT_FLAG, TS_OPT_INT, TS_OPT_COUNT, TS_OPT_REAL, TS_OPT_TEXT, TS_OPT_TIME, TS_OPT_LIST } ts_opt_kind;
// COUNT is an integer of 0 or more, REAL is finite; TIME is seconds as a double; "90", "90s", "5m", "1h" are accepted. `to` points at
// bool, int64_t, int64_t, double, const char *, double.
// LIST is a text that may be given several times; `to` points at a ts_opt_list.
typedef struct ts_opt_list {
  int n;
  const char *v[32];
} ts_opt_list;
typedef struct ts_opt {
  const char *name;  // "budget" for --budget; a one-letter name is -x
  ts_opt_kind kind;
  void *to;
  const char *value;  // what the value is called in the help, NULL for flags
  const char *help;
} ts_opt;
typedef struct ts_cli {
  const char *command, *usage;  // "tune", "--model PATH --quantization Q [options]"
  const char *about;            // one or more lines
  const ts_opt *opts;
  int nopts;
  int min_args, max_args;       // positional arguments; max -1: any number
} ts_cli;
// Parses argv (argv[0] is the command). Positional arguments move to the front: *args. Returns -1 to go on, else the exit code
// (0 after --help, 2 after a complaint on stderr).
int ts_cli_parse(const ts_cli *c, int argc, char **argv, char ***args, int *nargs);
// "tunesmith ARG ..." as a shell takes it: what records say they were made by.
void ts_cli_command(ts_text *out, int argc, char **argv);
// Prints the diagnostic and gives its exit code; 130 when a signal asked for the end.
int ts_cli_fail(const ts_diag *d);

// For a GPU: a note on stderr about what this machine lacks for compiling, which is no failure and costs speed, and how to get it.
void ts_cli_note_gpu(const ts_target *t);

// --format: table or json; refuses ("usage") anything else.
bool ts_cli_json(const char *format, bool *json, ts_diag *d) TS_WARN_UNUSED;
// --threads, a COUNT: refuses ("bad-option") more than 1024.
bool ts_cli_threads(int64_t n, ts_diag *d) TS_WARN_UNUSED;
// s as a JSON string behind `before` and a key.
void ts__json_pair(ts_text *out, const char *before, const char *key, const char *s);

#endif

// Option parsing and help from one table.
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "cli/cli.h"
#include "cuda/cuda.h"

static void help(const ts_cli *c) {
  printf("usage: tunesmith %s %s\n\n%s\n\noptions:\n", c->command, c->usage, c->about);
  for (int i = 0; i < c->nopts; i++) {
    const ts_opt *o = &c->opts[i];
    char left[64];
    snprintf(left, sizeof left, "%s%s%s%s", o->name[1] ? "--" : "-", o->name, o->value ? " " : "", o->value ? o->value : "");
    printf("  %-28s %s\n", left, o->help);
  }
  printf("  %-28s %s\n", "--help", "this text");
}

static bool whole(const char *end) { return *end == 0; }

static bool read_time(const char *s, double *out) {
  char *end;
  *out = strtod(s, &end);
  double unit = *end == 'h' ? 3600 : *end == 'm' ? 60 : 1;
  if (*end == 'h' || *end == 'm' || *end == 's') end++;
  *out *= unit;
  return end != s && whole(end) && *out >= 0 && isfinite(*out);
}

static bool list_add(ts_opt_list *l, const char *v) {
  if (l->n == (int)TS_COUNTOF(l->v)) return false;
  l->v[l->n++] = v;
  return true;
}

static bool set(const ts_opt *o, const char *v) {
  char *end;
  errno = 0;
  switch (o->kind) {
    case TS_OPT_FLAG: *(bool *)o->to = true; return true;
    case TS_OPT_INT:
    case TS_OPT_COUNT: *(int64_t *)o->to = strtoll(v, &end, 10); return *v && whole(end) && !errno && (o->kind == TS_OPT_INT || *(int64_t *)o->to >= 0);
    case TS_OPT_REAL: *(double *)o->to = strtod(v, &end); return *v && whole(end) && !errno && isfinite(*(double *)o->to);
    case TS_OPT_TEXT: *(const char **)o->to = v; return true;
    case TS_OPT_TIME: return read_time(v, o->to);
    case TS_OPT_LIST: return list_add(o->to, v);
  }
  return false;
}

static const ts_opt *find(const ts_cli *c, const char *arg, const char **value) {
  size_t dashes = arg[1] == '-' ? 2 : 1;
  const char *name = arg + dashes, *eq = strchr(name, '=');
  size_t n = eq ? (size_t)(eq - name) : strlen(name);
  *value = eq ? eq + 1 : NULL;
  for (int i = 0; i < c->nopts; i++)
    if (strlen(c->opts[i].name) == n && memcmp(c->opts[i].name, name, n) == 0 && (n == 1) == (dashes == 1)) return &c->opts[i];
  return NULL;
}

static int complain(const ts_cli *c, const char *what, const char *arg) {
  fprintf(stderr, "error: %s: %s '%s'  [usage]\n  hint: tunesmith %s --help\n", c->command, what, arg, c->command);
  return 2;
}

// What a value must be, for a hint.
static const char *wanted(ts_opt_kind k) {
  switch (k) {
    case TS_OPT_INT: return "an integer; ";
    case TS_OPT_COUNT: return "an integer of 0 or more; ";
    case TS_OPT_REAL: return "a number; ";
    case TS_OPT_TIME: return "seconds, or a number with a unit: 90s, 5m, 1h; ";
    case TS_OPT_LIST: return "32 of them at most; ";
    case TS_OPT_FLAG:
    case TS_OPT_TEXT: break;
  }
  return "";
}

int ts_cli_parse(const ts_cli *c, int argc, char **argv, char ***args, int *nargs) {
  int kept = 0;
  bool rest = false;
  for (int i = 1; i < argc; i++) {
    char *arg = argv[i];
    if (!rest && !strcmp(arg, "--")) {
      rest = true;
      continue;
    }
    if (rest || arg[0] != '-' || !arg[1]) {
      argv[1 + kept++] = arg;
      continue;
    }
    if (!strcmp(arg, "--help") || !strcmp(arg, "-h")) return help(c), 0;
    const char *value;
    const ts_opt *o = find(c, arg, &value);
    if (!o) return complain(c, "no option", arg);
    if (o->kind == TS_OPT_FLAG && value) return complain(c, "takes no value:", arg);
    if (o->kind != TS_OPT_FLAG && !value) {
      if (++i >= argc) return complain(c, "wants a value:", arg);
      value = argv[i];
    }
    if (!set(o, value)) {
      fprintf(stderr, "error: %s: '%s' is no value of %s%s %s  [usage]\n  hint: %stunesmith %s --help\n", c->command, value, o->name[1] ? "--" : "-",
              o->name, o->value, wanted(o->kind), c->command);
      return 2;
    }
  }
  if (kept < c->min_args) return complain(c, "missing argument; usage:", c->usage);
  if (c->max_args >= 0 && kept > c->max_args) return complain(c, "unexpected argument", argv[1 + c->max_args]);
  *args = argv + 1;
  *nargs = kept;
  return -1;
}

// Words as they are, blanks and the like in "", what a shell would still change there in ''.
static void add_word(ts_text *out, const char *s) {
  bool plain = *s && !strpbrk(s, " \t\n*?[]{}()<>|&;#~'\"\\$`!"), tame = !strpbrk(s, "\"\\$`!");
  if (plain || tame) {
    ts_text_addf(out, plain ? " %s" : " \"%s\"", s);
    return;
  }
  ts_text_add(out, " '");
  for (; *s; s++) *s == '\'' ? ts_text_add(out, "'\\''") : ts_text_addn(out, s, 1);
  ts_text_add(out, "'");
}

void ts_cli_command(ts_text *out, int argc, char **argv) {
  ts_text_add(out, "tunesmith");
  for (int i = 0; i < argc; i++) add_word(out, argv[i]);
}

int ts_cli_fail(const ts_diag *d) {
  ts_diag_print(stderr, d);
  return ts_interrupted() ? 130 : ts_diag_exit(d);
}

void ts_cli_note_gpu(const ts_target *t) {
  ts_diag d = {0};
  if (t->api != TS_API_CUDA || ts_cuda_nvrtc_open(&d)) return;
  ts_say("note: native templates, the fastest kernels for weights and attention, are left out: %s", d.message);
  if (*d.hint) ts_say("  hint: %s", d.hint);
}

void ts__json_pair(ts_text *out, const char *before, const char *key, const char *s) {
  ts_text_addf(out, "%s\"%s\": ", before, key);
  ts_text_add_json(out, s);
}

bool ts_cli_json(const char *format, bool *json, ts_diag *d) {
  *json = strcmp(format, "json") == 0;
  return *json || strcmp(format, "table") == 0 || ts_refuse(d, "usage", "--format is table or json, not '%s'", format);
}

bool ts_cli_threads(int64_t n, ts_diag *d) {
  return n <= 1024 || ts_refuse(d, "bad-option", "--threads %lld is not 0 to 1024", (long long)n);
}

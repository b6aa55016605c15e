// tunesmith map: which iterators of an operator's blocks can play those of a tensor intrinsic, and the steps that make it so.
#include "cli/schedule.h"

typedef struct map_opts {
  const char *intrin, *block, *format;
  bool quiet;
} map_opts;

static void blocks_find(ts_arena *a, const ts_stmt *s, const char ***names, int *n) {
  switch (s->kind) {
    case TS_S_SEQ:
      for (int i = 0; i < s->seq.n; i++) blocks_find(a, s->seq.child[i], names, n);
      return;
    case TS_S_FOR: blocks_find(a, s->loop.body, names, n); return;
    case TS_S_BLOCK:
      if (s->block->niters) {
        const char **more = ts_new_array(a, const char *, *n + 1);
        for (int i = 0; i < *n; i++) more[i] = (*names)[i];
        more[(*n)++] = s->block->name;
        *names = more;
      }
      blocks_find(a, s->block->body, names, n);
      return;
    default: return;
  }
}

static void joined(ts_text *t, const char *const *s, int n, const char *between) {
  for (int i = 0; i < n; i++) ts_text_addf(t, "%s%s", i ? between : "", s[i]);
}

static int steps_of(const ts_mapping *m) {
  int n = 0;
  for (const char *p = m->trace; *p; p++) n += *p == '\n';
  return n;
}

// --- text ----------------------------------------------------------------------------------------------------------
static void role_text(ts_text *t, const ts_map_role *r) {
  ts_text_addf(t, "%s(%lld) = ", r->name, (long long)r->extent);
  joined(t, r->iters, r->n, " * ");
  ts_text_addf(t, ": %s", r->have);
  if (r->padded) ts_text_addf(t, " -> %s", r->padded);
}

static void mapping_text(const ts_mapping *m, int number, bool quiet) {
  ts_text t = {0};
  ts_text_addf(&t, "%3d ", number);
  for (int r = 0; r < m->nroles; r++) {
    ts_text_add(&t, r ? "  " : " ");
    role_text(&t, &m->role[r]);
  }
  ts_text_add(&t, "  outer: ");
  joined(&t, m->outer, m->nouter, ", ");
  if (!m->nouter) ts_text_add(&t, "none");
  if (m->refusal) ts_text_addf(&t, "\n     refused after %d steps: %s", steps_of(m), m->refusal);
  else ts_text_addf(&t, "\n     applied: %d steps", steps_of(m));
  printf("%s\n", ts_text_str(&t));
  ts_text_free(&t);
  if (quiet) return;
  for (const char *p = m->trace; *p; p = strchr(p, '\n') + 1) printf("       %.*s\n", (int)strcspn(p, "\n"), p);
}

static void block_text(const char *block, const map_opts *o, const ts_mappings *m) {
  if (!m->n) {
    printf("%s on %s: no mapping: %s\n", block, o->intrin, m->why);
    return;
  }
  printf("%s on %s: %d%s mapping%s\n", block, o->intrin, m->n, m->cut ? " (of more)" : "", m->n == 1 ? "" : "s");
  for (int i = 0; i < m->n; i++) {
    bool same = i > 0;
    for (int k = 0; same && k < m->p[i].noperands; k++) same = !strcmp(m->p[i].operand[k], m->p[i - 1].operand[k]);
    if (!same) {
      ts_text t = {0};
      joined(&t, m->p[i].operand, m->p[i].noperands, ", ");
      printf("  operands %s\n", ts_text_str(&t));
      ts_text_free(&t);
    }
    mapping_text(&m->p[i], i + 1, o->quiet);
  }
}

// --- json ----------------------------------------------------------------------------------------------------------
static void strings_json(ts_text *t, const char *const *s, int n) {
  ts_text_add(t, "[");
  for (int i = 0; i < n; i++) {
    if (i) ts_text_add(t, ", ");
    ts_text_add_json(t, s[i]);
  }
  ts_text_add(t, "]");
}

static void maybe_json(ts_text *t, const char *s) {
  if (s) ts_text_add_json(t, s);
  else ts_text_add(t, "null");
}

static void mapping_json(ts_text *t, const ts_mapping *m) {
  ts_text_add(t, "{\"roles\": [");
  for (int r = 0; r < m->nroles; r++) {
    const ts_map_role *x = &m->role[r];
    ts_text_add(t, r ? ", {\"name\": " : "{\"name\": ");
    ts_text_add_json(t, x->name);
    ts_text_addf(t, ", \"kind\": \"%s\", \"extent\": %lld, \"iterators\": ", x->reduce ? "reduce" : "spatial", (long long)x->extent);
    strings_json(t, x->iters, x->n);
    ts_text_add(t, ", \"have\": ");
    ts_text_add_json(t, x->have);
    ts_text_add(t, ", \"padded\": ");
    maybe_json(t, x->padded);
    ts_text_add(t, "}");
  }
  ts_text_add(t, "], \"outer\": ");
  strings_json(t, m->outer, m->nouter);
  ts_text_add(t, ", \"operands\": ");
  strings_json(t, m->operand, m->noperands);
  ts_text_addf(t, ", \"applied\": %s, \"steps\": [", m->refusal ? "false" : "true");
  for (const char *p = m->trace; *p; p = strchr(p, '\n') + 1) {
    char line[2000];
    snprintf(line, sizeof line, "%.*s", (int)strcspn(p, "\n"), p);
    if (p != m->trace) ts_text_add(t, ", ");
    ts_text_add_json(t, line);
  }
  ts_text_add(t, "], \"refusal\": ");
  maybe_json(t, m->refusal);
  ts_text_add(t, "}");
}

static void block_json(ts_text *t, const char *block, const map_opts *o, const ts_mappings *m) {
  ts_text_add(t, "{\"block\": ");
  ts_text_add_json(t, block);
  ts_text_add(t, ", \"intrin\": ");
  ts_text_add_json(t, o->intrin);
  ts_text_addf(t, ", \"cut\": %s, \"why\": ", m->cut ? "true" : "false");
  maybe_json(t, m->why);
  ts_text_add(t, ", \"mappings\": [");
  for (int i = 0; i < m->n; i++) {
    ts_text_add(t, i ? ",\n  " : "\n  ");
    mapping_json(t, &m->p[i]);
  }
  ts_text_add(t, "]}");
}

// --- the command ---------------------------------------------------------------------------------------------------
static bool map(ts_arena *a, const char *what, const ts__work_opts *wo, const map_opts *o, ts_diag *d) {
  ts__work w = {.a = a, .ir = ts_ir_new(a), .o = wo};
  TS_TRY(ts__work_open(&w, what, d));
  const char **names = &(const char *){o->block};
  int n = o->block ? 1 : 0;
  if (!n) blocks_find(a, w.f->body, &names, &n);
  ts_text t = {0};
  bool json = !strcmp(o->format, "json"), ok = true;
  ts_text_add(&t, "[");
  for (int i = 0; i < n && ok; i++) {
    ts_mappings m;
    ok = ts_map_block(w.ir, w.f, names[i], o->intrin, &m, d);
    if (ok && json) {
      if (i) ts_text_add(&t, ",\n");
      block_json(&t, names[i], o, &m);
    }
    if (ok && !json) block_text(names[i], o, &m);
  }
  if (ok && json) printf("%s]\n", ts_text_str(&t));
  ts_text_free(&t);
  return ok;
}

int ts_cmd_map(int argc, char **argv) {
  map_opts o = {.format = "text"};
  ts__work_opts wo = {.variant = "", .target = "cpu", .format = "text"};
  const ts_opt opts[] = {
      {"intrin", TS_OPT_TEXT, &o.intrin, "NAME", "tensor intrinsic, a file of kernels/intrin"},
      {"block", TS_OPT_TEXT, &o.block, "NAME", "only this block (all)"},
      {"variant", TS_OPT_TEXT, &wo.variant, "NAME", "of the operator (default: the reference)"},
      {"quiet", TS_OPT_FLAG, &o.quiet, NULL, "do not show the steps"},
      {"format", TS_OPT_TEXT, &o.format, "F", "text or json"},
  };
  const ts_cli c = {.command = "map", .usage = "WORKLOAD|FILE.tir --intrin NAME [options]",
                    .about = "Lists the ways to compute the blocks of an operator by a tensor intrinsic: which iterators play those of the\n"
                             "intrinsic, what is padded, and the steps of the trace that make it so, each of them applied to be sure.",
                    .opts = opts, .nopts = (int)TS_COUNTOF(opts), .min_args = 1, .max_args = 1};
  char **args;
  int nargs, code = ts_cli_parse(&c, argc, argv, &args, &nargs);
  if (code >= 0) return code;
  ts_diag d = {0};
  if (!o.intrin || (strcmp(o.format, "text") && strcmp(o.format, "json"))) {
    ts_refuse(&d, "usage", o.intrin ? "map: --format is text or json" : "map: --intrin NAME is needed");
    ts_hint(&d, "tunesmith map --help");
    return ts_cli_fail(&d);
  }
  ts_arena *a = ts_arena_new("map");
  bool ok = map(a, args[0], &wo, &o, &d);
  code = ok ? 0 : ts_cli_fail(&d);
  ts_arena_free(a);
  return code;
}

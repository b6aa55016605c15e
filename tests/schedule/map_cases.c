// Runs one file test of mappings onto intrinsics:
//
//   #: INTRIN BLOCK...           maps each block (or the operator workload: `#: INTRIN BLOCK... = matmul q0f16 N=64 K=64 A=f16`)
//   func ...                     the function, when there is no workload
//   -----
//   expected mappings and steps
//
// Every mapping that applies is replayed and must keep the meaning. With TS_BLESS=1 the expectation is rewritten.
#include <stdlib.h>

#include "op/op.h"
#include "schedule/harness.h"

static int failures;

static void complain(const char *path, const char *what) {
  fprintf(stderr, "%s: %s\n", path, what);
  failures++;
}

static void joined(ts_text *t, const char *const *s, int n) {
  for (int i = 0; i < n; i++) ts_text_addf(t, "%s%s", i ? ", " : "", s[i]);
}

static void mapping_print(ts_text *t, const ts_mapping *m) {
  ts_text_add(t, " ");
  for (int r = 0; r < m->nroles; r++) {
    const ts_map_role *x = &m->role[r];
    ts_text_addf(t, " %s%s(%lld) = ", x->name, x->reduce ? ":R" : "", (long long)x->extent);
    joined(t, x->iters, x->n);
    ts_text_addf(t, ": %s%s%s;", x->have, x->padded ? " -> " : "", x->padded ? x->padded : "");
  }
  ts_text_add(t, " outer ");
  joined(t, m->outer, m->nouter);
  ts_text_add(t, "; operands ");
  joined(t, m->operand, m->noperands);
  ts_text_add(t, "\n");
  for (const char *p = m->trace; *p; p = strchr(p, '\n') + 1) ts_text_addf(t, "    %.*s\n", (int)strcspn(p, "\n"), p);
  if (m->refusal) ts_text_addf(t, "    refused: %s\n", m->refusal);
}

// The steps as a trace of their own make a function of the same meaning.
static void meaning_check(ts_arena *a, ts_ir *ir, const char *path, const ts_func *f, const ts_mapping *m) {
  ts_diag d = {0};
  ts_text t = {0};
  ts_text_addf(&t, "trace 1\n%s", m->trace);
  ts_sched *s = ts_sched_new(ir, f, 0);
  if (!ts_sched_replay(s, "map", ts_text_str(&t), t.n, NULL, &d)) complain(path, d.message);
  for (int which = 0; which < 3; which++) {
    const char *differs = meaning_differs(a, f, ts_sched_func(s), which, 5);
    if (differs) complain(path, differs);
  }
  ts_text_free(&t);
}

static const ts_func *function_of(ts_arena *a, ts_ir *ir, const char *path, const char *workload, const char *text, ts_diag *d) {
  ts_spec spec;
  ts_op_inst inst;
  if (!workload) return ts_func_parse(ir, path, text, strlen(text), NULL, 0, d);
  return ts_spec_parse(a, workload, &spec, d) && ts_op_instantiate(ir, &spec, "", &inst, d) ? inst.func : NULL;
}

int main(int argc, char **argv) {
  ts_arena *a = ts_arena_new("map");
  ts_ir *ir = ts_ir_new(a);
  ts_diag d = {0};
  char *text;
  size_t n;
  if (argc != 2 || !ts_file_read(argv[1], a, &text, &n, &d) || strncmp(text, "#: ", 3) != 0) return 2;
  char *split = strstr(text, "-----\n"), *line = strchr(text, '\n');
  if (!split || !line) return 2;
  const char *head = ts_arena_strndup(a, text, (size_t)(split - text));
  *split = *line = 0;
  char *workload = strstr(text, " = ");
  if (workload) *workload = 0, workload += 3;
  const ts_func *f = function_of(a, ir, argv[1], workload, line + 1, &d);
  if (!f) return complain(argv[1], d.message), 1;
  ts_text out = {0};
  const char *intrin = strtok(text + 3, " ");
  for (const char *block; (block = strtok(NULL, " "));) {
    ts_mappings m;
    ts_text_addf(&out, "%s\n", block);
    if (!ts_map_block(ir, f, block, intrin, &m, &d)) {
      ts_text_addf(&out, "  error: %s\n", d.message);
      continue;
    }
    if (m.why) ts_text_addf(&out, "  none: %s\n", m.why);
    if (m.cut) ts_text_add(&out, "  (there are more)\n");
    for (int i = 0; i < m.n; i++) {
      mapping_print(&out, &m.p[i]);
      bool rounds = strstr(m.p[i].trace, "unsafe_set_dtype") != NULL;  // then the values are others
      if (!m.p[i].refusal && !rounds) meaning_check(a, ir, argv[1], f, &m.p[i]);
    }
  }
  if (getenv("TS_BLESS")) {
    ts_text all = {0};
    ts_text_addf(&all, "%s-----\n%s", head, ts_text_str(&out));
    if (!ts_file_write(argv[1], ts_text_str(&all), all.n, &d)) complain(argv[1], d.message);
    ts_text_free(&all);
  } else if (strcmp(ts_text_str(&out), split + 6) != 0) {
    printf("--- expected\n%s--- found\n%s", split + 6, ts_text_str(&out));
    complain(argv[1], "differs");
  }
  ts_text_free(&out);
  ts_arena_free(a);
  return failures != 0;
}

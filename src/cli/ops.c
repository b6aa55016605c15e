// tunesmith ops: list the operators, their parameters and variants.
#include "cli/cli.h"
#include "op/op.h"

static const char *kind_name(const ts_op_param *p) { return p->kind == TS_BIND_INT ? "integer" : p->kind == TS_BIND_FLOAT ? "number" : "type"; }

// "N K A:type R:type=A eps:number": what is not said to be something else is an integer.
static void add_params(ts_text *t, const ts_op *op) {
  for (int i = 0; i < op->nparams; i++) {
    const ts_op_param *p = &op->params[i];
    ts_text_addf(t, "%s%s", i ? " " : "", p->name);
    if (p->kind != TS_BIND_INT) ts_text_addf(t, ":%s", kind_name(p));
    if (p->same) ts_text_addf(t, "=%s", p->same);
  }
}

static void print_table(const ts_op *op, int width) {
  ts_text t = {0};
  add_params(&t, op);
  printf("%-*s %s\n%*s %s\n", width, op->name, ts_text_str(&t), width, "", op->doc);
  ts_text_free(&t);
  for (int v = 1; v < op->nvariants; v++) {
    const ts_op_variant *x = &op->variants[v];
    printf("  .%-*s %s%s%s%s\n", width - 3, x->name, x->doc, *x->numerics ? "  [opt-in numerics: " : "", x->numerics,
           *x->numerics ? "]" : "");
  }
}

static void print_json(const ts_op *op) {
  ts_text t = {0};
  ts__json_pair(&t, "{", "name", op->name);
  ts__json_pair(&t, ", ", "doc", op->doc);
  ts_text_addf(&t, ", \"tolerance\": %g, \"parameters\": [", op->tolerance);
  for (int p = 0; p < op->nparams; p++) {
    if (p) ts_text_add(&t, ", ");
    ts_text_add_json(&t, op->params[p].name);
  }
  ts_text_add(&t, "], \"kinds\": [");
  for (int p = 0; p < op->nparams; p++) ts_text_addf(&t, "%s\"%s\"", p ? ", " : "", kind_name(&op->params[p]));
  ts_text_add(&t, "], \"variants\": [");
  for (int v = 1; v < op->nvariants; v++) {
    const ts_op_variant *x = &op->variants[v];
    ts__json_pair(&t, v > 1 ? ", {" : "{", "name", x->name);
    ts__json_pair(&t, ", ", "doc", x->doc);
    ts__json_pair(&t, ", ", "numerics", x->numerics);
    ts_text_add(&t, "}");
  }
  printf("%s]}\n", ts_text_str(&t));
  ts_text_free(&t);
}

int ts_cmd_ops(int argc, char **argv) {
  const char *format = "table";
  const ts_opt opts[] = {{"format", TS_OPT_TEXT, &format, "F", "table or json (a line for each operator)"}};
  const ts_cli c = {.command = "ops",
                    .usage = "[NAME] [options]",
                    .about = "Lists the operators in kernels/ops, or one of them, with parameters and variants. A parameter is an integer, a type (f32, f16, bf16)\n"
                             "or a number; one with a default (R:type=A) may be left out. Dimensions such as n are bound as well (n=1), or get facts (n=8..128%8).",
                    .opts = opts,
                    .nopts = TS_COUNTOF(opts),
                    .max_args = 1};
  char **args;
  int nargs, code = ts_cli_parse(&c, argc, argv, &args, &nargs);
  if (code >= 0) return code;
  ts_arena *a = ts_arena_new("ops");
  ts_diag d = {0};
  const ts_op *ops = NULL;
  size_t n = 1;
  bool json, ok = ts_cli_json(format, &json, &d) &&
                  (nargs ? (ops = ts_op_find(a, args[0], &d)) != NULL : ts_op_list(a, &ops, &n, &d));
  int width = 14;
  for (size_t i = 0; ok && i < n; i++) width = TS_MAX(width, (int)strlen(ops[i].name));
  for (size_t i = 0; ok && i < n; i++) json ? print_json(&ops[i]) : print_table(&ops[i], width);
  code = ok ? 0 : ts_cli_fail(&d);
  ts_arena_free(a);
  return code;
}

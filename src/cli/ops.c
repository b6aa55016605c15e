// tunesmith ops: list the operators, their parameters and variants.
#include "cli/cli.h"
#include "op/op.h"

int ts_cmd_ops(int argc, char **argv) {
  const ts_cli c = {.command = "ops", .usage = "[NAME]", .about = "Lists the operators in kernels/ops, or one of them with its variants.", .max_args = 1};
  char **args;
  int nargs, code = ts_cli_parse(&c, argc, argv, &args, &nargs);
  if (code >= 0) return code;
  ts_arena *a = ts_arena_new("ops");
  ts_diag d = {0};
  const ts_op *ops = NULL;
  size_t n = 1;
  bool ok = nargs ? (ops = ts_op_find(a, args[0], &d)) != NULL : ts_op_list(a, &ops, &n, &d);
  for (size_t i = 0; ok && i < n; i++) {
    printf("%-14s", ops[i].name);
    for (int p = 0; p < ops[i].nparams; p++) printf(" %s", ops[i].params[p].name);
    printf("  %s\n", ops[i].doc);
    for (int v = 1; v < ops[i].nvariants; v++) {
      const ts_op_variant *x = &ops[i].variants[v];
      printf("  .%-12s %s%s%s%s\n", x->name, x->doc, *x->numerics ? "  [opt-in numerics: " : "", x->numerics, *x->numerics ? "]" : "");
    }
  }
  code = ok ? 0 : ts_cli_fail(&d);
  ts_arena_free(a);
  return code;
}

// tunesmith template: native templates of an operator; one of them at a workload, compiled.
#include "cli/cli.h"
#include "codegen/codegen.h"
#include "op/native.h"
#include "op/op.h"
#include "target/gpu.h"

typedef struct options {
  const char *target, *format;
  bool list, all, source, json;
} options;

// --- listing -------------------------------------------------------------------------------------------------------
static const char *name_of(ts_arena *a, const ts_native *t) { return ts_arena_printf(a, "%s.%s", *t->variant ? t->variant : "ref", t->name); }

static void add_params(ts_text *out, const ts_native *t) {
  ts_text_add(out, ", \"parameters\": {");
  for (int p = 0; p < t->nparams; p++) {
    ts_text_addf(out, "%s\"%s\": [", p ? ", " : "", t->params[p].name);
    for (int i = 0; i < t->params[p].n; i++) ts_text_addf(out, "%s%lld", i ? ", " : "", (long long)t->params[p].value[i]);
    ts_text_add(out, "]");
  }
  ts_text_add(out, "}");
}

static void add_limits(ts_text *out, const ts_native *t) {
  ts_text_add(out, ", \"limits\": [");
  for (int i = 0; i < t->nlimits; i++) {
    if (i) ts_text_add(out, ", ");
    ts_text_add_json(out, t->limits[i].text.p);
  }
  ts_text_add(out, "]");
}

static void list_json(ts_arena *a, const ts_native *t) {
  ts_text text = {0};
  ts__json_pair(&text, "{", "template", name_of(a, t));
  ts__json_pair(&text, ", ", "requires", t->requires.p ? t->requires.p : "");
  ts__json_pair(&text, ", ", "doc", t->doc);
  add_params(&text, t);
  add_limits(&text, t);
  printf("%s}\n", ts_text_str(&text));
  ts_text_free(&text);
}

static void list_table(ts_arena *a, const ts_native *t) {
  printf("%-24s %-8s", name_of(a, t), t->requires.p ? t->requires.p : "");
  for (int p = 0; p < t->nparams; p++) printf(" %s(%d)", t->params[p].name, t->params[p].n);
  printf("  %s\n", t->doc);
}

static int list_op(ts_arena *a, const char *name, bool json, ts_diag *d) {
  const ts_op *op = ts_op_find(a, name, d);
  if (!op) return ts_cli_fail(d);
  for (int v = 0; v < op->nvariants; v++) {
    const ts_native **t;
    size_t n;
    if (!ts_native_list(a, op, op->variants[v].name, &t, &n, d)) return ts_cli_fail(d);
    for (size_t i = 0; i < n; i++) (json ? list_json : list_table)(a, t[i]);
  }
  return 0;
}

// --- a template at a workload --------------------------------------------------------------------------------------

static void show_params(const ts_native *t, size_t n, double all) {
  printf("%s: %s\n", t->label, t->doc);
  for (int p = 0; p < t->nparams; p++) {
    printf("param %-16s", t->params[p].name);
    for (int i = 0; i < t->params[p].n; i++) printf(" %lld", (long long)t->params[p].value[i]);
    printf("\n");
  }
  for (int i = 0; i < t->nlimits; i++) printf("limit %s\n", t->limits[i].text.p);
  printf("points %zu legal of %.0f\n", n, all);
}

static void show_code(const ts_gpu_code *c, const ts_object *o) {
  printf("registers %d spills %d image %zu bytes, compiled in %.3f s\n", c->registers, c->spills, c->image_n, o->compile_s);
  if (*c->warnings) printf("warnings %s\n", c->warnings);
  printf("workspace %s zeroed %s\n", c->workspace, c->zeroed);
  for (int i = 0; i < c->nlaunches; i++) {
    const ts_gpu_launch *l = &c->launches[i];
    printf("launch %s grid %s ; %s ; %s block %d %d %d shared %s cluster %d %d %d dependent %d\n", l->entry, l->grid[0], l->grid[1], l->grid[2], l->block[0], l->block[1],
           l->block[2], l->shared, l->cluster[0], l->cluster[1], l->cluster[2], l->dependent);
  }
}

static void add_three(ts_text *out, const char *key, const int n[3]) { ts_text_addf(out, ", \"%s\": [%d, %d, %d]", key, n[0], n[1], n[2]); }

static void show_json(const char *point, const ts_gpu_code *c, const ts_object *o) {
  ts_text t = {0};
  ts__json_pair(&t, "{", "point", point);
  ts_text_addf(&t, ", \"registers\": %d, \"spills\": %d, \"image_bytes\": %zu, \"compile_s\": %.3f", c->registers, c->spills, c->image_n, o->compile_s);
  ts__json_pair(&t, ", ", "warnings", c->warnings);
  ts__json_pair(&t, ", ", "workspace", c->workspace);
  ts__json_pair(&t, ", ", "zeroed", c->zeroed);
  ts_text_add(&t, ", \"launches\": [");
  for (int i = 0; i < c->nlaunches; i++) {
    const ts_gpu_launch *l = &c->launches[i];
    ts__json_pair(&t, i ? ", {" : "{", "entry", l->entry);
    for (int k = 0; k < 3; k++) {
      ts_text_add(&t, k ? ", " : ", \"grid\": [");
      ts_text_add_json(&t, l->grid[k]);
    }
    ts_text_add(&t, "]");
    add_three(&t, "block", l->block);
    ts__json_pair(&t, ", ", "shared", l->shared);
    add_three(&t, "cluster", l->cluster);
    ts_text_addf(&t, ", \"dependent\": %s}", l->dependent ? "true" : "false");
  }
  printf("%s]}\n", ts_text_str(&t));
  ts_text_free(&t);
}

// A point that does not compile.
static void show_failure(const char *point, const options *o, const ts_diag *why) {
  ts_text t = {0};
  if (!o->json) {
    ts_diag_print(stdout, why);
    return;
  }
  ts__json_pair(&t, "{", "point", point);
  ts__json_pair(&t, ", ", "error", why->message);
  printf("%s}\n", ts_text_str(&t));
  ts_text_free(&t);
}

static const char *point_text(ts_arena *a, const ts_native_fit *f, const int64_t *point) {
  ts_text t = {0};
  ts_native_print(&t, f->native, point);
  const char *r = ts_arena_strndup(a, ts_text_str(&t), strcspn(ts_text_str(&t), "\n"));
  ts_text_free(&t);
  return r;
}

static bool show_source(ts_arena *a, const ts_text *unit, ts_diag *d) {
  ts_gpu_code c;
  TS_TRY(ts_gpu_code_read(a, unit->p, unit->n, &c, d));
  fwrite(c.image, 1, c.image_n, stdout);
  return true;
}

static bool compile_point(ts_arena *a, const ts_native_fit *f, const int64_t *point, const options *o, ts_diag *d) {
  ts_text unit = {0};
  ts_object object;
  ts_gpu_code c;
  const char *text = point_text(a, f, point);
  bool ok = ts_native_unit(a, f, point, &unit, d);
  if (ok && o->source) {
    ok = show_source(a, &unit, d);
    ts_text_free(&unit);
    return ok;
  }
  if (!o->json) printf("%s\n", text);
  fflush(stdout);
  ok = ok && ts_codegen_unit(&(ts_unit){.name = f->native->name, .bytes = unit.p, .n = unit.n}, f->target, a, &object, d) &&
       ts_gpu_code_read(a, object.bytes, object.n, &c, d);
  if (ok && o->json) show_json(text, &c, &object);
  else if (ok) show_code(&c, &object);
  ts_text_free(&unit);
  return ok;
}

// All points: one line each; those that do not compile are told, and fail the command at the end.
static bool compile_all(ts_arena *a, const ts_native_fit *f, const int64_t *points, size_t n, const options *o, ts_diag *d) {
  size_t bad = 0;
  for (size_t i = 0; i < n; i++) {
    if (ts_interrupted()) return ts_env_fail(d, "interrupted", "interrupted after %zu of %zu points", i, n);
    ts_diag why = {0};
    ts_arena_mark m = ts_arena_save(a);
    const int64_t *point = points + i * (size_t)f->native->nparams;
    if (!compile_point(a, f, point, o, &why)) {
      if (why.kind != TS_REFUSAL) return (*d = why, false);
      show_failure(point_text(a, f, point), o, &why);
      bad++;
    }
    ts_arena_restore(a, m);
  }
  return !bad || ts_refuse(d, "template-compile", "%s: %zu of %zu points do not compile", f->native->label, bad, n);
}

// The file, or the name of one among the operator's ("gemv" of any variant, "mma.gemv").
static const ts_native *find(ts_arena *a, const char *what, const ts_spec *spec, ts_diag *d) {
  size_t n = strlen(what);
  if (n > 3 && strcmp(what + n - 3, ".cu") == 0) return ts_native_load(a, what, d);
  const ts_op *op = ts_op_find(a, spec->op, d);
  const char *dot = strchr(what, '.'), *variant = dot ? ts_arena_strndup(a, what, (size_t)(dot - what)) : NULL;
  for (int v = 0; op && v < op->nvariants; v++) {
    const ts_native **t;
    if (variant && strcmp(*op->variants[v].name ? op->variants[v].name : "ref", variant) != 0) continue;
    if (!ts_native_list(a, op, op->variants[v].name, &t, &n, d)) return NULL;
    for (size_t i = 0; i < n; i++)
      if (strcmp(t[i]->name, dot ? dot + 1 : what) == 0) return t[i];
  }
  if (!op) return NULL;
  ts_refuse(d, "no-such-template", "%s: no native template '%s'", spec->op, what);
  ts_hint(d, "tunesmith template --list %s", spec->op);
  return NULL;
}

// A limit that is of no use where weights are known: nobody can tell from what is stored whether it holds.
static bool limits_known(const ts_native *t, const ts_op_inst *inst, ts_diag *d) {
  for (int i = 0; i < t->nlimits; i++) {
    const ts_native_limit *x = &t->limits[i];
    if (!ts_native_stored(inst, x->buffer))
      return ts_refuse(d, "template-limit", "%s:%d: limit: pack computes %s; a limit is of values that are stored", x->text.file, x->text.line, x->buffer);
  }
  return true;
}

static bool template(ts_arena *a, char **args, int nargs, const options *o, ts_diag *d) {
  ts_target target;
  ts_spec spec;
  ts_op_inst inst;
  ts_native_fit fit;
  const int64_t *points, *point;
  size_t n;
  double all;
  TS_TRY(ts_target_parse(o->target, &target, d) && ts_spec_parse(a, args[1], &spec, d));
  const ts_native *t = find(a, args[0], &spec, d);
  if (!t || !ts_op_instantiate(ts_ir_new(a), &spec, t->variant, &inst, d) || !ts_native_bind(a, t, &spec, inst.func, &target, &fit, d)) return false;
  TS_TRY(limits_known(t, &inst, d));
  TS_TRY(ts_native_points(a, &fit, &points, &n, &all, d));
  if (!o->source && !o->json) show_params(t, n, all);
  if (o->all) return compile_all(a, &fit, points, n, o, d);
  if (nargs == 2 && !n) return ts_refuse(d, "no-points", "%s: no point is legal for this workload on this target", t->label);
  point = points;
  if (nargs > 2) {
    ts_text text = {0};
    ts_lex l;
    for (int i = 2; i < nargs; i++) ts_text_addf(&text, "%s ", args[i]);
    const char *kept = ts_arena_strdup(a, ts_text_str(&text));
    ts_text_free(&text);
    ts_lex_init(&l, "parameters", kept, strlen(kept));
    TS_TRY(ts_native_point(a, t, &l, &point, d));
  }
  return compile_point(a, &fit, point, o, d);
}

int ts_cmd_template(int argc, char **argv) {
  options o = {.target = "cuda:sm_90a", .format = "table"};
  const ts_opt opts[] = {
      {"target", TS_OPT_TEXT, &o.target, "T", "cuda, cuda:sm_80 ... (cuda:sm_90a)"},
      {"list", TS_OPT_FLAG, &o.list, NULL, "list the native templates of an operator"},
      {"all", TS_OPT_FLAG, &o.all, NULL, "compile every legal point"},
      {"format", TS_OPT_TEXT, &o.format, "F", "table or json (a line for each template, or for each point compiled)"},
      {"source", TS_OPT_FLAG, &o.source, NULL, "print the source that is compiled, with its macros"},
  };
  const ts_cli c = {.command = "template", .usage = "FILE.cu|NAME WORKLOAD [PARAMETER=VALUE ...] | --list OPERATOR",
                    .about = "Reads a native template (docs/native-templates.md), counts its legal points at a workload, compiles one of them (the first\n"
                             "unless parameters are given) and says registers, spills and launches. Needs NVRTC, no GPU.",
                    .opts = opts, .nopts = TS_COUNTOF(opts), .min_args = 1, .max_args = -1};
  char **args;
  int nargs, code = ts_cli_parse(&c, argc, argv, &args, &nargs);
  if (code >= 0) return code;
  ts_arena *a = ts_arena_new("template");
  ts_diag d = {0};
  if (!ts_cli_json(o.format, &o.json, &d)) code = ts_cli_fail(&d);
  else if (o.list) code = list_op(a, args[0], o.json, &d);
  else if (nargs < 2) code = (ts_refuse(&d, "usage", "template: a workload is missing, such as \"matmul q4f16_1 A=f32 K=4096 N=4096 n=1\""), ts_cli_fail(&d));
  else code = template(a, args, nargs, &o, &d) ? 0 : ts_cli_fail(&d);
  ts_arena_free(a);
  return code;
}

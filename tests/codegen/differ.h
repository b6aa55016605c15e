// One function run by the interpreter, lowered and interpreted, and compiled for several processors, on the same random
// data.
#ifndef TS_TEST_DIFFER_H
#define TS_TEST_DIFFER_H

#include <math.h>
#include <stdlib.h>

#include "codegen/codegen.h"
#include "threads.h"

enum { GUARD = 256, MOST = 64 };

typedef struct testcase {
  const char *name, *file, *text;
  size_t n;
  ts_arena *a;
  ts_ir *ir;
  const ts_func *f, *made;  // the function and, when not the same, what was made of it and is compiled in its place
  int failures;
} testcase;

static void complain(testcase *c, const char *fmt, ...) TS_PRINTF(2, 3);
static void complain(testcase *c, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  printf("%s: ", c->name);
  vprintf(fmt, ap);
  printf("\n");
  va_end(ap);
  c->failures++;
}

static const char *value_of(testcase *c, const char *key) {
  for (const char *p = c->text; *p == '#';) {
    size_t len = strcspn(p, "\n"), k = strlen(key);
    if (len > k + 2 && memcmp(p + 2, key, k) == 0 && p[2 + k] == ' ')
      return ts_arena_strndup(c->a, p + 3 + k, len - 3 - k);
    p += len + (p[len] == '\n');
  }
  return NULL;
}

// --- data -----------------------------------------------------------------------------------------------------------

typedef struct data {
  ts_array array[MOST], *list[MOST];
  uint8_t *raw[MOST];
  size_t bytes[MOST];
} data;

static void range_of(testcase *c, const char *param, double *lo, double *hi) {
  for (const char *p = c->text; *p == '#';) {
    size_t len = strcspn(p, "\n");
    char name[64];
    double a, b;
    if (sscanf(p, "# range %63s %lf %lf", name, &a, &b) == 3 && strcmp(name, param) == 0) *lo = a, *hi = b;
    p += len + (p[len] == '\n');
  }
}

static void fill(testcase *c, const ts_buffer *b, ts_array *x, ts_rng *r) {
  double lo = NAN, hi = 0;
  range_of(c, b->name, &lo, &hi);
  int64_t n = ts_array_count(x);
  for (int64_t i = 0; i < n; i++) {
    bool ranged = lo == lo;
    if (ts_code_is_float(x->code)) {
      ts_array_set(x, i, ranged ? lo + (hi - lo) * ts_rng_unit(r) : ts_rng_normal(r));
    } else if (ranged) {
      ts_array_set(x, i, lo + (double)ts_rng_below(r, (uint32_t)(hi - lo + 1)));
    } else {
      uint64_t v = ts_rng_u64(r);
      if (x->code == TS_BOOL)
        v &= 1, ts_array_set(x, i, (double)v);
      else
        memcpy((char *)x->data + i * ts_code_bytes(x->code), &v, (size_t)ts_code_bytes(x->code));
    }
  }
}

// Arrays for the parameters: inputs random, outputs poisoned, guards around all.
static bool make(testcase *c, const ts_func *f, const int64_t *dims, data *x) {
  const ts_var *vars[MOST];
  ts_rng r = ts_rng_new(7, 0);
  for (int i = 0; i < f->ndims; i++) vars[i] = f->dims[i].var;
  for (int i = 0; i < f->nparams; i++) {
    const ts_buffer *b = f->params[i].buf;
    ts_array *a = &x->array[i];
    *a = (ts_array){.code = b->code, .ndim = b->ndim};
    for (int k = 0; k < b->ndim; k++)
      if (!ts_eval_int(b->shape[k], vars, dims, f->ndims, &a->shape[k])) return false;
    x->bytes[i] = (size_t)ts_array_count(a) * (size_t)ts_code_bytes(b->code);
    x->raw[i] = aligned_alloc(64, (x->bytes[i] + 2 * GUARD + 63) / 64 * 64);
    memset(x->raw[i], 0xa5, x->bytes[i] + 2 * GUARD);
    a->data = x->raw[i] + GUARD;
    if (f->params[i].role != TS_OUT) fill(c, b, a, &r);
    x->list[i] = a;
  }
  return true;
}

static void drop(const ts_func *f, data *x) {
  for (int i = 0; i < f->nparams; i++) free(x->raw[i]);
}

static bool guards_hold(const data *x, int i) {
  for (int k = 0; k < GUARD; k++)
    if (x->raw[i][k] != 0xa5 || x->raw[i][GUARD + x->bytes[i] + (size_t)k] != 0xa5) return false;
  return true;
}

static void compare(testcase *c, const ts_func *f, const data *want, const data *got, const char *who) {
  const char *given = value_of(c, "tolerance");
  for (int i = 0; i < f->nparams; i++) {
    if (!guards_hold(got, i)) complain(c, "%s wrote outside %s", who, f->params[i].buf->name);
    bool exact = f->params[i].role == TS_IN || !ts_code_is_float(f->params[i].buf->code);
    if (exact) {
      if (memcmp(want->array[i].data, got->array[i].data, want->bytes[i]) != 0)
        complain(c, "%s: %s differs", who, f->params[i].buf->name);
      continue;
    }
    double most = 0, tolerance = given ? strtod(given, NULL) : 1e-6;
    int64_t n = ts_array_count(&want->array[i]);
    for (int64_t k = 0; k < n; k++) {
      double v = ts_array_get(&want->array[i], k);
      if (v - v == 0) most = TS_MAX(most, v < 0 ? -v : v);
    }
    for (int64_t k = 0; k < n; k++) {
      double w = ts_array_get(&want->array[i], k), g = ts_array_get(&got->array[i], k), e = w - g;
      bool same = w == g || (w != w && g != g) || (e < 0 ? -e : e) <= tolerance * most;
      if (same) continue;
      complain(c, "%s: %s[%lld] is %.9g, not %.9g", who, f->params[i].buf->name, (long long)k, g, w);
      break;
    }
  }
}

// --- running --------------------------------------------------------------------------------------------------------

static const char *const targets[] = {"cpu", "cpu:x86-64-v3", "cpu:x86-64"};

static void run_compiled(testcase *c, const int64_t *dims, const data *want, const char *target) {
  ts_target t;
  ts_diag d = {0};
  ts_object o;
  ts_loaded k;
  data x;
  if (!ts_target_parse(target, &t, &d) || !ts_target_runs_here(&t, &d)) return;
  if (!ts_codegen_object(c->made ? c->made : c->f, &t, c->a, &o, &d) || !ts_object_load(&o, &k, &d)) {
    complain(c, "%s: %s [%s]", target, d.message, d.code);
    return;
  }
  for (int threaded = 0; threaded < 2; threaded++) {
    if (!make(c, c->f, dims, &x)) return;
    int64_t bytes = k.workspace(dims);
    void *buf[MOST + 1];
    for (int i = 0; i < c->f->nparams; i++) buf[i] = x.array[i].data;
    uint8_t *ws = aligned_alloc(64, (size_t)(bytes + 63) / 64 * 64 + 64);
    memset(ws, 0xff, (size_t)bytes + 64);
    buf[c->f->nparams] = ws;
    k.run(buf, dims, threaded ? &test_threaded_rt : &test_serial_rt);
    for (int i = 0; i < 64; i++)
      if (ws[bytes + i] != 0xff) {
        complain(c, "%s wrote behind the workspace of %lld bytes", target, (long long)bytes);
        break;
      }
    compare(c, c->f, want, &x, target);
    free(ws);
    drop(c->f, &x);
  }
  ts_object_unload(&k);
}

static void run_lowered(testcase *c, const ts_func *loops, const int64_t *dims, const data *want) {
  data x;
  ts_diag d = {0};
  if (!make(c, c->f, dims, &x)) return;
  for (int i = 0; i < c->f->nparams; i++)
    if (x.array[i].ndim > 1) x.array[i].shape[0] = ts_array_count(&x.array[i]), x.array[i].ndim = 1;
  ts_interp_opts opts = {.check_races = true};
  bool ok = ts_interp_run(loops, dims, x.list, &opts, &d);
  if (ok)
    compare(c, c->f, want, &x, "lowered");
  else if (strcmp(d.code, "not-interpretable") != 0)
    complain(c, "lowered: %s [%s]", d.message, d.code);  // has machine instructions
  drop(c->f, &x);
}

// The lowered text reads back as the same function.
static void check_text_form(testcase *c, const ts_func *loops) {
  ts_diag d = {0};
  ts_text text = {0};
  ts_func_print(&text, loops);
  const ts_func *again = ts_func_parse(c->ir, "lowered", text.p, text.n, NULL, 0, &d);
  if (!again)
    complain(c, "lowered text does not parse: %s", d.message);
  else if (!ts_func_equal(loops, again))
    complain(c, "lowered text reads back as another function:\n%s", text.p);
  ts_text_free(&text);
}

// This machine; for a case that "# needs" a feature which it has not, a processor with every feature, that the case is compiled for and not run on.
static const char *machine(testcase *c) {
  ts_target t;
  ts_diag d = {0};
  const char *needs = value_of(c, "needs");
  return !needs || (ts_target_parse("cpu", &t, &d) && ts_target_has(&t, needs)) ? "cpu" : "cpu:znver4";
}

static const ts_func *lowered(testcase *c, const char *target) {
  ts_target t;
  ts_diag d = {0};
  const ts_func *loops;
  if (!ts_target_parse(target, &t, &d)) return NULL;
  if (!ts_lower(c->ir, c->made ? c->made : c->f, &t, &loops, &d)) {
    complain(c, "lower: %s [%s]", d.message, d.code);
    return NULL;
  }
  if (!ts_func_verify(loops, &d)) {
    ts_text text = {0};
    ts_func_print(&text, loops);
    complain(c, "lowered function is not valid: %s\n%s", d.message, ts_text_str(&text));
    ts_text_free(&text);
    return NULL;
  }
  check_text_form(c, loops);
  return loops;
}

__attribute__((unused)) static void run(testcase *c, char *rest) {
  int64_t dims[MOST] = {0};
  ts_diag d = {0};
  data want;
  for (int i = 0; i < c->f->ndims && i < MOST; i++) dims[i] = strtoll(rest, &rest, 10);
  if (!make(c, c->f, dims, &want)) {
    complain(c, "cannot size its arrays");
    return;
  }
  ts_interp_opts opts = {.check_races = true};
  if (!ts_interp_run(c->f, dims, want.list, &opts, &d)) {
    complain(c, "interpreter: %s [%s]", d.message, d.code);
  } else {
    const ts_func *loops = lowered(c, machine(c));
    bool other = strcmp(machine(c), "cpu") != 0;
    if (loops) run_lowered(c, loops, dims, &want);
    if (other) printf("%s: not run, this machine has no %s\n", c->name, value_of(c, "needs"));
    for (size_t i = 0; i < TS_COUNTOF(targets); i++)
      if (!(other && i == 0) && (!value_of(c, "only") || strcmp(value_of(c, "only"), targets[i]) == 0))
        run_compiled(c, dims, &want, targets[i]);
  }
  drop(c->f, &want);
}

// The files of a folder that end so, by name; only those whose name begins with an argument, where there are any. Returns how many ran.
static inline int run_files(const char *dir, const char *suffix, int argc, char **argv, int (*run_case)(const char *dir, const char *name), int *failures) {
  ts_arena *a = ts_arena_new("cases");
  ts_diag d = {0};
  char **names;
  size_t n;
  int ran = 0;
  if (!ts_dir_list(dir, suffix, a, &names, &n, &d)) return ts_diag_print(stdout, &d), ++*failures, 0;
  for (size_t i = 0; i < n; i++) {
    bool wanted = argc == 1;
    for (int k = 1; k < argc; k++) wanted |= strncmp(names[i], argv[k], strlen(argv[k])) == 0;
    if (!wanted) continue;
    *failures += run_case(dir, names[i]);
    ran++;
  }
  ts_arena_free(a);
  return ran;
}

#endif

// See compiled.h.
#include "schedule/compiled.h"

#include "codegen/codegen.h"
#include "codegen/threads.h"

enum { GUARD = 128, MOST = 64 };

typedef struct guarded {  // bytes between guards
  uint8_t *at;
  size_t n;
} guarded;

static guarded guarded_make(ts_arena *a, const void *from, size_t n) {
  uint8_t *raw = ts_arena_alloc(a, n + 2 * GUARD, 64);
  memset(raw, 0xa5, n + 2 * GUARD);
  if (from) memcpy(raw + GUARD, from, n);
  return (guarded){raw + GUARD, n};
}

static bool guarded_holds(guarded g) {
  for (size_t k = 0; k < GUARD; k++)
    if (g.at[k - GUARD] != 0xa5 || g.at[g.n + k] != 0xa5) return false;
  return true;
}

static size_t bytes_of(const ts_array *x) { return (size_t)ts_array_count(x) * (size_t)ts_code_bytes(x->code); }

static const char *run_once(ts_arena *a, const ts_func *f, const ts_loaded *k, run_data *in, const run_data *want,
                            const ts_kernel_rt *rt) {
  guarded g[MOST + 1];
  void *buf[MOST + 1];
  int n = in->n;
  for (int i = 0; i < n; i++) g[i] = guarded_make(a, in->args[i]->data, bytes_of(in->args[i])), buf[i] = g[i].at;
  int64_t bytes = k->workspace(in->dims);
  if (bytes < 0 || bytes > 1 << 28) return ts_arena_printf(a, "compiled: a workspace of %lld bytes", (long long)bytes);
  g[n] = guarded_make(a, NULL, (size_t)bytes);
  memset(g[n].at, 0xff, (size_t)bytes);
  buf[n] = g[n].at;
  k->run(buf, in->dims, rt);
  for (int i = 0; i <= n; i++)
    if (!guarded_holds(g[i]))
      return ts_arena_printf(a, "compiled: wrote outside %s", i < n ? f->params[i].buf->name : "the workspace");
  run_data got = *in;
  got.args = ts_new_array(a, ts_array *, n);
  for (int i = 0; i < n; i++) {
    got.args[i] = ts_arena_dup(a, in->args[i], sizeof(ts_array));
    got.args[i]->data = g[i].at;
  }
  const char *bad = data_differs(a, f, want, &got);
  return bad ? ts_arena_printf(a, "compiled: %s", bad) : NULL;
}

static const char *run_all(ts_arena *a, const ts_func *f, const ts_func *g, const ts_loaded *k, int which,
                           uint64_t seed) {
  int64_t dims[8];
  run_data in, want;
  ts_diag d = {0};
  dims_choose(g, which, dims);
  if (f->nparams > MOST) return "compiled: too many parameters";
  if (!data_make(a, f, dims, seed, &in) || !data_make(a, f, dims, seed, &want))
    return "compiled: a parameter is too large to run";
  if (!ts_interp_run(f, dims, want.args, NULL, &d))
    return ts_arena_printf(a, "compiled: before: %s [%s]", d.message, d.code);
  const char *bad = run_once(a, f, k, &in, &want, &test_serial_rt);
  return bad ? bad : run_once(a, f, k, &in, &want, &test_threaded_rt);
}

static void refused(compiled_totals *z, const char *code) {
  z->refused++;
  for (int i = 0; i < COMPILED_CODES; i++) {
    if (z->by_code[i].n && strcmp(z->by_code[i].code, code) != 0) continue;
    snprintf(z->by_code[i].code, sizeof z->by_code[i].code, "%s", code);
    z->by_code[i].n++;
    return;
  }
}

const char *compiled_differs(ts_arena *a, const ts_func *f, const ts_func *g, int choices, uint64_t seed,
                             compiled_totals *z) {
  ts_target t;
  ts_diag d = {0};
  ts_object o;
  ts_loaded k = {0};
  const char *bad = NULL;
  if (!ts_target_parse("cpu", &t, &d)) return ts_arena_printf(a, "compiled: %s", d.message);
  if (!ts_codegen_object(g, &t, a, &o, &d)) {
    refused(z, d.code);
    return d.kind == TS_REFUSAL ? NULL : ts_arena_printf(a, "compiled: %s [%s]", d.message, d.code);
  }
  z->made++;
  z->seconds += o.compile_s;
  if (!ts_object_load(&o, &k, &d)) return ts_arena_printf(a, "compiled: %s [%s]", d.message, d.code);
  for (int which = 0; !bad && which < choices; which++, z->runs += 2) bad = run_all(a, f, g, &k, which, seed);
  ts_object_unload(&k);
  return bad;
}

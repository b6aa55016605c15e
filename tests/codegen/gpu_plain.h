// The plain GPU schedule of a function: every block becomes a kernel, a thread an element of its output.
#ifndef TS_TEST_GPU_PLAIN_H
#define TS_TEST_GPU_PLAIN_H

#include "schedule/schedule.h"

typedef struct plain_loops {
  const ts_block *block;
  const ts_stmt *stack[16], *loop[16];
  int depth, n;
} plain_loops;

static bool plain_is_leaf_of(const ts_stmt *s, plain_loops *x, void (*f)(void *, plain_loops *), void *arg) {
  switch (s->kind) {
    case TS_S_SEQ:
      for (int i = 0; i < s->seq.n; i++) plain_is_leaf_of(s->seq.child[i], x, f, arg);
      return true;
    case TS_S_FOR:
      x->stack[x->depth++] = s;
      plain_is_leaf_of(s->loop.body, x, f, arg);
      x->depth--;
      return true;
    case TS_S_BLOCK:
      if (s->block->niters == 0) return plain_is_leaf_of(s->block->body, x, f, arg);
      x->block = s->block;
      x->n = x->depth;
      memcpy(x->loop, x->stack, sizeof x->loop);
      f(arg, x);
      return true;
    default:
      return true;
  }
}

// To be run by threads: spatial, and of constant extent when not the outermost.
static bool plain_spatial(const plain_loops *x, const ts_stmt *loop) {
  bool used = false;
  if (loop != x->loop[0] && !ts_is_int(loop->loop.extent, NULL)) return false;
  for (int i = 0; i < x->block->niters; i++) {
    if (!ts_expr_uses_var(x->block->iters[i].value, loop->loop.var)) continue;
    if (x->block->iters[i].kind != TS_ITER_SPATIAL) return false;
    used = true;
  }
  return used;
}

// The steps for one block, as text.
static void plain_block(void *arg, plain_loops *x) {
  ts_text *out = arg;
  static int serial;
  int k = serial++, spatial = 0;
  ts_text order = {0}, first = {0};
  for (int pass = 0; pass < 2; pass++)
    for (int i = 0; i < x->n; i++) {
      if (plain_spatial(x, x->loop[i]) != (pass == 0)) continue;
      ts_text_addf(&order, " l%d_%d", k, i);
      if (pass == 0) ts_text_addf(&first, " l%d_%d", k, i), spatial++;
    }
  ts_text_addf(out, "b%d = get_block \"%s\"\n", k, x->block->name);
  if (x->n) {
    for (int i = 0; i < x->n; i++) ts_text_addf(out, "%sl%d_%d", i ? ", " : "", k, i);
    ts_text_addf(out, " = get_loops b%d\n", k);
  }
  if (x->n > 1) ts_text_addf(out, "reorder%s\n", ts_text_str(&order));
  if (spatial > 1) ts_text_addf(out, "f%d = fuse%s\n", k, ts_text_str(&first));
  if (spatial) {
    if (spatial > 1) ts_text_addf(out, "x%d, y%d = split f%d [_, 128] tail=guard\n", k, k, k);
    else ts_text_addf(out, "x%d, y%d = split%s [_, 128] tail=guard\n", k, k, ts_text_str(&first));
    ts_text_addf(out, "bind x%d blockIdx.x\nbind y%d threadIdx.x\n", k, k);
  }
  ts_text_free(&order);
  ts_text_free(&first);
}

static const ts_func *plain_gpu(ts_ir *ir, const ts_func *f, ts_diag *d) {
  ts_text t = {0};
  ts_text_add(&t, "trace 1\n");
  plain_loops x = {0};
  plain_is_leaf_of(f->body, &x, plain_block, &t);
  ts_sched *s = ts_sched_new(ir, f, 1);
  bool ok = ts_sched_replay(s, "plain", ts_text_str(&t), t.n, NULL, d);
  ts_text_free(&t);
  return ok ? ts_sched_func(s) : NULL;
}

#endif

// Differential fuzzing of schedules: random programs x random primitive sequences. Each step either is refused and changes
// nothing, or the function afterwards computes what it did before (interpreter, races checked). A failure is shrunk and printed as
// a case for tests/schedule/cases.
//
//   schedule_fuzz SEQUENCES SEED       a fixed number
//   schedule_fuzz --seconds N SEED     for a time; prints `name value unit` lines
#include <stdlib.h>

#include "schedule/harness.h"
#include "schedule/program.h"

enum { STEPS = 12 };
typedef struct totals {
  uint64_t sequences, applied, refused, failures;
  uint64_t by_prim[TS_P__COUNT], refused_by_prim[TS_P__COUNT], by_code[TS_R__COUNT];
} totals;

// --- drawing steps -------------------------------------------------------------------------------------------------
typedef struct draw {
  ts_sched *s;
  ts_rng *r;
  ts_rv block, other;
  ts_rv loop[32], far[32];
  int nloops, nfar;
} draw;

static int pick(draw *d, int n) { return (int)ts_rng_below(d->r, (uint32_t)n); }

typedef struct block_names {
  const char *name[64];
  int n;
} block_names;

static bool see_block(void *arg, const ts_stmt *s) {
  block_names *b = arg;
  if (s->kind == TS_S_BLOCK && strcmp(s->block->name, "root") != 0 && b->n < 64) b->name[b->n++] = s->block->name;
  return true;
}

static bool block_get(draw *d, ts_rv *block, ts_rv *loops, int *nloops) {
  block_names b = {.n = 0};
  ts_stmt_visit(ts_sched_func(d->s)->body, see_block, NULL, &b);
  if (!b.n) return false;
  *nloops = 0;
  if (!ts_sched_call(d->s, TS_P_get_block, TS_ARGS(TS_ASTR(b.name[pick(d, b.n)])), block, 1, NULL, NULL)) return false;
  bool ok = ts_sched_call(d->s, TS_P_get_loops, TS_ARGS(TS_ARV(*block)), loops, 32, nloops, NULL);
  if (*nloops > 32) *nloops = 32;
  return ok;
}

static ts_arg any_loop(draw *d) { return TS_ARV(d->loop[pick(d, d->nloops)]); }
static ts_arg any_scope(draw *d) {
  static const char *const s[] = {"local", "global", "shared"};
  return TS_ASTR(s[pick(d, 3)]);
}

static bool split_draw(draw *d) {
  ts_arg f[3];
  int n = 2 + pick(d, 2), open = pick(d, n + 1);
  for (int i = 0; i < n; i++) f[i] = i == open ? TS_AOPEN : TS_AINT(1 + pick(d, 6));
  return ts_sched_call(d->s, TS_P_split, TS_ARGS(any_loop(d), TS_ALISTN(n, f), TS_AWORD(pick(d, 4) ? "guard" : "perfect")), NULL, 0, NULL, NULL);
}

static bool tile_draw(draw *d) {
  ts_rv f[2];
  ts_arg l = any_loop(d);
  if (!ts_sched_call(d->s, TS_P_sample_perfect_tile, TS_ARGS(l, TS_AINT(2), TS_AINT(8)), f, 2, NULL, NULL)) return false;
  return ts_sched_call(d->s, TS_P_split, TS_ARGS(l, TS_ALIST(TS_ARV(f[0]), TS_ARV(f[1]))), NULL, 0, NULL, NULL);
}

static bool reorder_draw(draw *d) {
  ts_arg l[32];
  int n = 0;
  for (int i = 0; i < d->nloops; i++)
    if (pick(d, 4)) l[n++] = TS_ARV(d->loop[i]);
  for (int i = n - 1; i > 0; i--) {
    int k = pick(d, i + 1);
    ts_arg t = l[i];
    l[i] = l[k], l[k] = t;
  }
  return ts_sched_call(d->s, TS_P_reorder, TS_ARGS(TS_ALISTN(n, l)), NULL, 0, NULL, NULL);
}

static bool fuse_draw(draw *d) {
  int first = pick(d, d->nloops), n = TS_MIN(2 + pick(d, 2), d->nloops - first);
  ts_arg l[4];
  for (int i = 0; i < n; i++) l[i] = TS_ARV(d->loop[first + i]);
  return ts_sched_call(d->s, TS_P_fuse, TS_ARGS(TS_ALISTN(n, l)), NULL, 0, NULL, NULL);
}

static bool move_draw(draw *d, ts_prim p) {
  if (!block_get(d, &d->other, d->far, &d->nfar) || !d->nfar) return false;
  return ts_sched_call(d->s, p, TS_ARGS(TS_ARV(d->block), TS_ARV(d->far[pick(d, d->nfar)])), NULL, 0, NULL, NULL);
}

// The way to an intrinsic: the reduction over steps outside the tile, initialised before it. Some of it may be done already.
static bool tensorize_draw(draw *d) {
  if (d->nloops == 5 && pick(d, 3)) {
    ts_arg l[4] = {TS_ARV(d->loop[1]), TS_ARV(d->loop[3]), TS_ARV(d->loop[2]), TS_ARV(d->loop[4])};
    if (!ts_sched_call(d->s, TS_P_reorder, TS_ARGS(TS_ALISTN(4, l)), NULL, 0, NULL, NULL)) return false;
    if (!ts_sched_call(d->s, TS_P_decompose_reduction, TS_ARGS(TS_ARV(d->block), TS_ARV(d->loop[3])), NULL, 0, NULL, NULL)) return false;
    return ts_sched_call(d->s, TS_P_tensorize, TS_ARGS(TS_ARV(d->loop[2]), TS_ASTR("vpdpbusd_16x4")), NULL, 0, NULL, NULL);
  }
  return ts_sched_call(d->s, TS_P_tensorize, TS_ARGS(any_loop(d), TS_ASTR("vpdpbusd_16x4")), NULL, 0, NULL, NULL);
}

static int iterators(const draw *d) { return ts_sched_block(d->s, d->block)->block->niters; }

static bool pad_draw(draw *d) {
  ts_arg k[16];
  int n = TS_MIN(iterators(d), 16);
  for (int i = 0; i < n; i++) k[i] = TS_AINT(pick(d, 2) ? 1 : 1 + pick(d, 8));
  return ts_sched_call(d->s, TS_P_pad_einsum, TS_ARGS(TS_ARV(d->block), TS_ALISTN(n, k)), NULL, 0, NULL, NULL);
}

static bool order_draw(draw *d) {
  ts_arg k[16];
  int n = TS_MIN(iterators(d), 16), turn = pick(d, n + 1);
  for (int i = 0; i < n; i++) k[i] = TS_AINT((i + turn) % n);
  return ts_sched_call(d->s, TS_P_reorder_block_iter_var, TS_ARGS(TS_ARV(d->block), TS_ALISTN(n, k)), NULL, 0, NULL, NULL);
}

// Maps of two or three indices: turned round, split, or fused.
static bool layout_draw(draw *d, ts_prim p) {
  static const char *const two[] = {"(i, j) -> (j, i)", "(i, j) -> (i // 2, j, i % 2)", "(i, j) -> (i, j // 4, j % 4)", "(i, j) -> (i * 3 + j)"};
  static const char *const three[] = {"(i, j, k) -> (j, k, i)", "(i, j, k) -> (i, j, k // 2, k % 2)", "(i, j, k) -> (i // 2, j, i % 2, k)"};
  bool block = p == TS_P_transform_block_layout;
  const ts_block *b = ts_sched_block(d->s, d->block)->block;
  int n = block ? b->niters : b->nwrites ? b->writes[0].buf->ndim : 0;
  if (n != 2 && n != 3) return false;
  ts_arg map = TS_ASTR(n == 2 ? two[pick(d, 4)] : three[pick(d, 3)]);
  if (block) return ts_sched_call(d->s, p, TS_ARGS(TS_ARV(d->block), map), NULL, 0, NULL, NULL);
  return ts_sched_call(d->s, p, TS_ARGS(TS_ARV(d->block), TS_ASTR(b->writes[0].buf->name), map), NULL, 0, NULL, NULL);
}

// A reduction and one of its consumers.
static bool epilogue_draw(draw *d) {
  ts_rv c[8];
  int n = 0;
  if (!ts_sched_call(d->s, TS_P_get_consumers, TS_ARGS(TS_ARV(d->block)), c, 8, &n, NULL) || !n) return false;
  return ts_sched_call(d->s, TS_P_fuse_reduction_epilogue, TS_ARGS(TS_ARV(d->block), TS_ARV(c[pick(d, TS_MIN(n, 8))])), NULL, 0, NULL, NULL);
}

static bool merge_draw(draw *d) {
  if (!d->nloops || !block_get(d, &d->other, d->far, &d->nfar) || !d->nfar) return false;
  return ts_sched_call(d->s, TS_P_merge, TS_ARGS(TS_ALIST(TS_ARV(d->loop[0]), TS_ARV(d->far[0]))), NULL, 0, NULL, NULL);
}

static bool step_draw(draw *d) {
  static const ts_prim prims[] = {TS_P_split, TS_P_split, TS_P_split, TS_P_sample_perfect_tile, TS_P_fuse, TS_P_reorder, TS_P_reorder, TS_P_reorder,
                                  TS_P_parallel, TS_P_vectorize, TS_P_unroll, TS_P_bind, TS_P_cache_read, TS_P_cache_write, TS_P_compute_at, TS_P_compute_at,
                                  TS_P_compute_at, TS_P_reverse_compute_at, TS_P_reverse_compute_at, TS_P_reverse_compute_at, TS_P_compute_inline,
                                  TS_P_reverse_compute_inline, TS_P_decompose_reduction, TS_P_decompose_reduction, TS_P_rfactor, TS_P_rfactor, TS_P_blockize,
                                  TS_P_set_scope, TS_P_add_unit_loop, TS_P_tensorize, TS_P_pad_einsum, TS_P_pad_einsum, TS_P_cache_inplace, TS_P_cache_index,
                                  TS_P_fuse_reduction_epilogue, TS_P_fuse_reduction_epilogue, TS_P_decompose_padding, TS_P_decompose_padding,
                                  TS_P_rolling_buffer, TS_P_rolling_buffer, TS_P_bind, TS_P_bind, TS_P_reindex, TS_P_reindex, TS_P_loop_partition,
                                  TS_P_merge, TS_P_transform_block_layout, TS_P_transform_layout, TS_P_reorder_block_iter_var};
  static const char *const axis[] = {"threadIdx.x", "blockIdx.x", "threadIdx.y"};
  ts_prim p = prims[pick(d, (int)TS_COUNTOF(prims))];
  if (!block_get(d, &d->block, d->loop, &d->nloops)) return false;
  ts_arg b = TS_ARV(d->block);
  ts_sched *s = d->s;
  switch (p) {
    case TS_P_cache_read: case TS_P_cache_write: case TS_P_set_scope:
      return ts_sched_call(s, p, TS_ARGS(b, TS_AINT(pick(d, 2)), any_scope(d)), NULL, 0, NULL, NULL);
    case TS_P_compute_at: case TS_P_reverse_compute_at: return move_draw(d, p);
    case TS_P_cache_inplace: return ts_sched_call(s, p, TS_ARGS(b, TS_AINT(0), any_scope(d)), NULL, 0, NULL, NULL);
    case TS_P_cache_index: return ts_sched_call(s, p, TS_ARGS(b, any_scope(d), TS_AINT(1 + pick(d, 2))), NULL, 0, NULL, NULL);
    case TS_P_reindex: return ts_sched_call(s, p, TS_ARGS(b, TS_AINT(pick(d, 2))), NULL, 0, NULL, NULL);
    case TS_P_pad_einsum: return pad_draw(d);
    case TS_P_reorder_block_iter_var: return order_draw(d);
    case TS_P_transform_block_layout: case TS_P_transform_layout: return layout_draw(d, p);
    case TS_P_fuse_reduction_epilogue: return epilogue_draw(d);
    case TS_P_compute_inline: case TS_P_reverse_compute_inline: return ts_sched_call(s, p, TS_ARGS(b), NULL, 0, NULL, NULL);
    default: break;
  }
  if (!d->nloops) return false;
  switch (p) {
    case TS_P_split: return split_draw(d);
    case TS_P_sample_perfect_tile: return tile_draw(d);
    case TS_P_fuse: return fuse_draw(d);
    case TS_P_reorder: return reorder_draw(d);
    case TS_P_tensorize: return tensorize_draw(d);
    case TS_P_bind: return ts_sched_call(s, p, TS_ARGS(any_loop(d), TS_AWORD(axis[pick(d, 3)])), NULL, 0, NULL, NULL);
    case TS_P_decompose_reduction: case TS_P_decompose_padding: case TS_P_rolling_buffer:
      return ts_sched_call(s, p, TS_ARGS(b, any_loop(d)), NULL, 0, NULL, NULL);
    case TS_P_loop_partition:
      return ts_sched_call(s, p, TS_ARGS(any_loop(d), TS_ALIST(TS_AINT(1 + pick(d, 5)), TS_AOPEN)), NULL, 0, NULL, NULL);
    case TS_P_merge: return merge_draw(d);
    case TS_P_rfactor: return ts_sched_call(s, p, TS_ARGS(any_loop(d), TS_AINT(pick(d, 3))), NULL, 0, NULL, NULL);
    default: return ts_sched_call(s, p, TS_ARGS(any_loop(d)), NULL, 0, NULL, NULL);
  }
}

// --- judging ----------------------------------------------------------------------------------------------------------
static const char *judge(ts_arena *a, const ts_func *f, const ts_sched *s) {
  ts_diag d = {0};
  if (!ts_func_verify(ts_sched_func(s), &d)) return ts_arena_printf(a, "verify: %s", d.message);
  for (int which = 0; which < (f->ndims ? 2 : 1); which++) {
    const char *bad = meaning_differs(a, f, ts_sched_func(s), which, 5);
    if (bad) return bad;
  }
  return NULL;
}

// The trace without step `drop`, replayed as far as it goes; NULL when nothing is wrong with the result any more.
static const char *still_bad(ts_arena *a, const char *text, const ts_trace *t, const bool *dropped, ts_text *out) {
  ts_ir *ir = ts_ir_new(a);
  const ts_func *f = ts_func_parse(ir, "program", text, strlen(text), NULL, 0, NULL);
  ts_trace cut = *t;
  const ts_inst **inst = ts_new_array(a, const ts_inst *, t->n);
  cut.n = 0;
  for (int i = 0; i < t->n; i++)
    if (!dropped[i]) inst[cut.n++] = t->inst[i];
  cut.inst = inst;
  ts_sched *s = ts_sched_new(ir, f, 1);
  ts_replay r = {.keep_going = true};
  (void)!ts_sched_replay_trace(s, &cut, &r, NULL);
  const char *bad = judge(a, f, s);
  if (bad && out) {
    ts_trace_print(out, ts_sched_trace(s));
    ts_text_add(out, "expect\n");
    ts_func_print(out, ts_sched_func(s));
    ts_text_add(out, "end\n");
  }
  return bad;
}

static void report(ts_arena *a, const char *text, const ts_trace *t, uint64_t seed, const char *what) {
  bool *dropped = ts_new_array(a, bool, t->n);
  for (int i = t->n - 1; i >= 0; i--) {
    dropped[i] = true;
    if (!still_bad(a, text, t, dropped, NULL)) dropped[i] = false;
  }
  ts_text out = {0};
  const char *bad = still_bad(a, text, t, dropped, &out);
  fprintf(stderr, "seed %llu: %s\ncase seed_%llu\n%s%s", (unsigned long long)seed, bad ? bad : what, (unsigned long long)seed, text, ts_text_str(&out));
  ts_text_free(&out);
}

static void sequence(uint64_t seed, totals *z) {
  ts_arena *a = ts_arena_new("sequence");
  ts_rng r = ts_rng_new(seed, 3);
  ts_text text = {0};
  program_write(&text, &r);
  ts_ir *ir = ts_ir_new(a);
  ts_diag dg = {0};
  const ts_func *f = ts_func_parse(ir, "program", ts_text_str(&text), text.n, NULL, 0, &dg);
  if (!f || !ts_func_verify(f, &dg)) {
    fprintf(stderr, "seed %llu: the program is not well made: %s\n%s", (unsigned long long)seed, dg.message, ts_text_str(&text));
    z->failures++;
  } else {
    ts_sched *s = ts_sched_new(ir, f, seed);
    draw d = {.s = s, .r = &r};
    for (int i = 0; i < STEPS; i++) {
      const ts_func *was = ts_sched_func(s);
      int steps = ts_sched_trace(s)->n;
      bool ok = step_draw(&d);
      if (ok) {
        z->applied++;
        const ts_trace *t = ts_sched_trace(s);
        z->by_prim[t->inst[t->n - 1]->prim]++;
      } else if (ts_sched_refusal(s)->code != TS_R_none) {
        z->refused++;
        z->by_code[ts_sched_refusal(s)->code]++;
        z->refused_by_prim[ts_sched_refusal(s)->prim]++;
        const ts_trace *t = ts_sched_trace(s);  // look-ups before the refused step are recorded, and change nothing
        bool changed = false;
        for (int k = steps; k < t->n; k++) changed |= !(ts_prim_get(t->inst[k]->prim)->flags & (TS_PRIM_PURE | TS_PRIM_SAMPLING));
        if (ts_sched_func(s) != was && !changed) fprintf(stderr, "seed %llu: a refusal changed the function\n", (unsigned long long)seed), z->failures++;
      }
    }
    const char *bad = judge(a, f, s);
    if (!bad && seed % 8 == 0) bad = state_complaint(a, f, s);
    if (bad) {
      report(a, ts_text_str(&text), ts_sched_trace(s), seed, bad);
      z->failures++;
    }
  }
  z->sequences++;
  ts_text_free(&text);
  ts_arena_free(a);
}

int main(int argc, char **argv) {
  bool timed = argc == 4 && !strcmp(argv[1], "--seconds");
  if (argc != 3 && !timed) {
    fprintf(stderr, "usage: schedule_fuzz SEQUENCES SEED | --seconds N SEED\n");
    return 2;
  }
  totals z = {0};
  uint64_t count = timed ? UINT64_MAX : strtoull(argv[1], NULL, 10), seed = strtoull(argv[timed ? 3 : 2], NULL, 10);
  uint64_t end = timed ? ts_now_ns() + strtoull(argv[2], NULL, 10) * 1000000000u : UINT64_MAX, begin = ts_now_ns();
  for (uint64_t i = 0; i < count && ts_now_ns() < end && z.failures < 10; i++) sequence(seed * 1000000007u + i, &z);
  printf("sequences %llu count\nsteps-applied %llu count\nsteps-refused %llu count\nfailures %llu count\nsequences-per-second %.0f 1/s\n",
         (unsigned long long)z.sequences, (unsigned long long)z.applied, (unsigned long long)z.refused, (unsigned long long)z.failures,
         (double)z.sequences / ((double)(ts_now_ns() - begin) * 1e-9));
  for (int p = 0; getenv("TS_SHOW") && p < TS_P__COUNT; p++)
    printf("%-24s applied %6llu refused %6llu\n", ts_prim_get((ts_prim)p)->name, (unsigned long long)z.by_prim[p], (unsigned long long)z.refused_by_prim[p]);
  for (int c = 0; getenv("TS_SHOW") && c < TS_R__COUNT; c++)
    if (z.by_code[c]) printf("%-24s %6llu\n", ts_rcode_name((ts_rcode)c), (unsigned long long)z.by_code[c]);
  return z.failures != 0;
}

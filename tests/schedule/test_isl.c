// An independent judge: random affine programs, their dependences and the legality of steps, by isl.
//
// nests: loops over a few blocks that read and write two matrices at sums of loop variables.
//   - The dependence test of every loop: "yes" and "no" are what isl finds; "unknown" is allowed and counted.
//   - parallel: accepted only where isl finds no dependence; a refusal with two iterations that collide is true.
//   - reorder, fuse, split: when accepted, all dependences keep their direction. A refused reorder of which isl finds
//   that it is legal is
//     counted: the engine lets one loop with a dependence change place at most, and asks for no more than a proof loop
//     by loop.
// flows: programs of the fuzzer and steps that move blocks. Every read gets its value from the instance that it got it
// from before, and
//   reductions are finished where they are read.
// Usage: schedule_isl [PROGRAMS [SEED]]; TS_SHOW=1 prints what was not decided, and what was refused though it is legal
#include <isl/options.h>
#include <stdlib.h>

#include "schedule/poly.h"
#include "schedule/program.h"

enum { EFFORT = 2000000 };  // operations of isl a question
typedef struct tally {
  long programs, yes, no, unknown, parallel, refused, orders, against, strict, flows, caught, skipped, failures;
} tally;
static tally z;

static void complain(const ts_func *f, const ts_sched *s, const char *what) {
  if (++z.failures > 5) return;
  ts_text t = {0};
  ts_func_print(&t, f);
  if (s) ts_trace_print(&t, ts_sched_trace(s));
  if (s) ts_func_print(&t, ts_sched_func(s));
  fprintf(stderr, "%s\n%s\n", what, ts_text_str(&t));
  ts_text_free(&t);
}

static isl_bool answer(isl_ctx *ctx, isl_bool b) {
  if (b == isl_bool_error) isl_ctx_reset_operations(ctx), isl_ctx_reset_error(ctx), z.skipped++;
  return b;
}
static isl_bool no_pairs(isl_ctx *ctx, isl_union_map *m) {
  isl_bool b = answer(ctx, isl_union_map_is_empty(m));
  isl_union_map_free(m);
  return b;
}
static isl_bool within(isl_ctx *ctx, isl_union_map *a, isl_union_map *b) {
  isl_bool r = answer(ctx, isl_union_map_is_subset(a, b));
  isl_union_map_free(a);
  isl_union_map_free(b);
  return r;
}
#define COPY(m) isl_union_map_copy(m)

// With TS_SHOW=1: what the engine leaves open, or refuses, though isl has an answer.
static void show(const ts_func *f, const ts_refusal *r, const char *what) {
  ts_text t = {0};
  if (r)
    ts_refusal_line(&t, r);
  else
    ts_text_add(&t, what);
  ts_text_add(&t, "\n");
  ts_func_print(&t, f);
  printf("%s\n", ts_text_str(&t));
  ts_text_free(&t);
}

// --- nests
// --------------------------------------------------------------------------------------------------------------------
static int pick(ts_rng *r, int n) { return (int)ts_rng_below(r, (uint32_t)n); }

static void index_text(ts_text *t, ts_rng *r, const char *const *v, int n) {
  for (int d = 0; d < 2; d++) {
    ts_text_add(t, d ? ", " : "[");
    int base = pick(r, 3);
    for (int i = 0; i < n; i++) {
      int c = pick(r, 5) - 1;  // -1 .. 3, mostly nothing
      if (c == -1)
        base += 11, ts_text_addf(t, "0 - %s + ", v[i]);
      else if (c == 1)
        ts_text_addf(t, "%s + ", v[i]);
      else if (c == 2)
        ts_text_addf(t, "%s * 2 + ", v[i]);
    }
    ts_text_addf(t, "%d", base);
  }
  ts_text_add(t, "]");
}

static void block_text(ts_text *t, ts_rng *r, int name, int loops) {
  static const char *const l[] = {"i", "j", "k"}, *const v[] = {"vi", "vj", "vk"};
  const char *to = pick(r, 3) ? "a" : "b";
  ts_text_addf(t, "block b%d(", name);
  for (int i = 0; i < loops; i++) ts_text_addf(t, "%s%s: %s = %s", i ? ", " : "", v[i], pick(r, 3) ? "S" : "O", l[i]);
  ts_text_addf(t, ")%s { %s", pick(r, 4) ? "" : " where 2 <= i", to);
  index_text(t, r, v, loops);
  ts_text_addf(t, " = %s", pick(r, 2) ? "a" : "b");
  index_text(t, r, v, loops);
  ts_text_add(t, " * 0.5 }\n");
}

// One to three loops; blocks in the innermost, now and then one beside it.
static void nest_write(ts_text *t, ts_rng *r) {
  static const char *const l[] = {"i", "j", "k"};
  bool symbolic = !pick(r, 3);
  int loops = 1 + pick(r, 3), blocks = 0, beside = pick(r, 3) ? 9 : pick(r, loops);
  ts_text_addf(t, "func main(%sa: inout f32[64, 64], b: inout f32[64, 64]) {\n", symbolic ? "n: dim(1..12), " : "");
  for (int i = 0; i < loops; i++) {
    char size[16];
    snprintf(size, sizeof size, symbolic && i == 0 ? "n" : "%d", 1 + pick(r, 11));
    ts_text_addf(t, "for %s in 0..%s {\n", l[i], size);
    if (i == beside && i + 1 < loops) block_text(t, r, blocks++, i + 1);
  }
  for (int i = 1 + pick(r, 2); i > 0; i--) block_text(t, r, blocks++, loops);
  for (int i = 0; i < loops; i++) ts_text_add(t, "}\n");
  ts_text_add(t, "}\n");
}

typedef struct nest {
  isl_ctx *ctx;
  ts_arena *a;
  ts_ir *ir;
  const ts_func *f;
  poly p;
  isl_union_map *conflicts;
  const ts_stmt *loop[8];
  int nloops;
} nest;

static bool see_loop(void *arg, const ts_stmt *s) {
  nest *x = arg;
  if (s->kind == TS_S_FOR && x->nloops < 8) x->loop[x->nloops++] = s;
  return true;
}

// Loops are nested, each in the one before: what encloses loop k are the loops before it.
static void test_loop(nest *x, int k) {
  isl_union_map *across = poly_across(x->ctx, x->f, x->loop[k]);
  isl_bool none = no_pairs(x->ctx, isl_union_map_intersect(across, COPY(x->conflicts)));
  if (none == isl_bool_error) return;
  ts_analyzer *an = ts_analyzer_new(x->ir);
  ts_bind_dims(an, x->f);
  for (int i = 0; i < k; i++) ts_bind_stmt(an, x->loop[i]);
  ts_dep d = ts_loop_carried(an, x->loop[k], NULL, 0);
  ts_analyzer_free(an);
  z.yes += d.answer == TS_YES, z.no += d.answer == TS_NO, z.unknown += d.answer == TS_UNKNOWN;
  if (d.answer == TS_YES && none) complain(x->f, NULL, "a dependence that isl does not find");
  if (d.answer == TS_UNKNOWN && getenv("TS_SHOW")) show(x->f, NULL, none ? "unknown, isl: none" : "unknown, isl: some");
  if (d.answer == TS_NO && !none) complain(x->f, NULL, "no dependence, but isl finds one");
  ts_sched *s = ts_sched_new(x->ir, x->f, 1);
  ts_rv b, l[8];
  int n = 0;
  bool got = ts_sched_call(s, TS_P_get_block, TS_ARGS(TS_ASTR(x->nloops > 1 && k == x->nloops - 1 ? "b1" : "b0")), &b,
                           1, NULL, NULL) ||
             ts_sched_call(s, TS_P_get_block, TS_ARGS(TS_ASTR("b0")), &b, 1, NULL, NULL);
  if (!got || !ts_sched_call(s, TS_P_get_loops, TS_ARGS(TS_ARV(b)), l, 8, &n, NULL) || k >= n) return;
  if (ts_sched_call(s, TS_P_parallel, TS_ARGS(TS_ARV(l[k])), NULL, 0, NULL, NULL)) {
    z.parallel++;
    if (!none) complain(x->f, s, "parallel, but isl finds a dependence");
  } else {
    z.refused++;
    if (none && ts_sched_refusal(s)->nwitness)
      complain(x->f, s, "not parallel by a witness, but isl finds no dependence");
  }
}

// Do all conflicts keep their direction? Instances run once.
static isl_bool kept(nest *x, const ts_func *g) {
  poly q;
  if (!poly_make(x->ctx, x->ir, g, &q)) return isl_bool_error;
  isl_union_map *deps =
      isl_union_map_apply_range(isl_union_map_apply_domain(COPY(x->conflicts), COPY(x->p.inst)), COPY(x->p.inst));
  isl_union_map *order =
      isl_union_map_apply_range(isl_union_map_apply_domain(poly_before(&q), COPY(q.inst)), COPY(q.inst));
  poly_free(&q);
  return within(x->ctx, deps, order);
}

// A fresh schedule of the nest and the loops of its last block.
static ts_sched *begin(nest *x, ts_rv *l, int *n) {
  ts_sched *s = ts_sched_new(x->ir, x->f, 1);
  ts_rv b;
  for (int k = 2; k >= 0; k--) {
    char name[8];
    snprintf(name, sizeof name, "b%d", k);
    if (ts_sched_call(s, TS_P_get_block, TS_ARGS(TS_ASTR(name)), &b, 1, NULL, NULL)) break;
  }
  return ts_sched_call(s, TS_P_get_loops, TS_ARGS(TS_ARV(b)), l, 8, n, NULL) ? s : NULL;
}

// The function with its innermost two loops in the other order, whatever that means: for a refused reorder. Loops of
// one nest only.
static const ts_func *turned(nest *x, int at) {
  const ts_stmt *outer = x->loop[at], *inner = x->loop[at + 1];
  if (outer->loop.body != inner) return NULL;
  const ts_stmt *s = ts_for(x->ir, outer->loop.var, outer->loop.min, outer->loop.extent, TS_SERIAL, inner->loop.body);
  s = ts_for(x->ir, inner->loop.var, inner->loop.min, inner->loop.extent, TS_SERIAL, s);
  for (int i = at - 1; i >= 0; i--) {
    if (x->loop[i]->loop.body != x->loop[i + 1]) return NULL;
    s = ts_for(x->ir, x->loop[i]->loop.var, x->loop[i]->loop.min, x->loop[i]->loop.extent, TS_SERIAL, s);
  }
  ts_func *f = ts_arena_dup(x->a, x->f, sizeof *f);
  f->body = s;
  return f;
}

static void test_order(nest *x, ts_rng *r) {
  ts_rv l[8];
  int n = 0;
  ts_sched *s = begin(x, l, &n);
  if (!s || n < 2) return;
  int at = pick(r, n - 1);
  bool ok = ts_sched_call(s, TS_P_reorder, TS_ARGS(TS_ALIST(TS_ARV(l[at + 1]), TS_ARV(l[at]))), NULL, 0, NULL, NULL);
  if (ok) {
    z.orders++;
    if (kept(x, ts_sched_func(s)) == isl_bool_false) complain(x->f, s, "reordered against a dependence");
  } else {
    const ts_func *g = turned(x, at);
    isl_bool legal = g ? kept(x, g) : isl_bool_error;
    z.strict += legal == isl_bool_true;
    z.against += legal == isl_bool_false;
    if (legal == isl_bool_true && getenv("TS_SHOW")) show(x->f, ts_sched_refusal(s), NULL);
  }
  s = begin(x, l, &n);
  ok = ts_sched_call(s, TS_P_split, TS_ARGS(TS_ARV(l[pick(r, n)]), TS_ALIST(TS_AOPEN, TS_AINT(2 + pick(r, 3)))), NULL,
                     0, NULL, NULL);
  bool fused = ts_sched_call(s, TS_P_fuse, TS_ARGS(TS_ALIST(TS_ARV(l[0]), TS_ARV(l[1]))), NULL, 0, NULL, NULL);
  z.orders += ok + fused;
  if ((ok || fused) && kept(x, ts_sched_func(s)) == isl_bool_false)
    complain(x->f, s, "split or fused against a dependence");
}

static void test_nest(isl_ctx *ctx, uint64_t seed) {
  ts_text text = {0};
  ts_rng r = ts_rng_new(seed, 21);
  ts_diag d = {0};
  nest x = {.ctx = ctx, .a = ts_arena_new("nest")};
  x.ir = ts_ir_new(x.a);
  nest_write(&text, &r);
  x.f = ts_func_parse(x.ir, "nest", ts_text_str(&text), text.n, NULL, 0, &d);
  if (!x.f || !ts_func_verify(x.f, &d) || !poly_make(ctx, x.ir, x.f, &x.p)) {
    fprintf(stderr, "%s\n%s", d.message, ts_text_str(&text));
    z.failures++;
  } else {
    x.conflicts = poly_conflicts(&x.p);
    ts_stmt_visit(x.f->body, see_loop, NULL, &x);
    for (int k = 0; k < x.nloops; k++) test_loop(&x, k);
    test_order(&x, &r);
    isl_union_map_free(x.conflicts);
    poly_free(&x.p);
  }
  ts_text_free(&text);
  ts_arena_free(x.a);
}

// --- flows
// --------------------------------------------------------------------------------------------------------------------
typedef struct names {
  const char *name[32];
  int n;
} names;
static bool see_name(void *arg, const ts_stmt *s) {
  names *x = arg;
  if (s->kind == TS_S_BLOCK && s->block->niters && x->n < 32) x->name[x->n++] = s->block->name;
  return true;
}

static ts_rv some_block(ts_sched *s, ts_rng *r, ts_rv *l, int *n) {
  names x = {.n = 0};
  ts_rv b = -1;
  ts_stmt_visit(ts_sched_func(s)->body, see_name, NULL, &x);
  *n = 0;
  if (!x.n || !ts_sched_call(s, TS_P_get_block, TS_ARGS(TS_ASTR(x.name[pick(r, x.n)])), &b, 1, NULL, NULL)) return -1;
  return ts_sched_call(s, TS_P_get_loops, TS_ARGS(TS_ARV(b)), l, 16, n, NULL) && *n && *n <= 16 ? b : -1;
}

#define CALL(p, ...) ts_sched_call(s, TS_P_##p, TS_ARGS(__VA_ARGS__), NULL, 0, NULL, NULL)
// Steps that keep the instances of blocks and what they access; returns whether one that moves something was applied.
static bool some_step(ts_sched *s, ts_rng *r) {
  ts_rv l[16], m[16];
  int n, k;
  ts_rv b = some_block(s, r, l, &n), o = some_block(s, r, m, &k);
  if (b < 0 || o < 0) return false;
  ts_arg one = TS_ARV(l[pick(r, n)]);
  switch (pick(r, 8)) {
    case 0:
      return CALL(split, one, TS_ALIST(TS_AOPEN, TS_AINT(2 + pick(r, 3)))) && false;
    case 1:
      return n > 1 && CALL(reorder, TS_ALIST(TS_ARV(l[n - 1]), TS_ARV(l[pick(r, n - 1)])));
    case 2:
      return n > 1 && CALL(fuse, TS_ALIST(TS_ARV(l[0]), TS_ARV(l[1]))) && false;
    case 3:
      return CALL(parallel, one) && false;
    case 4:
    case 5:
      return CALL(compute_at, TS_ARV(b), TS_ARV(m[pick(r, k)]));
    default:
      return CALL(reverse_compute_at, TS_ARV(b), TS_ARV(m[pick(r, k)]));
  }
}

// What reductions made is complete where it is read: each of their instances that ran before a read still does.
static isl_bool complete(isl_ctx *ctx, const poly *p, const poly *q) {
  isl_union_map *reads = isl_union_map_apply_range(COPY(p->reduces), isl_union_map_reverse(COPY(p->reads)));
  reads = isl_union_map_intersect(reads, poly_before(p));
  isl_union_map *need = isl_union_map_apply_range(isl_union_map_apply_domain(reads, COPY(p->inst)), COPY(p->inst));
  need = isl_union_map_intersect_range(need, isl_union_map_range(COPY(q->inst)));
  isl_union_map *order =
      isl_union_map_apply_range(isl_union_map_apply_domain(poly_before(q), COPY(q->inst)), COPY(q->inst));
  return within(ctx, need, order);
}

// What is wrong with g; NULL when nothing is, or isl gives up.
static const char *compare(isl_ctx *ctx, ts_ir *ir, const ts_func *f, const ts_func *g) {
  poly p = {0}, q = {0};
  isl_union_map *x[2] = {0}, *none[2] = {0};
  const char *bad = NULL;
  bool affine = poly_make(ctx, ir, f, &p) && poly_make(ctx, ir, g, &q);
  if (affine && poly_flow(ctx, &p, &x[0], &none[0]) && poly_flow(ctx, &q, &x[1], &none[1])) {
    isl_bool same = answer(ctx, isl_union_map_is_subset(x[1], x[0])),
             empty = answer(ctx, isl_union_map_is_subset(none[1], none[0]));
    isl_bool whole = complete(ctx, &p, &q);
    z.flows += same == isl_bool_true && empty == isl_bool_true && whole == isl_bool_true;
    if (same == isl_bool_false)
      bad = "a read gets its value from elsewhere";
    else if (empty == isl_bool_false)
      bad = "a read finds nothing written";
    else if (whole == isl_bool_false)
      bad = "a reduction is read before its end";
  } else {
    z.skipped += affine;
  }
  isl_ctx_reset_error(ctx);
  for (int k = 0; k < 2; k++) isl_union_map_free(x[k]), isl_union_map_free(none[k]);
  poly_free(&p);
  poly_free(&q);
  return bad;
}

// The function with its first two statements in the other order, which mostly is wrong: the judge must see it.
static const ts_func *swapped(ts_arena *a, ts_ir *ir, const ts_func *f) {
  const ts_stmt *root = f->body, *seq = root->kind == TS_S_BLOCK ? root->block->body : root;
  if (seq->kind != TS_S_SEQ || seq->seq.n < 2) return NULL;
  const ts_stmt **child = ts_arena_dup(a, seq->seq.child, sizeof *child * (size_t)seq->seq.n);
  child[0] = seq->seq.child[1];
  child[1] = seq->seq.child[0];
  ts_func *g = ts_arena_dup(a, f, sizeof *g);
  g->body = ts_seq(ir, child, seq->seq.n);
  return g;
}

static void test_flow(isl_ctx *ctx, uint64_t seed) {
  ts_text text = {0};
  ts_rng r = ts_rng_new(seed, 22);
  ts_arena *a = ts_arena_new("flow");
  ts_ir *ir = ts_ir_new(a);
  program_write(&text, &r);
  const ts_func *f = ts_func_parse(ir, "program", ts_text_str(&text), text.n, NULL, 0, NULL);
  ts_sched *s = ts_sched_new(ir, f, seed);
  bool moved = false;
  for (int i = 0; i < 10; i++) moved |= some_step(s, &r);
  const char *bad = moved ? compare(ctx, ir, f, ts_sched_func(s)) : NULL;
  if (bad) complain(f, s, bad);
  const ts_func *wrong = seed % 8 ? NULL : swapped(a, ir, f);
  if (wrong) z.caught += compare(ctx, ir, f, wrong) != NULL;
  ts_text_free(&text);
  ts_arena_free(a);
}

int main(int argc, char **argv) {
  long count = argc > 1 ? atol(argv[1]) : 40;
  uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
  isl_ctx *ctx = isl_ctx_alloc();
  isl_options_set_on_error(ctx, ISL_ON_ERROR_CONTINUE);
  isl_ctx_set_max_operations(ctx, EFFORT);
  for (; z.programs < count && z.failures < 6; z.programs++) {
    isl_ctx_reset_operations(ctx);
    test_nest(ctx, seed * 1000003u + (uint64_t)z.programs);
    isl_ctx_reset_operations(ctx);
    test_flow(ctx, seed * 1000003u + (uint64_t)z.programs);
  }
  isl_ctx_free(ctx);
  printf(
      "programs %ld count\ndependences-agreed %ld count\nindependences-agreed %ld count\nunknown %ld "
      "count\nparallel-agreed %ld count\n"
      "parallel-refused %ld count\norders-agreed %ld count\nillegal-and-refused %ld count\nlegal-but-refused %ld "
      "count\nflows-agreed %ld count\n"
      "wrong-flows-seen %ld count\nnot-decided-by-isl %ld count\n"
      "failures %ld count\n",
      z.programs, z.yes, z.no, z.unknown, z.parallel, z.refused, z.orders, z.against, z.strict, z.flows, z.caught,
      z.skipped, z.failures);
  bool said = z.yes && z.no && z.parallel && z.refused && z.orders && z.against && z.flows && z.caught;
  if (!said) fprintf(stderr, "a kind of question was never answered\n");
  return z.failures || !said;
}
